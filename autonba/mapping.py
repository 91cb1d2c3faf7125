"""How a network lies on an accelerator: loop nests, channel orders, buffers, widths. Every stage reads it from here.

A *row task* computes one output row of one layer. For each column, *blocks* of `out_lanes` output channels are computed
one after the other; a block takes one cycle for each kernel tap and each word of `in_lanes` input channels it needs.
Tensors are stored in a *physical* channel order, which absorbs channel shuffles; groups become sets of input words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from autonba.accelerator import SINK, SOURCE, Accelerator, Chunk, Port
from autonba.arithmetic import LOGIT_BITS, ceil_div, clog2, signed_width
from autonba.errors import SpecError
from autonba.golden import Weights, accumulator_range
from autonba.network import INPUT, Layer, Network, Tensor, effective_kernel, shuffle_order

Order = tuple[int, ...]  # physical channel -> logical channel


@dataclass(frozen=True, kw_only=True)
class WordNest:
    """Which words of input channels each block of output channels reads, as an affine loop nest.

    Block `b` belongs to group `g = b // blocks_per_group` and reads the words
    `g * group_stride + j1 * run_stride + j2` plus `base`, j1 < runs, j2 < run_words.
    """

    blocks: int
    blocks_per_group: int
    base: int
    group_stride: int
    runs: int
    run_words: int
    run_stride: int

    @property
    def words(self) -> int:
        """Words a block reads for each kernel tap."""
        return self.runs * self.run_words

    def of_block(self, block: int) -> list[int]:
        """Word numbers that `block` reads, in order."""
        start = self.base + block // self.blocks_per_group * self.group_stride
        return [start + j1 * self.run_stride + j2 for j1 in range(self.runs) for j2 in range(self.run_words)]


@dataclass(frozen=True, kw_only=True)
class RowPattern:
    """Rows of a map of `rows` rows that output row `y` needs, for one direction of a kernel."""

    rows: int
    out_rows: int
    kernel: int
    stride: int
    padding: int

    def first(self, y: int) -> int:
        """Oldest row still wanted when row `y` is computed; after the last row, the next image's first."""
        return self.rows if y >= self.out_rows else max(y * self.stride - self.padding, 0)

    def release(self, y: int) -> int:
        """Rows given back after row `y`."""
        return self.first(y + 1) - self.first(y)

    def need(self, y: int) -> int:
        """Rows that must be present, counted from the oldest wanted one: those read and those given back."""
        last = min(y * self.stride - self.padding + self.kernel, self.rows)
        return max(last, self.first(y + 1)) - self.first(y)


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """A layer on its chunk. `index` is its place among the chunk's layers."""

    layer: Layer
    chunk: Chunk
    index: int
    source: Tensor
    out: Tensor
    root: str  # name under which the input tensor is stored (what a shuffle reads)
    residual_root: str | None
    input_order: Order
    output_order: Order
    nest: WordNest

    @property
    def kernel(self) -> tuple[int, int]:
        """Kernel; the whole map for a global pool."""
        return effective_kernel(self.layer, self.source)

    @property
    def stride(self) -> tuple[int, int]:
        """Stride; irrelevant for a global pool, which has one position."""
        return (1, 1) if self.layer.op == "global_pool" else self.layer.stride

    @property
    def beats(self) -> int:
        """Multiply cycles of a block."""
        return self.kernel[0] * self.kernel[1] * self.nest.words

    @property
    def drain_cycles(self) -> int:
        """Cycles in which a block's accumulators leave."""
        return self.chunk.out_lanes // self.chunk.drain_lanes

    @property
    def period(self) -> int:
        """Cycles from block to block."""
        return max(self.beats, self.drain_cycles)

    @property
    def task_cycles(self) -> int:
        """Cycles of a row task."""
        return self.nest.blocks * self.out.width * self.period

    @property
    def tasks(self) -> int:
        """Row tasks of an image."""
        return self.out.height

    @property
    def busy(self) -> int:
        """Cycles of an image."""
        return self.tasks * self.task_cycles

    @property
    def pattern(self) -> RowPattern:
        """Rows of the main input that each task needs."""
        padding = 0 if self.layer.op == "global_pool" else self.layer.padding[0]
        return RowPattern(rows=self.source.height, out_rows=self.out.height, kernel=self.kernel[0],
                          stride=self.stride[0], padding=padding)

    @property
    def weight_words(self) -> int:
        """Weight ROM words of this layer."""
        return self.nest.blocks * self.beats

    @property
    def channel_groups(self) -> int:
        """Groups of `drain_lanes` channels that a pixel is written in."""
        return ceil_div(self.out.channels, self.chunk.drain_lanes)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One reader of a buffer: `consumer` is a layer's name, or 'output'."""

    name: str
    producer: str  # layer name or 'input'
    consumer: str
    port: Port
    buffer: int  # index into Plan.buffers
    pattern: RowPattern


