"""The staged candidate that costs least when every resource has a price: the linear question behind
a gradient step.

With prices, stages are independent but for the drain lanes between them, so a shortest path over
cuts and lanes answers it.
Chunks are preselected: of the shapes with equal ports and multiplier the two narrowest that keep
the period, of the ports the cheapest.
Suffixes: V variants, P and Q ports of conv and depthwise chunks, M multipliers, W drain lanes of
the writer before a stage, X of its own writer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from .paths import ProposedStages
from .problem import Stage, StagedProblem
from .shapes import DRAIN_LANES, MULTIPLIERS, OUT_LANES, Floats, Ints
from .tables import BRAM, COMPONENTS, ENERGY, LUT, priced

PORTS = 6  # of a kind of chunk that are looked at together, for each number of drain lanes
NARROWEST = 2
NEVER = 1e30
Noise = Callable[[tuple[int, ...]], Floats]


class StageResponse:
    """Answers for one target of cycles after another; what depends on the target alone is kept."""

    def __init__(self, problem: StagedProblem) -> None:
        self.problem = problem
        self.tables = t = problem.tables
        self.proposed = ProposedStages(problem)
        ports = int(t.port.max()) + 1
        kinds = len(MULTIPLIERS)
        self._by_width = np.full(
            (ports, kinds, len(OUT_LANES)), -1, dtype=np.int64
        )  # conv options of a port, narrow first
        options = t.options["a"]
        for number in np.argsort(options.out, kind="stable"):
            row = self._by_width[t.port[number], options.multiplier[number]]
            row[int((row >= 0).sum())] = number
        self._widths = (self._by_width >= 0).sum(axis=2)
        drains = np.array(DRAIN_LANES)
        first_p, first_q = (
            np.unique(port, return_index=True)[1] for port in (t.port, t.depthwise_port)
        )
        self._drain_p = np.searchsorted(drains, options.drain[first_p])
        self._drain_q = np.searchsorted(drains, t.options["d"].drain[first_q])
        self._ends_depthwise = np.array([stage.writer == "d" for stage in t.stages])
        self._split = t.between_row > 0
        self._pooling = np.array([stage.pooling for stage in t.stages])
        self._takes_maxima = t.depthwise_shapes.pooling == np.arange(len(t.options["d"].out))
        self._by_port_q = np.full((len(first_q), kinds), -1, dtype=np.int64)
        for number, (q, m) in enumerate(
            zip(t.depthwise_port.tolist(), t.options["d"].multiplier.tolist(), strict=True)
        ):
            self._by_port_q[q, m] = number
        self._target = -1.0

    def _prepare(self, target: float) -> None:
        """What depends on the target alone: the variants that can keep it, and their conv options
        (V, P, M * NARROWEST).
        """
        if target == self._target:
            return
        t = self.tables
        self._target = target
        slow = t.conv_busy.min(axis=1) > target
        slow |= (t.between_row > 0) & (t.depthwise_busy.min(axis=1) > target)
        self._kept = kept = np.flatnonzero(~slow)
        self._place = np.full(len(slow), -1)
        self._place[kept] = np.arange(len(kept))
        fits = t.conv_busy[kept] <= target  # (V, S)
        rows = self._by_width  # (P, M, widths)
        inside = fits[:, np.maximum(rows, 0)] & (rows >= 0)  # (V, P, M, widths)
        first = inside.argmax(axis=3)
        found = []
        for step in range(NARROWEST):
            place = np.minimum(first + step, self._widths[None] - 1)
            number = np.take_along_axis(
                np.broadcast_to(rows, inside.shape), place[..., None], axis=3
            )[..., 0]
            legal = np.take_along_axis(inside, place[..., None], axis=3)[..., 0]
            found.append(np.where(legal, number, -1))
        self._conv = np.concatenate(found, axis=2)  # (V, P, M * NARROWEST)
        self._conv_cost = t.conv[kept[:, None, None], np.maximum(self._conv, 0), : len(COMPONENTS)]
        self._depthwise = t.depthwise[kept][:, np.maximum(self._by_port_q, 0)]  # (V, Q, M)
        fits = (t.depthwise_busy[kept] <= target) & (
            ~self._pooling[kept, None] | self._takes_maxima
        )
        self._depthwise_fits = fits[:, np.maximum(self._by_port_q, 0)] & (self._by_port_q >= 0)
        self._before, self._beside = t.before_conv[kept][..., :3], t.before_depthwise[kept]

    def respond(
        self, target: float, prices: Mapping[str, float], noise: Noise | None = None
    ) -> Tensor | None:
        """`stages` as choices (F,)."""
        found = self.stages(target, prices, noise)
        return None if found is None else self.problem.encode(found)

    def assemble(self, target: float, prices: Mapping[str, float], beam: int) -> Tensor | None:
        """Choices (F,) within all limits, of stages that were considered."""
        found = self.proposed.path(target, prices, beam)
        return None if found is None else self.problem.encode(found)

    def stages(
        self, target: float, prices: Mapping[str, float], noise: Noise | None = None
    ) -> list[Stage] | None:
        """Stages of at most `target` cycles with the least sum of prices times amounts; None where
        a layer cannot be.

        `noise` draws factors by which the prices of chunks are off, so that others than the very
        cheapest are proposed.
        """
        self._prepare(target)
        t, kept, drains = self.tables, self._kept, len(DRAIN_LANES)
        if not len(kept):
            return None
        price = priced(prices)
        memory = np.array([price[BRAM], price[LUT], price[ENERGY]])
        off = noise or np.ones
        cost = self._conv_cost @ price  # (V, P, M * NARROWEST)
        cost = np.where(
            self._conv >= 0, cost * off(cost.shape) * off((len(kept), 1, cost.shape[2])), NEVER
        )
        best_a = cost.argmin(axis=2)
        own_p = np.take_along_axis(cost, best_a[..., None], axis=2)[..., 0]  # (V, P)
        before = self._before @ memory  # (V, W, P)
        cost = self._depthwise @ price  # (V, Q, M)
        cost = np.where(
            self._depthwise_fits, cost * off(cost.shape) * off((len(kept), 1, cost.shape[2])), NEVER
        )
        best_d = cost.argmin(axis=2)
        own_q = np.take_along_axis(cost, best_d[..., None], axis=2)[..., 0]
        beside = self._beside @ memory  # (V, W, Q)

        ps = _cheapest(own_p + before.mean(axis=1), self._drain_p, drains)  # (V, X * PORTS)
        qs = _cheapest(own_q + beside.mean(axis=1), self._drain_q, drains)
        rows = np.arange(len(kept))[:, None]
        alone = own_p[rows, ps][:, None, :] + np.take_along_axis(
            before, ps[:, None, :], axis=2
        )  # (V, W, X * PORTS)
        other = own_q[rows, qs][:, None, :] + np.take_along_axis(beside, qs[:, None, :], axis=2)
        place = alone.reshape(len(kept), drains, drains, PORTS).argmin(axis=3)  # (V, W, X)
        chosen_p = place + np.arange(drains) * PORTS
        chosen_q = np.zeros_like(chosen_p)
        best = np.take_along_axis(alone, chosen_p, axis=2)
        split = np.flatnonzero(self._split[kept])
        if len(split):
            between = (
                t.between[
                    t.between_row[kept[split], None, None],
                    ps[split][:, :, None],
                    qs[split][:, None, :],
                    :3,
                ]
                @ memory
            )
            both = (
                alone[split][:, :, :, None] + other[split][:, :, None, :] + between[:, None]
            ).reshape(len(split), drains, drains, PORTS, drains, PORTS)
            for ends, axes in ((False, (0, 1, 2, 3, 4, 5)), (True, (0, 1, 4, 3, 2, 5))):
                own = np.flatnonzero(self._ends_depthwise[kept[split]] == ends)
                if not len(own):
                    continue
                part = (
                    both[own].transpose(axes).reshape(len(own), drains, drains, -1)
                )  # (v, W, X, PORTS * drains * PORTS)
                place = part.argmin(axis=3)
                best[split[own]] = np.take_along_axis(part, place[..., None], axis=3)[..., 0]
                port, rest = place // (drains * PORTS), place % (drains * PORTS)
                level, last = rest // PORTS, rest % PORTS
                x = np.arange(drains)
                first, second = (level, x) if ends else (x, level)
                chosen_p[split[own]], chosen_q[split[own]] = (
                    first * PORTS + port,
                    second * PORTS + last,
                )
        self.proposed.propose(*self._considered(best, chosen_p, chosen_q, ps, qs, best_a, best_d))
        path = self._path(best)
        if path is None:
            return None
        found = []
        for v, w, drain in path:
            row = int(self._place[v])
            p, q = ps[row, chosen_p[row, w, drain]], qs[row, chosen_q[row, w, drain]]
            option = int(self._conv[row, p, best_a[row, p]])
            found.append(
                Stage(v, option, int(self._by_port_q[q, best_d[row, q]]) if self._split[v] else 0)
            )
        return found

    def _considered(
        self,
        best: Floats,
        chosen_p: Ints,
        chosen_q: Ints,
        ps: Ints,
        qs: Ints,
        best_a: Ints,
        best_d: Ints,
    ) -> tuple[Ints, ...]:
        """Variant, conv option, depthwise shape and writer's drain lanes of the cheapest stage for
        every variant and lanes.
        """
        row, w, x = np.nonzero(best < NEVER / 2)
        keep = (w == 0) | (self.proposed.first[self._kept[row]] > 0)
        row, w, x = row[keep], w[keep], x[keep]
        p, q = ps[row, chosen_p[row, w, x]], qs[row, chosen_q[row, w, x]]
        conv = self._conv[row, p, best_a[row, p]]
        v = self._kept[row]
        return v, conv, np.where(self._split[v], self._by_port_q[q, best_d[row, q]], 0), w

    def _path(self, best_VWX: Floats) -> list[tuple[int, int, int]] | None:
        """(variant, lanes before, lanes after) of the cheapest path with few enough stages."""
        t, drains = self.tables, len(DRAIN_LANES)
        cuts = len(t.cuts)
        plain, split = t.variant[..., 0], t.variant[..., 1]
        rows = [np.where(v >= 0, self._place[v], -1) for v in (plain, split)]
        cost, other = (np.where((row >= 0)[..., None, None], best_VWX[row], NEVER) for row in rows)
        variant = np.where(
            other < cost, split[..., None, None], plain[..., None, None]
        )  # (i, j, W, X)
        cost = np.minimum(cost, other).transpose(0, 2, 1, 3).reshape(cuts * drains, cuts * drains)
        reached = np.full(cuts * drains, NEVER)
        reached[0] = 0.0
        trace: list[Ints] = []
        ends: list[float] = []
        for _ in range(self.problem.stages):
            total = reached[:, None] + cost
            trace.append(total.argmin(axis=0))
            reached = total.min(axis=0)
            ends.append(float(reached[-drains:].min()))
            last = int(reached[-drains:].argmin()) + (cuts - 1) * drains
            trace[-1] = np.append(trace[-1], last)
        count = int(np.argmin(ends))
        if ends[count] >= NEVER / 2:
            return None
        node, path = int(trace[count][-1]), []
        for level in range(count, -1, -1):
            source = int(trace[level][node])
            (i, w), (j, x) = divmod(source, drains), divmod(node, drains)
            path.append((int(variant[i, j, w, x]), w, x))
            node = source
        return path[::-1]


def _cheapest(cost: Floats, drain: Ints, drains: int) -> Ints:
    """The PORTS cheapest ports (V, drains * PORTS) of each number of drain lanes."""
    found = []
    for x in range(drains):
        own = np.flatnonzero(drain == x)
        found.append(own[np.argsort(cost[:, own], axis=1, kind="stable")[:, :PORTS]])
    return np.concatenate(found, axis=1)
