"""What Gumbel-softmax draws are made of: noise, the straight-through gradient, and a temperature
that falls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


def gumbel(shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise."""
    u = torch.rand(shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    return -torch.log(-torch.log(u))


def straight_through(soft: Tensor) -> Tensor:
    """One-hot of the largest entry of the last axis, with the gradient of `soft`."""
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """Temperature from `first` to `last`, exponentially, linearly, along a cosine, or constantly
    `first`.
    """

    first: float = 5.0
    last: float = 0.3
    shape: Literal["exponential", "linear", "cosine", "constant"] = "exponential"

    def at(self, progress: float) -> float:
        """Temperature at `progress` in 0..1."""
        match self.shape:
            case "exponential":
                return float(self.first * (self.last / self.first) ** progress)
            case "linear":
                return self.first + (self.last - self.first) * progress
            case "cosine":
                return self.last + (self.first - self.last) * (1 + math.cos(math.pi * progress)) / 2
            case _:
                return self.first
