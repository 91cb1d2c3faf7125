"""Thousands of accelerators at once, as tensors: busy cycles of every chunk and the resources they take.

Cycles are those of `autonba.mapping`, tabulated for every layer and every choice of lanes. Resources, latency and energy are
estimates for ranking; what a search returns is checked with `autonba.cost.resources`.
Suffixes: B candidates, C chunks of a candidate, L layers of the network, S slots (places of layers), O/I choice of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import torch
from torch import Tensor

from autonba.accelerator import Accelerator, Buffer, Chunk, Kind, Multiplier
from autonba.arithmetic import clog2
from autonba.boards import Family
from autonba.cost.energy import HOROWITZ_45NM
from autonba.errors import SpecError
from autonba.mapping import Plan, plan, required_buffers, word_nest
from autonba.network import INPUT, Network
from autonba.packing import PORT_BITS, pack
from autonba.search import objectives
from autonba.search.spaces import HardwareSpace

KINDS: tuple[Kind, ...] = ("conv", "depthwise")
MULTIPLIERS: tuple[Multiplier, ...] = ("lut", "dsp", "packed")
SOFT, DSP, PACKED = range(3)
IMPOSSIBLE = 10**9  # cycles of a layer on a chunk that cannot run it


def least_plan(network: Network, accelerator: Accelerator) -> Plan:
    """Plan with the fewest rows of buffer that the layers can work with (one spare)."""
    least = required_buffers(network, replace(accelerator, buffers=()))
    buffers = tuple(Buffer(tensor=t, reader=r, port=p, rows=rows + 1) for (t, r, p), rows in least.items())
    return plan(network, replace(accelerator, buffers=buffers))


@dataclass(frozen=True, kw_only=True)
class NetworkTables:
    """What the cost of a network needs: `blocks` and `beats` (L, kind, O, I), widths, and who reads what."""

    names: tuple[str, ...]
    slots: Tensor  # (L,)
    positions: Tensor  # (L,)
    fill: Tensor  # (L,) float64: part of an image's rows that a layer works on before its reader can start
    blocks: Tensor  # (L, 2, O, I)
    beats: Tensor  # (L, 2, O, I); IMPOSSIBLE where the chunk cannot run the layer
    depthwise: Tensor  # (L,) bool: may run on a depthwise chunk
    weight_bits: Tensor  # (L,)
    input_bits: Tensor  # (L,) operand of packed multipliers; others need a bit more where it is unsigned
    unsigned: Tensor  # (L,) bool: the input is unsigned
    acc_bits: Tensor  # (L,)
    residual: Tensor  # (L,) bool
    requantized: Tensor  # (L,) bool
    edge_writer: Tensor  # (E,) layer, L for the input
    edge_reader: Tensor  # (E,) layer, L for the output
    edge_residual: Tensor  # (E,) bool
    edge_channels: Tensor  # (E,)
    edge_pixels: Tensor  # (E,) pixels of the rows held
    edge_bits: Tensor  # (E,)


def tabulate(
    network: Network, space: HardwareSpace, slots: Sequence[str], slot_of: Callable[[str], str] = lambda name: name
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
        taps = lp.kernel[0] * lp.kernel[1]
        for o, out_lanes in enumerate(space.lanes):
            for i, in_lanes in enumerate(space.lanes):
                for k, kind in enumerate(KINDS):
                    if kind == "depthwise" and o != i:
                        continue
                    chunk = Chunk(
                        name="any", kind=kind, out_lanes=out_lanes, in_lanes=in_lanes, drain_lanes=1, multiplier="lut"
                    )
                    try:
                        nest = word_nest(lp.layer, lp.source, chunk, lp.input_order, lp.output_order)
                    except SpecError:
                        continue
                    blocks[row, k, o, i], beats[row, k, o, i] = nest.blocks, taps * nest.words
        depthwise[row] = bool((beats[row, 1].diagonal() < IMPOSSIBLE).all())
    plans = [mapped.layers[name] for name in names]
    index = {name: row for row, name in enumerate(names)} | {INPUT: len(names)}
    edges = [
        (index[e.producer], index.get(e.consumer, len(names)), e.port == "residual", mapped.buffers[e.buffer])
        for e in mapped.edges
    ]
    return NetworkTables(
        names=tuple(names),
        slots=torch.tensor([slots.index(slot_of(n)) for n in names]),
        positions=torch.tensor([lp.out.height * lp.out.width for lp in plans]),
        fill=torch.tensor([min(lp.kernel[0] / max(lp.source.height, 1), 1.0) for lp in plans], dtype=torch.float64),
        blocks=blocks,
        beats=beats,
        depthwise=depthwise,
        weight_bits=torch.tensor([lp.layer.weight_bits if lp.layer.op == "conv" else 2 for lp in plans]),
        input_bits=torch.tensor([lp.source.bits for lp in plans]),
        unsigned=torch.tensor([not lp.source.signed for lp in plans]),
        acc_bits=torch.tensor(
            [
                (lp.layer.weight_bits if lp.layer.op == "conv" else 0)
                + lp.source.bits
                + clog2(
                    lp.kernel[0]
                    * lp.kernel[1]
                    * (1 if lp.layer.op == "global_pool" else lp.source.channels // lp.layer.groups)
                )
                + 1
                for lp in plans
            ]
        ),
        residual=torch.tensor([lp.layer.residual is not None for lp in plans]),
        requantized=torch.tensor([not lp.layer.raw for lp in plans]),
        edge_writer=torch.tensor([e[0] for e in edges]),
        edge_reader=torch.tensor([e[1] for e in edges]),
        edge_residual=torch.tensor([e[2] for e in edges]),
        edge_channels=torch.tensor([e[3].tensor.channels for e in edges]),
        edge_pixels=torch.tensor([(e[3].rows + (4 if e[2] else 1)) * e[3].tensor.width for e in edges]),
        edge_bits=torch.tensor([e[3].tensor.bits for e in edges]),
    )


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Accelerators as choices: chunk `count` - 1 (B,); per chunk (B, C) `kind`, `out`, `into`, `drain`, `multiplier`;
    `chunk` (B, S) of each slot. Every combination is made legal by `legal`."""

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
    """Chunk 0 is of kind conv, since some layers need it; depthwise arrays are square, and with one column have nothing to pack;
    drains are at most as wide as arrays; slots of absent chunks wrap around."""
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
    return Candidates(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Candidates)})


