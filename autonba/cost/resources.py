"""Resources of an accelerator: DSP and block RAM as synthesis counts them, LUT and FF fitted to synthesis runs.

DSP and block RAM follow Yosys' `synth_ecp5` exactly, constant ROM columns and idle multipliers included, when the
weights are known; without them every lane counts as used. For AMD families, DSP and block RAM follow the data sheets
(DSP48E1 multiplies 25x18 bits, DSP48E2 27x18; blocks of 18 Kbit) and have not been compared with Vivado.
"""

from __future__ import annotations

from autonba.accelerator import Chunk
from autonba.arithmetic import MULTIPLIER_BITS, ceil_div, clog2
from autonba.boards import Family, Resources
from autonba.golden import LayerWeights, Weights
from autonba.mapping import ChunkPlan, MemoryPlan, Plan
from autonba.memory_image import parameter_bits, parameter_rom, weight_lanes, weight_rom

# (data bits, words) of the shapes a block of 18 Kbit can take: Lattice FPGA-TN-02204, AMD UG473.
BLOCK_SHAPES = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
_MULTIPLIER_PORTS: dict[Family, tuple[int, int]] = {"ecp5": (18, 18), "xc7": (25, 18), "xcup": (27, 18)}


def uses_block_ram(width: int, depth: int) -> bool:
    """Whether a memory of `depth` words of `width` bits is built of block RAM; smaller ones are built of LUTs."""
    return depth > 32 and width * depth >= 2048


def block_rams(width: int, depth: int, family: Family = "ecp5", *, rom: bool = False) -> int:
    """Blocks of 18 Kbit for a memory with one write and one read port, or for a ROM, whose depth slices share blocks."""
    if width == 0:
        return 0
    choices = []
    for bits, words in BLOCK_SHAPES:
        slices = ceil_div(depth, words)
        blocks = ceil_div(width * slices, bits) if rom else ceil_div(width, bits) * slices
        choices.append((128 * blocks + 0.5 * width * (slices - 1), blocks))  # Yosys also weighs the output multiplexer
    return min(choices)[1] if family == "ecp5" else min(blocks for _, blocks in choices)


def product_dsps(a_bits: int, b_bits: int, family: Family = "ecp5") -> int:
    """DSP blocks of a signed `a_bits` x `b_bits` product."""
    if min(a_bits, b_bits) < 2:
        return 0
    if family == "ecp5":
        return _ecp5_pieces(a_bits) * _ecp5_pieces(b_bits)
    wide, narrow = _MULTIPLIER_PORTS[family]
    return min(ceil_div(max(a_bits - 1, 1), wide - 1) * ceil_div(max(b_bits - 1, 1), narrow - 1),
               ceil_div(max(b_bits - 1, 1), wide - 1) * ceil_div(max(a_bits - 1, 1), narrow - 1))


def _ecp5_pieces(bits: int) -> int:
    # A piece of one bit goes to LUTs.
    return bits // 18 if bits > 18 and bits % 18 == 1 else ceil_div(bits, 18)


def multiplier_dsps(chunk: Chunk, weight_bits: int, input_bits: int, family: Family = "ecp5") -> int:
    """DSP blocks of the array, every lane used."""
    return chunk.multipliers * product_dsps(weight_bits, input_bits, family) if chunk.multiplier == "dsp" else 0


def requantizer_dsps(chunk: ChunkPlan, family: Family = "ecp5") -> int:
    """DSP blocks of one requantizer."""
    if not chunk.requantizes:
        return 0
    residual = product_dsps(chunk.residual_bits, chunk.residual_multiplier_bits + 1, family) if chunk.residual_bits else 0
    return product_dsps(chunk.acc_bits, MULTIPLIER_BITS + 1, family) + residual


def estimate(mapped: Plan, family: Family = "ecp5", weights: Weights | None = None) -> Resources:
    """Resources of module `accelerator`, without a board's own logic."""
    dsp = bram = 0
    lut, ff = _BASE_LUT, _BASE_FF
    for chunk in mapped.chunks:
        dsp += _array_dsps(chunk, family, weights) + chunk.chunk.drain_lanes * requantizer_dsps(chunk, family)
        bram += _rom_blocks(chunk, family, weights)
        chunk_lut, chunk_ff = _chunk_logic(chunk, mapped)
        lut, ff = lut + chunk_lut, ff + chunk_ff
    for memory in mapped.memories:
        blocks, memory_lut, memory_ff = _memory(memory, family, mapped.network.input.channels)
        bram, lut, ff = bram + blocks, lut + memory_lut, ff + memory_ff
    return Resources(lut=round(lut), ff=round(ff), dsp=dsp, bram=bram)


