"""How a network lies on an accelerator: loop nests, channel orders, buffers, widths. Every stage
reads it from here.

A *row task* computes one or several output rows of one layer. It is made of *visits*: one block of
`out_lanes` output channels at one set of `columns` output columns, which takes a cycle for each
`taps` kernel taps of a kernel row and each word of `in_lanes` input channels it needs. Tensors are
stored in a *physical* channel order, which absorbs channel shuffles; groups become sets of input
words. Row buffers are banked by column where several columns are read at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from autonba.accelerator import SINK, SOURCE, Accelerator, Chunk, Loops, Port
from autonba.arithmetic import LOGIT_BITS, ceil_div, clog2, signed_width
from autonba.cost import fetch, timing, widths
from autonba.errors import SpecError
from autonba.golden import Weights, accumulator_range
from autonba.network import (
    INPUT,
    Layer,
    Network,
    Tensor,
    effective_groups,
    effective_kernel,
    effective_padding,
    effective_stride,
    shuffle_order,
)
from autonba.pipeline import MULTIPLY_STAGES, tree_stages

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
        return [
            start + j1 * self.run_stride + j2
            for j1 in range(self.runs)
            for j2 in range(self.run_words)
        ]


@dataclass(frozen=True, kw_only=True)
class RowPattern:
    """Rows of a map of `rows` rows that each of `tasks` row tasks needs.

    Task t reads the rows `t * step - padding` ... `t * step - padding + span - 1`, where they
    exist.
    """

    rows: int
    tasks: int
    span: int
    step: int
    padding: int

    def first(self, t: int) -> int:
        """Oldest row still wanted when task `t` runs; after the last task, the next image's
        first.
        """
        return self.rows if t >= self.tasks else max(t * self.step - self.padding, 0)

    def release(self, t: int) -> int:
        """Rows given back after task `t`."""
        return self.first(t + 1) - self.first(t)

    def need(self, t: int) -> int:
        """Rows that must be present, counted from the oldest wanted one: those read and those given
        back.
        """
        last = min(t * self.step - self.padding + self.span, self.rows)
        return max(last, self.first(t + 1)) - self.first(t)


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """A layer on its chunk. `index` is its place among the chunk's layers."""

    layer: Layer
    chunk: Chunk
    loops: Loops
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
        """Stride."""
        return effective_stride(self.layer)

    @property
    def padding(self) -> tuple[int, int]:
        """Padding."""
        return effective_padding(self.layer)

    @property
    def groups(self) -> int:
        """Groups; the number of channels for a pool."""
        return effective_groups(self.layer, self.source)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight; a pool multiplies by one."""
        return 2 if self.layer.is_pool else self.layer.weight_bits

    @property
    def products(self) -> int:
        """Products of an output; 1 where a maximum is taken."""
        return (
            1
            if self.layer.op == "max_pool"
            else self.kernel[0] * self.kernel[1] * (self.source.channels // self.groups)
        )

    @property
    def sum_bits(self) -> int:
        """Bits that hold the sum of an output's products and its bias, whatever the weights."""
        return int(widths.layer_sum(self.weight_bits, self.source.bits, self.products))

    @property
    def kernel_steps(self) -> int:
        """Cycles in which a kernel row is read for one word of channels."""
        return ceil_div(self.kernel[1], self.chunk.taps)

    @cached_property
    def beats(self) -> int:
        """Multiply cycles of a visit."""
        return int(timing.beats(*self.kernel, self.chunk.taps, self.nest.words))

    @property
    def block_groups(self) -> int:
        """Groups of `drain_lanes` channels in a block."""
        return self.chunk.out_lanes // self.chunk.drain_lanes

    @cached_property
    def drain_cycles(self) -> int:
        """Cycles in which a visit's accumulators leave."""
        return int(
            timing.drain_cycles(self.chunk.columns, self.chunk.out_lanes, self.chunk.drain_lanes)
        )

    @cached_property
    def period(self) -> int:
        """Cycles from visit to visit."""
        return int(timing.period(self.beats, self.drain_cycles))

    @property
    def column_sets(self) -> int:
        """Sets of `columns` neighbouring output columns in a row."""
        return int(timing.column_sets(self.out.width, self.chunk.columns))

    @property
    def visits_per_block(self) -> int:
        """Visits of a block in a task."""
        return self.loops.rows * self.column_sets

    @property
    def task_cycles(self) -> int:
        """Cycles of a row task."""
        return self.nest.blocks * self.visits_per_block * self.period

    @property
    def tasks(self) -> int:
        """Row tasks of an image."""
        return self.out.height // self.loops.rows

    @property
    def busy(self) -> int:
        """Cycles of an image."""
        return self.tasks * self.task_cycles

    @property
    def streams(self) -> bool:
        """Whether the weights come from DRAM."""
        return self.loops.weights == "stream"

    @property
    def pattern(self) -> RowPattern:
        """Rows of the main input that each task needs."""
        return RowPattern(
            rows=self.source.height,
            tasks=self.tasks,
            step=self.loops.rows * self.stride[0],
            span=(self.loops.rows - 1) * self.stride[0] + self.kernel[0],
            padding=self.padding[0],
        )

    @property
    def weight_words(self) -> int:
        """Words of this layer's weights."""
        return self.nest.blocks * self.beats

    @property
    def parameter_words(self) -> int:
        """Words of this layer's biases and multipliers."""
        return self.nest.blocks * self.block_groups

    @property
    def channel_groups(self) -> int:
        """Groups of `drain_lanes` channels that a pixel is written in."""
        return ceil_div(self.out.channels, self.chunk.drain_lanes)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One reader of a buffer: `consumer` is a layer's name, or 'output'; `produced` rows are
    written by each task.
    """

    name: str
    producer: str  # layer name or 'input'
    consumer: str
    port: Port
    buffer: int  # index into Plan.buffers
    produced: int
    pattern: RowPattern


@dataclass(frozen=True, kw_only=True)
class BufferPlan:
    """A circular buffer inside a memory. Sizes in words of the memory's `lanes` channels, in each
    column bank.
    """

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
    """The memory between a writer and a port of a reader, both 'input', 'output' or a chunk.

    Column c of a row lies in bank c mod `banks`, and `depth` is that of a bank.
    """

    name: str
    writer: str
    reader: str
    port: Port
    write_lanes: int
    read_lanes: int
    lane_bits: int
    signed: bool
    banks: int
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
    input_bits: int  # operand: signed, or unsigned with an offset where multipliers are packed
    residual_bits: int  # signed; 0 without residuals
    acc_bits: int
    write_bits: int  # signed
    offset_layers: frozenset[
        str
    ]  # layers whose inputs are stored signed and multiplied with an offset

    @property
    def input_offset(self) -> int:
        """What packed multipliers add to signed inputs."""
        return 1 << (self.input_bits - 1)

    @property
    def residual_multiplier_bits(self) -> int:
        """Bits of the widest r; 0 without residuals."""
        return (
            max(lp.layer.residual_multiplier.bit_length() for lp in self.layers)
            if self.residual_bits
            else 0
        )

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
        """Words of weights that stay on the chip."""
        return sum(lp.weight_words for lp in self.layers if not lp.streams)

    @property
    def stream_words(self) -> int:
        """Words of the largest streamed block; the weight memory holds two of that size."""
        return max((lp.beats for lp in self.layers if lp.streams), default=0)

    @property
    def parameter_words(self) -> int:
        """Depth of the ROM of biases and multipliers."""
        return sum(lp.parameter_words for lp in self.layers)

    @property
    def array_stages(self) -> int:
        """Cycles from the array's operands to its accumulators."""
        return 1 + MULTIPLY_STAGES[self.chunk.multiplier] + tree_stages(self.chunk.terms)

    @property
    def maximum(self) -> bool:
        """Whether some layer takes maxima."""
        return any(lp.layer.op == "max_pool" for lp in self.layers)

    @property
    def busy(self) -> int:
        """Busy cycles of an image."""
        return sum(lp.busy for lp in self.layers)

    def occupied(self, stream_bits: int) -> int:
        """Cycles of an image with those in which streamed weights are waited for, as far as other
        layers do not fill them.
        """
        word = ceil_div(self.chunk.weights_per_cycle * self.weight_bits, stream_bits)
        return sum(
            lp.tasks
            * lp.nest.blocks
            * int(fetch.block_cycles(lp.visits_per_block * lp.period, lp.beats * word))
            if lp.streams
            else lp.busy
            for lp in self.layers
        )


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

    @property
    def pace(self) -> int:
        """Cycles an image that a search goes by: those of the busiest chunk, waiting included, of
        the image's way in or of the result's way out, whichever are most.
        """
        busy = (chunk.occupied(self.accelerator.stream_bits) for chunk in self.chunks)
        return max(*busy, ends(self.network))

    def memory(self, name: str) -> MemoryPlan:
        """The memory called `name`."""
        return next(memory for memory in self.memories if memory.name == name)


