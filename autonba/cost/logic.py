"""LUT and FF of an accelerator: amounts of each part of it, weighted with coefficients that are fitted to Yosys runs.

The parts are the modules of the generated Verilog. Each has a few amounts, mostly bits, that follow from the plan; the
coefficients of a kind of part are the same in all designs (`logic_<family>.json`, written by `benchmarks/fit_resources.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from autonba.accelerator import SOURCE
from autonba.arithmetic import MULTIPLIER_BITS, ceil_div, clog2
from autonba.boards import Family
from autonba.golden import Weights
from autonba.mapping import BufferPlan, ChunkPlan, MemoryPlan, Plan
from autonba.memory_image import parameter_bits, weight_rom
from autonba.packing import PORT_BITS, chunk_packing, cut
from autonba.pipeline import ADDRESS_STAGES, GROUP_TO_WRITE, REQUANTIZE_STAGES

Amounts = dict[str, float]
Logic = Literal["lut", "ff"]
UsesBlockRam = Callable[[int, int], bool]


def logic_parts(mapped: Plan, family: Family, uses_block_ram: UsesBlockRam, weights: Weights | None) -> dict[str, Amounts]:
    """Amounts of each part, by name: "<chunk>/<kind>", or the kind where a design has one part of it."""
    parts: dict[str, Amounts] = {}
    for chunk in mapped.chunks:
        ports = _Ports(mapped, chunk)
        for kind, amounts in (
            ("schedule", _schedule(ports)), ("sequence", _sequence(ports)), ("write", _write(ports)),
            ("requantize", _requantize(chunk, family)), ("array", _array(ports, family, weights)),
            ("rom", _roms(chunk, uses_block_ram, weights)),
        ):
            parts[f"{chunk.chunk.name}/{kind}"] = amounts
    return parts | {"memory": _memories(mapped, uses_block_ram), "tokens": _tokens(mapped), "front": _front(mapped)}


def logic(mapped: Plan, family: Family, uses_block_ram: UsesBlockRam, weights: Weights | None) -> dict[str, dict[Logic, float]]:
    """LUT and FF of each part."""
    coefficients = _model(family)["coefficients"]
    return {
        part: {kind: sum(coefficients[kind][part.split("/")[-1]][name] * amount for name, amount in amounts.items())
               for kind in ("lut", "ff")}
        for part, amounts in logic_parts(mapped, family, uses_block_ram, weights).items()
    }


def logic_model_error(family: Family = "ecp5") -> dict[str, float]:
    """Mean absolute error of "lut" and "ff" on designs left out of the fit, as a fraction."""
    error: dict[str, float] = _model(family)["error"]
    return error


def coefficients(family: Family, kind: Logic) -> dict[str, dict[str, float]]:
    """Fitted weights of the amounts, by part."""
    found: dict[str, dict[str, float]] = _model(family)["coefficients"][kind]
    return found


@cache
def _model(family: Family) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(files("autonba.cost").joinpath(f"logic_{family}.json").read_text())
    return model


class _Ports:
    """A chunk's memories and edges, and the widths that follow from them."""

    def __init__(self, mapped: Plan, chunk: ChunkPlan) -> None:
        self.chunk, self.layers = chunk, chunk.layers
        name, own = chunk.chunk.name, {lp.layer.name for lp in chunk.layers}
        self.main = [m for m in mapped.memories if m.reader == name and m.port == "main"]
        self.residual = [m for m in mapped.memories if m.reader == name and m.port == "residual"]
        self.output = [m for m in mapped.memories if m.writer == name]
        self.tokens_in = [(e, mapped.buffers[e.buffer].rows.bit_length()) for e in mapped.edges if e.consumer in own]
        self.tokens_out = [(e, mapped.buffers[e.buffer].rows.bit_length()) for e in mapped.edges if e.producer in own]
        self.read_bits = max(_read_bits(m) for m in self.main)
        self.residual_bits = max((_read_bits(m) for m in self.residual), default=1)
        self.write_bits = [_write_bits(m) for m in self.output]
        self.layer_bits = clog2(len(self.layers))
        self.write_task_bits = self.layer_bits + (self.residual_bits if self.residual else 0) + sum(self.write_bits)
        self.top_bits = 1 + max((lp.source.height + lp.pattern.span + lp.pattern.step).bit_length() for lp in self.layers)
        self.banks = self.main[0].banks

    def main_buffers(self) -> list[tuple[MemoryPlan, BufferPlan]]:
        """The buffer that each layer reads."""
        return [(m, b) for lp in self.layers for m in self.main for b in m.buffers if b.tensor.name == lp.root]


