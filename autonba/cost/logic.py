"""LUT and FF of an accelerator: amounts of each part of it, times what an amount of that kind
takes.

The parts are the modules of the generated Verilog. Each has a few amounts, mostly bits. The lanes
of arrays come from a table of synthesized ones (`autonba.cost.primitives`) and count once; the
coefficients of the other amounts are the same in all designs and are fitted to whole designs
(`logic_<family>.json`, written by `benchmarks/fit_resources.py`). Here are the parts that grow with
a design and that searches weigh, over arrays; those of control, which need a whole plan, are in
`autonba.cost.control`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from autonba.accelerator import Multiplier
from autonba.arithmetic import MULTIPLIER_BITS
from autonba.boards import Family
from autonba.pipeline import REQUANTIZE_STAGES

from . import dsp, ram
from .arrays import Real, Truth, Whole, divided_up, log2_up
from .primitives import KINDS, Logic, lanes, tree

__all__ = [
    "KINDS",
    "KNOWN",
    "Amounts",
    "Logic",
    "array",
    "coefficients",
    "control",
    "margin",
    "memory",
    "model",
    "nearest_held_out",
    "operands",
    "requantizers",
    "top",
    "weigh",
    "weight_memory",
]

Amounts = dict[str, Real]
KNOWN = "known"  # amounts in LUTs or registers, which need no coefficient


def coefficients(family: Family, kind: Logic) -> Mapping[str, Mapping[str, float]]:
    """Fitted weights of the amounts, by part."""
    found: Mapping[str, Mapping[str, float]] = model(family)["coefficients"][kind]
    return found


def nearest_held_out(
    family: Family, style: str, multipliers: int, count: int = 3
) -> list[dict[str, Any]]:
    """The designs held out of the fit that are most like one of so many multipliers, most of them
    of `style`.

    Each has `name`, `style`, `multipliers`, and `lut` and `ff`, each `predicted` and `synthesized`.
    Those of the same style come first, and of these the ones nearest in size.
    """
    return sorted(
        model(family)["held_out"],
        key=lambda row: (
            row["style"] != style,
            abs(math.log(row["multipliers"] / multipliers)),
            row["name"],
        ),
    )[:count]


def margin(family: Family, kind: Logic) -> float:
    """The factor by which the model was low on the held-out design that it fits worst, at least
    1.
    """
    rows = model(family)["held_out"]
    return float(max(1.0, *(row[kind]["synthesized"] / row[kind]["predicted"] for row in rows)))


@cache
def model(family: Family) -> dict[str, Any]:
    """What `logic_<family>.json` holds."""
    document: dict[str, Any] = json.loads(
        files("autonba.cost").joinpath(f"logic_{family}.json").read_text()
    )
    return document


def weigh(part: str, amounts: Amounts, family: Family, kind: Logic) -> Real:
    """LUT or FF of a part with these amounts."""
    of = coefficients(family, kind)[part]
    return sum(
        amount if name == f"{KNOWN}_{kind}" else of.get(name, 0.0) * amount
        for name, amount in amounts.items()
    )


def array(
    multiplier: Multiplier,
    depthwise: Truth,
    *,
    weight_bits: Whole,
    input_bits: Whole,
    acc_bits: Whole,
    out_lanes: Whole,
    terms: Whole,
    columns: Whole,
    drain_lanes: Whole,
    maximum: Truth,
    stages: Whole,
    family: Family,
    weight_slices: Whole = 1,
    soft_weights: Truth = False,
    live: Real = 1.0,
) -> Amounts:
    """Amounts of a multiplier array; `stages` cycles from its operands to its accumulators. Its
    weights come from so many slices of words, whose outputs are multiplexed in front of it, or with
    `soft_weights` from a memory of LUTs."""
    count = out_lanes * columns
    inputs = columns * np.where(depthwise, out_lanes, 1) * terms * input_bits
    sums = (
        columns
        * (tree("lut", input_bits, terms) + input_bits)
        * (1 - np.asarray(depthwise, dtype=np.int64))
    )
    both = {
        f"{KNOWN}_{kind}": lanes(
            multiplier,
            depthwise,
            kind,
            weight_bits=weight_bits,
            input_bits=input_bits,
            acc_bits=acc_bits,
            out_lanes=out_lanes,
            terms=terms,
            columns=columns,
            family=family,
            live=live,
        )
        for kind in KINDS
    }
    word = live * out_lanes * terms * weight_bits
    both[f"{KNOWN}_lut"] = both[f"{KNOWN}_lut"] + word * selectors(weight_slices, family)
    if (
        multiplier == "packed" and family != "ecp5"
    ):  # a memory's register and two before the blocks make a shift register
        shifted = word * np.asarray(soft_weights) * (1 - np.asarray(depthwise, dtype=np.int64))
        both[f"{KNOWN}_lut"] = both[f"{KNOWN}_lut"] + shifted
        both[f"{KNOWN}_ff"] = both[f"{KNOWN}_ff"] - 2 * shifted
    return {
        **both,
        "constant": 1,
        "inputs": inputs,
        "drained": count * acc_bits * (drain_lanes != count),
        "input_sums": sums if multiplier == "packed" else 0 * sums,
        "maximum": maximum * count * input_bits * stages,
    }


def selectors(slices: Whole, family: Family) -> Whole:
    """LUTs that choose a bit of one of so many slices: a LUT6 of four, a LUT4 of two."""
    return slices - 1 if family == "ecp5" else divided_up(slices - 1, 3)


def operands(
    *,
    input_bits: Whole,
    in_lanes: Whole,
    taps: Whole,
    columns: Whole,
    banks: Whole,
    mains: Whole,
    strides: Whole,
    drain_lanes: Whole,
    residual_bits: Whole,
    residuals: Whole,
) -> Amounts:
    """Amounts of what lies between the memories and an array. `mains` and `residuals` are the
    memories read, `strides` different horizontal ones."""
    read, under = banks * in_lanes * input_bits, columns * taps * in_lanes * input_bits
    return {
        "constant": 1,
        "padding": read,
        "sources": read * (mains - 1),
        "rotation": read * log2_up(banks),
        "strides": under * (strides - 1),
        "residuals": drain_lanes * residual_bits,
        "residual_sources": drain_lanes * residual_bits * np.maximum(residuals - 1, 0),
    }


def requantizers(
    *,
    drain_lanes: Whole,
    acc_bits: Whole,
    residual_bits: Whole,
    residual_factor_bits: Whole,
    shift_low: Whole,
    shift_range: Whole,
    write_bits: Whole,
    has_raw: Truth,
    requantizes: Truth,
    family: Family,
    parameter_slices: Whole = 1,
) -> Amounts:
    """Amounts of a chunk's requantizers; `shift_range` bits tell the shifts apart. As for `array`,
    `parameter_slices`.
    """
    product = acc_bits + MULTIPLIER_BITS
    parts = dsp.product_parts(acc_bits, family)
    some, lone = (
        np.asarray(requantizes, dtype=np.int64),
        1 - np.asarray(requantizes, dtype=np.int64),
    )
    each = {
        "lanes": 1,
        "accumulators": acc_bits,
        "parts": (parts - 1) * product,
        "sums": product - shift_low,
        "shift": shift_range * (product - shift_low),
        "results": np.minimum(write_bits, 9),
        "residuals": np.where(residual_bits > 0, residual_bits + residual_factor_bits, 0),
        "raw": acc_bits * has_raw * (REQUANTIZE_STAGES - 3),
    }
    chosen = drain_lanes * (acc_bits + MULTIPLIER_BITS * some) * selectors(parameter_slices, family)
    return {
        **{name: drain_lanes * some * amount for name, amount in each.items()},
        "alone": drain_lanes * lone * acc_bits,
        f"{KNOWN}_lut": chosen,
    }


def weight_memory(
    width: Whole, depth: Whole, family: Family, *, written: Truth, slices: Whole
) -> Amounts:
    """Amounts of a memory of weights or of biases and multipliers; `written`: it is a RAM of so
    many slices, else a ROM.
    """
    small = (depth > 1) & ~np.asarray(ram.in_blocks(width, depth, family))
    rows = divided_up(depth, 16)
    fixed, changed = small & ~np.asarray(written), small & np.asarray(written)
    return {
        "columns": fixed * width,
        "bits": fixed * width * rows,
        "tiles": changed * divided_up(width, 4) * rows,
        "words": changed * width,
        "slices": np.asarray(written) * slices,
    }


def memory(
    *,
    write_lanes: Whole,
    read_lanes: Whole,
    kept_lanes: Whole,
    lane_bits: Whole,
    banks: Whole,
    depth: Whole,
    family: Family,
) -> Amounts:
    """Amounts of a row buffer of words of max(write_lanes, read_lanes) channels; of those written
    `kept_lanes` hold values.
    """
    lanes_ = np.maximum(write_lanes, read_lanes)
    choices, copies, rows = (
        lanes_ // read_lanes,
        banks * (lanes_ // write_lanes),
        divided_up(depth, 16),
    )
    soft = 1 - np.asarray(ram.in_blocks(write_lanes * lane_bits, depth, family), dtype=np.int64)
    kept = kept_lanes * lane_bits
    return {
        "selected": banks * read_lanes * lane_bits * (choices - 1),
        "selects": log2_up(choices) * banks,
        "banks": (banks - 1) * np.maximum(log2_up(depth), 1),
        "copies": copies - 1,
        "tiles": soft * copies * divided_up(kept, 4) * rows,
        "words": soft * copies * kept,
        "rows": soft * copies * kept * (rows - 1),
        "bank_memories": soft * copies * rows,
    }


def control(
    layers: Whole, address_bits: Whole, row_tables: Whole, family: Family, kind: Logic
) -> Real:
    """LUT or FF of the control of a chunk without streamed weights, where no plan is at hand: so
    much for a chunk, a layer, a bit of the layers' addresses and one of their tables of rows,
    fitted to what `autonba.cost.control` weighs of whole plans."""
    chunk, layer, address, table = model(family)["control"][kind]
    return chunk + layer * layers + address * address_bits + table * row_tables


def top(chunks: Whole, layers: Whole, edges: Whole, family: Family, kind: Logic) -> Real:
    """LUT or FF of row tokens and fronts, fitted as `control`."""
    constant, chunk, layer, edge = model(family)["top"][kind]
    return constant + chunk * chunks + layer * layers + edge * edges
