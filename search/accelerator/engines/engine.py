"""What every engine of the accelerator search does: propose candidates, learn from what they cost,
and keep the best so far in a record.

A new engine is a subclass in a file of its own and a line in `auto.ENGINES`.
Suffixes: B candidates, F factors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from autonba.search.accelerator.problem import Found, Problem
from autonba.search.accelerator.record import Points, Record


class Engine(ABC):
    """Searches the problem of `record`, which holds the best so far and the budget.

    The record may be replaced by one of another problem with the same factors: the joint search
    prices one network after another with one engine.
    """

    def __init__(self, record: Record, *, seed: int) -> None:
        self.record = record
        self.generator = torch.Generator().manual_seed(seed)

    @abstractmethod
    def propose(self) -> Tensor:
        """Choices (B, F) to look at next, none where the engine is at its end."""

    @abstractmethod
    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Take in what the proposed choices cost."""

    def step(self) -> bool:
        """Propose and learn once; False at the end."""
        choice_BF = self.propose()[: self.record.left]
        if not len(choice_BF):
            return False
        self.learn(choice_BF, self.record.evaluate(choice_BF))
        return True

    def run(self) -> Found:
        """Step until the end, or until the record's budget is spent."""
        while self.record.left and self.step():
            pass
        return self.record.found()

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step but for the record."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.generator.set_state(state["generator"])


def run_engine(
    engine: Callable[..., Engine],
    problem: Problem,
    *,
    seed: int,
    evaluations: int | None = None,
    seconds: float | None = None,
    **further: Any,
) -> Found:
    """What an engine finds within so many evaluations and CPU-seconds."""
    record = Record(problem, evaluations=evaluations, seconds=seconds)
    return engine(record, seed=seed, **further).run()


def uniform(sizes_F: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choices (count, F) drawn uniformly."""
    drawn = (torch.rand((count, len(sizes_F)), generator=generator) * sizes_F).long()
    return torch.minimum(drawn, sizes_F - 1)


def distinct(choice_BF: Tensor) -> tuple[Tensor, Tensor]:
    """The different candidates among `choice_BF`, and the number of the first of each."""
    key_F = torch.randint(
        1, 2**62, (choice_BF.shape[1],), generator=torch.Generator().manual_seed(1)
    )
    key_B = (choice_BF * key_F).sum(1)  # wraps around
    sorted_B, order = key_B.sort(stable=True)
    first_B = torch.ones(len(order), dtype=torch.bool)
    first_B[1:] = sorted_B[1:] != sorted_B[:-1]
    number = order[first_B].sort().values
    return choice_BF[number], number
