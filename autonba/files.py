"""Files read with care and written whole, and the folder of a bundle that one command at a time
may change.

What a bundle holds may come from anybody. Reading refuses what is no plain file, too large, or led
out of the bundle by a link; nothing is ever written or removed through a link. What a stage writes
is first put aside, in a folder `.autonba-TOKEN` of the bundle, and moved when it is complete: a
full disk leaves what was there, and a kill while files are moved is made good by whoever opens the
bundle next.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import math
import os
import secrets
import stat
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from autonba.archives import open_regular, read_npz, reason
from autonba.errors import AutonbaError, BundleError

MOST_BYTES = 64 << 20  # of a text file
ASIDE = ".autonba-"  # begins the name of the folder in which a stage collects what it writes
_TOKEN_BYTES = 8
# A zip entry has a date; with a fixed one, its bytes say its content.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_INTEGER_DIGITS = 20

Arrays = Mapping[str, np.ndarray[Any, Any]]


def read_bytes(
    path: Path,
    *,
    most: int = MOST_BYTES,
    error: type[AutonbaError] = BundleError,
    advice: str = "run the stage that writes it",
) -> bytes:
    """Content of a plain file of at most `most` bytes; raises `error`, which ends with `advice`."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise error(
                    f"{path}: the file must have at most {most} bytes, not {size}; {advice}"
                )
            return file.read()
    except FileNotFoundError:
        raise error(f"{path}: the file must exist, and it does not; {advice}") from None
    except (OSError, ValueError) as problem:  # ValueError: a path with a zero byte
        raise error(f"{path}: the file must be readable ({reason(problem)}); {advice}") from None


def read_text(
    path: Path,
    *,
    most: int = MOST_BYTES,
    error: type[AutonbaError] = BundleError,
    advice: str = "run the stage that writes it",
) -> str:
    """As `read_bytes`, as UTF-8 text."""
    try:
        return read_bytes(path, most=most, error=error, advice=advice).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: the file must be UTF-8 text ({problem}); {advice}") from None


