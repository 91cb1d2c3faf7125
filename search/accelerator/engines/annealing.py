"""Simulated annealing towards a period.

Cycles an image are those of the busiest chunk, and resources add up. So the engine asks for a
period: an array for each group of layers, the cheapest one on which they take no longer, found in a
table of what the group costs on every array that is worth a look. Moves take layers from group to
group, split and merge groups, change the lanes at their ends, and stream weights from DRAM, until
what is used keeps every limit; then the period shrinks. Prices of the resources follow from how
scarce they are.
Suffixes: B candidates, L layers, S arrays, K those worth a look, R resources.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from autonba.cost import fetch, timing
from autonba.cost.arrays import bit_length, divided_up
from autonba.search.accelerator import chunks
from autonba.search.accelerator.accelerator_problem import AMOUNTS, AcceleratorProblem
from autonba.search.accelerator.chunks import Arrays, Needs, Words
from autonba.search.accelerator.factors import (
    COLUMNS,
    CONV,
    DEPTHWISE,
    DRAIN_LANES,
    HARD,
    IN_LANES,
    MULTIPLIERS,
    OUT_LANES,
    PACKED,
    PORTS,
    ROWS,
    STREAMED,
    TAPS,
    WHOLE,
)
from autonba.search.accelerator.layers import IMPOSSIBLE, Ints, Layers
from autonba.search.accelerator.objectives import OBJECTIVES, Costs
from autonba.search.accelerator.record import Points, Record

from .engine import Engine

Floats = npt.NDArray[np.float64]

MOST_MULTIPLIERS = 1024  # of a conv chunk
MOST_TERMS = 24  # of a conv chunk that unrolls taps
NEARER = 0.98  # of the best known period, that is asked for first
NORM = 6  # of the used fractions of the limits: high, so that the scarcest counts
HEAT, COLD = 0.01, 0.0004  # temperatures, in fractions of a limit
PROPOSED = 12  # moves that are looked at together; the first that is taken ends them
MOVES, MOST_MOVES = 150, 5_000  # for each layer, and in all
REPRICE = 60  # moves between two updates of prices and period
KEPT = 30_000  # groups whose tables are kept
LARGE = 1 << 50  # cycles of what cannot run


@dataclass(frozen=True)
class Group:
    """Layers that share a chunk, the numbers of the lanes at its ends, and of its multiplier."""

    kind: int
    layers: frozenset[int]
    into: int
    drain: int
    streamed: frozenset[int]
    multiplier: int = PACKED

    @property
    def table(self) -> tuple[object, ...]:
        """What its costs depend on beside the array and its multiplier."""
        return self.kind, self.layers, self.into, self.drain, self.streamed


@dataclass(frozen=True)
class State:
    """An accelerator in the making: its arrays follow from period and prices."""

    groups: tuple[Group, ...]
    port: int

    @property
    def streamed(self) -> frozenset[int]:
        """Layers whose weights come from DRAM."""
        return frozenset(n for group in self.groups for n in group.streamed)


@dataclass(frozen=True)
class _Menu:
    """Arrays of a kind with the same lanes at their ends (S), and what layers do on them (L, S)."""

    out: Ints  # numbers of the lists of `factors`
    taps: Ints
    columns: Ints
    beats: Ints
    blocks: Ints
    sets: Ints
    period: Ints
    busy: Ints
    parameters: Ints
    size: Ints  # (S,) multipliers


@dataclass(frozen=True)
class _Table:
    """A group on the arrays worth a look (K): numbers of the arrays, cycles, what they take (K, R);
    of DRAM the bits of an image.
    """

    shape: Ints
    multiplier: Ints
    busy: Ints
    uses: Floats


class Annealing(Engine):
    """A chain of so many moves from the best candidate of the record, or from a first guess where
    it holds none that keeps the limits.
    """

    def __init__(self, record: Record, *, seed: int, moves: int | None = None) -> None:
        super().__init__(record, seed=seed)
        assert isinstance(record.problem, AcceleratorProblem)
        self.problem = record.problem
        self.layers: Layers = self.problem.layers
        self.moves = min(MOVES * len(self.layers), MOST_MOVES) if moves is None else moves
        self.random = random.Random(seed)
        self.state: State | None = None
        self.near: list[State] = []
        self.done, self.current, self.fresh = 0, math.inf, True
        self.uses_R: Floats = np.zeros(0)
        self.menus: dict[tuple[int, int, int], _Menu] = {}
        self.tables: dict[tuple[tuple[object, ...], int], _Table] = {}
        goal = self.problem.goal
        self.names = [name for name in goal.limits if name != "cycles"]
        self.limits_R = np.array([max(goal.limits[name], 1e-9) for name in self.names])
        self.most_cycles = goal.limits.get("cycles", float(LARGE))
        self.throughput = dict(goal.weights) == dict(OBJECTIVES["throughput"])
        self.prices_R = np.array(
            [1 / max(goal.limits[n], 1e-9) if n in goal.limits else 0.0 for n in AMOUNTS]
        )
        self.prices_R += np.array([goal.weights.get(n, 0.0) for n in AMOUNTS]) * 1e-6
        self.period = 0.0

    # What groups cost

    def menu(self, group: Group) -> _Menu:
        """Every array that a group may have."""
        key = group.kind, group.into, group.drain
        if key in self.menus:
            return self.menus[key]
        layers, lanes = self.layers, IN_LANES[group.into]
        deep, drain = group.kind == DEPTHWISE, DRAIN_LANES[group.drain]
        shapes = [
            (o, t, c)
            for o, out in enumerate(OUT_LANES)
            if (out == lanes if deep else True) and out % drain == 0
            for t, taps in enumerate(TAPS)
            if deep or taps == 1 or lanes * taps <= MOST_TERMS
            for c, columns in enumerate(COLUMNS)
            if deep or out * lanes * taps * columns <= MOST_MULTIPLIERS
        ]
        out, taps, columns = np.array(shapes, dtype=np.int64).reshape(-1, 3).T
        outs, steps, sides = (
            np.array(OUT_LANES)[out],
            np.array(TAPS)[taps],
            np.array(COLUMNS)[columns],
        )
        row = np.arange(len(layers))[:, None]
        words = (
            np.broadcast_to(layers.depthwise_words[:, group.into, None], (len(layers), len(shapes)))
            if deep
            else layers.conv_words[row, out, group.into]
        )
        words = np.where(layers.pooling[:, None] & (steps > 1), IMPOSSIBLE, words)
        beats = timing.beats(
            layers.kernel_rows[:, None], layers.kernel_columns[:, None], steps, words
        )
        blocks = divided_up(layers.channels[:, None], outs)
        sets = timing.visits(layers.height[:, None], layers.width[:, None], sides, 1)
        period = timing.period(beats, timing.drain_cycles(sides, outs, drain))
        self.menus[key] = found = _Menu(
            out=out,
            taps=taps,
            columns=columns,
            beats=beats,
            blocks=blocks,
            sets=sets,
            period=period,
            busy=np.where(words < IMPOSSIBLE, sets * blocks * period, LARGE),
            parameters=blocks * (outs // drain),
            size=sides * outs * steps * (1 if deep else lanes),
        )
        return found

    def fill(self, groups: Sequence[Group], port: int) -> None:
        """Make the tables of groups that have none, all at once."""
        missing = {g.table: g for g in groups if (g.table, port) not in self.tables}
        new = list(missing.values())
        if not new:
            return
        own = [self._rows(group, port) for group in new]
        columns = [np.concatenate([part[n] for part in own]) for n in range(len(own[0]))]
        widths = self._needs(new)
        counts = [len(part[0]) for part in own]
        each = np.repeat(np.arange(len(new)), counts)
        shape, out, into, drain, taps, sides, multiplier, deep, busy, weights, parameters, bits = (
            columns
        )
        found = chunks.costs(
            Arrays(
                depthwise=deep == DEPTHWISE,
                out=out,
                into=into,
                drain=drain,
                taps=taps,
                columns=sides,
                multiplier=multiplier,
            ),
            chunks.pick(widths, each),
            Words(weights=weights, parameters=parameters, port=np.full(len(out), PORTS[port])),
            self.problem.family,
        )
        uses = np.stack(
            [found.dsp, found.bram, found.lut, found.ff, found.path.multipliers, bits], axis=1
        ).astype(float)
        start = 0
        for group, count in zip(new, counts, strict=True):
            part = slice(start, start + count)
            self.tables[group.table, port] = _Table(
                shape[part], multiplier[part], busy[part], uses[part]
            )
            start += count

    def _rows(self, group: Group, port: int) -> tuple[Ints, ...]:
        """Arrays worth a look for a group, with each multiplier: of those with equal taps and
        columns, no larger one is slower.
        """
        menu, own = self.menu(group), sorted(group.layers)
        stream = sorted(group.streamed)
        still = [n for n in own if n not in group.streamed]
        busy = menu.busy[still].sum(axis=0)
        weights = (menu.blocks * menu.beats)[still].sum(axis=0)
        bits = np.zeros(len(busy), dtype=np.int64)
        word = (
            menu.size // np.array(COLUMNS)[menu.columns] * int(self.layers.weight_bits[own].max())
        )
        if stream:
            beats = menu.beats[stream] * divided_up(word, PORTS[port])
            visits = menu.sets[stream] * menu.period[stream]  # a task is the whole map
            waiting = menu.blocks[stream] * fetch.block_cycles(visits, beats)
            fits = (menu.busy[stream] < LARGE).all(axis=0)
            busy = busy + np.where(fits, waiting.sum(axis=0), LARGE)
            weights = weights + 2 * menu.beats[stream].max(axis=0)
            bits = (menu.blocks[stream] * beats).sum(axis=0) * PORTS[port]
        kept: list[int] = []
        for side in np.unique(menu.columns):
            for tap in np.unique(menu.taps):
                row = np.flatnonzero((menu.columns == side) & (menu.taps == tap) & (busy < LARGE))
                row = row[np.argsort(menu.size[row], kind="stable")]
                before = np.minimum.accumulate(np.append(LARGE, busy[row]))[:-1]
                kept += row[busy[row] < before].tolist()
        if not kept:
            kept = [0]
        pools = bool(self.layers.pooling[own].any())
        pairs = [
            (s, m)
            for s in kept
            for m in range(len(MULTIPLIERS))
            if not (pools and m == PACKED)
            and not (group.kind == DEPTHWISE and m == PACKED and COLUMNS[menu.columns[s]] == 1)
        ]
        s, m = np.array(pairs).T
        count = len(s)
        return (
            s,
            np.array(OUT_LANES)[menu.out[s]],
            np.full(count, IN_LANES[group.into]),
            np.full(count, DRAIN_LANES[group.drain]),
            np.array(TAPS)[menu.taps[s]],
            np.array(COLUMNS)[menu.columns[s]],
            m,
            np.full(count, group.kind),
            busy[s],
            weights[s],
            menu.parameters[own].sum(axis=0)[s],
            bits[s],
        )

    @cached_property
    def _reads(self) -> tuple[Ints, Ints, Ints]:
        """Of each layer: bits of its input, signed and as it is, and of its residual, signed."""
        layers, shape = self.layers, len(self.layers)
        plain, packed, residual = np.zeros((3, shape), dtype=np.int64)
        for e, reader in enumerate(layers.reader):
            bits = int(layers.tensor_bits[e])
            signed = bits + (not layers.tensor_signed[e])
            if reader < shape and layers.at_residual[e]:
                residual[reader] = signed
            elif reader < shape:
                plain[reader], packed[reader] = signed, bits
        return plain, packed, residual

    def _needs(self, groups: Sequence[Group]) -> Needs:
        """What groups ask of their chunks; memories count as one for each port that is used."""
        layers = self.layers
        plain, packed, residual = self._reads
        rows = []
        for group in groups:
            own = sorted(group.layers)
            asked = [n for n in own if not layers.raw[n]]
            low, high = (
                (int(layers.shift[asked].min()), int(layers.shift[asked].max()))
                if asked
                else (0, 0)
            )
            strides = layers.stride[own]
            rows.append(
                (
                    len(own),
                    len(group.streamed),
                    int(layers.address_bits[own].sum()),
                    int(layers.row_tables[own, 0].sum()),
                    int(layers.weight_bits[own].max()),
                    int(plain[own].max()),
                    int(packed[own].max()),
                    int(residual[own].max()),
                    int(layers.residual_factor[own].max()),
                    int(layers.sum_bits[own].max()),
                    int(layers.write_bits[own].max()),
                    int(bool(asked)),
                    int(layers.raw[own].any()),
                    low,
                    int(bit_length(high - low)),
                    1,
                    int(bool(residual[own].any())),
                    len(set(strides.tolist())),
                    int(strides.max()),
                    int(layers.pooling[own].any()),
                )
            )
        names = tuple(Needs.__dataclass_fields__)
        columns = np.array(rows, dtype=np.int64).T
        return Needs(**dict(zip(names, columns, strict=True)))

    def chosen(self, group: Group, port: int) -> tuple[int, int]:
        """Array and multiplier of a group: the cheapest within the period, the fastest where none
        is. The multiplier is the group's, where it can be.
        """
        table = self.tables[group.table, port]
        price = table.uses[:, :-1] @ self.prices_R[:-1]
        price += table.uses[:, -1] * (self.prices_R[-1] / self.period)
        own = table.multiplier == group.multiplier
        if not own.any():
            own = table.multiplier == HARD
        late = table.busy > self.period
        if late[own].all():
            price = price * 1e-3 + table.busy
        else:
            price[late] = np.inf
        price[~own] = np.inf
        best = int(price.argmin())
        return int(table.shape[best]), int(table.multiplier[best])

    # Candidates

    def choices(self, states: Sequence[State]) -> Ints:
        """Choices (B, F) that stand for states."""
        space, layers = self.problem.space, self.layers
        if len(self.tables) > KEPT:
            self.tables.clear()
        for port in {state.port for state in states}:
            self.fill([g for state in states if state.port == port for g in state.groups], port)
        found = np.zeros((len(states), len(space.sizes)), dtype=np.int64)
        parts = space.parts(found)  # views
        whole = ROWS.index(WHOLE)
        for b, state in enumerate(states):
            parts["port"][b, 0] = state.port if space.streams else 0
            parts["count"][b, 0] = max(len(state.groups) - 1, 0)
            for n, group in enumerate(self._ordered(state.groups)):
                menu = self.menu(group)
                shape, multiplier = self.chosen(group, state.port)
                parts["kind"][b, n] = group.kind
                parts["into"][b, n] = group.into
                parts["drain"][b, n] = group.drain
                parts["out"][b, n] = menu.out[shape]
                parts["taps"][b, n] = menu.taps[shape]
                parts["columns"][b, n] = menu.columns[shape]
                parts["multiplier"][b, n] = multiplier
                slots = layers.slots[list(group.layers)]
                parts["chunk"][b, slots] = n
                slots = layers.slots[np.array(sorted(group.streamed), dtype=np.int64)]
                parts["loops"][b, slots] = STREAMED
                parts["rows"][b, slots] = whole
        return found

    def _ordered(self, groups: Sequence[Group]) -> list[Group]:
        """A conv chunk first, and where maxima are taken the chunk that takes them second."""
        pooling = set(np.flatnonzero(self.layers.pooling).tolist())
        conv = [g for g in groups if g.kind == CONV][:1]
        pools = [g for g in groups if g.layers & pooling][:1]
        first = [*conv, *pools]
        return [*first, *(g for g in groups if g not in first)]

    def first(self) -> State:
        """Layers of a kind with maps of like height share a chunk; where weights do not fit, the
        smallest maps stream theirs.
        """
        layers = self.layers
        groups: dict[tuple[int, int], set[int]] = {}
        for n in range(len(layers)):
            groups.setdefault((self.kind(n), max(int(layers.height[n]), 4)), set()).add(n)
        streamed: set[int] = set()
        if self.problem.space.streams:
            words = layers.conv_words[:, 0, 0] * layers.kernel_rows * layers.kernel_columns
            bits = layers.weight_bits * words * layers.channels
            room = 18432 * self.problem.goal.limits.get("bram", math.inf) / 2
            if float(bits.sum()) > room:
                least = int(layers.height.min()) * 4
                streamed = {n for n in self.streamable if layers.height[n] <= least}
        port = PORTS.index(128) if self.problem.space.streams else 0
        while len(groups) > self.problem.space.chunks:  # the two smallest maps of a kind
            kinds = [kind for kind, _ in groups]
            kind = max(set(kinds), key=kinds.count)
            small, other = sorted(key for key in groups if key[0] == kind)[:2]
            groups[other] |= groups.pop(small)
        return State(
            tuple(
                Group(
                    kind,
                    frozenset(own),
                    IN_LANES.index(16),
                    DRAIN_LANES.index(8),
                    frozenset(own & streamed),
                )
                for (kind, _), own in sorted(groups.items())
            ),
            port,
        )

    def of_choice(self, choice_F: Tensor) -> State:
        """The state of a candidate, but for its arrays, and for rows of tasks."""
        c = self.problem.space.legal(choice_F[None].numpy(), self.layers)
        streamed = set(np.flatnonzero(c.loops[0] == STREAMED).tolist())
        groups = []
        for n in np.unique(c.chunk[0]).tolist():
            own = frozenset(np.flatnonzero(c.chunk[0] == n).tolist())
            groups.append(
                Group(
                    int(c.kind[0, n]),
                    own,
                    int(c.into[0, n]),
                    int(c.drain[0, n]),
                    frozenset(own & streamed),
                    int(c.multiplier[0, n]),
                )
            )
        return State(tuple(groups), int(c.port[0]))

    def kind(self, n: int) -> int:
        """Kind of chunk that suits a layer."""
        layers = self.layers
        alone = bool((layers.depthwise_words[n] < IMPOSSIBLE).any())
        return DEPTHWISE if alone and layers.plans[n].layer.op != "global_pool" else CONV

    @cached_property
    def streamable(self) -> list[int]:
        """Layers that may stream their weights."""
        if not self.problem.space.streams:
            return []
        return [n for n, lp in enumerate(self.layers.plans) if not lp.layer.is_pool]

    # Moves

    def moved(self, state: State) -> State:
        """A neighbour of `state`."""
        draw, pick, groups = self.random.random(), self.random.choice, list(state.groups)
        layers = self.layers
        if draw < 0.08 and self.streamable:
            n = pick(self.streamable)
            i = next(i for i, group in enumerate(groups) if n in group.layers)
            groups[i] = replace(groups[i], streamed=groups[i].streamed ^ {n})
            return replace(state, groups=tuple(groups))
        if draw < 0.09 and self.problem.space.streams:
            return replace(state, port=self.random.randrange(len(PORTS)))
        if draw < 0.18:
            i = self.random.randrange(len(groups))
            groups[i] = replace(groups[i], multiplier=self.random.randrange(len(MULTIPLIERS)))
            return replace(state, groups=tuple(groups))
        if draw < 0.38:
            i = self.random.randrange(len(groups))
            return replace(
                state, groups=(*groups[:i], self._other_lanes(groups[i]), *groups[i + 1 :])
            )
        n = self.random.randrange(len(layers))
        i = next(i for i, group in enumerate(groups) if n in group.layers)
        source = groups[i]
        near = {n - 1, n + 1}
        others = [
            j
            for j, group in enumerate(groups)
            if j != i
            and self._able(n, group)
            and (
                near & group.layers
                or any(layers.height[m] == layers.height[n] for m in group.layers)
            )
        ]
        if (draw < 0.43 and len(groups) < self.problem.space.chunks) or not others:
            if len(groups) >= self.problem.space.chunks:
                return state
            away = frozenset({n} | {m for m in source.layers if self.random.random() < 0.4})
            kind = source.kind if self._may_be(source.kind, away) else CONV
            groups[i] = _less(source, away)
            groups.append(replace(source, kind=kind, layers=away, streamed=source.streamed & away))
        else:
            j = pick(others)
            other = groups[j]
            back: frozenset[int] = frozenset()
            away = frozenset({n})
            if draw < 0.48 and all(self._able(m, other) for m in source.layers):
                away = source.layers
            elif draw < 0.75:
                m = pick(sorted(other.layers))
                if self._able(m, source):
                    back = frozenset({m})
            groups[i] = _more(_less(source, away), back, other.streamed)
            groups[j] = _more(_less(other, back), away, source.streamed)
        return replace(state, groups=tuple(group for group in groups if group.layers))

    def _other_lanes(self, group: Group) -> Group:
        """A group with other lanes at one end or both."""
        draw, into, drain = self.random.random(), group.into, group.drain
        if draw < 0.7:
            into = self.random.randrange(len(IN_LANES))
        if draw > 0.4:
            drain = self.random.randrange(len(DRAIN_LANES))
        if group.kind == DEPTHWISE:
            drain = min(drain, into)
            if not all((self.layers.depthwise_words[n, into] < IMPOSSIBLE) for n in group.layers):
                return group
        found = replace(group, into=into, drain=drain)
        return found if len(self.menu(found).out) else group

    def _able(self, n: int, group: Group) -> bool:
        """Whether a group's chunk can run a layer."""
        if group.kind == DEPTHWISE:
            return bool(self.layers.depthwise_words[n, group.into] < IMPOSSIBLE)
        return not self.layers.pooling[n] and (
            self.kind(n) == CONV or bool(self.layers.height[n] * self.layers.width[n] <= 64)
        )

    def _may_be(self, kind: int, own: frozenset[int]) -> bool:
        return kind == CONV or all(self.kind(n) == DEPTHWISE for n in own)

    # The chain

    def propose(self) -> Tensor:
        """Choices (B, F) to look at next; see `Engine`."""
        if self.state is None:
            self.period = self._first_period()
            self.state = self.of_choice(self.record.best) if self.record.feasible else self.first()
        if self.done >= self.moves:
            return torch.zeros(0, len(self.problem.sizes), dtype=torch.int64)
        state = self.state
        # what has new prices is looked at alone
        self.near = [state] if self.fresh else [self.moved(state) for _ in range(PROPOSED)]
        return torch.from_numpy(self.choices(self.near))

    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Take in what the choices cost; see `Engine`."""
        scores, uses_BR = self._scores(points.costs)
        if self.fresh:
            self.current, self.uses_R, self.fresh = float(scores[0]), uses_BR[0], False
            return
        heat = HEAT * (COLD / HEAT) ** (self.done / self.moves)
        for n, score in enumerate(scores.tolist()):
            self.done += 1
            if self.done % REPRICE == 0:
                self._reprice(self.uses_R)
                self.fresh = True
                return
            worse = score - self.current
            if self.near[n] != self.state and (
                worse <= 0 or self.random.random() < math.exp(-worse / heat)
            ):
                self.state, self.current, self.uses_R = self.near[n], score, uses_BR[n]
                return

    def _first_period(self) -> float:
        if self.record.feasible:
            cycles = self.problem.evaluate(self.record.best[None]).cycles
            return max(float(cycles[0]) * NEARER, 1.0)
        if not self.throughput and self.most_cycles < LARGE:
            return self.most_cycles
        layers = self.layers
        work = sum(
            lp.out.channels * lp.out.height * lp.out.width * lp.products for lp in layers.plans
        )
        dsp = self.problem.goal.limits.get("dsp", 1000.0)
        return max(work / max(dsp, 1.0), 1.0)

    def _scores(self, costs: Costs) -> tuple[Floats, Floats]:
        """Scores (B,) of candidates at the period, and fractions (B, R) of the limits that they
        use.
        """
        uses_BR = (
            np.stack([costs.metric(name).numpy() for name in self.names], axis=1) / self.limits_R
        )
        late = np.maximum(costs.cycles.numpy() / self.period, 1.0)
        if self.throughput:
            score = (uses_BR**NORM).sum(axis=1) ** (1 / NORM) + 0.02 * uses_BR.mean(axis=1)
            return score * late**2, uses_BR * late[:, None] ** 2
        return self.problem.goal.score(costs).numpy() + 2 * np.log(late), uses_BR

    def _reprice(self, uses_R: Floats) -> None:
        """The period moves towards what the limits allow; prices are the score's derivatives."""
        scarcest = float(uses_R.max())
        if self.throughput:
            self.period = max(self.period * min(max(scarcest, 0.7), 1.1) ** 0.2, 1.0)
        elif self.most_cycles >= LARGE:
            self.period *= math.exp(self.random.gauss(0, 0.05))
        price = ((uses_R / max(scarcest, 1e-9)) ** 3 + 0.05) / self.limits_R
        own = dict(zip(self.names, price.tolist(), strict=True))
        weights = self.problem.goal.weights
        self.prices_R = np.array(
            [own.get(n, 0.0) + (0.0 if self.throughput else weights.get(n, 0.0)) for n in AMOUNTS]
        )


def _less(group: Group, away: frozenset[int]) -> Group:
    return replace(group, layers=group.layers - away, streamed=group.streamed - away)


def _more(group: Group, new: frozenset[int], streamed: frozenset[int]) -> Group:
    return replace(group, layers=group.layers | new, streamed=group.streamed | (new & streamed))
