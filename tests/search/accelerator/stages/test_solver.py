"""The exact solver against enumeration of every path of small random graphs."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from autonba.errors import CapacityError, SpecError
from autonba.search.accelerator.stages import labels
from autonba.search.accelerator.stages.path_graph import Arc, Chain, pareto
from autonba.search.accelerator.stages.solver import OBJECTIVES, InfeasibleError, combine, solve

RESOURCES = ("dsp", "bram", "lut")


@dataclass(frozen=True)
class Graph:
    nodes: int
    resources: tuple[str, ...]
    out: tuple[tuple[Arc, ...], ...]

    def arcs(self, node):
        return self.out[node]


def random_arc(rng, target, options, resources=3):
    busy = rng.integers(1, 12, options).astype(float)
    return Arc(
        target=target,
        busy=busy,
        spent=rng.integers(0, 9, (options, resources)).astype(float),
        value=rng.integers(0, 9, options).astype(float),
        options=rng.permutation(options) + 100,
    )


def random_graph(rng, nodes=5, options=4):
    out = []
    for node in range(nodes - 1):
        targets = [t for t in range(node + 1, nodes) if t == node + 1 or rng.random() < 0.5]
        out.append(tuple(random_arc(rng, t, int(rng.integers(1, options + 1))) for t in targets))
    return Graph(nodes, RESOURCES, (*out, ()))


def paths(graph):
    """(period, value, spent, path) of every path."""

    def walk(node):
        if node == graph.nodes - 1:
            yield 0.0, 0.0, np.zeros(len(graph.resources)), ()
            return
        for number, arc in enumerate(graph.arcs(node)):
            for period, value, spent, path in walk(arc.target):
                for n in range(len(arc.busy)):
                    step = (node, number, int(arc.options[n]))
                    yield (
                        max(period, arc.busy[n]),
                        value + arc.value[n],
                        spent + arc.spent[n],
                        (step, *path),
                    )

    return list(walk(0))


def check_path(graph, found):
    """The figures of a solution are those of its path, which is one of the graph's."""
    node, period, value, spent = 0, 0.0, 0.0, np.zeros(len(graph.resources))
    for at, number, option in found.path:
        assert at == node
        arc = graph.arcs(node)[number]
        n = list(arc.options).index(option)
        node, period, value, spent = (
            arc.target,
            max(period, arc.busy[n]),
            value + arc.value[n],
            spent + arc.spent[n],
        )
    assert node == graph.nodes - 1
    assert found.period == period
    np.testing.assert_allclose(found.spent, spent)
    return period, value


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(25))
def test_optimum_is_that_of_enumeration(objective, seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    every = paths(graph)
    limits = np.quantile(
        [p[2] for p in every], rng.choice([0.1, 0.3, 0.6, 1.0], 3), axis=0
    ).diagonal()
    period_limit = float(rng.choice([math.inf, 11.0, 9.0]))
    allowed = [p for p in every if (p[2] <= limits).all() and p[0] <= period_limit]
    if not allowed:
        with pytest.raises(InfeasibleError):
            solve(graph, limits, objective=objective, period_limit=period_limit)
        return
    best = min(combine(objective, p[0], p[1]) for p in allowed)
    found = solve(graph, limits, objective=objective, period_limit=period_limit)
    period, value = check_path(graph, found)
    assert found.objective == combine(objective, period, value) == best
    assert (found.spent <= limits).all()
    assert found.proven
    assert found.lower_bound == best
    assert (
        solve(graph, limits, objective=objective, period_limit=period_limit, upper=best).objective
        == best
    )


@pytest.mark.parametrize("seed", range(12))
def test_labels_alone_agree_with_multipliers(seed, monkeypatch):
    """Without Lagrange multipliers, everything rests on labels: the optimum stays."""
    monkeypatch.setattr("autonba.search.accelerator.stages.labels.ROUNDS", 0)
    monkeypatch.setattr("autonba.search.accelerator.stages.labels.HEAP", 3)
    monkeypatch.setattr("autonba.search.accelerator.stages.labels.BLOCK", 5)
    monkeypatch.setattr("autonba.search.accelerator.stages.labels.BEAM", 1)
    test_optimum_is_that_of_enumeration("period", seed)
    test_optimum_is_that_of_enumeration("edp", seed)


@pytest.mark.parametrize("beam", [1, 64])
@pytest.mark.parametrize("seed", range(30))
def test_labels_alone_decide_tight_chains(seed, beam, monkeypatch):
    """Whether there is a path at all, and the least sum, where it hangs on every resource of every
    link.
    """
    monkeypatch.setattr("autonba.search.accelerator.stages.labels.ROUNDS", 0)
    monkeypatch.setattr("autonba.search.accelerator.stages.labels.BEAM", beam)
    rng = np.random.default_rng(seed)
    graph = Chain(
        resources=RESOURCES, links=tuple(random_arc(rng, node + 1, 6) for node in range(4))
    )
    every = paths(graph)
    allowed = []
    while not allowed:
        limits = rng.integers(8, 20, 3).astype(float)
        allowed = [p for p in every if (p[2] <= limits).all()]
    for objective in ("period", "sum"):
        assert solve(graph, limits, objective=objective).objective == min(
            combine(objective, p[0], p[1]) for p in allowed
        )


@pytest.mark.parametrize("seed", range(8))
def test_binding_resource_is_named_with_its_least_need(seed):
    rng = np.random.default_rng(100 + seed)
    graph = random_graph(rng)
    every = [p[2] for p in paths(graph)]
    limits = np.full(3, 1e3)
    tight = int(rng.integers(3))
    least = min(s[tight] for s in every)
    limits[tight] = least - 1
    with pytest.raises(
        CapacityError,
        match=f"at least {least:g} {RESOURCES[tight]}, and the limit is {least - 1:g}",
    ) as error:
        solve(graph, limits)
    assert error.value.need == least


def test_limits_that_only_together_cannot_be_kept():
    """Either resource alone could be small; the one named needs what it needs within the other's
    limit.
    """
    arc = Arc(
        target=1,
        busy=np.ones(2),
        spent=np.array([[1.0, 10.0], [10.0, 1.0]]),
        value=np.zeros(2),
        options=np.arange(2),
    )
    with pytest.raises(InfeasibleError, match="at least 10 bram, and the limit is 8"):
        solve(Chain(resources=("dsp", "bram"), links=(arc,)), [5, 8])


def test_period_limit_is_named():
    arc = Arc(
        target=1,
        busy=np.array([7.0, 9.0]),
        spent=np.ones((2, 1)),
        value=np.zeros(2),
        options=np.arange(2),
    )
    with pytest.raises(InfeasibleError, match="at least 7 period, and the limit is 6"):
        solve(Chain(resources=("dsp",), links=(arc,)), [5], period_limit=6)


def test_three_limits_none_of_which_alone_is_to_blame():
    arc = Arc(
        target=1,
        busy=np.ones(1),
        spent=np.array([[4.0, 6.0, 1.0]]),
        value=np.zeros(1),
        options=np.arange(1),
    )
    with pytest.raises(InfeasibleError) as error:
        solve(Chain(resources=RESOURCES, links=(arc,)), [2, 2, 2])
    assert (error.value.resource, error.value.need) == ("bram", 6.0)


def test_large_chain_is_proven_and_time_limit_is_kept():
    rng = np.random.default_rng(3)
    links = []
    for node in range(30):
        lanes = 2.0 ** rng.integers(0, 8, 120)
        busy = np.ceil(rng.integers(5000, 50000) / lanes)
        spent = np.column_stack([lanes, lanes + rng.integers(0, 20, 120), rng.integers(1, 50, 120)])
        links.append(
            Arc(target=node + 1, busy=busy, spent=spent, value=spent.sum(1), options=np.arange(120))
        )
    graph = Chain(resources=RESOURCES, links=tuple(links))
    found = solve(graph, [600, 800, 700])
    assert found.proven
    late = solve(graph, [600, 800, 700], objective="edp", seconds=0.2)
    assert late.seconds < 2
    assert late.lower_bound <= late.objective


def test_no_options_is_no_path():
    nothing = Arc(
        target=1,
        busy=np.zeros(0),
        spent=np.zeros((0, 1)),
        value=np.zeros(0),
        options=np.zeros(0, dtype=np.int64),
    )
    one = Arc(
        target=1,
        busy=np.ones(1),
        spent=np.ones((1, 1)),
        value=np.ones(1),
        options=np.zeros(1, dtype=np.int64),
    )
    for links in ((nothing,), (one, replace(nothing, target=2)), (nothing, replace(one, target=2))):
        for objective in OBJECTIVES:
            with pytest.raises(CapacityError):
                solve(Chain(resources=("dsp",), links=links), [5], objective=objective)


def test_bad_input_is_refused():
    arc = Arc(
        target=0, busy=np.ones(1), spent=np.ones((1, 1)), value=np.zeros(1), options=np.arange(1)
    )
    graph = Chain(resources=("dsp",), links=(arc,))
    with pytest.raises(SpecError, match=r"target must be 1\.\.1, not 0"):
        solve(graph, [1])
    with pytest.raises(SpecError, match="limits must hold 1 numbers"):
        solve(graph, [1, 2])
    with pytest.raises(SpecError, match="objective must be one of"):
        solve(graph, [1], objective="speed")


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_pareto_front(columns):
    rng = np.random.default_rng(columns)
    key = rng.integers(0, 6, (700, columns)).astype(float)
    rows = {tuple(r) for r in key}
    best = {
        a
        for a in rows
        if not any(b != a and all(x <= y for x, y in zip(b, a, strict=True)) for b in rows)
    }
    kept = [tuple(r) for r in key[pareto(key)]]
    assert len(kept) == len(set(kept))
    assert set(kept) == best
    assert list(itertools.chain(pareto(np.zeros((0, columns))))) == []


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("beam", [2, 64])
def test_nothing_is_proven_before_its_time(beam, objective, monkeypatch):
    """However early the time is over: a path that is not the best is not called proven, and no
    bound is above the best.
    """
    rng = np.random.default_rng(2)
    graph = Chain(
        resources=RESOURCES, links=tuple(random_arc(rng, node + 1, 20) for node in range(8))
    )
    limits = [25.0, 25.0, 25.0]
    monkeypatch.setattr(labels, "ROUNDS", 1)
    monkeypatch.setattr(labels, "BEAM", beam)
    best = solve(graph, limits, objective=objective)
    assert best.proven
    late = 0
    for looks in range(0, 40, 2):
        left = [looks]

        def check(self, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise labels.LateError

        monkeypatch.setattr(labels.PathSolver, "check_time", check)
        found = solve(graph, limits, objective=objective)
        assert found.lower_bound <= best.objective
        assert not found.proven or found.objective == best.objective
        late += bool(found.path) and found.objective > best.objective
    assert late, "it must be stopped with a worse path at least once, to tell"
