"""Whole accelerators in simulation: right RTL passes to the bit and to the cycle, planted faults do
not.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from autonba.bundle import Bundle
from autonba.cost.schedule import simulate as predict
from autonba.cost.schedule import steady_state
from autonba.errors import BundleError
from autonba.files import write_arrays
from autonba.mapping import plan
from autonba.sim.run import FAULT_BENCHES, MismatchError, prepare, run_network, simulate
from tests.sim.conftest import IMAGES, plant


def finish_of_one(report: dict[str, Any]) -> int:
    """The last cycle of an image alone."""
    first: int = report["runs"]["1"]["simulated"][0]
    return first


@pytest.mark.parametrize(("which", "images", "stalls"), [("small", 2, False), ("tiny", 4, True)])
def test_every_element_and_every_cycle(
    request: pytest.FixtureRequest, simulator: str, which: str, images: int, stalls: bool
) -> None:
    bundle: Bundle = request.getfixturevalue(which)
    report = simulate(bundle, simulator=simulator, images=images, stalls=stalls)
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    elements = sum(lp.out.channels * lp.out.height * lp.out.width for lp in mapped.layers.values())
    assert report["rtl_check"] == {"images": images, "elements": images * elements, "mismatches": 0}
    shorter = [count for count in (1, 2, 10) if count < images]
    assert report["also_compared"]["elements"] == (sum(shorter) + images * stalls) * elements
    assert list(report["runs"]) == [str(count) for count in (*shorter, images)]
    tasks = sum(lp.tasks for lp in mapped.layers.values())
    assert report["commit_check"] == {"commits": (sum(shorter) + images) * tasks, "mismatches": 0}
    for count, cycles in report["runs"].items():
        assert cycles["simulated"] == list(predict(mapped, int(count)).finish)
    finish = report["runs"][str(images)]["simulated"]
    assert report["cycles"]["predicted"] == {
        "first_image": finish_of_one(report),
        **steady_state(mapped).to_json(),
    }
    assert report["cycles"]["simulated"] == {
        "first_image": finish_of_one(report),
        "distances": [b - a for a, b in pairwise(finish)],
        "images": sum(shorter) + images,
        "differing": 0,
    }
    assert report["benches"] == dict.fromkeys(
        ("back_to_back", "stalls") if stalls else ("back_to_back",), "passed"
    )
    assert json.loads((bundle.path / "report" / "simulation.json").read_text()) == report


def test_resets_packets_and_registers(tiny: Bundle, simulator: str) -> None:
    prepared = prepare(tiny, simulator)
    assert run_network(prepared, FAULT_BENCHES, (1,), 0, seed=2) == dict.fromkeys(FAULT_BENCHES, "")


def test_a_wrong_weight_is_found_and_named(spoilt_tiny: Bundle, simulator: str) -> None:
    spoilt = spoilt_tiny
    path = spoilt.path / "rtl" / "conv0_weights.hex"
    words = path.read_text().split()
    sign = 1 << 3  # of a weight of four bits, in the first lane
    path.write_text("\n".join([f"{int(words[0], 16) ^ sign:0{len(words[0])}x}", *words[1:]]) + "\n")
    with pytest.raises(
        MismatchError,
        match=r"layer '\w+', image \d+, channel \d+, row \d+, column \d+: expected -?\d+, got",
    ):
        simulate(spoilt, simulator=simulator, images=1)
    report = json.loads((spoilt.path / "report" / "simulation.json").read_text())
    assert not report["passed"]
    assert report["rtl_check"]["mismatches"] > 0


def test_a_lost_cycle_is_found(spoilt_tiny: Bundle, simulator: str) -> None:
    # Chunks that see a row one cycle late still compute the right values.
    plant(
        spoilt_tiny,
        "row_tokens.v",
        "available <= available + commit",
        "available <= available + later",
    )
    plant(
        spoilt_tiny,
        "row_tokens.v",
        "    always @",
        "    reg [COUNT_BITS-1:0] later;\n"
        "    always @(posedge clk) later <= rst ? {COUNT_BITS{1'b0}} : commit;\n    always @",
    )
    first = (
        r"run 1, chunk 'conv0', layer 'stem', image 0, task 0: the commit must come in cycle \d+,"
        r" not \d+"
    )
    with pytest.raises(MismatchError, match=first):
        simulate(spoilt_tiny, simulator=simulator, images=2)
    report = json.loads((spoilt_tiny.path / "report" / "simulation.json").read_text())
    assert (
        report["commit_check"]["mismatches"] == report["commit_check"]["commits"]
    )  # each commit, as the first rows are late
    assert (
        report["rtl_check"]["mismatches"] > report["commit_check"]["mismatches"]
    )  # and the last words


@pytest.mark.parametrize(
    ("bench", "file", "old", "new"),
    [
        (
            "wrong_lengths",
            "accelerator.v",
            ".too_early(too_early), .too_late(too_late),\n",
            ".too_early(1'b0), .too_late(too_late),\n",
        ),
        ("registers", "accelerator.v", ".pixel_ready(s_axis_tready)", ".pixel_ready(1'b0)"),
        ("reset_in_mid_run", "accelerator.v", "reset <= rst | core_reset", "reset <= rst"),
        (
            "offered_through_a_soft_reset",
            "accelerator.v",
            "reset <= rst | core_reset",
            "reset <= rst",
        ),
        (
            "offered_through_a_soft_reset",
            "accelerator.v",
            "image_input u_input (\n        .clk(clk), .rst(reset)",
            "image_input u_input (\n        .clk(clk), .rst(rst)",
        ),
    ],
)
def test_a_broken_front_fails_its_bench(
    spoilt_tiny: Bundle, simulator: str, bench: str, file: str, old: str, new: str
) -> None:
    plant(spoilt_tiny, file, old, new)
    assert "must" in run_network(prepare(spoilt_tiny, simulator), (bench,), (1,), 0, seed=1)[bench]


def test_missing_rtl_and_wrong_goldens_are_refused(
    spoilt: Bundle, simulator: str, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = {name: values.copy() for name, values in spoilt.golden.items()}
    last = spoilt.design.network.layers[-1].name
    golden[last][0, 0, 0, 0] += 1
    write_arrays(spoilt.path / "golden.npz", golden)
    with pytest.raises(BundleError, match=r"must hold what design\.json and weights.npz give"):
        prepare(Bundle(spoilt.path), simulator)
    (spoilt.path / "rtl" / "mac_lane.v").unlink()
    with pytest.raises(
        BundleError, match=r"rtl.f names the file, and it is missing; run `autonba gen-rtl"
    ):
        prepare(spoilt, simulator)
    (spoilt.path / "rtl" / "rtl.f").unlink()
    with pytest.raises(BundleError, match="run `autonba gen-rtl"):
        simulate(spoilt, simulator=simulator)


@pytest.mark.slow
def test_verilator_agrees(small: Bundle) -> None:
    assert simulate(small, simulator="verilator", images=IMAGES, complete=True)["passed"]
