"""An elitist genetic algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from autonba.search.accelerator.record import Points, Record

from .engine import Engine, distinct, uniform

POPULATION, CHILDREN = 256, 1024
MUTATIONS = 2.0  # factors of a child that are drawn anew, on average


class Evolutionary(Engine):
    """The best `population` of parents and children live on.

    A child takes each factor from one of two parents that won tournaments of two, then draws
    MUTATIONS factors anew on average. The first generation is `start`, or drawn uniformly.
    """

    def __init__(
        self,
        record: Record,
        *,
        seed: int,
        start: Tensor | None = None,
        population: int = POPULATION,
        children: int = CHILDREN,
    ) -> None:
        super().__init__(record, seed=seed)
        self.start, self.population, self.children = start, population, children
        self.alive_BF = torch.zeros(0, len(record.problem.sizes), dtype=torch.int64)
        self.score_B = torch.zeros(0, dtype=torch.float64)

    def propose(self) -> Tensor:
        """Choices (B, F) to look at next; see `Engine`."""
        sizes_F = torch.tensor(self.record.problem.sizes)
        if not len(self.alive_BF):
            if self.start is not None:
                return self.start
            return uniform(sizes_F, self.population, self.generator)
        count, factors = self.children, len(sizes_F)
        pairs = torch.randint(len(self.alive_BF), (2, 2, count), generator=self.generator)
        first, second = torch.where(
            self.score_B[pairs[0]] < self.score_B[pairs[1]], pairs[0], pairs[1]
        )
        swap_BF = torch.rand((count, factors), generator=self.generator) < 0.5
        child_BF = torch.where(swap_BF, self.alive_BF[first], self.alive_BF[second])
        anew_BF = torch.rand((count, factors), generator=self.generator) < MUTATIONS / factors
        return torch.where(anew_BF, uniform(sizes_F, count, self.generator), child_BF)

    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Take in what the choices cost; see `Engine`."""
        every_BF, kept = distinct(torch.cat([self.alive_BF, choice_BF]))
        every_B = torch.cat([self.score_B, points.score])[kept]
        order = every_B.argsort(stable=True)[: self.population]
        self.alive_BF, self.score_B = every_BF[order], every_B[order]

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return super().state_dict() | {"alive": self.alive_BF, "score": self.score_B}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        super().load_state_dict(state)
        self.alive_BF, self.score_B = state["alive"], state["score"]
