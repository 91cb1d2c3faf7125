"""The Gantt chart shows the exact schedule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autonba import report_schedule
from autonba.cost.schedule import simulate, steady_state
from autonba.mapping import Plan, plan
from autonba.report_pictures import schedule_picture
from autonba.report_schedule import bars, chart
from autonba.sim.random_designs import random_bundle

STREAMING = 28  # a seed whose design streams weights


def mapped_of(tmp_path: Path, seed: int) -> Plan:
    bundle = random_bundle(tmp_path, seed, 1)
    return plan(bundle.design.network, bundle.design.accelerator, bundle.weights)


@pytest.mark.parametrize("seed", [14, 3, STREAMING])
def test_a_chunk_does_one_task_at_a_time_and_all_of_its_busy_cycles(
    tmp_path: Path, seed: int
) -> None:
    mapped = mapped_of(tmp_path, seed)
    found = chart(mapped, steady_state(mapped))
    for chunk in mapped.chunks:
        own = np.concatenate([found.spans[lp.layer.name].reshape(-1, 2) for lp in chunk.layers])
        own = own[np.argsort(own[:, 0])]
        assert (own[1:, 0] >= own[:-1, 1]).all()
        for lp in chunk.layers:
            spent = np.diff(found.spans[lp.layer.name], axis=2)
            assert (spent >= lp.task_cycles if lp.streams else spent == lp.task_cycles).all()


@pytest.mark.parametrize("seed", [14, 3, STREAMING])
def test_panels_are_of_a_run_without_end(tmp_path: Path, seed: int) -> None:
    """More images behind those shown change nothing in the windows, and the last one repeats."""
    mapped = mapped_of(tmp_path, seed)
    steady = steady_state(mapped)
    found, last = chart(mapped, steady), steady.settled + steady.images
    longer = simulate(mapped, len(found.finish) + 30)
    end = found.steady.end
    assert found.finish[found.steady.images[-1]] == end == longer.finish[found.steady.images[-1]]
    for name in mapped.layers:
        mine, theirs = found.spans[name][..., 0].ravel(), np.array(longer.starts[name])
        assert mine[mine < end].tolist() == theirs[theirs < end].tolist()
    assert found.finish[last - 1] - found.finish[steady.settled - 1] == steady.cycles


def test_bars_of_single_cycles_are_the_tasks() -> None:
    spans = [np.array([[[0, 3], [7, 9]], [[10, 12], [14, 15]]]), np.array([[[3, 5]], [[12, 14]]])]
    assert bars(spans, 0, 15, 100) == [(0, 5, 0), (7, 9, 0), (10, 15, 1)]
    assert bars(spans, 4, 11, 100) == [(4, 5, 0), (7, 9, 0), (10, 11, 1)]
    assert bars(spans, 20, 30, 100) == []


def test_short_tasks_are_seen_in_their_layers_lane_and_short_gaps_in_the_chunks() -> None:
    layer = np.array([[[500, 501]], [[900, 901]]])
    assert [image for _, _, image in bars([layer], 0, 1000, 10)] == [0, 1]
    assert bars([layer, layer + 1], 0, 1000, 10) == []


def test_a_period_out_of_reach_is_not_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = mapped_of(tmp_path, 3)
    steady = steady_state(mapped)
    assert chart(mapped, steady).period == steady
    monkeypatch.setattr(report_schedule, "MOST_TASKS", 1)
    short = chart(mapped, type(steady)(images=1, cycles=9, settled=2000, proven=True))
    assert short.period is None
    assert len(short.finish) < 100
    assert "not yet periodic" in schedule_picture(short)["svg"]


def test_chunks_layers_and_images_are_named(tmp_path: Path) -> None:
    mapped = mapped_of(tmp_path, 14)
    drawn = schedule_picture(chart(mapped, steady_state(mapped)))
    for svg in (drawn["svg"], drawn["narrow"]):
        for chunk in mapped.chunks:
            assert f">{chunk.chunk.name}</text>" in svg
        assert "0 out</text>" in svg
    for name in mapped.layers:
        assert f">{name}</text>" in drawn["svg"]
