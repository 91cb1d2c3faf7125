"""Widths of a chunk's sums: the rules, over arrays."""

from __future__ import annotations

import numpy as np

from .arrays import Whole, log2_up


def layer_sum(weight_bits: Whole, input_bits: Whole, products: Whole) -> Whole:
    """Bits that hold the sum of so many products and a bias of the same size, whatever the
    weights.
    """
    return weight_bits + input_bits + log2_up(products) + 1


def beat_sum(weight_bits: Whole, operand_bits: Whole, terms: Whole) -> Whole:
    """Bits of the sum of the products of a beat."""
    return weight_bits + operand_bits + log2_up(terms)


def accumulator(beat_sum: Whole, widest_layer: Whole) -> Whole:
    """Bits of a chunk's accumulators; `widest_layer` is what the largest sum of any layer needs."""
    return np.maximum(beat_sum + 1, widest_layer)
