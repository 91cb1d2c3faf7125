"""Thousands of accelerators at once, as tensors: busy cycles of every chunk and the resources they
take.

Cycles are those of `autonba.mapping`, tabulated for every layer and every choice of lanes; DSP,
block RAM, LUT, FF and energy follow the rules of `autonba.cost`, with few rows of buffer and
without weights. What a search returns is checked exactly.
Suffixes: B candidates, C chunks of a candidate, L layers of the network, S slots (places of
layers), O/I choice of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autonba.accelerator import Accelerator, Buffer, Chunk, Kind, Multiplier
from autonba.arithmetic import LOGIT_BITS, MULTIPLIER_BITS, RESIDUAL_MULTIPLIER_BITS, clog2
from autonba.boards import Family
from autonba.cost import dsp, energy, logic, ram, timing, widths
from autonba.cost.arrays import Whole, bit_length, log2_up
from autonba.cost.control import address_bits, row_tables
from autonba.cost.energy import HOROWITZ_45NM, Datapath
from autonba.errors import SpecError
from autonba.mapping import LayerPlan, Plan, plan, required_buffers, word_nest
from autonba.network import INPUT, Network
from autonba.pipeline import MULTIPLY_STAGES

from . import objectives
from .hardware_space import HardwareSpace

KINDS: tuple[Kind, ...] = ("conv", "depthwise")
MULTIPLIERS: tuple[Multiplier, ...] = ("lut", "dsp", "packed")
SOFT, DSP, PACKED = range(3)
IMPOSSIBLE = 10**9  # cycles of a layer on a chunk that cannot run it
MAP_WORDS = 256  # of a row buffer, for the energy of reading it


def least_plan(network: Network, accelerator: Accelerator) -> Plan:
    """Plan with the fewest rows of buffer that the layers can work with (one spare)."""
    least = required_buffers(network, replace(accelerator, buffers=()))
    buffers = tuple(
        Buffer(tensor=t, reader=r, port=p, rows=rows + 1) for (t, r, p), rows in least.items()
    )
    return plan(network, replace(accelerator, buffers=buffers))


@dataclass(frozen=True, kw_only=True)
class NetworkTables:
    """What the cost of a network needs: `blocks` and `beats` (L, kind, O, I), widths, and who reads
    what.
    """

    names: tuple[str, ...]
    slots: Tensor  # (L,)
    positions: Tensor  # (L,)
    # (L,) float64: part of an image's rows that a layer works on before its reader can start
    fill: Tensor
    blocks: Tensor  # (L, 2, O, I)
    beats: Tensor  # (L, 2, O, I); IMPOSSIBLE where the chunk cannot run the layer
    depthwise: Tensor  # (L,) bool: may run on a depthwise chunk
    weight_bits: Tensor  # (L,)
    input_bits: (
        Tensor  # (L,) operand of packed multipliers; others need a bit more where it is unsigned
    )
    unsigned: Tensor  # (L,) bool: the input is unsigned
    sum_bits: Tensor  # (L,) of the accumulator
    residual_bits: Tensor  # (L,) signed; 0 where there is none
    residual_factor: Tensor  # (L,) bits of r, the most it can have where it is not known yet
    requantized: Tensor  # (L,) bool
    maximum: Tensor  # (L,) bool: takes maxima
    shift: Tensor  # (L,)
    stride: Tensor  # (L,) horizontal
    write_bits: Tensor  # (L,)
    address_bits: Tensor  # (L,) of a row of its input and of its output
    row_tables: Tensor  # (L,) constants of the scheduler's tables of rows
    edge_writer: Tensor  # (E,) layer, L for the input
    edge_reader: Tensor  # (E,) layer, L for the output
    edge_residual: Tensor  # (E,) bool
    edge_channels: Tensor  # (E,)
    edge_pixels: Tensor  # (E,) pixels of the rows held
    edge_bits: Tensor  # (E,)
    source_channels: int  # of the image
    source_lanes: int  # that the image is written with


def tabulate(
    network: Network,
    space: HardwareSpace,
    slots: Sequence[str],
    slot_of: Callable[[str], str] = lambda name: name,
) -> NetworkTables:
    """Tables of `network` for all lanes of `space`; `slot_of` maps a layer's name to its slot."""
    names = [layer.name for layer in network.layers if layer.op != "shuffle"]
    one = Chunk(name="one", kind="conv", out_lanes=1, in_lanes=1, drain_lanes=1, multiplier="lut")
    mapped = least_plan(network, Accelerator(chunks=(one,), allocation=dict.fromkeys(names, "one")))
    number = len(space.lanes)
    blocks = torch.ones(len(names), 2, number, number, dtype=torch.int64)
    beats = torch.full((len(names), 2, number, number), IMPOSSIBLE, dtype=torch.int64)
    depthwise = torch.zeros(len(names), dtype=torch.bool)
    for row, name in enumerate(names):
        lp = mapped.layers[name]
        for o, out_lanes in enumerate(space.lanes):
            for i, in_lanes in enumerate(space.lanes):
                for k, kind in enumerate(KINDS):
                    if kind == "depthwise" and o != i:
                        continue
                    chunk = Chunk(
                        name="any",
                        kind=kind,
                        out_lanes=out_lanes,
                        in_lanes=in_lanes,
                        drain_lanes=1,
                        multiplier="lut",
                    )
                    try:
                        nest = word_nest(
                            lp.layer, lp.source, chunk, lp.input_order, lp.output_order
                        )
                    except SpecError:
                        continue
                    blocks[row, k, o, i], beats[row, k, o, i] = (
                        nest.blocks,
                        timing.beats(*lp.kernel, 1, nest.words),
                    )
        depthwise[row] = bool((beats[row, 1].diagonal() < IMPOSSIBLE).all())
    plans = [mapped.layers[name] for name in names]
    index = {name: row for row, name in enumerate(names)} | {INPUT: len(names)}
    edges = [
        (
            index[e.producer],
            index.get(e.consumer, len(names)),
            e.port == "residual",
            mapped.buffers[e.buffer],
        )
        for e in mapped.edges
    ]
    return NetworkTables(
        names=tuple(names),
        slots=torch.tensor([slots.index(slot_of(n)) for n in names]),
        positions=torch.tensor([lp.out.height * lp.out.width for lp in plans]),
        fill=torch.tensor(
            [min(lp.kernel[0] / max(lp.source.height, 1), 1.0) for lp in plans], dtype=torch.float64
        ),
        blocks=blocks,
        beats=beats,
        depthwise=depthwise,
        weight_bits=torch.tensor([lp.weight_bits for lp in plans]),
        input_bits=torch.tensor([lp.source.bits for lp in plans]),
        unsigned=torch.tensor([not lp.source.signed for lp in plans]),
        sum_bits=torch.tensor([lp.sum_bits for lp in plans]),
        residual_bits=torch.tensor([_residual_bits(network, lp) for lp in plans]),
        residual_factor=torch.tensor([_residual_factor(lp) for lp in plans]),
        requantized=torch.tensor([not lp.layer.raw for lp in plans]),
        maximum=torch.tensor([lp.layer.op == "max_pool" for lp in plans]),
        shift=torch.tensor([lp.layer.shift for lp in plans]),
        stride=torch.tensor([lp.stride[1] for lp in plans]),
        write_bits=torch.tensor(
            [LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed) for lp in plans]
        ),
        address_bits=torch.tensor([address_bits(lp) for lp in plans]),
        row_tables=torch.tensor([row_tables(lp.pattern) for lp in plans]),
        edge_writer=torch.tensor([e[0] for e in edges]),
        edge_reader=torch.tensor([e[1] for e in edges]),
        edge_residual=torch.tensor([e[2] for e in edges]),
        edge_channels=torch.tensor([e[3].tensor.channels for e in edges]),
        edge_pixels=torch.tensor(
            [(e[3].rows + (4 if e[2] else 1)) * e[3].tensor.width for e in edges]
        ),
        edge_bits=torch.tensor([e[3].tensor.bits for e in edges]),
        source_channels=network.input.channels,
        source_lanes=1 << clog2(network.input.channels),
    )


