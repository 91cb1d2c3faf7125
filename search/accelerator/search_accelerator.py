"""Accelerator search for a network that does not change: `autonba search-accel`.

An engine searches the staged space; what it finds gets its buffers and its exact figures. Where an
exact figure exceeds a limit that the estimate kept, that limit is tightened and the search
repeated. A design is returned only if it meets every limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from autonba.accelerator import Accelerator
from autonba.boards import Board
from autonba.cost.buffers import LOSS, size_buffers
from autonba.cost.energy import energy_per_image
from autonba.cost.resources import estimate
from autonba.cost.schedule import simulate, steady_state
from autonba.errors import CapacityError, DeadlockError, SpecError
from autonba.golden import Weights
from autonba.mapping import plan
from autonba.network import Network
from autonba.search.accelerator.stages.problem import StagedProblem, accelerator, staged_problem
from autonba.search.accelerator.stages.proof import Bound, least_needs, prove

from .engines import differentiable, evolutionary, random_search
from .objectives import RESOURCES, Costs, Goal
from .problem import Found

ENGINES = ("das", "random", "evolutionary", "exact")
EVALUATIONS = 8_000  # for each design factor
ATTEMPTS = 6  # searches, each with the limits tightened where the exact figures exceeded them
SPARE = 0.998  # of a limit that is tightened
SMALL_NETWORK = 14  # layers up to which buffers are sized without any loss of speed
FEW_EVALUATIONS = 200_000  # of a search that only asks how much of one metric is needed


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An accelerator with its buffers. `figures` are exact: "cycles" from image to image in the
    long run, "latency" of the first image in cycles, "energy" of an image in pJ, and resources;
    `predicted` is what the search took it for, `found` its way there, `bound` the proven optimum of
    the space where it was asked for."""

    accelerator: Accelerator
    figures: Mapping[str, float]
    predicted: Mapping[str, float]
    found: Found
    goal: Goal
    attempts: int
    bound: Bound | None

    @property
    def gap(self) -> float | None:
        """How far the objective that the search predicted lies above the proven optimum, as a
        fraction.
        """
        return (
            None
            if self.bound is None
            else objective(self.goal, self.predicted) / self.bound.objective - 1
        )


def objective(goal: Goal, figures: Mapping[str, float]) -> float:
    """Product of the metrics to the power of their weights."""
    return math.prod(
        float(max(figures[name], 1e-3) ** weight) for name, weight in goal.weights.items()
    )


def run_engine(
    problem: StagedProblem, engine: str, *, seed: int, evaluations: int | None = None
) -> Found:
    """Run one of ENGINES; exact starts from what das found."""
    budget = evaluations or EVALUATIONS * len(problem.sizes)
    if engine == "random":
        return random_search(problem, seed=seed, evaluations=budget)
    if engine == "evolutionary":
        return evolutionary(problem, seed=seed, evaluations=budget)
    return differentiable(problem, seed=seed, evaluations=budget)


