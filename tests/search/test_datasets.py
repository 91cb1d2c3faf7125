"""Data sets: fixed splits, folders of images, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from autonba.errors import DataError
from autonba.search import datasets


@pytest.fixture
def folder(tmp_path):
    """Two classes, ten 6x5 images each."""
    rng = np.random.default_rng(0)
    for name, value in (("dark", 40), ("light", 200)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for n in range(10):
            pixels = np.clip(rng.normal(value, 10, (6, 5)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / name / f"{n}.png")
    return tmp_path


def test_digits_split_is_fixed_stratified_and_exact():
    data = datasets.load("digits")
    assert (len(data.train), len(data.val), len(data.test)) == (1149, 288, 360)
    assert data.shape == (1, 8, 8)
    assert data.train.images.dtype == np.uint8
    counts = np.bincount(data.test.labels)
    assert counts.max() - counts.min() <= 2
    whole = np.concatenate([data.train.images, data.val.images, data.test.images])
    assert sorted(np.unique(whole)) == sorted({int(np.floor(v * 255 / 16 + 0.5)) for v in range(17)})
    assert np.array_equal(datasets.load("digits").test.images, data.test.images)


def test_digits_splits_are_disjoint():
    from sklearn.datasets import load_digits

    data = datasets.digits()
    whole = np.concatenate([data.train.images, data.val.images, data.test.images]).reshape(1797, -1)
    raw = np.floor(load_digits().images.reshape(1797, -1) * 255 / 16 + 0.5)
    assert np.array_equal(np.sort(whole.sum(1)), np.sort(raw.sum(1)))


def test_folder_takes_sizes_from_images_and_splits_all(folder):
    data = datasets.load(str(folder))
    assert data.classes == ("dark", "light")
    assert data.shape == (1, 6, 5)
    assert len(data.train) + len(data.val) + len(data.test) == 20
    assert set(data.test.labels) == {0, 1}
    for split in (data.train, data.val, data.test):
        assert ((split.images.mean(axis=(1, 2, 3)) > 120) == split.labels).all()


def test_folder_without_train_is_the_same(folder):
    assert np.array_equal(datasets.load(str(folder / "train")).test.images, datasets.load(str(folder)).test.images)


def test_unreadable_file_is_named(folder):
    bad = folder / "train" / "light" / "3.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(DataError, match=r"light/3\.png"):
        datasets.load(str(folder))


def test_file_that_is_no_image_is_named(folder):
    (folder / "train" / "dark" / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"notes\.txt"):
        datasets.load(str(folder))


def test_missing_folder_and_wrong_classes(folder, tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        datasets.load(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="classes"):
        datasets.load(str(folder), classes=["a", "b"])
