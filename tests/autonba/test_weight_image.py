"""Where streamed weights lie in DRAM: whole pages for each chunk, words one after another, bursts
within pages.
"""

from __future__ import annotations

import numpy as np
import pytest

from autonba.accelerator import Accelerator, Chunk, Loops
from autonba.cost.buffers import size_buffers
from autonba.cost.fetch import BOUNDARY
from autonba.golden import LayerWeights
from autonba.mapping import Plan, plan
from autonba.memory_image import weight_words
from autonba.network import Layer, Network, Tensor
from autonba.weight_image import block_bursts, stream_image, stream_layout, word_beats

STREAMED = Loops(order="block_outer", weights="stream")


@pytest.fixture(scope="module", params=[32, 256])
def mapped(request: pytest.FixtureRequest) -> Plan:
    """Two chunks that stream, the first of them more than a page, and a layer between that does
    not.
    """
    layers = (
        Layer(
            name="a",
            op="conv",
            input="input",
            out_channels=24,
            kernel=(3, 3),
            padding=(1, 1),
            shift=8,
        ),
        Layer(
            name="b", op="conv", input="a", out_channels=24, kernel=(3, 3), padding=(1, 1), shift=8
        ),
        Layer(name="c", op="conv", input="b", out_channels=8, shift=8),
        Layer(
            name="d",
            op="conv",
            input="c",
            out_channels=2,
            kernel=(4, 4),
            raw=True,
            bits=32,
            signed=True,
        ),
    )
    network = Network(
        input=Tensor(name="input", channels=3, height=4, width=4, bits=8, signed=False),
        layers=layers,
        classes=("x", "y"),
    )
    chunks = tuple(
        Chunk(name=name, kind="conv", out_lanes=4, in_lanes=2, drain_lanes=1, multiplier="lut")
        for name in ("one", "two")
    )
    return plan(
        network,
        size_buffers(
            network,
            Accelerator(
                chunks=chunks,
                allocation={"a": "one", "b": "one", "c": "two", "d": "two"},
                stream_bits=request.param,
                loops=dict.fromkeys(("a", "b", "d"), STREAMED),
            ),
        ),
    )


def test_each_chunk_begins_at_a_page(mapped: Plan) -> None:
    layout = stream_layout(mapped)
    assert layout.offsets["a"] == 0
    assert layout.offsets["b"] % BOUNDARY, "only chunks are aligned, not layers"
    assert layout.offsets["d"] >= layout.offsets["b"]
    assert layout.offsets["d"] % BOUNDARY == 0
    assert set(layout.offsets) == {"a", "b", "d"}


def test_words_follow_one_another_little_endian(mapped: Plan) -> None:
    rng = np.random.default_rng(1)
    weights = {}
    for name, lp in mapped.layers.items():
        shape = (lp.out.channels, lp.source.channels, *lp.layer.kernel)
        weights[name] = LayerWeights(
            weight=rng.integers(-128, 128, shape), bias=np.zeros(lp.out.channels, int)
        )
    image, layout = stream_image(mapped, weights), stream_layout(mapped)
    for chunk in mapped.chunks:
        size = (
            word_beats(chunk, mapped.accelerator.stream_bits) * mapped.accelerator.stream_bits // 8
        )
        for lp in chunk.layers:
            if lp.streams:
                for number, word in enumerate(weight_words(chunk, lp, weights)):
                    at = layout.offsets[lp.layer.name] + number * size
                    assert image[at : at + size] == word.to_bytes(size, "little")


def test_no_burst_of_a_block_crosses_a_page(mapped: Plan) -> None:
    beat = mapped.accelerator.stream_bits // 8
    layout = stream_layout(mapped)
    for name, blocks in block_bursts(mapped).items():
        at = layout.offsets[name]
        for length in (length for lengths in blocks for length in lengths):
            assert 1 <= length <= 256
            assert at // BOUNDARY == (at + length * beat - 1) // BOUNDARY
            at += length * beat
        assert at <= layout.size
