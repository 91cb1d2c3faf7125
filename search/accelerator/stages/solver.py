"""The exact accelerator solver: a resource-constrained path in a directed acyclic graph, proven
best.

An accelerator is a path: every arc is a chunk, every option of an arc a way to build it, with the
cycles an image that it is `busy`, what it has `spent` of each resource, and an additive `value`.
Throughput is the busiest chunk's, so its *period* is a bottleneck; resources and energy are sums. A
fixed set of chunks is the chain 0 -> 1 -> ... (`Chain`).

Whether a path exists within limits is decided in three steps (`labels`): Lagrange multipliers
refute it or happen on a path; labels, only the most promising kept, find a path; all labels kept
prove that there is none. Suffix R: resources.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from autonba.errors import CapacityError, SpecError

from . import labels
from .labels import SLACK, LateError, PathSolver
from .path_graph import Arc, Floats, Ints, OptionGraph

Objective = Literal["period", "sum", "edp", "span"]
OBJECTIVES = ("period", "sum", "edp", "span")
CLOSE = 1e-8  # relative: values that differ by less count as equal
TINY = 1e-9  # stands for a limit of 0 in a quotient


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A path as (node, number of the arc, option) of every step, its figures, and what is proven:
    no path within the limits has an objective below `lower_bound`; `proven` where that is the
    path's own. Without a path (time ran out) `path` is empty."""

    path: tuple[tuple[int, int, int], ...]
    period: float
    spent: Floats
    value: float
    objective: float
    proven: bool
    lower_bound: float
    seconds: float


class InfeasibleError(CapacityError):
    """No path is within the limits: `resource` needs at least `need`, the others being within
    theirs, and `limit` is less.
    """

    def __init__(self, resource: str, need: float, limit: float, text: str | None = None) -> None:
        super().__init__(
            text
            or f"the accelerator needs at least {need:.9g} {resource}, and the limit is {limit:.9g}"
        )
        self.resource, self.need, self.limit = resource, need, limit


class _Best:
    """The best path so far, its objective, and what is known of better ones."""

    def __init__(self, options: labels.Options) -> None:
        self.options = options
        self.path = np.zeros(0, dtype=np.int64)
        self.period = self.value = self.objective = math.inf
        self.lower = -math.inf

    def offer(self, path: Ints, objective: Objective) -> None:
        """Take a path where it is better."""
        period = float(self.options.busy[path].max())
        value = float(self.options.cost[path, 0].sum()) if objective != "period" else 0.0
        reached = combine(objective, period, value)
        if reached < self.objective:
            self.path, self.period, self.value, self.objective = path, period, value, reached


def combine(objective: Objective, period: float, value: float) -> float:
    """The objective of a path: "period", "sum" of value, "edp" (period * value) or "span" (period +
    value).
    """
    return {"period": period, "sum": value, "edp": period * value, "span": period + value}[
        objective
    ]


def solve(
    graph: OptionGraph,
    limits: Sequence[float] | Floats,
    *,
    objective: Objective = "period",
    period_limit: float = math.inf,
    seconds: float | None = None,
    upper: float = math.inf,
    explain: bool = True,
) -> Solution:
    """The path with the least objective whose resources sum up to at most `limits` (R,), of a
    period of at most `period_limit`.

    "period": the largest `busy` of the path; "sum": the sum of its `value`; "edp": their product;
    "span": period + sum of value (values at least 0). `upper` is an objective known to be reached:
    nothing worse is looked at. `seconds` of CPU time end the search without a proof. Raises
    InfeasibleError, which names the binding resource (or "period"), its least need and the limit;
    to find them takes longer than to find that there is no path, so it can be told not to
    `explain`.
    """
    if objective not in OBJECTIVES:
        raise SpecError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
    limits_R = np.asarray(limits, dtype=np.float64)
    if limits_R.shape != (len(graph.resources),):
        raise SpecError(
            f"limits must hold {len(graph.resources)} numbers ({', '.join(graph.resources)}), not"
            f" {limits_R.size}"
        )
    found = _search(graph, limits_R, objective, period_limit, seconds, upper)
    if found is None and not explain:
        raise InfeasibleError(
            "resources", math.inf, math.inf, "no accelerator keeps all limits together"
        )
    if found is None:
        raise _explain(
            graph,
            limits_R,
            min(period_limit, upper if objective == "period" else math.inf),
            seconds,
        )
    return found


