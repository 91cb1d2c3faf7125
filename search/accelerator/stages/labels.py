"""Whether a graph has a path within limits: Lagrange multipliers, then labels with Pareto dominance
and completion bounds.

Suffixes: O options, L labels, R resources (where there are values, they are the first of them), W
weightings of resources.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autonba.errors import SpecError

from .path_graph import Arc, Floats, Ints, OptionGraph, at_most, pareto

SLACK = 1e-9  # relative, in comparisons with limits
BLOCK = 1_000_000  # pairs of label and option looked at together
HEAP = 100_000  # labels that wait at a node before dominated ones are dropped
BEAM = 64  # labels a node keeps while a path is only looked for
CROWD = 4  # times so many are looked at to find those
ROUNDS = 24  # of Lagrange multipliers
NEAR = 1e-4  # of the least value


class LateError(Exception):
    """The time for a proof is over."""


def _lifetime(busy_N: Floats, cost_NR: Floats) -> Floats:
    """From which period on (N,) an option of an arc is useless since another, not slower than that,
    costs no more.
    """
    until = np.full(len(busy_N), np.inf)
    for start in range(0, len(busy_N), 512):
        rows = slice(start, start + 512)
        better = at_most(cost_NR[rows], cost_NR)
        same = better & at_most(-cost_NR[rows], -cost_NR)
        own, other = np.arange(len(busy_N))[rows, None], np.arange(len(busy_N))
        earlier = (busy_N < busy_N[rows, None]) | ((busy_N == busy_N[rows, None]) & (other < own))
        better &= ~same | earlier
        until[rows] = np.where(better, busy_N, np.inf).min(1)
    return until


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """Partial paths that end at a node: `cost` (L, R), and of each the node, label and option it
    came by.
    """

    cost: Floats
    node: Ints
    label: Ints
    option: Ints

    def pick(self, index: Ints) -> _Labels:
        return _Labels(
            cost=self.cost[index],
            node=self.node[index],
            label=self.label[index],
            option=self.option[index],
        )


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options in rows, by node: `busy` cycles, the period `until` which each is of use, `cost` (O,
    R), its `number`, and the `node`, `arc` and `target` of its arc, each (O,)."""

    nodes: int
    busy: Floats
    until: Floats
    cost: Floats
    number: Ints
    node: Ints
    arc: Ints
    target: Ints


def graph_options(graph: OptionGraph, valued: bool) -> Options:
    """All options of a graph; those that another of the same arc beats in every respect are left
    out.
    """
    rows: list[tuple[Floats, Floats, Floats, Ints, int, int, int]] = []
    known: dict[
        tuple[int, int, int], tuple[Arc, Floats, Ints]
    ] = {}  # by the arrays, which arcs may share
    for node in range(graph.nodes - 1):
        for number, arc in enumerate(graph.arcs(node)):
            if not node < arc.target < graph.nodes:
                reach = f"{node + 1}..{graph.nodes - 1}"
                raise SpecError(
                    f"arc {number} of node {node}: target must be {reach}, not {arc.target}"
                )
            cost = (
                np.column_stack([arc.value, arc.spent])
                if valued
                else np.asarray(arc.spent, dtype=np.float64)
            )
            ident = (id(arc.busy), id(arc.spent), id(arc.value))
            if ident not in known:
                until = _lifetime(arc.busy, cost)
                known[ident] = (arc, until, (until > arc.busy).nonzero()[0])
            _, until, kept = known[ident]
            rows.append(
                (
                    arc.busy[kept],
                    until[kept],
                    cost[kept],
                    arc.options[kept],
                    node,
                    number,
                    arc.target,
                )
            )
    if not rows:  # arrays of the right shapes
        none = np.zeros(0)
        rows = [
            (
                none,
                none,
                np.zeros((0, len(graph.resources) + valued)),
                none.astype(np.int64),
                0,
                0,
                graph.nodes - 1,
            )
        ]
    node_O, arc_O, target_O = (
        np.repeat([r[n] for r in rows], [len(r[0]) for r in rows]) for n in (4, 5, 6)
    )
    busy, until, cost, numbers = (np.concatenate([r[n] for r in rows]) for n in range(4))
    return Options(
        nodes=graph.nodes,
        busy=busy.astype(np.float64),
        until=until,
        cost=cost.astype(np.float64),
        number=numbers,
        node=node_O,
        arc=arc_O,
        target=target_O,
    )