def search_accelerator(
    network: Network,
    board: Board,
    goal: Goal,
    *,
    engine: str = "das",
    seed: int = 1,
    weights: Weights | None = None,
    clock_mhz: float | None = None,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """The best accelerator found for `network` that meets every limit of `goal` with its exact
    figures.

    `seconds` bounds the proof of engine "exact". Raises CapacityError that names the limit that
    cannot be met, what is needed, and the limit.
    """
    if engine not in ENGINES:
        raise SpecError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    torch.set_num_threads(1)  # its tensors are small: threads would only wait for each other
    problem = staged_problem(network, board.family, goal)
    clock = clock_mhz or board.clock_mhz
    refuse_impossible(problem, board, clock)
    limits = dict(goal.limits)
    last: dict[str, float] = {}
    for attempt in range(1, ATTEMPTS + 1):
        own = replace(problem, goal=replace(goal, limits=limits))
        found, bound = run_engine(own, engine, seed=seed), None
        if engine == "exact":
            found, bound = prove(own, found, seconds=seconds)
        if not found.feasible:
            break
        say(
            f"search {attempt}: {found.evaluations} accelerators in {found.seconds:.1f} CPU-seconds"
        )
        try:
            whole, last = realized(
                network, accelerator(problem.tables, problem.decode(found.choice)), board, weights
            )
        except DeadlockError as error:
            say(f"no buffers let it run: {error}")
            break
        excess = goal.excess(last)
        if not excess:
            return Outcome(
                accelerator=whole,
                figures=last,
                predicted=one_metrics(own.evaluate(found.choice[None])),
                found=found,
                goal=goal,
                attempts=attempt,
                bound=bound,
            )
        for name, ratio in excess.items():
            limits[name] *= SPARE / ratio
            say(f"its exact {name} is {ratio:.3f} times the limit; searching with less")
    raise refusal(problem, board, clock, seed, goal.excess(last) if last else {}, last)


def realized(
    network: Network, bare: Accelerator, board: Board, weights: Weights | None
) -> tuple[Accelerator, dict[str, float]]:
    """The accelerator with fitted buffers, and its exact figures."""
    sized = size_buffers(network, bare, 0.0 if len(bare.allocation) <= SMALL_NETWORK else LOSS)
    return sized, exact_figures(network, sized, board, weights)


def exact_figures(
    network: Network, whole: Accelerator, board: Board, weights: Weights | None = None
) -> dict[str, float]:
    """Cycles an image in the long run, latency of the first image, energy and resources."""
    mapped = plan(network, whole, weights)
    resources = estimate(mapped, board.family, weights)
    return {
        "cycles": steady_state(mapped).per_image,
        "latency": float(simulate(mapped, 1).first_image),
        "energy": energy_per_image(mapped).total,
        "multipliers": float(whole.multipliers),
        **{name: float(getattr(resources, name)) for name in RESOURCES},
    }


def one_metrics(costs: Costs) -> dict[str, float]:
    """The metrics of a single candidate."""
    return {
        name: float(costs.metric(name)[0])
        for name in ("cycles", "latency", "energy", *RESOURCES, "multipliers")
    }


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


def refuse_impossible(problem: StagedProblem, board: Board, clock_mhz: float) -> None:
    """Raise CapacityError where a limit is below what every accelerator of the space needs."""
    least = least_needs(problem)
    for name, limit in problem.goal.limits.items():
        if least[name] > limit * (1 + 1e-9):
            best = "reaches at most" if name == "cycles" else "needs at least"
            raise CapacityError(
                f"{option(name, limit, board, clock_mhz)} cannot be met, whatever the other limits:"
                f" every accelerator of the space {best}"
                f" {shown(name, least[name], clock_mhz)}{times(least[name], limit)}; relax it, take"
                " another board or a smaller network"
            )


def refusal(
    problem: StagedProblem,
    board: Board,
    clock_mhz: float,
    seed: int,
    excess: Mapping[str, float],
    figures: Mapping[str, float],
) -> CapacityError:
    """The error that names the limit that is cheapest to relax, and what it takes with the others
    kept.
    """
    goal = problem.goal
    need: dict[str, float] = {}
    for name in goal.limits:
        others = {other: limit for other, limit in goal.limits.items() if other != name}
        relaxed = replace(problem, goal=Goal(weights={name: 1.0}, limits=others))
        found = differentiable(relaxed, seed=seed, evaluations=FEW_EVALUATIONS)
        if found.feasible:
            need[name] = float(relaxed.evaluate(found.choice[None]).metric(name)[0])
    for name in excess:  # kept by the estimate, but not by the exact figures
        need[name] = max(need.get(name, 0.0), figures[name])
    wanted = {
        name: value / max(goal.limits[name], 1e-9)
        for name, value in need.items()
        if value > goal.limits[name]
    }
    if not wanted:
        tight = ", ".join(option(n, limit, board, clock_mhz) for n, limit in goal.limits.items())
        return CapacityError(
            f"no accelerator was found that meets all limits at once ({tight}); relax several of"
            " them"
        )
    name = min(wanted, key=lambda n: wanted[n])
    further = sorted((n for n in wanted if n != name), key=lambda n: wanted[n])
    instead = "".join(
        f", or {option(n, goal.limits[n], board, clock_mhz)} to {shown(n, need[n], clock_mhz)}"
        for n in further[:2]
    )
    return CapacityError(
        f"{option(name, goal.limits[name], board, clock_mhz)} cannot be met with the other limits"
        " kept: the closest accelerator found has"
        f" {shown(name, need[name], clock_mhz)}{times(need[name], goal.limits[name])}; relax"
        f" it{instead}"
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
            **{n: figures[n] for n in (*RESOURCES, "multipliers")},
        }

    limits = {
        n: outcome.goal.limits[n] for n in (*RESOURCES, "multipliers") if n in outcome.goal.limits
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
        "exact": units(outcome.figures),
        "predicted": units(outcome.predicted),
        "chunks": len(outcome.accelerator.chunks),
        "search": {
            "evaluations": outcome.found.evaluations,
            "seconds": outcome.found.seconds,
            "searches": outcome.attempts,
        },
        "optimum": proof,
    }