def ends(network: Network) -> int:
    """Cycles of an image's way in, a pixel each, or of its result's way out, whichever are more."""
    image, out = network.input, network.output
    return max(
        image.height * image.width, timing.OUTPUT_WORD * out.height * out.width * out.channels
    )


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """Where a tensor's values lie: the stored tensor and its physical order in this tensor's
    channel numbers.
    """

    root: str
    order: Order


def word_nest(
    layer: Layer, source: Tensor, chunk: Chunk, input_order: Order, output_order: Order
) -> WordNest:
    """The cheapest affine nest that reaches every input word each block needs; raises SpecError
    where there is none.
    """
    groups = effective_groups(layer, source)
    if chunk.kind == "depthwise" and not (layer.is_pool or groups == source.channels > 1):
        raise SpecError(
            f"layer {layer.name!r}: allocation must be a conv chunk unless the layer is depthwise"
            f" or a pool, not {chunk.name!r}"
        )
    if layer.op == "max_pool" and (
        chunk.kind != "depthwise" or chunk.taps > 1 or chunk.multiplier == "packed"
    ):
        raise SpecError(
            f"layer {layer.name!r}: allocation of a max_pool must be a depthwise chunk with one tap"
            f" and without packed multipliers, not {chunk.name!r}"
        )
    nest = lane_nest(groups, chunk.out_lanes, chunk.in_lanes, input_order, output_order)
    if chunk.kind == "depthwise" and not lanes_meet(
        nest, chunk.out_lanes, input_order, output_order
    ):
        raise SpecError(
            f"layer {layer.name!r}: allocation must be a conv chunk where the lanes of input and"
            f" output channels differ, not {chunk.name!r}"
        )
    return nest