def _residual_bits(network: Network, lp: LayerPlan) -> int:
    if lp.residual_root is None:
        return 0
    tensor = network.tensors[lp.residual_root]
    return tensor.bits + (not tensor.signed)


def _residual_factor(lp: LayerPlan) -> int:
    if lp.residual_root is None:
        return 0
    return lp.layer.residual_multiplier.bit_length() or RESIDUAL_MULTIPLIER_BITS


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Accelerators as choices: chunk `count` - 1 (B,); per chunk (B, C) `kind`, `out`, `into`,
    `drain`, `multiplier`; `chunk` (B, S) of each slot. Every combination is made legal by
    `legal`."""

    count: Tensor
    kind: Tensor
    out: Tensor
    into: Tensor
    drain: Tensor
    multiplier: Tensor
    chunk: Tensor

    def __len__(self) -> int:
        return self.count.shape[0]

    def pick(self, index: Tensor) -> Candidates:
        """The candidates of those numbers."""
        return Candidates(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


def legal(raw: Candidates) -> Candidates:
    """Chunk 0 is of kind conv, since some layers need it; depthwise arrays are square, and with one
    column have nothing to pack; drains are at most as wide as arrays; slots of absent chunks wrap
    around."""
    kind = raw.kind.clone()
    kind[:, 0] = 0
    return replace(
        raw,
        kind=kind,
        into=torch.where(kind == 1, raw.out, raw.into),
        drain=torch.minimum(raw.drain, raw.out),
        multiplier=torch.where(kind == 1, raw.multiplier.clamp(max=DSP), raw.multiplier),
        chunk=raw.chunk % (raw.count + 1)[:, None],
    )


def join(parts: Sequence[Candidates]) -> Candidates:
    """All candidates of `parts` in a row."""
    return Candidates(
        **{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Candidates)}
    )


@dataclass(frozen=True, kw_only=True)
class Costs(objectives.Costs):
    """Also `busy` (B, C), the cycles of each chunk, and `layer_cycles` and `layer_energy` (B,
    L).
    """

    busy: Tensor
    layer_cycles: Tensor
    layer_energy: Tensor


def allocate(tables: NetworkTables, c: Candidates) -> Tensor:
    """Chunk (B, L) of every layer: its slot's, or chunk 0 where that chunk cannot run it."""
    chunk_BL = c.chunk[:, tables.slots]
    is_depthwise = c.kind.gather(1, chunk_BL) == 1
    return torch.where(is_depthwise & ~tables.depthwise, torch.zeros_like(chunk_BL), chunk_BL)


