"""Array shapes that a stage of the staged accelerator space chooses from.

Suffixes: A conv shapes, D depthwise shapes with their multiplier, P and Q classes of them with
equal ports.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autonba.accelerator import Multiplier

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MULTIPLIERS: tuple[Multiplier, ...] = ("lut", "dsp", "packed")
OUT_LANES = (2, 4, 8, 16, 24, 32, 48, 64)
IN_LANES = (1, 2, 4, 8, 16, 32)
DRAIN_LANES = (1, 2, 4, 8)
COLUMNS = (1, 2)
DEPTHWISE_LANES = (1, 2, 4, 8, 16, 32)
WINDOWS = ((1, 1), (3, 1), (5, 1), (1, 2), (3, 2), (5, 2))  # taps and columns of a depthwise chunk


@dataclass(frozen=True)
class ConvShapes:
    """Conv arrays; `number` maps indices into OUT_LANES, IN_LANES, DRAIN_LANES, COLUMNS to one,
    drains made to divide lanes.
    """

    out: Ints
    into: Ints
    drain: Ints
    columns: Ints
    number: Ints
    port: Ints  # (A,) class P of shapes with the same in_lanes, columns and drain_lanes


@dataclass(frozen=True)
class DepthwiseShapes:
    """Depthwise arrays with their multiplier; `number` maps indices into DEPTHWISE_LANES, WINDOWS,
    DRAIN_LANES, MULTIPLIERS.
    """

    lanes: Ints
    taps: Ints
    columns: Ints
    drain: Ints
    multiplier: Ints
    number: Ints
    port: Ints  # (D,) class Q of shapes with the same lanes, taps, columns and drain_lanes
    pooling: Ints  # (D,) the like shape that can take maxima


def conv_shapes() -> ConvShapes:
    """All conv arrays."""
    number = np.empty(
        (len(OUT_LANES), len(IN_LANES), len(DRAIN_LANES), len(COLUMNS)), dtype=np.int64
    )
    rows: dict[tuple[int, int, int, int], int] = {}
    for place in np.ndindex(number.shape):
        out_lanes, drain_lanes = OUT_LANES[place[0]], DRAIN_LANES[place[2]]
        legal = max(n for n in DRAIN_LANES if n <= drain_lanes and out_lanes % n == 0)
        number[place] = rows.setdefault(
            (out_lanes, IN_LANES[place[1]], legal, COLUMNS[place[3]]), len(rows)
        )
    out, into, drain, columns = np.array(list(rows)).T
    return ConvShapes(out, into, drain, columns, number, _classes(into, columns, drain))


def depthwise_shapes() -> DepthwiseShapes:
    """All depthwise arrays."""
    number = np.empty(
        (len(DEPTHWISE_LANES), len(WINDOWS), len(DRAIN_LANES), len(MULTIPLIERS)), dtype=np.int64
    )
    rows: dict[tuple[int, int, int, int, int], int] = {}
    for place in np.ndindex(number.shape):
        width, (of_taps, of_columns) = DEPTHWISE_LANES[place[0]], WINDOWS[place[1]]
        legal = place[3] if of_columns > 1 else min(place[3], 1)  # one column has nothing to pack
        shape = width, of_taps, of_columns, min(DRAIN_LANES[place[2]], width), legal
        number[place] = rows.setdefault(shape, len(rows))
    lanes, taps, columns, drain, multiplier = np.array(list(rows)).T
    pooling = np.array([rows[n, 1, c, d, min(m, 1)] for n, _, c, d, m in rows])
    return DepthwiseShapes(
        lanes,
        taps,
        columns,
        drain,
        multiplier,
        number,
        _classes(lanes, taps, columns, drain),
        pooling,
    )


def _classes(*columns: Ints) -> Ints:
    found: Ints = np.unique(np.stack(columns), axis=1, return_inverse=True)[1].reshape(-1)
    return found
