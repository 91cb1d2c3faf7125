"""Vectorized costs, the accelerator search and its limits."""

import itertools
import statistics
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from autonba.boards import Board, Resources, find_board
from autonba.errors import CapacityError
from autonba.mapping import plan
from autonba.search.accelerator import candidates as cand
from autonba.search.accelerator import das
from autonba.search.accelerator.das import AcceleratorSearch, Target
from autonba.search.accelerator.objectives import RESOURCES, goal
from autonba.search.network import spaces
from autonba.search.network.spaces import Choice

BLOCKS = ("k3_e3", "k3_e1_g2", "skip", "k5_e1", "k3_e3")


@pytest.fixture(scope="module")
def space():
    return spaces.load("digits")


@pytest.fixture(scope="module")
def network(space):
    return spaces.network(
        space, [Choice(operator=o, bits=6) for o in BLOCKS], (1, 8, 8), [str(n) for n in range(10)]
    )


@pytest.fixture(scope="module")
def tables(space, network):
    return cand.tabulate(network, space.hardware, space.slots, spaces.slot_of)


def engine(space, board=None, constraints=None, seed=0, **more):
    board = board or find_board("ulx3s-85f")
    wanted = goal(
        board,
        board.clock_mhz,
        multipliers=space.hardware.multipliers,
        resources=space.constraints if constraints is None else constraints,
        **more,
    )
    target = Target(board=board, clock_mhz=board.clock_mhz, goal=wanted)
    return AcceleratorSearch(space=space.hardware, slots=space.slots, target=target, seed=seed)


def test_vectorized_cycles_are_those_of_the_mapping(space, network, tables):
    """Every chunk's cycles of random legal accelerators, shuffled layers included."""
    search = engine(space)
    drawn = search.random(40)
    costs = search.costs(tables, drawn)
    for n in range(40):
        accelerator = cand.accelerator(tables, space.hardware, drawn, n)
        mapped = cand.least_plan(network, accelerator)
        assert mapped.bottleneck == costs.cycles[n]
        assert sorted(c.busy for c in mapped.chunks) == sorted(int(b) for b in costs.busy[n] if b)
        assert accelerator.multipliers == costs.resources["multipliers"][n]


def test_estimated_dsps_are_close_to_exact_ones(space, network, tables):
    search = engine(space)
    search.calibrate(network, tables)
    drawn = search.random(40)
    guess = search.costs(tables, drawn).resources
    for name, slack in (("dsp", 1.6), ("lut", 2.5), ("bram", 3.0)):
        exact = [
            getattr(
                das.exact(
                    network,
                    cand.accelerator(tables, space.hardware, drawn, n),
                    search.target,
                    sized=False,
                ).resources,
                name,
            )
            for n in range(40)
        ]
        ratios = [e / float(g) for e, g in zip(exact, guess[name], strict=True) if e and g]
        assert 1 / slack < statistics.median(ratios) < slack


def test_search_beats_random_and_keeps_the_limits(space, network, tables):
    search = engine(space)
    found = das.search(network, search, tables, steps=60, samples=512)
    design = found.design
    assert search.goal.excess(design.figures) == {}
    assert design.accelerator.multipliers <= space.hardware.multipliers
    assert plan(network, design.accelerator).bottleneck == design.bound
    designs = das.random_designs(network, search, tables, count=60)
    assert len(designs) == 60
    assert all(d[name] <= search.goal.limits[name] for d in designs for name in RESOURCES)
    assert design.cycles < min(d["cycles"] for d in designs)
    assert design.cycles * 2 < statistics.median(d["cycles"] for d in designs)


def test_gamma_moves_towards_fast_accelerators(space, tables):
    """The mean score of draws from gamma falls, so that the gradient and not only luck finds
    them.
    """
    search = engine(space)

    def mean():
        drawn = das.ranked(search, tables, 400, 400)
        return float(search.score(tables, drawn).mean())

    before = mean()
    for step in range(60):
        search.step(tables, samples=512, progress=step / 60)
    assert mean() < before - 1.0


def test_same_seed_same_design(space, network, tables):
    first, second = (
        das.search(network, engine(space, seed=3), tables, steps=20, samples=256) for _ in range(2)
    )
    assert first == second


def test_board_that_cannot_hold_the_network_is_named(space, network, tables):
    board = Board(
        name="tiny",
        family="ecp5",
        part="none",
        oscillator_mhz=25.0,
        clock_mhz=50.0,
        resources=Resources(lut=900, ff=90000, dsp=100, bram=100),
    )
    with pytest.raises(CapacityError, match=r"at least \d+ lut on tiny, and the limit is 900"):
        das.search(
            network, engine(space, board=board, constraints={}), tables, steps=5, samples=128
        )


