"""Archives of arrays: read by their meaning, or refused in one sentence before memory is taken."""

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from autonba import archives
from autonba.errors import BundleError, DataError

ADVICE = "write it again"


def read(path, **options):
    return archives.read_npz(path, error=DataError, advice=ADVICE, **options)


def refused(path, **options):
    """The sentence; it takes next to no memory."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            read(path, **options)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.endswith(f"; {ADVICE}")
    assert text.isprintable()
    assert len(text) < 600
    return text


def member(descr="'|u1'", shape="(3,)", values=b"abc", version=1, rest="'fortran_order': False"):
    """Bytes of an .npy member with any header."""
    header = f"{{'descr': {descr}, 'shape': {shape}, {rest}}}\n".encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + values


def write(path, *members, method=zipfile.ZIP_STORED):
    """An archive of (name, bytes)."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_as_they_were_written(save, tmp_path):
    arrays = {
        "grid": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "columns": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
        "big": np.arange(5, dtype=">i4"),
        "floats": np.array([[0.5, np.inf], [-1e300, 3]]),
        "texts": np.array(["cat", "žirafa"]),
        "truth": np.array([True, False]),
        "one": np.array(7),
        "none": np.zeros((0, 3), np.float32),
        "many": np.random.default_rng(0).integers(0, 9, 3 << 20, dtype=np.uint8),
    }
    save(tmp_path / "a.npz", **arrays)
    found = read(tmp_path / "a.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=")
        assert found[name].dtype.isnative
        assert found[name].flags.writeable
    assert set(read(tmp_path / "a.npz", names=("grid", "absent"))) == {"grid"}


def test_headers_are_read_without_values(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 5, 6), ">u2"))
    header = archives.npz_headers(tmp_path / "a.npz", error=DataError, advice=ADVICE)["images"]
    assert (header.dtype, header.shape) == (np.dtype(">u2"), (4, 5, 6))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header(version, tmp_path):
    path = write(tmp_path / "a.npz", ("a.npy", member(version=version)))
    assert read(path)["a"].tobytes() == b"abc"


def test_header_of_python_2(tmp_path):
    path = write(tmp_path / "a.npz", ("a.npy", member(shape="(1L, 3L)")))
    assert read(path)["a"].shape == (1, 3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (member("'|O'"), "of type '|O'"),
        (member("[('a', '|u1')]"), "neither truth values"),
        (member("'|S1'"), "of type '|S1'"),
        (member("'<c8'", "(1,)", bytes(8)), "of type '<c8'"),
        (member("'<M8[s]'", "(1,)", bytes(8)), "neither truth values"),
        (member("'|V3'", "(1,)"), "neither truth values"),
        (member("'|u3'", "(1,)"), "data type"),
        (member("'<U0'", f"({10**15},)", b""), "no bytes"),
        (member("'<U99999999'", "(1,)", b"abcd"), "cannot be its 4 bytes"),
        (member("'<U1'", "(1,)", b"\xff\xff\xff\x7f"), "no text"),
        (member("'<U1'", "(1,)", b"\x00\xd8\x00\x00"), "no text"),
        (member(shape=f"({10**15},)"), "cannot be its 3 bytes"),
        (member(shape=f"(0, {10**30})", values=b""), "no shape"),
        (member(shape=f"({2**63 - 1}, 0, {2**62})", values=b""), "undamaged"),
        (member(shape="(-3,)"), "no shape"),
        (member(shape="(3.0,)"), "no shape"),
        (member(shape="(True, 3)"), "no shape"),
        (member(shape="3"), "no shape"),
        (member(shape="(" + "1, " * 200 + "3)"), "undamaged"),
        (member(values=b"abcd"), "cannot be its 4 bytes"),
        (member(values=b"ab"), "cannot be its 2 bytes"),
        (member("__import__('os').getpid()"), "no .npy header"),
        (member("(" * 4000), "no .npy header"),
        (member(rest="'other': 1"), "no .npy header"),
        (member(version=4), "no .npy header"),
        (member(version=2, shape=" " * 20000 + "(3,)"), "more than 10000"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{", "more than 10000"),
        (b"\x93NUMPY\x01\x00\xff\xff", "more than 10000"),
        (b"\x93NUMPY\x01\x00\xff\x00{", "ends too early"),
        (b"", "ends too early"),
        (b"GIF89a and more", "no .npy header"),
    ],
)
def test_a_member_that_is_no_plain_array_is_refused(data, why, tmp_path):
    assert why in refused(write(tmp_path / "a.npz", ("a.npy", data)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("a.npy", member()), ("a.npy", member())], "'a.npy' is there twice"),
        ([("a.txt", b"hello")], "'a.txt' is no .npy array"),
        ([("folder/", b"")], "'folder/' is no .npy array"),
        ([("a.npy", member()), ("line\nbreak", b"")], r"'line\\nbreak' is no .npy"),
    ],
)
def test_members_other_than_arrays_each_with_a_name_are_refused(members, why, tmp_path):
    assert why.replace("\\\\", "\\") in refused(write(tmp_path / "a.npz", *members))


