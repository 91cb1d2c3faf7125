"""DSP blocks: the rules, over arrays. They are those of Yosys' `synth_ecp5` and `synth_xilinx`.

Blocks: MULT18X18D (ECP5), DSP48E1 (7-series), DSP48E2 (UltraScale+).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from autonba.accelerator import Multiplier
from autonba.boards import Family
from autonba.packing import PORT_BITS, pack, pack_columns

from .arrays import Truth, Whole, divided_up

PORTS: dict[Family, tuple[int, int]] = {
    "ecp5": (18, 18),
    "xc7": (25, 18),
    "xcup": (27, 18),
}  # signed, wide and narrow
LEAST_PRODUCT: dict[Family, int] = {
    "ecp5": 4,
    "xc7": 9,
    "xcup": 9,
}  # bits; narrower products go to LUTs
_MOST_BITS = 10  # of packed operands


def product(a_bits: Whole, b_bits: Whole, family: Family) -> Whole:
    """Blocks of a signed product of `a_bits` x `b_bits` bits."""
    if family == "ecp5":
        found = _ecp5_pieces(a_bits) * _ecp5_pieces(b_bits)
    else:
        wide, narrow = PORTS[family]
        a, b = np.maximum(a_bits - 1, 1), np.maximum(b_bits - 1, 1)
        found = np.minimum(
            divided_up(a, wide - 1) * divided_up(b, narrow - 1),
            divided_up(b, wide - 1) * divided_up(a, narrow - 1),
        )
    there = (np.minimum(a_bits, b_bits) >= 2) & (
        np.asarray(a_bits) + b_bits >= LEAST_PRODUCT[family]
    )
    return np.where(there, found, 0)


def _ecp5_pieces(bits: Whole) -> Whole:
    # A piece of one bit goes to LUTs.
    return np.where((bits > 18) & (bits % 18 == 1), bits // 18, divided_up(bits, 18))


def product_parts(bits: Whole, family: Family) -> Whole:
    """Parts that a signed factor of `bits` is cut into for the wide port
    (`autonba.packing.cut`).
    """
    return divided_up(np.maximum(bits - 1, 1), PORT_BITS[family] - 1)


@cache
def _packings(family: Family, columns: bool) -> np.ndarray:
    """Fields, spacing and overlap (3, weight bits, input bits)."""
    of = pack_columns if columns else pack
    found = np.ones((3, _MOST_BITS, _MOST_BITS), dtype=np.int64)
    for w in range(1, _MOST_BITS):
        for a in range(1, _MOST_BITS):
            packing = of(w, a, PORT_BITS[family])
            found[:, w, a] = packing.fields, packing.spacing, packing.overlap
    return found


def packing(
    depthwise: Truth, weight_bits: Whole, input_bits: Whole, family: Family
) -> tuple[Whole, Whole, Whole]:
    """Fields, spacing and overlap of packed arrays: products in a block, bits from one to the next,
    bits that they overlap by.
    """
    w, a = np.minimum(weight_bits, _MOST_BITS - 1), np.minimum(input_bits, _MOST_BITS - 1)
    lanes, columns = _packings(family, False)[:, w, a], _packings(family, True)[:, w, a]
    fields, spacing, overlap = np.where(depthwise, columns, lanes)
    return fields, spacing, overlap


def packs(depthwise: Truth, out_lanes: Whole, terms: Whole, columns: Whole, fields: Whole) -> Whole:
    """Packs of an array: output lanes that share an activation, or in a depthwise array columns
    that share a weight.
    """
    shared, others = (
        np.where(depthwise, columns, out_lanes),
        np.where(depthwise, out_lanes, columns) * terms,
    )
    return divided_up(shared, fields) * others


def packed_array(
    depthwise: Truth,
    out_lanes: Whole,
    terms: Whole,
    columns: Whole,
    weight_bits: Whole,
    input_bits: Whole,
    family: Family,
) -> Whole:
    """Blocks of an array of packed multipliers; `input_bits` unsigned. A last pack whose product is
    narrow goes to LUTs.
    """
    fields, spacing, _ = packing(depthwise, weight_bits, input_bits, family)
    rest = np.where(depthwise, columns, out_lanes) % fields
    narrow = (rest > 0) & ((rest - 1) * spacing + weight_bits + input_bits < LEAST_PRODUCT[family])
    return (
        packs(depthwise, out_lanes, terms, columns, fields)
        - narrow * np.where(depthwise, out_lanes, columns) * terms
    )


def array(
    multiplier: Multiplier,
    depthwise: Truth,
    out_lanes: Whole,
    terms: Whole,
    columns: Whole,
    weight_bits: Whole,
    input_bits: Whole,
    family: Family,
) -> Whole:
    """Blocks of a multiplier array. A multiplier whose weight is always zero counts: synthesis does
    not remove it.
    """
    if multiplier == "packed":
        return packed_array(depthwise, out_lanes, terms, columns, weight_bits, input_bits, family)
    return (
        out_lanes * terms * columns * product(weight_bits, input_bits, family)
        if multiplier == "dsp"
        else 0
    )


def requantizer(
    acc_bits: Whole, residual_bits: Whole, residual_factor_bits: Whole, family: Family
) -> Whole:
    """Blocks of one requantizer; `residual_bits` (signed) is 0 where there are no residuals,
    `residual_factor_bits` unsigned.
    """
    residual = np.where(
        residual_bits > 0, product(residual_bits, residual_factor_bits + 1, family), 0
    )
    return product_parts(acc_bits, family) + residual
