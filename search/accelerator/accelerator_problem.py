"""The accelerator of a network as a problem for the engines: the whole space, its evaluation, and a
goal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autonba.accelerator import Accelerator
from autonba.boards import Family

from .evaluation import evaluate
from .layers import Ints, Layers
from .objectives import Costs, Goal
from .space import AcceleratorSpace

RESOURCES = ("dsp", "bram", "lut", "ff", "multipliers", "dram")


@dataclass(frozen=True)
class AcceleratorProblem:
    """Choose every factor of `space` for the network of `layers` (a `Problem`). `correction` holds
    factors by which estimates of metrics are off.
    """

    layers: Layers
    space: AcceleratorSpace
    goal: Goal
    family: Family
    correction: Mapping[str, float]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Choices of each factor (F)."""
        return self.space.sizes

    def evaluate(self, choice_BF: Tensor) -> Costs:
        """Costs of candidates given as choices (B, F)."""
        candidates = self.space.legal(choice_BF.numpy(), self.layers)
        found = vars(evaluate(self.layers, candidates, self.family))

        def of(name: str) -> Tensor:
            value: Any = found[name] * self.correction.get(name, 1.0)
            return torch.from_numpy(value)

        return Costs(
            cycles=of("cycles"),
            latency=of("latency"),
            energy=of("energy"),
            resources={name: of(name) for name in RESOURCES},
            busy=of("busy"),
        )

    def accelerator(self, choice_F: Tensor) -> Accelerator:
        """What a choice stands for, with the rows of buffer that its costs assume."""
        candidates = self.space.legal(choice_F[None].numpy(), self.layers)
        return self.space.accelerator(self.layers, candidates)

    def choice(self, accelerator: Accelerator) -> Tensor:
        """The choice (F,) that stands for an accelerator; SpecError where none does."""
        found: Ints = self.space.choice(accelerator, self.layers)
        return torch.from_numpy(found)