def lanes_meet(nest: WordNest, lanes: int, input_order: Order, output_order: Order) -> bool:
    """Whether each output channel's input lies in its own lane of the one word that its block
    reads.
    """
    if nest.words != 1:
        return False
    multiplier = len(output_order) // len(input_order)
    channels = np.full(ceil_div(len(input_order), lanes) * lanes, -1)
    channels[: len(input_order)] = input_order
    words = channels.reshape(-1, lanes)
    wanted = np.full(nest.blocks * lanes, -1)
    wanted[: len(output_order)] = np.asarray(output_order) // multiplier
    return all(
        (row[row >= 0] == words[nest.of_block(block)[0]][row >= 0]).all()
        for block, row in enumerate(wanted.reshape(-1, lanes))
    )


def _depthwise_order(chunk: Chunk, input_order: Order, multiplier: int) -> Order:
    """Order of the outputs of a depthwise convolution that keeps each of them near its input, and
    where it can in its lane.
    """
    if multiplier == 1 or chunk.kind == "conv" or len(input_order) % chunk.in_lanes:
        return tuple(c * multiplier + j for c in input_order for j in range(multiplier))
    words = np.asarray(input_order).reshape(-1, 1, chunk.in_lanes)
    return tuple((words * multiplier + np.arange(multiplier)[None, :, None]).ravel().tolist())


