"""Data sets as uint8 images (N, C, H, W) with a fixed, stated split.

They come as the embedded digits, a folder with a folder of images a class, CIFAR's own pickled
batches, or NumPy arrays.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autonba.archives import MOST_BYTES, reason, shown
from autonba.errors import DataError

from . import array_files, image_folders, pictures

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

DIGITS_TEST = 360  # images of the test split of the 1797; stratified, fixed
DIGITS_VALIDATION = 288
SPLIT_SEED = 20260101  # fixes every split; independent of a search's seed
FRACTION = 0.2  # of the images that a split is drawn from, where it is not said
HELD = 0.125  # of the validation images, on which no weight is ever trained
READERS = 4  # threads that decode images; Pillow lets go of Python's lock while it decodes
READ_AT_ONCE = 256  # images between two reports of progress
Tick = Callable[[float], None]  # told the finished fraction


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images uint8 (N, C, H, W) and their class numbers (N,)."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """The images of those numbers, in that order."""
        return Split(images=self.images[index], labels=self.labels[index])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of an image."""
        _, c, h, w = self.images.shape
        return c, h, w


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Three disjoint splits; `train` trains weights, `val` architecture, `test` only measures.

    The derived network is trained on `fit`: both, but for `held`, the validation images that say
    how good a trained network is wherever something is chosen. So nothing is chosen by `test`.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, c, h, w = self.train.images.shape
        return c, h, w

    @cached_property
    def _parted(self) -> tuple[Split, Split]:
        rest, held = _stratified(self.val.labels, max(1, round(HELD * len(self.val))), SPLIT_SEED)
        return self.val.take(rest), self.val.take(held)

    @property
    def held(self) -> Split:
        """An eighth of the validation images, stratified and always the same, on which no weight is
        trained.
        """
        return self._parted[1]

    @property
    def fit(self) -> Split:
        """Training images and the other validation images: what the derived network is trained
        on.
        """
        rest = self._parted[0]
        return Split(
            images=np.concatenate([self.train.images, rest.images]),
            labels=np.concatenate([self.train.labels, rest.labels]),
        )


def load(
    name: str,
    shape: tuple[int, int, int] | None = None,
    classes: Sequence[str] | None = None,
    *,
    val: float | None = None,
    test: float | None = None,
    tick: Tick = lambda done: None,
) -> Dataset:
    """'digits', the path of a folder (of images, or of CIFAR's batches), or of an .npz file.

    `shape` (C, H, W) and `classes` are those of a network that shall read the images; without, the
    files decide. `val` and `test` size the splits that the files do not hold themselves, as a
    fraction of the images that are left to draw from (test is drawn first) or, from 1 on, a number
    of images. Raises DataError naming the file that cannot be read.
    """
    try:
        dataset = _loaded(name, shape, val, test, tick)
    except (OSError, ValueError, MemoryError) as error:  # names and folders that the system refuses
        raise DataError(
            f"dataset {shown(name[:300])} must be a folder or a file that can be read"
            f" ({reason(error)}); name another, or mend it"
        ) from None
    if shape is not None and shape != dataset.shape:
        raise DataError(
            f"dataset {name!r} has images of shape {list(dataset.shape)}, and the network reads "
            f"{list(shape)}; name the data set that the bundle was searched for"
        )
    if classes is not None and tuple(classes) != dataset.classes:
        raise DataError(
            f"dataset {name!r} must have the network's classes {list(classes)}, not"
            f" {list(dataset.classes)}"
        )
    return dataset


def _loaded(
    name: str,
    shape: tuple[int, int, int] | None,
    val: float | None,
    test: float | None,
    tick: Tick,
) -> Dataset:
    path = Path(name)
    folder = array_files.cifar_folder(path) if path.is_dir() else None
    if name == "digits":
        found = digits(val, test)
    elif path.suffix == ".npz" and path.is_file():
        found = _drawn(name_of(name), array_files.npz(path), val, test)
    elif folder is not None:
        found = _drawn(name_of(name), array_files.cifar(folder), val, test)
    elif path.is_dir():
        return image_folder(path, shape, val=val, test=test, tick=tick)
    else:
        raise DataError(
            "dataset must be 'digits', a folder of images or of CIFAR's batches, or an .npz file,"
            f" and {name[:300]!r} is none of these"
        )
    tick(1.0)
    return found


def name_of(dataset: str) -> str:
    """The name of the data set that `load(dataset)` gives."""
    path = Path(dataset)
    if dataset == "digits" or not path.is_dir():
        return dataset if dataset == "digits" else path.stem
    folder = array_files.cifar_folder(path)
    return (
        path.name
        if folder is None
        else "cifar10"
        if (folder / "data_batch_1").is_file()
        else "cifar100"
    )