class Level:
    """The options for a period of at most `period`, and what they can reach."""

    def __init__(self, options: Options, period: float) -> None:
        self.options, self.period = options, period
        alive = ((options.busy <= period) & (period < options.until)).nonzero()[0]
        nodes = options.nodes
        for _ in range(2):  # without the options that lead nowhere
            self.option, self.cost, self.target = alive, options.cost[alive], options.target[alive]
            self.starts = np.searchsorted(options.node[alive], np.arange(nodes + 1))
            reaches = np.zeros(nodes, dtype=bool)
            reaches[-1] = True
            for node in range(nodes - 2, -1, -1):
                reaches[node] = reaches[
                    self.target[self.starts[node] : self.starts[node + 1]]
                ].any()
            alive = alive[reaches[self.target]]
        self.connected = bool(reaches[0])

    def completion(self, cost_OW: Floats, largest: bool = False) -> Floats:
        """Least (or largest) cost (nodes, W) from each node to the sink, inf (or -inf) where it is
        out of reach.
        """
        nothing = -np.inf if largest else np.inf
        bound = np.full((self.options.nodes, cost_OW.shape[1]), nothing)
        bound[-1] = 0.0
        for node in range(self.options.nodes - 2, -1, -1):
            part = slice(self.starts[node], self.starts[node + 1])
            if part.start < part.stop:
                total = cost_OW[part] + bound[self.target[part]]
                bound[node] = total.max(0) if largest else total.min(0)
        return bound

    def cheapest(self, cost_O: Floats) -> tuple[Floats, Ints]:
        """Completion (nodes,) for one cost, and the options (rows of this level) of the cheapest
        path.
        """
        bound = self.completion(cost_O[:, None])[:, 0]
        node, path = 0, []
        while node != self.options.nodes - 1:
            part = slice(self.starts[node], self.starts[node + 1])
            row = int((cost_O[part] + bound[self.target[part]]).argmin()) + int(part.start)
            path.append(row)
            node = int(self.target[row])
        return bound, np.array(path, dtype=np.int64)


