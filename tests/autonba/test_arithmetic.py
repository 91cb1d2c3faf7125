"""Integer arithmetic against exact rationals, convolution against plain loops and PyTorch."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch

from autonba.arithmetic import Requantization, clog2, convolve, pool, signed_width, value_range


@pytest.mark.parametrize("signed", [False, True])
def test_requantization_rounds_half_up_once_and_clamps(signed: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(2000):
        acc, residual = int(rng.integers(-(1 << 24), 1 << 24)), int(rng.integers(-255, 256))
        m, r, s, bits = (
            int(rng.integers(*span)) for span in ((1, 1 << 16), (0, 1 << 20), (0, 30), (2, 9))
        )
        q = Requantization(shift=s, residual_multiplier=r, bits=bits, signed=signed)
        exact = Fraction(acc * m + residual * r, 1 << s)
        rounded = floor(exact + Fraction(1, 2)) if s else exact
        low, high = value_range(bits, signed)
        assert int(q.compute(np.array(acc), np.array(m), np.array(residual))) == min(
            max(rounded, low), high
        )


@pytest.mark.parametrize("shift", [1, 2, 3, 7])
def test_ties_round_up(shift: int) -> None:
    q = Requantization(shift=shift, residual_multiplier=0, bits=8, signed=True)
    ties = (2 * np.arange(-40, 40) + 1) << (shift - 1)  # odd halves
    assert q.compute(ties, np.array(1)).tolist() == (np.arange(-40, 40) + 1).tolist()


def test_unsigned_clamp_is_the_relu() -> None:
    q = Requantization(shift=0, residual_multiplier=0, bits=8, signed=False)
    assert q.compute(np.array([-5, 0, 7, 300]), np.array(1)).tolist() == [0, 0, 7, 255]


@pytest.mark.parametrize(
    ("groups", "kernel", "stride", "padding"),
    [(1, (3, 3), (1, 1), (1, 1)), (2, (5, 3), (2, 1), (2, 0)), (6, (3, 3), (1, 2), (0, 1))],
)
def test_convolution_equals_pytorch(
    groups: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    rng = np.random.default_rng(2)
    x, w, b = (
        rng.integers(0, 256, (2, 6, 9, 7)),
        rng.integers(-128, 128, (12, 6 // groups, *kernel)),
        rng.integers(-999, 999, 12),
    )
    wanted = torch.nn.functional.conv2d(
        torch.tensor(x, dtype=torch.float64),
        torch.tensor(w, dtype=torch.float64),
        torch.tensor(b, dtype=torch.float64),
        stride=stride,
        padding=padding,
        groups=groups,
    )
    np.testing.assert_array_equal(
        convolve(x, w, b, stride, padding, groups), wanted.numpy().astype(np.int64)
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [((3, 3), (2, 2), (1, 1)), ((2, 3), (1, 2), (0, 1))]
)
def test_pools_equal_pytorch(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    x = np.random.default_rng(3).integers(
        -128, 0, (2, 3, 7, 6)
    )  # below 0, so that padding would win as a 0
    real = torch.tensor(x, dtype=torch.float64)
    most = torch.nn.functional.max_pool2d(real, kernel, stride, padding)
    mean = torch.nn.functional.avg_pool2d(real, kernel, stride, padding, count_include_pad=True)
    np.testing.assert_array_equal(
        pool(x, kernel, stride, padding, maximum=True), most.numpy().astype(np.int64)
    )
    np.testing.assert_array_equal(
        pool(x, kernel, stride, padding, maximum=False),
        torch.round(mean * kernel[0] * kernel[1]).numpy().astype(np.int64),
    )


def test_widths() -> None:
    assert [clog2(n) for n in (1, 2, 3, 4, 5, 8, 9)] == [0, 1, 2, 2, 3, 3, 4]
    assert [
        signed_width(*r) for r in ((0, 0), (0, 1), (-1, 0), (-128, 127), (-129, 0), (0, 128))
    ] == [1, 2, 1, 8, 9, 9]
