"""The staged accelerator space as a graph of options for the exact solver: nodes are cuts, arcs are
stages.

What a stage costs depends on the stage before only through the drain lanes that write into it, so a
node is a cut and those lanes. Options that no path within the limits can hold are left out: for
several weightings of the resources, the least that the other stages take is known (a weighted sum
of the limits is a limit, too). Of options with equal ends, only those are kept that no other one
beats. Suffixes: N options, R resources, G weightings.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .path_graph import Arc
from .problem import Stage, StagedProblem
from .shapes import DRAIN_LANES, Floats, Ints
from .tables import BRAM, COMPONENTS, ENERGY, LUT

SLACK = 1e-9
ROUNDS = 30  # of weightings tried
KEPT_WEIGHTINGS = 6  # besides each resource alone


def undominated(points_NR: Floats) -> Ints:
    """Indices of the points that no other point is below or equal to in every respect; the first of
    equal points.
    """
    order = np.lexsort((np.arange(len(points_NR)), points_NR.sum(axis=1)))
    points, kept = points_NR[order], []
    while len(order):
        kept.append(int(order[0]))
        better = (points < points[0]).any(axis=1)
        order, points = order[better], points[better]
    return np.array(kept, dtype=np.int64)


@dataclass(frozen=True)
class _Bounds:
    """For one weighting: least costs `stage` (V,) of each variant and `chunk` (2, V) of its chunks,
    `before` and `after` each cut, and what the cheapest path takes of each resource (R,)."""

    stage: Floats
    chunk: Floats
    before: Floats
    after: Floats
    taken: Floats | None


class _LeastStages:
    """Least weighted costs of stages within the period, whatever the drain lanes before them."""

    def __init__(self, graph: StageGraph) -> None:
        self.graph, t = graph, graph.tables
        self.order, self.starts = zip(
            *(
                (np.argsort(port, kind="stable"), np.unique(np.sort(port), return_index=True)[1])
                for port in (t.port, t.depthwise_port)
            ),
            strict=True,
        )
        columns = graph._columns
        self.amounts = [
            np.ascontiguousarray(table[:, order][..., columns])
            for table, order in zip((t.conv, t.depthwise), self.order, strict=True)
        ]
        cycles = t.conv_busy, t.depthwise_busy
        self.late = [
            busy[:, order] > graph.highest for busy, order in zip(cycles, self.order, strict=True)
        ]
        self.split = np.flatnonzero(t.between_row)
        some = [~late.all(axis=1) for late in self.late]
        self.possible = some[0] & (some[1] | (t.between_row == 0))
        self.memory = [columns.index(c) if c in columns else -1 for c in (BRAM, LUT, ENERGY)]

    def __call__(self, weighting: Floats, *, need_path: bool = False) -> _Bounds:
        t = self.graph.tables
        weight, each = (
            weighting[: len(self.graph._columns)],
            float(weighting[len(self.graph._columns) :].sum()),
        )
        price = np.array([weight[c] if c >= 0 else 0.0 for c in self.memory])
        chunk, ports = [], []
        for amounts, late, starts in zip(self.amounts, self.late, self.starts, strict=True):
            cost = np.where(late, np.inf, amounts @ weight)
            own = np.minimum.reduceat(cost, starts, axis=1)
            ports.append(own)
            chunk.append(own.min(axis=1))
        before = (t.before_conv[..., :3] @ price).min(axis=1)  # (V, P)
        beside = (t.before_depthwise @ price).min(axis=1)
        own_p, own_q = ports[0] + before, ports[1] + beside
        stage = own_p.min(axis=1)
        rows = t.between_row[self.split]
        both = (
            own_p[self.split, :, None]
            + own_q[self.split, None, :]
            + t.between[rows][..., :3] @ price
        )
        stage[self.split] = both.reshape(len(rows), -1).min(axis=1)
        stage = stage + each
        chunk[1] = np.where(t.between_row > 0, chunk[1], 0.0)
        chunk[0] = np.where(self.possible, chunk[0], np.inf)
        stage = np.where(self.possible, stage, np.inf)
        cuts = len(t.cuts)
        first, after = np.full(cuts, np.inf), np.full(cuts, np.inf)
        first[0] = after[-1] = 0.0
        cost = np.where(t.variant >= 0, stage[t.variant], np.inf)  # (i, j, split)
        kind, cost = cost.argmin(axis=2), cost.min(axis=2)
        source = np.zeros(cuts, dtype=np.int64)
        for j in range(1, cuts):
            total = first[:j] + cost[:j, j]
            source[j], first[j] = total.argmin(), total.min()
        for i in reversed(range(cuts - 1)):
            after[i] = (after[i + 1 :] + cost[i, i + 1 :]).min()
        taken = None
        if need_path and np.isfinite(first[-1]):
            taken, j = np.zeros(len(weighting)), cuts - 1
            while j:
                i = int(source[j])
                taken[: len(weight)] += self.amounts_of(int(t.variant[i, j, kind[i, j]]), weight)
                taken[len(weight) :] += 1
                j = i
        return _Bounds(stage, np.stack(chunk), first, after, taken)

    def amounts_of(self, v: int, weight: Floats) -> Floats:
        """What the cheapest chunks of a variant take, memories between stages left out."""
        total: Floats = np.zeros(len(weight))
        for number in range(2 if self.graph.tables.between_row[v] else 1):
            cost = np.where(self.late[number][v], np.inf, self.amounts[number][v] @ weight)
            total = total + self.amounts[number][v, int(cost.argmin())]
        return total


class StageGraph:
    """Graph of a `StagedProblem` for stages of at most `highest` cycles; those below `lowest` count
    as `lowest`.

    `resources` are the limited amounts, "lag" among them where latency is limited and "stages"
    where their number may be. `value`
    names the component that an objective sums up: "energy", "lag", a resource, or None.
    """

    def __init__(
        self,
        problem: StagedProblem,
        limits: Mapping[str, float],
        *,
        value: str | None = None,
        highest: float = np.inf,
        lowest: float = 0.0,
    ) -> None:
        self.problem, self.tables = problem, problem.tables
        t = self.tables
        self.lowest, self.highest = max(lowest, t.least_period), highest
        names = [name for name in COMPONENTS if name in limits]
        self._columns = [COMPONENTS.index(name) for name in names]
        self._value = None if value is None else COMPONENTS.index(value)
        fixed = t.fixed[self._columns]
        self.limits = (
            np.array([limits[name] for name in names], dtype=float) - fixed
        )  # of the stages together
        self._count_stages = problem.stages < len(t.cuts) - 1
        self.resources = (*names, "stages") if self._count_stages else tuple(names)
        if self._count_stages:
            self.limits = np.append(self.limits, problem.stages)
        self._drains = len(DRAIN_LANES)
        self.nodes = problem.nodes
        self._cache: dict[int, list[Arc]] = {}
        self._bound()

    def place(self, node: int) -> tuple[int, int]:
        """Cut and index of the writer's drain lanes of a node."""
        if node in (0, self.nodes - 1):
            return (0 if node == 0 else len(self.tables.cuts) - 1), 0
        return 1 + (node - 1) // self._drains, (node - 1) % self._drains

    def _bound(self) -> None:
        """Weightings, and for each the least weighted costs before and after every cut.

        Each resource alone is one, in parts of its limit. The others follow where the least
        weighted sum of all leads: what its path takes too much of weighs more the next time
        (multiplicative weights), as a Lagrangian bound is raised.
        """
        count, cuts = (
            len(self.limits),
            len(self.tables.cuts),
        )  # the number of stages among the resources, where it is limited
        limits = np.maximum(self.limits, 1e-9)
        least = _LeastStages(self)
        weight = np.full(count, 1.0 / max(count, 1))
        weightings = [*np.eye(count)]
        for step in range(ROUNDS if count > 1 else 0):
            weightings.append(weight)
            found = least(weight / limits, need_path=True)
            if found.taken is None:
                break
            weight = weight * np.exp(
                (found.taken / limits - 1).clip(-1.5, 1.5) * 2 / (1 + step / 4)
            )
            weight = weight / weight.sum()
        self._weightings = np.array(weightings).reshape(-1, count) / limits
        bounds = [least(weighting) for weighting in self._weightings]
        gaps = np.array([bound.after[0] for bound in bounds]) - self._weightings @ self.limits
        order = [
            *range(count),
            *(count + np.argsort(-gaps[count:], kind="stable")[:KEPT_WEIGHTINGS]).tolist(),
        ]
        self._weightings = self._weightings[order]
        bounds = [bounds[n] for n in order]
        self._room = self._weightings @ self.limits  # (G,)
        self._each = self._weightings[:, len(self._columns) :].sum(
            axis=1
        )  # what a stage costs by itself
        self._weightings = self._weightings[:, : len(self._columns)]
        if bounds:
            self._before, self._after = (
                np.stack([getattr(b, name) for b in bounds], axis=1) for name in ("before", "after")
            )
            stage, chunk = (
                np.stack([getattr(b, name) for b in bounds], axis=-1) for name in ("stage", "chunk")
            )
        else:
            self._before = self._after = np.zeros((cuts, 0))
            stage, chunk = (
                np.zeros((len(self.tables.stages), 0)),
                np.zeros((2, len(self.tables.stages), 0)),
            )
        self._variants: dict[tuple[int, int], list[tuple[int, Floats, Floats]]] = {}
        for i, j in itertools.combinations(range(cuts), 2):
            for v in self.tables.variant[i, j]:
                room = self._room + SLACK - self._before[i] - self._after[j]
                if v >= 0 and least.possible[v] and (stage[v] <= room).all():
                    self._variants.setdefault((i, j), []).append((int(v), chunk[0, v], chunk[1, v]))

    @property
    def empty(self) -> bool:
        """Whether the bounds alone show that no candidate is within period and limits."""
        return not self._variants

    def arcs(self, node: int) -> Sequence[Arc]:
        """Arcs that leave a node."""
        if node not in self._cache:
            cut, writer = self.place(node)
            self._cache[node] = (
                [] if cut == len(self.tables.cuts) - 1 else list(self._arcs(cut, writer))
            )
        return self._cache[node]

    def _arcs(self, cut: int, writer: int) -> list[Arc]:
        found: dict[
            int, list[tuple[Floats, Floats, Ints]]
        ] = {}  # target -> busy, components, numbers
        for j in range(cut + 1, len(self.tables.cuts)):
            for v, conv, depthwise in self._variants.get((cut, j), ()):
                room = self._room + SLACK - self._each - self._before[cut] - self._after[j]
                for drain, part in self._options(v, writer, room, conv, depthwise).items():
                    found.setdefault(int(self.problem.node(j, drain)), []).append(part)
        arcs = []
        for target, parts in found.items():
            busy, spent, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
            points = np.concatenate([busy[:, None], spent[:, self._kept]], axis=1)
            best = undominated(points)
            resources = spent[best][:, self._columns]
            if self._count_stages:
                resources = np.concatenate([resources, np.ones((len(best), 1))], axis=1)
            value = np.zeros(len(best)) if self._value is None else spent[best, self._value]
            arcs.append(
                Arc(
                    target=target,
                    busy=busy[best],
                    spent=resources,
                    value=value,
                    options=numbers[best],
                )
            )
        return arcs

    @property
    def _kept(self) -> list[int]:
        return sorted({*self._columns, *([] if self._value is None else [self._value])})

    def _options(
        self, v: int, writer: int, room: Floats, least_conv: Floats, least_depthwise: Floats
    ) -> dict[int, tuple[Floats, Floats, Ints]]:
        """Options of a variant by the drain lanes of its last layer: busy, components (N, 7),
        numbers.
        """
        t, problem = self.tables, self.problem
        split = bool(t.between_row[v])
        a = self._chosen(t.conv[v], t.conv_busy[v], room - least_depthwise, t.port)
        if not split:
            d = np.zeros(1, dtype=np.int64)
        else:
            d = self._chosen(
                t.depthwise[v], t.depthwise_busy[v], room - least_conv, t.depthwise_port
            )
            if t.stages[v].pooling:
                d = d[t.depthwise_shapes.pooling[d] == d]
        if not len(a) or not len(d):
            return {}
        pairs = np.stack(np.meshgrid(a, d, indexing="ij"), axis=-1).reshape(-1, 2)
        conv, depthwise = pairs.T
        if split:  # a cheap look at the pair, memories left out
            cost = (t.conv[v][a][:, None, : len(COMPONENTS)] + t.depthwise[v][d][None]).reshape(
                len(pairs), -1
            )
            fits = ((cost[:, self._columns] @ self._weightings.T) <= room).all(axis=1)
            conv, depthwise = conv[fits], depthwise[fits]
        if not len(conv):
            return {}
        variant = torch.full((len(conv),), v)
        chunks = variant, torch.from_numpy(conv), torch.from_numpy(depthwise)
        total, busy = problem.stage_costs(*chunks, torch.full_like(variant, writer))
        spent, cycles = total.numpy(), np.maximum(busy.numpy(), self.lowest)
        fits = ((spent[:, self._columns] @ self._weightings.T) <= room).all(axis=1)
        drain = problem.drain(*chunks).numpy()
        number = problem.number(v, conv, depthwise)
        found = {}
        for lanes in np.unique(drain[fits]).tolist():
            own = np.flatnonzero(fits & (drain == lanes))
            best = own[
                undominated(np.concatenate([cycles[own, None], spent[own][:, self._kept]], axis=1))
            ]
            found[lanes] = cycles[best], spent[best], number[best]
        return found

    def _chosen(self, table: Floats, busy: Floats, room: Floats, port: Ints) -> Ints:
        """Chunks that fit, and are not beaten by one with the same ports."""
        rows = np.flatnonzero(
            (busy <= self.highest)
            & ((table[:, self._columns] @ self._weightings.T) <= room).all(axis=1)
        )
        kept = (
            [*self._kept, *range(len(COMPONENTS), table.shape[1])] if self._energy else self._kept
        )
        points = np.concatenate(
            [np.maximum(busy[rows, None], self.lowest), table[rows][:, kept]], axis=1
        )
        found = [
            rows[own][undominated(points[own])]
            for p in np.unique(port[rows])
            for own in [np.flatnonzero(port[rows] == p)]
        ]
        return np.concatenate(found) if found else rows

    @property
    def _energy(self) -> bool:
        return ENERGY in self._kept

    def stage(self, option: int) -> Stage:
        """The stage that an option stands for."""
        return Stage(*(int(part) for part in self.problem.parts(np.array(option))))
