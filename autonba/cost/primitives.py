"""LUT and FF of the lanes of multiplier arrays, from a table of synthesized ones.

`primitives_<family>.json`, written by `python -m benchmarks.primitives`, holds for each style and
pair of widths what one more lane (or pack) of an array takes, its accumulators included.
Interpolation: trees of adders and accumulators are known bit by bit and taken off; what is left
belongs to the multipliers and is proportional to the terms, linear between tabulated widths, and
for packs linear in the number of fields. Styles: `lut`, `dsp` (a lane), `packed` (output lanes that
share an activation), `columns` (columns that share a weight).
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from autonba.accelerator import Multiplier
from autonba.boards import Family

from . import dsp
from .arrays import Real, Truth, Whole, divided_up, log2_up

Logic = Literal["lut", "ff"]
KINDS: tuple[Logic, ...] = ("lut", "ff")
MOST_BITS = 10  # of an operand, and one
SPARE_BITS = 4  # of the table's accumulators beyond their sums
_LEVELS = 9  # of an adder tree, at most


def tree(kind: Logic, bits: Whole, terms: Whole) -> Whole:
    """LUTs (a bit of an adder each) or registers of an adder tree of up to 512 terms of `bits`
    bits, registered at each level.
    """
    nodes, levels = _tree(kind)
    return nodes[terms] * bits + levels[terms]


@cache
def _tree(kind: Logic) -> tuple[np.ndarray, np.ndarray]:
    """By number of terms: nodes of a tree, and the sum of their levels, which are the bits that
    their sums have more.
    """
    terms = np.arange((1 << _LEVELS) + 1)
    nodes, levels = np.zeros_like(terms), np.zeros_like(terms)
    for level in range(_LEVELS):
        below = (
            1 << level
        )  # a node joins two sums of so many terms; the last one may have a single sum to pass on
        here = (terms + below - 1) // (2 * below) if kind == "lut" else divided_up(terms, 2 * below)
        here = np.where(terms > below, here, 0)
        nodes, levels = nodes + here, levels + here * (level + 1)
    return nodes, levels


def _last_sums(
    kind: Logic, style: str, bits: Whole, terms: Whole, fields: Whole, overlap: Whole
) -> Whole:
    """Of a pack: the last registers subtract carries, where fields overlap, and offsets, from all
    but the last field.
    """
    width = bits + log2_up(terms)
    if kind == "ff":
        return fields * width
    carries = np.where(overlap > 0, fields, 0) * (fields > 1)
    return width * (carries + ((fields - 1) if style == "packed" else 0))


def _known(
    kind: Logic,
    style: str,
    bits: Whole,
    terms: Whole,
    fields: Whole,
    acc: Whole,
    overlap: Whole = 0,
) -> Whole:
    """What a lane (or pack) takes beside its multipliers: trees, last sums, accumulators and what
    holds them finished.
    """
    own = fields * (tree(kind, bits, terms) + acc * (1 if kind == "lut" else 2))
    if style not in ("packed", "columns"):
        return own
    carries = (fields - 1) * np.where(overlap > 0, tree(kind, overlap, terms), 0)
    return own + carries + _last_sums(kind, style, bits, terms, fields, overlap)


@cache
def _tables(family: Family) -> dict[str, Any]:
    """Of each style and kind, what remains for a term by (terms tabulated, weight bits, input
    bits); of packs, full and alone.
    """
    document = json.loads(files("autonba.cost").joinpath(f"primitives_{family}.json").read_text())
    found: dict[str, Any] = {}
    for style in ("lut", "dsp", "packed", "columns"):
        rows = [row for row in document["primitives"] if row["style"] == style]
        terms = sorted({row["terms"] for row in rows})
        found[f"{style}/terms"] = np.array(terms)
        for kind in KINDS:
            for part in ("full", "alone") if style in ("packed", "columns") else ("full",):
                found[f"{style}/{kind}/{part}"] = np.stack(
                    [_grid(rows, style, kind, part, count, family) for count in terms]
                )
            found[f"{style}/{kind}/bit"] = _accumulator_bit(rows, kind, terms)
    return found


def _grid(
    rows: list[dict[str, Any]], style: str, kind: Logic, part: str, terms: int, family: Family
) -> np.ndarray:
    """What remains for a term, by weight bits and input bits up to MOST_BITS - 1."""
    points: dict[tuple[int, int], float] = {}
    for row in rows:
        if row["terms"] != terms:
            continue
        w, a, fields = row["weight_bits"], row["input_bits"], row["fields"]
        most, _, overlap = (int(n) for n in dsp.packing(style == "columns", w, a, family))
        if style in ("lut", "dsp"):
            most = 1
        if fields != (most if part == "full" else 1) or (
            style in ("lut", "dsp") and (w, a) in points
        ):
            continue
        points[w, a] = (
            row[kind] - float(_known(kind, style, w + a, terms, fields, row["acc_bits"], overlap))
        ) / terms
    ws, inputs = sorted({w for w, _ in points}), sorted({a for _, a in points})
    along = np.stack(
        [np.interp(np.arange(MOST_BITS), inputs, [points[w, a] for a in inputs]) for w in ws]
    )
    return np.stack(
        [np.interp(np.arange(MOST_BITS), ws, along[:, a]) for a in range(MOST_BITS)], axis=1
    )


def _accumulator_bit(rows: list[dict[str, Any]], kind: Logic, terms: list[int]) -> np.ndarray:
    """What an accumulator's bit takes more or less than `_known` says, by number of terms: DSP
    blocks can hold accumulators.
    """
    found = []
    for count in terms:
        both = sorted(
            (row["acc_bits"], row[kind])
            for row in rows
            if row["terms"] == count and (row["weight_bits"], row["input_bits"]) == (8, 9)
        )
        known = 1 if kind == "lut" else 2
        found.append(
            (both[1][1] - both[0][1]) / (both[1][0] - both[0][0]) - known if len(both) == 2 else 0.0
        )
    return np.array(found)


def lanes(
    multiplier: Multiplier,
    depthwise: Truth,
    kind: Logic,
    *,
    weight_bits: Whole,
    input_bits: Whole,
    acc_bits: Whole,
    out_lanes: Whole,
    terms: Whole,
    columns: Whole,
    family: Family,
    live: Real = 1.0,
) -> Real:
    """LUT or FF of all lanes of an array: multipliers with the registers of their weights, trees,
    accumulators drained at once.

    `live` is the fraction of the weights' bits that ever change: synthesis simplifies multipliers
    by constants.
    """
    table = _tables(family)
    w, a = np.minimum(weight_bits, MOST_BITS - 1), np.minimum(input_bits, MOST_BITS - 1)
    bits = w + a

    def pack(style: str, part: str, fields: Whole, overlap: Whole = 0) -> Real:
        at = np.minimum(
            np.searchsorted(table[f"{style}/terms"], terms, side="right") - 1,
            len(table[f"{style}/terms"]) - 1,
        )
        at = np.maximum(at, 0)
        first = table[f"{style}/terms"][at]
        extra = (
            fields
            * (acc_bits - (bits + log2_up(first) + SPARE_BITS))
            * table[f"{style}/{kind}/bit"][at]
        )
        return (
            live * terms * table[f"{style}/{kind}/{part}"][at, w, a]
            + _known(kind, style, bits, terms, fields, acc_bits, overlap)
            + extra
        )

    if multiplier != "packed":
        each = pack(multiplier, "full", 1)
        shared = (
            (columns - 1) * out_lanes * terms * w if kind == "ff" else 0
        )  # columns share the registers of weights
        return out_lanes * columns * each - shared
    total: Real = 0.0
    for style, deep in (("packed", False), ("columns", True)):
        fields, _, overlap = dsp.packing(deep, w, a, family)
        common, others = (columns, out_lanes) if deep else (out_lanes, columns)
        full, rest = common // fields, common % fields
        whole, alone = pack(style, "full", fields, overlap), pack(style, "alone", 1)
        part = np.where(
            rest > 0, alone + (rest - 1) * (whole - alone) / np.maximum(fields - 1, 1), 0.0
        )
        found = others * (full * whole + part)
        if (
            not deep and kind == "ff"
        ):  # columns share the registers of weights, in front of the packs and in them
            found = found - 2 * (columns - 1) * out_lanes * terms * w
        total = total + np.where(np.asarray(depthwise) == deep, found, 0.0)
    return total