def test_other_ways_of_packing_are_refused(tmp_path):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = write(tmp_path / "a.npz", ("a.npy", member()), method=method)
        assert f"packed by method {method}" in refused(path)
    whole = write(tmp_path / "a.npz", ("a.npy", member())).read_bytes()
    directory = whole.index(b"PK\1\2")
    for bits in (0x01, 0x40):
        changed = bytearray(whole)
        changed[directory + 8] |= bits
        (tmp_path / "a.npz").write_bytes(changed)
        assert "is encrypted" in refused(tmp_path / "a.npz")


def test_bombs_are_refused_before_memory_is_taken(tmp_path):
    size = 70 << 20
    zeros = member(shape=f"({size},)", values=bytes(size))
    path = write(tmp_path / "one.npz", ("a.npy", zeros), method=zipfile.ZIP_DEFLATED)
    assert "'a.npy' inflates more than 300-fold" in refused(path)
    half = member(shape=f"({size // 2},)", values=bytes(size // 2))
    members = [(f"{n}.npy", half) for n in range(2)]
    path = write(tmp_path / "many.npz", *members, method=zipfile.ZIP_DEFLATED)
    assert "arrays inflate more than 300-fold" in refused(path)
    path = write(tmp_path / "large.npz", ("a.npy", member()))
    assert "more than 50" in refused(path, most_bytes=50)
    assert read(path, most_bytes=1000)["a"].tolist() == [97, 98, 99]


def test_a_size_that_the_directory_does_not_tell_is_refused(tmp_path):
    """An archive whose directory claims another size than the member has."""
    whole = write(tmp_path / "a.npz", ("a.npy", member()), method=zipfile.ZIP_DEFLATED).read_bytes()
    directory = whole.index(b"PK\1\2")
    for claimed in (5, 1 << 20, 1 << 31):
        changed = bytearray(whole)
        changed[directory + 24 : directory + 28] = struct.pack("<I", claimed)
        (tmp_path / "a.npz").write_bytes(changed)
        refused(tmp_path / "a.npz")


def test_a_directory_of_millions_of_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_DIRECTORY", 2000)
    path = write(tmp_path / "a.npz", *((f"{n}.npy", b"") for n in range(100)))
    assert "directory is larger" in refused(path)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    assert "missing" in refused(path)
    path.write_bytes(b"")
    assert "it is empty" in refused(path)
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    assert "single array, .npy" in refused(path)
    path.write_bytes(b"rubbish" * 100)
    assert "not a zip file" in refused(path)
    whole = write(path, ("a.npy", member())).read_bytes()
    path.write_bytes(whole[:-10])
    refused(path)
    path.write_bytes(whole.replace(b"abc", b"abd"))
    assert "CRC" in refused(path)
    path.unlink()
    path.mkdir()
    assert "it is a folder" in refused(path)
    os.mkfifo(tmp_path / "pipe.npz")
    assert "a pipe or a device" in refused(tmp_path / "pipe.npz")


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.npz", ("a.npy", member()))

    def denied(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)
    assert "(Permission denied)" in refused(path)


def test_a_path_with_a_line_break_stays_one_sentence(tmp_path):
    with pytest.raises(BundleError, match=r"\\n") as caught:
        archives.read_npz(tmp_path / "a\nb.npz", error=BundleError, advice=ADVICE)
    assert "\n" not in str(caught.value)


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    """Changed, cut and lengthened archives: either the sentence, or plain arrays."""
    rng = np.random.default_rng(8)
    stored = io.BytesIO()
    np.savez(stored, images=np.arange(60, dtype=np.uint8).reshape(3, 4, 5), labels=np.arange(3))
    packed = io.BytesIO()
    np.savez_compressed(packed, texts=np.array(["a", "b"]), labels=np.arange(30))
    path, refusals = tmp_path / "a.npz", 0
    for turn in range(600):
        data = bytearray((stored if turn % 2 else packed).getvalue())
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        if turn % 10 == 0:
            data = data[: rng.integers(len(data))]
        path.write_bytes(rng.bytes(200) if turn % 50 == 3 else data)
        try:
            found = read(path)
        except DataError:
            refusals += 1
        else:
            assert all(array.dtype.kind in archives.KINDS for array in found.values())
    assert refusals > 300
