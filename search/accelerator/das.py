"""Differentiable accelerator search over the chunk design space, its limits, and the random
baseline.

gamma holds one logit vector for each design factor: number of chunks; each chunk's kind, lanes and
multiplier; the chunk of each slot. A step draws thousands of accelerators with hard Gumbel-softmax,
evaluates them together, and moves gamma by the straight-through gradient of the
GS_hard(gamma)-weighted cost (Auto-NBA, eq. 8).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from autonba.accelerator import Accelerator
from autonba.boards import Board, Resources
from autonba.cost.buffers import LOSS, size_buffers
from autonba.cost.energy import energy_per_image
from autonba.cost.resources import estimate
from autonba.cost.schedule import simulate, steady_state
from autonba.errors import CapacityError, DeadlockError
from autonba.golden import Weights
from autonba.mapping import plan
from autonba.network import Network
from autonba.search.gumbel import Annealing, gumbel, straight_through

from . import candidates as cand
from .candidates import Candidates, Costs, NetworkTables
from .hardware_space import HardwareSpace
from .objectives import RESOURCES, Goal

LARGE = 40  # layers from which buffers may cost a little speed
EXACT_CHECKS = 40  # candidates, best first, that are checked exactly before the search gives up
# of the pairs of factors that polishing changes in a round; where there are more, a random choice
# of them
PAIRS = 40_000
CORRECTED = (*RESOURCES, "latency", "energy")  # estimates that are corrected by exact figures


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the accelerator shall run, and what is wanted of it."""

    board: Board
    clock_mhz: float
    goal: Goal


@dataclass(frozen=True, kw_only=True)
class Design:
    """A checked accelerator with its buffers: cycles an image in the long run and whether they are
    proven to be, exact resources, pJ an image."""

    accelerator: Accelerator
    cycles: float
    proven: bool
    bound: int
    first_image: int
    energy: float
    resources: Resources

    @property
    def figures(self) -> dict[str, float]:
        """Every metric that a limit may hold."""
        return {
            "cycles": self.cycles,
            "latency": float(self.first_image),
            "energy": self.energy,
            "multipliers": float(self.accelerator.multipliers),
            **{name: float(getattr(self.resources, name)) for name in RESOURCES},
        }


