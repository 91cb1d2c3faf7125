"""Accelerator search for a network that does not change: the highest throughput within limits.

Steady-state cycles an image are the largest busy time of any chunk, and resources add up. So the
search asks for a period T: a chunk's shape is the cheapest one on which the chunk's layers take at
most T cycles, found in a table of each layer's cycles on each shape. Simulated annealing moves
layers between chunks, splits and merges chunks, and streams weights from DRAM, until what is used
meets every limit; then T shrinks. Prices of the resources follow from how scarce they are.
Suffixes: L layers, S shapes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.accelerator import Accelerator, Buffer, Chunk, Kind, Loops, Multiplier
from autonba.arithmetic import MULTIPLIER_BITS, RESIDUAL_MULTIPLIER_BITS, ceil_div, clog2
from autonba.boards import Family
from autonba.cost import dsp, logic, ram, timing, widths
from autonba.cost.arrays import log2_up
from autonba.cost.buffers import LOSS, RESIDUAL_ROWS, size_buffers
from autonba.cost.control import address_bits, row_tables
from autonba.cost.resources import estimate
from autonba.cost.schedule import steady_state
from autonba.errors import CapacityError, SpecError
from autonba.mapping import LayerPlan, WordNest, plan, required_buffers, word_nest
from autonba.network import INPUT, Network
from autonba.pipeline import MULTIPLY_STAGES
from autonba.weight_image import stream_layout

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

COSTS = ("dsp", "bram", "lut", "multipliers", "load")
OUT_LANES = (4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 60, 64)
IN_LANES = (1, 2, 4, 8, 16, 32, 64)
DRAIN_LANES = (1, 2, 4, 8, 16, 32)
COLUMNS = (1, 2, 4)
TAPS = (1, 3, 5)
MOST_MULTIPLIERS = 1024  # of a conv chunk
MOST_TERMS = 24  # of a conv chunk that unrolls taps
NEVER = 1 << 40  # cycles of a layer that a chunk cannot run
NORM = 6  # of the used fractions of the limits: high, so that the scarcest counts
# maps up to this height may stream their weights, once an image; larger ones would want large
# buffers
STREAMED_ROWS = 4
SHIFT_RANGE = 3  # bits that tell the shifts of a chunk's layers apart
STREAM_OVERHEAD = 45  # cycles of a streamed block beside its data: the latency of the DRAM
HEAT, COLD = 0.005, 0.0003  # temperatures of the annealing, in fractions of a limit
MOVES = 60_000
ATTEMPTS = 3  # searches, each with less block RAM than the one before
REPRICE = 50  # moves between two updates of the prices


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an accelerator may take.

    `load` is the number of weight bits that the DRAM gives a cycle (0: none is streamed),
    `load_bits` those that one chunk can take a cycle. Without `soft`, every multiplier is in a DSP.
    """

    dsp: int
    bram: int
    lut: int
    multipliers: int = 1 << 20
    load: int = 256
    load_bits: int = 128
    soft: bool = True

    @property
    def vector(self) -> Floats:
        """In the order of COSTS."""
        return np.array([max(getattr(self, name), 1) for name in COSTS], dtype=float)


