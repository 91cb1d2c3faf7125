"""Small accelerators of the whole space, for those who build and run what they draw.

Suffixes: B candidates, F factors, C chunks.
"""

from __future__ import annotations

import random

import numpy as np

from autonba.accelerator import Accelerator
from autonba.network import Network

from .factors import COLUMNS, DEPTHWISE, IN_LANES, OF_CHUNK, OUT_LANES, TAPS
from .layers import Ints, tabulate
from .space import AcceleratorSpace, Candidates

DRAWN = 1024  # choices from which each chunk takes one
SMALLER = 8  # of a chunk's share of the multipliers, what it has at least


def small_accelerator(
    draw: random.Random, network: Network, chunks: int, multipliers: int
) -> Accelerator:
    """An accelerator of the whole space of at most `chunks` chunks, two for a network that takes
    maxima, and not many more than `multipliers`.

    Loops are uniform; so are allocations that use as many chunks as can be, and arrays that take
    at most a share of the multipliers, which is drawn, and not much less.
    """
    layers = tabulate(network)
    count = max(chunks, 1 + bool(layers.pooling.any()))
    space = AcceleratorSpace(len(layers), chunks=count, streams=True)
    noise = np.random.default_rng(draw.randrange(1 << 32))
    choice_BF = space.random(noise, DRAWN)
    size_BC = _multipliers(space.legal(choice_BF, layers))
    most_C = multipliers * noise.dirichlet(np.ones(count))
    # The first that is neither too large nor much too small, else the nearest to it.
    off_BC = np.maximum(size_BC - most_C, 0) + np.maximum(most_C / SMALLER - size_BC, 0)
    drawn, parts = space.parts(choice_BF.copy()), space.parts(choice_BF)  # views
    for c, b in enumerate(off_BC.argmin(axis=0)):
        for name in OF_CHUNK:
            parts[name][:, c] = drawn[name][b, c]
    parts["count"][:] = count - 1
    # As many chunks as can be are there: the first allocation that uses most.
    candidates = space.legal(choice_BF, layers)
    used_B = (np.diff(np.sort(candidates.chunk, axis=1), axis=1) > 0).sum(axis=1)
    return space.accelerator(layers, candidates, int(used_B.argmax()))


def _multipliers(c: Candidates) -> Ints:
    """Multipliers of each chunk (B, C)."""
    terms = np.where(c.kind == DEPTHWISE, 1, np.array(IN_LANES)[c.into])
    size: Ints = (
        np.array(OUT_LANES)[c.out] * terms * np.array(TAPS)[c.taps] * np.array(COLUMNS)[c.columns]
    )
    return size
