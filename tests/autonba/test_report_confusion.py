"""The confusion matrix counts labels against predictions of the golden images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autonba.bundle import Bundle
from autonba.errors import BundleError
from autonba.files import read_arrays, write_arrays
from autonba.golden import predict
from autonba.report_confusion import Confusion, confusion
from autonba.sim.random_designs import random_bundle


def bundle_of(tmp_path: Path, labels: object) -> Bundle:
    """A bundle with one-pixel results, and `labels` of its images."""
    bundle = next(
        found
        for seed in range(1, 60)
        if (found := random_bundle(tmp_path, seed, 6)).design.network.output.height == 1
        and found.design.network.output.width == 1
        and len(found.design.network.classes) > 2
    )
    golden = read_arrays(bundle.path / "golden.npz")
    write_arrays(bundle.path / "golden.npz", {**golden, "labels": np.array(labels)})
    return Bundle(bundle.path)


def test_rows_are_labels_and_columns_predictions(tmp_path: Path) -> None:
    labels = [0, 1, 2, 0, 1, 1]
    bundle = bundle_of(tmp_path, labels)
    found = confusion(bundle)
    assert found is not None
    network = bundle.design.network
    wanted = np.zeros((len(network.classes),) * 2, dtype=int)
    for label, guess in zip(
        labels, predict(network, bundle.weights, bundle.golden["images"]), strict=True
    ):
        wanted[label, guess] += 1
    assert found.counts.tolist() == wanted.tolist()
    assert (found.images, found.right) == (6, int(np.trace(wanted)))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 999, 0, 0, 0], "labels must be from 0 to 3"),
        ([0, -1, 0, 0, 0, 0], "not -1"),
        ([[0]] * 6, "labels must be a list"),
    ],
)
def test_labels_that_are_no_classes_are_refused(
    tmp_path: Path, labels: list[object], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        confusion(bundle_of(tmp_path, labels))


def test_without_golden_images_there_is_none(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, [0] * 6)
    (bundle.path / "golden.npz").unlink()
    assert confusion(Bundle(bundle.path)) is None


def test_of_many_classes_the_most_frequent_mistakes_are_listed() -> None:
    counts = np.diag([5] * 100)
    counts[3, 7], counts[9, 1], counts[0, 2] = 2, 4, 1
    found = Confusion(classes=tuple(f"c{n}" for n in range(100)), counts=counts)
    assert not found.is_whole
    assert found.pairs() == [("c9", "c1", 4, 9), ("c3", "c7", 2, 7), ("c0", "c2", 1, 6)]
