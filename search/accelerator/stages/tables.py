"""Costs of every stage that a network can be cut into, on every array shape, as tables.

A stage is a run of layers on one conv chunk and, where it holds depthwise layers, one depthwise
chunk. Its cost falls apart into what depends on the conv chunk alone, on the depthwise chunk alone,
on the memories between the two, and on the memories that the stage before writes, of which only
that writer's drain lanes matter.
Suffixes: L layers, V variants (a stage, with or without a depthwise chunk), A conv shapes, M
multipliers, D depthwise shapes, P classes of conv shapes and Q of depthwise shapes with equal
ports, W drain lanes of a writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autonba.boards import Family
from autonba.cost import logic, timing
from autonba.cost.arrays import log2_up
from autonba.cost.timing import OUTPUT_WORD
from autonba.mapping import LayerPlan, ends
from autonba.search.accelerator.layers import Layers, natural_plans

from .chunks import Nests, Options, chunk_costs, chunk_needs, conv_nests, depthwise_nests
from .memories import KIND, Memories, Traffic, memory_costs
from .shapes import DRAIN_LANES, MULTIPLIERS, Floats, Ints, conv_shapes, depthwise_shapes
from .variants import MEMORIES, cut_points, lag_rows, variants

COMPONENTS = ("dsp", "bram", "lut", "ff", "energy", "lag", "multipliers")
DSP, BRAM, LUT, FF, ENERGY, LAG, COUNT = range(len(COMPONENTS))


def priced(prices: Mapping[str, float]) -> Floats:
    """Prices of COMPONENTS (7,) from those of metrics; one of latency is one of the lag."""
    price = np.array([prices.get(name, 0.0) for name in COMPONENTS])
    price[LAG] = prices.get("latency", 0.0)
    return price


@dataclass
class StageTables:
    """Costs of the stages of a network. Cycles are exact; everything is a whole number, so that
    sums do not depend on order.

    `variant` (cuts, cuts, 2) finds a stage, -1 where it does not exist. `conv` (V, A * M, 9) and
    `depthwise` (V, D, 7) hold COMPONENTS of the chunks, `*_busy` their cycles, and `conv` the beats
    of reading what the depthwise chunk and what the stage before wrote. `between` (1 + split
    stages, P, Q, 4), `before_conv` (V, W, P, 4), `before_depthwise` (V, W, Q, 3) hold block RAM,
    LUT and energy of the memories there, and energy of a beat of the conv chunk's reading.
    """

    layers: Layers
    family: Family
    streamed: frozenset[str] = frozenset()  # layers whose weights come from DRAM
    stream_bits: int = 128  # of the ports that they come through
    plans: list[LayerPlan] = field(init=False)
    cuts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.network = self.layers.network
        self.plans = natural_plans(self.network, self.streamed)
        self.cuts = cut_points(self.plans)
        self.shapes, self.depthwise_shapes = conv_shapes(), depthwise_shapes()
        found = variants(self.network, self.plans, self.cuts)
        self.stages = list(found.values())
        self.variant = np.full((len(self.cuts), len(self.cuts), 2), -1)
        for number, (i, j, split) in enumerate(found):
            self.variant[i, j, int(split)] = number
        self._fill()
        self.fixed = np.zeros(len(COMPONENTS))  # what every accelerator takes beside its stages
        output = self.network.output
        self.least_period = float(ends(self.network))
        edges = sum(1 + (lp.residual_root is not None) for lp in self.plans) + 1
        self.fixed[LUT], self.fixed[FF] = (
            np.rint(logic.top(0, len(self.plans), edges, self.family, kind)) for kind in logic.KINDS
        )
        self.fixed[LAG] = OUTPUT_WORD * output.width * output.channels

    def _fill(self) -> None:
        plans, stages, conv, depthwise = self.plans, self.stages, self.shapes, self.depthwise_shapes
        size = len(stages), len(plans)
        member = {kind: np.zeros(size) for kind in "ad"}
        lag = np.zeros(size)
        lags: dict[tuple[int, int], list[int]] = {}
        for v, stage in enumerate(stages):
            member["a"][v, list(stage.conv)] = 1
            member["d"][v, list(stage.depthwise)] = 1
            own = stage.first, stage.last
            if own not in lags:
                lags[own] = lag_rows(plans, range(*own))
            lag[v, own[0] : own[1]] = lags[own]
        nests = {
            "a": conv_nests(self.layers, plans, conv, self.stream_bits),
            "d": depthwise_nests(self.layers, plans, depthwise),
        }
        needs = {kind: chunk_needs(plans, stages, kind) for kind in ("a", "d")}
        count, kinds = len(conv.out), len(MULTIPLIERS)
        shape = np.repeat(np.arange(count), kinds)
        options = {
            "a": Options(
                "conv",
                shape,
                conv.out[shape],
                conv.into[shape],
                np.ones_like(shape),
                conv.columns[shape],
                conv.drain[shape],
                np.tile(np.arange(kinds), count),
            ),
            "d": Options(
                "depthwise",
                np.arange(len(depthwise.lanes)),
                depthwise.lanes,
                depthwise.lanes,
                depthwise.taps,
                depthwise.columns,
                depthwise.drain,
                depthwise.multiplier,
            ),
        }
        self.options, self.needs = options, needs
        (self.conv_busy, self.conv), (self.depthwise_busy, self.depthwise) = (
            chunk_costs(
                options[k],
                nests[k],
                needs[k],
                plans,
                member[k],
                lag * member[k],
                self.family,
                self.stream_bits,
            )
            for k in "ad"
        )
        self._fill_memories(nests, memory_costs(self.network, stages, self.family))
        for name in ("conv", "depthwise", "between", "before_conv", "before_depthwise"):
            setattr(self, name, np.rint(getattr(self, name)))

    def _fill_memories(self, nests: dict[str, Nests], memories: Memories) -> None:
        """Costs of the memories, read and written as often as the schedule does."""
        traffic = Traffic(self.plans, self.stages)
        conv, depthwise = self.options["a"], self.options["d"]
        beats = {key: traffic.reads[key] @ nests[key[1]].reads for key in MEMORIES if key[1] != "o"}
        stride = {kind: np.maximum(self.needs[kind].stride, 1)[:, None] for kind in ("a", "d")}

        def banks(options: Options, kind: str) -> Ints:
            found: Ints = log2_up(timing.banks(options.columns, stride[kind], options.taps))
            return found

        def cost(
            key: tuple[str, str, str], rows: Ints, w: Ints, r: Ints, b: Ints
        ) -> tuple[Any, Any, Any, Any]:
            """Block RAM, LUT, energy of a read, energy of all writes of a memory of variants
            `rows`; logarithms of sizes.
            """
            k = memories.number[rows, KIND[key]]
            return (
                memories.bram[k, w, r, b],
                memories.lut[k, w, r, b],
                memories.read[k, w, r, b],
                memories.write[k, w, r, b] * traffic.writes[key][rows, w],
            )

        def residual(
            key: tuple[str, str, str], rows: Ints, w: Ints, r: Ints
        ) -> tuple[Any, Any, Any]:
            bram, lut, reading, writing = cost(key, rows, w, r, np.zeros_like(r))
            return bram, lut, writing + reading * traffic.groups[key][rows, r]

        every = np.arange(len(self.stages))[:, None]
        for kind, options, table in (("a", conv, self.conv), ("d", depthwise, self.depthwise)):
            w, r, b = (
                log2_up(options.drain)[None],
                log2_up(options.into)[None],
                banks(options, kind),
            )
            bram, lut, reading, writing = cost((kind, kind, "main"), every, w, r, b)
            own = bram, lut, writing + reading * beats[kind, kind, "main"][:, options.shape]
            out = residual((kind, "o", "main"), every, w, np.zeros_like(w))
            for parts in (own, residual((kind, kind, "residual"), every, w, w), out):
                for component, part in zip((BRAM, LUT, ENERGY), parts, strict=True):
                    table[..., component] += part
        reads = [beats[w, "a", "main"][:, conv.shape] for w in "dx"]
        self.conv = np.concatenate([self.conv, np.stack(reads, axis=-1)], axis=-1)

        self.port, self.depthwise_port = self.shapes.port[conv.shape], self.depthwise_shapes.port
        p, q = (np.unique(port, return_index=True)[1] for port in (self.port, self.depthwise_port))
        split = np.flatnonzero(self.needs["d"].layers)[:, None, None]
        w_p, r_p, b_p = log2_up(conv.drain[p]), log2_up(conv.into[p]), banks(conv, "a")[:, p]
        w_q, r_q, b_q = (
            log2_up(depthwise.drain[q]),
            log2_up(depthwise.into[q]),
            banks(depthwise, "d")[:, q],
        )
        beats_q = {key: beats[key][:, q] for key in beats if key[1] == "d"}
        rows, column, row = split[:, 0, 0], np.s_[None, :, None], np.s_[None, None, :]
        to_q = cost(("a", "d", "main"), split, w_p[column], r_q[row], b_q[rows][:, None, :])
        to_p = cost(("d", "a", "main"), split, w_q[row], r_p[column], b_p[rows][:, :, None])
        back = [
            residual(("a", "d", "residual"), split, w_p[column], w_q[row]),
            residual(("d", "a", "residual"), split, w_q[row], w_p[column]),
        ]
        energy = to_q[3] + to_q[2] * beats_q["a", "d", "main"][rows][:, None, :] + to_p[3]
        table = np.stack(
            [
                to_q[0] + to_p[0] + back[0][0] + back[1][0],
                to_q[1] + to_p[1] + back[0][1] + back[1][1],
                energy + back[0][2] + back[1][2],
                to_p[2],
            ],
            axis=-1,
        )
        self.between = np.concatenate(
            [np.zeros((1, *table.shape[1:])), table]
        )  # row 0: no depthwise chunk
        self.between_row = np.zeros(len(self.stages), dtype=np.int64)
        self.between_row[rows] = 1 + np.arange(len(rows))

        every, writer = every[:, :, None], np.arange(len(DRAIN_LANES))[None, :, None]
        main = cost(("x", "a", "main"), every, writer, r_p[row], b_p[:, None, :])
        side = residual(("x", "a", "residual"), every, writer, w_p[row])
        self.before_conv = np.stack(
            [main[0] + side[0], main[1] + side[1], main[3] + side[2], main[2]], axis=-1
        )
        main = cost(("x", "d", "main"), every, writer, r_q[row], b_q[:, None, :])
        side = residual(("x", "d", "residual"), every, writer, w_q[row])
        energy = main[3] + main[2] * beats_q["x", "d", "main"][:, None, :]
        self.before_depthwise = np.stack(
            [main[0] + side[0], main[1] + side[1], energy + side[2]], axis=-1
        )
