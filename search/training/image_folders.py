"""Which files of a folder are images of which class. Nothing that could be an image is passed over
in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autonba.archives import shown
from autonba.errors import DataError

from . import class_names, pictures

OTHERS = ("val", "test")  # splits that may stand beside `train`
_JUNK = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")  # what systems leave

Files = list[tuple[Path, int]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Names of the classes, sorted; of `train`, and of `val` and `test` where they exist, the files
    and their class numbers.
    """

    classes: tuple[str, ...]
    files: Mapping[str, Files]


def scan(root: Path) -> Found:
    """The files of `root/train/<class>/*` (with `root/test/<class>/*` or `root/val/<class>/*` where
    they exist) or `root/<class>/*`.

    Names that start with a dot, and files that systems leave, are passed over. Raises DataError for
    whatever else is no image of a class: names it.
    """
    split = (root / "train").is_dir()
    if split:
        for entry in _folders(root):
            if entry.name not in ("train", *OTHERS):
                raise DataError(
                    f"{shown(root)}: folders beside 'train' must be called 'val' or 'test', not"
                    f" {entry.name!r}; rename it, or move it out"
                )
    top = root / "train" if split else root
    names = sorted(entry.name for entry in _folders(top))
    classes = class_names.checked(
        shown(top), names, "give each class a folder of its own that holds its images"
    )
    files = {"train": _files(top, classes)}
    for name in OTHERS:
        if split and (root / name).is_dir():
            own = {entry.name for entry in _folders(root / name)}
            _same(root / name, "is not in 'train'", own - set(classes))
            _same(root / name, "is missing there", set(classes) - own)
            files[name] = _files(root / name, classes)
    return Found(classes=classes, files=files)


def _same(folder: Path, what: str, names: Iterable[str]) -> None:
    for name in sorted(names):
        raise DataError(
            f"{shown(folder)}: the folder must hold the classes of 'train', and class {name!r}"
            f" {what}; add its images, or remove it from both"
        )


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _JUNK]
    return sorted(found, key=lambda entry: entry.name)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    """The folders in a folder; images and broken links beside them are refused."""
    found = []
    for entry in _visible(folder):
        if _is_folder(entry):
            found.append(entry)
        elif not _is_file(entry):
            raise DataError(
                f"{shown(entry.path)}: a data set must hold files and folders, and this link or"
                " pipe is neither; remove it"
            )
        elif Path(entry.name).suffix.lower() in pictures.suffixes():
            raise DataError(
                f"{shown(entry.path)}: an image must lie in the folder of its class, and this one"
                " lies outside; move it there, or out of the data set"
            )
    return found


def _files(root: Path, classes: Iterable[str]) -> Files:
    found = []
    for label, name in enumerate(classes):
        own = []
        for entry in _visible(root / name):
            if not _is_file(entry):
                what = "a folder" if _is_folder(entry) else "a broken link or a pipe"
                raise DataError(
                    f"{shown(root / name)}: the folder of a class must hold image files alone, and"
                    f" {entry.name!r} is {what}; move its images up, or remove it"
                )
            own.append((Path(entry.path), label))
        if not own:
            raise DataError(
                f"{shown(root / name)}: the folder must hold at least one image, and it holds none;"
                " add images, or remove it"
            )
        found += own
    return found
