"""The accelerator of a network as a problem for the engines: the whole space, its evaluation, and a
goal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autonba.accelerator import Accelerator
from autonba.boards import Family
from autonba.mapping import ends

from .evaluation import evaluate
from .factors import COLUMNS, OUT_LANES, TAPS
from .layers import Ints, Layers
from .objectives import RESOURCES, Costs, Goal
from .space import AcceleratorSpace

AMOUNTS = (*RESOURCES, "multipliers", "dram")  # what a candidate takes


@dataclass(frozen=True)
class AcceleratorProblem:
    """Choose every factor of `space` for the network of `layers` (a `Problem`). `correction` holds
    factors by which estimates of metrics are off.
    """

    layers: Layers
    space: AcceleratorSpace
    goal: Goal
    family: Family
    correction: Mapping[str, float] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Choices of each factor (F)."""
        return self.space.sizes

    @property
    def least_cycles(self) -> int:
        """Cycles an image that no accelerator goes below: those of the image's way in, the result's
        way out, or the slowest layer on a chunk of its own.
        """
        layers, out = self.layers, np.array(OUT_LANES)
        blocks = -(-layers.channels[:, None] // out[-1])
        words = np.minimum(layers.conv_words.min(axis=(1, 2)), layers.depthwise_words.min(axis=1))
        beats = layers.kernel_rows * -(-layers.kernel_columns // max(TAPS)) * words
        sets = layers.height * -(-layers.width // max(COLUMNS))
        return max(int((sets * blocks[:, 0] * beats).max()), ends(layers.network))

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
            resources={name: of(name) for name in AMOUNTS},
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
