"""Accuracy of a bundle's three networks on a data set: float, fake-quantized, integer."""

from __future__ import annotations

from typing import Any

import numpy as np

from autonba import golden
from autonba.bundle import Bundle
from autonba.errors import BundleError
from autonba.files import inside, read_arrays, read_json

from . import datasets, export, reference
from .train import accuracy


def evaluate(bundle: Bundle, dataset: str) -> dict[str, Any]:
    """{'float', 'quantized', 'integer': fraction right on the test split, 'images': how many,
    'differing_predictions': those that integer and fake-quantized network class differently};
    without search/model.npz, the integer network's alone.

    A test split that must be drawn from the images is the search's, by the size in
    report/search.json. Raises DataError where the images do not suit the network, BundleError where
    search/model.npz is damaged.
    """
    network, weights = bundle.design.network, bundle.weights
    shape = (network.input.channels, network.input.height, network.input.width)
    test = datasets.load(dataset, shape, network.classes, test=_test_size(bundle, dataset)).test
    model = inside(bundle.path, "search/model.npz")
    arrays = read_arrays(model) if model.exists() else {}
    networks = (("float", False), ("quantized", True)) if model.exists() else ()
    found: dict[str, Any] = {"images": len(test)}
    whole = golden.predict(network, weights, test.images.astype(np.int64))
    for name, quantized in networks:
        classes = reference.predict(
            network, export.from_arrays(arrays, name, network), test.images, quantized=quantized
        )
        found[name] = accuracy(classes, test)
        if quantized:
            found["differing_predictions"] = int((classes != whole).sum())
    found["integer"] = accuracy(whole, test)
    return found


def _test_size(bundle: Bundle, dataset: str) -> float | None:
    """Size of the test split that the search drew from this data set; None where it drew none, or a
    standard one.
    """
    path = inside(bundle.path, "report/search.json")
    if not path.exists():
        return None
    document = read_json(path)
    split = document.get("split") if isinstance(document, dict) else None
    size = split.get("test") if isinstance(split, dict) else None
    if not isinstance(split, dict) or not (size is None or type(size) in (int, float)):
        raise BundleError(
            f"{path}: split.test must be a number or null, not {size!r}; run `autonba search` again"
        )
    return size if document.get("dataset") == datasets.name_of(dataset) else None
