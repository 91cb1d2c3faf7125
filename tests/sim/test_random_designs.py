"""Random designs are legal, reproducible, and reach the corners of the space."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from autonba.accelerator import Accelerator
from autonba.arithmetic import value_range
from autonba.cost.schedule import simulate
from autonba.errors import DeadlockError, SpecError
from autonba.mapping import plan, required_buffers
from autonba.network import Network
from autonba.sim.random_designs import mobile_network, random_accelerator, random_bundle, residual_network

SEEDS = range(30)


@pytest.fixture(scope="module")
def designs() -> list[tuple[Network, Accelerator]]:
    found = []
    for seed in SEEDS:
        rng = random.Random(seed)
        network = (mobile_network if seed % 2 else residual_network)(rng)
        found.append((network, random_accelerator(rng, network)))
    return found


def test_every_design_runs(designs: list[tuple[Network, Accelerator]]) -> None:
    for network, accelerator in designs:
        assert len(simulate(plan(network, accelerator), 2).finish) == 2


def test_corners_are_reached(designs: list[tuple[Network, Accelerator]]) -> None:
    chunks = [chunk for _, accelerator in designs for chunk in accelerator.chunks]
    assert {chunk.kind for chunk in chunks} == {"conv", "depthwise"}
    assert {chunk.multiplier for chunk in chunks} == {"lut", "dsp"}
    for lanes in ("out_lanes", "in_lanes", "drain_lanes"):
        assert {getattr(chunk, lanes) for chunk in chunks} == {1, 2, 4, 8, 16}
    counts = [len(accelerator.chunks) for _, accelerator in designs]
    assert min(counts) == 1
    assert any(count == sum(layer.op != "shuffle" for layer in network.layers)
               for (network, _), count in zip(designs, counts, strict=True))
    # Depthwise layers on both kinds of chunk, and buffers from the fewest rows upwards.
    kinds = {accelerator.chunk(accelerator.allocation[layer.name]).kind
             for network, accelerator in designs for layer in network.layers if layer.is_depthwise and layer.op == "conv"}
    assert kinds == {"conv", "depthwise"}
    spare = [buffer.rows - required_buffers(network, accelerator)[buffer.tensor, buffer.reader, buffer.port]
             for network, accelerator in designs for buffer in accelerator.buffers]
    assert min(spare) == 0
    assert max(spare) > 2


def test_networks_hold_what_they_promise() -> None:
    mobile, residual = mobile_network(random.Random(1)), residual_network(random.Random(1))
    assert {layer.op for layer in mobile.layers} == {"conv", "shuffle", "global_pool"}
    assert {layer.kernel for layer in mobile.layers} >= {(1, 1), (3, 3), (5, 5)}
    assert any(layer.stride == (2, 2) for layer in mobile.layers)
    assert any(layer.residual and layer.signed for layer in mobile.layers)
    assert mobile.input.channels == 3
    assert {layer.kernel for layer in residual.layers} >= {(5, 3), (2, 2)}
    assert any(layer.groups == 4 for layer in residual.layers)
    reads = [name for layer in residual.layers for name in (layer.input, layer.residual) if name]
    assert any(reads.count(name) == 2 for name in reads)
    assert any(layer.out_channels % 2 for layer in residual.layers)


def test_a_seed_is_a_design(tmp_path: Path) -> None:
    one, two, other = (random_bundle(tmp_path / name, seed, 2) for name, seed in (("a", 11), ("b", 11), ("c", 13)))
    assert one.digest == two.digest != other.digest
    for name in ("design.json", "weights.npz", "golden.npz"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_values_use_their_range(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "a", 3, 4)
    for layer in bundle.design.network.layers:
        values = bundle.golden[layer.name]
        low, high = value_range(layer.bits, layer.signed)
        assert len(np.unique(values)) > 2, layer.name
        if layer.op == "conv" and not layer.raw:
            assert values.max() - values.min() > (high - low) / 8, layer.name


def test_too_few_rows_are_refused_or_halt(designs: list[tuple[Network, Accelerator]]) -> None:
    network, accelerator = next((n, a) for n, a in designs if len(a.chunks) > 2)
    first = accelerator.buffers[0]
    starved = Accelerator(chunks=accelerator.chunks, allocation=accelerator.allocation, buffers=tuple(
        b if b is not first else type(b)(tensor=b.tensor, reader=b.reader, port=b.port, rows=1) for b in accelerator.buffers))
    with pytest.raises((SpecError, DeadlockError)):
        simulate(plan(network, starved), 2)
