"""Whole numbers, alone or in arrays: what the rules of cost are written with.

Every rule of `autonba.cost` takes and gives `Whole`, an int or an int64 array, or `Real`, a float
or a float64 array, and broadcasts as NumPy does. So a rule is written once, for the exact model (a
scalar) and for searches (thousands of candidates).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Whole = Any  # int, or an array of int64
Real = Any  # float, or an array of float64
Truth = Any  # bool, or an array of them


def divided_up(a: Whole, b: Whole) -> Whole:
    """ceil(a / b), exactly."""
    return -(-a // b)


def log2_up(n: Whole) -> Whole:
    """ceil(log2(n)) for 1 <= n < 2^53, exactly."""
    mantissa, exponent = np.frexp(np.asarray(n, dtype=np.float64))
    found = np.where(mantissa == 0.5, exponent - 1, exponent).astype(np.int64)
    return found if found.ndim else int(found)


def bit_length(n: Whole) -> Whole:
    """Bits of n >= 0, as int.bit_length gives them."""
    return log2_up(n + 1)
