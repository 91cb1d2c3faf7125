"""Arrays and pickles as data sets: what is wrong is told in one sentence, quickly and in little
memory.
"""

import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest

from autonba.errors import DataError
from autonba.search.training import array_files, datasets, plain_pickles

IMAGES = np.random.default_rng(1).integers(0, 256, (12, 4, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3


def refused(path, why, **options):
    started = time.perf_counter()
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            datasets.load(str(path), **options)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 5
    text = str(caught.value)
    assert why in text
    assert text.isprintable()
    assert len(text) < 800


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"images": IMAGES / 255}, "images must be uint8"),
        ({"images": IMAGES.astype(np.int64)}, "not int64 of shape [12, 4, 6]; convert it"),
        ({"images": IMAGES > 9}, "not bool"),
        ({"images": IMAGES * 1j}, "of type '<c16'"),
        ({"images": IMAGES.view([("v", "u1")])}, "neither truth values"),
        ({"images": np.uint8(3)}, "shape []"),
        ({"images": IMAGES[0]}, "shape [4, 6]"),
        ({"images": IMAGES[:, :0]}, "no axis empty"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "no axis empty"),
        ({"images": np.zeros((12, 1025, 1), np.uint8)}, "at most 1024 pixels"),
        ({"images": np.zeros((12, 4, 6, 4), np.uint8)}, "1 or 3 channels"),
        ({"labels": LABELS[:11]}, "labels must be integers from 0 on, one an image"),
        ({"labels": LABELS.astype(float)}, "not float64"),
        ({"labels": np.full(12, np.nan)}, "not float64"),
        ({"labels": LABELS > 0}, "not bool"),
        ({"labels": np.array(list("abcabcabcabc"))}, "not <U1"),
        ({"labels": np.eye(12, 3, dtype=int)}, "shape [12, 3]"),
        ({"labels": np.int64(3)}, "shape []"),
        ({"labels": LABELS - 1}, "class numbers from 0 to 65,535, not -1"),
        ({"labels": np.where(LABELS, LABELS, 2**64 - 1).astype(np.uint64)}, f"not {2**64 - 1}"),
        ({"labels": LABELS * 500_000_000}, "not 1000000000"),
        ({"labels": LABELS * 2}, "class 1 has none"),
        ({"labels": LABELS + 1}, "class 0 has none"),
        ({"labels": LABELS * 30_000}, "class 1 has none"),
        ({"labels": LABELS * 0}, "2 to 65,536 classes, not 1"),
        ({"classes": np.array(["a", "b"])}, "classes must name every class, 3 in all, not 2"),
        ({"classes": np.array(["a", "b", "a"])}, "not 'a' 2 times"),
        ({"classes": np.array(["a", "b", ""])}, "printable text of 1 to 100 characters, not ''"),
        ({"classes": np.array(["a", "b", " "])}, "not ' '"),
        ({"classes": np.array(["a", "b", "c\nd"])}, r"not 'c\nd'"),
        ({"classes": np.array(["a", "b", "c" * 101])}, "100 characters"),
        ({"classes": np.arange(3)}, "classes must be a list of texts"),
        ({"classes": np.array([["a", "b", "c"]])}, "shape [1, 3]"),
        ({"classes": np.array([b"a", b"b", b"c"])}, "'|S1'"),
        ({"classes": np.array(["a", "b", None])}, "'|O'"),
        ({"test_images": IMAGES}, "'test_labels' must be present"),
        ({"test_images": IMAGES, "test_labels": LABELS + 1}, "class 3 has none"),
        ({"val_images": IMAGES[:, :3], "val_labels": LABELS}, "val_images must have the training"),
        ({"valid_images": IMAGES, "valid_labels": LABELS}, "'valid_images', 'valid_labels' would"),
        ({"x_train": IMAGES, "y_train": LABELS}, "'x_train', 'y_train' would be left out"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(change, why, tmp_path):
    np.savez(tmp_path / "a.npz", **{"images": IMAGES, "labels": LABELS} | change)
    refused(tmp_path / "a.npz", why)


def test_keras_names_are_told_as_they_are_in_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS - 1)
    refused(tmp_path / "a.npz", "y_train must be class numbers")
    np.savez(tmp_path / "a.npz", x_train=IMAGES / 2, y_train=LABELS)
    refused(tmp_path / "a.npz", "x_train must be uint8")
    np.savez(tmp_path / "a.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES)
    refused(tmp_path / "a.npz", "'y_test' must be present")


def test_keras_validation_images_and_class_names_are_read(tmp_path):
    pairs = {"x_train": IMAGES, "y_train": LABELS, "x_val": IMAGES[:3], "y_val": LABELS[:3, None]}
    np.savez(tmp_path / "a.npz", **pairs, classes=np.array(["a", "b", "c"]))
    data = datasets.load(str(tmp_path / "a.npz"), test=3)
    assert data.classes == ("a", "b", "c")
    assert np.array_equal(data.val.images[:, 0], IMAGES[:3])


def test_axes_and_labels_of_any_kind_that_means_the_same(tmp_path):
    """Fortran order, every integer type and order of bytes, a column of labels, names to spare."""
    for kind in ("u1", "i2", ">i4", "<u8"):
        labels = LABELS.astype(kind)[:, None]
        names = np.array(["a", "b", "c", "spare"])
        np.savez(tmp_path / "a.npz", images=np.asfortranarray(IMAGES), labels=labels, classes=names)
        whole = array_files.npz(tmp_path / "a.npz")
        assert np.array_equal(whole.parts["train"][0][:, 0], IMAGES)
        assert whole.parts["train"][1].tolist() == LABELS.tolist()
        assert whole.parts["train"][1].dtype == np.int64


def test_progress_ends_for_every_kind_of_data_set(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=LABELS)
    cifar(tmp_path)
    for name in ("digits", str(tmp_path / "a.npz"), str(tmp_path)):
        seen = []
        datasets.load(name, tick=seen.append)
        assert seen[-1] == 1.0


def cifar(folder, **change):
    """CIFAR-10's batches, `change` in the first."""
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        batch = {b"data": np.full((6, 3072), 7, np.uint8), b"labels": [0, 1, 2, 0, 1, 2]}
        batch |= {k.encode(): v for k, v in change.items()} if name == "data_batch_1" else {}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder / "data_batch_1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": np.zeros((6, 3072))}, "uint8 data of shape (N, 3072)"),
        ({"data": np.zeros((5, 3072), np.uint8)}, "uint8 data of shape (N, 3072)"),
        ({"data": [1, 2]}, "uint8 data of shape (N, 3072)"),
        ({"data": np.array([None])}, "an array has no plain type"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "uint8 data of shape (N, 3072)"),
        ({"labels": [0, 1, 2, 0, 1, -1]}, "not -1"),
        ({"labels": [0, 1, 2, 0, 1, 10**9]}, "not 1000000000"),
        ({"labels": [0, 1, 2, 0, 1, 10**9000]}, "a value of type int"),
        ({"labels": [0, 1, 2, 0, 1, 2.0]}, "a value of type float"),
        ({"labels": [0, 1, 2, 0, 1, True]}, "a value of type bool"),
        ({"labels": [0, 1, 2, 0, 1, [2]]}, "a value of type list"),
        ({"labels": [0, 1, 2, 0, 1, 4]}, "class 3 has none"),
        ({"labels": (0, 1, 2, 0, 1, 2)}, "uint8 data of shape (N, 3072)"),
    ],
)
def test_batches_that_are_not_as_published_are_refused(change, why, tmp_path):
    cifar(tmp_path, **change)
    refused(tmp_path, why)


