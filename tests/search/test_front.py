"""Sweeps: a front over limits and strategies."""

import json
from dataclasses import replace

import pytest

from autonba.errors import BundleError, CapacityError, SpecError
from autonba.files import read_json, write_json
from autonba.search import front
from autonba.search.settings import Settings

FOUND = {
    1000.0: (0.9, 2000),
    2000.0: (0.8, 2500),
    4000.0: (0.7, 2400),
}  # limit -> accuracy, images a second


@pytest.fixture
def fake(monkeypatch):
    """A search that finds what FOUND says; a limit of 9000 cannot be met."""
    runs = []

    def search(config, *, progress, resume):
        limit = next(iter(config.constraints.values()))
        runs.append(limit)
        if limit == 9000.0:
            raise CapacityError("min-fps must be at most 8000.0 images/s")
        accuracy, fps = FOUND[limit]
        bonus = 0.05 if config.strategy == "joint" else 0.0
        report = {
            "accuracy": {"integer": 1 - accuracy},  # of test images, which choose nothing
            "validation_accuracy": {"integer": accuracy + bonus},
            "clock_mhz": 50.0,
            "accelerator": {
                "cycles_per_image": 50e6 / fps,
                "energy_pj": 2e6,
                "resources": {"dsp": 1, "bram": 2, "lut": 3, "ff": 4},
            },
        }
        write_json(front.Path(config.out) / "report" / "search.json", report)

    monkeypatch.setattr(front, "run_search", search)
    return runs


def points(folder):
    return {(p["strategy"], p["value"]): p for p in read_json(folder / "front.json")["points"]}


def test_front_holds_the_points_that_no_other_beats(fake, tmp_path):
    config = Settings(out=str(tmp_path))
    lines = front.sweep(config, "min_fps", [1000.0, 2000.0, 4000.0], progress=False, resume=False)
    found = points(tmp_path)
    assert [found["joint", limit]["best"] for limit in FOUND] == [True, True, False]
    assert "another is better in both" in lines[2]
    assert "95.00 % of validation and 10.00 % of test images" in lines[0]
    assert (
        found["joint", 1000.0]["val_accuracy"],
        found["joint", 1000.0]["test_accuracy"],
    ) == pytest.approx((0.95, 0.1))
    assert found["joint", 1000.0]["energy_uj"] == pytest.approx(2.0)


def test_a_limit_out_of_reach_is_told_and_the_others_go_on(fake, tmp_path):
    lines = front.sweep(
        Settings(out=str(tmp_path)), "min_fps", [9000.0, 1000.0], progress=False, resume=False
    )
    assert "at most 8000.0 images/s" in lines[0]
    assert points(tmp_path)["joint", 9000.0]["refused"]
    with pytest.raises(CapacityError, match="no value of min_fps could be met"):
        front.sweep(Settings(out=str(tmp_path)), "min_fps", [9000.0], progress=False, resume=False)


def test_strategies_share_a_front_and_a_second_run_replaces_its_own(fake, tmp_path):
    config = Settings(out=str(tmp_path))
    for strategy in ("joint", "sequential", "sequential"):
        front.sweep(
            replace(config, strategy=strategy),
            "min_fps",
            [1000.0, 2000.0],
            progress=False,
            resume=False,
        )
    found = points(tmp_path)
    assert len(found) == len(json.loads((tmp_path / "front.json").read_text())["points"]) == 4
    assert not found["sequential", 1000.0]["best"]


def test_resume_runs_only_what_is_missing(fake, tmp_path):
    config = Settings(out=str(tmp_path))
    front.sweep(config, "min_fps", [1000.0], progress=False, resume=False)
    front.sweep(config, "min_fps", [1000.0, 2000.0], progress=False, resume=True)
    assert fake == [1000.0, 1000.0, 2000.0]  # `search` knows what is finished


def test_limits_that_print_alike_have_folders_of_their_own(fake, tmp_path):
    FOUND[1000001.0] = FOUND[1000002.0] = FOUND[1000.0]
    config = Settings(out=str(tmp_path))
    front.sweep(config, "min_fps", [1000001.0, 1000002.0], progress=False, resume=False)
    assert {point["bundle"] for point in points(tmp_path).values()} == {
        "joint_min_fps_1000001",
        "joint_min_fps_1000002",
    }


def test_a_sweep_of_a_resource_keeps_the_limit_apart_from_what_is_used(fake, tmp_path):
    config = Settings(out=str(tmp_path))
    front.sweep(config, "min_fps", [1000.0, 2000.0], progress=False, resume=False)
    lines = front.sweep(config, "dsp", [2000.0, 4000.0], progress=False, resume=False)
    found = read_json(tmp_path / "front.json")["points"]
    assert [(p["limit"], p["value"], p["dsp"]) for p in found if p["limit"] == "dsp"] == [
        ("dsp", 2000.0, 1),
        ("dsp", 4000.0, 1),
    ]
    assert len(found) == 4
    assert any("dsp 4000" in line for line in lines)


def test_a_front_that_test_images_chose_is_refused(fake, tmp_path):
    write_json(tmp_path / "front.json", {"schema_version": 1, "points": []})
    with pytest.raises(BundleError, match="schema_version must be 2"):
        front.sweep(Settings(out=str(tmp_path)), "min_fps", [1000.0], progress=False, resume=False)
    assert fake == []


def test_a_bad_value_is_found_before_the_first_search(fake, tmp_path):
    with pytest.raises(SpecError, match="min_fps must be a number"):
        front.sweep(
            Settings(out=str(tmp_path)), "min_fps", [1000.0, -1.0], progress=False, resume=False
        )
    assert fake == []
