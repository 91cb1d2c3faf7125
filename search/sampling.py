"""Gumbel-softmax draws for operators (alpha), bitwidths (beta) and accelerator factors (gamma). Suffix J: choices."""

from __future__ import annotations

from dataclasses import dataclass

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


def soft_sample(logits_J: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Soft Gumbel-softmax: weights over all choices; used for bitwidths when weights are updated."""
    return torch.softmax((logits_J + gumbel(logits_J.shape, generator)) / temperature, dim=-1)


def hard_sample(logits_J: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Hard Gumbel-softmax: one-hot forward, soft gradients backward."""
    return straight_through(soft_sample(logits_J, temperature, generator))


@dataclass(frozen=True)
class Paths:
    """K operators of a block: numbers `index`, the drawn one first, and their `weight` (one-hot forward, soft backward)."""

    index: tuple[int, ...]
    weight: Tensor


def draw_paths(alpha_J: Tensor, k: int, temperature: float, generator: torch.Generator) -> Paths:
    """Single-path forward, multi-path backward: the hard Gumbel draw, with gradients to the K most likely of it.

    The K largest perturbed logits take part, so the drawn operator is the first of them; the softmax runs over the K.
    """
    perturbed = alpha_J + gumbel(alpha_J.shape, generator)
    index = perturbed.detach().topk(min(k, alpha_J.numel())).indices
    return Paths(
        index=tuple(int(i) for i in index),
        weight=straight_through(torch.softmax(perturbed[index] / temperature, dim=-1)),
    )


def keep_mass(alpha_J: Tensor, before_J: Tensor, index: tuple[int, ...]) -> None:
    """Shift the K updated logits in place so that their log-sum-exp is what it was in `before_J`.

    Operators that were not sampled thereby keep their probability.
    """
    chosen = torch.tensor(index)
    with torch.no_grad():
        shift = torch.logsumexp(before_J[chosen], 0) - torch.logsumexp(alpha_J[chosen], 0)
        alpha_J[chosen] += shift


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """Exponential temperature from `first` to `last`."""

    first: float = 5.0
    last: float = 0.3

    def at(self, progress: float) -> float:
        """Temperature at `progress` in 0..1."""
        return float(self.first * (self.last / self.first) ** progress)
