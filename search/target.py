"""Towards a target: how an engine improves candidates of a `Staged` problem once gamma has settled.

Throughput is that of the slowest part, so a step that makes one part faster is worth nothing until all are. With a target T of
cycles it is: the score adds up how far each part is above T and each metric above its limit, and T shrinks whenever a candidate
meets it. Two moves improve the score. A gradient step prices every metric by the derivative of a smooth norm of the loads and
asks the problem for the candidate that is cheapest at these prices (conditional gradient; Frank and Wolfe 1956). And the joint
choices of a group of factors are all tried. Suffixes: B candidates, F factors, R metrics that are limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from autonba.search.objectives import OBJECTIVES, Costs
from autonba.search.problem import Staged
from autonba.search.record import CHUNK, Record

NORM = 10.0  # of the loads
ROUNDS = 24  # gradient steps for a target
CLOSE = 1.003  # ratio of targets, one met and one not, at which bisection ends
THRIFT = 0.02  # of the score, for the loads: of equal candidates, the one with more room
SURELY = 1.002  # ratio of a price and what there is to spend from which on it counts as too dear
KICKS = 24  # of a target, before a nearer one is tried
STEPS = (0.05, 0.0025)  # fractions by which a target is below the best: at first, at last
UNLIMITED = 1e11  # cycles
SPREAD = 0.4  # of the logarithms of prices that are drawn at random
WIDTH = 10  # targets between the shortest period and SLOWEST times it, where cycles are one metric among others
SLOWEST = 12.0


def approach(record: Record, problem: Staged, start_BF: Tensor, generator: torch.Generator) -> None:
    """Improve the best of `start_BF` until the budget of `record` is spent; `record` keeps what is found."""
    search = _Approach(record, problem, generator)
    costs = search.costs(start_BF)
    if dict(problem.goal.weights) == dict(OBJECTIVES["throughput"]):
        search.shortest_period(start_BF, costs)
    else:
        search.other_objective(start_BF, costs)


def joint(sizes: Sequence[int], group: Sequence[int]) -> Tensor:
    """All joint choices (B, factors) of a group."""
    return torch.cartesian_prod(*(torch.arange(sizes[factor]) for factor in group)).view(-1, len(group))


class _Approach:
    def __init__(self, record: Record, problem: Staged, generator: torch.Generator) -> None:
        self.record, self.problem, self.generator = record, problem, generator
        goal = problem.goal
        self.names = [name for name in goal.limits if name != "cycles"]
        self.limits_R = torch.tensor([max(goal.limits[name], 1e-3) for name in self.names], dtype=torch.float64)
        self.most_cycles = goal.limits.get("cycles", UNLIMITED)
        grouped = {factor for group in problem.groups for factor in group}
        self.ordered = [factor for factor in range(len(problem.sizes)) if factor not in grouped]
        self.moves = [(torch.tensor(group), joint(problem.sizes, group))
                      for group in (*problem.groups, *((factor,) for factor in self.ordered))]

    def costs(self, choice_BF: Tensor) -> Costs:
        costs = self.problem.evaluate(choice_BF)
        self.record.note(choice_BF, costs)
        return costs

    def loads(self, costs: Costs) -> Tensor:
        """Metrics in parts of their limits (B, R)."""
        if not self.names:
            return torch.zeros((len(costs.cycles), 1), dtype=torch.float64)
        return torch.stack([costs.metric(name) for name in self.names], dim=1) / self.limits_R

    def distance(self, costs: Costs, target: float) -> Tensor:
        """How far candidates are from the target and the limits (B,); the loads decide between those that are as far."""
        busy = costs.cycles[:, None] if costs.busy is None else costs.busy
        load_BR = self.loads(costs)
        late = torch.relu(torch.log(busy / target)).sum(1) + torch.relu(torch.log(load_BR.clamp(min=1e-9))).sum(1)
        room = load_BR.clamp(max=3.0)
        return late + THRIFT * ((room**6).sum(1) ** (1 / 6) + 0.2 * room.mean(1))

    # Gradient steps

    def steps(self, target: float, rounds: int = ROUNDS) -> tuple[bool, Tensor | None]:
        """Gradient steps of the norm of the loads: whether a candidate kept every limit, and the nearest candidate."""
        load_R = torch.full((max(len(self.names), 1),), 0.8, dtype=torch.float64)
        nearest, least = None, math.inf
        for step in range(rounds):
            price_R = (load_R / load_R.max().clamp(min=1e-9)) ** (NORM - 1)
            choice_F = self.respond(target, price_R)
            if choice_F is None or not self.record.left:
                break
            costs = self.costs(choice_F[None])
            own_R = self.loads(costs)[0]
            distance = float(self.distance(costs, target)[0])
            if distance < least:
                nearest, least = choice_F, distance
            if float(own_R.max()) <= 1.0 and float(costs.cycles[0]) <= target:
                return True, choice_F
            if float(price_R @ own_R) > float(price_R.sum()) * SURELY and self.names:
                break  # even the cheapest candidate is above the limits at these prices, so all are
            load_R = own_R if step == 0 else load_R + max(2 / (step + 2), 0.1) * (own_R - load_R)
        return False, nearest

    def respond(self, target: float, price_R: Tensor, **more: float) -> Tensor | None:
        """The cheapest candidate where limited metrics have prices in parts of their limits, and metrics have prices `more`."""
        prices = dict(zip(self.names, (price_R / price_R.sum().clamp(min=1e-12) / self.limits_R).tolist(), strict=True)) if (
            self.names) else {}
        for name, price in more.items():
            prices[name] = prices.get(name, 0.0) + price
        return self.problem.respond(min(target, self.most_cycles), prices)

    # Throughput

    def shortest_period(self, start_BF: Tensor, costs: Costs) -> None:
        """Bisection of the target by gradient steps, then groups of factors."""
        start_F = start_BF[int(self.distance(costs, float(costs.cycles.min())).argmin())]
        high = min(self.best_cycles(), float(costs.cycles.max()), self.most_cycles)
        low, near = 0.0, start_F
        for _ in range(20):
            if not self.record.left or (low and high / low < CLOSE):
                break
            target = math.sqrt(low * high) if low else high * 0.6
            if not self.record.feasible and not low:
                target = high  # whether there is any at all
            kept, found_F = self.steps(target)
            near = near if found_F is None else found_F
            if kept:
                high = self.best_cycles()
            elif self.record.feasible or target < high:
                low = target
            else:
                low, high = high, min(2 * high, self.most_cycles)
                if low == high:
                    break
        self.shrink(near)

    def best_cycles(self) -> float:
        """Cycles of the best candidate that keeps every limit."""
        if not self.record.feasible:
            return math.inf
        return float(self.problem.evaluate(self.record.best[None]).cycles[0])

    def shrink(self, near_F: Tensor) -> None:
        """Ever nearer targets below the best candidate; a target that is not met is brought closer to it."""
        step, here_F = STEPS[0], near_F
        while self.record.left:
            best = self.best_cycles()
            target = min(best * (1 - step), self.most_cycles) if best < math.inf else self.most_cycles
            if target >= UNLIMITED:
                target = float(self.problem.evaluate(here_F[None]).cycles[0])
            met = self.chase(here_F, target, partial(self.distance, target=target), best)
            here_F = self.record.best if self.record.feasible else here_F
            if not met:
                step = max(step / 2, STEPS[1])

    def chase(self, start_F: Tensor, target: float, score: Callable[[Costs], Tensor], best: float) -> bool:
        """Groups of factors from `start_F` and from kicked candidates; whether one of less than `best` cycles was found."""
        here_F, here = self.descend(start_F, score)
        for _ in range(KICKS):
            if not self.record.left or self.best_cycles() < best:
                break
            if float(torch.rand((), generator=self.generator)) < 0.5:
                noise_R = torch.randn(max(len(self.names), 1), generator=self.generator, dtype=torch.float64)
                load_R = self.loads(self.costs(here_F[None]))[0]
                other_F = self.respond(target, (load_R / load_R.max()) ** (NORM - 1) * torch.exp(SPREAD * noise_R))
            else:
                other_F = None
            other_F, other = self.descend(self.kicked(here_F) if other_F is None else other_F, score)
            if other <= here + 0.002 * float(torch.rand((), generator=self.generator)):
                here_F, here = other_F, other
        return self.best_cycles() < best

    def kicked(self, choice_F: Tensor) -> Tensor:
        """An ordered factor moved a little, or the factors of two neighbouring groups drawn anew, or both."""
        new_F, draw = choice_F.clone(), float(torch.rand((), generator=self.generator))

        def below(count: int) -> int:
            return int(torch.randint(count, (), generator=self.generator))

        if draw < 0.6 and self.ordered:
            factor = self.ordered[below(len(self.ordered))]
            new_F[factor] = (new_F[factor] + (1 + below(3)) * (1 - 2 * below(2))).clamp(0, self.problem.sizes[factor] - 1)
        if draw > 0.4:
            first = below(len(self.problem.groups))
            for factor in [factor for group in self.problem.groups[first : first + 2] for factor in group]:
                new_F[factor] = below(self.problem.sizes[factor])
        return new_F

    def descend(self, start_F: Tensor, score: Callable[[Costs], Tensor]) -> tuple[Tensor, float]:
        """Groups one after another, each set to its best joint choice, until none helps."""
        here_F, here = start_F, float(score(self.costs(start_F[None]))[0])
        waiting = torch.randperm(len(self.moves), generator=self.generator).tolist()
        every = list(waiting)
        while waiting and self.record.left:
            move = waiting.pop(0)
            factors, values = self.moves[move]
            near_BF = here_F.repeat(len(values), 1)
            near_BF[:, factors] = values
            points = torch.cat([score(self.costs(part_BF)) for part_BF in torch.split(near_BF, CHUNK)])
            best = int(points.argmin())
            if float(points[best]) < here - 1e-9:
                here_F, here = near_BF[best], float(points[best])
                waiting = [other for other in every if other != move] if len(waiting) < len(every) // 2 else [*waiting, move]
        return here_F, here

    # Other objectives

    def other_objective(self, start_BF: Tensor, costs: Costs) -> None:
        """Gradient steps at several targets, with the objective among the prices; then groups of factors by the score."""
        goal = self.problem.goal
        start_F = start_BF[int(goal.score(costs).argmin())]
        targets = [self.most_cycles]
        if "cycles" in goal.weights or "latency" in goal.weights or "latency" in goal.limits:
            quick = min(float(costs.cycles.min()), self.most_cycles) / SLOWEST
            targets = [min(quick * SLOWEST ** (2 * n / (WIDTH - 1)), self.most_cycles) for n in range(WIDTH)]
        for target in dict.fromkeys(targets):
            self.priced(target)
        start_F = self.record.best if self.record.feasible else start_F
        here_F, here = self.descend(start_F, goal.score)
        while self.record.left:
            other_F, other = self.descend(self.kicked(here_F), goal.score)
            if other <= here:
                here_F, here = other_F, other

    def priced(self, target: float) -> None:
        """Gradient steps of the objective with multipliers for the limits, which grow where a limit is exceeded."""
        multiplier_R = torch.full((max(len(self.names), 1),), 0.05, dtype=torch.float64)
        value = dict.fromkeys(self.problem.goal.weights, 1.0)
        for step in range(ROUNDS):
            if not self.record.left:
                break
            more = {name: weight / max(value[name], 1e-9) for name, weight in self.problem.goal.weights.items()
                    if name != "cycles"} if step else {}
            scale = float(multiplier_R.sum())
            choice_F = self.respond(target, multiplier_R, **{name: price / scale for name, price in more.items()})
            if choice_F is None:
                break
            costs = self.costs(choice_F[None])
            value = {name: float(costs.metric(name)[0]) for name in value}
            change_R = (self.loads(costs)[0] - 1).clamp(-2, 2) * 2 / (1 + step / 4)
            multiplier_R = (multiplier_R * torch.exp(change_R)).clamp(1e-4, 1e3)
