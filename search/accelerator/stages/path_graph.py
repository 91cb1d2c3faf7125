"""Graphs whose paths are accelerators: arcs are chunks, options the ways to build them. Suffixes: N
options, R resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Arc:
    """Ways to go on to node `target`: of each option its `busy` cycles (N,), resources `spent` (N,
    R), additive `value` (N,) and number `options` (N,)."""

    target: int
    busy: Floats
    spent: Floats
    value: Floats
    options: Ints


class OptionGraph(Protocol):
    """Nodes are numbered so that arcs go to higher numbers; 0 is the source and `nodes` - 1 the
    sink.
    """

    @property
    def nodes(self) -> int:
        """How many there are, source and sink among them."""
        ...

    @property
    def resources(self) -> tuple[str, ...]:
        """Names of what an arc spends, in the order of its columns."""
        ...

    def arcs(self, node: int) -> Sequence[Arc]:
        """The arcs that leave `node`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The graph of a fixed sequence of chunks: `links` n leads from node n to n + 1."""

    resources: tuple[str, ...]
    links: tuple[Arc, ...]

    @property
    def nodes(self) -> int:
        """One more than links."""
        return len(self.links) + 1

    def arcs(self, node: int) -> Sequence[Arc]:
        """The one arc that leaves `node`, or none behind the last."""
        return self.links[node : node + 1]


def pareto(key_NR: Floats) -> Ints:
    """Numbers of the rows that no other row is at most as large as in every column; of equal rows,
    one.
    """
    key_NR = key_NR[:, (key_NR != key_NR[:1]).any(0)]
    if key_NR.shape[1] == 0:
        return np.zeros(min(1, len(key_NR)), dtype=np.int64)
    if key_NR.shape[1] == 1:
        return np.array([key_NR[:, 0].argmin()])
    if key_NR.shape[1] == 2:
        order = np.lexsort((key_NR[:, 1], key_NR[:, 0]))
        second = key_NR[order, 1]
        keep = np.ones(len(order), dtype=bool)
        keep[1:] = second[1:] < np.minimum.accumulate(second)[:-1]
        return order[keep]
    order = np.lexsort(
        (*key_NR.T, (key_NR / np.maximum(key_NR.max(0), 1e-300)).sum(1))
    )  # a row comes after those that beat it
    key_NR = key_NR[order]
    found, front = np.zeros(0, dtype=np.int64), np.zeros((0, key_NR.shape[1]))
    for start in range(0, len(order), 512):
        number = np.arange(start, min(start + 512, len(order)))
        number = number[~_beaten(key_NR[number], front)]
        own = key_NR[number]
        inside = np.tril(at_most(own, own), -1)  # [a, b]: row b < a is at most row a
        number = number[~inside.any(1)]
        found, front = np.concatenate([found, number]), np.concatenate([front, key_NR[number]])
    return order[found]


def at_most(row_NR: Floats, other_MR: Floats) -> NDArray[np.bool_]:
    """(N, M): whether other row m is at most row n in every column."""
    result = np.ones((len(row_NR), len(other_MR)), dtype=bool)
    for column in range(row_NR.shape[1]):
        result &= other_MR[:, column] <= row_NR[:, column, None]
    return result


def _beaten(row_NR: Floats, front_MR: Floats) -> NDArray[np.bool_]:
    """(N,): whether some row of the front is at most row n in every column."""
    result = np.zeros(len(row_NR), dtype=bool)
    for start in range(0, len(front_MR), 2048):
        open_ = (~result).nonzero()[0]
        result[open_] = at_most(row_NR[open_], front_MR[start : start + 2048]).any(1)
    return result
