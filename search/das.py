"""Differentiable accelerator search over the chunk design space, its limits, and the random baseline.

gamma holds one logit vector for each design factor: number of chunks; each chunk's kind, lanes and multiplier; the chunk
of each slot. A step draws thousands of accelerators with hard Gumbel-softmax, evaluates them together, and moves gamma by
the straight-through gradient of the GS_hard(gamma)-weighted cost (Auto-NBA, eq. 8).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from autonba.accelerator import Accelerator
from autonba.boards import Board, Resources
from autonba.cost.resources import estimate
from autonba.cost.schedule import simulate, size_buffers
from autonba.errors import CapacityError
from autonba.golden import Weights
from autonba.mapping import plan
from autonba.network import Network
from autonba.search import candidates as cand
from autonba.search.candidates import COSTS, Candidates, Costs, NetworkTables
from autonba.search.sampling import Annealing, gumbel, straight_through
from autonba.search.spaces import HardwareSpace

VIOLATION = 5.0  # of the score, for each factor e above a limit: outweighs any gain of cycles
THRIFT = 0.02  # of the score, for using all of every limit: between equally fast accelerators, the smaller one
EXACT_CHECKS = 40  # candidates, best first, that are checked exactly before the search gives up


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an accelerator may take: `resources` of the board or tighter, and multipliers in all."""

    board: Board
    resources: Mapping[str, float]
    multipliers: int

    @classmethod
    def of(cls, board: Board, constraints: Mapping[str, float], space: HardwareSpace) -> Limits:
        """The board's resources, tightened by `constraints`."""
        own = {name: float(getattr(board.resources, name)) for name in COSTS}
        return cls(
            board=board,
            multipliers=space.multipliers,
            resources={name: min(own[name], float(constraints.get(name, own[name]))) for name in COSTS},
        )

    def excess(self, found: Resources) -> dict[str, float]:
        """need / limit of every resource that exceeds its limit."""
        return {
            name: getattr(found, name) / max(limit, 1e-9)
            for name, limit in self.resources.items()
            if getattr(found, name) > limit
        }


@dataclass(frozen=True, kw_only=True)
class Design:
    """A checked accelerator with its buffers: steady-state cycles an image (simulated schedule) and exact resources."""

    accelerator: Accelerator
    cycles: float
    bound: int
    first_image: int
    resources: Resources


def score(costs: Costs, limits: Limits) -> Tensor:
    """log(cycles), plus a penalty for every limit exceeded and a little for what is used (B,)."""
    total = torch.log(costs.cycles)
    used = torch.zeros_like(total)
    for need, limit in [(costs.resources[n], limits.resources[n]) for n in COSTS] + [
        (costs.multipliers, float(limits.multipliers))
    ]:
        total = total + VIOLATION * torch.relu(torch.log(need.clamp(min=1e-3) / max(limit, 1e-3)))
        used = used + (need / max(limit, 1.0)).clamp(max=2.0)
    return total + THRIFT * used / 5


def feasible(costs: Costs, limits: Limits) -> Tensor:
    """Whether each candidate is within the limits by the estimate (B,)."""
    fits = costs.multipliers <= limits.multipliers
    for name in COSTS:
        fits &= costs.resources[name] <= limits.resources[name]
    return fits


