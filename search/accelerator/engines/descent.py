"""Steepest descent over neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from autonba.search.accelerator.record import NEVER, Points, Record

from .engine import Engine

WIDTH = 48  # of the best single moves, those that are tried in pairs


class Descent(Engine):
    """From each of `starts` to the best neighbour as long as there is a better one.

    Neighbours are all candidates that differ in one factor, and then pairs of the most promising of
    these moves. Suffix M: moves of one factor.
    """

    def __init__(self, record: Record, *, seed: int, starts: Tensor) -> None:
        super().__init__(record, seed=seed)
        self.starts = list(starts)
        sizes = record.problem.sizes
        self.factor_M = torch.tensor([f for f, size in enumerate(sizes) for _ in range(size)])
        self.value_M = torch.tensor([value for size in sizes for value in range(size)])
        self._begin()

    def _begin(self) -> None:
        self.here_F = self.starts.pop(0) if self.starts else None
        self.reached, self.near = NEVER, None  # type: float, tuple[Tensor, Tensor] | None
        self.moves = torch.zeros(0, dtype=torch.int64)
        self.singles: Points | None = None

    def propose(self) -> Tensor:
        """Choices (B, F) to look at next; see `Engine`."""
        here_F = self.here_F
        if here_F is None:
            return torch.zeros(0, len(self.record.problem.sizes), dtype=torch.int64)
        if self.singles is None:
            self.moves = (here_F[self.factor_M] != self.value_M).nonzero()[:, 0]
            return self._moved(here_F, self.moves)
        moves, points = self.moves[: len(self.singles.score)], self.singles
        by_score = moves[points.score.argsort(stable=True)]
        by_value = moves[(points.value + 0.1 * points.score).argsort(stable=True)]
        first = torch.tensor(sorted({*by_value[:WIDTH].tolist(), *by_score[:WIDTH].tolist()}))
        a, b = (t.flatten() for t in torch.meshgrid(first, by_score[: 2 * WIDTH], indexing="ij"))
        apart = (self.factor_M[a] != self.factor_M[b]).nonzero()[:, 0]
        return self._moved(here_F, a[apart], b[apart])

    def _moved(self, here_F: Tensor, *moves: Tensor) -> Tensor:
        near_BF = here_F.repeat(len(moves[0]), 1)
        for part in moves:
            near_BF[torch.arange(len(part)), self.factor_M[part]] = self.value_M[part]
        return near_BF

    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Take in what the choices cost; see `Engine`."""
        rank_B = points.rank
        best = int(rank_B.argmin())
        if self.near is None or float(rank_B[best]) < float(self.near[1]):
            self.near = choice_BF[best], rank_B[best]
        if self.singles is None:
            self.singles = points
            return
        near_F, rank = self.near
        if float(rank) < self.reached - 1e-12:
            self.reached, self.here_F = float(rank), near_F
            self.near = self.singles = None
        else:
            self._begin()
