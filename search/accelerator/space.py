"""The accelerator space: one number for each design factor, and the accelerators that they stand
for.

A choice (F,) holds numbers into the lists of `factors`: how many chunks there may be and the port
through which weights are streamed; for each chunk those of OF_CHUNK; for each slot, a layer's place
in the network, the chunk that runs it and those of OF_LAYER. Every combination is legal: `legal`
says what it stands for. Chunks that run nothing are not built.
Suffixes: B candidates, F factors, C chunks, S slots, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from autonba.accelerator import MAX_LANES, Accelerator, Buffer, Chunk, Loops
from autonba.errors import SpecError
from autonba.mapping import required_buffers

from .factors import (
    COLUMNS,
    CONV,
    DEPTHWISE,
    DRAIN_LANES,
    HARD,
    IN_LANES,
    KINDS,
    LOOPS,
    MOST_CHUNKS,
    MULTIPLIERS,
    OF_CHUNK,
    OF_LAYER,
    OUT_LANES,
    PACKED,
    PORTS,
    ROWS,
    STREAMED,
    TAPS,
)
from .layers import IMPOSSIBLE, Ints, Layers
from .memories import assumed_rows

_LANES = tuple(OUT_LANES.index(lanes) for lanes in IN_LANES)  # of a depthwise chunk
_DRAINS = np.array([max(d for d in DRAIN_LANES if n % d == 0) for n in range(1, MAX_LANES + 1)])


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Legal accelerators for the layers of one network: numbers of the values of each factor.
    `chunk`, `loops` and `rows` are those of the layers."""

    port: Ints  # (B,)
    kind: Ints  # (B, C)
    out: Ints
    into: Ints
    drain: Ints
    taps: Ints
    columns: Ints
    multiplier: Ints
    chunk: Ints  # (B, L)
    loops: Ints
    rows: Ints

    def __len__(self) -> int:
        return len(self.port)

    def pick(self, index: Ints) -> Candidates:
        """The candidates of those numbers."""
        return Candidates(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True)