def digits(val: float | None = None, test: float | None = None) -> Dataset:
    """scikit-learn's 1797 digits, 8x8, pixel 0..16 as round(v * 255 / 16); 1149 / 288 / 360 images,
    stratified.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.floor(raw.images * 255 / 16 + 0.5).astype(np.uint8)[:, None]
    whole = {"train": Split(images=images, labels=raw.target.astype(np.int64))}
    return _split(
        "digits",
        whole,
        tuple(str(d) for d in range(10)),
        DIGITS_VALIDATION if val is None else val,
        DIGITS_TEST if test is None else test,
    )


def image_folder(
    root: Path,
    shape: tuple[int, int, int] | None = None,
    *,
    val: float | None = None,
    test: float | None = None,
    tick: Tick = lambda done: None,
) -> Dataset:
    """A folder `root/train/<class>/*` (with `root/test/<class>/*` or `root/val/<class>/*` where
    they exist) or `root/<class>/*`.

    Unless `shape` does, the first image (by name) fixes the size, and others are resized to it; and
    images are colour if any of them is, else grey. Splits that do not exist as folders are drawn
    from the training images, stratified, always the same.
    """
    found = image_folders.scan(root)
    files = found.files
    if shape is None:
        shape = _shape_of([path for own in files.values() for path, _ in own])
    images = sum(len(own) for own in files.values())
    if images * math.prod(shape) > MOST_BYTES:
        raise DataError(
            f"{shown(root)}: {images:,} images of shape {list(shape)} must fit"
            f" {MOST_BYTES >> 30} GiB, and take {images * math.prod(shape) / (1 << 30):.1f}; make"
            f" the images smaller, first of all {shown(files['train'][0][0])}"
        )
    count, done, splits = sum(len(own) for own in files.values()), 0, {}
    for name, own in files.items():

        def told(part: float, done: int = done, images: int = len(own)) -> None:
            tick((done + part * images) / count)

        splits[name] = _read(own, shape, told)
        done += len(own)
    return _split(root.name, splits, found.classes, val, test)


def _drawn(name: str, found: array_files.Parts, val: float | None, test: float | None) -> Dataset:
    splits = {
        split: Split(images=images, labels=labels)
        for split, (images, labels) in found.parts.items()
    }
    return _split(name, splits, found.classes, val, test)


def _split(
    name: str,
    splits: dict[str, Split],
    classes: tuple[str, ...],
    val: float | None,
    test: float | None,
) -> Dataset:
    """The splits that are there, and those that are missing drawn from the training images:
    stratified, always the same.
    """
    for offset, (split, size) in enumerate((("test", test), ("val", val))):
        if split in splits:
            if size is not None:
                raise DataError(
                    f"{split} must not be given for data set {name!r}, which has {split} images of"
                    " its own"
                )
            continue
        whole = splits["train"]
        count = _count(split, size, len(whole), len(classes))
        rest, part = _stratified(whole.labels, count, SPLIT_SEED + offset)
        splits = {**splits, "train": whole.take(rest), split: whole.take(part)}
    for split, own in splits.items():
        if not len(own):
            raise DataError(
                f"data set {name!r}: the {split} split must hold images, and it is empty; add"
                " images"
            )
        if own.shape != splits["train"].shape:
            raise DataError(
                f"data set {name!r}: {split} images must have the training images' shape"
                f" {list(splits['train'].shape)}, not {list(own.shape)}"
            )
    return Dataset(name=name, classes=classes, **splits)


def _count(split: str, size: float | None, images: int, classes: int) -> int:
    """Images of a split to be drawn from `images`."""
    if size is None:
        return max(classes, images // round(1 / FRACTION))
    if not 0 < size < images or (size >= 1 and size != int(size)):
        raise DataError(
            f"{split} must be a fraction above 0 and below 1, or a whole number of images below"
            f" {images}, not {size!r}"
        )
    count = round(size * images) if size < 1 else int(size)
    if not 0 < count < images:
        raise DataError(
            f"{split} must leave images on both sides, and {size!r} takes {count} of {images}; give"
            f" a number of images from 1 to {images - 1}"
        )
    return count


def _shape_of(files: Sequence[Path]) -> tuple[int, int, int]:
    """Channels, height and width by the first image's size and by all images' colour."""
    first = pictures.head(files[0])
    if max(first.width, first.height) > array_files.MOST_SIDE:
        raise DataError(
            f"{shown(files[0])}: the first image is the network's input, and must be at most"
            f" {array_files.MOST_SIDE} pixels wide and high, not"
            f" {first.width}x{first.height}; make the images smaller"
        )
    colour = any(pictures.head(path).colour for path in files)
    upright = pictures.read(files[0], colour)
    return 3 if colour else 1, upright.height, upright.width


def _read(files: Sequence[tuple[Path, int]], shape: tuple[int, int, int], tick: Tick) -> Split:
    """Decode in a few threads; the first bad file, by name, is the one that is told."""
    from PIL import Image

    channels, height, width = shape
    images = np.empty((len(files), channels, height, width), dtype=np.uint8)

    def read(index: int) -> None:
        image = pictures.read(files[index][0], channels == 3)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(image, dtype=np.uint8)
        images[index] = values[None] if channels == 1 else values.transpose(2, 0, 1)

    def read_all(first: int) -> int:
        last = min(first + READ_AT_ONCE, len(files))
        for index in range(first, last):
            read(index)
        return last

    with (
        redirect_stderr(io.StringIO()),
        ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as pool,
    ):
        for last in pool.map(read_all, range(0, len(files), READ_AT_ONCE)):
            tick(last / len(files))
    return Split(images=images, labels=np.array([label for _, label in files], dtype=np.int64))


def in_turn(labels: Labels, count: int | None = None) -> npt.NDArray[np.int64]:
    """Numbers of `count` images (of all by default), the classes taking turns as long as they have
    any; always the same.

    So every beginning of it holds an equal share of each class, however the images are sorted.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # place of each image within its class
    for label in np.unique(labels):
        own = order[labels[order] == label]
        turn[own] = np.arange(len(own))
    return np.lexsort((labels, turn))[:count]


def spread(labels: Labels, seed: int) -> npt.NDArray[np.int64]:
    """Numbers of all images, drawn so that every beginning holds each class in its share of the
    whole.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    position = np.empty(len(labels))  # place of each image within its class, as a fraction
    for label in np.unique(labels):
        own = order[labels[order] == label]
        position[own] = (np.arange(len(own)) + 0.5) / len(own)
    return order[np.argsort(position[order], kind="stable")]


def _stratified(
    labels: Labels, count: int, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sorted indices (rest, part) with `count` in `part`, as even over the classes as `labels`
    are.
    """
    ranked = spread(labels, seed)
    return np.sort(ranked[count:]), np.sort(ranked[:count])