class AcceleratorSearch:
    """gamma and the best accelerator so far; `step` may be called with another network each time."""

    def __init__(
        self,
        *,
        space: HardwareSpace,
        slots: Sequence[str],
        limits: Limits,
        seed: int,
        annealing: Annealing | None = None,
        rate: float = 0.12,
    ) -> None:
        self.space, self.slots, self.limits = space, tuple(slots), limits
        self.annealing = annealing or Annealing(first=2.0, last=0.5)
        self.generator = torch.Generator().manual_seed(seed)
        n, lanes = space.chunks, len(space.lanes)
        self.sizes = [n, *[2] * n, *[lanes] * (3 * n), *[len(cand.MULTIPLIERS)] * n, *[n] * len(self.slots)]
        self.mask = torch.zeros(len(self.sizes), max(self.sizes))
        for row, size in enumerate(self.sizes):
            self.mask[row, size:] = -1e9
        self.gamma = torch.zeros_like(self.mask, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.gamma], lr=rate, betas=(0.5, 0.9))
        self.best: Candidates | None = None
        self.champions: Candidates | None = None  # the best of each number of chunks
        self.correction = dict.fromkeys(COSTS, 1.0)  # exact resources over estimated ones, set by `calibrate`

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
        return torch.cat([c.count[:, None], c.kind, c.out, c.into, c.drain, c.multiplier, c.chunk], dim=1)

    def random(self, count: int) -> Candidates:
        """Candidates drawn uniformly over the choices of every factor."""
        uniform = (self.mask + gumbel((count, *self.mask.shape), self.generator)).argmax(-1)
        return self.candidates(uniform)

    def costs(self, tables: NetworkTables, c: Candidates) -> Costs:
        """Costs of candidates for a network."""
        found = cand.evaluate(tables, self.space, c, self.limits.board.family)
        return replace(found, resources={n: v * self.correction[n] for n, v in found.resources.items()})

    def calibrate(self, network: Network, tables: NetworkTables, *, count: int = 24) -> None:
        """Set `correction` to the median ratio of exact and estimated resources of random accelerators."""
        pool = self.random(64 * count)
        small = (self.costs(tables, pool).multipliers <= self.limits.multipliers).nonzero()[:count, 0]
        drawn = pool.pick(small)
        self.correction = dict.fromkeys(COSTS, 1.0)
        guess = self.costs(tables, drawn).resources
        designs = [
            exact(network, cand.accelerator(tables, self.space, drawn, n), self.limits, sized=False)
            for n in range(len(drawn))
        ]
        for name in COSTS:
            ratios = sorted(
                getattr(d.resources, name) / float(g) for d, g in zip(designs, guess[name], strict=True) if g > 0
            )
            if ratios:
                self.correction[name] = max(ratios[len(ratios) // 2], 0.05)

    def step(self, tables: NetworkTables, *, samples: int, progress: float) -> float:
        """One draw of `samples` accelerators and one update of gamma; returns the best score."""
        temperature = self.annealing.at(progress)
        noise = gumbel((samples, *self.mask.shape), self.generator)
        weight_BFK = straight_through(torch.softmax((self.gamma + self.mask + noise) / temperature, dim=-1))
        choice_BF = weight_BFK.detach().argmax(-1)
        drawn = self.candidates(choice_BF)
        points = score(self.costs(tables, drawn), self.limits)
        advantage = ((points - points.mean()) / (points.std() + 1e-9)).clamp(-3, 3).float()
        chosen = weight_BFK.gather(-1, choice_BF[..., None])[..., 0]  # 1 forward, Gumbel-softmax gradient backward
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
        found = score(self.costs(tables, joined), self.limits)
        self.best = joined.pick(found.argmin()[None])
        own = [(joined.count == n).nonzero()[:, 0] for n in range(self.space.chunks)]
        self.champions = joined.pick(torch.stack([index[found[index].argmin()] for index in own if len(index)]))
        return float(found.min())

    def polish(self, tables: NetworkTables, start: Candidates, rounds: int = 30) -> list[Candidates]:
        """Better and better candidates from `start`, each the best of all that differ in one or two factors; last is best."""
        moves = [(row, value) for row, size in enumerate(self.sizes) for value in range(size)]
        pairs = [(a, b) for a, b in itertools.combinations(range(len(moves)), 2) if moves[a][0] != moves[b][0]]
        first, second = (torch.tensor(t) for t in zip(*pairs, strict=True))
        rows, values = (torch.tensor(t) for t in zip(*moves, strict=True))
        path = [start]
        best = float(score(self.costs(tables, start), self.limits))
        for _ in range(rounds):
            near = self.choices(path[-1]).repeat(len(pairs), 1)
            number = torch.arange(len(pairs))
            near[number, rows[first]] = values[first]
            near[number, rows[second]] = values[second]
            drawn = self.candidates(near)
            parts = [score(self.costs(tables, drawn.pick(part)), self.limits) for part in torch.split(number, 4096)]
            points = torch.cat(parts)
            if float(points.min()) >= best - 1e-9:
                break
            best = float(points.min())
            path.append(drawn.pick(points.argmin()[None]))
        return path


def exact(
    network: Network, accelerator: Accelerator, limits: Limits, *, weights: Weights | None = None, sized: bool = True
) -> Design:
    """Buffers, schedule and resources of an accelerator for an integer network."""
    whole = size_buffers(network, accelerator) if sized else cand.least_plan(network, accelerator).accelerator
    mapped = plan(network, whole, weights)
    schedule = simulate(mapped, 10) if sized else None  # ten images cannot show less than the bound in the long run
    return Design(
        accelerator=whole,
        bound=mapped.bottleneck,
        resources=estimate(mapped, limits.board.family, weights),
        cycles=max(schedule.per_image if schedule else 0.0, float(mapped.bottleneck)),
        first_image=schedule.first_image if schedule else 0,
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
    best_of = [score(engine.costs(tables, cand.join(path)), engine.limits) for path in paths]
    curve.append(min(float(points.min()) for points in best_of))
    pool = cand.join(
        [*itertools.chain.from_iterable(paths), ranked(engine, tables, samples, EXACT_CHECKS), smallest(engine)]
    )
    closest: tuple[float, str, float] | None = None
    best: Design | None = None
    order = score(engine.costs(tables, pool), engine.limits).argsort(stable=True).tolist()
    for index in dict.fromkeys([*order[:EXACT_CHECKS], len(pool) - 1]):
        accelerator = cand.accelerator(tables, engine.space, pool, index)
        design = exact(network, accelerator, engine.limits, weights=weights, sized=False)
        excess = engine.limits.excess(design.resources)
        if not excess:  # fits with the smallest buffers; now with those that lose no throughput
            design = exact(network, accelerator, engine.limits, weights=weights)
            excess = engine.limits.excess(design.resources)
        if not excess and accelerator.multipliers <= engine.limits.multipliers:
            best = design
            break
        if excess:
            name = max(excess, key=lambda n: excess[n])
            if closest is None or excess[name] < closest[0]:
                closest = (excess[name], name, getattr(design.resources, name))
    if best is None:
        assert closest is not None
        raise too_large(closest[1], closest[2], engine.limits)
    return Found(design=best, curve=curve)


def too_large(name: str, need: float, limits: Limits) -> CapacityError:
    """The error that says by how much a network misses a limit."""
    return CapacityError(
        f"the network needs at least {math.ceil(need)} {name} on {limits.board.name}, and the limit is "
        f"{limits.resources[name]:g}; raise the limit, take a larger board or a smaller network"
    )


def check_possible(network: Network, engine: AcceleratorSearch, tables: NetworkTables) -> None:
    """Raise CapacityError where even the smallest accelerator of the space exceeds a limit."""
    design = exact(network, cand.accelerator(tables, engine.space, smallest(engine)), engine.limits, sized=False)
    excess = engine.limits.excess(design.resources)
    if excess:
        name = max(excess, key=lambda n: excess[n])
        raise too_large(name, getattr(design.resources, name), engine.limits)


def ranked(engine: AcceleratorSearch, tables: NetworkTables, samples: int, count: int) -> Candidates:
    """The `count` best of `samples` draws from gamma as it is."""
    noise = gumbel((samples, *engine.mask.shape), engine.generator)
    drawn = engine.candidates((engine.gamma.detach() + engine.mask + noise).argmax(-1))
    return drawn.pick(score(engine.costs(tables, drawn), engine.limits).argsort(stable=True)[:count])


def smallest(engine: AcceleratorSearch) -> Candidates:
    """One chunk with one multiplier built of LUTs."""
    return engine.candidates(torch.zeros(1, len(engine.sizes), dtype=torch.int64))


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
    """`count` accelerators drawn uniformly from the same space, within the same limits: cycles and resources of each.

    Cycles are the steady-state bound, which flatters them: their real schedule is never faster. Fewer are returned where
    the space within the limits is too small to hit.
    """
    designs: list[dict[str, Any]] = []
    for _ in range(batches):
        drawn = engine.random(batch)
        fits = feasible(engine.costs(tables, drawn), engine.limits).nonzero()[:, 0]
        for index in fits.tolist():
            if len(designs) == count:
                return designs
            design = exact(
                network,
                cand.accelerator(tables, engine.space, drawn, index),
                engine.limits,
                weights=weights,
                sized=False,
            )
            if engine.limits.excess(design.resources):
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
