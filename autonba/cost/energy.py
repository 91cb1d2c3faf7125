"""Energy of an image: every operation and every access of the schedule, times an energy per
operation and per bit.

Source of the figures: M. Horowitz, "Computing's energy problem (and what we can do about it)",
ISSCC 2014, figure 1.1.9, 45 nm, 0.9 V: 8-bit addition 0.03 pJ, 8-bit multiplication 0.2 pJ (32
bits: 3.1 pJ), 64 bits from an 8 KiB memory 10 pJ (32 KiB: 20 pJ,
1 MiB: 100 pJ), 64 bits from DRAM 1.3 to 2.6 nJ. They are those of a chip of its own, not of an
FPGA, whose routing costs several
times as much: use them to compare designs, not to size a power supply. Clock, control and leakage
are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from autonba.accelerator import SINK, SOURCE
from autonba.arithmetic import MULTIPLIER_BITS
from autonba.mapping import ChunkPlan, LayerPlan, MemoryPlan, Plan
from autonba.memory_image import parameter_bits
from autonba.weight_image import block_beats

from .arrays import Real, Whole


@dataclass(frozen=True, kw_only=True)
class EnergyModel:
    """Energies in pJ. The defaults are Horowitz's, scaled between and beyond the sizes that he
    gives.
    """

    add_bit: float = 0.03 / 8
    multiply_bit_pair: float = (
        0.2 / 64
    )  # for each pair of bits of the factors; gives 3.2 pJ at 32 bits
    memory_bit: float = 10 / 64  # of a memory of `memory_bytes`
    memory_bytes: float = 8192
    dram_bit: float = 1950 / 64  # the middle of the range

    def add(self, bits: Whole) -> Real:
        """An addition or comparison."""
        return self.add_bit * bits

    def multiply(self, a_bits: Whole, b_bits: Whole) -> Real:
        """A multiplication."""
        return self.multiply_bit_pair * a_bits * b_bits

    def access(self, bits: Whole, memory_bits: Whole) -> Real:
        """Reading or writing `bits` bits of a memory on the chip; wires grow with the root of its
        size.
        """
        return self.memory_bit * bits * np.sqrt(memory_bits / 8 / self.memory_bytes)


HOROWITZ_45NM = EnergyModel()


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Energy of an image in pJ, by cause."""

    macs: float = (
        0.0  # all multipliers of a chunk in each of its beats, those that meet zeros included
    )
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
        return Energy(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in fields(self)
            }
        )


@dataclass(frozen=True, kw_only=True)
class Datapath:
    """What the energy of a chunk's operations depends on, numbers or arrays: lanes and widths in
    bits.
    """

    multipliers: Whole
    drain_lanes: Whole
    weight_bits: Whole
    input_bits: Whole
    acc_bits: Whole
    residual_bits: Whole
    residual_factor_bits: Whole
    weight_word: Whole  # bits of a word of weights
    weight_words: Whole
    parameter_word: Whole
    parameter_words: Whole

    def energy(
        self,
        model: EnergyModel,
        *,
        beats: Whole,
        multiplied: Whole,
        groups: Whole,
        requantized: Whole,
        residuals: Whole,
    ) -> tuple[Real, Real, Real, Real]:
        """(products and sums, requantization, reads of weights, reads of parameters) in pJ.

        Of `beats`, `multiplied` are not of maxima; of `groups` drained, `requantized` are not left
        raw and `residuals` have one.
        """
        acc = self.acc_bits
        macs = self.multipliers * (
            beats * model.add(acc) + multiplied * model.multiply(self.weight_bits, self.input_bits)
        )
        scaled = model.multiply(acc, MULTIPLIER_BITS) + model.add(acc + MULTIPLIER_BITS)
        requantization = self.drain_lanes * (
            groups * model.add(acc)
            + requantized * scaled
            + residuals * model.multiply(self.residual_bits, self.residual_factor_bits)
        )
        weights = beats * model.access(self.weight_word, self.weight_word * self.weight_words)
        parameters = groups * model.access(
            self.parameter_word, self.parameter_word * self.parameter_words
        )
        return macs, requantization, weights, parameters


def read(model: EnergyModel, banks: Whole, word: Whole, depth: Whole) -> Real:
    """A read of all column banks of a row buffer of `depth` words of `word` bits: all lanes of a
    word are read, some chosen.
    """
    return banks * model.access(word, depth * word)


