"""ROM contents against the layers they were made of, read back the way the hardware reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.arithmetic import MULTIPLIER_BITS
from autonba.cost.buffers import size_buffers
from autonba.golden import LayerWeights
from autonba.mapping import LayerPlan, plan
from autonba.memory_image import hex_lines, pack, parameter_bits, parameter_rom, weight_lanes
from autonba.network import Layer, Network, Tensor
from autonba.sim.random_designs import random_bundle


def reconstruct(lp: LayerPlan, lanes: np.ndarray) -> np.ndarray:
    """Dense (O, I, KH, KW) weights in logical channels from ROM words."""
    kh, kw = lp.kernel
    chunk, depthwise = lp.chunk, lp.chunk.kind == "depthwise"
    dense = np.zeros((lp.out.channels, lp.source.channels, kh, kw), dtype=np.int64)
    words = iter(lanes)
    for block in range(lp.nest.blocks):
        for ky in range(kh):
            for step in range(0, kw, chunk.taps):
                for word in lp.nest.of_block(block):
                    value = next(words).reshape(chunk.out_lanes, chunk.taps, -1)
                    for o, tap, i in np.ndindex(chunk.out_lanes, chunk.taps, chunk.in_lanes):
                        out, source = block * chunk.out_lanes + o, word * chunk.in_lanes + i
                        if depthwise and o != i:
                            continue
                        weight = value[o, tap, 0 if depthwise else i]
                        if (
                            out < lp.out.channels
                            and source < lp.source.channels
                            and step + tap < kw
                        ):
                            dense[lp.output_order[out], lp.input_order[source], ky, step + tap] += (
                                weight
                            )
                        else:
                            assert weight == 0
    assert next(words, None) is None
    return dense


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_words_hold_every_weight_once(seed: int, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path, seed, 1)
    for lp in plan(bundle.design.network, bundle.design.accelerator).layers.values():
        dense = reconstruct(lp, weight_lanes(lp, bundle.weights[lp.layer.name]))
        groups = lp.groups
        ins, outs = lp.source.channels // groups, lp.out.channels // groups
        wanted = np.zeros_like(dense)
        for g in range(groups):
            part = bundle.weights[lp.layer.name].weight
            rows = slice(g * outs, (g + 1) * outs)
            wanted[rows, g * ins : (g + 1) * ins] = 1 if part is None else part[rows]
        np.testing.assert_array_equal(dense, wanted, err_msg=lp.layer.name)


def test_words_are_twos_complement_lowest_first() -> None:
    assert pack([-1, 1, -2], 4) == 0xE1F
    assert hex_lines([0x1F, 0xE1F], 12) == "01f\ne1f\n"


def test_parameters_follow_the_stored_order_of_channels() -> None:
    """A depthwise layer behind a shuffle keeps the shuffled order; packed, its biases make up for
    the offset of signed inputs.
    """
    channels = 8
    layers = (
        Layer(
            name="expand",
            op="conv",
            input="input",
            out_channels=channels,
            groups=2,
            shift=4,
            signed=True,
        ),
        Layer(name="mix", op="shuffle", input="expand", out_channels=channels, groups=2),
        Layer(
            name="depthwise",
            op="conv",
            input="mix",
            out_channels=channels,
            kernel=(3, 3),
            padding=(1, 1),
            groups=channels,
            shift=4,
        ),
        Layer(
            name="logits",
            op="conv",
            input="depthwise",
            out_channels=2,
            kernel=(4, 4),
            raw=True,
            bits=32,
            signed=True,
        ),
    )
    network = Network(
        input=Tensor(name="input", channels=2, height=4, width=4, bits=8, signed=False),
        layers=layers,
        classes=("a", "b"),
    )
    chunks = (
        Chunk(name="c", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=2, multiplier="lut"),
        Chunk(
            name="d",
            kind="depthwise",
            out_lanes=4,
            in_lanes=4,
            columns=2,
            drain_lanes=2,
            multiplier="packed",
        ),
    )
    accelerator = size_buffers(
        network,
        Accelerator(chunks=chunks, allocation={"expand": "c", "depthwise": "d", "logits": "c"}),
    )
    chunk = plan(network, accelerator).chunks[1]
    order = chunk.layers[0].output_order
    assert order != tuple(range(channels))
    assert chunk.offset_layers == {"depthwise"}
    rng = np.random.default_rng(1)
    own = LayerWeights(
        weight=rng.integers(-9, 9, (channels, 1, 3, 3)),
        bias=rng.integers(-99, 99, channels),
        m=rng.integers(1, 1 << MULTIPLIER_BITS, channels),
    )
    assert own.weight is not None
    assert own.bias is not None
    assert own.m is not None
    words = parameter_rom(chunk, {"depthwise": own})
    bits, acc = parameter_bits(chunk), chunk.acc_bits
    fields = [word >> (lane * bits) & ((1 << bits) - 1) for word in words for lane in range(2)]
    biases = [
        ((field & ((1 << acc) - 1)) ^ (1 << (acc - 1))) - (1 << (acc - 1)) for field in fields
    ]
    wanted = own.bias - chunk.input_offset * own.weight.sum(axis=(1, 2, 3))
    assert biases == [wanted[c] for c in order]
    assert [field >> acc for field in fields] == [own.m[c] for c in order]
