"""Gumbel-softmax draws for operators (alpha) and bitwidths (beta).
Suffix J: choices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autonba.search.gumbel import gumbel, straight_through
from autonba.search.settings import Bitwidths


def soft_sample(logits_J: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Soft Gumbel-softmax: weights over all choices; used for bitwidths when weights are
    updated.
    """
    return torch.softmax((logits_J + gumbel(logits_J.shape, generator)) / temperature, dim=-1)


def hard_sample(logits_J: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Hard Gumbel-softmax: one-hot forward, soft gradients backward."""
    return straight_through(soft_sample(logits_J, temperature, generator))


@dataclass(frozen=True)
class Paths:
    """K operators of a block: numbers `index`, the drawn one first, and their `weight` (one-hot
    forward, soft backward).
    """

    index: tuple[int, ...]
    weight: Tensor


def draw_paths(alpha_J: Tensor, k: int, temperature: float, generator: torch.Generator) -> Paths:
    """Single-path forward, multi-path backward: the hard Gumbel draw, with gradients to the K most
    likely of it.

    The K largest perturbed logits take part, so the drawn operator is the first of them; the
    softmax runs over the K.
    """
    perturbed = alpha_J + gumbel(alpha_J.shape, generator)
    index = perturbed.detach().topk(min(k, alpha_J.numel())).indices
    return Paths(
        index=tuple(int(i) for i in index),
        weight=straight_through(torch.softmax(perturbed[index] / temperature, dim=-1)),
    )


def keep_mass(alpha_J: Tensor, before_J: Tensor, index: tuple[int, ...]) -> None:
    """Shift the K updated logits in place so that their log-sum-exp is what it was in `before_J`;
    the others stay as they were.

    Operators that were not sampled thereby keep their probability. (Adam's momentum would move
    them.)
    """
    chosen = torch.tensor(index)
    with torch.no_grad():
        updated = alpha_J[chosen]
        shift = torch.logsumexp(before_J[chosen], 0) - torch.logsumexp(updated, 0)
        alpha_J.copy_(before_J)
        alpha_J[chosen] = updated + shift


def random_sample(logits_J: Tensor, generator: torch.Generator) -> Tensor:
    """One-hot of a choice drawn uniformly, whatever the logits."""
    return torch.zeros_like(logits_J).scatter_(
        -1, torch.randint(len(logits_J), (1,), generator=generator), 1.0
    )


def sample_bits(
    logits_J: Tensor,
    how: Bitwidths,
    *,
    for_weights: bool,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Weights of the bitwidths in one step: `for_weights` when weights are updated, else when beta
    is.

    heterogeneous  soft for weights, hard for beta (Auto-NBA, section 3.2)
    hard, soft     hard or soft for both
    random-hard    a bitwidth drawn uniformly for weights, hard for beta
    """
    if for_weights and how == "random-hard":
        return random_sample(logits_J.detach(), generator)
    if how == "soft" or (for_weights and how == "heterogeneous"):
        return soft_sample(logits_J, temperature, generator)
    return hard_sample(logits_J, temperature, generator)
