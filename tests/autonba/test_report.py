"""The report: the published fields, null where a stage has not run, the same bytes twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autonba import report
from autonba.bundle import Bundle, check_schema
from autonba.cost.schedule import simulate, steady_state
from autonba.errors import BundleError, SpecError
from autonba.files import write_json
from autonba.mapping import plan
from autonba.report import summarize, write_report
from autonba.sim.random_designs import random_bundle

FLOW = {
    "schema_version": 1,
    "resources": {"lut": 100, "ff": 90, "dsp": 8, "bram": 7},
    "fmax_mhz": 61.5,
    "clock_mhz": 50.0,
    "met": True,
    "bitstream": "flow/ecp5/x.bit",
    "board": "ulx3s-85f",
    "part": "LFE5U-85F-6BG381C",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return random_bundle(tmp_path, 14, 1)


def summary_of(bundle: Bundle) -> dict:  # type: ignore[type-arg]
    path, _ = write_report(bundle)
    document: dict = json.loads(path.read_text())  # type: ignore[type-arg]
    return document


def test_stages_that_have_not_run_are_null(bundle: Bundle) -> None:
    summary = summary_of(bundle)
    assert set(summary["accuracy"].values()) == {None}
    assert set(summary["rtl_check"].values()) == {None}
    assert summary["cycles"]["simulated"] == dict.fromkeys(
        ("first_image", "distances", "images", "differing")
    )
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    long_run = steady_state(mapped)
    assert summary["cycles"]["predicted"] == {
        "first_image": simulate(mapped, 1).first_image,
        **long_run.to_json(),
    }
    assert summary["fps"] == bundle.design.target.clock_mhz * 1e6 / long_run.per_image
    assert summary["resources"]["synthesized"] == {}
    assert summary["digest"] == bundle.digest


def test_what_stages_found_is_copied(bundle: Bundle) -> None:
    seen = {"first_image": 1000, "distances": [900, 800], "images": 4, "differing": 0}
    write_json(
        bundle.path / "report" / "simulation.json",
        {
            "schema_version": 1,
            "digest": bundle.digest,
            "cycles": {"predicted": {}, "simulated": seen},
            "rtl_check": {"images": 100, "elements": 77, "mismatches": 0},
        },
    )
    write_json(bundle.path / "report" / "flow_ecp5.json", FLOW)
    summary = summary_of(bundle)
    assert summary["cycles"]["simulated"] == seen
    assert summary["rtl_check"] == {"images": 100, "elements": 77, "mismatches": 0}
    assert summary["fmax_mhz"] == {"ecp5": 61.5}
    assert summary["resources"]["synthesized"] == {"ecp5": FLOW["resources"]}


def test_errors_are_of_the_prediction(bundle: Bundle) -> None:
    """A prediction of 80 where 100 were found is 20 % too low."""
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    summary = summarize(bundle, mapped, {"flow_ecp5": FLOW})
    summary["resources"]["predicted"] = {"lut": 80, "ff": 90, "dsp": 10, "bram": 0}
    summary["cycles"]["predicted"]["first_image"], summary["cycles"]["simulated"]["first_image"] = (
        1500,
        1000,
    )
    errors = {row["name"]: row["error"] for row in report._comparisons(summary)}
    assert errors["LUT, ecp5"] == pytest.approx(-0.2)
    assert errors["FF, ecp5"] == pytest.approx(0.0)
    assert errors["DSP, ecp5"] == pytest.approx(0.25)
    assert errors["BRAM, ecp5"] == pytest.approx(-1.0)
    assert errors["cycles, first image"] == pytest.approx(0.5)


@pytest.mark.parametrize("images", [4, 200])
def test_the_long_run_is_that_of_the_schedule_however_long_the_simulation(
    bundle: Bundle, images: int
) -> None:
    seen = {"first_image": 1000, "distances": [7] * (images - 1), "images": images, "differing": 1}
    alone = summary_of(bundle)
    write_json(
        bundle.path / "report" / "simulation.json",
        {
            "schema_version": 1,
            "digest": bundle.digest,
            "cycles": {"predicted": {}, "simulated": seen},
            "rtl_check": {"images": images, "elements": 77, "mismatches": 0},
        },
    )
    summary = summary_of(bundle)
    for key in ("fps", "utilization"):
        assert summary[key] == alone[key]
    assert summary["cycles"]["predicted"] == alone["cycles"]["predicted"]


def test_a_damaged_report_is_one_sentence(bundle: Bundle) -> None:
    write_json(bundle.path / "report" / "simulation.json", {"schema_version": 1})
    with pytest.raises(
        BundleError,
        match=r"simulation.json: cycles must be an object, not None; run `autonba sim` again",
    ):
        write_report(bundle)


def test_figures_of_another_design_are_left_out(bundle: Bundle) -> None:
    write_json(bundle.path / "report" / "flow_ecp5.json", {**FLOW, "digest": "0" * 64})
    assert summary_of(bundle)["fmax_mhz"] == {}


def test_same_bytes_twice_and_nothing_from_outside(bundle: Bundle) -> None:
    files = write_report(bundle)
    first = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    assert [path.read_bytes() for path in write_report(bundle)] == first
    page = files[1].read_text()
    assert "src=" not in page
    assert "<link" not in page


def test_the_schema_wants_every_field(bundle: Bundle) -> None:
    summary = summary_of(bundle)
    for key in summary:
        with pytest.raises(SpecError, match=key):
            check_schema({k: v for k, v in summary.items() if k != key}, "summary", "summary.json")
