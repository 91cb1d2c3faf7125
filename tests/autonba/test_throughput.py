"""The quick schedule equals the exact one, image by image, and its buffers lose no more than they may."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.cost.schedule import simulate, size_buffers
from autonba.cost.throughput import Throughput, fit_buffers
from autonba.mapping import plan
from autonba.network import Layer, Network, Tensor
from autonba.sim.random_designs import random_bundle

IMAGES = 7


@pytest.mark.parametrize("seed", range(1, 13))
def test_random_designs_finish_in_the_cycles_of_the_exact_schedule(seed: int, tmp_path: Path) -> None:
    design = random_bundle(tmp_path, seed, 1).design
    mapped = plan(design.network, design.accelerator)
    if any(chunk.stream_words for chunk in mapped.chunks):
        pytest.skip("streamed blocks are taken to arrive in time")
    rows = [buffer.rows for buffer in mapped.buffers]
    assert Throughput(mapped).run(rows, IMAGES) == list(simulate(mapped, IMAGES).finish)


def test_layers_of_a_chunk_take_turns() -> None:
    """Four layers on one chunk: which of those that are ready runs next decides when each image is finished."""
    names = ("a", "b", "c", "d")
    layers = tuple(
        Layer(name=name, op="conv", input=source, out_channels=4, kernel=(3, 3), padding=(1, 1), shift=4,
              residual=residual, residual_multiplier=1 if residual else 0)
        for name, source, residual in zip(names, ("input", *names), (None, None, "a", "b"), strict=False))
    network = Network(input=Tensor(name="input", channels=4, height=6, width=6, bits=8, signed=False), layers=layers,
                      classes=names)
    chunk = Chunk(name="one", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="lut")
    other = Chunk(name="two", kind="conv", out_lanes=2, in_lanes=4, drain_lanes=2, multiplier="lut")
    for allocation in (dict.fromkeys(names, "one"), {"a": "one", "b": "two", "c": "one", "d": "one"}):
        used = tuple(c for c in (chunk, other) if c.name in allocation.values())
        for size in (size_buffers, fit_buffers):
            mapped = plan(network, size(network, Accelerator(chunks=used, allocation=allocation)))
            rows = [buffer.rows for buffer in mapped.buffers]
            assert Throughput(mapped).run(rows, IMAGES) == list(simulate(mapped, IMAGES).finish)


def test_fitted_buffers_lose_what_they_may_and_no_more() -> None:
    layers = tuple(Layer(name=name, op="conv", input=source, out_channels=4, kernel=(3, 3), padding=(1, 1), shift=4)
                   for name, source in (("a", "input"), ("b", "a"), ("c", "b"), ("d", "c")))
    network = Network(input=Tensor(name="input", channels=4, height=12, width=12, bits=8, signed=False), layers=layers,
                      classes=("a", "b", "c", "d"))
    chunks = (Chunk(name="one", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="lut"),
              Chunk(name="two", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="lut"))
    bare = Accelerator(chunks=chunks, allocation={"a": "one", "b": "two", "c": "one", "d": "two"})
    paces = {}
    for tolerance in (0.01, 0.3):
        mapped = plan(network, fit_buffers(network, bare, tolerance))
        paces[tolerance] = Throughput(mapped).pace([buffer.rows for buffer in mapped.buffers]) / mapped.bottleneck
    assert 1.0 <= paces[0.01] <= 1.01
    assert paces[0.01] < paces[0.3] <= 1.3
