"""The problem that every accelerator search engine solves: choose one value for each design factor.

An engine sees the numbers of choices and costs of candidates, thousands at once; what the factors
mean is the problem's matter.
Suffixes: B candidates, F factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from autonba.search.objectives import Costs, Goal


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


class Response(Protocol):
    """What answers to prices, and remembers which parts it considered."""

    def respond(
        self,
        target: float,
        prices: Mapping[str, float],
        noise: Callable[[tuple[int, ...]], Any] | None = None,
    ) -> Tensor | None:
        """Choices (F,) of at most `target` cycles with nearly the least sum of prices times
        metrics; None where none is known.

        `noise` draws arrays of factors by which the costs of parts are off, so that others than the
        very cheapest are considered.
        """
        ...

    def assemble(self, target: float, prices: Mapping[str, float], beam: int) -> Tensor | None:
        """Choices (F,) within all limits and of at most `target` cycles, of parts that were
        considered, with nearly the least sum of prices times metrics; None where none was found
        that keeps `beam` partial candidates at a time."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A problem whose factors form parts that keep a target of cycles each, and that answers what
    is cheapest at given prices.
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

    def opened(self) -> Response:
        """What answers to prices, with nothing considered yet."""
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