def _search(
    graph: OptionGraph,
    limits_R: Floats,
    objective: Objective,
    cap: float,
    seconds: float | None,
    upper: float = math.inf,
) -> Solution | None:
    """`solve`; None where there is no path."""
    began = time.process_time()
    valued = objective != "period"
    deadline = math.inf if seconds is None else began + seconds
    solver = PathSolver(labels.graph_options(graph, valued), valued=valued, deadline=deadline)
    best = _Best(solver.options)

    def note(path: Ints, floor: float) -> None:
        best.offer(path, "sum")
        best.lower = floor

    try:
        if objective == "period":
            possible = _least_period(solver, limits_R, min(cap, upper), best, objective)
        elif objective == "sum":
            possible = _least_value(solver, limits_R, cap, upper, note) is not None
        else:
            possible = _least_of_both(solver, limits_R, cap, upper, best, objective)
    except LateError:
        possible = True
    if not possible:
        return None
    every = solver.options
    cost_R = (
        every.cost[best.path].sum(0) if len(best.path) else np.full(every.cost.shape[1], np.inf)
    )
    lower = min(best.lower, best.objective)
    return Solution(
        path=tuple(
            (int(every.node[n]), int(every.arc[n]), int(every.number[n])) for n in best.path
        ),
        period=best.period,
        spent=cost_R[1:] if solver.valued else cost_R,
        value=best.value,
        objective=best.objective,
        proven=len(best.path) > 0 and lower >= best.objective,
        lower_bound=lower,
        seconds=time.process_time() - began,
    )


