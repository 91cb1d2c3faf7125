"""Random designs are legal, reproducible, and reach the corners of the space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autonba.accelerator import Accelerator
from autonba.arithmetic import value_range
from autonba.boards import BOARDS
from autonba.cost.schedule import simulate
from autonba.errors import DeadlockError, SpecError
from autonba.mapping import plan, required_buffers
from autonba.network import Network
from autonba.sim.random_designs import features, random_bundle, random_design

SEEDS = range(60)
RARE = {  # what sixty seeds must hold between them
    "lut conv",
    "dsp conv",
    "packed conv",
    "lut depthwise",
    "dsp depthwise",
    "packed depthwise",
    "out_lanes no power of two",
    "drains in several cycles",
    "order pixel_outer",
    "order block_outer",
    "tasks of several rows",
    "weights streamed",
    "weights loadable",
    "conv",
    "max_pool",
    "shuffle",
    "groups",
    "residual",
    "residual of the image",
    "avg_pool on conv chunk",
    "avg_pool on depthwise chunk",
    "global_pool on depthwise chunk",
    "depthwise layer on depthwise chunk",
    "depthwise layer with multiplier on depthwise chunk",
    "depthwise layer with multiplier on conv chunk",
    "stride 2 or 3",
    "padding",
    "even kernel",
    "kernel not square",
    "image not square",
    "image signed",
    "several readers",
    "result is a map",
    "result requantized",
    "raw",
    "signed result",
    *(f"board {board}" for board in BOARDS),
    *(f"bits {n}" for n in range(2, 9)),
    *(f"weight bits {n}" for n in range(2, 9)),
    *(f"taps {n}" for n in (1, 2, 3, 4)),
    *(f"columns {n}" for n in (1, 2, 3, 4)),
    *(f"chunks {n}" for n in (1, 2, 3, 4)),
}


@pytest.fixture(scope="module")
def designs() -> list[tuple[Network, Accelerator, str]]:
    return [random_design(seed) for seed in SEEDS]


def test_every_design_runs(designs: list[tuple[Network, Accelerator, str]]) -> None:
    for network, accelerator, _ in designs:
        assert len(simulate(plan(network, accelerator), 2).finish) == 2


def test_corners_are_reached(designs: list[tuple[Network, Accelerator, str]]) -> None:
    found = set().union(*(features(*design) for design in designs))
    assert RARE - found == set()


def test_buffers_are_from_the_least_upwards(
    designs: list[tuple[Network, Accelerator, str]],
) -> None:
    spare = [
        buffer.rows
        - required_buffers(network, accelerator)[buffer.tensor, buffer.reader, buffer.port]
        for network, accelerator, _ in designs
        for buffer in accelerator.buffers
    ]
    assert min(spare) == 0
    assert max(spare) > 2


def test_a_seed_is_a_design(tmp_path: Path) -> None:
    one, two, other = (
        random_bundle(tmp_path / name, seed, 2) for name, seed in (("a", 11), ("b", 11), ("c", 13))
    )
    assert one.digest == two.digest != other.digest
    for name in ("design.json", "weights.npz", "golden.npz"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_values_use_their_range(tmp_path: Path) -> None:
    used = []
    for seed in range(12):
        bundle = random_bundle(tmp_path / str(seed), seed, 4)
        for layer in bundle.design.network.layers:
            values = bundle.golden[layer.name]
            low, high = value_range(layer.bits, layer.signed)
            if layer.op == "conv" and not layer.raw and values.size > 64:
                used.append((values.max() - values.min()) / (high - low))
    assert np.median(used) > 0.9


def test_too_few_rows_are_refused_or_halt(designs: list[tuple[Network, Accelerator, str]]) -> None:
    for network, accelerator, _ in designs:
        least = required_buffers(network, accelerator)
        wide = next((b for b in accelerator.buffers if least[b.tensor, b.reader, b.port] > 1), None)
        if wide is not None:
            starved = replace(
                accelerator,
                buffers=tuple(replace(b, rows=1) if b is wide else b for b in accelerator.buffers),
            )
            with pytest.raises((SpecError, DeadlockError)):
                simulate(plan(network, starved), 2)
