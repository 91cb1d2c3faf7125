"""The stages that a network can be cut into: runs of layers, their chunks' layers, and the memories
between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from autonba.arithmetic import ceil_div
from autonba.mapping import LayerPlan, RowPattern
from autonba.network import INPUT, Network, Tensor
from autonba.search.accelerator.layers import residual_pattern
from autonba.search.accelerator.memories import assumed_rows, most_rows_needed

MOST_CUTS = 32  # cut points; of more, those next to the least work are dropped
# cut points up to which depthwise convolutions may also run on a conv chunk; larger networks have
# no use for it
FEW_CUTS = 24
MEMORIES = (
    *((w, r, p) for w in "xad" for r in "ad" for p in ("main", "residual")),
    ("a", "o", "main"),
    ("d", "o", "main"),
)


def is_depthwise(lp: LayerPlan) -> bool:
    """Whether a layer belongs on a depthwise chunk where there is one."""
    return lp.layer.is_depthwise and lp.groups == lp.source.channels == lp.out.channels


def layer_macs(lp: LayerPlan) -> int:
    """Multiply-accumulates of an image."""
    return (
        lp.out.height
        * lp.out.width
        * lp.out.channels
        * lp.kernel[0]
        * lp.kernel[1]
        * (lp.source.channels // lp.groups)
    )


def cut_points(plans: Sequence[LayerPlan], most: int = MOST_CUTS) -> list[int]:
    """Numbers of the layers before which the network may be cut, with both ends: where only the
    newest tensor is read later.
    """
    last_use: dict[str, int] = {}
    for n, lp in enumerate(plans):
        last_use |= {root: n for root in (lp.root, lp.residual_root) if root is not None}
    names = [INPUT, *(lp.layer.name for lp in plans)]
    alive = [sum(last_use.get(name, -1) >= n for name in names[: n + 1]) for n in range(len(plans))]
    cuts = [0, *(n for n in range(1, len(plans)) if alive[n] == 1), len(plans)]
    while len(cuts) > most:
        work = [sum(map(layer_macs, plans[a:b])) for a, b in itertools.pairwise(cuts)]
        least = min(range(1, len(cuts) - 1), key=lambda k: (work[k - 1] + work[k], k))
        del cuts[least]
    return cuts


@dataclass(frozen=True)
class Variant:
    """A stage of layers `first` to `last` - 1. `memories` holds (tensor, rows) of each memory, a
    key of MEMORIES: x is the chunk or the input before the stage, a the conv chunk, d the depthwise
    chunk, o the output."""

    first: int
    last: int
    conv: tuple[int, ...]
    depthwise: tuple[int, ...]
    pooling: bool  # takes maxima
    memories: dict[tuple[str, str, str], list[tuple[Tensor, int]]]
    writer: Literal["a", "d"]  # of the last layer


@cache
def _rows(needed: int, written: int, height: int, residual: bool) -> int:
    return int(assumed_rows(needed, written, height, residual))


def variants(
    network: Network, plans: Sequence[LayerPlan], cuts: Sequence[int]
) -> dict[tuple[int, int, bool], Variant]:
    """All stages by cut numbers and whether depthwise layers are on a chunk of their own."""
    number = {lp.layer.name: n for n, lp in enumerate(plans)}
    tensors = network.tensors
    found = {}
    for (i, first), (j, last) in itertools.combinations(enumerate(cuts), 2):
        own = range(first, last)
        depthwise = tuple(n for n in own if is_depthwise(plans[n]))
        convolved = any(plans[n].layer.op == "conv" for n in depthwise)
        pooling = any(plans[n].layer.op == "max_pool" for n in own)
        for split in (False, True):
            if (
                (split and not depthwise)
                or (pooling and not split)
                or (convolved and not split and len(cuts) > FEW_CUTS)
            ):
                continue
            home = dict.fromkeys(own, "a") | (dict.fromkeys(depthwise, "d") if split else {})
            patterns: dict[tuple[tuple[str, str, str], str], list[RowPattern]] = {}
            for n in own:
                lp = plans[n]
                patterns.setdefault(
                    ((home.get(number.get(lp.root, -1), "x"), home[n], "main"), lp.root), []
                ).append(lp.pattern)
                if lp.residual_root is not None:
                    place = home.get(number.get(lp.residual_root, -1), "x"), home[n], "residual"
                    patterns.setdefault((place, lp.residual_root), []).append(
                        residual_pattern(lp.out.height, lp.loops.rows)
                    )
            if last == len(plans):
                patterns[(home[last - 1], "o", "main"), plans[-1].layer.name] = [
                    residual_pattern(network.output.height, 1)
                ]
            memories: dict[tuple[str, str, str], list[tuple[Tensor, int]]] = {}
            for (place, root), readings in patterns.items():
                written = plans[number[root]].loops.rows if root in number else 1
                least = max(written, *map(most_rows_needed, readings))
                rows = _rows(least, written, tensors[root].height, place[2] == "residual")
                memories.setdefault(place, []).append((tensors[root], rows))
            found[i, j, split] = Variant(
                first,
                last,
                tuple(n for n in own if home[n] == "a"),
                tuple(n for n in own if home[n] == "d"),
                pooling,
                memories,
                "d" if home[last - 1] == "d" else "a",
            )
    return found


def lag_rows(plans: Sequence[LayerPlan], own: range) -> list[int]:
    """Rows of each layer of a stage that keep an image in it while no other stage works: those
    before the first row that leaves, or those after the last row that comes, whichever are less
    work."""
    work = {n: layer_macs(plans[n]) / plans[n].out.height for n in own}
    names = {plans[n].layer.name: n for n in own}
    first = dict.fromkeys(own, 0)
    first[own[-1]] = 1
    for n in reversed(own):
        lp = plans[n]
        if lp.root in names:
            m = names[lp.root]
            needed = (
                min((first[n] - 1) * lp.stride[0] - lp.padding[0] + lp.kernel[0], lp.source.height)
                if first[n]
                else 0
            )
            first[m] = max(first[m], needed)
        if lp.residual_root in names:
            m = names[lp.residual_root]
            first[m] = max(first[m], first[n])
    after: dict[int, int] = {}
    for n in own:
        lp = plans[n]
        left = after[names[lp.root]] if lp.root in names else 1
        oldest = max(
            ceil_div(lp.source.height - left + lp.padding[0] - lp.kernel[0] + 1, lp.stride[0]), 0
        )
        after[n] = max(
            lp.out.height - oldest,
            after[names[lp.residual_root]] if lp.residual_root in names else 0,
            1,
        )
    rows = min((first, after), key=lambda rows: sum(rows[n] * work[n] for n in own))
    return [min(rows[n], plans[n].out.height) for n in own]
