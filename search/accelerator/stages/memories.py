"""Costs of the row buffers of every stage, and how often they are used.

Block RAM, LUT and energies follow the rules of `autonba.cost` for the rows of buffer that
`stage_variants` assumes.
Suffixes: V variants, K memories, W drain lanes of a writer, R lanes of a reader, B banks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autonba.arithmetic import clog2
from autonba.boards import Family
from autonba.mapping import LayerPlan
from autonba.network import Network
from autonba.search.accelerator.memories import Memories as RowBuffers

from .chunks import lane_bits
from .shapes import DRAIN_LANES, IN_LANES, Floats, Ints
from .variants import MEMORIES, Variant

BANKS = (1, 2, 4, 8)
READS = IN_LANES  # lanes that a memory may be read in
LANES = (1, 2, 4, 8, 16, 32, 64)
KIND = {memory: number for number, memory in enumerate(MEMORIES)}


@dataclass(frozen=True)
class Memories:
    """Cost of every memory of every variant with every number of lanes and banks, (K, W, R, B); the
    last of K costs nothing.

    `number` (V, len(MEMORIES)) finds a memory. Energies are those of one read and one write."""

    number: Ints
    bram: Ints
    lut: Floats
    read: Floats
    write: Floats


def memory_costs(network: Network, stages: Sequence[Variant], family: Family) -> Memories:
    """The table of `stages`' memories on a family of FPGAs."""
    entries = [
        (v, key, tensors)
        for v, stage in enumerate(stages)
        for key, tensors in stage.memories.items()
    ]
    number = np.full((len(stages), len(MEMORIES)), len(entries), dtype=np.int64)
    place, lanes, banks = [], np.array(LANES), np.array(BANKS)
    flat = []
    for k, (v, key, tensors) in enumerate(entries):
        number[v, KIND[key]] = k
        place += [k] * len(tensors)
        flat += [(t.channels, t.width, rows) for t, rows in tensors]
    channels, width, rows = np.array(flat).T
    words = (rows[:, None, None] * -(-channels[:, None, None] // lanes[:, None])) * -(
        -width[:, None, None] // banks
    )
    starts = np.flatnonzero(np.diff(np.array(place), prepend=-1))
    depth_KLB = np.add.reduceat(words, starts, axis=0)
    bits_K = np.array([lane_bits(tensors)[0] for _, _, tensors in entries])
    source_K = np.array([key[0] == "x" and stages[v].first == 0 for v, key, _ in entries])
    source_lanes = 1 << clog2(network.input.channels)
    write = np.where(source_K[:, None], source_lanes, np.array(DRAIN_LANES))[
        :, :, None
    ]  # (K, W, 1)
    kept = np.where(source_K[:, None], network.input.channels, np.array(DRAIN_LANES))[
        :, :, None, None
    ]
    read = np.array(READS)[None, None, :]
    wide = np.maximum(write, read)  # (K, W, R)
    depth = depth_KLB[
        np.arange(len(entries))[:, None, None], np.log2(wide).astype(np.int64)
    ]  # (K, W, R, B)
    bits, write, wide, read = (
        bits_K[:, None, None, None],
        write[..., None],
        wide[..., None],
        read[..., None],
    )
    costs = RowBuffers(
        write_lanes=write,
        read_lanes=read,
        kept_lanes=kept,
        lane_bits=bits,
        banks=banks,
        depth=depth,
    )
    bram = costs.bram(family)
    lut = costs.logic("lut", family)  # of registers they take next to none
    reading, writing = costs.read_energy, costs.write_energy

    def padded(values: Any) -> Any:
        return np.concatenate(
            [
                np.broadcast_to(values, depth.shape),
                np.zeros((1, *depth.shape[1:]), dtype=values.dtype),
            ]
        )

    return Memories(number, padded(bram), padded(lut), padded(reading), padded(writing))


class Traffic:
    """How often each memory is used in an image: `reads` (V, L), 1 for the layers that read it at
    their main port; `writes` and `groups` (V, lanes), groups of so many channels that are written
    and that are read as residuals or results."""

    def __init__(self, plans: Sequence[LayerPlan], stages: Sequence[Variant]) -> None:
        number = {lp.layer.name: n for n, lp in enumerate(plans)}
        lanes = np.array(LANES)
        self.reads = {key: np.zeros((len(stages), len(plans))) for key in MEMORIES}
        self.writes = {key: np.zeros((len(stages), len(LANES))) for key in MEMORIES}
        self.groups = {key: np.zeros((len(stages), len(LANES))) for key in MEMORIES}
        for v, stage in enumerate(stages):
            home = dict.fromkeys(stage.conv, "a") | dict.fromkeys(stage.depthwise, "d")
            for key, tensors in stage.memories.items():
                for tensor, _ in tensors:
                    pixels = tensor.height * tensor.width
                    whole = (
                        key[0] == "x" and stage.first == 0
                    )  # the image is written a pixel at a time
                    self.writes[key][v] += pixels * (1 if whole else -(-tensor.channels // lanes))
                    if key[1] == "o":
                        self.groups[key][v] += pixels * tensor.channels
            for n, chunk in home.items():
                lp = plans[n]
                self.reads[home.get(number.get(lp.root, -1), "x"), chunk, "main"][v, n] = 1
                if lp.residual_root is not None:
                    key = home.get(number.get(lp.residual_root, -1), "x"), chunk, "residual"
                    self.groups[key][v] += (
                        lp.out.height * lp.out.width * -(-lp.out.channels // lanes)
                    )
