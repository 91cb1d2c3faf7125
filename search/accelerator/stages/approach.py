"""Towards a target: how an engine improves candidates of a staged problem once gamma has settled.

Throughput is that of the slowest part, so a step that makes one part faster is worth nothing until
all are. With a target T of
cycles it is: every part must keep T, and what is left is to keep the limits, whose sum over the
parts has multipliers. A gradient step of the Lagrangian asks the problem for the candidate that is
cheapest at the multipliers (conditional gradient; Frank and Wolfe 1956) and raises those of the
limits that it exceeds. What the steps proposed is then put together: parts from several proposals
are often within all limits where no proposal is (column generation; Dantzig and Wolfe 1960). The
shortest T follows by bisection. Suffixes: B candidates, F factors, R metrics that are limited.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from autonba.search.accelerator.objectives import OBJECTIVES, Costs
from autonba.search.accelerator.record import Record

from .path_graph import Floats
from .response import StageResponse

ROUNDS = 20  # gradient steps for a target
CLOSE = 1.002  # ratio of targets, one met and one not, at which bisection ends
SURELY = 1.002  # ratio of a price and what there is to spend from which on it counts as too dear
UNLIMITED = 1e11  # cycles
LEAST = 1e-4  # of a multiplier
SPREADS = 0.05, 0.1, 0.15, 0.2, 0.3, 0.4  # of prices in an attempt
NEARER = 0.005  # fraction by which the targets of attempts differ
ATTEMPTS = 12  # to get below the best candidate, without success
BEAMS = 48, 256  # labels kept at a node: first so many, and more where those find nothing
# targets between the shortest period and SLOWEST times it, where cycles are one metric among others
WIDTH = 12
SLOWEST = 150.0


def approach(
    record: Record,
    response: StageResponse,
    start_BF: Tensor,
    generator: torch.Generator,
    attempts: int = ATTEMPTS,
) -> None:
    """Improve the best of `start_BF` until nothing helps or the budget of `record` is spent;
    `record` keeps what is found. Nothing helps after so many `attempts` without success.
    """
    search = _Approach(record, response, generator, attempts)
    search.costs(start_BF)
    if dict(search.problem.goal.weights) == dict(OBJECTIVES["throughput"]):
        search.shortest_period()
    else:
        search.other_objective()


class _Approach:
    def __init__(
        self,
        record: Record,
        response: StageResponse,
        generator: torch.Generator,
        attempts: int,
    ) -> None:
        self.attempts = attempts
        self.record, self.problem, self.response = record, response.problem, response
        self.random = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        goal = self.problem.goal
        self.names = [name for name in goal.limits if name != "cycles"]
        self.limits_R = np.array([max(goal.limits[name], 1e-3) for name in self.names])
        self.most_cycles = min(goal.limits.get("cycles", UNLIMITED), UNLIMITED)
        self.multiplier_R = np.full(len(self.names), 1 / max(len(self.names), 1))

    def costs(self, choice_BF: Tensor) -> Costs:
        costs = self.problem.evaluate(choice_BF)
        self.record.note(choice_BF, costs)
        return costs

    def loads(self, costs: Costs) -> Floats:
        """Limited metrics of a candidate in parts of their limits (R,)."""
        load_R: Floats = (
            np.array([float(costs.metric(name)[0]) for name in self.names]) / self.limits_R
        )
        return load_R

    def metrics(self, choice_F: Tensor) -> dict[str, float]:
        """The metrics of the objective."""
        costs = self.problem.evaluate(choice_F[None])
        return {name: max(float(costs.metric(name)[0]), 1e-9) for name in self.problem.goal.weights}

    # A target

    def respond(
        self, target: float, multiplier_R: Floats, prices: Mapping[str, float], spread: float = 0.0
    ) -> Costs | None:
        """Costs of the cheapest candidate where limited metrics cost their multipliers, in parts of
        limits, and others `prices`.

        With `spread`, the deviation of the logarithms, multipliers and prices of parts are off.
        """
        noise = (
            (lambda shape: np.exp(spread * self.random.standard_normal(shape))) if spread else None
        )
        if noise is not None:
            multiplier_R = multiplier_R * noise(multiplier_R.shape)
        own = dict(zip(self.names, (multiplier_R / self.limits_R).tolist(), strict=True))
        for name, price in prices.items():
            own[name] = own.get(name, 0.0) + price
        choice_F = self.response.respond(target, own, noise)
        return None if choice_F is None else self.costs(choice_F[None])

    def descend(self, target: float) -> bool:
        """Gradient steps of the Lagrangian; whether there may be a candidate for the target."""
        m_R = self.multiplier_R
        for step in range(ROUNDS):
            costs = self.respond(target, m_R, {})
            if costs is None:
                return False
            load_R = self.loads(costs)
            if float(m_R @ load_R) > float(m_R.sum()) * SURELY:
                # even the cheapest candidate at these prices is above the limits together, so all
                # are
                return False
            if (load_R <= 1).all():
                break
            m_R = np.maximum(m_R * np.exp(((load_R - 1) * 2 / (1 + step / 4)).clip(-3, 3)), LEAST)
            self.multiplier_R = m_R = m_R / m_R.sum()
            if not self.record.left:
                break
        return True

    def assemble(self, target: float, prices: Mapping[str, float] | None = None) -> None:
        """Look at the candidate put together of what was proposed so far."""
        for beam in BEAMS:
            choice_F = self.response.assemble(min(target, self.most_cycles), prices or {}, beam)
            if choice_F is not None:
                self.costs(choice_F[None])
                break

    # Throughput

    def shortest_period(self) -> None:
        """Bisection of the target, then attempts to get below what it found."""
        high, low = self.best_cycles(), 0.0
        if not self.record.feasible:
            high = self.first_feasible()
        while self.record.feasible and self.record.left and high > CLOSE * low:
            target = math.sqrt(low * high) if low else high / 2
            if self.descend(target):
                self.assemble(target)
            if self.best_cycles() <= target:
                high = self.best_cycles()
            else:
                low = target
        failed = 0
        while self.record.feasible and self.record.left and failed < self.attempts:
            best = self.best_cycles()
            near = (best - 1) * (1 - NEARER * (failed % len(SPREADS)))
            for spread in SPREADS:
                self.respond(near, self.multiplier_R, {}, spread)
            self.assemble(best - 1)
            failed = 0 if self.best_cycles() < best else failed + 1

    def first_feasible(self) -> float:
        """Cycles of any candidate within the limits, which `record` then knows; infinite where none
        was found.
        """
        target = min(
            float(self.problem.evaluate(self.record.best[None]).cycles[0]), self.most_cycles
        )
        while self.record.left:
            if self.descend(target):
                self.assemble(target)
            if self.record.feasible or target >= self.most_cycles:
                break
            target = min(4 * target, self.most_cycles)
        return self.best_cycles()

    def best_cycles(self) -> float:
        """Cycles of the best candidate that keeps every limit."""
        return (
            float(self.problem.evaluate(self.record.best[None]).cycles[0])
            if self.record.feasible
            else math.inf
        )

    # Other objectives

    def other_objective(self) -> None:
        """At several targets, and then about the best of them: gradient steps with the objective
        among the prices.
        """
        timed = {"cycles", "latency"} & (
            set(self.problem.goal.weights) | set(self.problem.goal.limits)
        )
        targets = [self.most_cycles]
        if timed:
            quick = min(
                float(self.problem.evaluate(self.record.best[None]).cycles[0]), self.most_cycles
            ) / math.sqrt(SLOWEST)
            targets = [
                min(quick * SLOWEST ** (n / (WIDTH - 1)), self.most_cycles) for n in range(WIDTH)
            ]
        for target in dict.fromkeys(targets):
            self.priced(target)
        step, failed = SLOWEST ** (1 / (WIDTH - 1)), 0
        while self.record.feasible and self.record.left and failed < self.attempts:
            reached, best = self.record.value, self.best_cycles() if timed else self.most_cycles
            step = math.sqrt(step)
            for target in dict.fromkeys((best, best / step, best * step) if timed else (best,)):
                self.around(min(target, self.most_cycles))
            failed = 0 if self.record.value < reached - 1e-9 else failed + 1

    def priced(self, target: float) -> None:
        """Gradient steps of the objective with multipliers for the limits, then the least of the
        objective put together.
        """
        multiplier_R, prices, reached = (
            np.full(len(self.names), 0.05),
            dict[str, float](),
            self.record.value,
        )
        for step in range(ROUNDS):
            costs = self.respond(target, multiplier_R, prices) if self.record.left else None
            if costs is None:
                return
            prices = self.prices(
                {name: float(costs.metric(name)[0]) for name in self.problem.goal.weights}
            )
            change_R = (self.loads(costs) - 1).clip(-2, 2) * 2 / (1 + step / 4)
            multiplier_R = (multiplier_R * np.exp(change_R)).clip(LEAST, 1e3)
        self.assemble(
            target, self.prices(self.metrics(self.record.best)) if self.record.feasible else prices
        )
        if self.record.value < reached:
            self.multiplier_R = multiplier_R

    def around(self, target: float) -> None:
        """Look for better than the best among what is nearly as cheap at the prices that led to
        it.
        """
        prices = self.prices(self.metrics(self.record.best))
        for spread in SPREADS:
            self.respond(target, self.multiplier_R, prices, spread)
        self.assemble(target, prices)

    def prices(self, value: Mapping[str, float]) -> dict[str, float]:
        """Derivatives of the logarithm of the objective by its metrics other than the period, where
        metrics are `value`.
        """
        return {
            name: weight / max(value[name], 1e-9)
            for name, weight in self.problem.goal.weights.items()
            if name != "cycles"
        }