def test_constraint_cannot_exceed_the_board(space):
    limits = engine(space, find_board("arty-a7-35t"), {"dsp": 500, "bram": 10}).goal.limits
    assert limits["dsp"] == 90
    assert limits["bram"] == 10


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"min_fps": 1e6}, r"min-fps must be at most \d+\.\d images/s on ulx3s-85f at 50 MHz"),
        ({"max_latency_ms": 1e-4}, r"max-latency-ms must be at least [\d.]+ ms"),
        ({"max_energy_uj": 1e-4}, r"max-energy-uj must be at least [\d.]+ uJ"),
    ],
)
def test_constraint_out_of_reach_is_named_with_what_can_be_had(
    space, network, tables, wanted, message
):
    with pytest.raises(CapacityError, match=message):
        das.search(network, engine(space, **wanted), tables, steps=5, samples=128)


def test_time_and_energy_limits_are_met_by_exact_figures(space, network, tables):
    fast = das.search(network, engine(space), tables, steps=30, samples=256).design
    wanted = {
        "min_fps": 50e6 / (2 * fast.cycles),
        "max_latency_ms": 2 * fast.first_image / 50e3,
        "max_energy_uj": 2 * fast.energy / 1e6,
    }
    search = engine(space, objective="energy", **wanted)
    found = das.search(network, search, tables, steps=30, samples=256).design
    assert search.goal.excess(found.figures) == {}
    assert found.energy < fast.energy


def test_choices_round_trip(space):
    search = engine(space)
    drawn = search.random(100)
    again = search.candidates(search.choices(drawn))
    for name in ("count", "kind", "out", "into", "drain", "multiplier", "chunk"):
        assert torch.equal(getattr(drawn, name), getattr(again, name))


def spoilt(monkeypatch, change):
    """`das.exact`, with the smallest buffers always, and `change` applied to what it finds."""
    exact = das.exact
    monkeypatch.setattr(
        das,
        "exact",
        lambda *a, **k: change(exact(*a, **k | {"sized": False}), k.get("sized", True)),
    )
    monkeypatch.setattr(das, "EXACT_CHECKS", 3)
    monkeypatch.setattr(das, "PAIRS", 50)


def with_bram(design, bram):
    return replace(design, resources=replace(design.resources, bram=bram))


def test_limits_are_checked_again_with_the_buffers_that_lose_no_throughput(
    space, network, tables, monkeypatch
):
    """Every design keeps its limit with the smallest buffers; with its final ones, none does."""
    spoilt(monkeypatch, lambda design, sized: with_bram(design, 10_000 if sized else 1))
    search = engine(space)
    with pytest.raises(das.OutOfReachError, match="at least 10000 bram") as caught:
        das.search(network, search, tables, steps=2, samples=64)
    assert caught.value.metric == "bram"


def test_random_designs_are_checked_exactly(space, network, tables, monkeypatch):
    found = das.random_designs(network, engine(space), tables, count=3, batch=64, batches=1)
    assert len(found) == 3
    spoilt(monkeypatch, lambda design, sized: with_bram(design, 10_000))
    assert das.random_designs(network, engine(space), tables, count=3, batch=64, batches=1) == []


def test_calibration_takes_the_middle_ratio(space, network, tables, monkeypatch):
    """Exact figures that are 2, 4, 8 ... times the estimate in turn are corrected by the middle
    one.
    """
    factors = itertools.cycle([2.0, 4.0, 8.0, 16.0, 32.0])
    search = engine(space)
    estimate = {}

    def given(network, accelerator, target, **_):
        factor = next(factors)
        guess = estimate[
            accelerator.multipliers, repr(accelerator.allocation), repr(accelerator.chunks)
        ]
        return SimpleNamespace(figures={name: factor * value for name, value in guess.items()})

    accelerator = cand.accelerator

    def remembered(tables, hardware, drawn, n=0):
        made = accelerator(tables, hardware, drawn, n)
        costs = search.costs(tables, drawn.pick(torch.tensor([n])))
        estimate[made.multipliers, repr(made.allocation), repr(made.chunks)] = {
            name: float(costs.metric(name)[0]) for name in das.CORRECTED
        }
        return made

    monkeypatch.setattr(das, "exact", given)
    monkeypatch.setattr(cand, "accelerator", remembered)
    search.calibrate(network, tables, count=25)
    assert search.correction["lut"] == pytest.approx(8.0)
    assert search.correction["energy"] == pytest.approx(8.0)
