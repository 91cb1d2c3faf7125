"""Fake quantization with gradients: what the integer arithmetic does to a tensor, in real numbers.

Rounding is half-up, as in the hardware. Weights are signed and symmetric, one scale an output channel (or one a tensor);
activations have one scale a tensor, unsigned after ReLU, signed for linear layers, zero point 0.
Suffixes: O output channels, I input channels of a group, K kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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
    return mix_weight(w_OIKK, (bits,), torch.ones(1, dtype=w_OIKK.dtype), per_tensor)


def mix_weight(w_OIKK: Tensor, bits: Sequence[int], b_J: Tensor, per_tensor: bool = False) -> Tensor:
    """sum_j b_j W_j with W_j of `bits[j]`: the one tensor that stands for all bitwidths; b is soft, or one-hot."""
    scales = [weight_scale(w_OIKK, width, per_tensor).reshape(-1, *[1] * (w_OIKK.dim() - 1)) for width in bits]
    mixed: Tensor = _MixedWeight.apply(w_OIKK, b_J, scales, [value_range(width, True)[1] for width in bits])
    return mixed


def quantize_activation(x: Tensor, scale: Tensor, bits: int, signed: bool) -> Tensor:
    """Activations clamped and rounded to `bits`-wide integers times `scale`; gradients reach x and the scale (LSQ)."""
    return mix_activation(x, scale.reshape(1), (bits,), torch.ones(1, dtype=x.dtype), signed)


def mix_activation(x: Tensor, scale_J: Tensor, bits: Sequence[int], b_J: Tensor, signed: bool) -> Tensor:
    """sum_j b_j A_j with A_j of `bits[j]` and `scale_J[j]`; gradients reach x, the scales and b."""
    mixed: Tensor = _MixedActivation.apply(x, scale_J, b_J, [value_range(width, signed) for width in bits])
    return mixed


class _MixedWeight(torch.autograd.Function):
    """Saves the weights alone, whatever the number of bitwidths; the gradient passes the rounding straight through."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, b_J: Tensor, scales: list[Tensor], highs: list[int]) -> Tensor:
        ctx.save_for_backward(w, b_J)
        ctx.scales, ctx.highs = scales, highs
        total = torch.zeros_like(w)
        for scale, high, b in zip(scales, highs, b_J.tolist(), strict=True):
            if b:
                total += _rounded(w, scale, -high, high).mul_(b)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        w, b_J = ctx.saved_tensors
        of_b = None
        if ctx.needs_input_grad[1]:
            parts = [
                _dot(g, _rounded(w, scale, -high, high)) for scale, high in zip(ctx.scales, ctx.highs, strict=True)
            ]
            of_b = torch.stack(parts).to(b_J)
        return g * b_J.sum().to(g), of_b, None, None


class _MixedActivation(torch.autograd.Function):
    """Saves its input alone, whatever the number of bitwidths; rounds again where the backward pass needs it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale_J: Tensor, b_J: Tensor, ranges: list[tuple[int, int]]) -> Tensor:
        ctx.save_for_backward(x, scale_J, b_J)
        ctx.ranges = ranges
        total: Tensor | None = None
        for scale, (low, high), b in zip(scale_J.unbind(), ranges, b_J.tolist(), strict=True):
            if b:
                term = _rounded(x, scale, low, high)
                term = term if b == 1.0 else term.mul_(b)
                total = term if total is None else total.add_(term)
        return torch.zeros_like(x) if total is None else total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        x, scale_J, b_J = ctx.saved_tensors
        of_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        of_scale, of_b = torch.zeros_like(scale_J), torch.zeros_like(b_J)
        for j, ((low, high), b) in enumerate(zip(ctx.ranges, b_J.tolist(), strict=True)):
            scale = scale_J[j]
            rounded = _dot(g, _rounded(x, scale, low, high)) if any(ctx.needs_input_grad[1:3]) else g.new_zeros(())
            of_b[j] = rounded
            if b:  # inside the range the gradient passes; outside it reaches the scale alone
                inside = (x >= low * scale).logical_and_(x <= high * scale)
                passed = g * inside
                if ctx.needs_input_grad[1]:
                    of_scale[j] = b * (rounded - _dot(passed, x)) / scale
                if of_x is not None:
                    of_x.add_(passed, alpha=b)
        return of_x, of_scale, of_b, None


def _rounded(x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """clamp(round half up(x / scale)) * scale, in one new tensor."""
    return (x / scale).add_(0.5).floor_().clamp_(low, high).mul_(scale)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()


def scale_gradient(scale: Tensor, factor: float) -> Tensor:
    """`scale` itself, whose gradient is multiplied by `factor` (LSQ, Esser et al. 2020)."""
    return (scale * factor) + (scale - scale * factor).detach()


def initial_scale(x: Tensor, bits: int, signed: bool) -> Tensor:
    """Starting scale from a batch: LSQ's 2 E|x| / sqrt(high), of the values that are not 0."""
    magnitude = x.detach().abs()
    typical = magnitude.sum() / (magnitude > 0).sum().clamp(min=1)
    return (2 * typical / math.sqrt(value_range(bits, signed)[1])).clamp(min=1e-4)
