"""The cost model of Auto-NBA's authors, restated: cycles, DSPs and block RAMs of an accelerator for
their 22-block network.

Source: github.com/GATECH-EIC/Auto-NBA, analytical_model/analytical_prediction.py
(`capsuled_predictor`, `design_choice_gen`, CIFAR sizes). An accelerator has a chunk for each kind
of layer that the network has: large or small maps, depthwise or not, and bits. Every chunk has nine
factors: how it is parallel (`mode`), the tile it buffers (rows, columns, output and input maps),
and the part of the tile that it unrolls. A chunk's cycles are a sum over its layers, its resources
their maximum; the accelerator's cycles are a maximum over chunks, its resources a sum. *Mended*:
trip counts are rounded up, and the weight memory that three of the five modes compute and drop is
counted.

Since a chunk's figures do not depend on the others, all of its configurations are tabulated once
(0.03 s for all chunks).
Suffixes: B candidates, C chunks, F factors; R, C, M, N legal pairs of tile and unrolled part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autonba.search.accelerator.objectives import Costs, Goal
from autonba.search.accelerator.stages.path_graph import Arc, Chain, Floats, pareto
from benchmarks.networks import PAPER_BITS, PAPER_BLOCKS, PAPER_CHANNELS, PAPER_STEM

CLOCK = 200e6  # Hz, theirs
BUDGET = {"dsp": 900.0, "bram": 700.0}  # theirs
SIZES = (
    *(32,) * 5,
    *(16,) * 4,
    *(8,) * 8,
    *(4,) * 5,
)  # rows of each block's output, theirs for 32x32 images
LARGE = 16  # rows from which on a layer runs on a chunk for large maps
BANK = 1125 * 16  # bits of a memory bank, theirs
FACTORS = (
    "mode",
    "rows",
    "columns",
    "outputs",
    "inputs",
    "unroll rows",
    "unroll columns",
    "unroll outputs",
    "unroll inputs",
)
ROWS, MAPS = (16, 8, 4, 2, 1), (8, 4, 2, 1)
SMALL_ROWS, SMALL_MAPS = (4, 2, 1), (32, 16, 8, 4, 2, 1)
MODES = {False: (0, 1, 2), True: (0, 1)}  # by depthwise
WIDEST = 6  # choices of the factor with most


@dataclass(frozen=True, order=True, kw_only=True)
class Shape:
    """A convolution of `inputs` x `outputs` maps of `size` x `size` outputs with a kernel of
    `kernel` x `kernel`.
    """

    inputs: int
    outputs: int
    size: int
    kernel: int


@dataclass(frozen=True, order=True, kw_only=True)
class Kind:
    """What decides a layer's chunk."""

    depthwise: bool
    large: bool
    bits: int

    @property
    def name(self) -> str:
        return (
            f"{'depthwise' if self.depthwise else 'conv'}, {'large' if self.large else 'small'}"
            f" maps, {self.bits} bits"
        )


