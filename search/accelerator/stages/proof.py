"""Proven optima of the staged space, and proven least needs of single metrics.

The exact solver walks `StageGraph`. It starts from a good candidate and asks for a better one: of
the periods only a narrow window below the best known one is told apart at a time, which keeps the
graph small.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from autonba.errors import CapacityError, SpecError
from autonba.search.accelerator.problem import Found

from .graph import StageGraph
from .problem import Stage, StagedProblem
from .shapes import Floats
from .solver import Objective, Solution, solve
from .tables import BRAM, COMPONENTS, ENERGY, LUT

WINDOW = 0.03  # of the best known period, below it, that is told apart at a time
ADDITIVE = ("dsp", "bram", "lut", "ff", "energy", "multipliers")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What is known of the optimum: `objective` of the best candidate, `lower`: none is below;
    `proven` where they meet.
    """

    objective: float
    lower: float
    proven: bool
    seconds: float


def least_needs(problem: StagedProblem) -> dict[str, float]:
    """Of each metric, an amount that no candidate goes below, whatever the other metrics. Energy of
    reading memories that another chunk writes is left out."""
    t = problem.tables
    additive = {
        name: _cheapest(problem, number) + float(t.fixed[number])
        for number, name in enumerate(COMPONENTS)
    }
    period = max(_fastest(problem), t.least_period)
    return {"cycles": period, "latency": period + additive.pop("lag"), **additive}


def _cheapest(problem: StagedProblem, component: int) -> float:
    """Least sum of a component over the stages: the shortest path over cuts, whatever the drain
    lanes between them.
    """
    t, cuts = problem.tables, len(problem.tables.cuts)
    memory = {BRAM: 0, LUT: 1, ENERGY: 2}.get(component)
    conv = _by_port(t.conv[..., component], t.port)  # (V, P)
    depthwise = _by_port(t.depthwise[..., component], t.depthwise_port)
    cost = np.empty(len(t.stages))
    for v in range(len(t.stages)):
        own, other = conv[v], depthwise[v]
        if memory is not None:
            own = own + t.before_conv[v, :, :, memory].min(axis=0)
            other = other + t.before_depthwise[v, :, :, memory].min(axis=0)
        row = t.between_row[v]
        if not row:
            cost[v] = own.min()
        elif memory is None:
            cost[v] = own.min() + other.min()
        else:
            cost[v] = (own[:, None] + other[None] + t.between[row, :, :, memory]).min()
    best = np.full(cuts, np.inf)
    best[0] = 0.0
    for j in range(1, cuts):
        best[j] = min(
            (best[i] + cost[v] for i in range(j) for v in t.variant[i, j] if v >= 0), default=np.inf
        )
    return float(best[-1])


def _by_port(values: Floats, port: np.ndarray) -> Floats:
    """Least values (V, ports) of the shapes with equal ports."""
    order = np.argsort(port, kind="stable")
    found: Floats = np.minimum.reduceat(
        values[:, order], np.unique(port[order], return_index=True)[1], axis=1
    )
    return found


def _fastest(problem: StagedProblem) -> float:
    """Least period, were nothing limited but the number of stages."""
    t, cuts = problem.tables, len(problem.tables.cuts)
    conv, depthwise = t.conv_busy.min(axis=1), t.depthwise_busy.min(axis=1)
    busy = np.maximum(conv, depthwise)
    cost = np.full((cuts, cuts), np.inf)
    for i, j in itertools.combinations(range(cuts), 2):
        cost[i, j] = min((busy[v] for v in t.variant[i, j] if v >= 0), default=np.inf)
    best = np.full(cuts, np.inf)
    best[0] = 0.0
    for _ in range(problem.stages):
        best = np.minimum(best, np.maximum(best[:, None], cost).min(axis=0))
    return float(best[-1])


def prove(
    problem: StagedProblem, start: Found, *, seconds: float | None = None
) -> tuple[Found, Bound]:
    """The optimum of `problem` and what is proven of it, from what an engine found; CapacityError
    where there is no candidate.

    The objective is "cycles", one additive metric, "latency", or energy times cycles.
    """
    return _Proof(problem, seconds).run(start)


class _NoTimeError(Exception):
    """Time ran out before there was a path; holds the lower bound."""