def write(model: EnergyModel, written: Whole, word: Whole, depth: Whole) -> Real:
    """A write of `written` bits into the one memory of a bank that holds them."""
    return model.access(written, np.rint(depth * word * (written / word)))


def energy_per_image(mapped: Plan, model: EnergyModel = HOROWITZ_45NM) -> Energy:
    """Energy of an image, in pJ."""
    layers = [
        layer_energy(mapped, chunk, lp, model) for chunk in mapped.chunks for lp in chunk.layers
    ]
    return sum(layers, _ends(mapped, model))


def datapath(chunk: ChunkPlan) -> Datapath:
    """Of a planned chunk."""
    spec = chunk.chunk
    return Datapath(
        multipliers=spec.multipliers,
        drain_lanes=spec.drain_lanes,
        weight_bits=chunk.weight_bits,
        input_bits=chunk.input_bits,
        acc_bits=chunk.acc_bits,
        residual_bits=chunk.residual_bits,
        residual_factor_bits=chunk.residual_multiplier_bits,
        weight_word=spec.weights_per_cycle * chunk.weight_bits,
        weight_words=chunk.weight_words + 2 * chunk.stream_words,
        parameter_word=spec.drain_lanes * parameter_bits(chunk),
        parameter_words=chunk.parameter_words,
    )


def layer_energy(
    mapped: Plan, chunk: ChunkPlan, lp: LayerPlan, model: EnergyModel = HOROWITZ_45NM
) -> Energy:
    """Energy of a layer's part in an image, in pJ."""
    path, spec = datapath(chunk), chunk.chunk
    visits = lp.tasks * lp.nest.blocks * lp.visits_per_block
    beats, groups = visits * lp.beats, visits * lp.drain_cycles
    macs, requantization, weights, parameters = path.energy(
        model,
        beats=beats,
        multiplied=0 if lp.layer.op == "max_pool" else beats,
        groups=groups,
        requantized=0 if lp.layer.raw else groups,
        residuals=0 if lp.residual_root is None else groups,
    )
    reads = beats * _read(_memory(mapped, lp.root, spec.name, "main"), model)
    if lp.residual_root is not None:
        reads += groups * _read(_memory(mapped, lp.residual_root, spec.name, "residual"), model)
    groups_written = lp.out.height * lp.out.width * lp.channel_groups
    streamed = (
        lp.tasks * lp.nest.blocks * block_beats(chunk, lp, mapped.accelerator.stream_bits)
        if lp.streams
        else 0
    )
    bits = streamed * mapped.accelerator.stream_bits
    return Energy(
        macs=float(macs),
        requantization=float(requantization),
        weight_reads=float(weights),
        parameter_reads=float(parameters),
        buffer_reads=float(reads),
        buffer_writes=float(groups_written * _writes(mapped, lp.layer.name, model)),
        dram=float(
            bits * model.dram_bit + model.access(bits, path.weight_word * path.weight_words)
        ),
    )


def _ends(mapped: Plan, model: EnergyModel) -> Energy:
    """The image on its way in, and the results on their way out."""
    image, result = mapped.network.input, mapped.network.output
    out = next(memory for memory in mapped.memories if memory.reader == SINK)
    return Energy(
        buffer_writes=image.height
        * image.width
        * sum(_write(memory, model) for memory in mapped.memories if memory.writer == SOURCE),
        buffer_reads=result.height * result.width * result.channels * _read(out, model),
    )


def _memory(mapped: Plan, tensor: str, reader: str, port: str) -> MemoryPlan:
    return next(
        memory
        for memory in mapped.memories
        if memory.reader == reader
        and memory.port == port
        and any(buffer.tensor.name == tensor for buffer in memory.buffers)
    )


def _read(memory: MemoryPlan, model: EnergyModel) -> Real:
    return read(model, memory.banks, memory.lanes * memory.lane_bits, memory.depth)


def _write(memory: MemoryPlan, model: EnergyModel) -> Real:
    return write(
        model, memory.write_lanes * memory.lane_bits, memory.lanes * memory.lane_bits, memory.depth
    )


def _writes(mapped: Plan, tensor: str, model: EnergyModel) -> Real:
    """A write of a channel group of `tensor` into every memory that holds it."""
    return sum(
        _write(memory, model)
        for memory in mapped.memories
        for buffer in memory.buffers
        if buffer.tensor.name == tensor
    )
