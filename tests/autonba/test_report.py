"""The report: the published fields, null where a stage has not run, the same bytes twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autonba import report
from autonba.bundle import Bundle, check_schema, write_json
from autonba.cost.schedule import simulate
from autonba.errors import BundleError, SpecError
from autonba.mapping import plan
from autonba.report import summarize, write_report
from autonba.sim.random_designs import random_bundle

FLOW = {"schema_version": 1, "resources": {"lut": 100, "ff": 90, "dsp": 8, "bram": 7}, "fmax_mhz": 61.5, "clock_mhz": 50.0,
        "met": True, "bitstream": "flow/ecp5/x.bit", "board": "ulx3s-85f", "part": "LFE5U-85F-6BG381C"}


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
    assert summary["cycles"]["simulated"] == {"first_image": None, "per_image": None}
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    assert summary["cycles"]["predicted"]["first_image"] == simulate(mapped, 1).first_image
    assert summary["resources"]["synthesized"] == {}
    assert summary["digest"] == bundle.digest


def test_what_stages_found_is_copied(bundle: Bundle) -> None:
    cycles = {"first_image": 1000, "per_image": 400.0}
    write_json(bundle.path / "report" / "simulation.json", {
        "schema_version": 1, "digest": bundle.digest, "cycles": {"predicted": cycles, "simulated": cycles},
        "rtl_check": {"images": 100, "elements": 77, "mismatches": 0}})
    write_json(bundle.path / "report" / "flow_ecp5.json", FLOW)
    summary = summary_of(bundle)
    assert summary["fps"]["simulated"] == bundle.design.target.clock_mhz * 1e6 / 400
    assert summary["rtl_check"] == {"images": 100, "elements": 77, "mismatches": 0}
    assert summary["fmax_mhz"] == {"ecp5": 61.5}
    assert summary["resources"]["synthesized"] == {"ecp5": FLOW["resources"]}


def test_errors_are_of_the_prediction(bundle: Bundle) -> None:
    """A prediction of 80 where 100 were found is 20 % too low."""
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    summary = summarize(bundle, mapped, {"flow_ecp5": FLOW})
    summary["resources"]["predicted"] = {"lut": 80, "ff": 90, "dsp": 10, "bram": 0}
    summary["cycles"]["predicted"]["first_image"], summary["cycles"]["simulated"]["first_image"] = 1500, 1000
    errors = {row["name"]: row["error"] for row in report._comparisons(summary)}
    assert errors["LUT, ecp5"] == pytest.approx(-0.2)
    assert errors["FF, ecp5"] == pytest.approx(0.0)
    assert errors["DSP, ecp5"] == pytest.approx(0.25)
    assert errors["BRAM, ecp5"] == pytest.approx(-1.0)
    assert errors["cycles, first image"] == pytest.approx(0.5)


def test_a_few_images_say_nothing_about_the_steady_state(bundle: Bundle) -> None:
    short = {"first_image": 1000, "per_image": 1.5}
    write_json(bundle.path / "report" / "simulation.json", {
        "schema_version": 1, "digest": bundle.digest, "cycles": {"predicted": short, "simulated": short},
        "rtl_check": {"images": 3, "elements": 77, "mismatches": 0}})
    summary = summary_of(bundle)
    assert summary["cycles"]["simulated"] == {"first_image": 1000, "per_image": None}
    assert summary["utilization"] <= 1


def test_a_damaged_report_is_one_sentence(bundle: Bundle) -> None:
    write_json(bundle.path / "report" / "simulation.json", {"schema_version": 1})
    with pytest.raises(BundleError, match="as the stages write them"):
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