@dataclass(frozen=True, kw_only=True)
class BufferPlan:
    """A circular buffer inside a memory. Sizes in words of the memory's `lanes` channels."""

    tensor: Tensor
    writer: str  # agent
    reader: str  # agent
    port: Port
    rows: int
    base: int
    pixel_words: int
    row_words: int
    memory: str


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The memory between a writer and a port of a reader, both 'input', 'output' or a chunk."""

    name: str
    writer: str
    reader: str
    port: Port
    write_lanes: int
    read_lanes: int
    lane_bits: int
    signed: bool
    depth: int
    buffers: tuple[BufferPlan, ...]

    @property
    def lanes(self) -> int:
        """Channels of a word."""
        return max(self.write_lanes, self.read_lanes)


@dataclass(frozen=True, kw_only=True)
class ChunkPlan:
    """A chunk with its layers, in network order, and the widths they ask for."""

    chunk: Chunk
    index: int
    layers: tuple[LayerPlan, ...]
    weight_bits: int
    input_bits: int  # signed operand
    residual_bits: int  # signed; 0 without residuals
    acc_bits: int
    write_bits: int  # signed

    @property
    def residual_multiplier_bits(self) -> int:
        """Bits of the widest r; 0 without residuals."""
        return max(lp.layer.residual_multiplier.bit_length() for lp in self.layers) if self.residual_bits else 0

    @property
    def shifts(self) -> tuple[int, int]:
        """Smallest and largest shift of the layers that requantize; (0, 0) where none does."""
        shifts = [lp.layer.shift for lp in self.layers if not lp.layer.raw]
        return (min(shifts), max(shifts)) if shifts else (0, 0)

    @property
    def has_raw(self) -> bool:
        """Whether some layer leaves raw accumulators."""
        return any(lp.layer.raw for lp in self.layers)

    @property
    def requantizes(self) -> bool:
        """Whether some layer requantizes."""
        return not all(lp.layer.raw for lp in self.layers)

    @property
    def weight_words(self) -> int:
        """Depth of the weight ROM."""
        return sum(lp.weight_words for lp in self.layers)

    @property
    def parameter_words(self) -> int:
        """Depth of the ROM of biases and multipliers."""
        return sum(lp.nest.blocks * lp.drain_cycles for lp in self.layers)

    @property
    def tree_stages(self) -> int:
        """Registers in the adder tree: one for every two levels."""
        return ceil_div(clog2(self.chunk.in_lanes), 2) if self.chunk.kind == "conv" else 0

    @property
    def busy(self) -> int:
        """Busy cycles of an image."""
        return sum(lp.busy for lp in self.layers)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole mapping."""

    network: Network
    accelerator: Accelerator
    layers: Mapping[str, LayerPlan]
    chunks: tuple[ChunkPlan, ...]
    memories: tuple[MemoryPlan, ...]
    buffers: tuple[BufferPlan, ...]
    edges: tuple[Edge, ...]

    @cached_property
    def bottleneck(self) -> int:
        """Busy cycles an image of the busiest chunk: the steady-state bound."""
        return max(chunk.busy for chunk in self.chunks)

    def memory(self, name: str) -> MemoryPlan:
        """The memory called `name`."""
        return next(memory for memory in self.memories if memory.name == name)


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """Where a tensor's values lie: the stored tensor and its physical order in this tensor's channel numbers."""

    root: str
    order: Order


