"""Scores and limits of candidates."""

import math

import pytest
import torch

from autonba.boards import find_board
from autonba.errors import SpecError
from autonba.search.accelerator.objectives import Costs, Goal, goal

BOARD = find_board("ulx3s-85f")


def costs(cycles, energy=(10.0, 10.0), dsp=(5.0, 5.0)):
    def column(values):
        return torch.tensor(values, dtype=torch.float64)

    return Costs(
        cycles=column(cycles),
        latency=2 * column(cycles),
        energy=column(energy),
        resources={name: column(dsp) for name in ("dsp", "bram", "lut", "ff", "multipliers")},
    )


def test_objective_is_the_product_of_powers():
    score = Goal(weights={"cycles": 1.0, "energy": 2.0}).score(costs((100.0, 200.0)))
    assert score.tolist() == pytest.approx([math.log(100 * 10**2), math.log(200 * 10**2)])


def test_a_broken_limit_outweighs_the_objective():
    wanted = Goal(weights={"cycles": 1.0}, limits={"dsp": 10.0})
    found = costs((100.0, 60.0), dsp=(10.0, 12.0))
    assert wanted.feasible(found).tolist() == [True, False]
    assert wanted.score(found).argmin() == 0


def test_constraints_become_cycles_and_picojoules():
    limits = goal(
        BOARD, 50.0, min_fps=1000.0, max_latency_ms=2.0, max_energy_uj=3.0, resources={"dsp": 40}
    ).limits
    assert limits["cycles"] == 50_000
    assert limits["latency"] == 100_000
    assert limits["energy"] == 3e6
    assert limits["dsp"] == 40
    assert limits["bram"] == BOARD.resources.bram


def test_exact_figures_are_compared_with_every_limit():
    wanted = Goal(weights={"cycles": 1.0}, limits={"cycles": 100.0, "dsp": 10.0})
    assert wanted.excess({"cycles": 150.0, "dsp": 10.0}) == {"cycles": 1.5}


@pytest.mark.parametrize(
    "settings", [{"objective": "speed"}, {"min_fps": 0.0}, {"max_energy_uj": -1.0}]
)
def test_unknown_objectives_and_empty_limits_are_refused(settings):
    with pytest.raises(SpecError, match=r"objective must be one of|must be a number above 0"):
        goal(BOARD, 50.0, **settings)


def test_unknown_metrics_are_refused():
    with pytest.raises(SpecError, match=r"limits: key must be one of .*not 'watts'"):
        Goal(weights={"cycles": 1.0}, limits={"watts": 3.0})
