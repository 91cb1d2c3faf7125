"""Resources of a planned accelerator: DSP and block RAM as synthesis counts them, LUT and FF as
`autonba.cost.logic` weighs them.

DSP and block RAM follow Yosys' `synth_ecp5` and `synth_xilinx` (families xc7 and xcup) exactly when
the weights are known, since synthesis removes ROM columns that never change; without weights every
column counts. Nothing has been compared with Vivado. How far off LUT and FF are on whole designs
that the model was not fitted to is in `autonba.cost.logic.held_out_errors`.
"""

from __future__ import annotations

from autonba.accelerator import SOURCE, Accelerator
from autonba.boards import Family, Resources
from autonba.golden import Weights
from autonba.mapping import ChunkPlan, MemoryPlan, Plan
from autonba.memory_image import parameter_bits, parameter_rom, weight_rom

from . import dsp, ram
from .arrays import divided_up
from .control import chunk_control, top_control
from .logic import (
    KINDS,
    Amounts,
    Logic,
    array,
    memory,
    operands,
    requantizers,
    weigh,
    weight_memory,
)


def estimate(mapped: Plan, family: Family = "ecp5", weights: Weights | None = None) -> Resources:
    """Resources of module `accelerator`, without a board's own logic."""
    parts = logic_breakdown(mapped, family, weights).values()
    return Resources(
        lut=round(sum(part["lut"] for part in parts)),
        ff=round(sum(part["ff"] for part in parts)),
        dsp=dsp_blocks(mapped, family),
        bram=ram_blocks(mapped, family, weights),
    )


def dsp_blocks(mapped: Plan, family: Family = "ecp5") -> int:
    """DSP blocks of module `accelerator`."""
    return sum(chunk_dsps(chunk, family) for chunk in mapped.chunks)


def chunk_dsps(chunk: ChunkPlan, family: Family = "ecp5") -> int:
    """DSP blocks of a chunk."""
    return array_dsps(chunk, family) + chunk.chunk.drain_lanes * requantizer_dsps(chunk, family)


def array_dsps(chunk: ChunkPlan, family: Family = "ecp5") -> int:
    """DSP blocks of a chunk's multipliers."""
    spec = chunk.chunk
    return int(
        dsp.array(
            spec.multiplier,
            spec.kind == "depthwise",
            spec.out_lanes,
            spec.terms,
            spec.columns,
            chunk.weight_bits,
            chunk.input_bits,
            family,
        )
    )


def requantizer_dsps(chunk: ChunkPlan, family: Family = "ecp5") -> int:
    """DSP blocks of one requantizer."""
    if not chunk.requantizes:
        return 0
    return int(
        dsp.requantizer(chunk.acc_bits, chunk.residual_bits, chunk.residual_multiplier_bits, family)
    )


def ram_blocks(mapped: Plan, family: Family = "ecp5", weights: Weights | None = None) -> int:
    """Block RAMs of 18 Kbit of module `accelerator`."""
    return sum(
        weight_blocks(chunk, family, weights, mapped.accelerator) for chunk in mapped.chunks
    ) + sum(
        memory_blocks(memory, family, mapped.network.input.channels) for memory in mapped.memories
    )


