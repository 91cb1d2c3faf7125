"""The exact schedule follows the rules, and its long run is a period that is proven, whatever a
window of images says.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import pytest

from autonba.accelerator import Accelerator, Buffer, Chunk
from autonba.bundle import Bundle
from autonba.cost.buffers import first_rows, size_buffers
from autonba.cost.schedule import Machine, Run, SteadyState, simulate, steady_state
from autonba.files import read_json
from autonba.mapping import Plan, plan, required_buffers
from autonba.network import Layer, Network, Tensor
from autonba.sim.random_designs import random_design
from tests.autonba.event_schedule import EventSchedule
from tests.autonba.test_mapping import conv_chunk, depthwise_chunk, on, shuffled_block

IMAGES = 7
COMMITTED = Path(__file__).parents[2] / "benchmarks" / "cifar10" / "design"


def with_rows(more: int) -> Plan:
    """A residual block whose buffers have `more` rows than it needs."""
    network = shuffled_block()
    bare = on(network, conv_chunk(), depthwise_chunk(lanes=2))
    least = required_buffers(network, bare)
    return plan(
        network,
        replace(
            bare,
            buffers=tuple(
                Buffer(tensor=t, reader=r, port=p, rows=rows + more)
                for (t, r, p), rows in least.items()
            ),
        ),
    )


def test_a_window_may_be_faster_than_the_accelerator_can_be_and_the_long_run_is_not() -> None:
    mapped = with_rows(40)
    finish = simulate(mapped, 64).finish
    assert (
        finish[47] - finish[16]
    ) / 31 < mapped.bottleneck  # while the buffers fill, more goes in than in the long run
    found = steady_state(mapped)
    assert found.proven
    assert found.per_image == mapped.bottleneck
    assert found.settled > 16


@pytest.mark.parametrize(
    "seed", [2, 5, 7, 9, 23, 24, 49, 117, 177]
)  # transients, periods of several images, streamed weights
def test_the_period_goes_on_as_said(seed: int) -> None:
    network, accelerator, _ = random_design(seed)
    mapped = plan(network, accelerator)
    machine, rows = Machine(mapped), [buffer.rows for buffer in mapped.buffers]
    found = machine.steady_state(rows)
    assert found.proven
    finish = list(islice(Run(machine, rows).finishes(), found.settled + 6 * found.images))
    distances = [b - a for a, b in pairwise(finish[found.settled - 1 :])]
    period = distances[: found.images]
    assert sum(period) == found.cycles
    assert distances == (6 * period)[: len(distances)]
    assert found.per_image >= machine.bound >= mapped.bottleneck


def test_a_run_that_ends_begins_like_one_that_does_not() -> None:
    mapped = with_rows(4)
    endless = islice(Run(Machine(mapped), [buffer.rows for buffer in mapped.buffers]).finishes(), 4)
    assert list(endless) == list(simulate(mapped, 12).finish)[:4]


def test_what_did_not_repeat_is_not_called_proven() -> None:
    mapped = with_rows(40)
    machine, rows = Machine(mapped), [buffer.rows for buffer in mapped.buffers]
    finish = list(islice(Run(machine, rows).finishes(), 24))
    slow, fast = finish[9] - finish[4], finish[23] - finish[11]
    assert fast < 12 * mapped.bottleneck  # which no long run can be
    assert machine.steady_state(rows, longest=10) == SteadyState(
        images=5, cycles=slow, settled=5, proven=False
    )
    kept = SteadyState(images=12, cycles=12 * mapped.bottleneck, settled=12, proven=False)
    assert machine.steady_state(rows, longest=24) == kept


def test_the_committed_design_has_the_figure_of_its_search() -> None:
    bundle = Bundle(COMMITTED)
    mapped = plan(bundle.design.network, bundle.design.accelerator)
    found, written = steady_state(mapped), read_json(COMMITTED / "report" / "search.json")
    assert found.proven
    assert found.per_image == written["accelerator"]["cycles_per_image"]


def test_sized_buffers_keep_the_long_run() -> None:
    network = shuffled_block()
    sized = size_buffers(network, on(network, conv_chunk(), depthwise_chunk(lanes=2)))
    found = steady_state(plan(network, sized))
    assert found.proven
    assert found.per_image == steady_state(with_rows(40)).per_image
    assert sum(b.rows for b in sized.buffers) < sum(
        first_rows(network, required_buffers(network, sized)).values()
    )


@pytest.mark.parametrize(
    "seed", [*range(1, 13), 28, 36, 49, 52, 177]
)  # the last five stream weights
def test_random_designs_follow_the_rules(seed: int) -> None:
    network, accelerator, _ = random_design(seed)
    check_rules(plan(network, accelerator))


def check_rules(mapped: Plan) -> None:
    """Every start, every commit and every image is where the oracle has it."""
    found, wanted = simulate(mapped, IMAGES), EventSchedule(mapped, IMAGES).run()
    assert found.starts == wanted.starts
    assert found.commits == wanted.commits
    assert list(found.finish) == wanted.finish


def test_layers_of_a_chunk_take_turns() -> None:
    """Four layers on one chunk: which of those that are ready runs next decides when each image is
    finished.
    """
    names = ("a", "b", "c", "d")
    layers = tuple(
        Layer(
            name=name,
            op="conv",
            input=source,
            out_channels=4,
            kernel=(3, 3),
            padding=(1, 1),
            shift=4,
            residual=residual,
            residual_multiplier=1 if residual else 0,
        )
        for name, source, residual in zip(
            names, ("input", *names), (None, None, "a", "b"), strict=False
        )
    )
    network = Network(
        input=Tensor(name="input", channels=4, height=6, width=6, bits=8, signed=False),
        layers=layers,
        classes=names,
    )
    chunk = Chunk(name="one", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="lut")
    other = Chunk(name="two", kind="conv", out_lanes=2, in_lanes=4, drain_lanes=2, multiplier="lut")
    for allocation in (
        dict.fromkeys(names, "one"),
        {"a": "one", "b": "two", "c": "one", "d": "one"},
    ):
        used = tuple(c for c in (chunk, other) if c.name in allocation.values())
        for tolerance in (0.0, 0.3):
            check_rules(
                plan(
                    network,
                    size_buffers(
                        network, Accelerator(chunks=used, allocation=allocation), tolerance
                    ),
                )
            )


def test_buffers_lose_what_they_may_and_no_more() -> None:
    layers = tuple(
        Layer(
            name=name,
            op="conv",
            input=source,
            out_channels=4,
            kernel=(3, 3),
            padding=(1, 1),
            shift=4,
        )
        for name, source in (("a", "input"), ("b", "a"), ("c", "b"), ("d", "c"))
    )
    network = Network(
        input=Tensor(name="input", channels=4, height=12, width=12, bits=8, signed=False),
        layers=layers,
        classes=("a", "b", "c", "d"),
    )
    chunks = (
        Chunk(name="one", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="lut"),
        Chunk(name="two", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="lut"),
    )
    bare = Accelerator(chunks=chunks, allocation={"a": "one", "b": "two", "c": "one", "d": "two"})
    paces = {}
    for tolerance in (0.0, 0.01, 0.3):
        mapped = plan(network, size_buffers(network, bare, tolerance))
        paces[tolerance] = steady_state(mapped).per_image / mapped.bottleneck
    assert paces[0.0] == 1.0
    assert 1.0 <= paces[0.01] <= 1.01
    assert paces[0.01] < paces[0.3] <= 1.3


def test_steps_that_trials_took_too_kindly_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few images a step is tried with, what is returned has the long-run speed."""
    network = shuffled_block()
    bare = on(network, conv_chunk(), depthwise_chunk())
    wanted = steady_state(plan(network, size_buffers(network, bare)))
    monkeypatch.setattr("autonba.cost.buffers.TRIAL", 2)
    assert steady_state(plan(network, size_buffers(network, bare))).per_image == wanted.per_image
