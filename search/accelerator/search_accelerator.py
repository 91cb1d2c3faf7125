"""Accelerator search for a network that does not change: `autonba search-accel`, and the end of
`autonba search`.

An engine searches; what it finds gets its buffers and its exact figures. Where an exact figure
exceeds a limit that the estimate kept, the estimate is corrected and the search repeated; once,
too, where a limit held the search back that the exact figure is well below. A design is returned
only if it meets every limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from autonba.accelerator import Accelerator
from autonba.boards import Board
from autonba.errors import CapacityError, DeadlockError
from autonba.golden import Weights
from autonba.network import Network
from autonba.search.accelerator.engines import auto
from autonba.search.accelerator.engines.staged import Staged
from autonba.search.accelerator.stages.problem import StagedProblem
from autonba.search.accelerator.stages.proof import Bound, least_needs
from autonba.search.accelerator.stages.tables import StageTables

from .accelerator_problem import AcceleratorProblem
from .layers import tabulate
from .objectives import METRICS, RESOURCES, Aim, Costs, Goal
from .problem import Found
from .realize import SMALL_NETWORK, Realized, exact, realize
from .record import Record
from .space import AcceleratorSpace

ATTEMPTS = 6  # searches, each with the limits tightened where the exact figures exceeded them
SPARE = 0.998  # of an estimate that is corrected because it was too low
BINDING = 0.9  # used part of a limit from which on it holds a search back
SLACK = 0.02  # part by which an estimate has to be too high to search once more
FEW_EVALUATIONS = 4_000  # of a search that only asks how much of one metric is needed
# of what the staged space needs at least, a limit below which no accelerator is looked for
HOPELESS = 0.8


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An accelerator with its exact figures; `predicted` is what the search took it for, `found`
    its way there, `bound` what is proven of the staged space, where that was asked for.
    """

    realized: Realized
    predicted: Mapping[str, float]
    found: Found
    goal: Goal
    attempts: int
    bound: Bound | None

    @property
    def accelerator(self) -> Accelerator:
        """The accelerator."""
        return self.realized.accelerator

    @property
    def gap(self) -> float | None:
        """How far the objective that the search predicted lies above the optimum of the staged
        space, as a fraction; below 0 where the whole space has a better one.
        """
        return (
            None
            if self.bound is None
            else objective(self.goal, self.predicted) / self.bound.objective - 1
        )


class OutOfReachError(CapacityError):
    """A limit on `metric` that no accelerator found keeps."""

    def __init__(self, metric: str, message: str) -> None:
        super().__init__(message)
        self.metric = metric


def objective(goal: Goal, figures: Mapping[str, float]) -> float:
    """Product of the metrics to the power of their weights."""
    return math.prod(
        float(max(figures[name], 1e-3) ** weight) for name, weight in goal.weights.items()
    )


def problem_of(network: Network, board: Board, goal: Goal) -> AcceleratorProblem:
    """The problem of choosing an accelerator for `network`, margins taken off the limits."""
    layers = tabulate(network)
    space = AcceleratorSpace(len(layers), streams="dram" in goal.limits)
    return AcceleratorProblem(layers, space, goal.tightened, board.family)


