"""Contents of the weight and parameter ROMs, in the order in which the sequencer and the writer
read them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from autonba.arithmetic import MULTIPLIER_BITS, IntArray, ceil_div
from autonba.golden import LayerWeights, Weights
from autonba.mapping import ChunkPlan, LayerPlan


def weight_lanes(lp: LayerPlan, weights: LayerWeights) -> IntArray:
    """Weights of a layer as (words, out lanes, terms), zero where an output does not depend on an
    input.

    A conv chunk's terms are `taps` times `in_lanes`, a depthwise chunk's only `taps`, since each
    output lane has its own input.
    """
    chunk, nest = lp.chunk, lp.nest
    kh, kw = lp.kernel
    taps_BOWIYX = _by_lane(lp, weights)
    padded = np.zeros((*taps_BOWIYX.shape[:5], lp.kernel_steps * chunk.taps), dtype=np.int64)
    padded[..., :kw] = taps_BOWIYX
    split = padded.reshape(*taps_BOWIYX.shape[:5], lp.kernel_steps, chunk.taps)
    # (block, ky, step, word, out lane, tap, in lane)
    beats = split.transpose(0, 4, 5, 2, 1, 6, 3)
    return beats.reshape(
        nest.blocks * kh * lp.kernel_steps * nest.words, chunk.out_lanes, chunk.terms
    )


def _by_lane(lp: LayerPlan, weights: LayerWeights) -> IntArray:
    """Weights as (block, out lane, word of the block, in lane, kh, kw); one in lane in a depthwise
    chunk.
    """
    chunk, nest, (kh, kw) = lp.chunk, lp.nest, lp.kernel
    inputs, outputs = lp.source.channels, lp.out.channels
    per_in, per_out = inputs // lp.groups, outputs // lp.groups
    if lp.layer.is_pool:
        values = np.ones((outputs, 1, kh, kw), dtype=np.int64)
    else:
        assert weights.weight is not None
        values = weights.weight
    if chunk.kind == "depthwise":
        lanes = np.zeros((nest.blocks * chunk.out_lanes, kh, kw), dtype=np.int64)
        lanes[:outputs] = values[np.asarray(lp.output_order), 0]
        return lanes.reshape(nest.blocks, chunk.out_lanes, 1, 1, kh, kw)
    place = np.empty(inputs, dtype=np.int64)
    place[np.asarray(lp.input_order)] = np.arange(inputs)  # physical number of each input channel
    dense = np.zeros(
        (nest.blocks * chunk.out_lanes, ceil_div(inputs, chunk.in_lanes) * chunk.in_lanes, kh, kw),
        dtype=np.int64,
    )
    for physical, channel in enumerate(lp.output_order):
        group = channel // per_out
        dense[physical, place[group * per_in : (group + 1) * per_in]] = values[channel]
    split = dense.reshape(nest.blocks, chunk.out_lanes, -1, chunk.in_lanes, kh, kw)
    return np.stack([split[block][:, nest.of_block(block)] for block in range(nest.blocks)])


def weight_rom(chunk: ChunkPlan, weights: Weights) -> list[int]:
    """Words of the weights that stay on the chip: out lane major, term 0 of out lane 0 in the low
    bits.
    """
    return [
        word for lp in chunk.layers if not lp.streams for word in weight_words(chunk, lp, weights)
    ]


def weight_words(chunk: ChunkPlan, lp: LayerPlan, weights: Weights) -> list[int]:
    """Words of a layer's weights, in the order in which they are read."""
    lanes = weight_lanes(lp, weights.get(lp.layer.name, LayerWeights()))
    return [pack(word, chunk.weight_bits) for word in lanes.reshape(len(lanes), -1).tolist()]


def parameter_rom(chunk: ChunkPlan, weights: Weights) -> list[int]:
    """Words of the parameter ROM: for each drain lane, the bias in the low `acc_bits`, then m."""
    lanes = chunk.chunk.drain_lanes
    words = []
    for lp in chunk.layers:
        own = weights.get(lp.layer.name, LayerWeights())
        padded = lp.nest.blocks * chunk.chunk.out_lanes
        order = np.asarray(lp.output_order)
        bias, m = np.zeros(padded, dtype=np.int64), np.zeros(padded, dtype=np.int64)
        if own.bias is not None:
            bias[: len(order)] = own.bias[order]
        if lp.layer.name in chunk.offset_layers:
            bias[: len(order)] -= chunk.input_offset * _weight_sums(lp, own)[order]
        if own.m is not None:
            m[: len(order)] = own.m[order]
        for first in range(0, padded, lanes):
            fields = [
                (
                    pack([b], chunk.acc_bits) | int(k) << chunk.acc_bits
                    if chunk.requantizes
                    else pack([b], chunk.acc_bits)
                )
                for b, k in zip(
                    bias[first : first + lanes].tolist(),
                    m[first : first + lanes].tolist(),
                    strict=True,
                )
            ]
            words.append(pack(fields, parameter_bits(chunk)))
    return words


def _weight_sums(lp: LayerPlan, weights: LayerWeights) -> IntArray:
    """Sum of each output channel's weights."""
    if weights.weight is None:
        return np.full(lp.out.channels, lp.kernel[0] * lp.kernel[1])
    sums: IntArray = weights.weight.sum(axis=(1, 2, 3))
    return sums


def parameter_bits(chunk: ChunkPlan) -> int:
    """Bits of a drain lane's parameters."""
    return chunk.acc_bits + (MULTIPLIER_BITS if chunk.requantizes else 0)


def pack(values: Iterable[int], bits: int) -> int:
    """`values` as two's complement fields of `bits` bits, the first one lowest."""
    word = 0
    for i, value in enumerate(values):
        word |= (value & ((1 << bits) - 1)) << (i * bits)
    return word


def hex_lines(words: list[int], bits: int) -> str:
    """$readmemh text."""
    digits = -(-bits // 4)
    return "".join(f"{word:0{digits}x}\n" for word in words)
