"""Module benches pass generated RTL and fail on planted faults."""

from __future__ import annotations

from autonba.bundle import Bundle
from autonba.sim.modules import run_all
from tests.sim.conftest import plant

ALL = ("module row_buffer", "module row_tokens", "module mac_array", "module requantizer")


def test_modules_equal_their_twins(small: Bundle, simulator: str) -> None:
    assert run_all(small, simulator, seed=3) == dict.fromkeys(ALL, "")


def test_every_bench_finds_its_fault(spoilt: Bundle, simulator: str) -> None:
    plant(spoilt, "row_buffer.v", "assign read_data = word;", "assign read_data = word ^ 1'b1;")
    plant(spoilt, "row_tokens.v", "free <= free + release_read - claim_write;", "free <= free - claim_write;")
    plant(spoilt, "mac_lane.v", "sum_first ? {ACC_BITS{1'b0}} : accumulator", "accumulator")
    for chunk in spoilt.design.accelerator.chunks:
        plant(spoilt, f"requantize_{chunk.name}.v", "$signed(acc)", "$signed(~acc)")
    failures = run_all(spoilt, simulator, seed=3)
    assert {name for name, text in failures.items() if "must" in text} == set(ALL)