def read_json(path: Path) -> Any:
    """Parse a JSON file; raises BundleError.

    Refused, with the place named, are bad syntax, keys that occur twice, numbers that are not
    finite, integers of more than 64 bits and more brackets within brackets than Python follows.
    """
    text = read_text(path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise BundleError(f"{path}: key {key!r} must occur once, and it occurs again")
            found[key] = value
        return found

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise BundleError(f"{path}: numbers must be finite, not {text[:_INTEGER_DIGITS]}")
        return value

    def integer(text: str) -> int:
        if len(text) > _INTEGER_DIGITS or abs(value := int(text)) >= 1 << 63:
            raise BundleError(
                f"{path}: integers must be below 2^63, not {text[:_INTEGER_DIGITS]} of"
                f" {len(text)} characters"
            )
        return value

    try:
        return json.loads(
            text,
            object_pairs_hook=unique,
            parse_float=number,
            parse_int=integer,
            parse_constant=number,
        )
    except json.JSONDecodeError as problem:
        raise BundleError(
            f"{path}: the file must be readable JSON ({problem}); write it again"
        ) from None
    except RecursionError:
        raise BundleError(
            f"{path}: brackets within brackets must be fewer; write the file again"
        ) from None


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read an .npz of plain arrays; nothing in it can run code. Raises BundleError."""
    return read_npz(path, error=BundleError, advice="write it again")


def json_bytes(document: object) -> bytes:
    """Sorted, indented JSON; ValueError where a number is not finite."""
    return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def array_bytes(arrays: Arrays) -> bytes:
    """An .npz whose bytes depend on the arrays alone."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            values = np.ascontiguousarray(arrays[name])
            np.lib.format.write_array(member, values, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    return out.getvalue()


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all; an equal file is left untouched."""
    if _holds(path, data):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{ASIDE}{secrets.token_hex(_TOKEN_BYTES)}")
    try:
        _write_new(temporary, data, sync=True)
        temporary.replace(path)
    except OSError as problem:
        raise _said(problem, path) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, document: object) -> None:
    """Write sorted, indented JSON, whole or not at all."""
    write_bytes(path, json_bytes(document))


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz whose bytes depend on the arrays alone, whole or not at all."""
    write_bytes(path, array_bytes(arrays))


def inside(root: Path, name: str) -> Path:
    """`name` (with / between folders) below `root`; BundleError where a link lies on the way."""
    parts = PurePosixPath(name).parts
    if not parts or any(part in ("..", "/") for part in parts):
        raise BundleError(f"{root}: {name!r} must be a name of a file in it")
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise BundleError(
                f"{path}: it must not be a link, as it would lead out of the bundle; put a copy in"
                " its place"
            )
    return path


def refuse_links(folder: Path) -> None:
    """BundleError where anything below `folder` is neither a plain file nor a folder."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                refuse_links(folder / entry.name)
            elif not entry.is_file(follow_symlinks=False):
                raise BundleError(
                    f"{folder / entry.name}: it must be a plain file and no link, as tools write"
                    " here; remove it"
                )


MANIFEST = "manifest.json"


class Work:
    """What one command writes into the folder `root`; made by `working`.

    Files are put aside by `write` and appear together with `commit`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._token = secrets.token_hex(_TOKEN_BYTES)
        self._written: dict[str, str] = {}
        self._removed: dict[str, str] = {}

    @property
    def _aside(self) -> Path:
        return self.root / f"{ASIDE}{self._token}"

    def write(self, name: str, data: bytes) -> None:
        """Put aside what file `name` shall hold."""
        if _holds(inside(self.root, name), data) and name not in self._written:
            return
        path = self._aside / name
        try:
            if not self._written:
                self._aside.mkdir(exist_ok=True)
                _write_new(self._aside / "token", self._token.encode())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._written[name] = _digest(data)
            _write_new(path, data)
        except OSError as problem:
            raise _said(problem, self.root / name) from None

    def write_json(self, name: str, document: object) -> None:
        """`write` of sorted, indented JSON."""
        self.write(name, json_bytes(document))

    def write_arrays(self, name: str, arrays: Arrays) -> None:
        """`write` of an .npz."""
        self.write(name, array_bytes(arrays))

    def write_owned(self, folder: str, files: Mapping[str, bytes]) -> None:
        """`files` by name in `folder`, and its manifest; what an earlier one lists and this lacks
        is removed, where it still holds what was written.
        """
        place = inside(self.root, folder)
        for name, digest in manifest(place).items():
            if name not in files:
                self._removed[f"{folder}/{name}"] = digest
        for name, data in sorted(files.items()):
            self.write(f"{folder}/{name}", data)
        digests = {name: _digest(data) for name, data in files.items()}
        self.write_json(f"{folder}/{MANIFEST}", {"schema_version": 1, "files": digests})

    def commit(self) -> None:
        """Move all that was put aside into its place."""
        if not self._written and not self._removed:
            return
        journal = {"token": self._token, "write": self._written, "remove": self._removed}
        try:
            self._aside.mkdir(exist_ok=True)
            _write_new(self._aside / "new", json_bytes(journal))
            (self._aside / "new").replace(self._aside / "commit.json")
        except OSError as problem:
            raise _said(problem, self.root) from None
        _move(self.root, self._aside, journal)
        self._written, self._removed = {}, {}

    def discard(self) -> None:
        """Forget what was put aside since the last `commit`; one that was cut short in its moves
        stays for `recover`.
        """
        if self._aside.is_dir() and not (self._aside / "commit.json").is_file():
            _clear(self._aside, self._written)
        self._written, self._removed = {}, {}


def manifest(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a stage wrote into `folder`, by name; empty where none did."""
    try:
        document = read_json(folder / MANIFEST)
    except BundleError:
        return {}
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, dict):
        return {}
    return {
        name: digest
        for name, digest in files.items()
        if isinstance(digest, str) and PurePosixPath(name).name == name and name != MANIFEST
    }


class Owned:
    """Files of a folder that may be removed again, since `manifest` knows what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, data: bytes) -> None:
        """Replace file `name`, whole or not at all."""
        write_bytes(self.folder / name, data)
        self._keep({**manifest(self.folder), name: _digest(data)})

    def remove(self, *names: str) -> None:
        """Remove files, and then the folder if it is empty; what others wrote stays."""
        known = manifest(self.folder)
        for name in names:
            path = self.folder / name
            own = name in known and path.is_file() and not path.is_symlink()
            if own and _digest(path.read_bytes()) == known[name]:
                path.unlink()
        left = {name: digest for name, digest in known.items() if name not in names}
        if left:
            self._keep(left)
        elif known:
            (self.folder / MANIFEST).unlink(missing_ok=True)
            _remove_empty(self.folder)

    def clear(self) -> None:
        """Remove all of them."""
        self.remove(*manifest(self.folder))

    def _keep(self, files: Mapping[str, str]) -> None:
        if files != manifest(self.folder):
            write_json(self.folder / MANIFEST, {"schema_version": 1, "files": dict(files)})


@contextmanager
def working(root: Path) -> Iterator[Work]:
    """Whoever changes the folder `root` does it within; `commit` follows where nothing was raised.

    Raises BundleError where another command is at work in it. A crash leaves no lock behind.
    """
    new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise _said(problem, root) from None
    try:
        if not _lock(handle):
            raise BundleError(
                f"{root}: one command at a time may change a bundle, and another one is at work in"
                " it; wait until it ends, or name another folder"
            )
        recover(root, locked=True)
        work = Work(root)
        try:
            yield work
        except BaseException:
            work.discard()
            raise
        work.commit()
    finally:
        os.close(handle)
        if new:
            _remove_empty(root)


def recover(root: Path, *, locked: bool = False) -> None:
    """Finish what a killed command had put aside completely, and remove what it had not.

    Without `locked`, nothing is done while another command is at work.
    """
    asides = [path for path in root.glob(f"{ASIDE}*") if path.is_dir() and not path.is_symlink()]
    if not asides:
        return
    if not locked:
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _lock(handle):
                recover(root, locked=True)
        finally:
            os.close(handle)
        return
    for aside in asides:
        token = aside.name.removeprefix(ASIDE)
        _remove_empty(aside)
        try:
            said = read_text(inside(aside, "token"), most=100)
            if said != token:
                if token.startswith(said) and [p.name for p in aside.iterdir()] == ["token"]:
                    _clear(aside, ())  # killed while the token was written
                continue  # not ours
            if (aside / "commit.json").is_file():
                _move(root, aside, _checked(read_json(inside(aside, "commit.json"))))
            else:
                names = [p.relative_to(aside).as_posix() for p in aside.rglob("*") if p.is_file()]
                _clear(aside, names)
        except BundleError:
            continue  # damaged, so not known to be ours


def _checked(journal: Any) -> dict[str, Any]:
    tables = [journal.get(n) for n in ("write", "remove")] if isinstance(journal, dict) else []
    if len(tables) != 2 or not all(
        isinstance(t, dict) and all(isinstance(v, str) for v in t.values()) for t in tables
    ):
        raise BundleError("the journal must have tables 'write' and 'remove'")
    return dict(zip(("write", "remove"), tables, strict=True))


def _move(root: Path, aside: Path, journal: Mapping[str, Any]) -> None:
    """Do what a complete journal says; what is done already is left as it is."""
    for name, digest in journal["write"].items():
        source, path = inside(aside, name), inside(root, name)
        if not source.is_file():
            continue
        if _digest(source.read_bytes()) != digest:
            raise BundleError(f"{source}: the file must be as it was written, and it is not")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            source.replace(path)
        except OSError as problem:
            raise _said(problem, path) from None
    for name, digest in journal["remove"].items():
        path = inside(root, name)
        if path.is_file() and _digest(path.read_bytes()) == digest:
            path.unlink()
    _clear(aside, journal["write"])


def _clear(aside: Path, names: Collection[str]) -> None:
    """Remove the folder in which files were put aside, with files of those names."""
    for name in (*names, "new", "commit.json", "token"):  # in this order, lest a kill disowns them
        inside(aside, name).unlink(missing_ok=True)
    folders = {f for name in names for f in PurePosixPath(name).parents if f.name}
    for folder in sorted(folders, key=lambda f: -len(f.parts)):
        _remove_empty(aside / folder)
    _remove_empty(aside)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # it is not there, or somebody put something into it


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system knows no locks
        return True
    return True


def _holds(path: Path, data: bytes) -> bool:
    """Whether `path` is a plain file that holds `data`."""
    try:
        status = path.lstat()
        return (
            stat.S_ISREG(status.st_mode)
            and status.st_size == len(data)
            and path.read_bytes() == data
        )
    except OSError:
        return False


def _write_new(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Write a file that does not exist yet; all writing of results ends here.

    With `sync`, it is on the disk before this returns.
    """
    with path.open("xb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _said(problem: OSError, path: Path) -> BundleError:
    return BundleError(
        f"{path}: the file cannot be written ({reason(problem)}); make room or allow it, and run"
        " the command again"
    )
