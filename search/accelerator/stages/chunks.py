"""Cycles and costs of the chunks of every stage on every array shape, row buffers left out.

Resources are those of `autonba.search.accelerator.chunks`.
Suffixes: L layers, V variants (a stage, with or without a depthwise chunk), S shapes with their
multiplier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from autonba.arithmetic import LOGIT_BITS
from autonba.boards import Family
from autonba.cost import fetch, logic, timing
from autonba.cost.arrays import divided_up
from autonba.cost.control import address_bits, row_tables
from autonba.cost.energy import HOROWITZ_45NM
from autonba.mapping import LayerPlan
from autonba.network import Tensor
from autonba.search.accelerator import chunks, layers
from autonba.search.accelerator.chunks import Arrays, Needs, Words
from autonba.search.accelerator.factors import IN_LANES, OUT_LANES, PACKED
from autonba.search.accelerator.layers import Layers

from .shapes import ConvShapes, DepthwiseShapes, Floats, Ints
from .variants import Variant, is_depthwise

IMPOSSIBLE = 1e12  # cycles of a layer on a chunk that cannot run it
# from a layer's last beat to the start of the next layer: address, array, requantizer, tokens
PIPELINE_CYCLES = 26


@dataclass(frozen=True)
class Nests:
    """Of each layer on each array: `blocks` of output channels, `beats` of a visit (IMPOSSIBLE: it
    cannot run), `sets` of columns of an image, `drains`, the cycles in which a visit's accumulators
    leave, `load`, the beats of the port in which a streamed layer's weights of a block come, 0 for
    others; (L, S) for S conv or depthwise shapes."""

    blocks: Floats
    beats: Floats
    sets: Floats
    drains: Floats
    load: Floats

    @property
    def busy(self) -> Floats:
        """Cycles of an image (L, S). A task of a streamed layer is the whole map."""
        visits = self.sets * timing.period(self.beats, self.drains)
        waiting = fetch.block_cycles(visits, self.load)
        busy = self.blocks * np.where(self.load > 0, waiting, visits)
        return np.where(self.beats < IMPOSSIBLE, busy, IMPOSSIBLE)

    @property
    def reads(self) -> Floats:
        """Beats of an image (L, S)."""
        return self.sets * self.blocks * np.where(self.beats < IMPOSSIBLE, self.beats, 0)


def conv_nests(table: Layers, plans: Sequence[LayerPlan], shapes: ConvShapes, port: int) -> Nests:
    """Nests of all layers on conv chunks; streamed ones read through ports of `port` bits."""
    out = np.searchsorted(OUT_LANES, shapes.out)
    into = np.searchsorted(IN_LANES, shapes.into)
    words = table.conv_words[:, out, into]
    streams = np.array([lp.streams for lp in plans])[:, None]
    # a chunk's weights are as wide as its widest; one that does not stream may be wider still,
    # which the evaluation of what is found then tells
    bits = max((lp.weight_bits for lp in plans if lp.streams), default=0)
    beats = _beats(table, words, 1)
    word = divided_up(shapes.out * shapes.into * bits, port)
    return _nests(
        table, shapes.out, shapes.columns, shapes.drain, beats, np.where(streams, beats * word, 0)
    )


def depthwise_nests(table: Layers, plans: Sequence[LayerPlan], shapes: DepthwiseShapes) -> Nests:
    """Nests of the layers that may run on depthwise chunks."""
    words = table.depthwise_words[:, np.searchsorted(IN_LANES, shapes.lanes)]
    able = np.array([is_depthwise(lp) for lp in plans])[:, None]
    one = (shapes.taps == 1) & (shapes.multiplier != PACKED)
    words = np.where(able & (one | ~table.pooling[:, None]), words, layers.IMPOSSIBLE)
    beats = _beats(table, words, shapes.taps)
    return _nests(table, shapes.lanes, shapes.columns, shapes.drain, beats, 0 * beats)


def _beats(table: Layers, words: Ints, taps: Ints | int) -> Floats:
    found = timing.beats(table.kernel_rows[:, None], table.kernel_columns[:, None], taps, words)
    return np.where(words < layers.IMPOSSIBLE, found, IMPOSSIBLE).astype(float)


def _nests(
    table: Layers, out: Ints, columns: Ints, drain: Ints, beats: Floats, load: Floats
) -> Nests:
    sets = timing.visits(table.height[:, None], table.width[:, None], columns, 1)
    drains = timing.drain_cycles(columns, out, drain)
    return Nests(
        blocks=divided_up(table.channels[:, None], out).astype(float),
        beats=beats,
        sets=sets.astype(float),
        drains=np.broadcast_to(drains, beats.shape).astype(float),
        load=np.where(beats < IMPOSSIBLE, load, 0),
    )


def lane_bits(tensors: Sequence[tuple[Tensor, int]]) -> tuple[int, bool]:
    """Bits of a lane that holds any of `tensors`, and whether it is signed; beside a signed tensor
    an unsigned one takes a bit more.
    """
    signed = any(t.signed for t, _ in tensors)
    return max(t.bits + (signed and not t.signed) for t, _ in tensors), signed


def chunk_needs(
    plans: Sequence[LayerPlan], stages: Sequence[Variant], kind: Literal["a", "d"]
) -> Needs:
    """What every stage's chunk of a kind is asked for (V,): "a" convolutions, "d" depthwise; zeros
    where a stage has none.
    """
    rows = []
    for stage in stages:
        own = [plans[n] for n in (stage.conv if kind == "a" else stage.depthwise)]
        if not own:
            rows.append([0] * len(fields(Needs)))
            continue
        read = {
            p: [
                lane_bits(t)
                for (_, r, port), t in stage.memories.items()
                if r == kind and port == p
            ]
            for p in ("main", "residual")
        }
        shifts = [lp.layer.shift for lp in own if not lp.layer.raw] or [0]
        residual = max((bits + (not signed) for bits, signed in read["residual"]), default=0)
        rows.append(
            [
                len(own),
                sum(lp.streams for lp in own),
                sum(map(address_bits, own)),
                sum(row_tables(lp.pattern) for lp in own),
                max(lp.weight_bits for lp in own),
                max(bits + (not signed) for bits, signed in read["main"]),
                max(bits for bits, _ in read["main"]),
                residual,
                max(map(layers.residual_factor_bits, own)) if residual else 0,
                max(lp.sum_bits for lp in own),
                max(
                    LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed) for lp in own
                ),
                int(not all(lp.layer.raw for lp in own)),
                int(any(lp.layer.raw for lp in own)),
                min(shifts),
                (max(shifts) - min(shifts)).bit_length(),
                len(read["main"]),
                len(read["residual"]),
                len({lp.stride[1] for lp in own}),
                max(lp.stride[1] for lp in own),
                int(any(lp.layer.op == "max_pool" for lp in own)),
            ]
        )
    columns = np.array(rows, dtype=np.int64).T
    return Needs(**{f.name: column for f, column in zip(fields(Needs), columns, strict=True)})


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
    needs: Needs,
    plans: Sequence[LayerPlan],
    member_VL: Floats,
    lag_VL: Floats,
    family: Family,
    port: int,
) -> tuple[Floats, Floats]:
    """Cycles (V, S) and COMPONENTS (V, S, 7) of the chunks of one kind in every variant, memories
    of rows left out.
    """
    shape = options.shape
    used = (needs.layers > 0)[:, None]

    def total(values_LS: Floats, weight_VL: Floats = member_VL) -> Floats:
        return (weight_VL @ values_LS)[:, shape]

    def whole(values: Floats) -> Ints:
        return values.astype(np.int64)

    streams_L, raw, residual, maximum, heights = (
        np.array([f(lp) for lp in plans], dtype=float)[:, None]
        for f in (
            lambda lp: lp.streams,
            lambda lp: lp.layer.raw,
            lambda lp: lp.residual_root is not None,
            lambda lp: lp.layer.op == "max_pool",
            lambda lp: lp.out.height,
        )
    )
    beats_LS = np.where(nests.beats < IMPOSSIBLE, nests.beats, 1)
    deepest: Floats = np.zeros((len(member_VL), beats_LS.shape[1]))
    for n in np.flatnonzero(streams_L):
        deepest = np.maximum(deepest, member_VL[:, n, None] * beats_LS[n])
    groups_LS = nests.sets * nests.blocks * nests.drains
    per_visit = (options.out // options.drain)[np.unique(shape, return_index=True)[1]]
    words = Words(
        weights=whole(total(nests.blocks * beats_LS * (1 - streams_L)) + 2 * deepest[:, shape]),
        parameters=whole(total(nests.blocks * per_visit)),
        port=port,
    )
    found = chunks.costs(
        Arrays(
            depthwise=options.kind == "depthwise",
            out=options.out,
            into=options.into,
            drain=options.drain,
            taps=options.taps,
            columns=options.columns,
            multiplier=options.multiplier,
        ),
        Needs(**{f.name: getattr(needs, f.name)[:, None] for f in fields(Needs)}),
        words,
        family,
    )
    beats, groups = total(nests.reads), total(groups_LS)
    energy: Floats = sum(  # type: ignore[assignment]  # of arrays, from the number 0 on
        found.path.energy(
            HOROWITZ_45NM,
            beats=beats,
            multiplied=total(nests.reads * (1 - maximum)),
            groups=groups,
            requantized=total(groups_LS * (1 - raw)),
            residuals=total(groups_LS * residual),
        )
    )
    bits = total(nests.blocks * nests.load) * port
    energy = energy + bits * HOROWITZ_45NM.dram_bit
    energy = energy + HOROWITZ_45NM.access(bits, found.path.weight_word * words.weights)
    top = [logic.top(1, 0, 0, family, k) - logic.top(0, 0, 0, family, k) for k in logic.KINDS]
    lag = total(nests.busy / heights, lag_VL) + PIPELINE_CYCLES * needs.layers[:, None]
    parts = (
        found.dsp,
        found.bram,
        found.lut + top[0],
        found.ff + top[1],
        energy,
        lag,
        found.path.multipliers + 0 * lag,
    )
    return total(nests.busy) * used, np.stack(
        [np.broadcast_to(np.asarray(part, dtype=float), lag.shape) * used for part in parts],
        axis=-1,
    )