def _least_period(
    solver: PathSolver, limits_R: Floats, cap: float, best: _Best, objective: Objective
) -> bool:
    """Bisection over the distinct periods: with multipliers only, then with a beam of labels, then
    with all labels.

    Whether a path exists; the period of `best` is then the least, which `best.lower` follows where
    that is the objective.
    """
    periods = np.unique(solver.options.busy[solver.options.busy <= cap])
    low, high = 0, len(periods)  # below `low` nothing exists; at `high` something does

    def refuted(below: int) -> None:
        nonlocal low
        low = max(low, below)
        if objective == "period":
            best.lower = float(periods[low]) if low < len(periods) else math.inf

    def ask(index: int, *, beam: int | None = None, probe: bool = False) -> bool | None:
        nonlocal high
        period = float(periods[index])
        exists, path = (
            solver.probe(period, limits_R)[:2] if probe else solver.decide(period, limits_R, beam)
        )
        if exists:
            best.offer(path, objective)
            high = min(high, int(np.searchsorted(periods, solver.options.busy[path].max())))
        elif exists is False:
            refuted(index + 1)
        return exists

    refuted(0)
    if (
        not len(periods)
        or (ask(len(periods) - 1, beam=labels.BEAM) or ask(len(periods) - 1)) is False
    ):
        return False
    first, last = low, high
    while first < last:
        middle = (first + last) // 2
        if ask(middle, probe=True) is False:
            first = low
        else:
            last = min(middle, high)
    floor = low  # below it, a beam finds nothing
    while floor < high:
        middle = (floor + high) // 2
        if not ask(middle, beam=labels.BEAM):
            floor = max(low, middle + 1)
    if low < high:
        ask(high - 1)  # mostly the proof that the best found is the best
    while low < high:
        ask((low + high) // 2)
    if objective == "period":
        best.lower = best.objective
    return True


def _least_value(
    solver: PathSolver,
    limits_R: Floats,
    period: float,
    most: float,
    note: Callable[[Ints, float], None] | None = None,
) -> Ints | None:
    """Options of the path with the least sum of value for a period, or None where that is above
    `most`.

    `note` is told every better path, or an empty one, and what the value of no path is below.
    """
    level = solver.level(period)
    if not level.connected:
        return None
    value_O = level.cost[:, 0]
    floor = float(level.completion(value_O[:, None])[0, 0])
    ceiling = np.concatenate([[most], limits_R])
    exists, path = solver.decide(period, ceiling, labels.BEAM)
    if exists is None:
        exists, path = solver.decide(period, ceiling, None)
    if not exists:
        return None

    def value(of: Ints) -> float:
        return float(solver.options.cost[of, 0].sum())

    def tell() -> None:
        if note is not None:
            note(path, floor)

    tell()
    for better in solver.nearer(period, limits_R, path, floor, labels.BEAM):
        path, floor = better
        tell()
    ceiling[0] = value(path) - CLOSE * abs(value(path))
    exists, _, weights_WR = solver.probe(period, ceiling, thorough=True)
    if exists is not False:
        exists, found = solver.labels(level, ceiling, weights_WR, None)
        if exists:
            path = found
    floor = value(path)
    tell()
    return path


def _least_of_both(
    solver: PathSolver,
    limits_R: Floats,
    cap: float,
    upper: float,
    best: _Best,
    objective: Objective,
) -> bool:
    """Best first over intervals of the period: with at most T2 the value is at least S(T2), so
    f(T1, S(T2)) bounds T1..T2.
    """
    options = solver.options
    if not _least_period(solver, np.concatenate([[np.inf], limits_R]), cap, best, objective):
        return False
    periods = np.unique(options.busy[options.busy <= cap])
    low, high = int(np.searchsorted(periods, best.period)), len(periods) - 1
    widest = solver.level(float(periods[high]))
    least = float(widest.completion(widest.cost[:, :1])[0, 0])
    waiting = [(combine(objective, float(periods[low]), least), low, high, least)]
    first = True  # the whole range is asked for its least value before it is split
    while waiting:
        bound, low, high, least = waiting[0]
        best.lower = min(bound, best.objective)
        if bound >= best.objective * (1 - CLOSE) or bound > upper * (1 + SLACK):
            break
        middle = high if first else (low + high) // 2
        first = False
        slowest, target = float(periods[low]), min(best.objective, upper)
        most = {"edp": target / max(slowest, 1e-300), "span": target - slowest}[objective]
        path = _least_value(solver, limits_R, float(periods[middle]), most * (1 + SLACK))
        heapq.heappop(waiting)
        if middle < high:
            heapq.heappush(
                waiting,
                (combine(objective, float(periods[middle + 1]), least), middle + 1, high, least),
            )
        if path is not None:
            best.offer(path, objective)
            value = float(options.cost[path, 0].sum())
            reached = int(np.searchsorted(periods, options.busy[path].max()))
            if reached > low:
                heapq.heappush(
                    waiting, (combine(objective, slowest, value), low, reached - 1, value)
                )
    best.lower = min([best.objective, *(w[0] for w in waiting)])
    if not waiting or waiting[0][0] >= best.objective * (1 - CLOSE):
        best.lower = best.objective
    return best.objective <= upper * (1 + SLACK)


@dataclass(frozen=True)
class _Valued:
    """A graph whose value is the sum of one of its resources."""

    graph: OptionGraph
    index: int

    @property
    def nodes(self) -> int:
        return self.graph.nodes

    @property
    def resources(self) -> tuple[str, ...]:
        return self.graph.resources

    def arcs(self, node: int) -> Sequence[Arc]:
        return [replace(arc, value=arc.spent[:, self.index]) for arc in self.graph.arcs(node)]


def _explain(
    graph: OptionGraph, limits_R: Floats, cap: float, seconds: float | None
) -> InfeasibleError:
    """The limit that is missed by the smallest factor where the others are kept.

    Where no single limit is to blame, others are dropped one by one until one is.
    """
    kept_R = limits_R.copy()
    for dropped in (None, *range(len(graph.resources))):
        if dropped is not None:
            kept_R[dropped] = math.inf
        needs: list[tuple[float, str, float, float]] = []
        if math.isfinite(cap):
            found = _search(graph, kept_R, "period", math.inf, seconds)
            if found is not None and found.lower_bound > cap:
                needs.append((found.lower_bound / max(cap, TINY), "period", found.lower_bound, cap))
        for index in np.isfinite(kept_R).nonzero()[0].tolist():
            rest_R = kept_R.copy()
            rest_R[index] = math.inf
            found = _search(_Valued(graph, index), rest_R, "sum", cap, seconds)
            if found is not None and found.lower_bound > kept_R[index]:
                ratio = found.lower_bound / max(float(kept_R[index]), TINY)
                needs.append(
                    (ratio, graph.resources[index], found.lower_bound, float(kept_R[index]))
                )
        if needs:
            _, name, need, limit = min(needs)
            return InfeasibleError(name, need, limit)
    text = ", ".join(
        f"{name} {limit:g}" for name, limit in zip(graph.resources, limits_R, strict=True)
    )
    return InfeasibleError(
        "resources",
        math.inf,
        float(limits_R.sum()),
        f"no accelerator keeps all limits together: {text}",
    )