class _Shapes:
    """Candidate arrays that read `in_lanes` and write `drain_lanes` channels a cycle, and the
    layers' figures on them (L, S).
    """

    def __init__(
        self,
        plans: Sequence[LayerPlan],
        kind: Kind,
        in_lanes: int,
        drain_lanes: int,
        nests: dict[tuple[int, int], list[WordNest | None]],
    ) -> None:
        self.chunks = chunks = [
            Chunk(
                name="any",
                kind=kind,
                out_lanes=out,
                in_lanes=in_lanes,
                taps=taps,
                columns=columns,
                drain_lanes=drain_lanes,
                multiplier="lut",
            )
            for out in (OUT_LANES if kind == "conv" else (in_lanes,))
            if out % drain_lanes == 0
            for taps in TAPS
            if kind == "depthwise" or taps == 1 or in_lanes * taps <= MOST_TERMS
            for columns in COLUMNS
            if out * in_lanes * columns <= MOST_MULTIPLIERS or kind == "depthwise"
        ]
        size = len(plans), len(chunks)
        self.beats, self.blocks, self.sets = (
            np.full(size, value, dtype=np.int64) for value in (NEVER, 1, 1)
        )
        for number, chunk in enumerate(chunks):
            key = chunk.out_lanes, in_lanes
            if key not in nests:
                nests[key] = [_nest(lp, chunk) for lp in plans]
            for row, (lp, nest) in enumerate(zip(plans, nests[key], strict=True)):
                if nest is not None and (lp.layer.op != "max_pool" or chunk.taps == 1):
                    self.beats[row, number] = timing.beats(*lp.kernel, chunk.taps, nest.words)
                    self.blocks[row, number] = nest.blocks
                    self.sets[row, number] = timing.visits(
                        lp.out.height, lp.out.width, chunk.columns, 1
                    )

        def column(name: str) -> Ints:
            return np.array([getattr(chunk, name) for chunk in chunks], dtype=np.int64)

        self.out, self.columns, self.taps, self.terms = map(
            column, ("out_lanes", "columns", "taps", "terms")
        )
        self.per_cycle, self.multipliers = column("weights_per_cycle"), column("multipliers")
        self.kind, self.into, self.drain = kind, in_lanes, drain_lanes
        self.period = timing.period(
            self.beats, timing.drain_cycles(self.columns, self.out, drain_lanes)
        )
        self.busy = np.where(self.beats < NEVER, self.sets * self.blocks * self.period, NEVER)
        self.words = self.blocks * self.beats
        self.sums = np.stack(
            [self.busy, self.words, self.blocks * (self.out // drain_lanes)], axis=1
        )  # (L, 3, S)
        self._arrays: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def array(
        self,
        multiplier: Multiplier,
        w: int,
        a: int,
        acc: int,
        stride: int,
        maximum: bool,
        family: Family,
    ) -> tuple[Ints, Floats]:
        """(DSP blocks, LUTs) of arrays with operands of `w` and `a` bits, and of what brings the
        operands (S,).
        """
        key = multiplier, w, a, acc, stride, maximum, family
        if key not in self._arrays:
            deep = self.kind == "depthwise"
            blocks = 0 * self.out + dsp.array(
                multiplier, deep, self.out, self.terms, self.columns, w, a, family
            )
            luts = logic.weigh(
                "array",
                logic.array(
                    multiplier,
                    deep,
                    weight_bits=w,
                    input_bits=a,
                    acc_bits=acc,
                    out_lanes=self.out,
                    terms=self.terms,
                    columns=self.columns,
                    drain_lanes=self.drain,
                    maximum=int(maximum),
                    stages=1 + MULTIPLY_STAGES[multiplier] + log2_up(self.terms),
                    family=family,
                ),
                family,
                "lut",
            )
            operands = logic.weigh(
                "operands",
                logic.operands(
                    input_bits=a,
                    in_lanes=self.into,
                    taps=self.taps,
                    columns=self.columns,
                    banks=timing.banks(self.columns, stride, self.taps),
                    mains=1,
                    strides=1,
                    drain_lanes=self.drain,
                    residual_bits=0,
                    residuals=0,
                ),
                family,
                "lut",
            )
            self._arrays[key] = blocks, luts + operands
        return self._arrays[key]


def _nest(lp: LayerPlan, chunk: Chunk) -> WordNest | None:
    """Loop nest of a layer; None where the chunk's kind does not suit."""
    if lp.layer.is_depthwise != (chunk.kind == "depthwise"):
        return None
    try:
        return word_nest(lp.layer, lp.source, chunk, lp.input_order, lp.output_order)
    except SpecError:
        return None


@dataclass(frozen=True)
class _Part:
    """A chunk in the making: its best shape, what it takes (COSTS), its cycles."""

    shape: int
    multiplier: Multiplier
    uses: Floats
    busy: int


@dataclass(frozen=True)
class _Edges:
    """Readings of tensors: numbers of layers (-1: input, one after the last: output) and what a
    buffer of each takes.
    """

    writer: Ints
    reader: Ints
    residual: npt.NDArray[np.bool_]
    channels: Ints
    width: Ints
    bits: Ints
    rows: Ints
    whole_rows: Ints  # where a task takes or gives the whole map


@dataclass(frozen=True)
class _Group:
    """Layers that share a chunk, and the lanes at its ends."""

    kind: Kind
    layers: frozenset[int]
    in_lanes: int
    drain_lanes: int


State = list[_Group]


class _Search:
    def __init__(self, network: Network, limits: Limits, family: Family, seed: int) -> None:
        self.network, self.limits, self.family, self.random = (
            network,
            limits,
            family,
            random.Random(seed),
        )
        self.names = [layer.name for layer in network.layers if layer.op != "shuffle"]
        self.plans = _natural_plans(network)
        self.shapes: dict[tuple[Kind, int, int], _Shapes] = {}
        for kind in ("conv", "depthwise"):
            nests: dict[tuple[int, int], list[WordNest | None]] = {}
            for into in IN_LANES:
                for drain in DRAIN_LANES:
                    if kind == "conv" or drain <= into:
                        self.shapes[kind, into, drain] = _Shapes(
                            self.plans, kind, into, drain, nests
                        )
        self.shapes = {key: shapes for key, shapes in self.shapes.items() if shapes.chunks}
        self.lanes = {
            kind: [key[1:] for key in self.shapes if key[0] == kind]
            for kind in ("conv", "depthwise")
        }
        self.kinds: list[Kind] = [
            "depthwise" if lp.layer.is_depthwise else "conv" for lp in self.plans
        ]
        self.strides = np.array([lp.stride[1] for lp in self.plans])
        # Operand widths: weights, inputs where packed, inputs otherwise, accumulators, residuals;
        # and whether maxima are taken.
        self.bits = np.array(
            [
                (
                    lp.weight_bits,
                    lp.source.bits,
                    lp.source.bits + (not lp.source.signed),
                    lp.sum_bits,
                    0 if lp.residual_root is None else network.tensors[lp.residual_root].bits + 1,
                    lp.layer.op == "max_pool",
                )
                for lp in self.plans
            ]
        )
        self.address_bits = [address_bits(lp) for lp in self.plans]
        self.row_tables = [row_tables(lp.pattern) for lp in self.plans]
        self.stage = [max(lp.out.height, 4) for lp in self.plans]
        self.edges = _edges(network, self.names, self.plans)
        self.streamable = [
            n
            for n, lp in enumerate(self.plans)
            if limits.load
            and self.kinds[n] == "conv"
            and lp.out.height <= STREAMED_ROWS
            and not lp.layer.raw
        ]
        self.limit = limits.vector
        self.prices = 1.0 / self.limit
        self.stream(frozenset())
        self.period = NEVER
        self.cache: dict[tuple[_Group, frozenset[int]], _Part] = {}

    def stream(self, layers: frozenset[int]) -> None:
        """Let `layers` stream their weights."""
        self.streamed = layers
        self.streaming = np.zeros(len(self.plans) + 2, dtype=bool)
        self.streaming[list(layers)] = True

    # One chunk

    def part(self, group: _Group) -> _Part:
        """The cheapest shape that runs a group within the period; the fastest one where none
        does.
        """
        key = group, self.streamed & group.layers
        found = self.cache.get(key)
        if found is None:
            found = self.cache[key] = self._part(group)
        return found

    def _part(self, group: _Group) -> _Part:
        shapes, own = self.shapes[group.kind, group.in_lanes, group.drain_lanes], list(group.layers)
        weight_bits, input_bits, signed_bits, sum_bits, residual, maximum = (
            self.bits[own].max(axis=0).tolist()
        )
        busy, depth, parameters = shapes.sums[own].sum(axis=0)
        word_bits = shapes.per_cycle * weight_bits
        stream = [n for n in own if n in self.streamed]
        loaded: Floats = np.zeros(len(shapes.chunks))
        load: Ints = word_bits
        if stream:
            load = -(-word_bits // self.limits.load_bits)  # beats of the AXI port for a word
            beats, words = shapes.beats[stream], shapes.words[stream].sum(axis=0)
            late = (
                np.maximum(
                    beats * load + STREAM_OVERHEAD - shapes.sets[stream] * shapes.period[stream], 0
                )
                + 2
            )
            busy = busy + (late * shapes.blocks[stream]).sum(axis=0)
            depth = depth - words + 2 * beats.max(axis=0)
            loaded = words * load * (self.limits.load_bits / self.period)
        family, drain, count = self.family, group.drain_lanes, shapes.multipliers
        single = bool(maximum)
        candidates: list[tuple[Multiplier, Floats, Floats]] = []
        stride = int(self.strides[own].max())
        slices = ram.depth_slices(word_bits, depth, self.family, rom=not stream)
        shared_luts = self._other_luts(group, own, stream, sum_bits, residual, load, depth)
        shared_luts = shared_luts + word_bits * logic.selectors(slices, self.family)
        hard: Multiplier = "dsp" if single else "packed"
        styles: tuple[Multiplier, ...] = ("lut", hard) if self.limits.soft else (hard,)
        for multiplier in styles:
            operand = input_bits if multiplier == "packed" else signed_bits
            acc = widths.accumulator(widths.beat_sum(weight_bits, operand, shapes.terms), sum_bits)
            blocks, luts = self._arrays(
                shapes, multiplier, weight_bits, operand, acc, stride, single
            )
            if (
                multiplier == "packed" and group.kind == "depthwise"
            ):  # one column has nothing to pack
                other = self._arrays(shapes, "dsp", weight_bits, signed_bits, acc, stride, single)
                alone = shapes.columns == 1
                blocks, luts = np.where(alone, other[0], blocks), np.where(alone, other[1], luts)
            parameter_word = drain * (acc + MULTIPLIER_BITS)
            bram = self._blocks(word_bits, depth, sliced=bool(stream)) + self._blocks(
                parameter_word, parameters, sliced=False
            )
            dsps = blocks + drain * dsp.requantizer(acc, residual, RESIDUAL_MULTIPLIER_BITS, family)
            uses = np.stack([dsps, bram, luts + shared_luts, count, loaded], axis=1).astype(float)
            candidates.append((multiplier, uses, uses @ self.prices))
        late_S = busy > self.period
        choice, best = 0, int(busy.argmin())
        if not late_S.all():
            prices = np.stack([np.where(late_S, np.inf, price) for _, _, price in candidates])
            choice, best = (int(n) for n in np.unravel_index(int(prices.argmin()), prices.shape))
        elif len(candidates) > 1:
            choice = int(np.argmin([price[best] for _, _, price in candidates]))
        multiplier, uses, _ = candidates[choice]
        if multiplier == "packed" and group.kind == "depthwise" and shapes.columns[best] == 1:
            multiplier = "dsp"
        return _Part(
            best,
            multiplier,
            uses[best] * max(float(busy[best]) / self.period, 1.0) ** 2,
            int(busy[best]),
        )

    def _arrays(
        self,
        shapes: _Shapes,
        multiplier: Multiplier,
        w: int,
        a: int,
        acc_S: Ints,
        stride: int,
        maximum: bool,
    ) -> tuple[Ints, Floats]:
        """(DSP blocks, LUTs) of arrays whose accumulators differ in width (S,)."""
        blocks, luts = np.zeros(len(shapes.chunks), dtype=np.int64), np.zeros(len(shapes.chunks))
        for acc in np.unique(acc_S).tolist():
            found = shapes.array(multiplier, w, a, acc, stride, maximum, self.family)
            blocks, luts = (
                np.where(acc_S == acc, found[0], blocks),
                np.where(acc_S == acc, found[1], luts),
            )
        return blocks, luts

    def _other_luts(
        self,
        group: _Group,
        own: list[int],
        stream: list[int],
        acc: int,
        residual: int,
        load: Ints,
        depth: Ints,
    ) -> Floats:
        """LUTs of a chunk's requantizers, control and fetcher (S,)."""
        family, drain = self.family, group.drain_lanes
        requantizers = logic.requantizers(
            drain_lanes=drain,
            acc_bits=acc,
            residual_bits=residual,
            residual_factor_bits=RESIDUAL_MULTIPLIER_BITS,
            shift_low=0,
            shift_range=SHIFT_RANGE,
            write_bits=9,
            has_raw=0,
            requantizes=True,
            family=family,
        )
        luts: Floats = logic.weigh("requantize", requantizers, family, "lut") + logic.control(
            len(own),
            sum(self.address_bits[n] for n in own),
            sum(self.row_tables[n] for n in own),
            family,
            "lut",
        )
        if stream:
            luts = luts + logic.weigh(
                "fetch",
                {
                    "constant": 1,
                    "layers": len(stream),
                    "port": self.limits.load_bits,
                    "addresses": log2_up(np.maximum(depth, 1)),
                    "slices": load,
                },
                family,
                "lut",
            )
        return luts

    def _blocks(self, width: Ints, depth: Ints, *, sliced: bool) -> Ints:
        """Blocks of 18 Kbit of a memory of weights or parameters; one that is streamed into is a
        RAM for each slice.
        """
        port = self.limits.load_bits
        found: Ints = (
            ram.sliced_blocks(width, depth, port, self.family)
            if sliced
            else ram.blocks(width, depth, self.family, rom=True)
        )
        found = ram.in_blocks(width, depth, self.family) * found
        return found

    # All chunks

    def parts(self, state: State) -> list[_Part]:
        return [self.part(group) for group in state]

    def chunk(self, group: _Group, part: _Part) -> Chunk:
        """The candidate that a part stands for."""
        return self.shapes[group.kind, group.in_lanes, group.drain_lanes].chunks[part.shape]

    def uses(self, state: State, parts: Sequence[_Part]) -> Floats:
        """What an accelerator takes, row buffers included."""
        total: Floats = np.sum([part.uses for part in parts], axis=0)
        total[1] += self.buffers(state, parts)
        return total

    def buffers(self, state: State, parts: Sequence[_Part]) -> int:
        """Block RAMs of the row buffers, with rows as `_Edge` guesses them."""
        count, edges = len(state), self.edges
        ends = count + 2  # the chunks, the image's source, the result's reader
        home = np.empty(len(self.plans) + 2, dtype=np.int64)
        home[-1], home[-2] = (
            count,
            count + 1,
        )  # of layer number -1, and of the number after the last
        banks = [1] * ends
        for number, (group, part) in enumerate(zip(state, parts, strict=True)):
            own = list(group.layers)
            home[own] = number
            chunk = self.chunk(group, part)
            if chunk.columns * chunk.taps > 1:
                banks[number] = int(
                    timing.banks(chunk.columns, int(self.strides[own].max()), chunk.taps)
                )
        write = np.array(
            [*(g.drain_lanes for g in state), 1 << clog2(self.network.input.channels), 1]
        )
        read = np.array([*(g.in_lanes for g in state), 1, 1])
        writer, reader = home[edges.writer], home[edges.reader]
        written = write[writer]
        wide = np.maximum(written, np.where(edges.residual, write[reader], read[reader]))
        columns = np.where(edges.residual, 1, np.array(banks)[reader])
        streams = self.streaming[edges.writer] | self.streaming[edges.reader]
        rows = np.where(streams, edges.whole_rows, edges.rows)
        words = rows * -(-edges.channels // wide) * -(-edges.width // columns)
        pair = (writer * ends + reader) * 2 + edges.residual
        depth = np.bincount(pair, weights=words, minlength=2 * ends * ends)
        bits, copies = np.zeros((2, len(depth)), dtype=np.int64)
        np.maximum.at(bits, pair, edges.bits * written)
        copies[pair] = columns * (wide // written)
        used = np.flatnonzero(depth)
        width, words = bits[used], depth[used].astype(np.int64)
        return int(
            (
                copies[used]
                * ram.in_blocks(width, words, self.family)
                * ram.blocks(width, words, self.family)
            ).sum()
        )

    def score(self, uses: Floats) -> float:
        """Norm of the used fractions of the limits."""
        return float(
            np.sum((uses / self.limit) ** NORM) ** (1 / NORM) + 0.02 * np.mean(uses / self.limit)
        )

    def reprice(self, uses: Floats) -> None:
        """Prices are the score's derivatives."""
        ratio = uses / self.limit
        self.prices = ((ratio / ratio.max()) ** 3 + 0.05) / self.limit
        self.cache.clear()

    # Annealing

    def first(self) -> State:
        """Layers of a kind with maps of like height share a chunk; the smallest maps stream if the
        weights do not fit.
        """
        groups: dict[tuple[Kind, int], set[int]] = {}
        for n in range(len(self.plans)):
            groups.setdefault((self.kinds[n], self.stage[n]), set()).add(n)
        if (
            sum(lp.weight_bits * lp.weight_words for lp in self.plans)
            > 18432 * self.limits.bram // 2
        ):
            self.stream(frozenset(n for n in self.streamable if self.stage[n] == 4))
        return [_Group(kind, frozenset(own), 16, 8) for (kind, _), own in sorted(groups.items())]

    def moved(self, state: State) -> tuple[State, frozenset[int]]:
        """A neighbour of `state`, and the streamed layers there."""
        draw, pick, new = self.random.random(), self.random.choice, list(state)
        if draw < 0.10 and self.streamable:
            return new, self.streamed ^ {pick(self.streamable)}
        if draw < 0.35:
            i = self.random.randrange(len(new))
            into, drain = pick(self.lanes[new[i].kind])
            new[i] = replace(new[i], in_lanes=into, drain_lanes=drain)
            return new, self.streamed
        n = self.random.randrange(len(self.plans))
        i = next(i for i, group in enumerate(new) if n in group.layers)
        source = new[i]
        # A chunk's layers have maps of one height: mixed heights run in bursts, which want large
        # buffers.
        others = [
            j
            for j, group in enumerate(new)
            if j != i
            and group.kind == source.kind
            and self.stage[n] == self.stage[next(iter(group.layers))]
        ]
        if draw < 0.38 or not others:
            away = frozenset({n} | {m for m in source.layers if self.random.random() < 0.4})
            new[i] = replace(source, layers=source.layers - away)
            new.append(replace(source, layers=away))
        else:
            j = pick(others)
            if draw < 0.42:
                away, back = source.layers, frozenset[int]()
            else:
                away, back = (
                    frozenset({n}),
                    frozenset({pick(sorted(new[j].layers))} if draw < 0.70 else ()),
                )
            new[i] = replace(source, layers=(source.layers - away) | back)
            new[j] = replace(new[j], layers=(new[j].layers - back) | away)
        return [group for group in new if group.layers], self.streamed

    def run(self, moves: int) -> tuple[State, list[_Part], frozenset[int], Floats]:
        """Anneal for so many moves; the fastest state within the limits."""
        state = self.first()
        macs = sum(
            lp.out.channels
            * lp.out.height
            * lp.out.width
            * lp.kernel[0]
            * lp.kernel[1]
            * (lp.source.channels // lp.groups)
            for lp in self.plans
        )
        self.period = ceil_div(macs, max(min(self.limits.dsp, self.limits.multipliers) // 4, 1))
        parts = self.parts(state)
        uses = self.uses(state, parts)
        current = self.score(uses)
        best: tuple[State, list[_Part], frozenset[int], Floats] | None = None
        record = NEVER
        for move in range(moves):
            heat = HEAT * (COLD / HEAT) ** (move / moves)
            before = self.streamed
            new, streamed = self.moved(state)
            if streamed is not before:
                self.stream(streamed)
            parts = self.parts(new)
            used = self.uses(new, parts)
            value = self.score(used)
            if value <= current or self.random.random() < math.exp((current - value) / heat):
                state, uses, current = new, used, value
                busiest = max(part.busy for part in parts)
                if busiest <= min(self.period, record - 1) and (used <= self.limit).all():
                    best, record = (state, parts, self.streamed, used), busiest
            elif streamed is not before:
                self.stream(before)
            if move % REPRICE == REPRICE - 1:
                scarcest = float((uses / self.limit).max())
                self.period = min(int(self.period * min(max(scarcest, 0.9), 1.1) ** 0.2), NEVER)
                self.reprice(uses)
                uses = self.uses(state, self.parts(state))
                current = self.score(uses)
        if best is None:
            name, ratio = max(
                zip(COSTS, uses / self.limit, strict=True), key=lambda pair: float(pair[1])
            )
            raise CapacityError(
                f"the network needs {ratio:.2f} times the {name} that the limits allow; raise the"
                " limit"
            )
        return best


def _natural_plans(network: Network) -> list[LayerPlan]:
    """Plans of all layers with their channel orders, on an accelerator of one chunk."""
    one = Chunk(name="one", kind="conv", out_lanes=1, in_lanes=1, drain_lanes=1, multiplier="lut")
    names = [layer.name for layer in network.layers if layer.op != "shuffle"]
    bare = Accelerator(chunks=(one,), allocation=dict.fromkeys(names, "one"))
    least = required_buffers(network, bare)
    whole = replace(
        bare,
        buffers=tuple(Buffer(tensor=t, reader=r, port=p, rows=n) for (t, r, p), n in least.items()),
    )
    return list(plan(network, whole).layers.values())


def _edges(network: Network, names: Sequence[str], plans: Sequence[LayerPlan]) -> _Edges:
    number = {name: n for n, name in enumerate(names)} | {INPUT: -1}
    rows = []
    for n, lp in enumerate(plans):
        held = max(lp.pattern.need(t) for t in range(lp.tasks))
        rows.append((number[lp.root], n, False, lp.source, held + 1 if held < 3 else held))
        if lp.residual_root is not None:
            tensor = network.tensors[lp.residual_root]
            rows.append(
                (number[lp.residual_root], n, True, tensor, min(RESIDUAL_ROWS, tensor.height + 2))
            )
    rows.append((len(plans) - 1, len(plans), False, network.output, 2))
    writer, reader, residual, tensors, held_rows = zip(*rows, strict=True)
    shape = [
        np.array([getattr(t, name) for t in tensors])
        for name in ("channels", "width", "bits", "height")
    ]
    return _Edges(
        writer=np.array(writer),
        reader=np.array(reader),
        residual=np.array(residual),
        channels=shape[0],
        width=shape[1],
        bits=shape[2],
        rows=np.array(held_rows),
        whole_rows=np.maximum(held_rows, 3 * shape[3] // 2),
    )


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """What `optimize` found.

    `uses` gives each of COSTS; `bound` are the busiest chunk's cycles an image, `pace` those
    with the buffers chosen; `stream_bits_per_image` come from DRAM.
    """

    accelerator: Accelerator
    uses: dict[str, float]
    bound: int
    pace: float
    stream_bits_per_image: int


def optimize(
    network: Network, limits: Limits, family: Family = "xc7", *, moves: int = MOVES, seed: int = 1
) -> Optimum:
    """The accelerator on which `network` has the shortest period that was found within `limits`,
    with its buffers.

    The search makes `moves`, some thousand a second; fitting the buffers comes on top. Buffers that
    turn out larger than the search guessed lower the block RAM that the rest may take, and the
    search runs again. Raises CapacityError, naming the resource, where no accelerator was found
    that fits.
    """
    bram = limits.bram
    for _ in range(ATTEMPTS):
        engine = _Search(network, replace(limits, bram=bram), family, seed)
        state, parts, streamed, uses = engine.run(moves)
        accelerator = size_buffers(network, _accelerator(engine, state, parts, streamed), LOSS)
        mapped = plan(network, accelerator)
        found = estimate(mapped, family)
        uses[0], uses[1], uses[2] = found.dsp, found.bram, found.lut
        if found.bram <= limits.bram:
            return Optimum(
                accelerator=accelerator,
                uses=dict(zip(COSTS, uses.tolist(), strict=True)),
                bound=mapped.bottleneck,
                pace=steady_state(mapped).per_image,
                stream_bits_per_image=8 * stream_layout(mapped).size,
            )
        bram -= found.bram - limits.bram
    raise CapacityError(
        f"the network needs {found.bram} bram with the buffers that keep its pace, and the limit is"
        f" {limits.bram}; raise the limit"
    )


def _accelerator(
    engine: _Search, state: State, parts: Sequence[_Part], streamed: frozenset[int]
) -> Accelerator:
    """Chunks are numbered by kind, in the order of their first layers."""
    chunks: list[Chunk] = []
    allocation: dict[str, str] = {}
    order = sorted(zip(state, parts, strict=True), key=lambda pair: min(pair[0].layers))
    for group, part in order:
        name = f"{group.kind}{sum(chunk.kind == group.kind for chunk in chunks)}"
        chunks.append(replace(engine.chunk(group, part), name=name, multiplier=part.multiplier))
        allocation |= {engine.names[n]: name for n in group.layers}
    loops = {
        engine.names[n]: Loops(
            order="block_outer", rows=engine.plans[n].out.height, weights="stream"
        )
        for n in sorted(streamed)
    }
    return Accelerator(
        chunks=tuple(chunks),
        allocation={n: allocation[n] for n in engine.names},
        loops=loops,
        stream_bits=engine.limits.load_bits,
    )
