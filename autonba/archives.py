"""NumPy's .npz files, read so that a file cannot harm: nothing in it is run, and everything it
claims is checked before memory is taken for it.

An .npz is a zip archive of .npy members; each of these is a short header (type, order, shape) and
the values. The archive's directory and the headers are checked against each other and against the
limits below; only then are values read.
"""

from __future__ import annotations

import ast
import io
import math
import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from autonba.errors import AutonbaError

MOST_BYTES = 8 << 30  # of all arrays of a file together
MOST_DIRECTORY = 1 << 20  # bytes of an archive's directory: some 10,000 arrays
MOST_HEADER = 10_000  # bytes of a member's header, as in NumPy
BOMB_RATIO = 300  # what inflates more than this, and beyond BOMB_BYTES, is no data
BOMB_BYTES = 64 << 20
KINDS = "biufU"  # truth values, signed, unsigned, float, text

_MAGIC = b"\x93NUMPY"
_PIECE = 1 << 18  # bytes read at once, fewer than MOST_DIRECTORY
_DTYPE = re.compile(rf"[<>|=]?[{KINDS}][0-9]{{1,9}}")

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an array of a file is: type in the byte order of the file, and shape."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int  # bytes in front of the values


class _BadFileError(Exception):
    """What is wrong, in words that fit in brackets."""


class _Brief(io.RawIOBase):
    """A file of which no more than `most` bytes are ever read at once."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.most = file, most

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self.most:
            size = self.most + 1
        data = self.file.read(size)
        if len(data) > self.most:
            raise _BadFileError(f"its directory is larger than {self.most >> 20} MiB")
        return data


def shown(path: Path | str) -> str:
    """A path as a sentence can hold it: quoted where it has line breaks or the like."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def open_regular(path: Path) -> BinaryIO:
    """The file, opened for reading; OSError or ValueError where it is none.

    A pipe or device is refused without being opened: it might never answer.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise OSError(None, f"it is {kind}, not a file")
    return open(path, "rb")


def reason(error: BaseException) -> str:
    """Why, in one line and in brackets' words: the error's own where it has any."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = text.splitlines()[0] if text else type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in line)[:200]


def npz_headers(
    path: Path, *, error: type[AutonbaError], advice: str, most_bytes: int = MOST_BYTES
) -> dict[str, Header]:
    """Types and shapes of the arrays of an .npz file, by name without '.npy'; no value is read.

    Raises `error` as `read_npz` does.
    """
    return _opened(path, error, advice, lambda archive, size: _headers(archive, size, most_bytes))


