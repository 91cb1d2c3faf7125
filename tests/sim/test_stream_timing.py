"""Streamed designs against memories of other latencies, cycle by cycle, and reset in the middle of
bursts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autonba.accelerator import Loops
from autonba.bundle import Bundle, write_bundle
from autonba.cost.buffers import size_buffers
from autonba.cost.schedule import simulate
from autonba.hwgen.generate import generate
from autonba.sim import check
from autonba.sim.run import FAULT_BENCHES, prepare, run_network

STREAMED = Loops(order="block_outer", weights="stream")


@pytest.fixture(scope="module")
def streamed(tiny: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """`tiny` with all weights but those of `wide` in DRAM, so that both chunks differ."""
    design = tiny.design
    accelerator = replace(
        design.accelerator,
        stream_bits=32,
        loops={"stem": replace(STREAMED, rows=2), "logits": STREAMED},
    )
    design = replace(design, accelerator=size_buffers(design.network, accelerator))
    bundle = write_bundle(tmp_path_factory.mktemp("streamed"), design, tiny.weights, tiny.golden)
    generate(bundle)
    return bundle


@pytest.mark.parametrize(
    "latency", [2, 3, 7, 300]
)  # axi_memory.v answers after two cycles at the earliest
def test_cycles_follow_the_latency(
    streamed: Bundle, tmp_path: Path, simulator: str, latency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autonba.sim.testbench.STREAM_LATENCY", latency)
    prepared = prepare(streamed, simulator, folder=tmp_path)
    images = len(streamed.golden["images"])
    assert run_network(prepared, ("back_to_back",), (1, images), 0, seed=1) == {"back_to_back": ""}
    for number, count in enumerate((1, images), 1):
        schedule = simulate(prepared.plan, count, latency)
        assert check.finish_cycles(tmp_path, number) == schedule.finish
        found = check.Comparison()
        check.compare_commits(found, tmp_path, prepared.plan, number, schedule.commits)
        assert (found.notes, found.commits) == (
            [],
            count * sum(lp.tasks for lp in prepared.plan.layers.values()),
        )


def test_a_reset_lets_bursts_pass(streamed: Bundle, tmp_path: Path, simulator: str) -> None:
    prepared = prepare(streamed, simulator, folder=tmp_path)
    assert run_network(prepared, FAULT_BENCHES, (1,), 0, seed=2) == dict.fromkeys(FAULT_BENCHES, "")
