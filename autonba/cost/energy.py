"""Energy of an image: every operation and every access of the schedule, times an energy per operation and per bit.

Source of the figures: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9, 45 nm,
0.9 V: 8-bit addition 0.03 pJ, 8-bit multiplication 0.2 pJ (32 bits: 3.1 pJ), 64 bits from an 8 KiB memory 10 pJ (32 KiB: 20 pJ,
1 MiB: 100 pJ), 64 bits from DRAM 1.3 to 2.6 nJ. They are those of a chip of its own, not of an FPGA, whose routing costs several
times as much: use them to compare designs, not to size a power supply. Clock, control and leakage are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import sqrt

from autonba.accelerator import SINK, SOURCE
from autonba.arithmetic import MULTIPLIER_BITS
from autonba.mapping import ChunkPlan, LayerPlan, MemoryPlan, Plan
from autonba.memory_image import parameter_bits
from autonba.weight_image import block_beats


@dataclass(frozen=True, kw_only=True)
class EnergyModel:
    """Energies in pJ. The defaults are Horowitz's, scaled between and beyond the sizes that he gives."""

    add_bit: float = 0.03 / 8
    multiply_bit_pair: float = 0.2 / 64  # for each pair of bits of the factors; gives 3.2 pJ at 32 bits
    memory_bit: float = 10 / 64  # of a memory of `memory_bytes`
    memory_bytes: float = 8192
    dram_bit: float = 1950 / 64  # the middle of the range

    def add(self, bits: int) -> float:
        """An addition or comparison."""
        return self.add_bit * bits

    def multiply(self, a_bits: int, b_bits: int) -> float:
        """A multiplication."""
        return self.multiply_bit_pair * a_bits * b_bits

    def access(self, bits: int, memory_bits: int) -> float:
        """Reading or writing `bits` bits of a memory on the chip; wires grow with the root of its size."""
        return self.memory_bit * bits * sqrt(memory_bits / 8 / self.memory_bytes)


HOROWITZ_45NM = EnergyModel()


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of an image in pJ, by cause."""

    macs: float = 0.0  # all multipliers of a chunk in each of its beats, those that meet zeros included
    requantization: float = 0.0
    weight_reads: float = 0.0
    parameter_reads: float = 0.0  # biases and multipliers
    buffer_reads: float = 0.0
    buffer_writes: float = 0.0
    dram: float = 0.0  # streamed weights, and their writing into the chip's memory

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(getattr(self, field.name) for field in fields(self)))

    def __add__(self, other: Energy) -> Energy:
        return Energy(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})


def energy_per_image(mapped: Plan, model: EnergyModel = HOROWITZ_45NM) -> Energy:
    """Energy of an image, in pJ."""
    layers = [layer_energy(mapped, chunk, lp, model) for chunk in mapped.chunks for lp in chunk.layers]
    return sum(layers, _ends(mapped, model))


def layer_energy(mapped: Plan, chunk: ChunkPlan, lp: LayerPlan, model: EnergyModel = HOROWITZ_45NM) -> Energy:
    """Energy of a layer's part in an image, in pJ."""
    spec = chunk.chunk
    visits = lp.tasks * lp.nest.blocks * lp.visits_per_block
    beats, groups = visits * lp.beats, visits * lp.drain_cycles
    word = spec.weights_per_cycle * chunk.weight_bits
    weight_memory = word * (chunk.weight_words + 2 * chunk.stream_words)
    parameters = spec.drain_lanes * parameter_bits(chunk)

    operation = model.add(chunk.acc_bits)
    if lp.layer.op != "max_pool":
        operation += model.multiply(chunk.weight_bits, chunk.input_bits)
    requantization = model.add(chunk.acc_bits)
    if not lp.layer.raw:
        requantization += model.multiply(chunk.acc_bits, MULTIPLIER_BITS) + model.add(chunk.acc_bits + MULTIPLIER_BITS)
    reads = beats * _read(_memory(mapped, lp.root, spec.name, "main"), model)
    if lp.residual_root is not None:
        requantization += model.multiply(chunk.residual_bits, chunk.residual_multiplier_bits)
        reads += groups * _read(_memory(mapped, lp.residual_root, spec.name, "residual"), model)
    groups_written = lp.out.height * lp.out.width * lp.channel_groups
    streamed = lp.tasks * lp.nest.blocks * block_beats(chunk, lp, mapped.accelerator.stream_bits) if lp.streams else 0
    bits = streamed * mapped.accelerator.stream_bits
    return Energy(
        macs=beats * spec.multipliers * operation,
        requantization=groups * spec.drain_lanes * requantization,
        weight_reads=beats * model.access(word, weight_memory),
        parameter_reads=groups * model.access(parameters, parameters * chunk.parameter_words),
        buffer_reads=reads,
        buffer_writes=groups_written * _writes(mapped, lp.layer.name, model),
        dram=bits * model.dram_bit + model.access(bits, weight_memory),
    )


def _ends(mapped: Plan, model: EnergyModel) -> Energy:
    """The image on its way in, and the results on their way out."""
    image, result = mapped.network.input, mapped.network.output
    out = next(memory for memory in mapped.memories if memory.reader == SINK)
    return Energy(buffer_writes=image.height * image.width * sum(
        _write(memory, model) for memory in mapped.memories if memory.writer == SOURCE),
        buffer_reads=result.height * result.width * result.channels * _read(out, model))


def _memory(mapped: Plan, tensor: str, reader: str, port: str) -> MemoryPlan:
    return next(memory for memory in mapped.memories if memory.reader == reader and memory.port == port
                and any(buffer.tensor.name == tensor for buffer in memory.buffers))


def _bits(memory: MemoryPlan) -> int:
    """Bits of one column bank."""
    return memory.depth * memory.lanes * memory.lane_bits


def _read(memory: MemoryPlan, model: EnergyModel) -> float:
    """A read of all column banks; of a word, all lanes are read and some are chosen."""
    return memory.banks * model.access(memory.lanes * memory.lane_bits, _bits(memory))


def _write(memory: MemoryPlan, model: EnergyModel) -> float:
    """A write of `write_lanes` lanes into the one memory that holds them."""
    share = memory.write_lanes / memory.lanes
    return model.access(memory.write_lanes * memory.lane_bits, round(_bits(memory) * share))


def _writes(mapped: Plan, tensor: str, model: EnergyModel) -> float:
    """A write of a channel group of `tensor` into every memory that holds it."""
    return sum(_write(memory, model) for memory in mapped.memories for buffer in memory.buffers if buffer.tensor.name == tensor)
