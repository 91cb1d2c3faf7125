"""Which classes the integer network takes for which, on the golden images of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autonba.arithmetic import IntArray
from autonba.bundle import Bundle

WHOLE = 20  # classes up to which the matrix is shown, above only its largest entries


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """`counts[label, prediction]` (K, K) images of `classes`."""

    classes: tuple[str, ...]
    counts: IntArray

    @property
    def images(self) -> int:
        """Images counted."""
        return int(self.counts.sum())

    @property
    def right(self) -> int:
        """Images whose prediction is their label."""
        return int(np.trace(self.counts))

    @property
    def is_whole(self) -> bool:
        """Whether the classes are few enough for the matrix."""
        return len(self.classes) <= WHOLE

    def rows(self) -> list[dict[str, Any]]:
        """Of each label: its name, its images, those right, and (images, share) by prediction."""
        return [
            {
                "name": name,
                "images": int(own.sum()),
                "right": int(own[label]),
                "cells": [(int(n), int(n) / max(int(own.sum()), 1)) for n in own],
            }
            for label, (name, own) in enumerate(zip(self.classes, self.counts, strict=True))
        ]

    def pairs(self) -> list[tuple[str, str, int, int]]:
        """The WHOLE most frequent mistakes: label, prediction, images, images of the label."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[:WHOLE]
        places = [np.unravel_index(place, wrong.shape) for place in order]
        return [
            (self.classes[i], self.classes[j], int(wrong[i, j]), int(self.counts[i].sum()))
            for i, j in places
            if wrong[i, j]
        ]


def confusion(bundle: Bundle) -> Confusion | None:
    """That of the golden images; None without golden.npz, or where a result is not one pixel."""
    path, network = bundle.path / "golden.npz", bundle.design.network
    if not path.is_file() or network.output.height * network.output.width > 1:
        return None
    labels, classes = bundle.golden["labels"], network.classes
    results = bundle.golden[network.layers[-1].name].reshape(len(labels), -1)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (labels, results.argmax(axis=1)), 1)
    return Confusion(classes=classes, counts=counts)