class _Proof:
    def __init__(self, problem: StagedProblem, seconds: float | None) -> None:
        self.problem, self.goal = problem, problem.goal
        self.began, self.seconds = time.process_time(), seconds
        limits = dict(self.goal.limits)
        self.most_cycles = limits.pop("cycles", np.inf)
        self.most_latency = limits.pop("latency", None)
        self.limits = limits

    @property
    def left(self) -> float | None:
        return (
            None
            if self.seconds is None
            else max(self.seconds - (time.process_time() - self.began), 0.1)
        )

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.seconds is not None and time.process_time() - self.began > self.seconds

    def run(self, start: Found) -> tuple[Found, Bound]:
        weights = {name: weight for name, weight in self.goal.weights.items() if weight}
        best = start if start.feasible else None
        if weights == {"cycles": 1.0}:
            best, lower = self.period(best)
        elif len(weights) == 1 and (name := next(iter(weights))) in ADDITIVE:
            best, lower = self.other(best, "sum", name)
        elif weights == {"latency": 1.0}:
            best, lower = self.other(best, "span", "lag")
        elif weights == {"energy": 1.0, "cycles": 1.0}:
            best, lower = self.other(best, "edp", "energy")
        else:
            raise SpecError(
                "engine exact must have one metric or energy times cycles as objective, not"
                f" {dict(weights)}"
            )
        value = self.value(best)
        proven = lower >= value * (1 - 1e-12)
        return replace(best, proven=proven), Bound(
            objective=value,
            lower=min(lower, value),
            proven=proven,
            seconds=time.process_time() - self.began,
        )

    def value(self, found: Found) -> float:
        costs = self.problem.evaluate(found.choice[None])
        value = 1.0
        for name, weight in self.goal.weights.items():
            value *= float(costs.metric(name)[0]) ** weight
        return value

    def found(self, stages: list[Stage], start: Found | None) -> Found:
        choice = self.problem.encode(stages)
        costs = self.problem.evaluate(choice[None])
        return Found(
            choice=choice,
            score=float(self.goal.score(costs)[0]),
            feasible=bool(self.goal.feasible(costs)[0]),
            evaluations=0 if start is None else start.evaluations,
            seconds=(0.0 if start is None else start.seconds) + time.process_time() - self.began,
            curve=() if start is None else start.curve,
        )

    def graph(
        self, period: float, *, value: str | None = None, lowest: float = 0.0, least: float = 0.0
    ) -> StageGraph:
        limits: Mapping[str, float] = self.limits
        if self.most_latency is not None:
            limits = {
                **limits,
                "lag": self.most_latency - max(least, self.problem.tables.least_period),
            }
        return StageGraph(self.problem, limits, value=value, highest=period, lowest=lowest)

    def solved(
        self, graph: StageGraph, objective: Objective, upper: float | None = None
    ) -> tuple[list[Stage], Solution]:
        if graph.empty:
            raise CapacityError("no accelerator keeps all limits together")
        solution = solve(
            graph,
            graph.limits,
            objective=objective,
            period_limit=graph.highest,
            seconds=self.left,
            explain=False,
            upper=np.inf if upper is None else upper,
        )
        if not solution.path:
            raise _NoTimeError(solution.lower_bound)
        return [graph.stage(option) for _, _, option in solution.path], solution

    def period(self, best: Found | None) -> tuple[Found, float]:
        """The shortest period: in windows downwards from the best known one.

        Latency is period plus lag. Lag is limited as if the period were the shortest possible one,
        `least`; where that lets a candidate through whose latency is too long, no shorter period
        than its own is possible, and `least` rises to that.
        """
        least = self.problem.tables.least_period
        while True:
            if best is not None and self.late:
                return best, least_needs(self.problem)["cycles"]
            highest = self.most_cycles if best is None else self.value(best) - 1
            lowest = (
                least
                if best is None or self.most_latency is not None
                else np.floor(highest * (1 - WINDOW))
            )
            try:
                stages, solution = self.solved(
                    self.graph(highest, lowest=lowest, least=least), "period"
                )
            except CapacityError:
                if best is None:
                    raise
                return best, self.value(best)
            except _NoTimeError as error:
                if best is None:
                    raise CapacityError(
                        "no accelerator was found in the time given; give more --seconds"
                    ) from None
                return best, self.unclipped(float(error.args[0]), lowest)
            found = self.found(stages, best)
            if not found.feasible and self.most_latency is not None:
                least = max(least + 1, solution.period)
                continue
            best = found
            if not solution.proven:
                return best, self.unclipped(solution.lower_bound, lowest)
            if self.value(best) > lowest or lowest <= least:
                return best, self.value(best)

    def unclipped(self, lower: float, lowest: float) -> float:
        """A lower bound of the period from a graph whose periods below `lowest` count as `lowest`:
        there it says nothing.
        """
        return lower if lower > lowest else least_needs(self.problem)["cycles"]

    def other(self, best: Found | None, objective: Objective, value: str) -> tuple[Found, float]:
        """Sums, energy times period, and lag plus period."""
        if self.most_latency is not None and objective != "span":
            raise SpecError(
                "engine exact must have the objective throughput or latency where latency is"
                " limited"
            )
        alike = objective == "sum"  # then periods need not be told apart
        highest = min(self.most_cycles, 1e11)
        graph = self.graph(highest, value=value, lowest=highest if alike else 0.0)
        try:
            stages, solution = self.solved(graph, objective)
        except _NoTimeError as error:
            if best is None:
                raise CapacityError(
                    "no accelerator was found in the time given; give more --seconds"
                ) from None
            return best, float(error.args[0])
        found = self.found(stages, best)
        lower = self.value(found) if solution.proven else solution.lower_bound
        if best is not None and self.value(best) < self.value(
            found
        ):  # what the proof had not yet reached
            found = best
        return found, lower
