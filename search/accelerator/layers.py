"""What a network asks of any accelerator, as arrays over its layers and readings.

Suffixes: L layers, E readings of tensors (edges), O and I numbers of OUT_LANES and IN_LANES, R
numbers of ROWS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from autonba.accelerator import Accelerator, Buffer, Chunk, Loops
from autonba.arithmetic import LOGIT_BITS, RESIDUAL_MULTIPLIER_BITS, clog2
from autonba.cost.control import address_bits, row_tables
from autonba.errors import SpecError
from autonba.mapping import LayerPlan, Order, RowPattern, lane_nest, lanes_meet, plan
from autonba.mapping import required_buffers as least_buffers
from autonba.network import Network

from .factors import IN_LANES, LOOPS, OUT_LANES, ROWS, STREAMED, WHOLE
from .memories import most_rows_needed

Ints = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
IMPOSSIBLE = 1 << 40  # words that a layer reads on a chunk that cannot run it


def natural_plans(network: Network, streamed: frozenset[str] = frozenset()) -> list[LayerPlan]:
    """Plans of all layers with the orders of channels that they have on every accelerator of the
    space; tasks of those that are `streamed` are whole maps.
    """
    one = Chunk(name="one", kind="conv", out_lanes=64, in_lanes=64, drain_lanes=1, multiplier="lut")
    pool = Chunk(
        name="pool", kind="depthwise", out_lanes=1, in_lanes=1, drain_lanes=1, multiplier="lut"
    )
    allocation = {
        layer.name: "pool" if layer.op == "max_pool" else "one"
        for layer in network.layers
        if layer.op != "shuffle"
    }
    tensors = network.tensors
    loops = {name: whole_map(tensors[name].height) for name in streamed}
    bare = Accelerator(
        chunks=tuple(c for c in (one, pool) if c.name in allocation.values()),
        allocation=allocation,
        loops=loops,
    )
    buffers = tuple(
        Buffer(tensor=t, reader=r, port=p, rows=n)
        for (t, r, p), n in least_buffers(network, bare).items()
    )
    whole = replace(bare, buffers=buffers)
    return list(plan(network, whole).layers.values())


def whole_map(height: int) -> Loops:
    """Loops of a layer whose weights are streamed once an image."""
    return replace(LOOPS[STREAMED], rows=height)


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A network's layers and readings. A reading's `writer` is a layer or, for the image, L; its
    `reader` a layer or, for the result, L.
    """

    network: Network
    plans: tuple[LayerPlan, ...]
    names: tuple[str, ...]
    slots: Ints  # (L,) place of each layer among the factors
    height: Ints  # (L,) of its output
    width: Ints
    channels: Ints
    source_height: Ints
    kernel_rows: Ints
    kernel_columns: Ints
    # words of input channels that a block reads for a tap; IMPOSSIBLE where the chunk cannot run it
    conv_words: Ints  # (L, O, I)
    depthwise_words: Ints  # (L, I)
    pooling: Truths  # (L,) takes maxima
    rows: Ints  # (L, R) of a task
    row_tables: Ints  # (L, R) bits of the scheduler's tables
    address_bits: Ints  # (L,)
    weight_bits: Ints
    sum_bits: Ints
    raw: Truths
    shift: Ints
    stride: Ints  # horizontal
    write_bits: Ints
    residual: Truths
    residual_factor: Ints  # bits of r, the most it can have where it is not known yet
    writer: Ints  # (E,)
    reader: Ints
    at_residual: Truths
    needs: Ints  # (E, R) rows that the reader's tasks need at once
    tensor_channels: Ints  # (E,)
    tensor_width: Ints
    tensor_height: Ints
    tensor_bits: Ints
    tensor_signed: Truths
    twins: tuple[tuple[int, int], ...]  # readings of one tensor at ports of a kind
    source_channels: int
    source_lanes: int  # that the image is written with

    def __len__(self) -> int:
        return len(self.names)


