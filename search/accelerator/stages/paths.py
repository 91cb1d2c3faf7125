"""Accelerators put together from the stages that prices proposed: column generation with an exact
master problem.

At every set of prices the cheapest chunks of each stage are known (`stage_response`). What one set
of prices proposes is seldom within all limits at once; stages proposed at different prices often
are, together. So proposals are kept, and the path through them that keeps every limit is found by
labels, as in the proof.
Suffixes: N proposals, R resources.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from . import labels
from .path_graph import Ints
from .problem import Stage, StagedProblem
from .shapes import DRAIN_LANES
from .tables import COMPONENTS, LAG, priced

DRAINS = len(DRAIN_LANES)
HALVINGS = 8  # of the interval in which the least value is


class ProposedStages:
    """Stages (variant, conv option, depthwise shape, writer's drain lanes), each once, with their
    exact costs.
    """

    def __init__(self, problem: StagedProblem) -> None:
        self.problem, t = problem, problem.tables
        limits = dict(problem.goal.limits)
        self.latency = limits.pop("latency", None)
        names = [name for name in COMPONENTS if name in limits]
        self.columns = [COMPONENTS.index(name) for name in names]
        self.limits_R = np.array([limits[name] for name in names]) - t.fixed[self.columns]
        ends = np.array([(i, j) for i, j, _ in np.argwhere(t.variant >= 0)])
        self.first, self.last = np.zeros((2, len(t.stages)), dtype=np.int64)
        order = t.variant[t.variant >= 0]
        self.first[order], self.last[order] = ends.T
        self.key = np.zeros(0, dtype=np.int64)  # sorted
        self.node, self.target = (np.zeros(0, dtype=np.int64) for _ in range(2))
        self.cost_NR, self.busy = np.zeros((0, len(COMPONENTS))), np.zeros(0)
        self.waiting: list[Ints] = []

    def propose(self, variant: Ints, conv: Ints, depthwise: Ints, writer: Ints) -> None:
        """Keep stages."""
        self.waiting.append(self.problem.number(variant, conv, depthwise) * DRAINS + writer)

    def _settle(self) -> None:
        """Costs of what was proposed."""
        new = np.setdiff1d(np.concatenate([np.zeros(0, dtype=np.int64), *self.waiting]), self.key)
        self.waiting = []
        if not len(new):
            return
        problem = self.problem
        writer = new % DRAINS
        parts = problem.parts(new // DRAINS)
        total, busy = problem.stage_costs(*(torch.from_numpy(part) for part in (*parts, writer)))
        node = problem.node(self.first[parts[0]], writer)
        target = problem.node(
            self.last[parts[0]], problem.drain(*(torch.from_numpy(part) for part in parts)).numpy()
        )
        key = np.concatenate([self.key, new])
        order = key.argsort()
        self.key = key[order]
        self.node, self.target = (
            np.concatenate(both)[order] for both in ((self.node, node), (self.target, target))
        )
        self.busy = np.concatenate([self.busy, busy.numpy()])[order]
        self.cost_NR = np.concatenate([self.cost_NR, total.numpy()])[order]

    def path(self, period: float, prices: Mapping[str, float], beam: int) -> list[Stage] | None:
        """Stages of at most `period` cycles that keep every limit together; None where none were
        found.

        Of those that a beam sees, the ones with the least sum of prices times amounts; without
        prices, any."""
        self._settle()
        t, problem = self.problem.tables, self.problem
        columns, limits_R = list(self.columns), self.limits_R
        if self.latency is not None:
            columns.append(LAG)
            limits_R = np.append(limits_R, self.latency - period - t.fixed[LAG])
        rows = np.flatnonzero(self.busy <= period)
        rows = rows[self.node[rows].argsort(kind="stable")]
        cost_NR = self.cost_NR[rows][:, columns]
        if problem.stages < len(t.cuts) - 1:
            cost_NR = np.concatenate([cost_NR, np.ones((len(rows), 1))], axis=1)
            limits_R = np.append(limits_R, problem.stages)
        if not len(rows) or (limits_R < 0).any():
            return None
        if prices:
            cost_NR = np.concatenate(
                [(self.cost_NR[rows] @ priced(prices))[:, None], cost_NR], axis=1
            )
        nothing = np.zeros(len(rows))
        options = labels.Options(
            nodes=problem.nodes,
            busy=nothing,
            until=nothing + np.inf,
            cost=cost_NR,
            number=rows,
            node=self.node[rows],
            arc=self.node[rows],
            target=self.target[rows],
        )
        solver = labels.PathSolver(options, valued=bool(prices), deadline=np.inf)
        path = solver.decide(0.0, np.append(np.inf, limits_R) if prices else limits_R, beam)[1]
        if not len(path):
            return None
        if prices:
            level = solver.level(0.0)
            floor = float(level.completion(level.cost[:, :1])[0, 0])
            for better, _ in solver.nearer(0.0, limits_R, path, floor, beam, HALVINGS):
                path = better
        variant, conv, depthwise = problem.parts(self.key[options.number[path]] // DRAINS)
        return [
            Stage(*numbers)
            for numbers in zip(variant.tolist(), conv.tolist(), depthwise.tolist(), strict=True)
        ]
