"""Data sets: fixed splits, folders of images, and what is wrong with them."""

import pickle

import numpy as np
import pytest
from PIL import Image

from autonba.errors import DataError
from autonba.search.training import datasets


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
    assert sorted(np.unique(whole)) == sorted(
        {int(np.floor(v * 255 / 16 + 0.5)) for v in range(17)}
    )
    assert np.array_equal(datasets.load("digits").test.images, data.test.images)


def test_digits_splits_are_disjoint():
    from sklearn.datasets import load_digits

    data = datasets.digits()
    whole = np.concatenate([data.train.images, data.val.images, data.test.images]).reshape(1797, -1)
    raw = np.floor(load_digits().images.reshape(1797, -1) * 255 / 16 + 0.5)
    assert np.array_equal(np.sort(whole.sum(1)), np.sort(raw.sum(1)))


def test_images_in_turn_hold_every_class_from_the_start():
    """Class-sorted labels, one class rare: equal shares in every beginning while there are images
    of each class.
    """
    labels = np.repeat([0, 1, 2], [50, 4, 30])
    order = datasets.in_turn(labels)
    assert sorted(order) == list(range(84))
    for count in (3, 6, 9, 12):
        assert np.bincount(labels[order[:count]]).tolist() == [count // 3] * 3
    assert np.bincount(labels[order[:20]]).tolist() == [8, 4, 8]
    assert np.array_equal(datasets.in_turn(labels, 7), order[:7])


def test_a_spread_order_holds_classes_in_their_shares_from_the_start():
    labels = np.repeat([0, 1], [300, 100])
    order = datasets.spread(labels, 5)
    assert sorted(order) == list(range(400))
    for count in (8, 40, 200):
        assert abs(np.bincount(labels[order[:count]], minlength=2)[1] - count / 4) <= 1
    assert not np.array_equal(order, datasets.spread(labels, 6))


def test_an_eighth_of_the_validation_images_trains_nothing():
    data = datasets.digits()
    assert (len(data.fit), len(data.held)) == (1401, 36)
    counts = np.bincount(data.held.labels)
    assert counts.max() - counts.min() <= 2

    def texts(*splits):
        return sorted(image.tobytes() for split in splits for image in split.images)

    assert texts(data.fit, data.held) == texts(data.train, data.val)
    assert set(texts(data.held)) <= set(texts(data.val))


def test_folder_takes_sizes_from_images_and_splits_all(folder):
    data = datasets.load(str(folder))
    assert data.classes == ("dark", "light")
    assert data.shape == (1, 6, 5)
    assert len(data.train) + len(data.val) + len(data.test) == 20
    assert set(data.test.labels) == {0, 1}
    for split in (data.train, data.val, data.test):
        assert ((split.images.mean(axis=(1, 2, 3)) > 120) == split.labels).all()


def test_folder_without_train_is_the_same(folder):
    assert np.array_equal(
        datasets.load(str(folder / "train")).test.images, datasets.load(str(folder)).test.images
    )


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


def test_sizes_of_drawn_splits_are_fractions_or_numbers(folder):
    data = datasets.load(str(folder), test=4, val=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (12, 4, 4)
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    assert len(datasets.load("digits", val=500).val) == 500
    for wrong in (0.0, 20, 2.5, -1):
        with pytest.raises(DataError, match="test must be a fraction"):
            datasets.load(str(folder), test=wrong)
    (folder / "val").symlink_to(folder / "train")
    with pytest.raises(DataError, match="val must not be given"):
        datasets.load(str(folder), val=4)


def test_many_files_are_read_in_order_with_progress(folder, monkeypatch):
    monkeypatch.setattr(datasets, "READ_AT_ONCE", 3)
    seen = []
    data = datasets.load(str(folder), tick=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == 7
    monkeypatch.undo()
    assert np.array_equal(datasets.load(str(folder)).train.images, data.train.images)


@pytest.fixture
def arrays():
    """Twelve 4x6 colour images (N, C, H, W) of three classes, and labels."""
    return (
        np.random.default_rng(1).integers(0, 256, (12, 3, 4, 6), dtype=np.uint8),
        np.arange(12) % 3,
    )


@pytest.mark.parametrize("layout", ["channels first", "channels last", "grey", "keras"])
def test_npz_in_every_layout(arrays, layout, tmp_path):
    images, labels = arrays
    stored = {"channels last": images.transpose(0, 2, 3, 1), "grey": images[:, 0]}.get(
        layout, images
    )
    if layout == "keras":
        np.savez(
            tmp_path / "a.npz",
            x_train=stored,
            y_train=labels[:, None],
            x_test=stored[:3],
            y_test=labels[:3],
        )
    else:
        np.savez(
            tmp_path / "a.npz",
            images=stored,
            labels=labels,
            test_images=stored[:3],
            test_labels=labels[:3],
        )
    data = datasets.load(str(tmp_path / "a.npz"), val=3)
    assert data.classes == ("0", "1", "2")
    assert np.array_equal(data.test.images, images[:3, :1] if layout == "grey" else images[:3])
    assert len(data.train) == 9
    whole = {
        image.tobytes(): label
        for image, label in zip(images[:, :1] if layout == "grey" else images, labels, strict=True)
    }
    assert all(
        whole[i.tobytes()] == n for i, n in zip(data.train.images, data.train.labels, strict=True)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((12, 4, 6))}, "uint8"),
        ({"images": np.zeros((12, 3, 4, 3), np.uint8)}, "channels"),
        ({"labels": np.zeros(11, np.int64)}, "labels"),
        ({"test_images": np.zeros((2, 4, 6), np.uint8)}, "'test_labels' must be present"),
        ({"classes": np.array(["a", "b"])}, "classes"),
        ({"test_images": np.zeros((2, 4, 5), np.uint8), "test_labels": np.array([0, 1])}, "shape"),
        ({"images": np.array([None])}, "undamaged"),
    ],
)
def test_npz_errors_name_what_is_wrong(arrays, change, message, tmp_path):
    np.savez(tmp_path / "a.npz", **{"images": arrays[0][:, 0], "labels": arrays[1]} | change)
    with pytest.raises(DataError, match=message):
        datasets.load(str(tmp_path / "a.npz"))