def test_a_missing_batch_and_odd_names_are_refused(tmp_path):
    cifar(tmp_path)
    for names, why in (
        ([b"a", b"b"], "classes must name every class"),
        ([b"a", b"b", b"b"], "not 'b' 2 times"),
        ([b"a", b"b", 3], "must name the classes"),
        ("abc", "must name the classes"),
        ([b"a", b"b", b"\n"], "printable"),
    ):
        (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
        refused(tmp_path, why)
    (tmp_path / "batches.meta").unlink()
    (tmp_path / "data_batch_4").unlink()
    refused(tmp_path, "data_batch_4: the file must be a pickled batch of CIFAR (No such file")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back_from_every_protocol(protocol):
    document = {
        "texts": ["a", "žirafa", b"bytes", ""],
        "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**63, 10**30, 0.5, True, False, None],
        "shared": (("x",), ("x", 1, 2), (1, 2, 3, 4), (), [], {}),
        "grid": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "big": np.arange(3, dtype=">f4"),
    }
    found = plain_pickles.loads(pickle.dumps(document, protocol=protocol))
    for name, value in document.items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(found[name], value)
            assert found[name].dtype == value.dtype
        elif protocol > 2 or name != "texts":  # bytes are a call of _codecs.encode below 3
            assert found[name] == value


def test_python_2_batches_are_read(tmp_path):
    """As cPickle of Python 2 wrote CIFAR: texts are bytes."""
    data = b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x01K\x00eU\x04dataq\x04"
    data += b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87R"
    data += b"q\x07(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\x09(K\x03U\x01|"
    data += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x06abcdefq\x0atbu."
    found = plain_pickles.loads(data)
    assert found[b"labels"] == [1, 0]
    assert found[b"data"].tolist() == [[97, 98, 99], [100, 101, 102]]


def doubled(count):
    """A tuple of a tuple of a tuple …, twice each, as key of a dictionary: its hash never ends."""
    return b"\x80\x02}(" + b")" + b"2\x86" * count + b"K\x01u."


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x8e" + struct.pack("<Q", 10**15) + b"abc.", ""),
        (b"\x96" + struct.pack("<Q", 10**15) + b"abc.", ""),
        (b"\x8b" + struct.pack("<I", 2**31 - 1) + b"1.", ""),
        (b"\x80\x04]r\xff\xff\xff\xff.", "dictionary, not list"),  # a place in a memo of 64 GiB
        (b"\x80\x04](" + b"(" * 20_000 + b".", ""),
        (b"\x80\x04" + b"]" + b"\x85" * 20_000 + b".", "dictionary, not tuple"),
        (doubled(200), "the instruction DUP"),
        (b"\x80\x02})q\x00" + b"h\x00h\x00\x86q\x00" * 100 + b"K\x01s.", "a key is no text"),
        (b"I" + b"9" * 100_000 + b"\n.", ""),
        (b"cos\nsystem\n(U\x02lstR.", "names os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93(U\x02lstR.", "names os.system"),
        (b"ios\nsystem\n.", "the instruction INST"),
        (b"cnumpy\nndarray\n(tR.", "calls numpy.ndarray"),
        (b"\x80\x04\x8f.", "the instruction EMPTY_SET"),
        (b"\x80\x03cnumpy\nndarray\n)\x81.", "the instruction NEWOBJ"),
        (b"\x80\x03}}b.", "changes what is no array"),
        (b"P1\n.", "PERSID"),
        (b"\x82\x01.", "EXT1"),
        (b"h\x05.", ""),
        (b"0.", ""),
        (b".", ""),
        (b"}", ""),
        (b"", ""),
        (b"}}K\x01s.", ""),
    ],
)
def test_pickles_that_would_harm_are_refused(data, why, tmp_path):
    cifar(tmp_path).write_bytes(data)
    refused(tmp_path, why)


