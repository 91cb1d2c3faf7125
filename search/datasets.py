"""Data sets as uint8 images (N, C, H, W) with a fixed, stated split: the embedded digits, or a folder with a folder a class."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.errors import DataError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

DIGITS_TEST = 360  # images of the test split of the 1797; stratified, fixed
DIGITS_VALIDATION = 288
SPLIT_SEED = 20260101  # fixes every split; independent of a search's seed
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images uint8 (N, C, H, W) and their class numbers (N,)."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Three disjoint splits; `train` trains weights, `val` architecture, `test` only measures."""

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

    @property
    def fit(self) -> Split:
        """Training and validation images together: what the derived network is trained on."""
        return Split(
            images=np.concatenate([self.train.images, self.val.images]),
            labels=np.concatenate([self.train.labels, self.val.labels]),
        )


def load(name: str, shape: tuple[int, int, int] | None = None, classes: Sequence[str] | None = None) -> Dataset:
    """'digits', or the path of a folder of images.

    `shape` (C, H, W) and `classes` are those of a network that shall read the images; without, the first file decides.
    Raises DataError naming the file that cannot be read.
    """
    if name == "digits":
        dataset = digits()
        if shape is not None and shape != dataset.shape:
            raise DataError(
                f"dataset 'digits' has images of shape {list(dataset.shape)}, and the network reads "
                f"{list(shape)}; name the data set that the bundle was searched for"
            )
    else:
        dataset = image_folder(Path(name), shape)
    if classes is not None and tuple(classes) != dataset.classes:
        raise DataError(
            f"dataset {name!r} must have the network's classes {list(classes)}, not {list(dataset.classes)}"
        )
    return dataset


def digits() -> Dataset:
    """scikit-learn's 1797 digits, 8x8, pixel 0..16 as round(v * 255 / 16); 1149 / 288 / 360 images, stratified."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.floor(raw.images * 255 / 16 + 0.5).astype(np.uint8)[:, None]
    labels = raw.target.astype(np.int64)
    rest, test = _stratified(labels, DIGITS_TEST, SPLIT_SEED)
    inner, val = _stratified(labels[rest], DIGITS_VALIDATION, SPLIT_SEED + 1)
    return Dataset(
        name="digits",
        classes=tuple(str(d) for d in range(10)),
        train=_take(images, labels, rest[inner]),
        val=_take(images, labels, rest[val]),
        test=_take(images, labels, test),
    )


def image_folder(root: Path, shape: tuple[int, int, int] | None = None) -> Dataset:
    """A folder `root/train/<class>/*` (with `root/test/<class>/*` or `root/val/<class>/*` where they exist) or `root/<class>/*`.

    The first image (by name) fixes size and grey or colour unless `shape` does; others are resized to it. Splits that
    do not exist as folders are drawn from the training images, stratified, always the same.
    """
    if not root.is_dir():
        raise DataError(f"dataset must be 'digits' or a folder of images, and {str(root)!r} is neither")
    train_root = root / "train" if (root / "train").is_dir() else root
    classes = tuple(sorted(p.name for p in train_root.iterdir() if p.is_dir() and not p.name.startswith(".")))
    if len(classes) < 2:
        raise DataError(f"{train_root}: the folder must hold at least two folders, one a class, not {len(classes)}")
    files = _files(train_root, classes)
    if shape is None:
        shape = _shape_of(files[0][0])
    splits = {"train": _read(files, shape)}
    for name in ("val", "test"):
        if train_root != root and (root / name).is_dir():
            splits[name] = _read(_files(root / name, classes), shape)
    for offset, name in enumerate(("test", "val")):
        if name not in splits:
            whole = splits["train"]
            rest, part = _stratified(whole.labels, max(len(classes), len(whole) // 5), SPLIT_SEED + offset)
            splits["train"] = _take(whole.images, whole.labels, rest)
            splits[name] = _take(whole.images, whole.labels, part)
    for name, split in splits.items():
        if not len(split):
            raise DataError(f"{root}: the {name} split must hold images, and it is empty; add images")
    return Dataset(name=root.name, classes=classes, **splits)


def _files(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    found = []
    for label, name in enumerate(classes):
        own = sorted(p for p in (root / name).glob("*") if p.is_file() and not p.name.startswith("."))
        if not own:
            raise DataError(f"{root / name}: the folder must hold at least one image, and it holds none")
        found += [(p, label) for p in own]
    return found


def _open(path: Path) -> Any:
    from PIL import Image

    try:
        with redirect_stderr(io.StringIO()):
            image = Image.open(path)
            image.load()
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise DataError(
            f"{path}: the file must be a readable image ({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
            "mend or remove it"
        ) from None
    return image


def _shape_of(path: Path) -> tuple[int, int, int]:
    image = _open(path)
    return (1 if image.mode in ("1", "L", "I", "I;16", "F", "LA") else 3), image.height, image.width


def _read(files: Sequence[tuple[Path, int]], shape: tuple[int, int, int]) -> Split:
    from PIL import Image

    channels, height, width = shape
    images = np.empty((len(files), channels, height, width), dtype=np.uint8)
    for index, (path, _) in enumerate(files):
        image = _open(path).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(image, dtype=np.uint8)
        images[index] = values[None] if channels == 1 else values.transpose(2, 0, 1)
    return Split(images=images, labels=np.array([label for _, label in files], dtype=np.int64))


def _take(images: Images, labels: Labels, index: npt.NDArray[np.int64]) -> Split:
    return Split(images=images[index], labels=labels[index])


def _stratified(labels: Labels, count: int, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sorted indices (rest, part) with `count` in `part`, as even over the classes as `labels` are."""
    order = np.random.default_rng(seed).permutation(len(labels))
    position = np.empty(len(labels))  # place of each image within its class, as a fraction
    for label in np.unique(labels):
        own = order[labels[order] == label]
        position[own] = (np.arange(len(own)) + 0.5) / len(own)
    ranked = order[np.argsort(position[order], kind="stable")]
    return np.sort(ranked[count:]), np.sort(ranked[:count])
