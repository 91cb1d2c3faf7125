"""Fake quantization with gradients: what the integer arithmetic does to a tensor, in real numbers.

Rounding is half-up, as in the hardware. Weights are signed and symmetric, one scale an output channel (or one a tensor);
activations have one scale a tensor, unsigned after ReLU, signed for linear layers, zero point 0.
Suffixes: O output channels, I input channels of a group, K kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from autonba.arithmetic import value_range

SCALE_SPREAD = (
    1024.0  # a channel's scale is at least the layer's largest over this, so that multipliers keep their precision
)
SMALLEST_SCALE = 1e-8


def round_half_up(x: Tensor) -> Tensor:
    """floor(x + 1/2), with the gradient of the identity (straight-through)."""
    return x + (torch.floor(x + 0.5) - x).detach()


def weight_scale(w_OIKK: Tensor, bits: int, per_tensor: bool = False) -> Tensor:
    """Scale (O,) with which the largest weight of each output channel (of the tensor, if `per_tensor`) is just held."""
    largest = w_OIKK.detach().abs().flatten(1).amax(dim=1)
    top = largest.max()
    largest = top.expand_as(largest) if per_tensor else torch.maximum(largest, top / SCALE_SPREAD)
    return (largest / value_range(bits, True)[1]).clamp(min=SMALLEST_SCALE)


def quantize_weight(w_OIKK: Tensor, bits: int, per_tensor: bool = False) -> Tensor:
    """Weights rounded to `bits`-wide signed integers times their scale."""
    scale = weight_scale(w_OIKK, bits, per_tensor).reshape(-1, *[1] * (w_OIKK.dim() - 1))
    high = value_range(bits, True)[1]
    return round_half_up(w_OIKK / scale).clamp(-high, high) * scale


def quantize_activation(x: Tensor, scale: Tensor, bits: int, signed: bool) -> Tensor:
    """Activations clamped and rounded to `bits`-wide integers times `scale`; gradients reach x and the scale."""
    low, high = value_range(bits, signed)
    return round_half_up((x / scale).clamp(low, high)) * scale


def scale_gradient(scale: Tensor, factor: float) -> Tensor:
    """`scale` itself, whose gradient is multiplied by `factor` (LSQ, Esser et al. 2020)."""
    return (scale * factor) + (scale - scale * factor).detach()


def initial_scale(x: Tensor, bits: int, signed: bool) -> Tensor:
    """Starting scale from a batch: LSQ's 2 E|x| / sqrt(high), of the values that are not 0."""
    magnitude = x.detach().abs()
    typical = magnitude.sum() / (magnitude > 0).sum().clamp(min=1)
    return (2 * typical / math.sqrt(value_range(bits, signed)[1])).clamp(min=1e-4)


def mix(quantized: Callable[[int], Tensor], bits: Sequence[int], b_J: Tensor) -> Tensor:
    """sum_j b_j T_j, T_j = quantized(bits[j]): the one tensor that stands for all bitwidths; b is soft, or one-hot.

    Bitwidths of weight 0 that no gradient shall reach are left out.
    """
    total: Tensor | None = None
    for width, b in zip(bits, b_J.unbind(), strict=True):
        if b_J.requires_grad or float(b) != 0.0:
            term = quantized(width) * b
            total = term if total is None else total + term
    assert total is not None
    return total