def tabulate(
    network: Network,
    slots: Sequence[str] | None = None,
    slot_of: Callable[[str], str] = lambda name: name,
) -> Layers:
    """Tables of `network`; `slot_of` maps a layer's name to its slot, each layer's own by
    default.
    """
    plans = natural_plans(network)
    names = tuple(lp.layer.name for lp in plans)
    places = {slot: n for n, slot in enumerate(names if slots is None else slots)}
    number = {name: n for n, name in enumerate(names)}
    tensors, count = network.tensors, len(plans)
    rows = np.array([[_divisor(lp.out.height, n) for n in ROWS] for lp in plans])
    patterns = [
        [_pattern(lp, n) for n in own] for lp, own in zip(plans, rows.tolist(), strict=True)
    ]
    edges = []
    for n, lp in enumerate(plans):
        edges.append((number.get(lp.root, count), n, False, lp.source, patterns[n]))
        if lp.residual_root is not None:
            tensor = tensors[lp.residual_root]
            own = [residual_pattern(lp.out.height, r) for r in rows[n].tolist()]
            edges.append((number.get(lp.residual_root, count), n, True, tensor, own))
    last = network.output
    edges.append((count - 1, count, False, last, [residual_pattern(last.height, 1)] * len(ROWS)))
    kept = {(w, p): [] for w, _, p, _, _ in edges}  # type: dict[tuple[int, bool], list[int]]
    twins = []
    for e, (writer, reader, port, _, _) in enumerate(edges):
        if reader < count:
            twins += [(f, e) for f in kept[writer, port]]
            kept[writer, port].append(e)
    nests = [_words(lp) for lp in plans]

    def of_layers(value: Callable[[LayerPlan], int]) -> Ints:
        return np.array([value(lp) for lp in plans], dtype=np.int64)

    return Layers(
        network=network,
        plans=tuple(plans),
        names=names,
        slots=np.array([places[slot_of(name)] for name in names]),
        height=of_layers(lambda lp: lp.out.height),
        width=of_layers(lambda lp: lp.out.width),
        channels=of_layers(lambda lp: lp.out.channels),
        source_height=of_layers(lambda lp: lp.source.height),
        kernel_rows=of_layers(lambda lp: lp.kernel[0]),
        kernel_columns=of_layers(lambda lp: lp.kernel[1]),
        conv_words=np.stack([conv for conv, _ in nests]),
        depthwise_words=np.stack([depthwise for _, depthwise in nests]),
        pooling=np.array([lp.layer.op == "max_pool" for lp in plans]),
        rows=rows,
        row_tables=np.array([[row_tables(p) for p in own] for own in patterns]),
        address_bits=of_layers(address_bits),
        weight_bits=of_layers(lambda lp: lp.weight_bits),
        sum_bits=of_layers(lambda lp: lp.sum_bits),
        raw=np.array([lp.layer.raw for lp in plans]),
        shift=of_layers(lambda lp: lp.layer.shift),
        stride=of_layers(lambda lp: lp.stride[1]),
        write_bits=of_layers(
            lambda lp: LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed)
        ),
        residual=np.array([lp.residual_root is not None for lp in plans]),
        residual_factor=of_layers(residual_factor_bits),
        writer=np.array([e[0] for e in edges]),
        reader=np.array([e[1] for e in edges]),
        at_residual=np.array([e[2] for e in edges]),
        needs=np.array([[most_rows_needed(p) for p in e[4]] for e in edges]),
        tensor_channels=np.array([e[3].channels for e in edges]),
        tensor_width=np.array([e[3].width for e in edges]),
        tensor_height=np.array([e[3].height for e in edges]),
        tensor_bits=np.array([e[3].bits for e in edges]),
        tensor_signed=np.array([e[3].signed for e in edges]),
        twins=tuple(twins),
        source_channels=network.input.channels,
        source_lanes=1 << clog2(network.input.channels),
    )


def _divisor(height: int, rows: int) -> int:
    """Rows of a task: `rows`, or the next fewer that divide the map's."""
    if rows == WHOLE:
        return height
    return next(n for n in range(min(rows, height), 0, -1) if height % n == 0)


