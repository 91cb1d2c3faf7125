"""Resources of an accelerator: DSP and block RAM exactly as synthesis counts them, LUT and FF fitted."""

from __future__ import annotations


def uses_block_ram(width: int, depth: int) -> bool:
    """Whether a memory of `depth` words of `width` bits is built of block RAM; smaller ones are built of LUTs."""
    return depth > 32 and width * depth >= 2048
