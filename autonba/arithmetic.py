"""The integer arithmetic of a quantized layer: the only definition, for export, golden model,
hardware and tests.

    y = clamp((acc * m[c] + residual * r + 2^(s-1)) >> s)

`acc` is the exact integer sum of products plus bias. `m` (per output channel), `r` and `s` (per
layer) are non-negative integers, `>>` is an arithmetic shift (rounds towards minus infinity), so
the added half makes it round-half-up. There is one rounding, also with a residual, and the residual
is added before the clamp. With `s = 0` nothing is added for rounding. An unsigned clamp starts at 0
and therefore is the ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

MULTIPLIER_BITS = 16  # m < 2^16
RESIDUAL_MULTIPLIER_BITS = 24  # r < 2^24
MAX_SHIFT = 40
EXACT_FLOAT = 1 << 53  # magnitudes up to which float64 holds every integer
LOGIT_BITS = 32  # results leave as two's complement words of this width


def value_range(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest value of a `bits`-wide integer."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def clog2(n: int) -> int:
    """ceil(log2(n)) for n >= 1."""
    return (n - 1).bit_length()


def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) in exact integers."""
    return -(-a // b)


def signed_width(low: int, high: int) -> int:
    """Bits of the narrowest two's complement integer that holds both `low` and `high`."""
    return 1 + max(
        (high if high >= 0 else 0).bit_length(), (-low - 1).bit_length() if low < 0 else 0
    )


@dataclass(frozen=True, kw_only=True)
class Requantization:
    """Per-layer constants of the requantizer; the per-channel multipliers `m` travel beside it.

    `shift` is s, `residual_multiplier` is r; `bits` and `signed` give the clamp.
    """

    shift: int
    residual_multiplier: int
    bits: int
    signed: bool

    @property
    def half(self) -> int:
        """What is added before the shift."""
        return (1 << self.shift) >> 1

    def compute(self, acc: IntArray, m: IntArray, residual: IntArray | None = None) -> IntArray:
        """Requantize `acc` (any shape; `m` and `residual` broadcast against it)."""
        total = acc * m + self.half
        if residual is not None:
            total = total + residual * self.residual_multiplier
        low, high = value_range(self.bits, self.signed)
        clamped: IntArray = np.clip(total >> self.shift, low, high)
        return clamped


def convolve(
    x_NCHW: IntArray,
    w_OIKK: IntArray,
    bias_O: IntArray,
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
) -> IntArray:
    """Exact grouped convolution (cross-correlation) with zero padding; returns int64 accumulators
    (N, O, H', W').
    """
    n, _, height, width = x_NCHW.shape
    out_channels, in_per_group, kh, kw = w_OIKK.shape
    (sy, sx), (py, px) = stride, padding
    padded = np.pad(x_NCHW, ((0, 0), (0, 0), (py, py), (px, px)))
    out_h, out_w = (height + 2 * py - kh) // sy + 1, (width + 2 * px - kw) // sx + 1
    x = padded.reshape(n, groups, in_per_group, *padded.shape[2:])
    w = w_OIKK.reshape(groups, out_channels // groups, in_per_group, kh, kw)
    largest = max(int(np.abs(x_NCHW).max(initial=0)), 1) * max(
        int(np.abs(w_OIKK).max(initial=0)), 1
    )
    if (
        largest * in_per_group * kh * kw < EXACT_FLOAT
    ):  # float64 then holds every sum exactly, and multiplies matrices far faster
        x, w = x.astype(np.float64), w.astype(np.float64)
    sums = np.zeros((n, groups, out_channels // groups, out_h * out_w), dtype=x.dtype)
    for ky in range(kh):
        for kx in range(kw):
            window = x[
                ..., ky : ky + sy * (out_h - 1) + 1 : sy, kx : kx + sx * (out_w - 1) + 1 : sx
            ]
            sums += np.matmul(
                np.ascontiguousarray(w[..., ky, kx]), window.reshape(n, groups, in_per_group, -1)
            )
    out: IntArray = sums.astype(np.int64).reshape(n, out_channels, out_h, out_w)
    return out + bias_O[None, :, None, None]


def pool(
    x_NCHW: IntArray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    *,
    maximum: bool,
) -> IntArray:
    """Sums over windows, where padding counts as zeros, or maxima, where it does not count; int64
    (N, C, H', W').
    """
    fill = int(np.iinfo(np.int64).min) if maximum else 0
    (sy, sx), (py, px) = stride, padding
    padded = np.pad(
        x_NCHW.astype(np.int64), ((0, 0), (0, 0), (py, py), (px, px)), constant_values=fill
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))[
        :, :, ::sy, ::sx
    ]
    pooled: IntArray = windows.max(axis=(4, 5)) if maximum else windows.sum(axis=(4, 5))
    return pooled