def _pattern(lp: LayerPlan, rows: int) -> RowPattern:
    return RowPattern(
        rows=lp.source.height,
        tasks=lp.out.height // rows,
        step=rows * lp.stride[0],
        span=(rows - 1) * lp.stride[0] + lp.kernel[0],
        padding=lp.padding[0],
    )


def residual_pattern(height: int, rows: int) -> RowPattern:
    """Rows of a residual, or of the result, that tasks of so many rows read."""
    return RowPattern(rows=height, tasks=height // rows, span=rows, step=rows, padding=0)


def residual_factor_bits(lp: LayerPlan) -> int:
    """Bits of r; the most it can have where it is not known yet."""
    if lp.residual_root is None:
        return 0
    return lp.layer.residual_multiplier.bit_length() or RESIDUAL_MULTIPLIER_BITS


def _words(lp: LayerPlan) -> tuple[Ints, Ints]:
    """Words that a block of a layer reads: (O, I) on conv chunks, (I,) on depthwise chunks."""
    plain = np.full(len(IN_LANES), IMPOSSIBLE)
    if lp.groups == 1 and lp.layer.op == "conv":
        words = -(-lp.source.channels // np.array(IN_LANES))
        return np.broadcast_to(words, (len(OUT_LANES), len(IN_LANES))), plain
    alone = lp.layer.is_pool or lp.groups == lp.source.channels > 1
    conv, depthwise = _grouped_words(
        lp.groups,
        lp.input_order,
        lp.output_order,
        alone and lp.out.channels == lp.source.channels,
    )
    if lp.layer.op == "max_pool":
        conv = np.full_like(conv, IMPOSSIBLE)
        if (depthwise == IMPOSSIBLE).any():
            raise SpecError(
                f"layer {lp.layer.name!r}: a max_pool must keep the order of its channels, and"
                " the shuffle before it does not; move the shuffle behind it"
            )
    return conv, depthwise


@lru_cache(maxsize=4096)
def _grouped_words(
    groups: int, input_order: Order, output_order: Order, alone: bool
) -> tuple[Ints, Ints]:
    natural = input_order == output_order == tuple(range(len(input_order)))
    if alone and natural:
        channels = len(input_order)
        conv = np.array([[depthwise_words(channels, o, i) for i in IN_LANES] for o in OUT_LANES])
        return conv, np.ones(len(IN_LANES), dtype=np.int64)
    conv = np.array(
        [
            [lane_nest(groups, o, i, input_order, output_order).words for i in IN_LANES]
            for o in OUT_LANES
        ]
    )
    depthwise = np.full(len(IN_LANES), IMPOSSIBLE)
    if alone:
        for number, lanes in enumerate(IN_LANES):
            nest = lane_nest(groups, lanes, lanes, input_order, output_order)
            if lanes_meet(nest, lanes, input_order, output_order):
                depthwise[number] = 1
    return conv, depthwise


@lru_cache(maxsize=65536)
def depthwise_words(channels: int, out_lanes: int, in_lanes: int) -> int:
    """Words that a block of a conv chunk reads of a depthwise layer, channels in order
    (`autonba.mapping.lane_nest`).
    """
    blocks, words = -(-channels // out_lanes), -(-channels // in_lanes)
    block = np.arange(blocks)
    first, last = (
        block * out_lanes // in_lanes,
        (np.minimum((block + 1) * out_lanes, channels) - 1) // in_lanes,
    )
    best = words
    for groups in range(1, blocks + 1):
        if blocks % groups:
            continue
        low, high = first.reshape(groups, -1).min(axis=1), last.reshape(groups, -1).max(axis=1)
        run = int(high[0] - low[0] + 1)
        start = np.arange(groups) * (int(low[1] - low[0]) if groups > 1 else 0)
        if (low >= start).all() and (high < start + run).all() and int(start[-1]) + run <= words:
            best = min(best, run)
    return best