def search_accelerator(
    network: Network,
    board: Board,
    goal: Goal,
    *,
    engine: str = "auto",
    seed: int = 1,
    weights: Weights | None = None,
    clock_mhz: float | None = None,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """The best accelerator found for `network` that meets every limit of `goal` with its exact
    figures.

    `seconds` of CPU time bound each search. Raises OutOfReachError that names the limit that cannot
    be met, what is needed, and the limit.
    """
    auto.check(engine)
    torch.set_num_threads(1)  # its tensors are small: threads would only wait for each other
    problem = problem_of(network, board, goal)
    clock = clock_mhz or board.clock_mhz
    tables = StageTables(problem.layers, board.family)
    refuse_impossible(problem, tables, goal, board, clock)
    last: Mapping[str, float] = {}
    best: Outcome | None = None
    own, loosened = problem, False
    for attempt in range(1, ATTEMPTS + 1):
        result = auto.run(own, engine, seed=seed, seconds=seconds, tables=tables)
        found = result.found
        if not found.feasible:
            break
        say(
            f"search {attempt}: {found.evaluations} accelerators in {found.seconds:.1f} CPU-seconds"
        )
        try:
            bare = own.accelerator(found.choice)
            realized = realize(network, bare, board, weights)
        except DeadlockError as error:
            say(f"no buffers let it run: {error}")
            break
        last = realized.figures
        excess = goal.excess(last)
        if excess:  # with the buffers that costs assume it may be slower, and fit
            with suppress(DeadlockError):
                smaller = exact(network, bare, board, weights)
                if not goal.excess(smaller.figures):
                    realized = smaller
        predicted = one_metrics(own.evaluate(found.choice[None]))
        correction = dict(own.correction)
        if excess and best is not None and attempt > best.attempts + 1:
            return best  # what was searched for more does not fit
        for name, ratio in excess.items():
            correction[name] = correction.get(name, 1.0) * last[name] / predicted[name] / SPARE
            say(f"its exact {name} is {ratio:.3f} times the limit; searching with less")
        fits = not goal.excess(realized.figures)
        if fits:
            outcome = Outcome(
                realized=realized,
                predicted=predicted,
                found=found,
                goal=goal,
                attempts=attempt,
                bound=result.bound if best is None else best.bound,
            )
            reached = objective(goal, realized.figures)
            if best is None or reached < objective(goal, best.realized.figures):
                best = replace(outcome, attempts=attempt)
        if not excess:
            slack = _slack(own, predicted, last)
            if best is not None and (loosened or not slack or len(network.layers) > SMALL_NETWORK):
                return best
            loosened = True
            for name, ratio in slack.items():
                correction[name] = correction.get(name, 1.0) * ratio
                say(f"its exact {name} is {ratio:.3f} times the estimate; searching for more")
        own = replace(own, correction=correction)
    if best is not None:
        return best
    raise refusal(
        problem, tables, goal, board, clock, seed, goal.excess(last) if last else {}, last
    )


def _slack(
    problem: AcceleratorProblem, predicted: Mapping[str, float], exact: Mapping[str, float]
) -> dict[str, float]:
    """exact / estimate of the metrics whose limit binds and whose estimate is too high: ROMs whose
    weights are known take less.
    """
    return {
        name: exact[name] / predicted[name]
        for name, limit in problem.goal.limits.items()
        if predicted[name] > BINDING * limit and exact[name] < predicted[name] * (1 - SLACK)
    }


def one_metrics(costs: Costs) -> dict[str, float]:
    """The metrics of a single candidate."""
    return {name: float(costs.metric(name)[0]) for name in METRICS}


def option(name: str, limit: float, board: Board, clock_mhz: float) -> str:
    """A limit in the words of the command line."""
    if name == "cycles":
        return f"--min-fps {shown(name, limit, clock_mhz)}"
    if name == "latency":
        return f"--max-latency-ms {shown(name, limit, clock_mhz)}"
    if name == "energy":
        return f"--max-energy-uj {shown(name, limit, clock_mhz)}"
    if name in RESOURCES and limit == getattr(board.resources, name):
        return f"{board.name}'s {limit:g} {name}"
    return f"--max-{name} {limit:g}"


def shown(name: str, value: float, clock_mhz: float) -> str:
    """A metric in the unit of its option."""
    hertz = clock_mhz * 1e6
    own = {
        "cycles": hertz / max(value, 1e-9),
        "latency": value / hertz * 1e3,
        "energy": value * 1e-6,
    }
    return f"{own.get(name, value):.6g}"


def times(need: float, limit: float) -> str:
    """How far a need is from its limit."""
    return f" ({need / limit:.2f} times the limit)" if limit > 0 else ""


def check_limits(network: Network, aim: Aim) -> None:
    """Raise OutOfReachError where a limit is far below what any accelerator for `network` needs."""
    problem = problem_of(network, aim.board, aim.goal)
    tables = StageTables(problem.layers, aim.board.family)
    refuse_impossible(problem, tables, aim.goal, aim.board, aim.clock_mhz)


def refuse_impossible(
    problem: AcceleratorProblem, tables: StageTables, goal: Goal, board: Board, clock_mhz: float
) -> None:
    """Raise OutOfReachError where a limit is far below what the staged space needs, which is about
    the least that any accelerator does.
    """
    least = least_needs(StagedProblem(tables, problem.goal))
    least["cycles"] = float(problem.least_cycles)
    free = {"dram", "bram"} if problem.space.streams else {"dram"}
    share = {"cycles": 1 - 1e-9}
    missed = {
        name: least[name] / max(limit, 1e-9)
        for name, limit in goal.limits.items()
        if name not in free and limit < least[name] * share.get(name, HOPELESS)
    }
    if missed:
        name = max(missed, key=lambda n: missed[n])
        limit = goal.limits[name]
        best = "reaches at most" if name == "cycles" else "needs at least"
        raise OutOfReachError(
            name,
            f"{option(name, limit, board, clock_mhz)} cannot be met, whatever the other limits: the"
            f" network {best} {shown(name, least[name], clock_mhz)}{times(least[name], limit)};"
            " relax it, take another board or a smaller network",
        )


def refusal(
    problem: AcceleratorProblem,
    tables: StageTables,
    goal: Goal,
    board: Board,
    clock_mhz: float,
    seed: int,
    excess: Mapping[str, float],
    figures: Mapping[str, float],
) -> OutOfReachError:
    """The error that names the limit that is cheapest to relax, and what it takes with the others
    kept.
    """
    need: dict[str, float] = {}
    for name in goal.limits.keys() - {"dram"}:
        others = {other: limit for other, limit in problem.goal.limits.items() if other != name}
        relaxed = replace(problem, goal=Goal(weights={name: 1.0}, limits=others))
        record = Record(relaxed, evaluations=None, seconds=None)
        Staged(record, seed=seed, tables=tables, evaluations=FEW_EVALUATIONS).run()
        if record.feasible:
            value = float(relaxed.evaluate(record.best[None]).metric(name)[0])
            need[name] = value * goal.margins.get(name, 1.0)
    for name in excess:  # kept by the estimate, but not by the exact figures
        need[name] = max(need.get(name, 0.0), figures[name])
    wanted = {
        name: value / max(goal.limits[name], 1e-9)
        for name, value in need.items()
        if value > goal.limits[name]
    }
    if not wanted:
        tight = ", ".join(option(n, limit, board, clock_mhz) for n, limit in goal.limits.items())
        return OutOfReachError(
            min(goal.limits),
            f"no accelerator was found that meets all limits at once ({tight}); relax several of"
            " them",
        )
    name = min(wanted, key=lambda n: wanted[n])
    further = sorted((n for n in wanted if n != name), key=lambda n: wanted[n])
    instead = "".join(
        f", or {option(n, goal.limits[n], board, clock_mhz)} to {shown(n, need[n], clock_mhz)}"
        for n in further[:2]
    )
    return OutOfReachError(
        name,
        f"{option(name, goal.limits[name], board, clock_mhz)} cannot be met with the other limits"
        " kept: the closest accelerator found has"
        f" {shown(name, need[name], clock_mhz)}{times(need[name], goal.limits[name])}; relax"
        f" it{instead}",
    )


def report(outcome: Outcome, board: Board, clock_mhz: float) -> dict[str, Any]:
    """Figures of an outcome as plain JSON values, in the units of the command line."""
    hertz = clock_mhz * 1e6

    def units(figures: Mapping[str, float]) -> dict[str, float]:
        return {
            "fps": hertz / figures["cycles"],
            "latency_ms": figures["latency"] / hertz * 1e3,
            "cycles": figures["cycles"],
            "energy_uj": figures["energy"] * 1e-6,
            **{n: figures[n] for n in (*RESOURCES, "multipliers", "dram")},
        }

    limits = {
        n: outcome.goal.limits[n]
        for n in (*RESOURCES, "multipliers", "dram")
        if n in outcome.goal.limits
    }
    asked = {"cycles": "min_fps", "latency": "max_latency_ms", "energy": "max_energy_uj"}
    limits |= {
        asked[n]: float(shown(n, limit, clock_mhz))
        for n, limit in outcome.goal.limits.items()
        if n in asked
    }
    proof = (
        None
        if outcome.bound is None
        else {
            "objective": outcome.bound.objective,
            "proven": outcome.bound.proven,
            "lower_bound": outcome.bound.lower,
            "seconds": outcome.bound.seconds,
            "gap": outcome.gap,
        }
    )
    return {
        "board": board.name,
        "clock_mhz": clock_mhz,
        "objective": dict(outcome.goal.weights),
        "limits": limits,
        "exact": units(outcome.realized.figures),
        "predicted": units(outcome.predicted),
        "chunks": len(outcome.accelerator.chunks),
        "search": {
            "evaluations": outcome.found.evaluations,
            "seconds": outcome.found.seconds,
            "searches": outcome.attempts,
        },
        "optimum": proof,
    }
