"""Resources of an accelerator: DSP and block RAM as synthesis counts them, LUT and FF fitted to synthesis runs.

DSP and block RAM follow Yosys' `synth_ecp5` exactly when the weights are known, since it removes ROM columns that never
change; without them every column counts. For AMD families they follow the data sheets (DSP48E1 multiplies 25x18 bits,
DSP48E2 27x18; blocks of 18 Kbit). They agree with Yosys' `synth_xilinx` on the designs of `benchmarks/resources_xc7.json` and
`resources_xcup.json`, which are small; nothing has been compared with Vivado.
LUT and FF are those of `autonba.cost.logic`. `python -m benchmarks.fit_resources fit` prints how far off they are.
"""

from __future__ import annotations

from autonba.accelerator import SOURCE, Accelerator, Chunk
from autonba.arithmetic import ceil_div
from autonba.boards import Family, Resources
from autonba.cost.logic import Logic, logic, logic_model_error
from autonba.golden import Weights
from autonba.mapping import ChunkPlan, MemoryPlan, Plan
from autonba.memory_image import parameter_bits, parameter_rom, weight_rom
from autonba.packing import PORT_BITS, array_dsps, cut

__all__ = [
    "LUT_WORDS", "block_rams", "changing_bits", "dsp_blocks", "estimate", "logic_breakdown", "logic_model_error",
    "multiplier_dsps", "product_dsps", "ram_blocks", "requantizer_dsps", "uses_block_ram",
]

# (data bits, words) of the shapes a block of 18 Kbit can take: Lattice FPGA-TN-02204, AMD UG473.
BLOCK_SHAPES = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
# Words up to which a memory is built of LUTs: of 16 words each (ECP5), of 64 (AMD UG474, SLICEM), where block RAM is scarce.
LUT_WORDS: dict[Family, int] = {"ecp5": 32, "xc7": 128, "xcup": 128}
_MULTIPLIER_PORTS: dict[Family, tuple[int, int]] = {"ecp5": (18, 18), "xc7": (25, 18), "xcup": (27, 18)}


def uses_block_ram(width: int, depth: int, family: Family = "ecp5") -> bool:
    """Whether a memory of `depth` words of `width` bits is built of block RAM; smaller ones are built of LUTs."""
    return depth > LUT_WORDS[family] and width * depth >= 2048


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
    """DSP blocks of the array. A multiplier whose weight is always zero counts: synthesis does not remove it."""
    if chunk.multiplier == "packed":
        return array_dsps(chunk, weight_bits, input_bits, PORT_BITS[family])
    return chunk.multipliers * product_dsps(weight_bits, input_bits, family) if chunk.multiplier == "dsp" else 0


def requantizer_dsps(chunk: ChunkPlan, family: Family = "ecp5") -> int:
    """DSP blocks of one requantizer."""
    if not chunk.requantizes:
        return 0
    residual = product_dsps(chunk.residual_bits, chunk.residual_multiplier_bits + 1, family) if chunk.residual_bits else 0
    return len(cut(chunk.acc_bits, PORT_BITS[family])) - 1 + residual


def dsp_blocks(mapped: Plan, family: Family = "ecp5") -> int:
    """DSP blocks of module `accelerator`."""
    return sum(multiplier_dsps(chunk.chunk, chunk.weight_bits, chunk.input_bits, family)
               + chunk.chunk.drain_lanes * requantizer_dsps(chunk, family) for chunk in mapped.chunks)


def ram_blocks(mapped: Plan, family: Family = "ecp5", weights: Weights | None = None) -> int:
    """Block RAMs of 18 Kbit of module `accelerator`."""
    return (sum(_weight_blocks(chunk, family, weights, mapped.accelerator) for chunk in mapped.chunks)
            + sum(_memory_blocks(memory, family, mapped.network.input.channels) for memory in mapped.memories))


def logic_breakdown(mapped: Plan, family: Family = "ecp5", weights: Weights | None = None) -> dict[str, dict[Logic, float]]:
    """LUT and FF of each part of module `accelerator`, the largest first."""
    parts = logic(mapped, family, lambda width, depth: uses_block_ram(width, depth, family), weights)
    return dict(sorted(parts.items(), key=lambda item: -item[1]["lut"]))


def estimate(mapped: Plan, family: Family = "ecp5", weights: Weights | None = None) -> Resources:
    """Resources of module `accelerator`, without a board's own logic."""
    parts = logic_breakdown(mapped, family, weights).values()
    return Resources(lut=round(sum(part["lut"] for part in parts)), ff=round(sum(part["ff"] for part in parts)),
                     dsp=dsp_blocks(mapped, family), bram=ram_blocks(mapped, family, weights))


def _weight_blocks(chunk: ChunkPlan, family: Family, weights: Weights | None, accelerator: Accelerator) -> int:
    """Blocks of weights and parameters. Columns of a ROM that never change are removed by synthesis; a memory that is loaded or
    streamed into is a RAM for each slice of its words."""
    total = 0
    weight_bits, lane_bits = chunk.chunk.weights_per_cycle * chunk.weight_bits, parameter_bits(chunk)
    for width, depth, written, words in (
        (weight_bits, chunk.weight_words + 2 * chunk.stream_words, accelerator.loadable or chunk.stream_words > 0,
         None if weights is None else weight_rom(chunk, weights)),
        (chunk.chunk.drain_lanes * lane_bits, chunk.parameter_words, accelerator.loadable,
         None if weights is None else parameter_rom(chunk, weights)),
    ):
        if not uses_block_ram(width, depth, family):
            continue
        if written:
            slice_bits = accelerator.stream_bits
            total += sum(block_rams(min(slice_bits, width - low), depth, family) for low in range(0, width, slice_bits))
        else:
            total += block_rams(width if words is None else changing_bits(words), depth, family, rom=True)
    return total


def changing_bits(words: list[int]) -> int:
    """Bits that are not the same in all words."""
    changed = 0
    for word in words:
        changed |= word ^ words[0]
    return changed.bit_count()


def _memory_blocks(memory: MemoryPlan, family: Family, channels: int) -> int:
    """Block RAMs of a row buffer: in each column bank a memory for each `write_lanes` lanes."""
    if not uses_block_ram(memory.write_lanes * memory.lane_bits, memory.depth, family):
        return 0
    lanes = channels if memory.writer == SOURCE else memory.write_lanes  # input lanes without a channel are removed
    return memory.banks * (memory.lanes // memory.write_lanes) * block_rams(lanes * memory.lane_bits, memory.depth, family)