class AcceleratorSearch:
    """gamma and the best accelerator so far; `step` may be called with another network each
    time.
    """

    def __init__(
        self,
        *,
        space: HardwareSpace,
        slots: Sequence[str],
        target: Target,
        seed: int,
        annealing: Annealing | None = None,
        rate: float = 0.12,
    ) -> None:
        self.space, self.slots, self.target, self.goal = space, tuple(slots), target, target.goal
        self.annealing = annealing or Annealing(first=2.0, last=0.5)
        self.generator = torch.Generator().manual_seed(seed)
        n, lanes = space.chunks, len(space.lanes)
        self.sizes = [
            n,
            *[2] * n,
            *[lanes] * (3 * n),
            *[len(cand.MULTIPLIERS)] * n,
            *[n] * len(self.slots),
        ]
        self.mask = torch.zeros(len(self.sizes), max(self.sizes))
        for row, size in enumerate(self.sizes):
            self.mask[row, size:] = -1e9
        self.gamma = torch.zeros_like(self.mask, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.gamma], lr=rate, betas=(0.5, 0.9))
        self.best: Candidates | None = None
        self.champions: Candidates | None = None  # the best of each number of chunks
        self.correction = dict.fromkeys(
            CORRECTED, 1.0
        )  # exact figures over estimated ones, set by `calibrate`

    def candidates(self, choice_BF: Tensor) -> Candidates:
        """Candidates of choices (B, factors) in the order of `sizes`."""
        n = self.space.chunks
        parts = torch.split(choice_BF, [1, n, n, n, n, n, len(self.slots)], dim=1)
        return cand.legal(
            Candidates(
                count=parts[0][:, 0],
                kind=parts[1],
                out=parts[2],
                into=parts[3],
                drain=parts[4],
                multiplier=parts[5],
                chunk=parts[6],
            )
        )

    def choices(self, c: Candidates) -> Tensor:
        """Inverse of `candidates` for legal candidates."""
        return torch.cat(
            [c.count[:, None], c.kind, c.out, c.into, c.drain, c.multiplier, c.chunk], dim=1
        )

    def smallest(self) -> Candidates:
        """One chunk with one multiplier built of LUTs."""
        return self.candidates(torch.zeros(1, len(self.sizes), dtype=torch.int64))

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        kept = {name: None if c is None else self.choices(c) for name, c in self._kept().items()}
        return {
            "gamma": self.gamma.detach().clone(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "correction": dict(self.correction),
            **kept,
        }

    def _kept(self) -> dict[str, Candidates | None]:
        return {"best": self.best, "champions": self.champions}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.gamma.data.copy_(state["gamma"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.correction = dict(state["correction"])
        self.best, self.champions = (
            None if state[n] is None else self.candidates(state[n]) for n in ("best", "champions")
        )

    def random(self, count: int) -> Candidates:
        """Candidates drawn uniformly over the choices of every factor."""
        uniform = (self.mask + gumbel((count, *self.mask.shape), self.generator)).argmax(-1)
        return self.candidates(uniform)

    def costs(self, tables: NetworkTables, c: Candidates) -> Costs:
        """Costs of candidates for a network."""
        found, by = cand.evaluate(tables, self.space, c, self.target.board.family), self.correction
        return replace(
            found,
            latency=found.latency * by["latency"],
            energy=found.energy * by["energy"],
            resources={n: v * by.get(n, 1.0) for n, v in found.resources.items()},
        )

    def score(self, tables: NetworkTables, c: Candidates) -> Tensor:
        """Score (B,) of candidates for a network; the smallest is the best."""
        return self.goal.score(self.costs(tables, c))

    def calibrate(self, network: Network, tables: NetworkTables, *, count: int = 24) -> None:
        """Set `correction` to the median ratio of exact and estimated figures of random
        accelerators.
        """
        most = self.goal.limits.get("multipliers", math.inf)
        pool = self.random(64 * count)
        self.correction = dict.fromkeys(CORRECTED, 1.0)
        small = (self.costs(tables, pool).resources["multipliers"] <= most).nonzero()[:count, 0]
        drawn = pool.pick(small)
        guess = self.costs(tables, drawn)
        wanted = [
            n
            for n in CORRECTED
            if n != "latency" or "latency" in {**self.goal.limits, **self.goal.weights}
        ]
        designs = [
            exact(
                network,
                cand.accelerator(tables, self.space, drawn, n),
                self.target,
                sized=False,
                timed="latency" in wanted,
            ).figures
            for n in range(len(drawn))
        ]
        for name in wanted:
            pairs = zip(designs, guess.metric(name).tolist(), strict=True)
            ratios = sorted(d[name] / g for d, g in pairs if g > 0 and d[name] > 0)
            if ratios:
                self.correction[name] = max(ratios[len(ratios) // 2], 0.05)

    def step(self, tables: NetworkTables, *, samples: int, progress: float) -> float:
        """One draw of `samples` accelerators and one update of gamma; returns the best score."""
        temperature = self.annealing.at(progress)
        noise = gumbel((samples, *self.mask.shape), self.generator)
        weight_BFK = straight_through(
            torch.softmax((self.gamma + self.mask + noise) / temperature, dim=-1)
        )
        choice_BF = weight_BFK.detach().argmax(-1)
        drawn = self.candidates(choice_BF)
        points = self.score(tables, drawn)
        advantage = ((points - points.mean()) / (points.std() + 1e-9)).clamp(-3, 3).float()
        chosen = weight_BFK.gather(-1, choice_BF[..., None])[
            ..., 0
        ]  # 1 forward, Gumbel-softmax gradient backward
        loss = (advantage[:, None] * chosen).mean(0).sum()
        self.optimizer.zero_grad()
        torch.autograd.backward([loss])
        self.optimizer.step()
        joined = cand.join(
            [
                drawn,
                self.candidates((self.gamma + self.mask).detach().argmax(-1)[None]),
                *([] if self.champions is None else [self.champions]),
            ]
        )
        found = self.score(tables, joined)
        self.best = joined.pick(found.argmin()[None])
        own = [(joined.count == n).nonzero()[:, 0] for n in range(self.space.chunks)]
        self.champions = joined.pick(
            torch.stack([index[found[index].argmin()] for index in own if len(index)])
        )
        return float(found.min())

    def polish(
        self, tables: NetworkTables, start: Candidates, rounds: int = 30
    ) -> list[Candidates]:
        """Better and better candidates from `start`, each the best of all that differ in one or two
        factors.
        """
        moves = [(row, value) for row, size in enumerate(self.sizes) for value in range(size)]
        rows, values = (torch.tensor(t) for t in zip(*moves, strict=True))
        first, second = torch.triu_indices(len(moves), len(moves), 1)
        different = rows[first] != rows[second]
        pairs = torch.stack([first[different], second[different]])
        if pairs.shape[1] > PAIRS:
            pairs = pairs[:, torch.randperm(pairs.shape[1], generator=self.generator)[:PAIRS]]
            pairs = torch.cat([pairs, torch.arange(len(moves)).expand(2, -1)], dim=1)
        path, best = [start], float(self.score(tables, start))
        for _ in range(rounds):
            near = self.choices(path[-1]).repeat(pairs.shape[1], 1)
            number = torch.arange(len(near))
            for part in pairs:
                near[number, rows[part]] = values[part]
            drawn = self.candidates(near)
            points = torch.cat(
                [self.score(tables, drawn.pick(part)) for part in torch.split(number, 4096)]
            )
            if float(points.min()) >= best - 1e-9:
                break
            best = float(points.min())
            path.append(drawn.pick(points.argmin()[None]))
        return path


def exact(
    network: Network,
    accelerator: Accelerator,
    target: Target,
    *,
    weights: Weights | None = None,
    sized: bool = True,
    given: bool = False,
    timed: bool = False,
) -> Design:
    """Buffers, schedule and resources of an accelerator for an integer network.

    Without `sized`, buffers are the accelerator's own (`given`) or the smallest that work; for the
    latter, cycles are the busiest chunk's, and those of the first image are simulated only if
    `timed`.
    """
    if sized:
        whole = size_buffers(network, accelerator, LOSS if len(network.layers) > LARGE else 0.0)
    else:
        whole = accelerator if given else cand.least_plan(network, accelerator).accelerator
    mapped = plan(network, whole, weights)
    cycles, proven, first = float(mapped.bottleneck), False, 0
    if sized or given:
        steady, first = steady_state(mapped), simulate(mapped, 1).first_image
        cycles, proven = steady.per_image, steady.proven
    elif timed:
        with suppress(DeadlockError):  # the smallest buffers do not always let every layer run
            first = simulate(mapped, 1).first_image
    return Design(
        accelerator=whole,
        bound=mapped.bottleneck,
        resources=estimate(mapped, target.board.family, weights),
        energy=energy_per_image(mapped).total,
        cycles=cycles,
        proven=proven,
        first_image=first,
    )


@dataclass(frozen=True, kw_only=True)
class Found:
    """Result of `search`: the design, and the score after each step."""

    design: Design
    curve: list[float] = field(default_factory=list)


def search(
    network: Network,
    engine: AcceleratorSearch,
    tables: NetworkTables,
    *,
    steps: int,
    samples: int,
    weights: Weights | None = None,
) -> Found:
    """The fastest accelerator for `network` within the limits.

    Raises CapacityError, naming resource, need and limit, where no accelerator of the space fits.
    """
    engine.calibrate(network, tables)
    curve = [engine.step(tables, samples=samples, progress=step / steps) for step in range(steps)]
    assert engine.best is not None
    assert engine.champions is not None
    starts = [engine.champions.pick(torch.tensor([n])) for n in range(len(engine.champions))]
    paths = [engine.polish(tables, start) for start in [engine.best, *starts]]
    best_of = [engine.score(tables, cand.join(path)) for path in paths]
    curve.append(min(float(points.min()) for points in best_of))
    pool = cand.join(
        [
            *itertools.chain.from_iterable(paths),
            ranked(engine, tables, samples, EXACT_CHECKS),
            engine.smallest(),
        ]
    )
    closest: tuple[float, str, float] | None = None
    best: Design | None = None
    goal = engine.goal
    order = engine.score(tables, pool).argsort(stable=True).tolist()
    for index in dict.fromkeys([*order[:EXACT_CHECKS], len(pool) - 1]):
        accelerator = cand.accelerator(tables, engine.space, pool, index)
        design = exact(
            network,
            accelerator,
            engine.target,
            weights=weights,
            sized=False,
            timed="latency" in goal.limits,
        )
        excess = goal.excess(design.figures)
        if not excess:  # fits with the smallest buffers; now with those that lose no speed
            design = exact(network, accelerator, engine.target, weights=weights)
            excess = goal.excess(design.figures)
        if not excess:
            best = design
            break
        name = max(excess, key=lambda n: excess[n])
        if closest is None or excess[name] < closest[0]:
            closest = (excess[name], name, design.figures[name])
    if best is None:
        assert closest is not None
        raise OutOfReachError(closest[1], closest[2], engine.target)
    return Found(design=best, curve=curve)


class OutOfReachError(CapacityError):
    """A limit on `metric` that no accelerator found keeps."""

    def __init__(self, metric: str, need: float, target: Target) -> None:
        super().__init__(missed(metric, need, target))
        self.metric = metric


def missed(name: str, need: float, target: Target) -> str:
    """By how much a network misses a limit, and the way out."""
    limit, clock = target.goal.limits[name], target.clock_mhz
    where = f"on {target.board.name} at {clock:g} MHz"
    if name == "cycles":
        return (
            f"min-fps must be at most {clock * 1e6 / need:.1f} images/s {where} with the other"
            f" limits, not {clock * 1e6 / limit:g}; lower it, loosen another limit, or take a"
            " larger board or a smaller network"
        )
    if name in ("latency", "energy"):
        key, unit, scale = (
            ("max-latency-ms", "ms", 1e-3 / clock)
            if name == "latency"
            else ("max-energy-uj", "uJ", 1e-6)
        )
        return (
            f"{key} must be at least {need * scale:.4g} {unit} {where} with the other limits, not"
            f" {limit * scale:.4g}; raise it, loosen another limit, or take a smaller network"
        )
    return (
        f"the network needs at least {math.ceil(need)} {name} on {target.board.name}, and the limit"
        f" is {limit:g}; raise the limit, take a larger board or a smaller network"
    )


def check_possible(network: Network, engine: AcceleratorSearch, tables: NetworkTables) -> None:
    """Raise CapacityError where even the smallest accelerator of the space exceeds a limit."""
    design = exact(
        network,
        cand.accelerator(tables, engine.space, engine.smallest()),
        engine.target,
        sized=False,
    )
    excess = {
        name: by for name, by in engine.goal.excess(design.figures).items() if name in RESOURCES
    }
    if excess:
        name = max(excess, key=lambda n: excess[n])
        raise OutOfReachError(name, design.figures[name], engine.target)


def ranked(
    engine: AcceleratorSearch, tables: NetworkTables, samples: int, count: int
) -> Candidates:
    """The `count` best of `samples` draws from gamma as it is."""
    noise = gumbel((samples, *engine.mask.shape), engine.generator)
    drawn = engine.candidates((engine.gamma.detach() + engine.mask + noise).argmax(-1))
    return drawn.pick(engine.score(tables, drawn).argsort(stable=True)[:count])


def random_designs(
    network: Network,
    engine: AcceleratorSearch,
    tables: NetworkTables,
    *,
    count: int = 200,
    weights: Weights | None = None,
    batch: int = 4096,
    batches: int = 200,
) -> list[dict[str, Any]]:
    """`count` accelerators drawn uniformly from the same space, within the same limits: cycles and
    resources of each.

    Cycles are the steady-state bound, which flatters them: their real schedule is never faster.
    Fewer are returned where the space within the limits is too small to hit.
    """
    designs: list[dict[str, Any]] = []
    for _ in range(batches):
        drawn = engine.random(batch)
        fits = within(engine.goal, engine.costs(tables, drawn)).nonzero()[:, 0]
        for index in fits.tolist():
            if len(designs) == count:
                return designs
            design = exact(
                network,
                cand.accelerator(tables, engine.space, drawn, index),
                engine.target,
                weights=weights,
                sized=False,
            )
            if any(
                name in (*RESOURCES, "multipliers") for name in engine.goal.excess(design.figures)
            ):
                continue
            r = design.resources
            designs.append(
                {
                    "cycles": design.bound,
                    "multipliers": design.accelerator.multipliers,
                    "chunks": len(design.accelerator.chunks),
                    "dsp": r.dsp,
                    "bram": r.bram,
                    "lut": r.lut,
                    "ff": r.ff,
                }
            )
    return designs


def within(goal: Goal, costs: Costs) -> Tensor:
    """Whether each candidate keeps the limits on resources (B,); time and energy are what random
    designs are compared by.
    """
    return replace(
        goal, limits={n: v for n, v in goal.limits.items() if n in (*RESOURCES, "multipliers")}
    ).feasible(costs)
