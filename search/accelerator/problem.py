"""The problem that every accelerator search engine solves: choose one value for each design factor.

An engine sees the numbers of choices and costs of candidates, thousands at once; what the factors
mean is the problem's matter.
Suffixes: B candidates, F factors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from .objectives import Costs, Goal


class Problem(Protocol):
    """`sizes` holds the number of choices of each factor; every combination is legal (or made so by
    `evaluate`).
    """

    @property
    def sizes(self) -> tuple[int, ...]:
        """Choices of each factor (F)."""
        ...

    @property
    def goal(self) -> Goal:
        """The objective and the limits."""
        ...

    def evaluate(self, choice_BF: Tensor) -> Costs:
        """Costs of candidates given as int64 choices (B, F)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an engine found: the best candidate's choices (F,), its score, whether it is within
    every limit, and the way there.

    `curve` holds (evaluations, CPU-seconds, logarithm of the best objective so far, infinite where
    none keeps the limits).
    `proven`: no candidate of the problem is better.
    """

    choice: Tensor
    score: float
    feasible: bool
    evaluations: int
    seconds: float
    proven: bool = False
    curve: tuple[tuple[int, float, float], ...] = field(default=())
