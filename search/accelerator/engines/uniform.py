"""Random search."""

from __future__ import annotations

import torch
from torch import Tensor

from autonba.search.accelerator.record import CHUNK, Points

from .engine import Engine, uniform


class Uniform(Engine):
    """Candidates drawn uniformly over the values of every factor."""

    def propose(self) -> Tensor:
        """Choices (B, F) to look at next; see `Engine`."""
        return uniform(torch.tensor(self.record.problem.sizes), CHUNK, self.generator)

    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Nothing is learnt."""