@lru_cache(maxsize=65536)
def lane_nest(
    groups: int, out_lanes: int, in_lanes: int, input_order: Order, output_order: Order
) -> WordNest:
    """The cheapest affine nest of a conv layer of so many groups on chunks of such lanes."""
    blocks, words = ceil_div(len(output_order), out_lanes), ceil_div(len(input_order), in_lanes)
    if groups == 1:
        return WordNest(
            blocks=blocks,
            blocks_per_group=blocks,
            base=0,
            group_stride=0,
            runs=1,
            run_words=words,
            run_stride=0,
        )
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
    """Nest with that many groups of blocks, or None where the groups' word sets are not
    translations of each other.
    """
    blocks, words = need.shape
    sets = [
        np.flatnonzero(rows.any(axis=0)) for rows in need.reshape(groups, blocks // groups, words)
    ]
    first = sets[0]
    run_starts = np.flatnonzero(np.diff(first, prepend=-2) != 1)
    lengths = np.diff(np.append(run_starts, len(first)))
    starts = first[run_starts]
    gaps = np.diff(starts)
    if (lengths == lengths[0]).all() and (gaps == gaps[:1]).all():
        runs, run_words, run_stride = len(starts), int(lengths[0]), int(gaps[0]) if len(gaps) else 0
    else:
        runs, run_words, run_stride = 1, int(first[-1] - first[0] + 1), 0
    nest = WordNest(
        blocks=blocks,
        blocks_per_group=blocks // groups,
        base=int(first[0]),
        group_stride=int(sets[1][0] - first[0]) if groups > 1 else 0,
        runs=runs,
        run_words=run_words,
        run_stride=run_stride,
    )
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
    memories = _plan_memories(network, accelerator, layers, buffers)
    placed = [b for memory in memories for b in memory.buffers]
    by_key = {(b.tensor.name, b.reader, b.port): b for b in placed}
    ordered = tuple(by_key[b.tensor.name, b.reader, b.port] for b in buffers)
    chunks = tuple(
        _plan_chunk(network, chunk, index, layers, memories, weights)
        for index, chunk in enumerate(accelerator.chunks)
    )
    return Plan(
        network=network,
        accelerator=accelerator,
        layers=layers,
        chunks=chunks,
        memories=memories,
        buffers=ordered,
        edges=tuple(edges),
    )


def required_buffers(
    network: Network, accelerator: Accelerator
) -> dict[tuple[str, str, Port], int]:
    """Every (tensor, reader, port) that needs a buffer, with the fewest rows its readers can work
    with.
    """
    return _least_rows(network, accelerator, _plan_layers(network, accelerator))


def _least_rows(
    network: Network, accelerator: Accelerator, layers: Mapping[str, LayerPlan]
) -> dict[tuple[str, str, Port], int]:
    keys: dict[tuple[str, str, Port], int] = {}
    for producer, consumer, port, tensor, pattern in _uses(network, layers):
        key = (tensor, SINK if consumer == SINK else accelerator.allocation[consumer], port)
        keys[key] = max(
            keys.get(key, _produced(layers, producer)),
            max(pattern.need(t) for t in range(pattern.tasks)),
        )
    return keys


def _plan_layers(network: Network, accelerator: Accelerator) -> dict[str, LayerPlan]:
    tensors = network.tensors
    stored = {INPUT: _Stored(root=INPUT, order=tuple(range(network.input.channels)))}
    layers: dict[str, LayerPlan] = {}
    counts = dict.fromkeys((chunk.name for chunk in accelerator.chunks), 0)
    for name in accelerator.allocation:
        if name not in tensors or name == INPUT or network.layer(name).op == "shuffle":
            raise SpecError(
                "accelerator: allocation must name conv and pool layers of the network, not"
                f" {name!r}"
            )
    for layer in network.layers:
        source = stored[layer.input]
        if layer.op == "shuffle":
            position = np.argsort(shuffle_order(layer.out_channels, layer.groups))
            stored[layer.name] = _Stored(
                root=source.root, order=tuple(int(position[c]) for c in source.order)
            )
            continue
        if layer.name not in accelerator.allocation:
            raise SpecError(
                f"accelerator: allocation must name a chunk for layer {layer.name!r}, and it"
                " does not"
            )
        chunk = accelerator.chunk(accelerator.allocation[layer.name])
        order: Order = tuple(range(layer.out_channels))
        if layer.residual is not None:
            order = stored[layer.residual].order
        elif layer is not network.layers[-1] and effective_groups(
            layer, tensors[layer.input]
        ) == len(source.order):
            order = _depthwise_order(chunk, source.order, layer.out_channels // len(source.order))
        if layer is network.layers[-1] and order != tuple(range(layer.out_channels)):
            raise SpecError(
                f"layer {layer.name!r}: residual of the last layer must not be shuffled; add a"
                " layer"
            )
        loops = accelerator.loops_of(layer.name)
        if tensors[layer.name].height % loops.rows:
            raise SpecError(
                f"layer {layer.name!r}: loops.rows must divide the {tensors[layer.name].height}"
                f" output rows, not {loops.rows}"
            )
        layers[layer.name] = LayerPlan(
            layer=layer,
            chunk=chunk,
            loops=loops,
            index=counts[chunk.name],
            source=tensors[layer.input],
            out=tensors[layer.name],
            root=source.root,
            residual_root=None if layer.residual is None else stored[layer.residual].root,
            input_order=source.order,
            output_order=order,
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
            rows = lp.loops.rows
            yield (
                lp.residual_root,
                name,
                "residual",
                lp.residual_root,
                RowPattern(rows=lp.out.height, tasks=lp.tasks, span=rows, step=rows, padding=0),
            )
    last = network.layers[-1].name
    rows = layers[last].out.height
    yield last, SINK, "main", last, RowPattern(rows=rows, tasks=rows, span=1, step=1, padding=0)


def _produced(layers: Mapping[str, LayerPlan], producer: str) -> int:
    """Rows that each task of `producer` writes."""
    return 1 if producer == INPUT else layers[producer].loops.rows


def _plan_buffers(
    network: Network, accelerator: Accelerator, layers: Mapping[str, LayerPlan]
) -> tuple[list[BufferPlan], list[Edge]]:
    tensors = network.tensors
    given = {(b.tensor, b.reader, b.port): b.rows for b in accelerator.buffers}
    least = _least_rows(network, accelerator, layers)
    for key in least:
        if key not in given:
            raise SpecError(
                f"accelerator: buffers must hold one for tensor {key[0]!r}, reader {key[1]!r}, port"
                f" {key[2]!r}"
            )
    for key, rows in given.items():
        if key not in least:
            raise SpecError(
                f"accelerator: buffers must be read; tensor {key[0]!r} is not read by {key[1]!r} at"
                f" {key[2]!r}"
            )
        if rows < least[key]:
            raise SpecError(
                f"accelerator: buffer of tensor {key[0]!r} for {key[1]!r} must have at least"
                f" {least[key]} rows, not {rows}"
            )
    keys = list(least)
    buffers = []
    for tensor, reader, port in keys:
        writer = SOURCE if tensor == INPUT else accelerator.allocation[tensor]
        lanes = max(
            _write_lanes(network, accelerator, writer), _read_lanes(accelerator, reader, port)
        )
        pixel = ceil_div(tensors[tensor].channels, lanes)
        columns = ceil_div(tensors[tensor].width, _banks(layers, reader, port))
        buffers.append(
            BufferPlan(
                tensor=tensors[tensor],
                writer=writer,
                reader=reader,
                port=port,
                rows=given[tensor, reader, port],
                base=0,
                pixel_words=pixel,
                row_words=pixel * columns,
                memory=f"{writer}_to_{reader}_{port}",
            )
        )
    edges = []
    for producer, consumer, port, tensor, pattern in _uses(network, layers):
        reader = SINK if consumer == SINK else accelerator.allocation[consumer]
        suffix = "" if port == "main" else "_residual"
        edges.append(
            Edge(
                name=f"{producer}_to_{consumer}{suffix}",
                producer=producer,
                consumer=consumer,
                port=port,
                buffer=keys.index((tensor, reader, port)),
                produced=_produced(layers, producer),
                pattern=pattern,
            )
        )
    return buffers, edges


def _banks(layers: Mapping[str, LayerPlan], reader: str, port: Port) -> int:
    """Column banks that `reader` needs to have all the columns of a cycle at once."""
    if reader == SINK or port == "residual":
        return 1
    own = [lp for lp in layers.values() if lp.chunk.name == reader]
    chunk = own[0].chunk
    return int(timing.banks(chunk.columns, max(lp.stride[1] for lp in own), chunk.taps))


def _write_lanes(network: Network, accelerator: Accelerator, writer: str) -> int:
    return (
        1 << clog2(network.input.channels)
        if writer == SOURCE
        else accelerator.chunk(writer).drain_lanes
    )


def _read_lanes(accelerator: Accelerator, reader: str, port: Port) -> int:
    if reader == SINK:
        return 1
    chunk = accelerator.chunk(reader)
    return chunk.in_lanes if port == "main" else chunk.drain_lanes


def _plan_memories(
    network: Network,
    accelerator: Accelerator,
    layers: Mapping[str, LayerPlan],
    buffers: list[BufferPlan],
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
        memories.append(
            MemoryPlan(
                name=name,
                writer=first.writer,
                reader=first.reader,
                port=first.port,
                write_lanes=_write_lanes(network, accelerator, first.writer),
                read_lanes=_read_lanes(accelerator, first.reader, first.port),
                lane_bits=bits,
                signed=signed,
                banks=_banks(layers, first.reader, first.port),
                depth=base,
                buffers=tuple(placed),
            )
        )
    return tuple(memories)


def _plan_chunk(
    network: Network,
    chunk: Chunk,
    index: int,
    layers: Mapping[str, LayerPlan],
    memories: tuple[MemoryPlan, ...],
    weights: Weights | None,
) -> ChunkPlan:
    own = tuple(lp for lp in layers.values() if lp.chunk.name == chunk.name)
    packed = chunk.multiplier == "packed"

    def operand_bits(port: Port, unsigned: bool) -> int:
        return max(
            (
                m.lane_bits + (not m.signed and not unsigned)
                for m in memories
                if m.reader == chunk.name and m.port == port
            ),
            default=0,
        )

    def acc_bits(lp: LayerPlan) -> int:
        if weights is None:
            return lp.sum_bits
        return max(
            lp.sum_bits, signed_width(*accumulator_range(network, lp.layer, weights[lp.layer.name]))
        )

    weight_bits = max(lp.weight_bits for lp in own)
    input_bits = operand_bits("main", packed)
    signed_tensors = {
        b.tensor.name
        for m in memories
        if m.reader == chunk.name and m.port == "main" and m.signed
        for b in m.buffers
    }
    return ChunkPlan(
        chunk=chunk,
        index=index,
        layers=own,
        weight_bits=weight_bits,
        input_bits=input_bits,
        residual_bits=operand_bits("residual", False),
        acc_bits=int(
            widths.accumulator(
                widths.beat_sum(weight_bits, input_bits, chunk.terms), max(map(acc_bits, own))
            )
        ),
        write_bits=max(
            LOGIT_BITS if lp.layer.raw else lp.out.bits + (not lp.out.signed) for lp in own
        ),
        offset_layers=frozenset(
            lp.layer.name for lp in own if packed and lp.root in signed_tensors
        ),
    )