class PathSolver:
    """Decides whether a path exists for a period and limits (R,); `weights` (W, R) of earlier
    decisions are kept.
    """

    def __init__(self, options: Options, *, valued: bool, deadline: float) -> None:
        self.options = options
        self.valued, self.deadline = valued, deadline
        self.multipliers: list[Floats] = []  # of scaled resources, the latest last
        self.complete = True  # whether the last `labels` kept all
        self._level: Level | None = None

    def level(self, period: float) -> Level:
        """The options and their costs at `period`, kept for the next question about it."""
        period = min(period, float(self.options.busy.max(initial=0.0)))
        if self._level is None or self._level.period != period:
            self._level = Level(self.options, period)
        return self._level

    def probe(
        self, period: float, limits_R: Floats, *, thorough: bool = False
    ) -> tuple[bool | None, Ints, Floats]:
        """(whether a path exists, or None where this cannot tell; its options; weightings (W, R)
        that prune labels).

        For multipliers m >= 0, no path exists where the least m.cost of a path is above m.limits.
        `thorough`: goes on to tell that there is none when it met one.
        """
        level = self.level(period)
        nothing = np.zeros(0, dtype=np.int64)
        finite = np.isfinite(limits_R)
        scale_R = (
            np.where(
                finite & (limits_R > 0), 1 / np.where(finite & (limits_R > 0), limits_R, 1.0), 1.0
            )
            * finite
        )
        units_WR = np.diag(scale_R)[finite]
        if not level.connected:
            return False, nothing, units_WR
        least_W = level.completion(level.cost @ units_WR.T)[0]
        if (least_W > (units_WR @ np.where(finite, limits_R, 0.0)) * (1 + SLACK)).any():
            return False, nothing, units_WR
        used = np.where(finite, limits_R, 0.0) * scale_R  # 1 where there is a limit above 0
        m_R = self.multipliers[-1] * finite if self.multipliers else finite / max(1, finite.sum())
        best_gap, best = -np.inf, m_R
        recent: list[Floats] = []
        met = nothing
        for round_ in range(ROUNDS):
            bound, path = level.cheapest(level.cost @ (m_R * scale_R))
            gap = float(bound[0] - m_R @ used)
            if gap > SLACK * float(m_R @ used):
                self.multipliers = [*self.multipliers[-3:], m_R]
                return False, nothing, units_WR
            taken_R = level.cost[path].sum(0)
            if (taken_R <= limits_R * (1 + SLACK)).all():
                met = level.option[path]
                if not thorough:
                    return True, met, units_WR
            if gap > best_gap:
                best_gap, best = gap, m_R
                recent = [*recent[-2:], m_R]
            m_R = m_R * np.exp((taken_R * scale_R - used) * 2 / (1 + round_ / 4)).clip(0.05, 20)
            m_R = np.maximum(m_R, 1e-4 * finite)
            m_R = m_R / m_R.sum() if m_R.sum() else m_R
            self.check_time()
        self.multipliers = [*self.multipliers[-3:], best]
        return (
            True if len(met) else None,
            met,
            np.concatenate([units_WR, np.reshape(recent, (-1, len(scale_R))) * scale_R]),
        )

    def check_time(self) -> None:
        """Raises LateError behind the deadline, in seconds of processor time."""
        if time.process_time() > self.deadline:
            raise LateError

    def decide(self, period: float, limits_R: Floats, beam: int | None) -> tuple[bool | None, Ints]:
        """Whether a path exists within `limits_R`, and the options of one; with a `beam`, None
        where it did not find any.
        """
        known, path, weights_WR = self.probe(period, limits_R)
        if known is not None:
            return known, path
        return self.labels(self.level(period), limits_R, weights_WR, beam)

    def nearer(
        self, period: float, limits_R: Floats, path: Ints, floor: float, beam: int, rounds: int = 30
    ) -> Iterator[tuple[Ints, float]]:
        """Paths of less and less value, from `path` on, by bisection as far as a beam sees; each
        with a value that no path is below, `floor` at first. `limits_R` are those of the resources
        other than the value."""
        guess = floor  # as `floor`, but only as far as a beam sees
        for _ in range(rounds):
            value = float(self.options.cost[path, 0].sum())
            if value - guess <= NEAR * abs(value):
                break
            middle = (guess + value) / 2
            exists, found = self.decide(period, np.concatenate([[middle], limits_R]), beam)
            if exists:
                path = found
            else:
                guess = middle
                floor = middle if exists is False else floor
            yield path, floor

    def labels(
        self, level: Level, limits_R: Floats, weights_WR: Floats, beam: int | None
    ) -> tuple[bool | None, Ints]:
        """Label setting. The path is the one of least value or, without values, of the least sum of
        scaled resources.
        """
        nodes = self.options.nodes
        finite_R = np.where(np.isfinite(limits_R), limits_R, 0.0)
        cost_OW = level.cost @ weights_WR.T
        bound = level.completion(cost_OW)
        room_W = (weights_WR @ finite_R) * (1 + SLACK) + 1e-12
        safe = finite_R - level.completion(
            level.cost, largest=True
        )  # (nodes, R): less than this cannot exceed the limit
        safe[:, ~np.isfinite(limits_R)] = np.inf
        if self.valued:
            safe[:, 0] = -np.inf
        waiting: list[list[_Labels]] = [[] for _ in range(nodes)]
        zero = np.zeros(1, dtype=np.int64)
        waiting[0].append(
            _Labels(cost=np.zeros((1, level.cost.shape[1])), node=zero - 1, label=zero, option=zero)
        )
        held = [0] * nodes
        final: list[_Labels] = []
        complete = True

        def nearest(node: int, every: _Labels, count: int) -> _Labels:
            """The labels that leave most room."""
            taken = ((every.cost @ weights_WR.T + bound[node]) / room_W).max(1)
            return every.pick(taken.argsort(kind="stable")[:count])

        for node in range(nodes):
            here = _joined(waiting[node], level.cost.shape[1])
            waiting[node] = []
            if (
                beam is not None and len(here.cost) > CROWD * beam
            ):  # to tell which of very many are beaten takes long
                complete, here = False, nearest(node, here, CROWD * beam)
            here = self.settle(here, safe[node])
            if beam is not None and len(here.cost) > beam:
                complete, here = False, nearest(node, here, beam)
            final.append(here)
            part = (
                slice(self_start := level.starts[node], level.starts[node + 1])
                if node < nodes - 1
                else slice(0, 0)
            )
            if part.start == part.stop or not len(here.cost):
                continue
            ahead_OW = cost_OW[part] + bound[level.target[part]]
            here_LW = here.cost @ weights_WR.T
            step = max(1, BLOCK // (part.stop - part.start))
            for first in range(0, len(here.cost), step):
                self.check_time()
                block_LW = here_LW[first : first + step]
                label, option = (block_LW[:, -1, None] + ahead_OW[:, -1] <= room_W[-1]).nonzero()
                for w in range(len(room_W) - 1):
                    fits = block_LW[label, w] + ahead_OW[option, w] <= room_W[w]
                    label, option = label[fits], option[fits]
                label, option = label + first, option + self_start
                target = level.target[option]
                for goal in np.unique(target).tolist():
                    mine = (target == goal).nonzero()[0]
                    waiting[goal].append(
                        _Labels(
                            cost=here.cost[label[mine]] + level.cost[option[mine]],
                            node=np.full(len(mine), node),
                            label=label[mine],
                            option=option[mine],
                        )
                    )
                    held[goal] += len(mine)
                    if held[goal] > HEAP and beam is None:
                        waiting[goal], held[goal] = (
                            [self.settle(_joined(waiting[goal], level.cost.shape[1]), safe[goal])],
                            0,
                        )
        self.complete = complete
        if not len(final[-1].cost):
            return (False if complete else None), zero[:0]
        cost_L = (
            final[-1].cost[:, 0]
            if self.valued
            else (final[-1].cost / np.maximum(finite_R, 1e-9)).sum(1)
        )
        node, label_, path = nodes - 1, int(cost_L.argmin()), []
        while node:
            at = final[node]
            path.append(int(level.option[at.option[label_]]))
            node, label_ = int(at.node[label_]), int(at.label[label_])
        return True, np.array(path[::-1], dtype=np.int64)

    def settle(self, every: _Labels, safe_R: Floats) -> _Labels:
        """The labels that none other beats; below `safe_R` less of a resource is no merit."""
        if not len(every.cost):
            return every
        return every.pick(
            pareto(
                np.where(
                    np.isfinite(safe_R), np.maximum(every.cost, safe_R), every.cost * (safe_R < 0)
                )
            )
        )


def _joined(parts: list[_Labels], resources: int) -> _Labels:
    """One of several."""
    none = np.zeros(0, dtype=np.int64)
    parts = [_Labels(cost=np.zeros((0, resources)), node=none, label=none, option=none), *parts]
    return _Labels(
        cost=np.concatenate([p.cost for p in parts]),
        node=np.concatenate([p.node for p in parts]),
        label=np.concatenate([p.label for p in parts]),
        option=np.concatenate([p.option for p in parts]),
    )