def layers() -> dict[Kind, Counter[Shape]]:
    """The shapes of the 22 blocks' convolutions by chunk; a convolution of two groups counts as two
    of half the maps.
    """
    chunks: dict[Kind, Counter[Shape]] = {}

    def add(depthwise: bool, bits: int, shape: Shape, times: int = 1) -> None:
        kind = Kind(depthwise=depthwise, large=shape.size >= LARGE, bits=bits)
        chunks.setdefault(kind, Counter())[shape] += times

    channels = PAPER_STEM
    for block, bits, out, size in zip(PAPER_BLOCKS, PAPER_BITS, PAPER_CHANNELS, SIZES, strict=True):
        groups = 2 if block.endswith("_g2") else 1
        inside = channels * int(block[4])
        for a, b in ((channels, inside), (inside, out)):
            add(
                False,
                bits,
                Shape(inputs=a // groups, outputs=b // groups, size=size, kernel=1),
                groups,
            )
        add(True, bits, Shape(inputs=1, outputs=inside, size=size, kernel=int(block[1])))
        channels = out
    return dict(sorted(chunks.items()))


def pairs(values: Sequence[int]) -> tuple[Floats, Floats]:
    """(tile, unrolled part) of every legal pair: no more is unrolled than the tile holds."""
    legal = [(a, b) for a in values for b in values if b <= a]
    return np.array([a for a, _ in legal], dtype=np.float64), np.array(
        [b for _, b in legal], dtype=np.float64
    )


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Every configuration of a chunk: (modes, R, C, M, N), one axis for each legal pair of tile and
    unrolled part.
    """

    kind: Kind
    shapes: Mapping[Shape, int]
    modes: tuple[int, ...]
    mended: bool

    @property
    def rows(self) -> tuple[int, ...]:
        return ROWS if self.kind.large else SMALL_ROWS

    @property
    def outputs(self) -> tuple[int, ...]:
        return MAPS if self.kind.large else SMALL_MAPS

    @property
    def inputs(self) -> tuple[int, ...]:
        return (1,) if self.kind.depthwise else self.outputs

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of choices of each of FACTORS."""
        tile = (len(self.rows), len(self.rows), len(self.outputs), len(self.inputs))
        return (len(self.modes), *tile, *tile)

    @cached_property
    def tables(self) -> tuple[Floats, Floats, Floats]:
        """Cycles an image, DSPs and block RAMs of every configuration."""
        found = [self._mode(mode) for mode in self.modes]
        cycles, dsp, bram = (np.stack([f[n] for f in found]) for n in range(3))
        return cycles, dsp, bram

    def _mode(self, mode: int) -> tuple[Floats, Floats, Floats]:
        """The same of one mode (R, C, M, N): `mode` unrolls 0 outputs, 1 outputs and inputs, 2
        rows.

        Depthwise: 0 outputs, 1 rows.
        """
        by_rows = mode == (1 if self.kind.depthwise else 2)
        tile_r, unroll_r = (v.reshape(-1, 1, 1, 1) for v in pairs(self.rows))
        tile_c, unroll_c = (v.reshape(1, -1, 1, 1) for v in pairs(self.rows))
        tile_m, unroll_m = (v.reshape(1, 1, -1, 1) for v in pairs(self.outputs))
        tile_n, unroll_n = (v.reshape(1, 1, 1, -1) for v in pairs(self.inputs))
        whole = np.zeros(
            np.broadcast_shapes(tile_r.shape, tile_c.shape, tile_m.shape, tile_n.shape)
        )
        bits, share = self.kind.bits, self.kind.bits / 16
        depthwise = self.kind.depthwise
        unrolled = unroll_r if by_rows else unroll_m * unroll_n if mode == 1 else unroll_m
        trips = np.ceil if self.mended else np.asarray

        def banks(count: Floats, words: Floats) -> Floats:
            """Memories of `count` parallel banks of `words` each."""
            return np.asarray(count * np.ceil(words * bits / BANK))

        def burst(words: Floats, width: Floats) -> Floats:
            """Beats of a transfer through a port of two to four words."""
            return np.asarray(np.ceil(words / np.clip(width, 2, 4)))

        write = burst(tile_m * tile_r * tile_c, unroll_r if by_rows else unroll_m)
        clear = tile_c * (tile_m * tile_r / unroll_r if by_rows else tile_r * tile_m / unroll_m)
        cycles, bram = whole.copy(), whole.copy()
        for shape, times in self.shapes.items():
            area = shape.kernel**2
            span_r = np.maximum(unroll_r + shape.kernel - 1, tile_r)
            span_c = np.maximum(unroll_c + shape.kernel - 1, tile_c)
            maps = tile_m if depthwise else tile_n  # that are read
            compute = tile_m * tile_n * tile_r * tile_c * area / unrolled
            read = (
                burst(
                    maps * span_c * span_r,
                    unroll_m if depthwise else span_r if by_rows else unroll_n,
                )
                * share
            )
            weights = (
                tile_m * tile_n * shape.kernel
                if by_rows
                else burst(tile_m * tile_n * area, unroll_m)
            )
            step = np.maximum(compute, read) + weights * share
            inner = step * trips(shape.inputs / tile_n) + (write + clear) * share
            outer = (
                trips(shape.size / tile_r)
                * trips(shape.size / tile_c)
                * trips(shape.outputs / tile_m)
            )
            cycles += times * inner * outer
            if by_rows:
                held = 2 * banks(span_r, span_c * tile_n) + banks(unroll_r, tile_c * tile_m)
                held = held + banks(np.float64(shape.kernel), shape.kernel * tile_m * tile_n)
            else:
                lanes = unroll_m if depthwise else unroll_n
                held = 2 * banks(lanes, span_r * span_c * maps / lanes) + banks(
                    unroll_m, tile_r * tile_c * tile_m / unroll_m
                )
                if self.mended:
                    held = held + banks(unrolled, area * tile_n * tile_m / unrolled)
            bram = np.maximum(bram, held)
        return cycles, unrolled * share + whole, bram


class Published:
    """The authors' search problem: FACTORS of every chunk in a row; the unrolled part is cut to the
    tile where it exceeds it.
    """

    def __init__(
        self, *, one_mode: bool, mended: bool, budget: Mapping[str, float] = BUDGET
    ) -> None:
        """`one_mode`: mode 1 for every chunk, as their `fix_comp_mode` sets it."""
        self.goal = Goal(weights={"cycles": 1.0}, limits=dict(budget))
        self.chunks = [
            Chunk(
                kind=kind,
                shapes=shapes,
                modes=(1,) if one_mode else MODES[kind.depthwise],
                mended=mended,
            )
            for kind, shapes in layers().items()
        ]
        self.sizes = tuple(size for chunk in self.chunks for size in chunk.sizes)
        tables, step, start = [], [], 0
        for chunk in self.chunks:
            cycles, dsp, bram = chunk.tables
            tables.append(np.stack([cycles.ravel(), dsp.ravel(), bram.ravel()], axis=1))
            strides = [int(np.prod(cycles.shape[axis + 1 :])) for axis in range(5)]
            look = np.zeros((5, WIDEST, WIDEST), dtype=np.int64)
            look[0, :, 0] = start + np.arange(WIDEST) * strides[0]
            for axis in range(4):
                size, number = chunk.sizes[1 + axis], 0
                for a in range(size):
                    look[axis + 1, a, : a + 1] = number * strides[axis + 1]
                    for b in range(a, size):
                        look[axis + 1, a, b] = number * strides[axis + 1]
                        number += 1
            step.append(look.ravel())
            start += cycles.size
        self._table = torch.from_numpy(np.concatenate(tables))  # (configurations, 3)
        self._steps = torch.from_numpy(np.concatenate(step))
        self._base = torch.arange(5 * len(self.chunks)) * WIDEST**2

    def configurations(self, choice_BF: Tensor) -> Tensor:
        """Row of the table (B, chunks) of every chunk."""
        choice = choice_BF.view(len(choice_BF), len(self.chunks), len(FACTORS))
        number = choice * WIDEST
        number[:, :, 1:5] += choice[:, :, 5:]
        look = number[:, :, :5].reshape(len(choice_BF), -1) + self._base
        return self._steps[look].view(len(choice_BF), len(self.chunks), 5).sum(-1)

    def evaluate(self, choice_BF: Tensor) -> Costs:
        """Costs of candidates; their model knows neither latency of the first image nor energy."""
        rows = self._table[self.configurations(choice_BF)]
        cycles = rows[:, :, 0].amax(1)
        total = rows.sum(1)
        nothing = torch.zeros_like(cycles)
        resources = {"dsp": total[:, 1], "bram": total[:, 2]}
        return Costs(
            cycles=cycles, latency=nothing, energy=nothing, resources=resources, busy=rows[:, :, 0]
        )

    def graph(self) -> Chain:
        """The problem for the exact solver: every chunk with the configurations that none other
        beats in all three figures.
        """
        links = []
        for node, chunk in enumerate(self.chunks):
            table = np.stack([figures.ravel() for figures in chunk.tables], axis=1)
            kept = pareto(table)
            best = table[kept]
            links.append(
                Arc(
                    target=node + 1,
                    busy=best[:, 0],
                    spent=best[:, 1:],
                    value=np.zeros(len(best)),
                    options=kept,
                )
            )
        return Chain(resources=("dsp", "bram"), links=tuple(links))