def test_a_pickle_that_takes_for_ever_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_pickles, "MOST_STEPS", 1000)
    cifar(tmp_path).write_bytes(b"\x80\x02" + b"}" * 2000 + b".")
    refused(tmp_path, "more than 1,000 steps")
    monkeypatch.undo()
    text = b"X" + struct.pack("<I", 10_000) + b"a" * 10_000
    cifar(tmp_path).write_bytes(
        b"\x80\x02c_codecs\nencode\nq\x00" + text + b"X\x06\0\0\0latin1\x86q\x01"
        b"](" + b"h\x00h\x01R" * 10_000 + b"e."
    )
    refused(tmp_path, "encodes its texts in another way")
    monkeypatch.setattr(plain_pickles, "MOST_BYTES", 100)
    refused(tmp_path, "it has more than")


def test_an_array_in_a_pickle_cannot_claim_what_it_does_not_hold(tmp_path):
    path = cifar(tmp_path)
    whole = path.read_bytes()
    shape = b"K\x06M\x00\x0c\x86"
    assert shape in whole
    for claim in (
        b"\x8a\x06" + struct.pack("<Q", 10**12)[:6] + b"M\x00\x0c\x86",
        b"K\x06J\xff\xff\xff\xff\x86",
        b"(" + b"K\x01" * 40 + b"t",
        b"NK\x06\x86",
        b"K\x06",
    ):
        path.write_bytes(whole.replace(shape, claim))
        refused(tmp_path, "data_batch_1: the file must be a pickled batch")


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    """Changed archives and batches: a data set, or the sentence."""
    rng = np.random.default_rng(3)
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES, labels=LABELS, classes=np.array(["a", "b", "c"]))
    batch = cifar(tmp_path)
    batch.write_bytes(
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, protocol=2)
    )
    refusals = 0
    for file, name in ((path, path), (batch, tmp_path)):
        whole = file.read_bytes()
        for turn in range(150):
            data = bytearray(whole)
            for _ in range(rng.integers(1, 5)):
                where = rng.integers(150) if rng.integers(2) else -rng.integers(1, 250)
                data[where] = rng.integers(256)
            file.write_bytes(rng.bytes(300) if turn % 30 == 7 else data)
            try:
                data = datasets.load(str(name))
            except DataError:
                refusals += 1
            else:
                assert data.train.images.dtype == np.uint8
    assert refusals > 100
