"""The staged space: its tables are the exact costs, its graph and its engines agree with them, and
proofs hold.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from autonba.boards import Family
from autonba.cost.buffers import LOSS, size_buffers
from autonba.cost.energy import energy_per_image
from autonba.cost.resources import estimate
from autonba.cost.schedule import simulate
from autonba.errors import CapacityError
from autonba.mapping import lane_nest, plan
from autonba.search.accelerator.engines.engine import run_engine
from autonba.search.accelerator.engines.staged import column_generation
from autonba.search.accelerator.engines.uniform import Uniform
from autonba.search.accelerator.layers import depthwise_words, tabulate
from autonba.search.accelerator.objectives import Goal
from autonba.search.accelerator.stages.graph import StageGraph, undominated
from autonba.search.accelerator.stages.problem import StagedProblem, accelerator
from autonba.search.accelerator.stages.proof import least_needs, prove
from autonba.search.accelerator.stages.response import StageResponse
from autonba.search.accelerator.stages.tables import StageTables
from tests.search.accelerator.stages.staged_network import staged_network

NETWORK = staged_network()
LIMITS = {"dsp": 40.0, "bram": 40.0, "lut": 12_000.0, "ff": 40_000.0}


@pytest.fixture(scope="module", params=["xc7", "ecp5"])
def problem(request: pytest.FixtureRequest) -> StagedProblem:
    family: Family = request.param
    return StagedProblem(
        StageTables(tabulate(NETWORK), family), Goal(weights={"cycles": 1.0}, limits=LIMITS)
    )


@pytest.fixture(scope="module")
def xc7() -> StagedProblem:
    return StagedProblem(
        StageTables(tabulate(NETWORK), "xc7"), Goal(weights={"cycles": 1.0}, limits=LIMITS)
    )


def drawn(problem: StagedProblem, count: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [torch.randint(size, (count,), generator=generator) for size in problem.sizes], dim=1
    )


def test_cycles_dsp_and_block_ram_are_exact_and_the_rest_is_close(problem: StagedProblem) -> None:
    choices = drawn(problem, 40)
    costs = problem.evaluate(choices)
    family = problem.tables.family
    for row, choice in enumerate(choices):
        mapped = plan(NETWORK, accelerator(problem.tables, problem.decode(choice)))
        exact = estimate(mapped, family)
        found = {name: float(values[row]) for name, values in costs.resources.items()}
        assert float(costs.cycles[row]) == max(mapped.bottleneck, problem.tables.least_period)
        assert (found["dsp"], found["bram"]) == (exact.dsp, exact.bram)
        assert found["multipliers"] == mapped.accelerator.multipliers
        assert found["lut"] == pytest.approx(exact.lut, rel=0.08)
        assert found["ff"] == pytest.approx(exact.ff, rel=0.08)
        assert float(costs.energy[row]) == pytest.approx(energy_per_image(mapped).total, rel=0.06)


def test_buffers_and_latency_are_near_those_that_are_fitted(xc7: StagedProblem) -> None:
    found = column_generation(xc7, seed=1, evaluations=60_000)
    costs = xc7.evaluate(found.choice[None])
    whole = size_buffers(NETWORK, accelerator(xc7.tables, xc7.decode(found.choice)), LOSS)
    mapped = plan(NETWORK, whole)
    # A residual's buffer is assumed to have RESIDUAL_ROWS rows, which fitting may halve.
    assert estimate(mapped, "xc7").bram == pytest.approx(float(costs.resources["bram"]), abs=3)
    assert simulate(mapped, 1).first_image == pytest.approx(float(costs.latency), rel=0.2)


def test_decode_is_the_inverse_of_encode(xc7: StagedProblem) -> None:
    for choice in drawn(xc7, 50):
        stages = xc7.decode(choice)
        assert xc7.decode(xc7.encode(stages)) == stages
        one, other = xc7.evaluate(choice[None]), xc7.evaluate(xc7.encode(stages)[None])
        for name in ("cycles", "latency", "energy", "dsp", "bram", "lut", "ff"):
            assert float(one.metric(name)) == float(other.metric(name))


def test_every_path_of_the_graph_costs_what_evaluate_says(xc7: StagedProblem) -> None:
    limits = {"dsp": 40.0, "bram": 30.0, "lut": 14_000.0}
    start = column_generation(xc7, seed=1, evaluations=40_000)
    graph = StageGraph(xc7, limits, highest=1.3 * float(xc7.evaluate(start.choice[None]).cycles))
    random = np.random.default_rng(3)
    walked = 0
    for _ in range(100):
        node, busy, spent, stages = 0, [], np.zeros(len(limits)), []
        while node != graph.nodes - 1:
            arcs = graph.arcs(node)
            if not arcs:
                break
            arc = arcs[random.integers(len(arcs))]
            option = random.integers(len(arc.options))
            stages.append(graph.stage(arc.options[option]))
            busy.append(arc.busy[option])
            spent += arc.spent[option][: len(limits)]
            node = arc.target
        else:
            walked += 1
            costs = xc7.evaluate(xc7.encode(stages)[None])
            fixed = dict(zip(graph.resources, xc7.tables.fixed[graph._columns], strict=False))
            assert max(busy) == float(costs.cycles)
            for name, amount in zip(graph.resources, spent, strict=False):
                assert amount + fixed[name] == float(costs.metric(name)), name
    assert walked > 5


def test_nothing_beats_the_proof(xc7: StagedProblem) -> None:
    start = column_generation(xc7, seed=1, evaluations=60_000)
    best, bound = prove(xc7, start, seconds=20)
    assert bound.proven
    assert best.feasible
    for seed in (2, 3, 4):
        found = column_generation(xc7, seed=seed, evaluations=400_000)
        assert found.feasible
        assert (
            bound.objective
            <= float(xc7.evaluate(found.choice[None]).cycles)
            <= 1.01 * bound.objective
        )
    assert (
        start.feasible is False or float(xc7.evaluate(start.choice[None]).cycles) >= bound.objective
    )


@pytest.mark.parametrize("weights", [{"energy": 1.0}, {"dsp": 1.0}])
def test_other_objectives_are_proven_too(xc7: StagedProblem, weights: dict[str, float]) -> None:
    own = replace(xc7, goal=Goal(weights=weights, limits=LIMITS | {"cycles": 20_000.0}))
    found = column_generation(own, seed=1, evaluations=60_000)
    assert found.feasible
    best, bound = prove(own, found, seconds=5)
    value = float(own.goal.value(own.evaluate(found.choice[None])).exp())
    assert bound.lower <= bound.objective * (1 + 1e-9)
    assert bound.objective <= value * (1 + 1e-9)
    assert value <= 1.2 * bound.lower
    assert best.feasible


def test_no_candidate_needs_less_than_the_least(xc7: StagedProblem) -> None:
    least = least_needs(xc7)
    costs = xc7.evaluate(drawn(xc7, 4096))
    for name, amount in least.items():
        assert amount <= float(costs.metric(name).min()), name


def test_an_impossible_period_is_refused_by_the_bounds(xc7: StagedProblem) -> None:
    assert StageGraph(xc7, LIMITS, highest=least_needs(xc7)["cycles"] - 1).empty
    own = replace(xc7, goal=Goal(weights={"cycles": 1.0}, limits=LIMITS | {"cycles": 600.0}))
    start = run_engine(Uniform, own, seed=1, evaluations=512)
    with pytest.raises(CapacityError):
        prove(own, start, seconds=10)


def test_a_response_keeps_the_target_and_is_cheap(xc7: StagedProblem) -> None:
    prices = {"dsp": 1 / 40, "bram": 1 / 40, "lut": 1 / 12_000}
    costs = xc7.evaluate(drawn(xc7, 4096))
    total = sum(price * costs.metric(name) for name, price in prices.items())
    response = StageResponse(xc7)
    for target in (8_000.0, 20_000.0):
        choice = response.respond(target, prices)
        assert choice is not None
        own = xc7.evaluate(choice[None])
        assert float(own.cycles) <= target
        assert float(sum(price * own.metric(name) for name, price in prices.items())) < float(
            total[costs.cycles <= target].min()
        )
    assert response.respond(1.0, prices) is None


def test_what_is_assembled_keeps_every_limit_where_no_response_does(xc7: StagedProblem) -> None:
    response, limits = StageResponse(xc7), LIMITS
    optimum = prove(xc7, column_generation(xc7, seed=1, evaluations=60_000), seconds=20)[
        1
    ].objective
    target = 1.02 * optimum
    assert response.assemble(target, {}, 100) is None  # nothing was considered yet
    random = np.random.default_rng(5)
    within = []
    for _ in range(60):
        choice = response.respond(
            target,
            dict(zip(limits, random.random(len(limits)) / list(limits.values()), strict=True)),
        )
        assert choice is not None
        within.append(bool(xc7.goal.feasible(xc7.evaluate(choice[None]))))
    found = response.assemble(target, {}, 400)
    assert found is not None
    assert bool(xc7.goal.feasible(xc7.evaluate(found[None])))
    assert float(xc7.evaluate(found[None]).cycles) <= target
    assert not all(within)
    assert response.assemble(optimum - 1, {}, 400) is None
    cheap = response.assemble(target, {"energy": 1.0}, 400)
    assert cheap is not None
    assert float(xc7.evaluate(cheap[None]).energy) <= float(xc7.evaluate(found[None]).energy)


def test_words_of_depthwise_layers_are_those_of_the_mapping() -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        channels, out = int(random.integers(1, 100)), int(random.choice([2, 8, 12, 24, 64]))
        into = int(random.choice([1, 4, 16, 32]))
        order = tuple(range(channels))
        if channels > 1:
            assert (
                depthwise_words(channels, out, into)
                == lane_nest(channels, out, into, order, order).words
            )


def test_undominated_points() -> None:
    points = np.array([[1.0, 3.0], [2.0, 2.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0]])
    assert sorted(undominated(points)) == [0, 1, 3]
