"""Folders of images: nothing in them is passed over in silence, and sizes and colour are decided
by stated rules.
"""

import os

import numpy as np
import pytest
from PIL import Image

from autonba.errors import DataError
from autonba.search.training import datasets


def picture(path, value=100, size=(5, 6), mode="L", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Two classes, six 6x5 grey images each, in train, val and test."""
    for split in ("train", "val", "test"):
        for name, value in (("dark", 40), ("light", 200)):
            for n in range(6):
                picture(tmp_path / split / name / f"{n}.png", value + n)
    return tmp_path


def refused(folder, *parts, **options):
    with pytest.raises(DataError) as caught:
        datasets.load(str(folder), **options)
    text = str(caught.value)
    assert text.isprintable()
    for part in parts:
        assert part in text


def test_what_systems_leave_is_passed_over(folder):
    expected = datasets.load(str(folder))
    for name in ("Thumbs.db", ".DS_Store", "._0.png", "desktop.ini", "Icon\r"):
        for place in (folder, folder / "train", folder / "train" / "dark"):
            (place / name).write_bytes(b"rubbish")
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "__MACOSX").mkdir()
    (folder / "README.md").write_text("The pictures.")
    (folder / "train" / "labels.csv").write_text("0,1")
    found = datasets.load(str(folder))
    assert found.classes == expected.classes
    assert np.array_equal(found.train.images, expected.train.images)


def test_images_in_folders_below_a_class_are_refused(folder):
    picture(folder / "train" / "dark" / "more" / "7.png")
    refused(folder, "train/dark: ", "'more' is a folder")


def test_images_outside_a_class_are_refused(folder):
    for place in (folder, folder / "train", folder / "test"):
        picture(place / "7.JPG", format="JPEG")
        refused(folder, f"{place}/7.JPG: an image must lie in the folder of its class")
        (place / "7.JPG").unlink()


def test_classes_must_be_the_same_in_every_split(folder):
    for split in ("val", "test"):
        picture(folder / split / "medium" / "0.png")
        refused(folder, f"{folder / split}: ", "class 'medium' is not in 'train'")
        (folder / split / "medium" / "0.png").unlink()
        (folder / split / "medium").rmdir()
    picture(folder / "train" / "medium" / "0.png")
    refused(folder, f"{folder / 'val'}: ", "class 'medium' is missing there")


def test_a_split_of_another_name_is_refused(folder):
    (folder / "val").rename(folder / "valid")
    refused(folder, "must be called 'val' or 'test', not 'valid'")


def test_splits_without_training_images_are_no_classes(folder):
    (folder / "train").rename(folder / "training")
    refused(folder, "'dark' is a folder")


def test_an_empty_class_and_a_single_class_are_refused(folder):
    (folder / "train" / "medium").mkdir()
    refused(folder / "train", "medium: the folder must hold at least one image")
    (folder / "alone" / "dark").mkdir(parents=True)
    refused(folder / "alone", "2 to 65,536 classes, not 1")


@pytest.mark.parametrize("name", ["a\nb", "x" * 101, " ", "\x1b[31m", os.fsdecode(b"\xff")])
def test_names_that_are_no_names_of_classes_are_refused(name, folder):
    picture(folder / "train" / name / "0.png")
    refused(folder, "printable text of 1 to 100 characters")
    refused(folder / "train" / name, "")  # nor does a path of it break the sentence


def test_too_many_classes_are_refused(folder, monkeypatch):
    monkeypatch.setattr("autonba.search.training.class_names.MOST_CLASSES", 1)
    refused(folder, "not 2; give each class a folder")


def test_links_are_followed_and_broken_ones_refused(folder):
    (folder / "train" / "dark" / "6.png").symlink_to(folder / "test" / "dark" / "0.png")
    (folder / "train" / "medium").symlink_to(folder / "test" / "light")
    assert len(datasets.load(str(folder / "train"), test=3, val=3).train) == 13
    for name, target in (("7.png", "absent"), ("8.png", "8.png"), ("loop", "..")):
        link = folder / "train" / "dark" / name
        link.symlink_to(target)
        refused(folder, "train/dark: ", name)
        link.unlink()
    for target in ("absent", "gone"):
        (folder / "train" / "gone").symlink_to(target)
        refused(folder, "train/gone: ", "link")
        (folder / "train" / "gone").unlink()
    os.mkfifo(folder / "train" / "dark" / "9.png")
    refused(folder, "'9.png' is a broken link or a pipe")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_one_image_of_colour_makes_all_colour(split, folder):
    assert datasets.load(str(folder)).shape == (1, 6, 5)
    picture(folder / split / "light" / "5.png", (200, 10, 30), mode="RGB")
    data = datasets.load(str(folder))
    assert data.shape == (3, 6, 5)
    assert getattr(data, split).images[11, :, 0, 0].tolist() == [200, 10, 30]
    assert data.train.images[0, :, 0, 0].tolist() == [40, 40, 40]


def test_the_first_image_upright_decides_the_size(folder):
    exif = Image.Exif()
    exif[274] = 6
    picture(folder / "train" / "dark" / "0.png", 40, (7, 3), exif=exif)
    assert datasets.load(str(folder)).shape == (1, 7, 3)


def test_a_large_first_image_is_refused_unread(folder):
    picture(folder / "train" / "dark" / "0.png", 40, (1025, 3))
    refused(folder, "dark/0.png: the first image", "at most 1024", "not 1025x3")
    assert datasets.load(str(folder), shape=(1, 6, 5)).shape == (1, 6, 5)
    picture(folder / "train" / "dark" / "0.png", 40, (1024, 3))
    assert datasets.load(str(folder)).shape == (1, 3, 1024)


def test_images_that_fill_the_memory_are_refused(folder, monkeypatch):
    monkeypatch.setattr(datasets, "MOST_BYTES", 36 * 30 - 1)
    refused(folder, "36 images of shape [1, 6, 5] must fit")
    monkeypatch.setattr(datasets, "MOST_BYTES", 36 * 30)
    datasets.load(str(folder))


@pytest.mark.parametrize("size", [float("nan"), float("inf"), -1.0, 1e18, 10**400, 0, 36, 2.5])
def test_sizes_of_splits_that_mean_nothing_are_refused(size, folder):
    for name in (str(folder / "train"), "digits"):
        if name != "digits" or (size != 36 and size != 2.5):
            for split in ("test", "val"):
                refused(name, f"{split} must be", **{split: size})


@pytest.mark.parametrize("size", [1e-9, 0.99])
def test_a_split_of_all_or_none_is_refused(size, folder):
    refused(folder / "train", "must leave images on both sides", test=size)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "/dev/null", "a\nb", "absent.npz"])
def test_names_of_nothing_are_refused(name):
    refused(name, "dataset")


def test_a_folder_that_may_not_be_read_is_refused(folder, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    refused(folder, "Permission denied")
