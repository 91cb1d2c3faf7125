"""Block RAM: the rules, over arrays. Shapes of blocks are those that Yosys chooses; blocks count in
18 Kbit.
"""

from __future__ import annotations

import numpy as np

from autonba.boards import Family

from .arrays import Truth, Whole, divided_up

# (data bits, words) of the shapes a block of 18 Kbit can take: Lattice FPGA-TN-02204, AMD UG473.
BLOCK_SHAPES = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
# Words up to which a memory is built of LUTs: of 16 words each (ECP5), of 64 (AMD UG474, SLICEM),
# where block RAM is scarce.
LUT_WORDS: dict[Family, int] = {"ecp5": 32, "xc7": 128, "xcup": 128}
LEAST_BITS = 2048  # of a memory in block RAM
BYTE = 9  # bits that share a write enable
BLOCK_COST, SELECTOR_COST = (
    128,
    0.5,
)  # by which Yosys' memory_libmap chooses: of a block, of a bit of the output multiplexer


def in_blocks(width: Whole, depth: Whole, family: Family) -> Truth:
    """Whether a memory of `depth` words of `width` bits is built of block RAM; others are built of
    LUTs.
    """
    return (depth > LUT_WORDS[family]) & (width * depth >= LEAST_BITS)


def blocks(width: Whole, depth: Whole, family: Family, *, rom: bool = False) -> Whole:
    """Blocks of a memory with one write and one read port, or of a ROM, whose depth slices share
    blocks; 0 without a bit.
    """
    return _shape(width, depth, family, rom)[0]


def depth_slices(width: Whole, depth: Whole, family: Family, *, rom: bool = False) -> Whole:
    """Slices of as many words as a block holds: their outputs are multiplexed in LUTs. 1 for a
    memory that is built of LUTs.
    """
    return np.where(in_blocks(width, depth, family), _shape(width, depth, family, rom)[1], 1)


def _shape(width: Whole, depth: Whole, family: Family, rom: bool) -> tuple[Whole, Whole]:
    """Blocks and depth slices of the shape of blocks that is chosen.

    Depth slices lie beside each other in a block: bit by bit in a ROM, in a RAM in bytes of 9 bits
    with a write enable each.
    """
    best: Whole = None
    least: Whole = None
    chosen: Whole = None
    for bits, words in reversed(BLOCK_SHAPES):
        slices = divided_up(depth, words)
        kept = (
            width
            if rom
            else BYTE * divided_up(width, BYTE)
            if bits >= BYTE
            else bits * divided_up(width, bits)
        )
        found = divided_up(kept * slices, bits)
        cost = BLOCK_COST * found + SELECTOR_COST * width * (slices - 1)
        if best is None:
            best, least, chosen = found, cost, slices
            continue
        better = (cost < least) | (
            (cost == least) & ((found < best) | ((found == best) & (slices < chosen)))
        )
        best, least = np.where(better, found, best), np.where(better, cost, least)
        chosen = np.where(better, slices, chosen)
    return best, chosen


def sliced_blocks(width: Whole, depth: Whole, slice_bits: Whole, family: Family) -> Whole:
    """Blocks of a memory that is written in slices of `slice_bits`, each a RAM of its own."""
    return width // slice_bits * blocks(slice_bits, depth, family) + blocks(
        width % slice_bits, depth, family
    )
