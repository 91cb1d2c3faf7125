"""Data sets as arrays in files: NumPy's .npz, and the pickled batches in which CIFAR-10 and
CIFAR-100 are published.

Pickles are read by an unpickler that knows plain arrays and nothing else, so that a file cannot run
code.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.errors import DataError

Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]  # images (N, C, H, W) and labels (N,)

_CIFAR10 = tuple(f"data_batch_{n}" for n in range(1, 6))
_KERAS = {
    "images": "x_train",
    "labels": "y_train",
    "test_images": "x_test",
    "test_labels": "y_test",
}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the files hold: `train`, and `val` and `test` where there are any; names of the
    classes.
    """

    parts: Mapping[str, Part]
    classes: tuple[str, ...]


def npz(path: Path) -> Parts:
    """`images` uint8 (N, H, W), (N, H, W, C) or (N, C, H, W) and `labels` (N,); likewise
    `val_images`, `val_labels`, `test_images`, `test_labels`, and the texts `classes`, where there
    are any; or Keras's x_train, y_train, x_test, y_test.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib, NumPy and the system each have their own kinds
        raise DataError(
            f"{path}: the file must be an undamaged .npz of plain arrays ({_first(error)}); write"
            " it again"
        ) from None
    if "images" not in arrays and "x_train" in arrays:
        arrays = {ours: arrays[theirs] for ours, theirs in _KERAS.items() if theirs in arrays}
    parts = {}
    for split, prefix in (("train", ""), ("val", "val_"), ("test", "test_")):
        names = [f"{prefix}images", f"{prefix}labels"]
        missing = [name for name in names if name not in arrays]
        if len(missing) == 1 or (missing and split == "train"):
            raise DataError(
                f"{path}: array {missing[0]!r} must be present, and it is missing; the file has"
                f" {sorted(arrays)}"
            )
        if not missing:
            parts[split] = _checked(path, names, arrays[names[0]], arrays[names[1]])
    highest = 1 + max(int(labels.max()) for _, labels in parts.values())
    classes = (
        tuple(str(name) for name in arrays["classes"])
        if "classes" in arrays
        else tuple(str(n) for n in range(highest))
    )
    if len(classes) < max(highest, 2):
        raise DataError(
            f"{path}: classes must name at least two classes and every label, {highest} in all, not"
            f" {len(classes)}"
        )
    return Parts(parts=parts, classes=classes)


def _checked(
    path: Path, names: Sequence[str], images: npt.NDArray[Any], labels: npt.NDArray[Any]
) -> Part:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not images.size:
        raise DataError(
            f"{path}: {names[0]} must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), "
            f"not {images.dtype} of shape {list(images.shape)}"
        )
    if images.ndim == 3:
        images = images[:, None]
    else:
        first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
        if first == last:
            raise DataError(
                f"{path}: {names[0]} must have 1 or 3 channels on the second or on the last axis, "
                f"and not on both, and the shape is {list(images.shape)}"
            )
        images = images.transpose(0, 3, 1, 2) if last else images
    labels = (
        labels.reshape(len(labels), -1)[:, 0]
        if labels.ndim == 2 and labels.shape[1] == 1
        else labels
    )
    if (
        labels.shape != (len(images),)
        or not np.issubdtype(labels.dtype, np.integer)
        or labels.min() < 0
    ):
        raise DataError(
            f"{path}: {names[1]} must be integers from 0 on, one an image ({len(images)}), "
            f"not {labels.dtype} of shape {list(labels.shape)}"
        )
    return np.ascontiguousarray(images), labels.astype(np.int64)


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
    meta; fine labels).
    """
    ten = (folder / _CIFAR10[0]).is_file()
    training = [name for name in _CIFAR10 if (folder / name).is_file()] if ten else ["train"]
    parts = {"train": _joined([_batch(folder / name) for name in training])}
    last = folder / ("test_batch" if ten else "test")
    if last.is_file():
        parts["test"] = _batch(last)
    highest = 1 + max(int(labels.max()) for _, labels in parts.values())
    meta = folder / ("batches.meta" if ten else "meta")
    classes = tuple(str(n) for n in range(highest))
    if meta.is_file():
        names = _unpickle(meta).get(b"label_names" if ten else b"fine_label_names")
        if not isinstance(names, list) or len(names) < highest:
            raise DataError(
                f"{meta}: the file must name {highest} classes, and it does not; unpack the archive"
                " again"
            )
        classes = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    return Parts(parts=parts, classes=classes)


def _joined(parts: Sequence[Part]) -> Part:
    return np.concatenate([images for images, _ in parts]), np.concatenate(
        [labels for _, labels in parts]
    )


def _batch(path: Path) -> Part:
    document = _unpickle(path)
    data = document.get(b"data")
    labels = np.asarray(document.get(b"labels", document.get(b"fine_labels", [])))
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.shape != (len(labels), 3072)
        or not len(labels)
    ):
        raise DataError(
            f"{path}: the file must hold uint8 data of shape (N, 3072) and N labels; unpack the"
            " archive again"
        )
    return np.ascontiguousarray(data).reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _latin(text: str, codec: str = "latin1") -> bytes:
    """How Python 3 writes bytes in old pickles."""
    return text.encode("latin1")


class _Arrays(pickle.Unpickler):
    """Knows what NumPy arrays are made of; any other name is refused."""

    _KNOWN: Mapping[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): np.ndarray(0).__reduce__()[0],  # type: ignore[dict-item]
        ("numpy._core.multiarray", "_reconstruct"): np.ndarray(0).__reduce__()[0],  # type: ignore[dict-item]
        ("_codecs", "encode"): _latin,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The named object, if it is one of the known."""
        if (module, name) not in self._KNOWN:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which a data set has no need of"
            )
        return self._KNOWN[module, name]


def _unpickle(path: Path) -> dict[bytes, Any]:
    try:
        document = _Arrays(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise many kinds
        raise DataError(
            f"{path}: the file must be a pickled batch of CIFAR ({_first(error)}); unpack the"
            " archive again"
        ) from None
    if not isinstance(document, dict):
        raise DataError(
            f"{path}: the file must hold a dictionary, not {type(document).__name__}; unpack the"
            " archive again"
        )
    return {key.encode() if isinstance(key, str) else key: value for key, value in document.items()}


def _first(error: Exception) -> str:
    text = str(error)
    return text.splitlines()[0] if text else type(error).__name__
