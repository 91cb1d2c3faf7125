"""Fake quantization with gradients: what the integer arithmetic does to a tensor, in real numbers.

Rounding is half-up, as in the hardware, with the gradient of the identity (straight-through).
Weights are signed and symmetric, one scale an output channel (or one a tensor); activations have
one scale a tensor, unsigned after ReLU, signed for linear layers, zero point 0. Everything here is
computed in float32, also of half-precision maps under autocast.

Each quantizer is one autograd function that keeps its input alone, computes what it needs again in
the backward pass, and works through large maps in pieces that stay in the processor's cache. So a
mixture keeps no more than one bitwidth does.
Suffixes: O output channels, I input channels of a group, K kernel, J bitwidths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autonba.arithmetic import value_range

from . import distributed

# a channel's scale is at least the layer's largest over this, so that multipliers keep their
# precision
SCALE_SPREAD = 1024.0
SMALLEST_SCALE = 1e-8
NOTHING = 1e-6  # of a map's largest value: what a dead channel gives, 0 but for the order of sums
PIECE = (
    1 << 17
    # elements that are worked on at once on a CPU: half a megabyte, so that passes meet in the
    # second-level cache
)


def weight_scale(w_OIKK: Tensor, bits: int, per_tensor: bool = False) -> Tensor:
    """Scale (O,) with which the largest weight of each output channel (of the tensor, if
    `per_tensor`) is just held.
    """
    largest = w_OIKK.detach().abs().flatten(1).amax(dim=1)
    top = largest.max()
    largest = top.expand_as(largest) if per_tensor else torch.maximum(largest, top / SCALE_SPREAD)
    return (largest / value_range(bits, True)[1]).clamp(min=SMALLEST_SCALE)


def quantize_weight(w_OIKK: Tensor, bits: int, per_tensor: bool = False) -> Tensor:
    """Weights rounded to `bits`-wide signed integers times their scale."""
    return mixed_weight(w_OIKK, (bits,), w_OIKK.new_ones(1), per_tensor)


def mixed_weight(
    w_OIKK: Tensor, bits: Sequence[int], b_J: Tensor, per_tensor: bool = False
) -> Tensor:
    """sum_j b_j W_j, W_j the weights quantized to bits[j]; gradients reach w and b."""
    out: Tensor = _MixedWeight.apply(w_OIKK, b_J, tuple(bits), per_tensor)  # type: ignore[no-untyped-call]
    return out


class _MixedWeight(torch.autograd.Function):
    """No weight is clipped, since the largest of a channel is just held: the gradient of W_j is the
    identity's.
    """

    @staticmethod
    def forward(
        ctx: Any, w: Tensor, b_J: Tensor, bits: tuple[int, ...], per_tensor: bool
    ) -> Tensor:
        ctx.save_for_backward(w, b_J)
        ctx.bits, ctx.per_tensor = bits, per_tensor
        total: Tensor | None = None
        for width, b in zip(bits, b_J, strict=True):
            if len(bits) == 1 or float(b) != 0.0:
                term = _rounded_weight(w, width, per_tensor)
                if len(bits) > 1:
                    term = term.mul_(b)
                total = term if total is None else total.add_(term)
        return torch.zeros_like(w) if total is None else total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        w, b_J = ctx.saved_tensors
        g = gradients[0]
        db = None
        if ctx.needs_input_grad[1]:
            db = torch.stack(
                [(g * _rounded_weight(w, width, ctx.per_tensor)).sum() for width in ctx.bits]
            ).to(b_J)
        return (g if len(ctx.bits) == 1 else g * b_J.sum()), db, None, None


def _rounded_weight(w: Tensor, bits: int, per_tensor: bool) -> Tensor:
    scale = weight_scale(w, bits, per_tensor).reshape(-1, *[1] * (w.dim() - 1))
    high = value_range(bits, True)[1]
    return (w / scale).add_(0.5).floor_().clamp_(-high, high).mul_(scale)


def quantize_activation(x: Tensor, scale: Tensor, bits: int, signed: bool) -> Tensor:
    """Activations clamped and rounded to `bits`-wide integers times `scale`; gradients reach x and
    the scale.

    Unsigned, it is ReLU as well: negative values become 0 and get no gradient.
    """
    out: Tensor = _Activation.apply(_dense(x), scale, value_range(bits, signed))  # type: ignore[no-untyped-call]
    return out


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, limits: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.limits = limits
        out = _empty(x)
        for part, result in _pieces(x, out):
            torch.div(_full(part), scale, out=result)
            result.clamp_(*limits).add_(0.5).floor_().mul_(scale)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, None]:
        x, scale = ctx.saved_tensors
        low, high = ctx.limits
        below, above = _open_interval(low, high)
        dx = torch.empty_like(x)
        # of each piece's sum: what rounding adds within the limits, the limit itself outside
        slope = []
        for part, g, result in _pieces(x, gradients[0], dx):
            v = _full(part) / scale
            result.copy_(_within(g, v, below, above))
            held = _within(v, v, below, above)
            slope.append(torch.dot(g, v.clamp_(low, high).add_(0.5).floor_().sub_(held)))
        return dx, torch.stack(slope).sum(), None


def mixed_activation(
    x: Tensor, extent: Tensor, bits: Sequence[int], signed: bool, b_J: Tensor
) -> Tensor:
    """sum_j b_j A_j, A_j being x with `extent` as its largest value, quantized to bits[j];
    gradients reach x and b.

    Unsigned, it is ReLU as well. `extent` () gets no gradient.
    """
    limits = tuple(value_range(width, signed) for width in bits)
    out: Tensor = _MixedActivation.apply(_dense(x), extent.detach(), b_J, limits)  # type: ignore[no-untyped-call]
    return out


class _MixedActivation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, extent: Tensor, b_J: Tensor, limits: tuple[tuple[int, int], ...]
    ) -> Tensor:
        ctx.save_for_backward(x, extent.clone(), b_J)
        ctx.limits = limits
        out = _empty(x)
        used = [
            (low, high, b) for (low, high), b in zip(limits, b_J, strict=True) if float(b) != 0.0
        ]
        if not used:
            return out.zero_()
        for half, result in _pieces(x, out):
            part = _full(half)
            for number, (low, high, b) in enumerate(used):
                scale = extent / high
                v = torch.div(part, scale, out=result) if number == 0 else part / scale
                v.clamp_(low, high).add_(0.5).floor_().mul_(scale)
                if len(limits) > 1:
                    v.mul_(b)
                if number:
                    result.add_(v)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, None, Tensor | None, None]:
        x, extent, b_J = ctx.saved_tensors
        needs_x, _, needs_b, _ = ctx.needs_input_grad
        largest = float(extent)
        intervals = [_open_interval(low * largest / high, largest) for low, high in ctx.limits]
        inner = list(zip(intervals, b_J.tolist(), strict=True))
        if not ctx.limits[0][0]:  # unsigned: what is clipped is the same for all
            inner = [(inner[0][0], float(b_J.sum()))]
        dx = torch.empty_like(x) if needs_x else None
        slopes: list[Tensor] = []
        for half, g, *result in _pieces(x, gradients[0], *([dx] if dx is not None else [])):
            part = _full(half)
            for number, ((below, above), b) in enumerate(inner if result else []):
                if number == 0:
                    result[0].copy_(_within(g, part, below, above).mul_(b))
                elif b:
                    result[0].add_(_within(g, part, below, above), alpha=b)
            if needs_b:
                scales = [(low, high, extent / high) for low, high in ctx.limits]
                rounded = [
                    (part / s).clamp_(low, high).add_(0.5).floor_() for low, high, s in scales
                ]
                slopes.append(
                    torch.stack(
                        [torch.dot(g, v) * s for v, (_, _, s) in zip(rounded, scales, strict=True)]
                    )
                )
        return dx, None, torch.stack(slopes).sum(0) if needs_b else None, None


_within = (
    torch.ops.aten.hardtanh_backward
)  # (g, x, below, above): g where below < x < above, else 0; in one pass


def _open_interval(low: float, high: float) -> tuple[float, float]:
    """Bounds between which, strictly, the float32 values are that clamping leaves; 0 itself is not
    (as with ReLU).
    """
    f = np.float32
    return float(np.nextafter(f(low), f(-np.inf))) if low else 0.0, float(
        np.nextafter(f(high), f(np.inf))
    )


def _dense(x: Tensor) -> Tensor:
    """`x` rows first or channels last in memory."""
    return (
        x if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()
    )


def _full(x: Tensor) -> Tensor:
    """`x` in at least float32."""
    return x if x.dtype.itemsize >= 4 else x.float()


def _empty(x: Tensor) -> Tensor:
    """A map of `x`'s shape and order in memory, of float32 where `x` has half precision."""
    return torch.empty_like(x, dtype=torch.promote_types(x.dtype, torch.float32))


