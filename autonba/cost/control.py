"""Amounts of the control of a planned accelerator, for `autonba.cost.logic`.

Control is what schedules, sequences, writes and fetches, and row tokens and fronts. Unlike the
parts that grow with the data, these follow from the constants of every layer, so they need a whole
plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from autonba.accelerator import SOURCE
from autonba.arithmetic import ceil_div, clog2
from autonba.mapping import BufferPlan, ChunkPlan, LayerPlan, MemoryPlan, Plan, RowPattern
from autonba.memory_image import parameter_bits
from autonba.pipeline import ADDRESS_STAGES, GROUP_TO_WRITE

from .logic import Amounts

CHUNK_PARTS = ("schedule", "sequence", "write", "fetch")


def chunk_control(mapped: Plan, chunk: ChunkPlan) -> dict[str, Amounts]:
    """Amounts of the control of a chunk, by part."""
    ports = _Ports(mapped, chunk)
    parts = {"schedule": _schedule(ports), "sequence": _sequence(ports), "write": _write(ports)}
    return parts | ({"fetch": _fetch(mapped, chunk)} if chunk.stream_words else {})


def top_control(mapped: Plan) -> dict[str, Amounts]:
    """Amounts of the control beside the chunks, by part."""
    parts = {"tokens": _tokens(mapped), "front": _front(mapped)}
    return parts | ({"load": _load(mapped)} if mapped.accelerator.loadable else {})


class _Ports:
    """A chunk's memories and edges, and the widths that follow from them."""

    def __init__(self, mapped: Plan, chunk: ChunkPlan) -> None:
        self.chunk, self.layers = chunk, chunk.layers
        name, own = chunk.chunk.name, {lp.layer.name for lp in chunk.layers}
        self.main = [m for m in mapped.memories if m.reader == name and m.port == "main"]
        self.residual = [m for m in mapped.memories if m.reader == name and m.port == "residual"]
        self.output = [m for m in mapped.memories if m.writer == name]
        self.tokens_in = [
            (e, mapped.buffers[e.buffer].rows.bit_length())
            for e in mapped.edges
            if e.consumer in own
        ]
        self.tokens_out = [
            (e, mapped.buffers[e.buffer].rows.bit_length())
            for e in mapped.edges
            if e.producer in own
        ]
        self.read_bits = max(_read_bits(m) for m in self.main)
        self.residual_bits = max((_read_bits(m) for m in self.residual), default=1)
        self.write_bits = [_write_bits(m) for m in self.output]
        self.layer_bits = clog2(len(self.layers))
        self.write_task_bits = (
            self.layer_bits + (self.residual_bits if self.residual else 0) + sum(self.write_bits)
        )
        self.top_bits = 1 + max(
            (lp.source.height + lp.pattern.span + lp.pattern.step).bit_length()
            for lp in self.layers
        )
        self.banks = self.main[0].banks

    def main_buffers(self) -> list[tuple[MemoryPlan, BufferPlan]]:
        """The buffer that each layer reads."""
        return [
            (m, b)
            for lp in self.layers
            for m in self.main
            for b in m.buffers
            if b.tensor.name == lp.root
        ]