def read_npz(
    path: Path,
    *,
    error: type[AutonbaError],
    advice: str,
    most_bytes: int = MOST_BYTES,
    names: Collection[str] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file, by name without '.npy', writable and in native byte order; only
    those of `names` if they are given.

    Arrays are truth values, integers, floats or texts; the archive stores or deflates them. Raises
    `error`, one sentence that ends with `advice`, for any file that is not such an archive whole,
    or holds more than `most_bytes`; what the file claims is checked before memory is taken.
    """

    def read(archive: zipfile.ZipFile, size: int) -> dict[str, npt.NDArray[Any]]:
        headers = _headers(archive, size, most_bytes)
        return {
            name: _values(archive, name, header)
            for name, header in headers.items()
            if names is None or name in names
        }

    return _opened(path, error, advice, read)


def _opened(
    path: Path,
    error: type[AutonbaError],
    advice: str,
    read: Callable[[zipfile.ZipFile, int], Read],
) -> Read:
    try:
        with open_regular(path) as file:
            start = file.read(len(_MAGIC))
            size = os.fstat(file.fileno()).st_size
            if start == _MAGIC:
                raise _BadFileError("it is a single array, .npy: numpy.savez writes an .npz")
            if not start:
                raise _BadFileError("it is empty")
            with zipfile.ZipFile(_Brief(file, MOST_DIRECTORY)) as archive:
                return read(archive, size)
    except FileNotFoundError:
        raise error(
            f"{shown(path)}: the file must be present, and it is missing; {advice}"
        ) from None
    except Exception as caught:  # zip, zlib, NumPy and the system each have their own kinds
        raise error(
            f"{shown(path)}: the file must be an undamaged .npz of plain arrays"
            f" ({reason(caught)}); {advice}"
        ) from None


def _headers(archive: zipfile.ZipFile, size: int, most_bytes: int) -> dict[str, Header]:
    """Checked headers; `size` is that of the archive in bytes."""
    members = archive.infolist()
    names = set()
    for member in members:
        where = f"member {member.filename[:80]!r}"
        if not member.filename.endswith(".npy") or member.filename == ".npy":
            raise _BadFileError(f"{where} is no .npy array")
        if member.filename in names:
            raise _BadFileError(f"{where} is there twice")
        if member.flag_bits & 0x41:
            raise _BadFileError(f"{where} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _BadFileError(
                f"{where} is packed by method {member.compress_type}, neither stored nor deflated"
            )
        if member.file_size > max(BOMB_BYTES, BOMB_RATIO * member.compress_size):
            raise _BadFileError(f"{where} inflates more than {BOMB_RATIO}-fold")
        names.add(member.filename)
    total = sum(member.file_size for member in members)
    if total > most_bytes:
        raise _BadFileError(f"its arrays hold {total} bytes, more than {most_bytes}")
    if total > max(BOMB_BYTES, BOMB_RATIO * size):
        raise _BadFileError(f"its arrays inflate more than {BOMB_RATIO}-fold")
    return {m.filename.removesuffix(".npy"): _header(archive, m) for m in members}


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    where = f"array {member.filename.removesuffix('.npy')[:80]!r}"
    with archive.open(member) as file:
        start = _exactly(file, 8, where)
        if start[:6] != _MAGIC or start[6] not in (1, 2, 3):
            raise _BadFileError(f"{where} has no .npy header")
        layout = "<H" if start[6] == 1 else "<I"
        (length,) = struct.unpack(layout, _exactly(file, struct.calcsize(layout), where))
        if length > MOST_HEADER:
            raise _BadFileError(f"{where} has a header of {length} bytes, more than {MOST_HEADER}")
        text = _exactly(file, length, where)
    fields = _fields(text.decode("utf-8" if start[6] == 3 else "latin-1"), where)
    descr, shape, fortran = fields["descr"], fields["shape"], fields["fortran_order"]
    if not isinstance(descr, str) or not _DTYPE.fullmatch(descr):
        raise _BadFileError(
            f"{where} is of type {str(descr)[:40]!r}, and neither truth values, integers, floats"
            " nor texts"
        )
    dtype = np.dtype(descr)
    if not dtype.itemsize:
        raise _BadFileError(f"{where} is of type {descr!r}, which has no bytes")
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise _BadFileError(f"{where} has no shape, but {str(shape)[:80]!r}")
    offset = 8 + struct.calcsize(layout) + length
    if math.prod(shape) * dtype.itemsize != member.file_size - offset:
        raise _BadFileError(
            f"{where} of shape {str(shape)[:80]} and type {descr!r} cannot be its"
            f" {member.file_size - offset} bytes"
        )
    return Header(dtype=dtype, shape=shape, fortran=bool(fortran), offset=offset)


def _fields(text: str, where: str) -> dict[str, Any]:
    """The header's dictionary; Python 2 wrote an L behind its integers."""
    try:
        fields = ast.literal_eval(re.sub(r"(?<=[0-9])L(?=[,)])", "", text).strip())
    except Exception:  # also nesting too deep for the parser
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise _BadFileError(f"{where} has no .npy header")
    return fields


def _values(archive: zipfile.ZipFile, name: str, header: Header) -> npt.NDArray[Any]:
    """The array, whose header has been checked."""
    dtype = header.dtype
    buffer = np.empty(math.prod(header.shape) * dtype.itemsize, dtype=np.uint8)
    with archive.open(f"{name}.npy") as file:
        _exactly(file, header.offset, name)
        done = 0
        while done < len(buffer):
            piece = file.read(min(_PIECE, len(buffer) - done))
            if not piece:
                raise _BadFileError(f"array {name[:80]!r} ends too early")
            buffer[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
            done += len(piece)
        if file.read(1):  # the checksum is compared at the end
            raise _BadFileError(f"array {name[:80]!r} does not end")
    array = buffer.view(dtype)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    if dtype.kind == "b":
        array = buffer != 0
    if dtype.kind == "U":
        points = array.view(np.uint32)
        if ((points > 0x10FFFF) | ((points >= 0xD800) & (points < 0xE000))).any():
            raise _BadFileError(f"array {name[:80]!r} holds what is no text")
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def _exactly(file: IO[bytes], size: int, where: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise _BadFileError(f"{where} ends too early")
    return data
