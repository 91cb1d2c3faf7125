"""Several exact products in one DSP block.

A block multiplies a wide signed port by a narrow one. Fields that lie `spacing` bits apart in the
wide port give their products with the narrow port's factor that far apart. Where the spacing is
smaller than a product, neighbouring products overlap; what the lower ones carry into a field is
known from the overlapping bits alone, which a few LUTs compute (`multiply_packed.v`).
"""

from __future__ import annotations

from dataclasses import dataclass

from autonba.accelerator import Chunk
from autonba.boards import Family

PORT_BITS: dict[Family, int] = {
    "ecp5": 18,
    "xc7": 25,
    "xcup": 27,
}  # wide signed port of MULT18X18D, DSP48E1, DSP48E2
MAX_OVERLAP = 2  # bits; a third costs five LUTs a field, and is only taken
MAX_OVERLAP_SMALL = 3  # where the operands have
SMALL_OPERANDS = 6  # bits together, the inputs of one LUT


@dataclass(frozen=True, kw_only=True)
class Packing:
    """`fields` products in one block, `spacing` bits apart."""

    fields: int
    spacing: int
    overlap: int


def pack(weight_bits: int, input_bits: int, port_bits: int) -> Packing:
    """Packing of signed weights, which share an unsigned input. The last weight keeps its sign, the
    others are made unsigned.
    """
    return _most(weight_bits, input_bits, port_bits, least_overlap=0)


def pack_columns(weight_bits: int, input_bits: int, port_bits: int) -> Packing:
    """Packing of unsigned inputs, which share a signed weight; the port's sign bit stays zero."""
    return _most(input_bits, weight_bits, port_bits - 1, least_overlap=1)


def _most(field_bits: int, factor_bits: int, port_bits: int, least_overlap: int) -> Packing:
    """The most fields, as far apart as the port lets them be."""
    product_bits = field_bits + factor_bits
    most = MAX_OVERLAP_SMALL if product_bits <= SMALL_OPERANDS else MAX_OVERLAP
    least_spacing = product_bits - min(most, field_bits, factor_bits)
    fields = 1 + (port_bits - field_bits) // least_spacing
    spacing = product_bits - least_overlap
    if fields > 1:
        spacing = min(spacing, (port_bits - field_bits) // (fields - 1))
    return Packing(fields=fields, spacing=spacing, overlap=product_bits - spacing)


def cut(bits: int, port_bits: int) -> tuple[int, ...]:
    """Where a signed factor of `bits` is cut into parts for the wide port, 0 and `bits` included; a
    multiplier for each part.
    """
    return (0, *range(port_bits - 1, bits - 1, port_bits - 1), bits)


def chunk_packing(chunk: Chunk, weight_bits: int, input_bits: int, port_bits: int) -> Packing:
    """Packing of a chunk's array with operands of these widths, `input_bits` unsigned."""
    return (pack if chunk.kind == "conv" else pack_columns)(weight_bits, input_bits, port_bits)