def _read_bits(memory: MemoryPlan) -> int:
    return max(clog2(memory.depth), 1) + clog2(memory.lanes // memory.read_lanes)


def _write_bits(memory: MemoryPlan) -> int:
    return max(clog2(memory.depth), 1) + clog2(memory.lanes // memory.write_lanes)


def table_size(columns: Iterable[Sequence[int]]) -> tuple[int, int]:
    """Bits of the constants that differ between layers, each kind of values once; and those bits times the layers that differ."""
    bits = cases = 0
    for values in {tuple(column) for column in columns}:
        if len(set(values)) > 1:
            width = max(abs(v).bit_length() for v in values) + (min(values) < 0)
            bits += width
            cases += width * sum(v != max(values, key=values.count) for v in values)
    return bits, cases


def _schedule(ports: _Ports) -> Amounts:
    pointers = tasks = tables = 0.0
    for lp in ports.layers:
        targets = [b for m in ports.output for b in m.buffers if b.tensor.name == lp.layer.name]
        pointers += ports.read_bits + ports.top_bits + sum(
            _write_bits(m) for m in ports.output if any(b in targets for b in m.buffers))
        pointers += ports.residual_bits if lp.residual_root else 0
        tasks += max(clog2(lp.tasks), 1)
    for edge, _ in ports.tokens_in:
        for values in ([edge.pattern.need(t) for t in range(edge.pattern.tasks)],
                       [edge.pattern.release(t) for t in range(edge.pattern.tasks)]):
            tables += table_size([values])[1]
    return {
        "constant": 1, "layers": len(ports.layers), "pointers": pointers, "tasks": tasks, "tables": tables,
        "tokens": sum(bits for _, bits in ports.tokens_in + ports.tokens_out),
        "task": ports.write_task_bits + ports.read_bits + ports.top_bits,
        "choices": (ports.write_task_bits + ports.read_bits + ports.top_bits) * (len(ports.layers) - 1),
    }


def _sequence(ports: _Ports) -> Amounts:
    layers, chunk = ports.layers, ports.chunk
    cursors = ports.main_buffers()
    scale = [m.lanes // m.read_lanes for m, _ in cursors]
    pixel = [b.pixel_words * s for (_, b), s in zip(cursors, scale, strict=True)]
    row = [b.row_words * s for (_, b), s in zip(cursors, scale, strict=True)]
    loops = [[lp.nest.run_words - 1 for lp in layers], [lp.nest.runs - 1 for lp in layers],
             [lp.kernel_steps - 1 for lp in layers], [lp.kernel[0] - 1 for lp in layers],
             [lp.nest.blocks_per_group - 1 for lp in layers],
             [lp.nest.blocks // lp.nest.blocks_per_group - 1 for lp in layers], [lp.column_sets - 1 for lp in layers],
             [lp.loops.rows - 1 for lp in layers], [max(lp.period - lp.beats, 0) for lp in layers]]
    others = [row, pixel, [b.base * s for (_, b), s in zip(cursors, scale, strict=True)],
              [b.rows * r for (_, b), r in zip(cursors, row, strict=True)],
              [lp.nest.group_stride for lp in layers], [lp.nest.run_stride for lp in layers], [lp.nest.base for lp in layers],
              [lp.stride[0] for lp in layers], [lp.source.height for lp in layers], [lp.source.width for lp in layers],
              [lp.padding[1] for lp in layers], [lp.stride[1] for lp in layers], [ports.main.index(m) for m, _ in cursors],
              [int(lp.loops.order == "block_outer") for lp in layers], [lp.weight_words for lp in layers]]
    table_bits, cases = table_size(loops + others)
    reach = max(lp.column_sets * lp.chunk.columns * lp.stride[1] + lp.kernel[1] + lp.chunk.taps + lp.padding[1] for lp in layers)
    columns = 1 + reach.bit_length()
    words = 1 + max(reach * p for p in pixel).bit_length()
    return {
        "constant": 1, "layers": len(layers), "rows": ports.read_bits, "tops": ports.top_bits, "columns": columns, "words": words,
        "pixel_words": (max(pixel) + 1).bit_length(), "weights": clog2(chunk.weight_words + 2 * chunk.stream_words),
        "counters": sum(max(values).bit_length() for values in loops), "table": table_bits, "cases": cases,
        "banks": (ports.banks - 1) * columns, "banked": ports.read_bits + words if ports.banks > 1 else 0,
    }


def _places(memory: MemoryPlan, tensors: Sequence[str | None]) -> list[list[int]]:
    """Base, row and size of the buffers of `tensors` in a memory, zero where there is none."""
    found = [next((b for b in memory.buffers if b.tensor.name == tensor), None) for tensor in tensors]
    return [[0 if b is None else b.base for b in found], [0 if b is None else b.row_words for b in found],
            [0 if b is None else b.rows * b.row_words for b in found]]


def _write(ports: _Ports) -> Amounts:
    layers, chunk = ports.layers, ports.chunk
    slots = 2 + ceil_div(ADDRESS_STAGES + chunk.array_stages, 4)
    residual = ports.residual_bits if ports.residual else 0
    own: list[list[int]] = [
        [lp.parameter_words for lp in layers], [lp.column_sets for lp in layers], [lp.loops.rows for lp in layers],
        [lp.channel_groups for lp in layers], [lp.out.width for lp in layers],
        [int(lp.loops.order == "block_outer") for lp in layers]]
    for memory in ports.output:
        own += _places(memory, [lp.layer.name for lp in layers])
    for memory in ports.residual:
        own += _places(memory, [lp.residual_root for lp in layers])
    bits, cases = table_size(own)
    constants, constant_cases = table_size([
        [lp.layer.shift for lp in layers], [lp.layer.bits for lp in layers], [int(lp.layer.raw) for lp in layers],
        [lp.layer.residual_multiplier for lp in layers]])
    banked = sum(clog2(m.banks) for m in ports.output)
    return {
        "constant": 1, "layers": len(layers), "slots": slots * ports.write_task_bits, "addresses": sum(ports.write_bits),
        "residual": residual, "stages": GROUP_TO_WRITE * ports.layer_bits, "pipeline": GROUP_TO_WRITE * sum(ports.write_bits),
        "table": bits, "cases": cases, "requantizer": constants, "requantizer_cases": constant_cases, "banks": banked,
        "counters": clog2(max(lp.parameter_words for lp in layers)) + clog2(max(lp.out.width for lp in layers)) + clog2(
            max(lp.loops.rows for lp in layers)),
    }


def _requantize(chunk: ChunkPlan, family: Family) -> Amounts:
    lanes, acc = chunk.chunk.drain_lanes, chunk.acc_bits
    amounts: Amounts = dict.fromkeys(
        ("lanes", "accumulators", "parts", "sums", "shift", "results", "residuals", "raw", "alone"), 0.0)
    if not chunk.requantizes:
        return amounts | {"alone": lanes * acc}
    parts = len(cut(acc, PORT_BITS[family])) - 1
    low, high = chunk.shifts
    residual = chunk.residual_bits + chunk.residual_multiplier_bits if chunk.residual_bits else 0
    return {
        "lanes": lanes, "accumulators": lanes * acc, "parts": lanes * (parts - 1) * (acc + MULTIPLIER_BITS),
        "sums": lanes * (acc + MULTIPLIER_BITS - low), "shift": lanes * (high - low).bit_length() * (acc + MULTIPLIER_BITS - low),
        "results": lanes * min(chunk.write_bits, 9), "residuals": lanes * residual,
        "raw": lanes * acc * (REQUANTIZE_STAGES - 3) if chunk.has_raw else 0, "alone": 0,
    }


def _array(ports: _Ports, family: Family, weights: Weights | None) -> Amounts:
    chunk, spec = ports.chunk, ports.chunk.chunk
    w, a, levels = chunk.weight_bits, chunk.input_bits, clog2(spec.terms)
    lanes, total = spec.out_lanes * spec.columns, w + a
    word = spec.weights_per_cycle * w
    changing = word
    if weights is not None and not chunk.stream_words:
        words, changing = weight_rom(chunk, weights), 0
        for value in words:
            changing |= value ^ words[0]
        changing = changing.bit_count()
    live = changing / word
    inputs = ports.banks * spec.in_lanes * a
    tree = lanes * sum(ceil_div(spec.terms, 2 << level) * (total + level + 1) for level in range(levels))
    packed, soft = spec.multiplier == "packed", spec.multiplier == "lut"
    amounts: Amounts = {
        "constant": 1, "weights": changing, "inputs": spec.columns * spec.taps * spec.in_lanes * a,
        "accumulators": lanes * chunk.acc_bits, "tree": tree,
        "drained": 0 if spec.drain_lanes == lanes else lanes * chunk.acc_bits,
        "soft_adders": spec.multipliers * live * (w - 1) * total if soft else 0,
        "soft_products": spec.multipliers * live * total if soft else 0,
        "dsp_products": spec.multipliers * total if spec.multiplier == "dsp" else 0,
        "packed_words": 0, "packed_operands": 0, "packed_carries": 0, "packed_sums": lanes * (total + levels) if packed else 0,
        "padding": inputs, "sources": inputs * (len(ports.main) - 1), "rotation": inputs * clog2(ports.banks),
        "strides": spec.columns * spec.taps * spec.in_lanes * a * (len({lp.stride[1] for lp in chunk.layers}) - 1),
        "residuals": spec.drain_lanes * chunk.residual_bits, "residual_sources":
            spec.drain_lanes * chunk.residual_bits * max(len(ports.residual) - 1, 0),
        "maximum": lanes * a * chunk.array_stages if chunk.maximum else 0,
    }
    if packed:
        packing = chunk_packing(spec, w, a, PORT_BITS[family])
        shared = spec.out_lanes if spec.kind == "conv" else spec.columns
        sizes = [min(packing.fields, shared - first) for first in range(0, shared, packing.fields)]
        blocks = spec.terms * (spec.columns if spec.kind == "conv" else spec.out_lanes)
        amounts["packed_words"] = blocks * sum((n - 1) * packing.spacing + total for n in sizes)
        field, factor = (w, a) if spec.kind == "conv" else (a, w)
        amounts["packed_operands"] = blocks * sum(n * field + factor for n in sizes)
        amounts["packed_carries"] = blocks * sum(n - 1 for n in sizes) * packing.overlap
    return amounts


def _roms(chunk: ChunkPlan, uses_block_ram: UsesBlockRam, weights: Weights | None) -> Amounts:
    amounts: Amounts = {"bits": 0, "columns": 0}
    sizes = [(chunk.chunk.drain_lanes * parameter_bits(chunk), chunk.parameter_words)]
    if not chunk.stream_words:
        sizes.append((chunk.chunk.weights_per_cycle * chunk.weight_bits, chunk.weight_words))
    for width, depth in sizes:
        if not uses_block_ram(width, depth) and depth > 1:
            amounts["columns"] += width
            amounts["bits"] += width * ceil_div(depth, 16)
    return amounts


def _memories(mapped: Plan, uses_block_ram: UsesBlockRam) -> Amounts:
    amounts: Amounts = dict.fromkeys(("tiles", "rows", "words", "banks", "bank_memories", "selected", "selects"), 0.0)
    for memory in mapped.memories:
        parts, choices = memory.lanes // memory.write_lanes, memory.lanes // memory.read_lanes
        lanes = mapped.network.input.channels if memory.writer == SOURCE else memory.write_lanes
        amounts["selected"] += memory.banks * memory.read_lanes * memory.lane_bits * (choices - 1)
        amounts["selects"] += clog2(choices) * memory.banks
        amounts["banks"] += (memory.banks - 1) * max(clog2(memory.depth), 1)
        if not uses_block_ram(memory.write_lanes * memory.lane_bits, memory.depth):
            copies, rows = memory.banks * parts, ceil_div(memory.depth, 16)
            amounts["tiles"] += copies * ceil_div(lanes * memory.lane_bits, 4) * rows
            amounts["words"] += copies * lanes * memory.lane_bits
            amounts["rows"] += copies * lanes * memory.lane_bits * (rows - 1)
            amounts["bank_memories"] += copies * rows
    return amounts


def _tokens(mapped: Plan) -> Amounts:
    bits = [mapped.buffers[e.buffer].rows.bit_length() for e in mapped.edges]
    return {"edges": len(bits), "bits": sum(bits)}


def _front(mapped: Plan) -> Amounts:
    inputs = [m for m in mapped.memories if m.writer == SOURCE]
    return {"constant": 1, "chunks": len(mapped.chunks), "layers": len(mapped.layers), "pixel": 8 * mapped.network.input.channels,
            "addresses": sum(_write_bits(m) for m in inputs), "inputs": len(inputs)}