@dataclass(frozen=True, kw_only=True)
class Costs(objectives.Costs):
    """Also `busy` (B, C), the cycles of each chunk, and `layer_cycles` and `layer_energy` (B, L)."""

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
    drains = lanes[o] // lanes[d]
    return tables.positions * blocks * torch.maximum(beats, drains), blocks * beats, blocks * drains


@cache
def fields_table(family: Family) -> Tensor:
    """Products in a DSP block by weight bits and input bits, each up to 8."""
    return torch.tensor([[pack(w, a, PORT_BITS[family]).fields if min(w, a) else 1 for a in range(9)] for w in range(9)])


def evaluate(tables: NetworkTables, space: HardwareSpace, c: Candidates, family: Family = "ecp5") -> Costs:
    """Costs of every candidate for the network of `tables`; `family` says how many products a DSP block packs."""
    count, chunks = c.kind.shape
    chunk_BL = allocate(tables, c)
    cycles_BL, words_BL, drains_BL = layer_cycles(tables, space, c, chunk_BL)
    zero = torch.zeros(count, chunks, dtype=torch.int64)

    def total(values_BL: Tensor) -> Tensor:
        return zero.scatter_add(1, chunk_BL, values_BL)

    def largest(values_L: Tensor) -> Tensor:
        return zero.scatter_reduce(1, chunk_BL, values_L.long().expand_as(chunk_BL), "amax")

    busy = total(cycles_BL)
    used = largest(torch.ones(len(tables.names))) > 0
    lanes = torch.tensor(space.lanes)
    out, into, drain = lanes[c.out], lanes[c.into], lanes[c.drain]
    multipliers = torch.where(c.kind == 1, out, out * into) * used
    weight_bits, narrow_bits = largest(tables.weight_bits), largest(tables.input_bits)
    input_bits = largest(tables.input_bits + tables.unsigned)
    packed = c.multiplier == PACKED
    in_block = torch.where(packed, fields_table(family)[weight_bits, narrow_bits], torch.ones_like(weight_bits))
    acc_bits, residual = largest(tables.acc_bits), largest(tables.residual)
    drains = drain * used * largest(tables.requantized)
    wide = (acc_bits > 18).long()
    blocks = torch.where(c.kind == 1, out, -(-out // in_block) * into) * used
    dsp = blocks * (c.multiplier != SOFT) + drains * (1 + wide + 2 * residual)
    weight_depth, drain_depth = total(words_BL), total(drains_BL)
    bram = used * (
        _block_rams(multipliers * weight_bits, weight_depth) + _block_rams(drain * (acc_bits + 16), drain_depth)
    )
    memory_bram, memory_bits = _buffer_rams(tables, lanes, c, chunk_BL)
    lut_multiplier = multipliers * ((c.multiplier == SOFT) * (weight_bits * input_bits * 5 // 4) + packed * (in_block > 1) * 6)
    lut = (
        used * (700 + drain * (acc_bits * 8 + 60) + out * acc_bits * 3) + multipliers * (6 + acc_bits) + lut_multiplier
    )
    ff = used * (500 + drain * (acc_bits * 4 + 60) + out * acc_bits * 2) + multipliers * (
        weight_bits + input_bits + acc_bits
    )
    lut = lut.sum(1) + memory_bits // 16 + 2500
    energy_BL = _layer_energy(
        tables,
        chunk_BL,
        beats=tables.positions * words_BL,
        writes=tables.positions * drains_BL,
        multipliers=multipliers,
        word=multipliers * weight_bits,
        depth=weight_depth,
        read=torch.where(c.kind == 1, out, into),
        drain=drain,
    )
    cycles = busy.amax(1).double()
    return Costs(
        busy=busy,
        layer_cycles=cycles_BL,
        layer_energy=energy_BL,
        cycles=cycles,
        latency=cycles + (cycles_BL * tables.fill).sum(1),
        energy=energy_BL.sum(1),
        resources={
            "dsp": dsp.sum(1).double(),
            "bram": (bram.sum(1) + memory_bram).double(),
            "lut": lut.double(),
            "ff": (ff.sum(1) + 2000).double(),
            "multipliers": multipliers.sum(1).double(),
        },
    )


def _layer_energy(
    tables: NetworkTables,
    chunk_BL: Tensor,
    *,
    beats: Tensor,
    writes: Tensor,
    multipliers: Tensor,
    word: Tensor,
    depth: Tensor,
    read: Tensor,
    drain: Tensor,
) -> Tensor:
    """Energy (B, L) in pJ of the layers' products, weight reads and maps, after `autonba.cost.energy`, without the parts that
    need a whole plan; `beats` and `writes` are of an image, the rest of each chunk (B, C)."""
    model = HOROWITZ_45NM
    bits, acc = tables.input_bits.double(), tables.acc_bits.double()
    product = model.multiply_bit_pair * tables.weight_bits * bits + model.add_bit * acc
    of_word = model.memory_bit * word * (word * depth / 8 / model.memory_bytes).sqrt()

    def own(values_BC: Tensor) -> Tensor:
        return values_BC.gather(1, chunk_BL)

    map_access = model.memory_bit * (4096 / model.memory_bytes) ** 0.5
    energy: Tensor = (
        beats * (own(multipliers) * product + own(of_word) + own(read) * bits * map_access)
        + writes * own(drain) * (acc * (16 * model.multiply_bit_pair + 2 * model.add_bit) + 8 * map_access)
    ).double()
    return energy


def _block_rams(width: Tensor, depth: Tensor) -> Tensor:
    """Estimate of 18 Kbit blocks; small memories are built of LUTs."""
    wide = -(-width // 36) * -(-depth // 512)
    deep = -(-width // 18) * -(-depth // 1024)
    needed = (depth > 32) & (width * depth >= 2048)
    return torch.minimum(wide, deep) * needed


def _buffer_rams(tables: NetworkTables, lanes: Tensor, c: Candidates, chunk_BL: Tensor) -> tuple[Tensor, Tensor]:
    """(blocks, bits built of LUTs) of the row buffers: one memory for each writer, reader and port, each (B,)."""
    count, chunks = c.kind.shape
    ends = torch.cat([chunk_BL, torch.full((count, 1), chunks)], dim=1)
    writer, reader = ends[:, tables.edge_writer], ends[:, tables.edge_reader]
    into, drain = (torch.cat([lanes[t], torch.ones(count, 1, dtype=torch.int64)], dim=1) for t in (c.into, c.drain))
    read = torch.where(tables.edge_residual, drain.gather(1, reader), into.gather(1, reader))
    width = torch.maximum(drain.gather(1, writer), read)
    words = tables.edge_pixels * -(-tables.edge_channels // width)
    pair = (writer * (chunks + 1) + reader) * 2 + tables.edge_residual
    zero = torch.zeros(count, 2 * (chunks + 1) ** 2, dtype=torch.int64)
    depth = zero.scatter_add(1, pair, words)
    bits = zero.scatter_reduce(1, pair, width * (tables.edge_bits + 1), "amax")
    blocks = _block_rams(bits, depth)
    return blocks.sum(1), (depth * bits * (blocks == 0)).sum(1)


def accelerator(tables: NetworkTables, space: HardwareSpace, c: Candidates, index: int = 0) -> Accelerator:
    """Candidate `index` as an accelerator without buffers; chunks that run nothing are left out, names tell kinds."""
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
        chunks=tuple(chunks), allocation={n: names[k] for n, k in zip(tables.names, chunk_L, strict=True)}
    )
