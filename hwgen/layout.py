"""Addresses and field widths that the control components of one chunk share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from amaranth.hdl import Shape
from amaranth.lib import data

from autonba.arithmetic import clog2
from autonba.mapping import BufferPlan, ChunkPlan, Edge, LayerPlan, MemoryPlan, Plan


def index_bits(count: int) -> int:
    """Bits of an index below `count`, at least one."""
    return max(clog2(count), 1)


def token_bits(rows: int) -> int:
    """Bits of a count of at most `rows` rows."""
    return rows.bit_length()


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """A buffer as one side sees it: numbers in words of that side's lanes, in each column bank."""

    base: int
    size: int
    row: int
    pixel: int
    rows: int
    banks: int

    def columns(self, count: int) -> tuple[int, int]:
        """Words and banks to move on by `count` columns, when no bank wraps."""
        return count // self.banks * self.pixel, count % self.banks


def write_cursor(memory: MemoryPlan, buffer: BufferPlan) -> Cursor:
    """`buffer` in words of `write_lanes`."""
    return _cursor(buffer, memory.lanes // memory.write_lanes, memory.banks)


def read_cursor(memory: MemoryPlan, buffer: BufferPlan) -> Cursor:
    """`buffer` in words of `read_lanes`."""
    return _cursor(buffer, memory.lanes // memory.read_lanes, memory.banks)


def _cursor(buffer: BufferPlan, scale: int, banks: int) -> Cursor:
    return Cursor(
        base=buffer.base * scale,
        size=buffer.rows * buffer.row_words * scale,
        row=buffer.row_words * scale,
        pixel=buffer.pixel_words * scale,
        rows=buffer.rows,
        banks=banks,
    )


def write_address_bits(memory: MemoryPlan) -> int:
    """Address width of the write side."""
    return index_bits(memory.depth) + clog2(memory.lanes // memory.write_lanes)


def read_address_bits(memory: MemoryPlan) -> int:
    """Address width of the read side."""
    return index_bits(memory.depth) + clog2(memory.lanes // memory.read_lanes)


@dataclass(frozen=True)
class ChunkLayout:
    """What scheduler, sequencer and writer of one chunk agree on."""

    plan: Plan
    chunk: ChunkPlan

    @cached_property
    def main_memories(self) -> list[MemoryPlan]:
        """Memories at the main port."""
        return [
            m for m in self.plan.memories if m.reader == self.chunk.chunk.name and m.port == "main"
        ]

    @cached_property
    def residual_memories(self) -> list[MemoryPlan]:
        """Memories at the residual port."""
        return [
            m
            for m in self.plan.memories
            if m.reader == self.chunk.chunk.name and m.port == "residual"
        ]

    @cached_property
    def output_memories(self) -> list[MemoryPlan]:
        """Memories that the chunk writes."""
        return [m for m in self.plan.memories if m.writer == self.chunk.chunk.name]

    @cached_property
    def input_edges(self) -> list[tuple[LayerPlan, Edge]]:
        """(consuming layer, edge) of every edge that the chunk reads."""
        return [
            (lp, e)
            for lp in self.chunk.layers
            for e in self.plan.edges
            if e.consumer == lp.layer.name
        ]

    def outgoing(self, lp: LayerPlan) -> list[Edge]:
        """Edges that carry the output of `lp`."""
        return [e for e in self.plan.edges if e.producer == lp.layer.name]

    def edge_bits(self, edge: Edge) -> int:
        """Width of the edge's row counts."""
        return token_bits(self.plan.buffers[edge.buffer].rows)

    def main_source(self, lp: LayerPlan) -> tuple[int, Cursor]:
        """Number of the main memory that `lp` reads, and its buffer there."""
        return self._source(self.main_memories, lp.root)

    def residual_source(self, lp: LayerPlan) -> tuple[int, Cursor] | None:
        """The same for the residual, if there is one."""
        return (
            None
            if lp.residual_root is None
            else self._source(self.residual_memories, lp.residual_root)
        )

    @staticmethod
    def _source(memories: list[MemoryPlan], tensor: str) -> tuple[int, Cursor]:
        return next(
            (i, read_cursor(m, b))
            for i, m in enumerate(memories)
            for b in m.buffers
            if b.tensor.name == tensor
        )

    def destination(self, lp: LayerPlan, memory: MemoryPlan) -> Cursor | None:
        """Buffer of the output of `lp` in `memory`, if it goes there."""
        return next(
            (write_cursor(memory, b) for b in memory.buffers if b.tensor.name == lp.layer.name),
            None,
        )

    @property
    def banks(self) -> int:
        """Columns that the main memories deliver at once."""
        return self.main_memories[0].banks

    @property
    def bank_bits(self) -> int:
        """Width of a bank number; 0 for a single bank."""
        return clog2(self.banks)

    @cached_property
    def strides(self) -> list[int]:
        """Distinct column strides of the layers."""
        return sorted({lp.stride[1] for lp in self.chunk.layers})

    @property
    def unused_columns(self) -> list[int]:
        """Of the columns that are delivered at once, those that no tap of any output column reads,
        whatever the stride.
        """
        spec = self.chunk.chunk
        used = {
            column * stride + tap
            for stride in self.strides
            for column in range(spec.columns)
            for tap in range(spec.taps)
        }
        return [column for column in range(self.banks) if column not in used]

    @property
    def weight_depth(self) -> int:
        """Words of the weight memory: what stays on the chip, then two halves for streamed
        blocks.
        """
        return self.chunk.weight_words + 2 * self.chunk.stream_words

    @property
    def layer_bits(self) -> int:
        """Width of a layer index."""
        return index_bits(len(self.chunk.layers))

    @property
    def read_bits(self) -> int:
        """Width of a main read address."""
        return max(read_address_bits(m) for m in self.main_memories)

    @property
    def residual_bits(self) -> int:
        """Width of a residual read address; 1 where there is no residual."""
        return max((read_address_bits(m) for m in self.residual_memories), default=1)

    @property
    def top_shape(self) -> Shape:
        """Shape of a signed input row number: from -padding to height + kernel + rows of a task."""
        return Shape(
            1
            + max(
                (lp.source.height + lp.pattern.span + lp.pattern.step).bit_length()
                for lp in self.chunk.layers
            ),
            signed=True,
        )

    @property
    def release_bits(self) -> int:
        """Width of a count of main input rows given back."""
        return (
            max(
                max(lp.pattern.release(t) for t in range(lp.tasks)) for lp in self.chunk.layers
            ).bit_length()
            or 1
        )

    @cached_property
    def write_task(self) -> data.StructLayout:
        """What the writer must know of a task."""
        fields = {"layer": self.layer_bits, "residual": self.residual_bits}
        for i, memory in enumerate(self.output_memories):
            fields[f"out{i}"] = write_address_bits(memory)
        return data.StructLayout(fields)

    @cached_property
    def task(self) -> data.StructLayout:
        """A row task: `read` points at input row `top`, `release` rows go back after the last
        beat.
        """
        return data.StructLayout(
            {
                "write": self.write_task,
                "read": self.read_bits,
                "top": self.top_shape,
                "release": self.release_bits,
            }
        )
