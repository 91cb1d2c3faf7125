"""The staged accelerator space of a fixed network: its layers in order, cut into stages, with
chunks of their own for each.

A candidate chooses up to `most` - 1 cut points and, for each stage, a conv chunk (out, in and drain
lanes, columns, multiplier) and a depthwise chunk or none (lanes, taps and columns, drain lanes,
multiplier). A stage without depthwise layers has no depthwise chunk, one that takes maxima always
has. `evaluate` gathers rows of `StageTables`; `StageGraph` walks the same tables.
Suffixes: B candidates, F factors, S stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from autonba.accelerator import SINK, Accelerator, Buffer, Chunk, Port
from autonba.search.accelerator.objectives import Costs, Goal

from .shapes import (
    COLUMNS,
    DEPTHWISE_LANES,
    DRAIN_LANES,
    IN_LANES,
    MULTIPLIERS,
    OUT_LANES,
    WINDOWS,
    Ints,
)
from .tables import BRAM, COMPONENTS, COUNT, DSP, ENERGY, FF, LAG, LUT, StageTables

MOST_STAGES = 8
CONV_SIZES = (len(OUT_LANES), len(IN_LANES), len(DRAIN_LANES), len(COLUMNS), len(MULTIPLIERS))
DEPTHWISE_SIZES = (1 + len(DEPTHWISE_LANES), len(WINDOWS), len(DRAIN_LANES), len(MULTIPLIERS))
STAGE_SIZES = CONV_SIZES + DEPTHWISE_SIZES


@dataclass(frozen=True)
class Stage:
    """A stage as numbers of the tables: its variant, conv option (of A * M) and depthwise shape (of
    D, 0 without split).
    """

    variant: int
    conv: int
    depthwise: int


@dataclass
class StagedProblem:
    """Choose cuts and chunks (a `Problem`). The costs of a candidate are whole numbers."""

    tables: StageTables
    goal: Goal
    most: int = MOST_STAGES
    sizes: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        t = self.tables
        self.stages = min(self.most, len(t.cuts) - 1)
        self.sizes = (*[len(t.cuts) - 1] * (self.stages - 1), *STAGE_SIZES * self.stages)
        self._variant = torch.from_numpy(t.variant)
        self._between_row = torch.from_numpy(t.between_row)
        self._number = torch.from_numpy(t.shapes.number)
        self._depthwise_number = torch.from_numpy(t.depthwise_shapes.number)
        self._pooling_shape = torch.from_numpy(t.depthwise_shapes.pooling)
        self._pooling = torch.tensor([stage.pooling for stage in t.stages])
        self._ends_depthwise = torch.tensor([stage.writer == "d" for stage in t.stages])
        drains = {lanes: number for number, lanes in enumerate(DRAIN_LANES)}
        self._conv_drain = torch.tensor([drains[n] for n in t.options["a"].drain.tolist()])
        self._depthwise_drain = torch.tensor([drains[n] for n in t.options["d"].drain.tolist()])
        self._port, self._depthwise_port = (
            torch.from_numpy(t.port),
            torch.from_numpy(t.depthwise_port),
        )
        busy = torch.from_numpy(t.conv_busy), torch.from_numpy(t.depthwise_busy)
        self._conv = torch.cat([torch.from_numpy(t.conv), busy[0][..., None]], dim=-1)
        self._depthwise = torch.cat([torch.from_numpy(t.depthwise), busy[1][..., None]], dim=-1)
        self._between, self._before_conv, self._before_depthwise = (
            torch.from_numpy(table) for table in (t.between, t.before_conv, t.before_depthwise)
        )
        self._fixed = torch.from_numpy(t.fixed)

    def stage_numbers(self, choice_BF: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Variant, conv option and depthwise shape of each stage, and whether it is there, each (B,
        S).
        """
        t, count = self.tables, self.stages
        cuts = choice_BF[:, : count - 1] + 1
        last = len(t.cuts) - 1
        ends = torch.cat(
            [
                torch.zeros_like(choice_BF[:, :1]),
                cuts.sort(dim=1).values,
                torch.full_like(choice_BF[:, :1], last),
            ],
            dim=1,
        )
        first, end = ends[:, :-1], ends[:, 1:]
        there = end > first
        out, into, drain, columns, multiplier, lanes, window, thin, kind = (
            choice_BF[:, count - 1 :].reshape(-1, count, len(STAGE_SIZES)).unbind(2)
        )
        wanted = self._variant[first, end, (lanes > 0).long()]
        other = self._variant[first, end, (lanes == 0).long()]
        variant = torch.where(wanted < 0, other, wanted)
        conv = self._number[out, into, drain, columns] * len(MULTIPLIERS) + multiplier
        depthwise = self._depthwise_number[(lanes - 1).clamp(min=0), window, thin, kind]
        depthwise = torch.where(self._pooling[variant], self._pooling_shape[depthwise], depthwise)
        return variant, conv, depthwise, there

    def evaluate(self, choice_BF: Tensor) -> Costs:
        """Costs of candidates given as choices (B, F)."""
        variant, conv, depthwise, there = self.stage_numbers(choice_BF)
        drain = self.drain(variant, conv, depthwise)
        writer = torch.zeros_like(drain)  # of the stage before
        for s in range(1, self.stages):
            writer[:, s] = torch.where(there[:, s - 1], drain[:, s - 1], writer[:, s - 1])
        total, busy = self.stage_costs(variant, conv, depthwise, writer)
        total = (total * there[..., None]).sum(1) + self._fixed
        busy = (busy * there).clamp(min=self.tables.least_period)
        cycles = busy.amax(1)
        return Costs(
            busy=busy,
            cycles=cycles,
            latency=cycles + total[:, LAG],
            energy=total[:, ENERGY],
            resources={
                "dsp": total[:, DSP],
                "bram": total[:, BRAM],
                "lut": total[:, LUT],
                "ff": total[:, FF],
                "multipliers": total[:, COUNT],
            },
        )

    def drain(self, variant: Tensor, conv: Tensor, depthwise: Tensor) -> Tensor:
        """Index of DRAIN_LANES by which stages write into the next one."""
        return torch.where(
            self._ends_depthwise[variant], self._depthwise_drain[depthwise], self._conv_drain[conv]
        )

    def number(self, variant: Ints | int, conv: Ints, depthwise: Ints) -> Ints:
        """A stage as one number, of which `parts` are the three again."""
        found: Ints = (variant * self.tables.conv.shape[1] + conv) * self.tables.depthwise.shape[
            1
        ] + depthwise
        return found

    def parts(self, number: Ints) -> tuple[Ints, Ints, Ints]:
        """Variant, conv option and depthwise shape of stages."""
        rest, depthwise = np.divmod(number, self.tables.depthwise.shape[1])
        variant, conv = np.divmod(rest, self.tables.conv.shape[1])
        return variant, conv, depthwise

    @property
    def nodes(self) -> int:
        """How many (cut, drain lanes that write across it) there are; one each at the image and at
        the end.
        """
        return 2 + (len(self.tables.cuts) - 2) * len(DRAIN_LANES)

    def node(self, cut: Ints | int, drain: Ints | int) -> Ints:
        """Number of a (cut, drain lanes)."""
        inner = 1 + (np.asarray(cut) - 1) * len(DRAIN_LANES) + drain
        found: Ints = np.where(np.asarray(cut) == 0, 0, np.minimum(inner, self.nodes - 1))
        return found

    def stage_costs(
        self, variant: Tensor, conv: Tensor, depthwise: Tensor, writer: Tensor
    ) -> tuple[Tensor, Tensor]:
        """COMPONENTS (..., 7) and cycles (...) of stages behind a writer of so many drain lanes (an
        index of DRAIN_LANES).
        """
        port, other = self._port[conv], self._depthwise_port[depthwise]
        a, d = self._conv[variant, conv], self._depthwise[variant, depthwise]
        between = self._between[self._between_row[variant], port, other]
        before, beside = (
            self._before_conv[variant, writer, port],
            self._before_depthwise[variant, writer, other],
        )
        total = a[..., : len(COMPONENTS)] + d[..., : len(COMPONENTS)]
        total[..., BRAM] += between[..., 0] + before[..., 0] + beside[..., 0]
        total[..., LUT] += between[..., 1] + before[..., 1] + beside[..., 1]
        total[..., ENERGY] += (
            between[..., 2]
            + before[..., 2]
            + beside[..., 2]
            + (a[..., 7] * between[..., 3]).round()
            + (a[..., 8] * before[..., 3]).round()
        )
        return total, torch.maximum(a[..., -1], d[..., -1])

    def decode(self, choice_F: Tensor) -> list[Stage]:
        """The stages of a candidate (F,)."""
        numbers = [n[0].tolist() for n in self.stage_numbers(choice_F[None])]
        split = self.tables.between_row
        return [
            Stage(v, a, d if split[v] else 0)
            for v, a, d, there in zip(*numbers, strict=True)
            if there
        ]

    def encode(self, stages: list[Stage]) -> Tensor:
        """Choices (F,) of a candidate that `decode` turns into `stages`."""
        t = self.tables
        last = [t.cuts.index(t.stages[stage.variant].last) for stage in stages]
        cuts = [*(n - 1 for n in last[:-1]), *[len(t.cuts) - 2] * (self.stages - len(stages))]
        choice = cuts
        for stage in stages:
            o, i, d, c = (
                int(n[0]) for n in (t.shapes.number == stage.conv // len(MULTIPLIERS)).nonzero()
            )
            choice += [o, i, d, c, stage.conv % len(MULTIPLIERS)]
            n, w, d, m = (
                int(n[0]) for n in (t.depthwise_shapes.number == stage.depthwise).nonzero()
            )
            choice += [n + 1 if t.stages[stage.variant].depthwise else 0, w, d, m]
        choice += [0] * (len(self.sizes) - len(choice))
        return torch.tensor(choice)


def accelerator(tables: StageTables, stages: list[Stage]) -> Accelerator:
    """The accelerator of a candidate, with the rows of buffer that its costs assume."""
    chunks: list[Chunk] = []
    allocation: dict[str, str] = {}
    buffers: list[Buffer] = []
    for stage in stages:
        variant = tables.stages[stage.variant]
        names = {"o": SINK}
        for kind, options, own, number in (
            ("a", tables.options["a"], variant.conv, stage.conv),
            ("d", tables.options["d"], variant.depthwise, stage.depthwise),
        ):
            if not own:
                continue
            name = f"{options.kind}{sum(chunk.kind == options.kind for chunk in chunks)}"
            out, into, taps, columns, drain, multiplier = (
                int(getattr(options, field)[number])
                for field in ("out", "into", "taps", "columns", "drain", "multiplier")
            )
            chunks.append(
                Chunk(
                    name=name,
                    kind=options.kind,
                    out_lanes=out,
                    in_lanes=into,
                    taps=taps,
                    columns=columns,
                    drain_lanes=drain,
                    multiplier=MULTIPLIERS[multiplier],
                )
            )
            allocation |= {tables.plans[n].layer.name: name for n in own}
            names[kind] = name
        for (_, reader, port), tensors in variant.memories.items():
            at: Port = "residual" if port == "residual" else "main"
            buffers += [
                Buffer(tensor=tensor.name, reader=names[reader], port=at, rows=rows)
                for tensor, rows in tensors
            ]
    order = [lp.layer.name for lp in tables.plans]
    return Accelerator(
        chunks=tuple(chunks),
        allocation={name: allocation[name] for name in order},
        buffers=tuple(buffers),
        loops={lp.layer.name: lp.loops for lp in tables.plans if lp.streams},
        stream_bits=tables.stream_bits,
    )