def layer_cycles(
    tables: NetworkTables, space: HardwareSpace, c: Candidates, chunk_BL: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(cycles, weight words, drain words) of every layer on its chunk, each (B, L)."""
    kind, o, i, d = (t.gather(1, chunk_BL) for t in (c.kind, c.out, c.into, c.drain))
    row = torch.arange(len(tables.names)).expand_as(chunk_BL)
    lanes = torch.tensor(space.lanes)
    blocks, beats = tables.blocks[row, kind, o, i], tables.beats[row, kind, o, i]
    drains = timing.drain_cycles(1, lanes[o], lanes[d])
    period = torch.from_numpy(timing.period(beats.numpy(), drains.numpy()))
    return tables.positions * blocks * period, blocks * beats, blocks * drains


def evaluate(
    tables: NetworkTables, space: HardwareSpace, c: Candidates, family: Family = "ecp5"
) -> Costs:
    """Costs of every candidate for the network of `tables` on a part of `family`."""
    chunk_BL = allocate(tables, c)
    cycles_BL, words_BL, drains_BL = layer_cycles(tables, space, c, chunk_BL)
    chunks = _Chunks(tables, space, c, chunk_BL, words_BL, drains_BL)
    memories = _Memories(tables, c, chunks, chunk_BL)
    used = chunks.used
    busy = chunks.total(cycles_BL)
    energy_BL = _layer_energy(
        tables,
        chunks,
        chunk_BL,
        beats=tables.positions * words_BL,
        groups=tables.positions * drains_BL,
    )
    cycles = busy.amax(1).double()
    lut_or_ff = {
        kind: (
            (used * chunks.logic(kind, family, memories.read)).sum(1)
            + memories.logic(kind, family)
            + logic.top(used.sum(1), len(tables.names), len(tables.edge_writer), family, kind)
        )
        for kind in logic.KINDS
    }
    return Costs(
        busy=busy,
        layer_cycles=cycles_BL,
        layer_energy=energy_BL,
        cycles=cycles,
        latency=cycles + (cycles_BL * tables.fill).sum(1),
        energy=energy_BL.sum(1),
        resources={
            "dsp": _tensor((used * chunks.dsp(family)).sum(1)),
            "bram": _tensor((used * chunks.bram(family)).sum(1) + memories.bram(family)),
            **{kind: _tensor(amount) for kind, amount in lut_or_ff.items()},
            "multipliers": _tensor((used * chunks.multipliers).sum(1)),
        },
    )


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float64))


class _Chunks:
    """Widths and sizes of the chunks of candidates, arrays (B, C)."""

    def __init__(
        self,
        tables: NetworkTables,
        space: HardwareSpace,
        c: Candidates,
        chunk_BL: Tensor,
        words_BL: Tensor,
        drains_BL: Tensor,
    ) -> None:
        self.chunk_BL, self.zero = chunk_BL, torch.zeros(c.kind.shape, dtype=torch.int64)
        lanes = np.array(space.lanes)
        self.depthwise = c.kind.numpy() == 1
        self.out, self.into, self.drain = (lanes[t.numpy()] for t in (c.out, c.into, c.drain))
        self.style = c.multiplier.numpy()
        self.layers = self.total(torch.ones_like(chunk_BL)).numpy()
        self.used = self.layers > 0
        self.terms = np.where(self.depthwise, 1, self.into)
        self.multipliers = self.out * self.terms
        self.weight_bits = self.largest(tables.weight_bits)
        self.input_bits = np.where(
            self.style == PACKED,
            self.largest(tables.input_bits),
            self.largest(tables.input_bits + tables.unsigned),
        )
        self.acc_bits = widths.accumulator(
            widths.beat_sum(self.weight_bits, self.input_bits, np.maximum(self.terms, 1)),
            self.largest(tables.sum_bits),
        )
        self.residual_bits, self.residual_factor = (
            self.largest(tables.residual_bits),
            self.largest(tables.residual_factor),
        )
        self.requantizes = self.largest(tables.requantized) > 0
        self.raw, self.maximum = self.largest(~tables.requantized), self.largest(tables.maximum)
        self.shift_high = self.largest(torch.where(tables.requantized, tables.shift, 0))
        self.shift_low = self._smallest_shift(tables)
        self.write_bits = self.largest(tables.write_bits)
        self.addresses, self.tables = (
            self.total(values_L.expand_as(chunk_BL)).numpy()
            for values_L in (tables.address_bits, tables.row_tables)
        )
        self.strides = sum(
            self.largest(tables.stride == stride) for stride in set(tables.stride.tolist())
        )
        self.weight_words, self.parameter_words = (
            self.total(words_BL).numpy(),
            self.total(drains_BL).numpy(),
        )
        self.weight_word = self.multipliers * self.weight_bits
        self.parameter_word = self.drain * (self.acc_bits + MULTIPLIER_BITS * self.requantizes)

    def total(self, values_BL: Tensor) -> Tensor:
        """Sums over the layers of each chunk (B, C)."""
        return self.zero.scatter_add(1, self.chunk_BL, values_BL)

    def largest(self, values_L: Tensor) -> Whole:
        """Largest value of the layers of each chunk (B, C), 0 without layers."""
        return self.zero.scatter_reduce(
            1, self.chunk_BL, values_L.long().expand_as(self.chunk_BL), "amax"
        ).numpy()

    def _smallest_shift(self, tables: NetworkTables) -> Whole:
        most = int(tables.shift.max())
        return most - self.largest(torch.where(tables.requantized, most - tables.shift, 0))

    def dsp(self, family: Family) -> Whole:
        """DSP blocks."""
        arrays = [
            dsp.array(
                multiplier,
                self.depthwise,
                self.out,
                self.terms,
                1,
                self.weight_bits,
                self.input_bits,
                family,
            )
            for multiplier in MULTIPLIERS
        ]
        each = dsp.requantizer(self.acc_bits, self.residual_bits, self.residual_factor, family)
        return (
            np.choose(self.style, [0 * self.out + array for array in arrays])
            + self.drain * self.requantizes * each
        )

    def bram(self, family: Family) -> Whole:
        """Block RAMs of weights and parameters."""
        return sum(
            ram.in_blocks(width, depth, family) * ram.blocks(width, depth, family, rom=True)
            for width, depth in (
                (self.weight_word, self.weight_words),
                (self.parameter_word, self.parameter_words),
            )
        )

    def logic(self, kind: logic.Logic, family: Family, read: tuple[Whole, Whole]) -> Any:
        """LUT or FF, row buffers left out; `read` are the memories read at each port."""
        arrays = np.zeros(self.out.shape)
        for number, multiplier in enumerate(MULTIPLIERS):
            own = self.used & (self.style == number)
            arrays[own] = logic.weigh(
                "array",
                logic.array(
                    multiplier,
                    self.depthwise[own],
                    weight_bits=self.weight_bits[own],
                    input_bits=self.input_bits[own],
                    acc_bits=self.acc_bits[own],
                    out_lanes=self.out[own],
                    terms=self.terms[own],
                    columns=1,
                    drain_lanes=self.drain[own],
                    maximum=self.maximum[own],
                    stages=1 + MULTIPLY_STAGES[multiplier] + log2_up(self.terms[own]),
                    family=family,
                    weight_slices=ram.depth_slices(
                        self.weight_word[own], self.weight_words[own], family, rom=True
                    ),
                    soft_weights=~ram.in_blocks(
                        self.weight_word[own], self.weight_words[own], family
                    ),
                ),
                family,
                kind,
            )
        operands = logic.operands(
            input_bits=self.input_bits,
            in_lanes=self.into,
            taps=1,
            columns=1,
            banks=1,
            mains=read[0],
            strides=self.strides,
            drain_lanes=self.drain,
            residual_bits=self.residual_bits,
            residuals=read[1],
        )
        requantizers = logic.requantizers(
            drain_lanes=self.drain,
            acc_bits=self.acc_bits,
            residual_bits=self.residual_bits,
            residual_factor_bits=self.residual_factor,
            shift_low=self.shift_low,
            shift_range=bit_length(np.maximum(self.shift_high - self.shift_low, 0)),
            write_bits=self.write_bits,
            has_raw=self.raw,
            requantizes=self.requantizes,
            family=family,
            parameter_slices=ram.depth_slices(
                self.parameter_word, self.parameter_words, family, rom=True
            ),
        )
        memories = [
            logic.weight_memory(width, depth, family, written=False, slices=0)
            for width, depth in (
                (self.weight_word, self.weight_words),
                (self.parameter_word, self.parameter_words),
            )
        ]
        return (
            arrays
            + logic.weigh("operands", operands, family, kind)
            + logic.weigh("requantize", requantizers, family, kind)
            + sum(logic.weigh("weights", memory, family, kind) for memory in memories)
            + logic.control(self.layers, self.addresses, self.tables, family, kind)
        )

    @property
    def datapath(self) -> Datapath:
        """For the rules of energy."""
        return Datapath(
            multipliers=self.multipliers,
            drain_lanes=self.drain,
            weight_bits=self.weight_bits,
            input_bits=self.input_bits,
            acc_bits=self.acc_bits,
            residual_bits=self.residual_bits,
            residual_factor_bits=self.residual_factor,
            weight_word=self.weight_word,
            weight_words=self.weight_words,
            parameter_word=self.parameter_word,
            parameter_words=self.parameter_words,
        )


class _Memories:
    """Row buffers of candidates, one for each writer, reader and port, arrays (B, memories)."""

    def __init__(
        self, tables: NetworkTables, c: Candidates, chunks: _Chunks, chunk_BL: Tensor
    ) -> None:
        count, number = c.kind.shape
        ends = torch.cat([chunk_BL, torch.full((count, 1), number)], dim=1)
        writer, reader = ends[:, tables.edge_writer], ends[:, tables.edge_reader]
        one = np.ones((count, 1), dtype=np.int64)
        written = np.concatenate([chunks.drain, tables.source_lanes * one], axis=1)
        into, drain = (
            np.concatenate([lanes, one], axis=1) for lanes in (chunks.into, chunks.drain)
        )
        pair = (writer * (number + 1) + reader) * 2 + tables.edge_residual
        zero = torch.zeros(count, 2 * (number + 1) ** 2, dtype=torch.int64)
        place = np.arange(2 * (number + 1) ** 2)
        from_, to, residual = place // 2 // (number + 1), place // 2 % (number + 1), place % 2 == 1
        self.write_lanes = written[:, from_]
        self.read_lanes = np.where(residual, drain[:, to], into[:, to])
        wide = np.maximum(self.write_lanes, self.read_lanes)
        words = tables.edge_pixels * -(
            -tables.edge_channels
            // torch.from_numpy(np.take_along_axis(wide, pair.numpy(), axis=1))
        )
        self.depth = zero.scatter_add(1, pair, words).numpy()
        self.lane_bits = zero.scatter_reduce(
            1, pair, tables.edge_bits.expand_as(pair), "amax"
        ).numpy()
        self.kept = np.where(from_ == number, tables.source_channels, self.write_lanes)
        self.there = self.depth > 0
        ports = self.there.reshape(count, number + 1, number + 1, 2).sum(1)[:, :number]
        self.read = ports[..., 0], ports[..., 1]

    def _of_each(self, amount: Callable[[Whole, Whole, Whole, Whole, Whole], Any]) -> Any:
        """Sum over the memories of each candidate (B,) of an amount of write, read and kept lanes,
        bits of a lane, and words.
        """
        found = np.zeros(self.there.shape)
        found[self.there] = amount(
            *(
                values[self.there]
                for values in (
                    self.write_lanes,
                    self.read_lanes,
                    self.kept,
                    self.lane_bits,
                    self.depth,
                )
            )
        )
        return found.sum(1)

    def bram(self, family: Family) -> Any:
        """Block RAMs (B,)."""

        def blocks(write: Whole, read: Whole, kept: Whole, bits: Whole, depth: Whole) -> Whole:
            copies = np.maximum(write, read) // write
            return (
                ram.in_blocks(write * bits, depth, family)
                * copies
                * ram.blocks(kept * bits, depth, family)
            )

        return self._of_each(blocks)

    def logic(self, kind: logic.Logic, family: Family) -> Any:
        """LUT or FF (B,)."""
        return self._of_each(
            lambda write, read, kept, bits, depth: logic.weigh(
                "memory",
                logic.memory(
                    write_lanes=write,
                    read_lanes=read,
                    kept_lanes=kept,
                    lane_bits=bits,
                    banks=1,
                    depth=depth,
                    family=family,
                ),
                family,
                kind,
            )
        )


def _layer_energy(
    tables: NetworkTables, chunks: _Chunks, chunk_BL: Tensor, *, beats: Tensor, groups: Tensor
) -> Tensor:
    """Energy (B, L) in pJ of the layers, accesses to row buffers left out but for what they read at
    their main port.
    """
    path = chunks.datapath
    own = Datapath(
        **{
            f.name: np.take_along_axis(np.asarray(getattr(path, f.name)), chunk_BL.numpy(), axis=1)
            for f in fields(Datapath)
        }
    )
    maximum, raw, residual = (
        t.numpy() for t in (tables.maximum, ~tables.requantized, tables.residual_bits > 0)
    )
    b, g = beats.numpy(), groups.numpy()
    parts = own.energy(
        HOROWITZ_45NM,
        beats=b,
        multiplied=b * ~maximum,
        groups=g,
        requantized=g * ~raw,
        residuals=g * residual,
    )
    word = np.take_along_axis(chunks.into, chunk_BL.numpy(), axis=1) * tables.input_bits.numpy()
    reads = b * energy.read(HOROWITZ_45NM, 1, word, MAP_WORDS)
    return _tensor(sum(parts) + reads)


def accelerator(
    tables: NetworkTables, space: HardwareSpace, c: Candidates, index: int = 0
) -> Accelerator:
    """Candidate `index` as an accelerator without buffers; chunks that run nothing are left out,
    names tell kinds.
    """
    chunk_L = allocate(tables, c)[index].tolist()
    names: dict[int, str] = {}
    chunks = []
    for number in sorted(set(chunk_L)):
        kind = KINDS[int(c.kind[index, number])]
        name = f"{kind}{sum(n.startswith(kind) for n in names.values())}"
        names[number] = name
        chunks.append(
            Chunk(
                name=name,
                kind=kind,
                out_lanes=space.lanes[int(c.out[index, number])],
                in_lanes=space.lanes[int(c.into[index, number])],
                drain_lanes=space.lanes[int(c.drain[index, number])],
                multiplier=MULTIPLIERS[int(c.multiplier[index, number])],
            )
        )
    return Accelerator(
        chunks=tuple(chunks),
        allocation={n: names[k] for n, k in zip(tables.names, chunk_L, strict=True)},
    )
