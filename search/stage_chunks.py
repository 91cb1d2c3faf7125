"""Cycles and costs of the chunks of every stage on every array shape, row buffers left out.

Cycles, DSP and block RAM are those of `autonba.mapping` and `autonba.cost.resources`, energy that of `autonba.cost.energy`; LUT
and FF are the amounts of `autonba.cost.logic` for arrays, requantizers and ROMs.
Suffixes: L layers, V variants (a stage, with or without a depthwise chunk), S shapes with their multiplier, M multipliers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from autonba.accelerator import Chunk
from autonba.arithmetic import LOGIT_BITS, MULTIPLIER_BITS, ceil_div, clog2
from autonba.boards import Family
from autonba.cost.energy import HOROWITZ_45NM
from autonba.cost.logic import Logic, coefficients, table_size
from autonba.cost.resources import product_dsps
from autonba.errors import SpecError
from autonba.mapping import LayerPlan, RowPattern, word_nest
from autonba.network import Tensor
from autonba.packing import PORT_BITS, cut, pack, pack_columns
from autonba.pipeline import MULTIPLY_STAGES, REQUANTIZE_STAGES
from autonba.search.stage_shapes import (
    MULTIPLIERS,
    ConvShapes,
    DepthwiseShapes,
    Floats,
    Ints,
    access,
    blocks_of,
    depthwise_words,
    in_block_ram,
    up,
)
from autonba.search.stage_variants import Variant, is_depthwise

IMPOSSIBLE = 1e12  # cycles of a layer on a chunk that cannot run it
PIPELINE_CYCLES = 26  # from a layer's last beat to the start of the next layer: address, array, requantizer, tokens
_LOGIC: tuple[Logic, ...] = ("lut", "ff")


@dataclass(frozen=True)
class Nests:
    """Of each layer on each array: `blocks` of output channels, `beats` of a visit (IMPOSSIBLE: it cannot run), `sets` of columns
    of an image; (L, S) for S conv or depthwise shapes."""

    blocks: Floats
    beats: Floats
    sets: Floats
    drains: Floats  # cycles in which a visit's accumulators leave

    @property
    def busy(self) -> Floats:
        """Cycles of an image (L, S)."""
        return np.where(self.beats < IMPOSSIBLE, self.sets * self.blocks * np.maximum(self.beats, self.drains), IMPOSSIBLE)

    @property
    def reads(self) -> Floats:
        """Beats of an image (L, S)."""
        return self.sets * self.blocks * np.where(self.beats < IMPOSSIBLE, self.beats, 0)


def conv_nests(plans: Sequence[LayerPlan], shapes: ConvShapes) -> Nests:
    """Nests of all layers on conv chunks; channels lie in the order that `natural_plans` gives them."""
    size = len(plans), len(shapes.out)
    blocks, beats, sets = np.ones(size), np.full(size, IMPOSSIBLE), np.ones(size)
    pairs = sorted(set(zip(shapes.out.tolist(), shapes.into.tolist(), strict=True)))
    for n, lp in enumerate(plans):
        sets[n] = lp.out.height * -(-lp.out.width // shapes.columns)
        if lp.layer.op == "max_pool":
            continue
        for out, into in pairs:
            where = (shapes.out == out) & (shapes.into == into)
            blocks[n, where] = ceil_div(lp.out.channels, out)
            if lp.groups == 1:
                words = ceil_div(lp.source.channels, into)
            elif lp.groups == lp.source.channels and lp.input_order == lp.output_order:
                words = depthwise_words(lp.out.channels, out, into)
            else:
                chunk = Chunk(name="any", kind="conv", out_lanes=out, in_lanes=into, drain_lanes=1, multiplier="lut")
                words = word_nest(lp.layer, lp.source, chunk, lp.input_order, lp.output_order).words
            beats[n, where] = lp.kernel[0] * lp.kernel[1] * words
    return Nests(blocks, beats, sets, np.broadcast_to(shapes.columns * shapes.out / shapes.drain, size))


def depthwise_nests(plans: Sequence[LayerPlan], shapes: DepthwiseShapes) -> Nests:
    """Nests of the layers that may run on depthwise chunks."""
    size = len(plans), len(shapes.lanes)
    blocks, beats, sets = np.ones(size), np.full(size, IMPOSSIBLE), np.ones(size)
    for n, lp in enumerate(plans):
        if not is_depthwise(lp):
            continue
        sets[n] = lp.out.height * -(-lp.out.width // shapes.columns)
        blocks[n] = -(-lp.out.channels // shapes.lanes)
        fits = np.ones(len(shapes.lanes), dtype=bool)
        if lp.input_order != lp.output_order:
            for lanes in set(shapes.lanes.tolist()):
                chunk = Chunk(name="any", kind="depthwise", out_lanes=lanes, in_lanes=lanes, drain_lanes=1, multiplier="lut")
                try:
                    word_nest(lp.layer, lp.source, chunk, lp.input_order, lp.output_order)
                except SpecError:
                    fits[shapes.lanes == lanes] = False
        if lp.layer.op == "max_pool":
            fits &= (shapes.taps == 1) & (shapes.multiplier < 2)
        beats[n, fits] = lp.kernel[0] * (-(-lp.kernel[1] // shapes.taps))[fits]
    return Nests(blocks, beats, sets, np.broadcast_to(shapes.columns * shapes.lanes / shapes.drain, size))


@dataclass(frozen=True)
class Widths:
    """Of the chunks of one kind in every variant (V,), zero where there is none; `input_bits` (V, M) by multiplier."""

    layers: Ints
    tables: Ints  # constants of the schedule's tables of rows
    weight_bits: Ints
    input_bits: Ints
    residual_bits: Ints
    residual_factor: Ints  # bits of the widest r
    least_acc: Ints
    requantizes: Ints
    has_raw: Ints
    shift_low: Ints
    shift_range: Ints
    write_bits: Ints
    mains: Ints  # memories read at the main port
    residuals: Ints
    strides: Ints  # different ones
    stride: Ints  # the largest
    maximum: Ints


def lane_bits(tensors: Sequence[tuple[Tensor, int]]) -> tuple[int, bool]:
    signed = any(t.signed for t, _ in tensors)
    return max(t.bits + (signed and not t.signed) for t, _ in tensors), signed


def chunk_widths(plans: Sequence[LayerPlan], stages: Sequence[Variant], kind: Literal["a", "d"]) -> Widths:
    rows = []
    for stage in stages:
        own = [plans[n] for n in (stage.conv if kind == "a" else stage.depthwise)]
        if not own:
            rows.append([0] * 3 + [[0] * 3] + [0] * 13)
            continue
        read = {p: [lane_bits(t) for (_, r, port), t in stage.memories.items() if r == kind and port == p]
                for p in ("main", "residual")}
        plain = max(bits + (not signed) for bits, signed in read["main"])
        packed = max(bits for bits, _ in read["main"])
        shifts = [lp.layer.shift for lp in own if not lp.layer.raw] or [0]
        rows.append([
            len(own), sum(_cases(lp.pattern) for lp in own), max(lp.weight_bits for lp in own), [plain, plain, packed],
            max((bits + (not signed) for bits, signed in read["residual"]), default=0),
            max(lp.layer.residual_multiplier.bit_length() for lp in own) if read["residual"] else 0,
            max(_accumulator_bits(lp) for lp in own), int(not all(lp.layer.raw for lp in own)),
            int(any(lp.layer.raw for lp in own)), min(shifts), (max(shifts) - min(shifts)).bit_length(),
            max(LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed) for lp in own),
            len(read["main"]), len(read["residual"]), len({lp.stride[1] for lp in own}), max(lp.stride[1] for lp in own),
            int(any(lp.layer.op == "max_pool" for lp in own))])
    return Widths(*(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)))


@cache
def _cases(pattern: RowPattern) -> int:
    return sum(table_size([values])[1] for values in ([pattern.need(t) for t in range(pattern.tasks)],
                                                  [pattern.release(t) for t in range(pattern.tasks)]))


def _accumulator_bits(lp: LayerPlan) -> int:
    taps = 1 if lp.layer.op == "max_pool" else lp.kernel[0] * lp.kernel[1] * (lp.source.channels // lp.groups)
    return lp.weight_bits + lp.source.bits + clog2(taps) + 1


@dataclass(frozen=True)
class Options:
    """Arrays with a multiplier each (S,); `shape` numbers them without it."""

    kind: Literal["conv", "depthwise"]
    shape: Ints
    out: Ints
    into: Ints
    taps: Ints
    columns: Ints
    drain: Ints
    multiplier: Ints

    @property
    def terms(self) -> Ints:
        return self.taps * (self.into if self.kind == "conv" else 1)


def chunk_costs(options: Options, nests: Nests, widths: Widths, plans: Sequence[LayerPlan], member_VL: Floats, lag_VL: Floats,
           family: Family) -> tuple[Floats, Floats]:
    """Cycles (V, S) and COMPONENTS (V, S, 7) of the chunks of one kind in every variant, memories of rows left out."""
    shape, out, columns, drain, terms = options.shape, options.out, options.columns, options.drain, options.terms
    soft, hard, packed = (options.multiplier == m for m in range(3))
    w = widths.weight_bits[:, None]
    a = np.where(packed, widths.input_bits[:, 2:], widths.input_bits[:, :1])
    res, factor = widths.residual_bits[:, None], widths.residual_factor[:, None]
    used = (widths.layers > 0)[:, None]
    levels = up(np.ceil(np.log2(terms)), 1).astype(np.int64)
    acc = np.maximum(w + a + levels + 1, widths.least_acc[:, None])
    requantizes, raw = widths.requantizes[:, None], widths.has_raw[:, None]

    def total(values_LS: Floats, weight_VL: Floats = member_VL) -> Floats:
        return (weight_VL @ values_LS)[:, shape]

    heights = np.array([lp.out.height for lp in plans], dtype=float)
    busy, beats = total(nests.busy), total(nests.reads)
    groups_LS = nests.sets * nests.blocks * nests.drains
    groups = total(groups_LS)
    lag = total(nests.busy / heights[:, None], lag_VL)
    weight_words = total(nests.blocks * np.where(nests.beats < IMPOSSIBLE, nests.beats, 1)).astype(np.int64)
    parameter_words = total(nests.blocks * (nests.drains / columns_of(nests, options))).astype(np.int64)

    # DSP
    multipliers = columns * out * terms
    shared, arrays = (out, columns * terms) if options.kind == "conv" else (columns, out * terms)
    fields, spacing, overlap = _packing_table(family, options.kind)[:, np.minimum(w, 8), np.minimum(a, 9)]
    in_block = -(-shared // fields)
    one = _product_table(family)
    pieces = _pieces_table(family)[acc]
    dsp = np.where(packed, in_block * arrays, hard * multipliers * one[w, a]) + drain * requantizes * (
        pieces + np.where(res > 0, one[res, factor + 1], 0))

    # Block RAM
    word = out * terms * w
    lane_bits = acc + MULTIPLIER_BITS * requantizes
    parameters = drain * lane_bits
    bram: Any = 0
    rom_columns: Any = 0
    rom_bits: Any = 0
    for width, depth in ((word, weight_words), (parameters, parameter_words)):
        large = in_block_ram(width, depth, family)
        bram = bram + np.where(large, blocks_of(width, depth, family, rom=True), 0)
        small = ~large & (depth > 1)
        rom_columns, rom_bits = rom_columns + small * width, rom_bits + small * width * up(depth, 16)

    # Energy
    model = HOROWITZ_45NM
    raw_L, residual_L, maximum_L = (np.array([f(lp) for lp in plans], dtype=float) for f in (
        lambda lp: lp.layer.raw, lambda lp: lp.residual_root is not None, lambda lp: lp.layer.op == "max_pool"))
    multiplied = total(nests.reads * (1 - maximum_L)[:, None])
    energy = multipliers * (beats * model.add_bit * acc + multiplied * model.multiply_bit_pair * w * a)
    energy = energy + drain * (
        groups * model.add_bit * acc
        + total(groups_LS * (1 - raw_L)[:, None]) * (
            model.multiply_bit_pair * acc * MULTIPLIER_BITS + model.add_bit * (acc + MULTIPLIER_BITS))
        + total(groups_LS * residual_L[:, None]) * model.multiply_bit_pair * res * factor)
    energy = energy + beats * access(word, word * weight_words) + groups * access(parameters, parameters * parameter_words)

    # LUT and FF
    stages = np.array([MULTIPLY_STAGES[m] for m in MULTIPLIERS])[options.multiplier] + 1 + levels
    lanes, both = out * columns, w + a
    banks = 1 << np.ceil(np.log2((columns - 1) * np.maximum(widths.stride, 1)[:, None] + options.taps)).astype(np.int64)
    read_bits = banks * options.into * a
    operands = columns * options.taps * options.into * a
    tree = lanes * sum(up(terms, 2 << level) * (both + level + 1) * (level < levels) for level in range(int(levels.max())))
    field, other = (w, a) if options.kind == "conv" else (a, w)
    amounts = {
        "constant": 1, "weights": word, "inputs": operands, "accumulators": lanes * acc, "tree": tree,
        "drained": lanes * acc * (drain != lanes), "soft_adders": multipliers * (w - 1) * both * soft,
        "soft_products": multipliers * both * soft, "dsp_products": multipliers * both * hard,
        "packed_sums": lanes * (both + levels) * packed, "padding": read_bits, "sources": read_bits * (widths.mains - 1)[:, None],
        "rotation": read_bits * np.log2(banks), "strides": operands * (widths.strides - 1)[:, None], "residuals": drain * res,
        "residual_sources": drain * res * np.maximum(widths.residuals - 1, 0)[:, None],
        "maximum": lanes * a * stages * widths.maximum[:, None],
        "packed_words": packed * arrays * ((shared - in_block) * spacing + in_block * both),
        "packed_operands": packed * arrays * (shared * field + in_block * other),
        "packed_carries": packed * arrays * (shared - in_block) * overlap,
    }
    low = widths.shift_low[:, None]
    requantize = {
        "lanes": drain, "accumulators": drain * acc, "parts": drain * (pieces - 1) * (acc + MULTIPLIER_BITS),
        "sums": drain * (acc + MULTIPLIER_BITS - low),
        "shift": drain * widths.shift_range[:, None] * (acc + MULTIPLIER_BITS - low),
        "results": drain * np.minimum(widths.write_bits, 9)[:, None], "residuals": drain * np.where(res > 0, res + factor, 0),
        "raw": drain * acc * raw * (REQUANTIZE_STAGES - 3),
    }
    found = {}
    for logic in _LOGIC:
        c = coefficients(family, logic)
        found[logic] = (sum(c["array"][name] * amount for name, amount in amounts.items())
                        + requantizes * sum(c["requantize"][name] * amount for name, amount in requantize.items())
                        + (1 - requantizes) * c["requantize"]["alone"] * drain * acc
                        + c["rom"]["columns"] * rom_columns + c["rom"]["bits"] * rom_bits + c["front"]["chunks"])
    lag = lag + PIPELINE_CYCLES * widths.layers[:, None]
    parts = [dsp, bram, found["lut"], found["ff"], energy, lag, multipliers + 0 * acc]
    return busy * used, np.stack([np.asarray(part, dtype=float) * used for part in parts], axis=-1)


def columns_of(nests: Nests, options: Options) -> Ints:
    """Columns of each shape (S,) that `nests` are about."""
    found = np.ones(nests.blocks.shape[1], dtype=np.int64)
    found[options.shape] = options.columns
    return found


def _product_table(family: Family) -> Ints:
    return np.array([[product_dsps(a, b, family) for b in range(40)] for a in range(40)])


def _pieces_table(family: Family) -> Ints:
    return np.array([len(cut(bits, PORT_BITS[family])) - 1 if bits else 0 for bits in range(80)])


def _packing_table(family: Family, kind: Literal["conv", "depthwise"]) -> Ints:
    """Fields, spacing and overlap (3, w, a) of operands of up to 8 and 9 bits."""
    of = pack if kind == "conv" else pack_columns
    found = np.ones((3, 9, 10), dtype=np.int64)
    for w, a in itertools.product(range(1, 9), range(1, 10)):
        packing = of(w, a, PORT_BITS[family])
        found[:, w, a] = packing.fields, packing.spacing, packing.overlap
    return found