class AcceleratorSpace:
    """The factors of accelerators of at most `chunks` chunks for `slots` layers; with `streams`,
    weights may come from DRAM.
    """

    slots: int
    chunks: int = MOST_CHUNKS
    streams: bool = False
    roles: tuple[int, ...] = ()  # of slots that hold like layers, equal numbers; none: all alike

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each factor is (F)."""
        return (
            "chunks",
            "port",
            *(f"{name} of chunk {c}" for name in OF_CHUNK for c in range(self.chunks)),
            *(f"{name} of slot {s}" for name in ("chunk", *OF_LAYER) for s in range(self.slots)),
        )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each factor (F)."""
        of_chunk = [len(values) for values in OF_CHUNK.values() for _ in range(self.chunks)]
        loops = len(LOOPS) if self.streams else STREAMED
        of_slot = [n for n in (self.chunks, loops, len(ROWS)) for _ in range(self.slots)]
        return (self.chunks, len(PORTS) if self.streams else 1, *of_chunk, *of_slot)

    def random(self, noise: np.random.Generator, count: int) -> Ints:
        """Choices (count, F) drawn uniformly."""
        drawn: Ints = noise.integers(0, np.array(self.sizes), (count, len(self.sizes)))
        return drawn

    def parts(self, choice_BF: Ints) -> dict[str, Ints]:
        """The choices by name: (B,), (B, C) or (B, S)."""
        widths = [1, 1, *[self.chunks] * len(OF_CHUNK), *[self.slots] * (1 + len(OF_LAYER))]
        own = np.split(choice_BF, np.cumsum(widths)[:-1], axis=1)
        return dict(zip(("count", "port", *OF_CHUNK, "chunk", *OF_LAYER), own, strict=True))

    def legal(self, choice_BF: Ints, layers: Layers) -> Candidates:
        """What choices stand for.

        Chunk 0 is a conv chunk, which runs what a layer's own chunk cannot; where maxima are taken,
        chunk 1 is a depthwise chunk, with one tap and no packed multipliers. A depthwise array is
        as wide as deep and packs only columns. Drains divide lanes. Slots of absent chunks wrap
        around.
        """
        parts = self.parts(choice_BF)
        pools = bool(layers.pooling.any())
        kind = parts["kind"].copy()
        kind[:, 0] = CONV
        if pools:
            if self.chunks < 2:
                raise SpecError("chunks must be at least 2 for a network with a max_pool, not 1")
            kind[:, 1] = DEPTHWISE
        count = np.maximum(parts["count"] + 1, 2 if pools else 1)
        deep = kind == DEPTHWISE
        into = parts["into"]
        out = np.where(deep, np.array(_LANES)[into], parts["out"])
        lanes = np.array(OUT_LANES)[out]
        drain = np.minimum(
            np.array(DRAIN_LANES)[parts["drain"]], _DRAINS[lanes - 1]
        )  # a power of two that divides
        chunk = parts["chunk"][:, layers.slots] % count
        row = np.arange(len(layers))
        on_depthwise = np.take_along_axis(deep, chunk, axis=1)
        words = layers.depthwise_words[row, np.take_along_axis(into, chunk, axis=1)]
        chunk = np.where(on_depthwise & (words == IMPOSSIBLE), 0, chunk)
        on_depthwise = np.take_along_axis(deep, chunk, axis=1)
        chunk = np.where(layers.pooling & ~on_depthwise, 1, chunk)
        taps, multiplier = parts["taps"], parts["multiplier"]
        if pools:
            takes = np.zeros(kind.shape, dtype=bool)
            candidate, layer = np.nonzero(np.broadcast_to(layers.pooling, chunk.shape))
            takes[candidate, chunk[candidate, layer]] = True
            taps = np.where(takes, TAPS.index(1), taps)
            multiplier = np.where(takes, np.minimum(multiplier, HARD), multiplier)
        lone = deep & (parts["columns"] == 0) & (multiplier == PACKED)
        loops, rows = (parts[name][:, layers.slots] for name in OF_LAYER)
        return Candidates(
            port=parts["port"][:, 0],
            kind=kind,
            out=out,
            into=into,
            drain=np.log2(drain).astype(np.int64),
            taps=taps,
            columns=parts["columns"],
            multiplier=np.where(lone, HARD, multiplier),
            chunk=chunk,
            loops=loops,
            rows=rows,
        )

    def choice(self, accelerator: Accelerator, layers: Layers) -> Ints:
        """The choice (F,) that stands for `accelerator`, whose values have to be those of the
        lists; SpecError where one is not.
        """
        order = self._order(accelerator, layers)
        if len(order) > self.chunks:
            raise SpecError(f"chunks must be at most {self.chunks}, not {len(order)}")
        place = {name: n for n, name in enumerate(order) if name}
        found = {
            name: np.zeros(size, dtype=np.int64)
            for name, size in (
                ("count", 1),
                ("port", 1),
                *((name, self.chunks) for name in OF_CHUNK),
                *((name, self.slots) for name in ("chunk", *OF_LAYER)),
            )
        }
        found["count"][0] = max(place.values())
        if self.streams:
            found["port"][0] = PORTS.index(accelerator.stream_bits)
        for name, n in place.items():
            chunk = accelerator.chunk(name)
            values = (
                chunk.kind,
                chunk.out_lanes,
                chunk.in_lanes,
                chunk.drain_lanes,
                chunk.taps,
                chunk.columns,
                chunk.multiplier,
            )
            for (factor, known), value in zip(OF_CHUNK.items(), values, strict=True):
                if value not in known:
                    raise SpecError(
                        f"chunk {name!r}: {factor} must be one of {list(known)}, not {value!r}"
                    )
                found[factor][n] = known.index(value)
        for n, name in enumerate(layers.names):
            slot, loops = layers.slots[n], accelerator.loops_of(name)
            found["chunk"][slot] = place[accelerator.allocation[name]]
            found["loops"][slot] = LOOPS.index(replace(loops, rows=1))
            found["rows"][slot] = int((layers.rows[n] == loops.rows).argmax())
        self._fill_absent(found, layers)
        return np.concatenate(list(found.values()))

    def _fill_absent(self, found: dict[str, Ints], layers: Layers) -> None:
        """Slots whose layers this network lacks go with the nearest one of their role."""
        roles = np.array(self.roles or [0] * self.slots)
        there = np.sort(layers.slots)
        for slot in np.setdiff1d(np.arange(self.slots), there):
            like = there[roles[there] == roles[slot]]
            if len(like):
                nearest = like[np.abs(like - slot).argmin()]
                for name in ("chunk", *OF_LAYER):
                    found[name][slot] = found[name][nearest]

    def _order(self, accelerator: Accelerator, layers: Layers) -> list[str]:
        """Names of the chunks, a conv chunk first and, where maxima are taken, the one that takes
        them second; "" where there is no conv chunk.
        """
        names = [chunk.name for chunk in accelerator.chunks]
        conv = [c.name for c in accelerator.chunks if c.kind == "conv"]
        pools = [
            accelerator.allocation[name]
            for name, pool in zip(layers.names, layers.pooling, strict=True)
            if pool
        ]
        first = [*(conv[:1] or [""]), *pools[:1]]
        return [*first, *(name for name in names if name not in first)]

    def accelerator(self, layers: Layers, c: Candidates, index: int = 0) -> Accelerator:
        """Candidate `index`, with the rows of buffer that its costs assume."""
        chunk_L = c.chunk[index].tolist()
        names: dict[int, str] = {}
        chunks = []
        for n in sorted(set(chunk_L), key=chunk_L.index):
            kind = KINDS[c.kind[index, n]]
            names[n] = f"{kind}{sum(name.startswith(kind) for name in names.values())}"
            chunks.append(
                Chunk(
                    name=names[n],
                    kind=kind,
                    out_lanes=OUT_LANES[c.out[index, n]],
                    in_lanes=IN_LANES[c.into[index, n]],
                    taps=TAPS[c.taps[index, n]],
                    columns=COLUMNS[c.columns[index, n]],
                    drain_lanes=DRAIN_LANES[c.drain[index, n]],
                    multiplier=MULTIPLIERS[c.multiplier[index, n]],
                )
            )
        loops = {
            name: own
            for n, name in enumerate(layers.names)
            if (
                own := replace(LOOPS[c.loops[index, n]], rows=int(layers.rows[n, c.rows[index, n]]))
            )
            != Loops()
        }
        bare = Accelerator(
            chunks=tuple(chunks),
            allocation={name: names[n] for name, n in zip(layers.names, chunk_L, strict=True)},
            loops=loops,
            stream_bits=PORTS[c.port[index]] if self.streams else 64,
        )
        return with_buffers(layers, bare)


def with_buffers(layers: Layers, bare: Accelerator) -> Accelerator:
    """`bare` with the rows of buffer that costs assume (`memories.assumed_rows`)."""
    tensors = layers.network.tensors
    buffers = []
    for (tensor, reader, port), least in required_buffers(layers.network, bare).items():
        written = bare.loops_of(tensor).rows if tensor in bare.allocation else 1
        rows = assumed_rows(least, written, tensors[tensor].height, port == "residual")
        buffers.append(Buffer(tensor=tensor, reader=reader, port=port, rows=int(rows)))
    return replace(bare, buffers=tuple(buffers))