def memory_blocks(memory: MemoryPlan, family: Family, channels: int) -> int:
    """Block RAMs of a row buffer: in each column bank a memory for each `write_lanes` lanes; of the
    image `channels` lanes hold something."""
    if not ram.in_blocks(memory.write_lanes * memory.lane_bits, memory.depth, family):
        return 0
    lanes = (
        channels if memory.writer == SOURCE else memory.write_lanes
    )  # input lanes without a channel are removed
    return (
        memory.banks
        * (memory.lanes // memory.write_lanes)
        * int(ram.blocks(lanes * memory.lane_bits, memory.depth, family))
    )


def _weight_memories(
    chunk: ChunkPlan, weights: Weights | None, accelerator: Accelerator
) -> tuple[tuple[int, int, bool, list[int] | None], ...]:
    """(width, depth, written, words) of the memories of weights and of parameters; words are None
    where they are not known.
    """
    lane_bits = parameter_bits(chunk)
    return (
        (
            chunk.chunk.weights_per_cycle * chunk.weight_bits,
            chunk.weight_words + 2 * chunk.stream_words,
            accelerator.loadable or chunk.stream_words > 0,
            None if weights is None else weight_rom(chunk, weights),
        ),
        (
            chunk.chunk.drain_lanes * lane_bits,
            chunk.parameter_words,
            accelerator.loadable,
            None if weights is None else parameter_rom(chunk, weights),
        ),
    )


def weight_blocks(
    chunk: ChunkPlan, family: Family, weights: Weights | None, accelerator: Accelerator
) -> int:
    """Block RAMs of the weights and parameters. Columns of a ROM that never change are removed by
    synthesis; one that is loaded or streamed into is a RAM for each slice of its words."""
    total = 0
    for width, depth, written, words in _weight_memories(chunk, weights, accelerator):
        if not ram.in_blocks(width, depth, family):
            continue
        if written:
            total += int(ram.sliced_blocks(width, depth, accelerator.stream_bits, family))
        else:
            total += int(
                ram.blocks(
                    width if words is None else changing_bits(words), depth, family, rom=True
                )
            )
    return total


def changing_bits(words: list[int]) -> int:
    """Bits that are not the same in all words."""
    changed = 0
    for word in words:
        changed |= word ^ words[0]
    return changed.bit_count()


def logic_breakdown(
    mapped: Plan, family: Family = "ecp5", weights: Weights | None = None
) -> dict[str, dict[Logic, float]]:
    """LUT and FF of each part of module `accelerator`, the largest first."""
    parts = {
        name: {kind: float(weigh(name.split("/")[-1], amounts, family, kind)) for kind in KINDS}
        for name, amounts in logic_parts(mapped, family, weights).items()
    }
    return dict(sorted(parts.items(), key=lambda item: -item[1]["lut"]))


def logic_parts(mapped: Plan, family: Family, weights: Weights | None) -> dict[str, Amounts]:
    """Amounts of each part, by name: "<chunk>/<part>", or the part where a design has one of it."""
    parts: dict[str, Amounts] = {}
    for chunk in mapped.chunks:
        own = chunk_control(mapped, chunk) | _chunk_data(mapped, chunk, family, weights)
        parts |= {f"{chunk.chunk.name}/{part}": amounts for part, amounts in own.items()}
    memories = [
        memory(
            write_lanes=m.write_lanes,
            read_lanes=m.read_lanes,
            lane_bits=m.lane_bits,
            banks=m.banks,
            depth=m.depth,
            family=family,
            kept_lanes=mapped.network.input.channels if m.writer == SOURCE else m.write_lanes,
        )
        for m in mapped.memories
    ]
    return parts | {"memory": total(memories)} | top_control(mapped)


def total(parts: list[Amounts]) -> Amounts:
    """Amounts of several parts of a kind together."""
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def _chunk_data(
    mapped: Plan, chunk: ChunkPlan, family: Family, weights: Weights | None
) -> dict[str, Amounts]:
    spec = chunk.chunk
    mains, residuals = (
        [m for m in mapped.memories if m.reader == spec.name and m.port == port]
        for port in ("main", "residual")
    )
    low, high = chunk.shifts
    memories = _weight_memories(chunk, weights, mapped.accelerator)
    width, depth, written, words = memories[0]
    live = 1.0 if written or words is None else changing_bits(words) / width
    weight_slices, parameter_slices = (
        int(ram.depth_slices(own[0], own[1], family, rom=not own[2])) for own in memories
    )
    return {
        "array": array(
            spec.multiplier,
            spec.kind == "depthwise",
            weight_bits=chunk.weight_bits,
            input_bits=chunk.input_bits,
            acc_bits=chunk.acc_bits,
            out_lanes=spec.out_lanes,
            terms=spec.terms,
            columns=spec.columns,
            drain_lanes=spec.drain_lanes,
            maximum=chunk.maximum,
            stages=chunk.array_stages,
            family=family,
            weight_slices=weight_slices,
            soft_weights=not ram.in_blocks(width, depth, family),
            live=live,
        ),
        "operands": operands(
            input_bits=chunk.input_bits,
            in_lanes=spec.in_lanes,
            taps=spec.taps,
            columns=spec.columns,
            banks=mains[0].banks,
            mains=len(mains),
            strides=len({lp.stride[1] for lp in chunk.layers}),
            drain_lanes=spec.drain_lanes,
            residual_bits=chunk.residual_bits,
            residuals=len(residuals),
        ),
        "requantize": requantizers(
            drain_lanes=spec.drain_lanes,
            acc_bits=chunk.acc_bits,
            residual_bits=chunk.residual_bits,
            residual_factor_bits=chunk.residual_multiplier_bits,
            shift_low=low,
            shift_range=(high - low).bit_length(),
            write_bits=chunk.write_bits,
            has_raw=chunk.has_raw,
            requantizes=chunk.requantizes,
            family=family,
            parameter_slices=parameter_slices,
        ),
        "weights": total(
            [
                weight_memory(
                    width,
                    depth,
                    family,
                    written=written,
                    slices=divided_up(width, mapped.accelerator.stream_bits),
                )
                for width, depth, written, _ in memories
            ]
        ),
    }