def _array_dsps(chunk: ChunkPlan, family: Family, weights: Weights | None) -> int:
    """DSP blocks of the array; a multiplier whose weight is always zero is removed by synthesis."""
    if chunk.chunk.multiplier == "lut":
        return 0
    used = chunk.chunk.multipliers
    if weights is not None:
        ever = sum(abs(weight_lanes(lp, weights.get(lp.layer.name, LayerWeights()))).max(axis=0) for lp in chunk.layers)
        used = int((ever > 0).sum())
    return used * product_dsps(chunk.weight_bits, chunk.input_bits, family)


def _rom_blocks(chunk: ChunkPlan, family: Family, weights: Weights | None) -> int:
    """Blocks of both ROMs; columns that never change are removed by synthesis."""
    total = 0
    weight_bits, lane_bits = chunk.chunk.multipliers * chunk.weight_bits, parameter_bits(chunk)
    for width, depth, words in (
        (weight_bits, chunk.weight_words, None if weights is None else weight_rom(chunk, weights)),
        (chunk.chunk.drain_lanes * lane_bits, chunk.parameter_words,
         None if weights is None else parameter_rom(chunk, weights)),
    ):
        if uses_block_ram(width, depth):
            total += block_rams(width if words is None else changing_bits(words), depth, family, rom=True)
    return total


def changing_bits(words: list[int]) -> int:
    """Bits that are not the same in all words."""
    changed = 0
    for word in words:
        changed |= word ^ words[0]
    return changed.bit_count()


# LUT and FF: sums over the parts of a design of width times a coefficient, in LUT4 and flip-flops of the ECP5.
_BASE_LUT, _BASE_FF = 420.0, 430.0


def _chunk_logic(chunk: ChunkPlan, mapped: Plan) -> tuple[float, float]:
    spec, products = chunk.chunk, chunk.chunk.multipliers
    product_bits = chunk.weight_bits + chunk.input_bits
    levels = clog2(spec.in_lanes) if spec.kind == "conv" else 0
    adders = spec.out_lanes * ((1 << levels) - 1) * (product_bits + levels)
    lut = adders + 2.0 * spec.out_lanes * chunk.acc_bits + spec.out_lanes * chunk.acc_bits
    ff = products * (chunk.weight_bits + product_bits) + spec.in_lanes * chunk.input_bits + adders / 2
    ff += 2.0 * spec.out_lanes * chunk.acc_bits
    if spec.multiplier == "lut":
        lut += products * (chunk.weight_bits - 1) * product_bits
    lane = chunk.acc_bits + MULTIPLIER_BITS
    lut += spec.drain_lanes * 6.0 * lane
    ff += spec.drain_lanes * 5.0 * lane
    lut += 420.0 + 150.0 * len(chunk.layers)
    ff += 420.0 + 55.0 * len(chunk.layers)
    for width, depth in ((products * chunk.weight_bits, chunk.weight_words),
                         (spec.drain_lanes * parameter_bits(chunk), chunk.parameter_words)):
        if not uses_block_ram(width, depth):
            lut += width * max(depth / 16, 1.0)
    return lut, ff


def _memory(memory: MemoryPlan, family: Family, channels: int) -> tuple[int, float, float]:
    """Block RAMs, LUTs and FFs of a row buffer."""
    width = memory.write_lanes * memory.lane_bits
    banks = memory.lanes // memory.write_lanes
    if memory.writer == "input":
        width = channels * memory.lane_bits  # lanes without a channel are removed
    select = memory.read_lanes * memory.lane_bits * (memory.lanes // memory.read_lanes - 1)
    if uses_block_ram(memory.write_lanes * memory.lane_bits, memory.depth):
        return banks * block_rams(width, memory.depth, family), select, 0.0
    return 0, select + banks * width * ceil_div(memory.depth, 16), banks * width
