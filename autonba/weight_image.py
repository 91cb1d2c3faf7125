"""Streamed weights as they lie in DRAM.

Each chunk's part begins at a multiple of 4 KiB. In it lie its streamed layers in order, of each the
words of its weights (`autonba.memory_image`), each padded to whole beats of `stream_bits` bits,
little endian.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from autonba.arithmetic import ceil_div
from autonba.cost.fetch import BOUNDARY, bursts
from autonba.golden import Weights
from autonba.mapping import ChunkPlan, LayerPlan, Plan
from autonba.memory_image import weight_words


@dataclass(frozen=True, kw_only=True)
class StreamLayout:
    """Byte offset of each streamed layer, and the bytes of them all."""

    offsets: Mapping[str, int]
    size: int


def word_beats(chunk: ChunkPlan, stream_bits: int) -> int:
    """Beats of a word of the chunk's weight memory."""
    return ceil_div(chunk.chunk.weights_per_cycle * chunk.weight_bits, stream_bits)


def block_beats(chunk: ChunkPlan, lp: LayerPlan, stream_bits: int) -> int:
    """Beats of a block of a layer."""
    return lp.beats * word_beats(chunk, stream_bits)


def stream_layout(mapped: Plan) -> StreamLayout:
    """Where every streamed layer lies."""
    bits = mapped.accelerator.stream_bits
    offsets, end = {}, 0
    for chunk in mapped.chunks:
        end = ceil_div(end, BOUNDARY) * BOUNDARY
        for lp in chunk.layers:
            if lp.streams:
                offsets[lp.layer.name] = end
                end += lp.nest.blocks * block_beats(chunk, lp, bits) * bits // 8
    return StreamLayout(offsets=offsets, size=end)


def block_bursts(mapped: Plan) -> dict[str, list[list[int]]]:
    """Burst lengths of each block of each streamed layer."""
    layout, bits = stream_layout(mapped), mapped.accelerator.stream_bits
    of_layer = {}
    for chunk in mapped.chunks:
        for lp in chunk.layers:
            if lp.streams:
                beats = block_beats(chunk, lp, bits)
                start = layout.offsets[lp.layer.name]
                of_layer[lp.layer.name] = [
                    bursts(start + block * beats * bits // 8, beats, bits // 8)
                    for block in range(lp.nest.blocks)
                ]
    return of_layer


def stream_image(mapped: Plan, weights: Weights) -> bytes:
    """The DRAM's content, from the accelerator's base address on."""
    layout = stream_layout(mapped)
    image = bytearray(layout.size)
    bits = mapped.accelerator.stream_bits
    for chunk in mapped.chunks:
        word_bytes = word_beats(chunk, bits) * bits // 8
        for lp in chunk.layers:
            if lp.streams:
                words = b"".join(
                    word.to_bytes(word_bytes, "little") for word in weight_words(chunk, lp, weights)
                )
                start = layout.offsets[lp.layer.name]
                image[start : start + len(words)] = words
    return bytes(image)


def checksum(image: bytes) -> int:
    """CRC-32 (IEEE 802.3) of a DRAM image."""
    return zlib.crc32(image)
