"""Contents of the weight and parameter ROMs, in the order in which the sequencer and the writer read them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from autonba.arithmetic import MULTIPLIER_BITS, IntArray
from autonba.golden import LayerWeights, Weights
from autonba.mapping import ChunkPlan, LayerPlan


def weight_lanes(lp: LayerPlan, weights: LayerWeights) -> IntArray:
    """Weights of a layer as (words, out lanes, in lanes), zero where an output does not depend on an input.

    In a depthwise chunk, the last axis has length 1: each output lane has its own input.
    """
    kh, kw = lp.kernel
    inputs, outputs = lp.source.channels, lp.out.channels
    if lp.layer.op == "global_pool":
        dense = np.broadcast_to(np.eye(inputs, dtype=np.int64)[:, :, None, None], (inputs, inputs, kh, kw))
    else:
        assert weights.weight is not None
        dense = np.zeros((outputs, inputs, kh, kw), dtype=np.int64)
        per_in, per_out = inputs // lp.layer.groups, outputs // lp.layer.groups
        for g in range(lp.layer.groups):
            dense[g * per_out : (g + 1) * per_out, g * per_in : (g + 1) * per_in] = weights.weight[
                g * per_out : (g + 1) * per_out]
    chunk, nest = lp.chunk, lp.nest
    words = -(-inputs // chunk.in_lanes)
    physical = np.zeros((nest.blocks * chunk.out_lanes, words * chunk.in_lanes, kh, kw), dtype=np.int64)
    physical[:outputs, :inputs] = dense[np.asarray(lp.output_order)][:, np.asarray(lp.input_order)]
    # (block, out lane, word, in lane, kh, kw)
    split = physical.reshape(nest.blocks, chunk.out_lanes, words, chunk.in_lanes, kh, kw)
    blocks = []
    for block in range(nest.blocks):
        part = split[block][:, nest.of_block(block)]  # (out lane, word, in lane, kh, kw)
        beats = part.transpose(3, 4, 1, 0, 2).reshape(-1, chunk.out_lanes, chunk.in_lanes)
        if chunk.kind == "depthwise":
            beats = np.diagonal(beats, axis1=1, axis2=2)[:, :, None]
        blocks.append(beats)
    return np.concatenate(blocks)


def weight_rom(chunk: ChunkPlan, weights: Weights) -> list[int]:
    """Words of the weight ROM: out lane major, in lane 0 of out lane 0 in the low bits."""
    return [
        pack(word.ravel().tolist(), chunk.weight_bits)
        for lp in chunk.layers
        for word in weight_lanes(lp, weights.get(lp.layer.name, LayerWeights()))
    ]


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
        if own.m is not None:
            m[: len(order)] = own.m[order]
        for first in range(0, padded, lanes):
            fields = [pack([b], chunk.acc_bits) | int(k) << chunk.acc_bits if chunk.requantizes else pack([b], chunk.acc_bits)
                      for b, k in zip(bias[first : first + lanes].tolist(), m[first : first + lanes].tolist(), strict=True)]
            words.append(pack(fields, parameter_bits(chunk)))
    return words


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
