"""What the classes of a data set may be called: their names go into the design's files and the
report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autonba.errors import DataError

MOST_CLASSES = 65_536
MOST_LETTERS = 100


def checked(where: str, names: Sequence[str], way_out: str) -> tuple[str, ...]:
    """The names, if they are 2 to 65,536 different printable texts of at most 100 characters;
    raises DataError.
    """
    if not 2 <= len(names) <= MOST_CLASSES:
        raise DataError(
            f"{where}: a data set must have 2 to {MOST_CLASSES:,} classes, not {len(names):,};"
            f" {way_out}"
        )
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > MOST_LETTERS:
            raise DataError(
                f"{where}: the name of a class must be a printable text of 1 to {MOST_LETTERS}"
                f" characters, not {name[:MOST_LETTERS]!r}; {way_out}"
            )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{where}: the name of a class must be there once, not {name!r} {count}"
            f" times; {way_out}"
        )
    return tuple(names)


def numbers(
    where: str, training: npt.NDArray[np.int64], others: Sequence[npt.NDArray[np.int64]]
) -> tuple[str, ...]:
    """'0', '1', … for labels that come without names; raises DataError where a number below the
    highest has no training image.
    """
    highest = 1 + max(int(labels.max()) for labels in (training, *others))
    _used(where, training, range(min(highest, len(training) + 1)))
    return checked(where, tuple(str(n) for n in range(highest)), "mend the labels")


def same(
    where: str, training: npt.NDArray[np.int64], others: Sequence[npt.NDArray[np.int64]]
) -> None:
    """Raises DataError where images of another split are of a class without training images."""
    for labels in others:
        _used(where, training, np.unique(labels).tolist())


def _used(where: str, training: npt.NDArray[np.int64], wanted: Sequence[int]) -> None:
    there = set(np.unique(training).tolist())
    missing = next((n for n in wanted if n not in there), None)
    if missing is not None:
        raise DataError(
            f"{where}: every class must have training images, and class {missing} has none; add"
            " some, or number the classes 0, 1, 2 and so on without a gap"
        )