def word_nest(layer: Layer, source: Tensor, chunk: Chunk, input_order: Order, output_order: Order) -> WordNest:
    """The cheapest affine nest that reaches every input word each block needs; raises SpecError where there is none."""
    groups = source.channels if layer.op == "global_pool" else layer.groups
    if chunk.kind == "depthwise" and not (groups == source.channels == layer.out_channels):
        raise SpecError(
            f"layer {layer.name!r}: allocation must be a conv chunk unless the layer is depthwise or a global pool, "
            f"not {chunk.name!r}"
        )
    nest = _word_nest(groups, chunk.out_lanes, chunk.in_lanes, input_order, output_order)
    if chunk.kind == "depthwise" and nest.words != 1:
        raise SpecError(
            f"layer {layer.name!r}: allocation must be a conv chunk where input and output are stored in different "
            f"channel orders, not {chunk.name!r}"
        )
    return nest


@lru_cache(maxsize=65536)
def _word_nest(groups: int, out_lanes: int, in_lanes: int, input_order: Order, output_order: Order) -> WordNest:
    blocks, words = ceil_div(len(output_order), out_lanes), ceil_div(len(input_order), in_lanes)
    if groups == 1:
        return WordNest(blocks=blocks, blocks_per_group=blocks, base=0, group_stride=0, runs=1, run_words=words,
                        run_stride=0)
    group_of_out = np.asarray(output_order) // (len(output_order) // groups)
    group_of_in = np.asarray(input_order) // (len(input_order) // groups)
    reads = np.zeros((blocks, groups), dtype=bool)
    reads[np.arange(len(output_order)) // out_lanes, group_of_out] = True
    holds = np.zeros((words, groups), dtype=bool)
    holds[np.arange(len(input_order)) // in_lanes, group_of_in] = True
    need = (reads.astype(np.int64) @ holds.T.astype(np.int64)) > 0
    nests = [_nest_of(need, count) for count in range(1, blocks + 1) if blocks % count == 0]
    return min((nest for nest in nests if nest is not None), key=lambda nest: nest.words)


def _nest_of(need: npt.NDArray[np.bool_], groups: int) -> WordNest | None:
    """Nest with that many groups of blocks, or None where the groups' word sets are not translations of each other."""
    blocks, words = need.shape
    sets = [np.flatnonzero(rows.any(axis=0)) for rows in need.reshape(groups, blocks // groups, words)]
    first = sets[0]
    run_starts = np.flatnonzero(np.diff(first, prepend=-2) != 1)
    lengths = np.diff(np.append(run_starts, len(first)))
    starts = first[run_starts]
    gaps = np.diff(starts)
    if (lengths == lengths[0]).all() and (gaps == gaps[:1]).all():
        runs, run_words, run_stride = len(starts), int(lengths[0]), int(gaps[0]) if len(gaps) else 0
    else:
        runs, run_words, run_stride = 1, int(first[-1] - first[0] + 1), 0
    nest = WordNest(blocks=blocks, blocks_per_group=blocks // groups, base=int(first[0]),
                    group_stride=int(sets[1][0] - first[0]) if groups > 1 else 0, runs=runs, run_words=run_words,
                    run_stride=run_stride)
    for group, wanted in enumerate(sets):
        covered = nest.of_block(group * nest.blocks_per_group)
        if not set(wanted.tolist()) <= set(covered) or min(covered) < 0 or max(covered) >= words:
            return None
    return nest


def plan(network: Network, accelerator: Accelerator, weights: Weights | None = None) -> Plan:
    """Map `network` on `accelerator`; raises SpecError where the pair is illegal.

    With `weights`, accumulators are widened where a bias asks for more than products do.
    """
    layers = _plan_layers(network, accelerator)
    buffers, edges = _plan_buffers(network, accelerator, layers)
    memories = _plan_memories(network, accelerator, buffers)
    placed = [b for memory in memories for b in memory.buffers]
    by_key = {(b.tensor.name, b.reader, b.port): b for b in placed}
    ordered = tuple(by_key[b.tensor.name, b.reader, b.port] for b in buffers)
    chunks = tuple(
        _plan_chunk(network, chunk, index, layers, memories, weights) for index, chunk in enumerate(accelerator.chunks)
    )
    return Plan(network=network, accelerator=accelerator, layers=layers, chunks=chunks, memories=memories,
                buffers=ordered, edges=tuple(edges))


def required_buffers(network: Network, accelerator: Accelerator) -> dict[tuple[str, str, Port], int]:
    """Every (tensor, reader, port) that needs a buffer, with the fewest rows its readers can work with."""
    keys: dict[tuple[str, str, Port], int] = {}
    for _, consumer, port, tensor, pattern in _uses(network, _plan_layers(network, accelerator)):
        reader = SINK if consumer == SINK else accelerator.allocation[consumer]
        key = (tensor, reader, port)
        keys[key] = max(keys.get(key, 1), max(pattern.need(y) for y in range(pattern.out_rows)))
    return keys


def _plan_layers(network: Network, accelerator: Accelerator) -> dict[str, LayerPlan]:
    tensors = network.tensors
    stored = {INPUT: _Stored(root=INPUT, order=tuple(range(network.input.channels)))}
    layers: dict[str, LayerPlan] = {}
    counts = dict.fromkeys((chunk.name for chunk in accelerator.chunks), 0)
    for name in accelerator.allocation:
        if name not in tensors or name == INPUT or network.layer(name).op == "shuffle":
            raise SpecError(f"accelerator: allocation must name conv and global_pool layers of the network, not {name!r}")
    for layer in network.layers:
        source = stored[layer.input]
        if layer.op == "shuffle":
            position = np.argsort(shuffle_order(layer.out_channels, layer.groups))
            stored[layer.name] = _Stored(root=source.root, order=tuple(int(position[c]) for c in source.order))
            continue
        if layer.name not in accelerator.allocation:
            raise SpecError(f"accelerator: allocation must name a chunk for layer {layer.name!r}, and it does not")
        chunk = accelerator.chunk(accelerator.allocation[layer.name])
        order: Order = tuple(range(layer.out_channels))
        if layer.residual is not None:
            order = stored[layer.residual].order
        elif layer is not network.layers[-1] and layer.is_depthwise and len(source.order) == layer.out_channels:
            order = source.order
        if layer is network.layers[-1] and order != tuple(range(layer.out_channels)):
            raise SpecError(f"layer {layer.name!r}: residual of the last layer must not be shuffled; add a layer")
        layers[layer.name] = LayerPlan(
            layer=layer, chunk=chunk, index=counts[chunk.name], source=tensors[layer.input], out=tensors[layer.name],
            root=source.root, residual_root=None if layer.residual is None else stored[layer.residual].root,
            input_order=source.order, output_order=order,
            nest=word_nest(layer, tensors[layer.input], chunk, source.order, order),
        )
        counts[chunk.name] += 1
        stored[layer.name] = _Stored(root=layer.name, order=order)
    return layers


def _uses(
    network: Network, layers: Mapping[str, LayerPlan]
) -> Iterable[tuple[str, str, Port, str, RowPattern]]:
    """(producer, consumer, port, tensor, pattern) of every reading of every stored tensor."""
    for name, lp in layers.items():
        yield lp.root, name, "main", lp.root, lp.pattern
        if lp.residual_root is not None:
            rows = lp.out.height
            yield lp.residual_root, name, "residual", lp.residual_root, RowPattern(
                rows=rows, out_rows=rows, kernel=1, stride=1, padding=0)
    last = network.layers[-1].name
    rows = layers[last].out.height
    yield last, SINK, "main", last, RowPattern(rows=rows, out_rows=rows, kernel=1, stride=1, padding=0)


def _plan_buffers(
    network: Network, accelerator: Accelerator, layers: Mapping[str, LayerPlan]
) -> tuple[list[BufferPlan], list[Edge]]:
    tensors = network.tensors
    given = {(b.tensor, b.reader, b.port): b.rows for b in accelerator.buffers}
    least = required_buffers(network, accelerator)
    for key in least:
        if key not in given:
            raise SpecError(f"accelerator: buffers must hold one for tensor {key[0]!r}, reader {key[1]!r}, port {key[2]!r}")
    for key, rows in given.items():
        if key not in least:
            raise SpecError(f"accelerator: buffers must be read; tensor {key[0]!r} is not read by {key[1]!r} at {key[2]!r}")
        if rows < least[key]:
            raise SpecError(f"accelerator: buffer of tensor {key[0]!r} for {key[1]!r} must have at least {least[key]} "
                            f"rows, not {rows}")
    keys = list(least)
    buffers = []
    for tensor, reader, port in keys:
        writer = SOURCE if tensor == INPUT else accelerator.allocation[tensor]
        lanes = max(_write_lanes(network, accelerator, writer), _read_lanes(accelerator, reader, port))
        pixel = ceil_div(tensors[tensor].channels, lanes)
        buffers.append(BufferPlan(
            tensor=tensors[tensor], writer=writer, reader=reader, port=port, rows=given[tensor, reader, port], base=0,
            pixel_words=pixel, row_words=pixel * tensors[tensor].width, memory=f"{writer}_to_{reader}_{port}"))
    edges = []
    for producer, consumer, port, tensor, pattern in _uses(network, layers):
        reader = SINK if consumer == SINK else accelerator.allocation[consumer]
        suffix = "" if port == "main" else "_residual"
        edges.append(Edge(name=f"{producer}_to_{consumer}{suffix}", producer=producer, consumer=consumer, port=port,
                          buffer=keys.index((tensor, reader, port)), pattern=pattern))
    return buffers, edges


def _write_lanes(network: Network, accelerator: Accelerator, writer: str) -> int:
    return 1 << clog2(network.input.channels) if writer == SOURCE else accelerator.chunk(writer).drain_lanes


def _read_lanes(accelerator: Accelerator, reader: str, port: Port) -> int:
    if reader == SINK:
        return 1
    chunk = accelerator.chunk(reader)
    return chunk.in_lanes if port == "main" else chunk.drain_lanes


def _plan_memories(
    network: Network, accelerator: Accelerator, buffers: list[BufferPlan]
) -> tuple[MemoryPlan, ...]:
    memories = []
    for name in dict.fromkeys(b.memory for b in buffers):
        members = [b for b in buffers if b.memory == name]
        first = members[0]
        signed = any(b.tensor.signed for b in members)
        bits = max(b.tensor.bits + (signed and not b.tensor.signed) for b in members)
        base, placed = 0, []
        for b in members:
            placed.append(BufferPlan(**{**b.__dict__, "base": base}))
            base += b.rows * b.row_words
        memories.append(MemoryPlan(
            name=name, writer=first.writer, reader=first.reader, port=first.port,
            write_lanes=_write_lanes(network, accelerator, first.writer),
            read_lanes=_read_lanes(accelerator, first.reader, first.port),
            lane_bits=bits, signed=signed, depth=base, buffers=tuple(placed)))
    return tuple(memories)


def _plan_chunk(
    network: Network, chunk: Chunk, index: int, layers: Mapping[str, LayerPlan], memories: tuple[MemoryPlan, ...],
    weights: Weights | None,
) -> ChunkPlan:
    own = tuple(lp for lp in layers.values() if lp.chunk.name == chunk.name)

    def operand_bits(port: Port) -> int:
        return max((m.lane_bits + (not m.signed) for m in memories if m.reader == chunk.name and m.port == port),
                   default=0)

    def acc_bits(lp: LayerPlan) -> int:
        taps = lp.kernel[0] * lp.kernel[1] * (1 if lp.layer.op == "global_pool" else
                                              lp.source.channels // lp.layer.groups)
        weight_bits = 2 if lp.layer.op == "global_pool" else lp.layer.weight_bits
        products = weight_bits + lp.source.bits + clog2(taps) + 1
        if weights is None:
            return products
        return max(products, signed_width(*accumulator_range(network, lp.layer, weights[lp.layer.name])))

    weight_bits = max(2 if lp.layer.op == "global_pool" else lp.layer.weight_bits for lp in own)
    input_bits = operand_bits("main")
    sum_bits = weight_bits + input_bits + (clog2(chunk.in_lanes) if chunk.kind == "conv" else 0)
    return ChunkPlan(
        chunk=chunk, index=index, layers=own, weight_bits=weight_bits,
        input_bits=input_bits, residual_bits=operand_bits("residual"),
        acc_bits=max(sum_bits + 1, *(acc_bits(lp) for lp in own)),
        write_bits=max(LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed) for lp in own),
    )
