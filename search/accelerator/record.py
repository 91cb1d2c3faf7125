"""What every engine keeps while it searches: how much it evaluated, for how long, and the best
candidate.

Suffixes: B candidates, F factors.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from autonba.errors import SpecError

from .objectives import Costs
from .problem import Found, Problem

CHUNK = 4096  # candidates evaluated together at most
NEVER = float("inf")


@dataclass(frozen=True, kw_only=True)
class Points:
    """Of candidates (B,): logarithm of the objective, score with penalties, and whether every limit
    is kept.
    """

    value: Tensor
    score: Tensor
    feasible: Tensor
    costs: Costs

    @property
    def rank(self) -> Tensor:
        """What an engine minimizes at the end: feasible before infeasible, then the objective, then
        the thriftier one.
        """
        return torch.where(self.feasible, self.value + 1e-6 * self.score, 1e6 + self.score)


class Record:
    """Counts evaluations and CPU-seconds, keeps the best candidate, and says when a budget is
    spent.
    """

    def __init__(self, problem: Problem, *, evaluations: int | None, seconds: float | None) -> None:
        for name, value in (("evaluations", evaluations), ("seconds", seconds)):
            if value is not None and not value > 0:
                raise SpecError(f"{name} must be a number above 0, not {value!r}")
        self.problem, self.limit, self.seconds = problem, evaluations, seconds
        self.began = time.process_time()
        self.count = 0
        self.best = torch.zeros(len(problem.sizes), dtype=torch.int64)
        self.rank, self.score, self.value, self.feasible = NEVER, NEVER, NEVER, False
        self.curve: list[tuple[int, float, float]] = []

    @property
    def spent(self) -> float:
        """CPU-seconds of this process since the start."""
        return time.process_time() - self.began

    @property
    def left(self) -> int:
        """Evaluations left, 0 where a budget is spent."""
        if self.seconds is not None and self.spent >= self.seconds:
            return 0
        return CHUNK if self.limit is None else max(0, self.limit - self.count)

    def evaluate(self, choice_BF: Tensor) -> Points:
        """Points of candidates; the best of all calls is kept."""
        parts = []
        for part_BF in torch.split(choice_BF, CHUNK):
            parts.append(self.note(part_BF, self.problem.evaluate(part_BF)))
        return (
            parts[0]
            if len(parts) == 1
            else Points(
                value=torch.cat([p.value for p in parts]),
                score=torch.cat([p.score for p in parts]),
                feasible=torch.cat([p.feasible for p in parts]),
                costs=Costs.join([p.costs for p in parts]),
            )
        )

    def note(self, choice_BF: Tensor, costs: Costs) -> Points:
        """Count candidates whose costs are known, and keep the best."""
        goal = self.problem.goal
        points = Points(
            value=goal.value(costs),
            score=goal.score(costs),
            feasible=goal.feasible(costs),
            costs=costs,
        )
        self.count += len(choice_BF)
        rank = points.rank
        best = int(rank.argmin())
        if float(rank[best]) < self.rank:
            self.rank = float(rank[best])
            self.score, self.feasible = float(points.score[best]), bool(points.feasible[best])
            self.best = choice_BF[best].clone()
            self.value = float(points.value[best]) if self.feasible else NEVER
            self.curve.append((self.count, self.spent, self.value))
        return points

    def found(self) -> Found:
        """The result so far."""
        return Found(
            choice=self.best,
            score=self.score,
            feasible=self.feasible,
            evaluations=self.count,
            seconds=self.spent,
            curve=(*self.curve, (self.count, self.spent, self.value)),
        )