def _read_bits(memory: MemoryPlan) -> int:
    return max(clog2(memory.depth), 1) + clog2(memory.lanes // memory.read_lanes)


def _write_bits(memory: MemoryPlan) -> int:
    return max(clog2(memory.depth), 1) + clog2(memory.lanes // memory.write_lanes)


def table_size(columns: Iterable[Sequence[int]]) -> tuple[int, int]:
    """Bits of the constants that differ between layers, each kind of values once; and those bits
    times the layers that differ.
    """
    bits = cases = 0
    for values in {tuple(column) for column in columns}:
        if len(set(values)) > 1:
            width = max(abs(v).bit_length() for v in values) + (min(values) < 0)
            bits += width
            cases += width * sum(v != max(values, key=values.count) for v in values)
    return bits, cases


def address_bits(lp: LayerPlan) -> int:
    """Bits that number the elements of a row of a layer's input and of its output, about as many as
    its addresses count.
    """
    return clog2(lp.source.width * lp.source.channels) + clog2(lp.out.width * lp.out.channels)


@cache
def row_tables(pattern: RowPattern) -> int:
    """Bits of the constants by which a scheduler knows the rows that each task of an edge needs and
    gives back.
    """
    return sum(
        table_size([[rule(t) for t in range(pattern.tasks)]])[1]
        for rule in (pattern.need, pattern.release)
    )


def _schedule(ports: _Ports) -> Amounts:
    pointers = tasks = tables = 0.0
    for lp in ports.layers:
        targets = [b for m in ports.output for b in m.buffers if b.tensor.name == lp.layer.name]
        pointers += (
            ports.read_bits
            + ports.top_bits
            + sum(_write_bits(m) for m in ports.output if any(b in targets for b in m.buffers))
        )
        pointers += ports.residual_bits if lp.residual_root else 0
        tasks += max(clog2(lp.tasks), 1)
    for edge, _ in ports.tokens_in:
        tables += row_tables(edge.pattern)
    return {
        "constant": 1,
        "layers": len(ports.layers),
        "pointers": pointers,
        "tasks": tasks,
        "tables": tables,
        "tokens": sum(bits for _, bits in ports.tokens_in + ports.tokens_out),
        "task": ports.write_task_bits + ports.read_bits + ports.top_bits,
        "choices": (
            (ports.write_task_bits + ports.read_bits + ports.top_bits) * (len(ports.layers) - 1)
        ),
    }


def _sequence(ports: _Ports) -> Amounts:
    layers, chunk = ports.layers, ports.chunk
    cursors = ports.main_buffers()
    scale = [m.lanes // m.read_lanes for m, _ in cursors]
    pixel = [b.pixel_words * s for (_, b), s in zip(cursors, scale, strict=True)]
    row = [b.row_words * s for (_, b), s in zip(cursors, scale, strict=True)]
    loops = [
        [lp.nest.run_words - 1 for lp in layers],
        [lp.nest.runs - 1 for lp in layers],
        [lp.kernel_steps - 1 for lp in layers],
        [lp.kernel[0] - 1 for lp in layers],
        [lp.nest.blocks_per_group - 1 for lp in layers],
        [lp.nest.blocks // lp.nest.blocks_per_group - 1 for lp in layers],
        [lp.column_sets - 1 for lp in layers],
        [lp.loops.rows - 1 for lp in layers],
        [max(lp.period - lp.beats, 0) for lp in layers],
    ]
    others = [
        row,
        pixel,
        [b.base * s for (_, b), s in zip(cursors, scale, strict=True)],
        [b.rows * r for (_, b), r in zip(cursors, row, strict=True)],
        [lp.nest.group_stride for lp in layers],
        [lp.nest.run_stride for lp in layers],
        [lp.nest.base for lp in layers],
        [lp.stride[0] for lp in layers],
        [lp.source.height for lp in layers],
        [lp.source.width for lp in layers],
        [lp.padding[1] for lp in layers],
        [lp.stride[1] for lp in layers],
        [ports.main.index(m) for m, _ in cursors],
        [int(lp.loops.order == "block_outer") for lp in layers],
        [lp.weight_words for lp in layers],
    ]
    table_bits, cases = table_size(loops + others)
    reach = max(
        lp.column_sets * lp.chunk.columns * lp.stride[1]
        + lp.kernel[1]
        + lp.chunk.taps
        + lp.padding[1]
        for lp in layers
    )
    columns = 1 + reach.bit_length()
    words = 1 + max(reach * p for p in pixel).bit_length()
    return {
        "constant": 1,
        "layers": len(layers),
        "rows": ports.read_bits,
        "tops": ports.top_bits,
        "columns": columns,
        "words": words,
        "pixel_words": (max(pixel) + 1).bit_length(),
        "weights": clog2(chunk.weight_words + 2 * chunk.stream_words),
        "counters": sum(max(values).bit_length() for values in loops),
        "table": table_bits,
        "cases": cases,
        "banks": (ports.banks - 1) * columns,
        "banked": ports.read_bits + words if ports.banks > 1 else 0,
    }


def _places(memory: MemoryPlan, tensors: Sequence[str | None]) -> list[list[int]]:
    """Base, row and size of the buffers of `tensors` in a memory, zero where there is none."""
    found = [
        next((b for b in memory.buffers if b.tensor.name == tensor), None) for tensor in tensors
    ]
    return [
        [0 if b is None else b.base for b in found],
        [0 if b is None else b.row_words for b in found],
        [0 if b is None else b.rows * b.row_words for b in found],
    ]


def _write(ports: _Ports) -> Amounts:
    layers, chunk = ports.layers, ports.chunk
    slots = 2 + ceil_div(ADDRESS_STAGES + chunk.array_stages, 4)
    residual = ports.residual_bits if ports.residual else 0
    own: list[list[int]] = [
        [lp.parameter_words for lp in layers],
        [lp.column_sets for lp in layers],
        [lp.loops.rows for lp in layers],
        [lp.channel_groups for lp in layers],
        [lp.out.width for lp in layers],
        [int(lp.loops.order == "block_outer") for lp in layers],
    ]
    for memory in ports.output:
        own += _places(memory, [lp.layer.name for lp in layers])
    for memory in ports.residual:
        own += _places(memory, [lp.residual_root for lp in layers])
    bits, cases = table_size(own)
    constants, constant_cases = table_size(
        [
            [lp.layer.shift for lp in layers],
            [lp.layer.bits for lp in layers],
            [int(lp.layer.raw) for lp in layers],
            [lp.layer.residual_multiplier for lp in layers],
        ]
    )
    banked = sum(clog2(m.banks) for m in ports.output)
    return {
        "constant": 1,
        "layers": len(layers),
        "slots": slots * ports.write_task_bits,
        "addresses": sum(ports.write_bits),
        "residual": residual,
        "stages": GROUP_TO_WRITE * ports.layer_bits,
        "pipeline": GROUP_TO_WRITE * sum(ports.write_bits),
        "table": bits,
        "cases": cases,
        "requantizer": constants,
        "requantizer_cases": constant_cases,
        "banks": banked,
        "counters": (
            clog2(max(lp.parameter_words for lp in layers))
            + clog2(max(lp.out.width for lp in layers))
            + clog2(max(lp.loops.rows for lp in layers))
        ),
    }


def _fetch(mapped: Plan, chunk: ChunkPlan) -> Amounts:
    streamed = [lp for lp in chunk.layers if lp.streams]
    word = chunk.chunk.weights_per_cycle * chunk.weight_bits
    return {
        "constant": 1,
        "layers": len(streamed),
        "port": mapped.accelerator.stream_bits,
        "addresses": clog2(chunk.weight_words + 2 * chunk.stream_words),
        "slices": ceil_div(word, mapped.accelerator.stream_bits),
    }


def _load(mapped: Plan) -> Amounts:
    bits = mapped.accelerator.stream_bits
    slices = sum(
        ceil_div(chunk.chunk.weights_per_cycle * chunk.weight_bits, bits)
        + ceil_div(chunk.chunk.drain_lanes * parameter_bits(chunk), bits)
        for chunk in mapped.chunks
    )
    return {"constant": 1, "port": bits, "slices": slices, "chunks": len(mapped.chunks)}


def _tokens(mapped: Plan) -> Amounts:
    bits = [mapped.buffers[e.buffer].rows.bit_length() for e in mapped.edges]
    return {"edges": len(bits), "bits": sum(bits)}


def _front(mapped: Plan) -> Amounts:
    inputs = [m for m in mapped.memories if m.writer == SOURCE]
    return {
        "constant": 1,
        "chunks": len(mapped.chunks),
        "layers": len(mapped.layers),
        "pixel": 8 * mapped.network.input.channels,
        "addresses": sum(_write_bits(m) for m in inputs),
        "inputs": len(inputs),
    }