def _pieces(x: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Equal flat parts of tensors of one shape, in the order in which `x` lies in memory; results
    lie so too (empty_like).
    """
    last = (
        x.dim() == 4
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )
    kind = torch.channels_last if last else torch.contiguous_format

    def flat(tensor: Tensor) -> Tensor:
        dense = tensor.contiguous(memory_format=kind)
        return (dense.permute(0, 2, 3, 1) if last else dense).reshape(-1)

    tensors = [flat(tensor) for tensor in (x, *others)]
    if x.device.type != "cpu" or x.numel() <= PIECE:
        yield tuple(tensors)
    else:
        yield from zip(*(torch.split(tensor, PIECE) for tensor in tensors), strict=True)


def peak(x: Tensor, signed: bool) -> Tensor:
    """Largest value () of `x`, unsigned after ReLU: the `extent` of a batch; no gradient."""
    low, high = (_full(v) for v in torch.aminmax(x.detach()))
    return torch.maximum(high, -low) if signed else high.clamp(min=0)


def scale_gradient(scale: Tensor, factor: float) -> Tensor:
    """`scale` itself, whose gradient is multiplied by `factor` (LSQ, Esser et al. 2020)."""
    return (scale * factor) + (scale - scale * factor).detach()


def initial_scale(x: Tensor, bits: int, signed: bool) -> Tensor:
    """Starting scale from a batch: LSQ's 2 E|x| / sqrt(high), of the (global) batch's values that
    are not 0.
    """
    magnitude = _full(x.detach()).abs()
    floor = NOTHING * distributed.largest(magnitude.amax())
    typical = distributed.total(magnitude.sum()) / distributed.total(
        (magnitude > floor).sum()
    ).clamp(min=1)
    return (2 * typical / math.sqrt(value_range(bits, signed)[1])).clamp(min=1e-4)
