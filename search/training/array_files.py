"""Data sets as arrays in files: NumPy's .npz, and the pickled batches in which CIFAR-10 and
CIFAR-100 are published.

Neither can run code, nor ask for more memory than the values in it need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.archives import Header, npz_headers, open_regular, read_npz, reason, shown
from autonba.errors import DataError

from . import class_names, plain_pickles

Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  # images (N, C, H, W) and labels (N,)

MOST_SIDE = 1024  # pixels of an image's height and width
_ADVICE = "write it again"
_UNPACK = "unpack the archive again"
_CIFAR10 = tuple(f"data_batch_{n}" for n in range(1, 6))
_OURS = {
    "train": ("images", "labels"),
    "val": ("val_images", "val_labels"),
    "test": ("test_images", "test_labels"),
}
_KERAS = {name: (f"x_{name}", f"y_{name}") for name in _OURS}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the files hold: `train`, and `val` and `test` where there are any; names of the
    classes.
    """

    parts: Mapping[str, Part]
    classes: tuple[str, ...]


def npz(path: Path) -> Parts:
    """`images` uint8 (N, H, W), (N, H, W, C) or (N, C, H, W) and `labels` (N,); likewise
    `val_images`, `val_labels`, `test_images`, `test_labels`; or Keras's x_train, y_train, x_val,
    y_val, x_test, y_test; and the texts `classes`, where there are any.

    Raises DataError for anything else, before images are read wherever it can be known.
    """
    headers = npz_headers(path, error=DataError, advice=_ADVICE)
    splits = _KERAS if "images" not in headers and "x_train" in headers else _OURS
    known = {name for pair in splits.values() for name in pair} | {"classes"}
    unknown = sorted(set(headers) - known)
    for split, pair in splits.items():
        missing = [name for name in pair if name not in headers]
        if len(missing) == 1 or (missing and split == "train"):
            raise DataError(
                f"{shown(path)}: array {missing[0]!r} must be present, and it is missing; the file"
                f" has {_few(sorted(headers))}"
            )
    if unknown:
        raise DataError(
            f"{shown(path)}: arrays must be called {', '.join(sorted(known))}, and"
            f" {_few(unknown)} would be left out; rename or remove it"
        )
    splits = {split: pair for split, pair in splits.items() if pair[0] in headers}
    layouts = {}
    for split, (images, labels) in splits.items():
        layouts[split] = _layout(path, images, headers[images])
        _check_labels(path, labels, headers[labels], headers[images].shape[0])
    for split, (images, _) in splits.items():
        if layouts[split].shape != layouts["train"].shape:
            raise DataError(
                f"{shown(path)}: {images} must have the training images' shape"
                f" {list(layouts['train'].shape)} (channels, height, width), not"
                f" {list(layouts[split].shape)}; {_ADVICE}"
            )
    small = {labels for _, labels in splits.values()} | {"classes"}
    arrays = read_npz(path, error=DataError, advice=_ADVICE, names=small)
    numbers = {split: _numbers(path, pair[1], arrays[pair[1]]) for split, pair in splits.items()}
    if "classes" in arrays:
        classes = _named(path, arrays["classes"])
        _check_highest(path, numbers, classes, "add names, or mend the labels")
    else:
        classes = class_names.numbers(shown(path), numbers["train"], _others(numbers))
    large = {images for images, _ in splits.values()}
    arrays = read_npz(path, error=DataError, advice=_ADVICE, names=large)
    parts = {
        split: (layouts[split].apply(arrays[pair[0]]), numbers[split])
        for split, pair in splits.items()
    }
    return Parts(parts=parts, classes=classes)


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Channels, height and width of stored images, and the order of their axes."""

    shape: tuple[int, int, int]
    axes: tuple[int, ...] | None  # of (N, C, H, W) in the stored array; None without channels

    def apply(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(
            images[:, None] if self.axes is None else images.transpose(self.axes)
        )


def _layout(path: Path, name: str, header: Header) -> _Layout:
    shape = header.shape
    if header.dtype != np.uint8 or len(shape) not in (3, 4) or 0 in shape:
        raise DataError(
            f"{shown(path)}: {name} must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W),"
            f" with values from 0 to 255 and no axis empty, not {header.dtype} of shape"
            f" {list(shape)}; convert it"
        )
    layout = _Layout(shape=(1, *shape[1:]), axes=None)  # type: ignore[arg-type]
    if len(shape) == 4:
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if first == last:
            raise DataError(
                f"{shown(path)}: {name} must have 1 or 3 channels on the second or on the last"
                f" axis, and not on both, and the shape is {list(shape)}; transpose it"
            )
        axes = (0, 3, 1, 2) if last else (0, 1, 2, 3)
        layout = _Layout(shape=tuple(shape[n] for n in axes[1:]), axes=axes)  # type: ignore[arg-type]
    if max(layout.shape) > MOST_SIDE:
        raise DataError(
            f"{shown(path)}: {name} must be at most {MOST_SIDE} pixels high and wide, and the shape"
            f" is {list(shape)}; make the images smaller"
        )
    return layout


def _check_labels(path: Path, name: str, header: Header, images: int) -> None:
    if header.dtype.kind not in "iu" or header.shape not in ((images,), (images, 1)):
        raise DataError(
            f"{shown(path)}: {name} must be integers from 0 on, one an image, of shape [{images}],"
            f" not {header.dtype} of shape {list(header.shape)}; convert it"
        )


def _numbers(path: Path, name: str, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= class_names.MOST_CLASSES:
        wrong = lowest if lowest < 0 else highest
        raise DataError(
            f"{shown(path)}: {name} must be class numbers from 0 to"
            f" {class_names.MOST_CLASSES - 1:,}, not {wrong}; mend the labels"
        )
    return labels.reshape(-1).astype(np.int64)


def _named(path: Path, names: npt.NDArray[Any]) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"{shown(path)}: classes must be a list of texts, one a class, not {names.dtype} of"
            f" shape {list(names.shape)}; convert it"
        )
    return class_names.checked(f"{shown(path)}: classes", names.tolist(), "rename the classes")


def _check_highest(
    where: Path, numbers: Mapping[str, npt.NDArray[np.int64]], classes: Sequence[str], way_out: str
) -> None:
    """Every label has a name, and every class of another split has training images."""
    highest = max(int(labels.max()) for labels in numbers.values())
    if highest >= len(classes):
        raise DataError(
            f"{shown(where)}: classes must name every class, {highest + 1} in all, not"
            f" {len(classes)}; {way_out}"
        )
    class_names.same(shown(where), numbers["train"], _others(numbers))


def _others(numbers: Mapping[str, npt.NDArray[np.int64]]) -> list[npt.NDArray[np.int64]]:
    return [labels for split, labels in numbers.items() if split != "train"]


def _few(names: Sequence[str]) -> str:
    return ", ".join(repr(n[:40]) for n in names[:8]) + (" …" if len(names) > 8 else "")


def cifar_folder(root: Path) -> Path | None:
    """The folder in or below `root` that holds CIFAR's pickled batches; None where there is
    none.
    """
    for folder in (root, root / "cifar-10-batches-py", root / "cifar-100-python"):
        if (folder / _CIFAR10[0]).is_file() or (
            (folder / "train").is_file() and (folder / "test").is_file()
        ):
            return folder
    return None


def cifar(folder: Path) -> Parts:
    """CIFAR-10 (data_batch_1 … data_batch_5, test_batch, batches.meta) or CIFAR-100 (train, test,
    meta; fine labels). Raises DataError naming the file that is not as published.
    """
    ten = (folder / _CIFAR10[0]).is_file()
    batches = [_batch(folder / name) for name in (_CIFAR10 if ten else ("train",))]
    parts = {"train": _joined(batches)}
    last = folder / ("test_batch" if ten else "test")
    if last.exists():
        parts["test"] = _batch(last)
    numbers = {split: labels for split, (_, labels) in parts.items()}
    meta = folder / ("batches.meta" if ten else "meta")
    if not meta.exists():
        classes = class_names.numbers(shown(folder), numbers["train"], _others(numbers))
        return Parts(parts=parts, classes=classes)
    names = _unpickle(meta).get(b"label_names" if ten else b"fine_label_names")
    if not isinstance(names, list) or not all(isinstance(n, (str, bytes)) for n in names):
        raise DataError(
            f"{shown(meta)}: the file must name the classes, and it does not; {_UNPACK}"
        )
    texts = [n.decode("utf-8", "backslashreplace") if isinstance(n, bytes) else n for n in names]
    classes = class_names.checked(shown(meta), texts, _UNPACK)
    _check_highest(meta, numbers, classes, _UNPACK)
    return Parts(parts=parts, classes=classes)


def _joined(parts: Sequence[Part]) -> Part:
    return np.concatenate([images for images, _ in parts]), np.concatenate(
        [labels for _, labels in parts]
    )


def _batch(path: Path) -> Part:
    document = _unpickle(path)
    data = document.get(b"data")
    labels = document.get(b"labels", document.get(b"fine_labels", []))
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        labels = labels.tolist()
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or not isinstance(labels, list)
        or data.shape != (len(labels), 3072)
        or not len(labels)
    ):
        raise DataError(
            f"{shown(path)}: the file must hold uint8 data of shape (N, 3072) and N labels;"
            f" {_UNPACK}"
        )
    for label in labels:
        if type(label) is not int or not 0 <= label < class_names.MOST_CLASSES:
            small = type(label) is int and abs(label) < 1 << 64
            wrong = str(label) if small else f"a value of type {type(label).__name__}"
            raise DataError(
                f"{shown(path)}: labels must be integers from 0 to"
                f" {class_names.MOST_CLASSES - 1:,}, not {wrong}; {_UNPACK}"
            )
    images = np.ascontiguousarray(data).reshape(-1, 3, 32, 32)
    return images, np.array(labels, dtype=np.int64)


def _unpickle(path: Path) -> dict[bytes, Any]:
    try:
        with open_regular(path) as file:
            document = plain_pickles.loads(file.read(plain_pickles.MOST_BYTES + 1))
    except Exception as error:  # damaged pickles raise many kinds
        raise DataError(
            f"{shown(path)}: the file must be a pickled batch of CIFAR ({reason(error)}); {_UNPACK}"
        ) from None
    if not isinstance(document, dict):
        raise DataError(
            f"{shown(path)}: the file must hold a dictionary, not {type(document).__name__};"
            f" {_UNPACK}"
        )
    return {
        key.encode("utf-8", "replace") if isinstance(key, str) else key: value
        for key, value in document.items()
    }