def write_cifar(folder, hundred):
    rng = np.random.default_rng(3)
    folder.mkdir()
    label = b"fine_labels" if hundred else b"labels"
    names = (
        ["train", "test"] if hundred else [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    )
    for name in names:
        batch = {
            b"data": rng.integers(0, 256, (6, 3072), dtype=np.uint8),
            label: [0, 1, 2, 0, 1, 2],
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    classes = {b"fine_label_names" if hundred else b"label_names": [b"cat", b"dog", b"ship"]}
    (folder / ("meta" if hundred else "batches.meta")).write_bytes(
        pickle.dumps(classes, protocol=2)
    )


@pytest.mark.parametrize("hundred", [False, True])
def test_cifars_own_batches(hundred, tmp_path):
    folder = tmp_path / ("cifar-100-python" if hundred else "cifar-10-batches-py")
    write_cifar(folder, hundred)
    data = datasets.load(str(tmp_path), val=3)
    assert data.name == ("cifar100" if hundred else "cifar10")
    assert data.classes == ("cat", "dog", "ship")
    assert (len(data.train), len(data.val), len(data.test)) == (3 if hundred else 27, 3, 6)
    raw = pickle.loads((folder / ("test" if hundred else "test_batch")).read_bytes())[b"data"]
    assert np.array_equal(data.test.images[2, 1, 5], raw[2, 1024 + 5 * 32 : 1024 + 6 * 32])
    assert np.array_equal(datasets.load(str(folder), val=3).val.images, data.val.images)


class Harmful:
    def __reduce__(self):
        return print, ("a pickle ran code",)


def test_a_pickle_cannot_run_code(tmp_path, capsys):
    write_cifar(tmp_path / "c", False)
    (tmp_path / "c" / "data_batch_3").write_bytes(
        pickle.dumps({b"data": Harmful(), b"labels": [0]})
    )
    with pytest.raises(DataError, match=r"data_batch_3: .*builtins\.print"):
        datasets.load(str(tmp_path / "c"))
    assert "ran code" not in capsys.readouterr().out
    (tmp_path / "c" / "data_batch_3").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="data_batch_3"):
        datasets.load(str(tmp_path / "c"))


def test_colour_images_stand_upright(tmp_path):
    """A red row above a green one, with a blue column on the left: channels, rows and columns stay
    where they are.
    """
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[0, :, 0], pixels[1, :, 1], pixels[:, 0, 2] = 200, 150, 100
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(3):
            Image.fromarray(pixels).save(tmp_path / name / f"{n}.png")
    data = datasets.load(str(tmp_path), val=1, test=1)
    assert np.array_equal(data.train.images[0], pixels.transpose(2, 0, 1))


def test_fractions_are_rounded_to_the_nearest_number(folder):
    data = datasets.load(str(folder), test=0.19, val=0.16)  # 3.8 of 20, 2.56 of 16
    assert (len(data.train), len(data.val), len(data.test)) == (13, 3, 4)
