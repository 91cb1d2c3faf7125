"""Cycles and costs of the chunks of every stage on every array shape, row buffers left out.

Everything follows the rules of `autonba.cost`; of the control logic the share that
`autonba.cost.logic.control` gives.
Suffixes: L layers, V variants (a stage, with or without a depthwise chunk), S shapes with their
multiplier, M multipliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autonba.accelerator import Chunk
from autonba.arithmetic import LOGIT_BITS, MULTIPLIER_BITS, ceil_div
from autonba.boards import Family
from autonba.cost import dsp, logic, ram, timing
from autonba.cost import widths as rules
from autonba.cost.arrays import log2_up
from autonba.cost.control import address_bits, row_tables
from autonba.cost.energy import HOROWITZ_45NM, Datapath
from autonba.errors import SpecError
from autonba.mapping import LayerPlan, word_nest
from autonba.network import Tensor
from autonba.pipeline import MULTIPLY_STAGES

from .shapes import MULTIPLIERS, ConvShapes, DepthwiseShapes, Floats, Ints, depthwise_words
from .variants import Variant, is_depthwise

IMPOSSIBLE = 1e12  # cycles of a layer on a chunk that cannot run it
# from a layer's last beat to the start of the next layer: address, array, requantizer, tokens
PIPELINE_CYCLES = 26
PACKED = MULTIPLIERS.index("packed")


@dataclass(frozen=True)
class Nests:
    """Of each layer on each array: `blocks` of output channels, `beats` of a visit (IMPOSSIBLE: it
    cannot run), `sets` of columns of an image; (L, S) for S conv or depthwise shapes."""

    blocks: Floats
    beats: Floats
    sets: Floats
    drains: Floats  # cycles in which a visit's accumulators leave

    @property
    def busy(self) -> Floats:
        """Cycles of an image (L, S)."""
        return np.where(
            self.beats < IMPOSSIBLE,
            self.sets * self.blocks * timing.period(self.beats, self.drains),
            IMPOSSIBLE,
        )

    @property
    def reads(self) -> Floats:
        """Beats of an image (L, S)."""
        return self.sets * self.blocks * np.where(self.beats < IMPOSSIBLE, self.beats, 0)


def conv_nests(plans: Sequence[LayerPlan], shapes: ConvShapes) -> Nests:
    """Nests of all layers on conv chunks; channels lie in the order that `natural_plans` gives
    them.
    """
    size = len(plans), len(shapes.out)
    blocks, beats, sets = np.ones(size), np.full(size, IMPOSSIBLE), np.ones(size)
    pairs = sorted(set(zip(shapes.out.tolist(), shapes.into.tolist(), strict=True)))
    for n, lp in enumerate(plans):
        sets[n] = timing.visits(lp.out.height, lp.out.width, shapes.columns, 1)
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
                chunk = Chunk(
                    name="any",
                    kind="conv",
                    out_lanes=out,
                    in_lanes=into,
                    drain_lanes=1,
                    multiplier="lut",
                )
                words = word_nest(lp.layer, lp.source, chunk, lp.input_order, lp.output_order).words
            beats[n, where] = timing.beats(*lp.kernel, 1, words)
    return Nests(
        blocks,
        beats,
        sets,
        np.broadcast_to(timing.drain_cycles(shapes.columns, shapes.out, shapes.drain), size),
    )


def depthwise_nests(plans: Sequence[LayerPlan], shapes: DepthwiseShapes) -> Nests:
    """Nests of the layers that may run on depthwise chunks."""
    size = len(plans), len(shapes.lanes)
    blocks, beats, sets = np.ones(size), np.full(size, IMPOSSIBLE), np.ones(size)
    for n, lp in enumerate(plans):
        if not is_depthwise(lp):
            continue
        sets[n] = timing.visits(lp.out.height, lp.out.width, shapes.columns, 1)
        blocks[n] = -(-lp.out.channels // shapes.lanes)
        fits = np.ones(len(shapes.lanes), dtype=bool)
        if lp.input_order != lp.output_order:
            for lanes in set(shapes.lanes.tolist()):
                chunk = Chunk(
                    name="any",
                    kind="depthwise",
                    out_lanes=lanes,
                    in_lanes=lanes,
                    drain_lanes=1,
                    multiplier="lut",
                )
                try:
                    word_nest(lp.layer, lp.source, chunk, lp.input_order, lp.output_order)
                except SpecError:
                    fits[shapes.lanes == lanes] = False
        if lp.layer.op == "max_pool":
            fits &= (shapes.taps == 1) & (shapes.multiplier < 2)
        beats[n, fits] = timing.beats(*lp.kernel, shapes.taps, 1)[fits]
    return Nests(
        blocks,
        beats,
        sets,
        np.broadcast_to(timing.drain_cycles(shapes.columns, shapes.lanes, shapes.drain), size),
    )


@dataclass(frozen=True)
class Widths:
    """Of the chunks of one kind in every variant (V,), zero where there is none; `input_bits` (V,
    M) by multiplier.
    """

    layers: Ints
    addresses: Ints  # bits of the rows of layers' inputs and outputs
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
    """Bits of a lane that holds any of `tensors`, and whether it is signed; beside a signed tensor
    an unsigned one takes a bit more.
    """
    signed = any(t.signed for t, _ in tensors)
    return max(t.bits + (signed and not t.signed) for t, _ in tensors), signed


def chunk_widths(
    plans: Sequence[LayerPlan], stages: Sequence[Variant], kind: Literal["a", "d"]
) -> Widths:
    """Widths of every stage's chunk of a kind: "a" convolutions, "d" depthwise; zeros where a stage
    has none.
    """
    rows = []
    for stage in stages:
        own = [plans[n] for n in (stage.conv if kind == "a" else stage.depthwise)]
        if not own:
            rows.append([0] * 4 + [[0] * 3] + [0] * 13)
            continue
        read = {
            p: [
                lane_bits(t)
                for (_, r, port), t in stage.memories.items()
                if r == kind and port == p
            ]
            for p in ("main", "residual")
        }
        plain = max(bits + (not signed) for bits, signed in read["main"])
        packed = max(bits for bits, _ in read["main"])
        shifts = [lp.layer.shift for lp in own if not lp.layer.raw] or [0]
        rows.append(
            [
                len(own),
                sum(map(address_bits, own)),
                sum(row_tables(lp.pattern) for lp in own),
                max(lp.weight_bits for lp in own),
                [plain, plain, packed],
                max((bits + (not signed) for bits, signed in read["residual"]), default=0),
                max(lp.layer.residual_multiplier.bit_length() for lp in own)
                if read["residual"]
                else 0,
                max(lp.sum_bits for lp in own),
                int(not all(lp.layer.raw for lp in own)),
                int(any(lp.layer.raw for lp in own)),
                min(shifts),
                (max(shifts) - min(shifts)).bit_length(),
                max(
                    LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed) for lp in own
                ),
                len(read["main"]),
                len(read["residual"]),
                len({lp.stride[1] for lp in own}),
                max(lp.stride[1] for lp in own),
                int(any(lp.layer.op == "max_pool" for lp in own)),
            ]
        )
    return Widths(*(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)))


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
        """Products that an output lane adds in a cycle (S,)."""
        return self.taps * (self.into if self.kind == "conv" else 1)


def chunk_costs(
    options: Options,
    nests: Nests,
    widths: Widths,
    plans: Sequence[LayerPlan],
    member_VL: Floats,
    lag_VL: Floats,
    family: Family,
) -> tuple[Floats, Floats]:
    """Cycles (V, S) and COMPONENTS (V, S, 7) of the chunks of one kind in every variant, memories
    of rows left out.
    """
    shape, out, columns, drain, terms = (
        options.shape,
        options.out,
        options.columns,
        options.drain,
        options.terms,
    )
    depthwise = options.kind == "depthwise"
    w = widths.weight_bits[:, None]
    a = np.where(options.multiplier == PACKED, widths.input_bits[:, 2:], widths.input_bits[:, :1])
    res, factor = widths.residual_bits[:, None], widths.residual_factor[:, None]
    used = (widths.layers > 0)[:, None]
    acc = rules.accumulator(rules.beat_sum(w, a, terms), widths.least_acc[:, None])
    requantizes, raw = widths.requantizes[:, None], widths.has_raw[:, None]

    def total(values_LS: Floats, weight_VL: Floats = member_VL) -> Floats:
        return (weight_VL @ values_LS)[:, shape]

    heights = np.array([lp.out.height for lp in plans], dtype=float)
    busy, beats = total(nests.busy), total(nests.reads)
    groups_LS = nests.sets * nests.blocks * nests.drains
    groups = total(groups_LS)
    lag = total(nests.busy / heights[:, None], lag_VL)
    weight_words = total(nests.blocks * np.where(nests.beats < IMPOSSIBLE, nests.beats, 1)).astype(
        np.int64
    )
    parameter_words = total(nests.blocks * (nests.drains / columns_of(nests, options))).astype(
        np.int64
    )
    word, parameters = out * terms * w, drain * (acc + MULTIPLIER_BITS * requantizes)
    memories = ((word, weight_words), (parameters, parameter_words))
    multipliers = columns * out * terms

    arrays = [
        0 * acc + dsp.array(multiplier, depthwise, out, terms, columns, w, a, family)
        for multiplier in MULTIPLIERS
    ]
    blocks = np.choose(options.multiplier, arrays) + drain * requantizes * dsp.requantizer(
        acc, res, factor, family
    )
    bram = sum(
        ram.in_blocks(width, depth, family) * ram.blocks(width, depth, family, rom=True)
        for width, depth in memories
    )

    raw_L, residual_L, maximum_L = (
        np.array([f(lp) for lp in plans], dtype=float)
        for f in (
            lambda lp: lp.layer.raw,
            lambda lp: lp.residual_root is not None,
            lambda lp: lp.layer.op == "max_pool",
        )
    )
    path = Datapath(
        multipliers=multipliers,
        drain_lanes=drain,
        weight_bits=w,
        input_bits=a,
        acc_bits=acc,
        residual_bits=res,
        residual_factor_bits=factor,
        weight_word=word,
        weight_words=weight_words,
        parameter_word=parameters,
        parameter_words=parameter_words,
    )
    energy = sum(
        path.energy(
            HOROWITZ_45NM,
            beats=beats,
            multiplied=total(nests.reads * (1 - maximum_L)[:, None]),
            groups=groups,
            requantized=total(groups_LS * (1 - raw_L)[:, None]),
            residuals=total(groups_LS * residual_L[:, None]),
        )
    )

    slices = [ram.depth_slices(width, depth, family, rom=True) for width, depth in memories]
    amounts = {
        "operands": logic.operands(
            input_bits=a,
            in_lanes=options.into,
            taps=options.taps,
            columns=columns,
            banks=timing.banks(columns, np.maximum(widths.stride, 1)[:, None], options.taps),
            mains=widths.mains[:, None],
            strides=widths.strides[:, None],
            drain_lanes=drain,
            residual_bits=res,
            residuals=widths.residuals[:, None],
        ),
        "requantize": logic.requantizers(
            drain_lanes=drain,
            acc_bits=acc,
            residual_bits=res,
            residual_factor_bits=factor,
            shift_low=widths.shift_low[:, None],
            shift_range=widths.shift_range[:, None],
            write_bits=widths.write_bits[:, None],
            has_raw=raw,
            requantizes=requantizes,
            parameter_slices=slices[1],
            family=family,
        ),
    }
    found = []
    for kind in logic.KINDS:
        lanes = [
            logic.weigh(
                "array",
                logic.array(
                    multiplier,
                    depthwise,
                    weight_bits=w,
                    input_bits=a,
                    acc_bits=acc,
                    out_lanes=out,
                    terms=terms,
                    columns=columns,
                    drain_lanes=drain,
                    maximum=widths.maximum[:, None],
                    stages=MULTIPLY_STAGES[multiplier] + 1 + log2_up(terms),
                    weight_slices=slices[0],
                    soft_weights=~ram.in_blocks(*memories[0], family),
                    family=family,
                ),
                family,
                kind,
            )
            for multiplier in MULTIPLIERS
        ]
        found.append(
            np.choose(options.multiplier, lanes)
            + sum(logic.weigh(part, own, family, kind) for part, own in amounts.items())
            + sum(
                logic.weigh("weights", _rom(width, depth, family), family, kind)
                for width, depth in memories
            )
            + logic.control(widths.layers, widths.addresses, widths.tables, family, kind)[:, None]
            + logic.top(1, 0, 0, family, kind)
            - logic.top(0, 0, 0, family, kind)
        )
    lag = lag + PIPELINE_CYCLES * widths.layers[:, None]
    parts = [blocks, bram, *found, energy, lag, multipliers + 0 * acc]
    return busy * used, np.stack([np.asarray(part, dtype=float) * used for part in parts], axis=-1)


def _rom(width: Ints, depth: Ints, family: Family) -> logic.Amounts:
    return logic.weight_memory(width, depth, family, written=False, slices=0)


def columns_of(nests: Nests, options: Options) -> Ints:
    """Columns of each shape (S,) that `nests` are about."""
    found = np.ones(nests.blocks.shape[1], dtype=np.int64)
    found[options.shape] = options.columns
    return found
