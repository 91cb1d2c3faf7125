"""Sequencer of a chunk: walks the loop nest of a row task, one multiply cycle ("beat") a clock
cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.arithmetic import signed_width
from autonba.mapping import LayerPlan

from .layout import ChunkLayout, index_bits
from .tables import LayerConstants, advance


class Sequencer(wiring.Component):
    """Turns a row task into read addresses.

    A task is a loop nest of visits: row of the task, column set, block of output channels
    (pixel_outer), or block, row, column set (block_outer). A visit is a nest of beats: kernel row
    ky, step along the kernel row, run, word. A visit shorter than the drain of the one before
    begins with idle cycles. Consecutive tasks follow without a gap.
    Latency: the first beat's addresses are on the ports three cycles after the task was taken. No
    back-pressure: a task is only offered when all it reads is there, except for streamed weights,
    whose blocks wait for `loaded`.

    Ports
    -----
    task_*           : stream of `ChunkLayout.task`
    read_source      : which main memory, `read_address` in it; with column banks, banks below
                     `read_column` use `read_next`
    read_inside      : for each column from `read_column` on, whether it lies in the map (low on
                     padding)
    read_stride      : number of the layer's stride among `ChunkLayout.strides`
    read_maximum     : the layer takes maxima
    weight_address   : word of the weight memory
    beat_valid, beat_first, beat_last : a beat, the first and the last of its visit
    <edge>_release   : rows given back in this cycle (the last beat of a task was issued)
    loaded           : streamed blocks that are complete; block_done: the oldest of them has been
                     used
    """

    def __init__(self, layout: ChunkLayout) -> None:
        self._layout = layout
        ports: dict[str, In | Out] = {
            "task_payload": In(layout.task),
            "task_valid": In(1),
            "task_ready": Out(1),
            "read_source": Out(index_bits(len(layout.main_memories))),
            "read_address": Out(layout.read_bits),
            "read_inside": Out(layout.banks),
            "weight_address": Out(index_bits(layout.weight_depth)),
            "beat_valid": Out(1),
            "beat_first": Out(1),
            "beat_last": Out(1),
        }
        if layout.banks > 1:
            ports |= {"read_next": Out(layout.read_bits), "read_column": Out(layout.bank_bits)}
        if len(layout.strides) > 1:
            ports["read_stride"] = Out(index_bits(len(layout.strides)))
        if layout.chunk.maximum:
            ports["read_maximum"] = Out(1)
        if layout.chunk.stream_words:
            ports |= {"loaded": In(2), "block_done": Out(1)}
        for _, edge in layout.input_edges:
            if edge.port == "main":
                ports[f"{edge.name}_release"] = Out(layout.edge_bits(edge))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """The loop nest's counters and the pointers that go along with them."""
        m = Module()
        layout, layers = self._layout, self._layout.chunk.layers
        sources = [layout.main_source(lp) for lp in layers]
        cursors = [cursor for _, cursor in sources]
        streaming = layout.chunk.stream_words > 0

        running = Signal()
        task = Signal(layout.task, name="current_task")
        coming = self.task_payload
        taken = Signal()
        constant = LayerConstants(taken, coming.write.layer)

        def counter(limits: list[int], name: str) -> tuple[Signal, Signal]:
            """A counter and whether it stands at the current layer's last value."""
            count = Signal(index_bits(max(limits)), name=name)
            at_end = Signal(name=f"{name}_at_end")
            m.d.comb += at_end.eq(count == constant([limit - 1 for limit in limits], f"{name}_end"))
            return count, at_end

        word, word_end = counter([lp.nest.run_words for lp in layers], "word")
        run, run_end = counter([lp.nest.runs for lp in layers], "run")
        step, step_end = counter([lp.kernel_steps for lp in layers], "step")
        ky, ky_end = counter([lp.kernel[0] for lp in layers], "ky")
        block, block_end = counter([lp.nest.blocks_per_group for lp in layers], "block")
        group, group_end = counter(
            [lp.nest.blocks // lp.nest.blocks_per_group for lp in layers], "group"
        )
        x, x_end = counter([lp.column_sets for lp in layers], "x")
        y, y_end = counter([lp.loops.rows for lp in layers], "y")
        block_outer = constant(
            [int(lp.loops.order == "block_outer") for lp in layers], "block_outer"
        )
        idle = [lp.period - lp.beats for lp in layers]
        fills = constant([int(n > 0) for n in idle], "fills")
        fill_end = constant([max(n - 1, 0) for n in idle], "fill_end")
        filling, waiting = Signal(), Signal()
        fill = Signal(index_bits(max(idle) + 1))

        # Pointers that go along with the counters. Row pointers are addresses, column pointers
        # words from the row's start.
        row_shape = Shape(layout.read_bits)
        row_size = constant([cursor.row for cursor in cursors], "row_size")
        buffer_base = constant([cursor.base for cursor in cursors], "buffer_base")
        buffer_size = constant([cursor.size for cursor in cursors], "buffer_size")
        line_pointer = Signal(row_shape)  # oldest row of the current output row
        line_top = Signal(layout.top_shape)  # its number
        row_pointer = Signal(row_shape)  # row ky
        column_of = Columns(m, layers, layout)
        line_start = column_of.pointer(
            "line_start"
        )  # columns of the first set: negative with padding
        set_start = column_of.pointer("set_start")
        tap = column_of.pointer("tap")
        words_bits = index_bits(max(cursor.pixel for cursor in cursors) + 1)
        group_pointer, run_pointer, word_pointer = (
            Signal(words_bits, name=f"{n}_pointer") for n in ("group", "run", "word")
        )
        group_stride = constant([lp.nest.group_stride for lp in layers], "group_stride")
        run_stride = constant([lp.nest.run_stride for lp in layers], "run_stride")
        first_word = constant([lp.nest.base for lp in layers], "first_word")
        weight_shape = Shape(index_bits(layout.weight_depth))
        weight, block_weight = Signal(weight_shape), Signal(weight_shape)

        # Ends of the loops, innermost first.
        active, visit_end, row_end, blocks_end = Signal(), Signal(), Signal(), Signal()
        next_set, next_line, next_block, task_end = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            active.eq(running & ~filling & ~waiting),
            visit_end.eq(active & word_end & run_end & step_end & ky_end),
            blocks_end.eq(block_end & group_end),
            next_set.eq(visit_end & (block_outer | blocks_end)),
            row_end.eq(next_set & x_end),
            next_line.eq(row_end),
            next_block.eq(visit_end & (~block_outer | (x_end & y_end))),
            task_end.eq(visit_end & blocks_end & x_end & y_end),
            self.task_ready.eq(~running | task_end),
            taken.eq(self.task_ready & self.task_valid),
        ]

        # A visit's beats: word, run, step along the kernel row, kernel row.
        next_run, next_row = Signal(words_bits), Signal(row_shape)
        m.d.comb += [
            next_run.eq(run_pointer + run_stride),
            next_row.eq(advance(row_pointer, row_size, buffer_base, buffer_size)),
        ]
        with m.If(active):
            m.d.sync += [
                weight.eq(weight + 1),
                word.eq(word + 1),
                word_pointer.eq(word_pointer + 1),
            ]
            with m.If(word_end):
                m.d.sync += [
                    word.eq(0),
                    run.eq(run + 1),
                    run_pointer.eq(next_run),
                    word_pointer.eq(next_run),
                ]
                with m.If(run_end):
                    m.d.sync += [
                        run.eq(0),
                        run_pointer.eq(group_pointer),
                        word_pointer.eq(group_pointer),
                        step.eq(step + 1),
                    ]
                    column_of.move(
                        tap, tap, [layout.chunk.chunk.taps] * len(layers), constant, "tap_step"
                    )
                    with m.If(step_end):
                        column_of.copy(tap, set_start)
                        m.d.sync += [step.eq(0), ky.eq(ky + 1), row_pointer.eq(next_row)]
        with m.If(running & filling & ~waiting):
            m.d.sync += fill.eq(fill + 1)
            with m.If(fill == fill_end):
                m.d.sync += [filling.eq(0), fill.eq(0)]

        # Visits: block, column set, row.
        next_group = Signal(words_bits)
        line_step = constant(
            [
                lp.stride[0] % cursor.rows * cursor.row
                for lp, cursor in zip(layers, cursors, strict=True)
            ],
            "line_step",
        )
        line_after, top_after = Signal(row_shape), Signal(layout.top_shape)
        m.d.comb += [
            next_group.eq(group_pointer + group_stride),
            line_after.eq(line_pointer),
            top_after.eq(line_top),
        ]
        with m.If(next_line):
            m.d.comb += [
                line_after.eq(advance(line_pointer, line_step, buffer_base, buffer_size)),
                top_after.eq(line_top + constant([lp.stride[0] for lp in layers], "row_stride")),
            ]
            with m.If(y_end):
                m.d.comb += [line_after.eq(task.read), top_after.eq(task.top)]
        with m.If(visit_end):
            m.d.sync += [
                ky.eq(0),
                filling.eq(fills),
                line_pointer.eq(line_after),
                line_top.eq(top_after),
                row_pointer.eq(line_after),
                weight.eq(block_weight),
            ]
            with m.If(next_set):
                m.d.sync += x.eq(x + 1)
                for pointer in (set_start, tap):
                    column_of.move(
                        pointer,
                        set_start,
                        [lp.chunk.columns * lp.stride[1] for lp in layers],
                        constant,
                        "set_step",
                    )
                with m.If(x_end):
                    m.d.sync += [x.eq(0), y.eq(Mux(y_end, 0, y + 1))]
                    for pointer in (set_start, tap):
                        column_of.copy(pointer, line_start)
            with m.If(next_block):
                m.d.sync += [
                    block.eq(block + 1),
                    weight.eq(weight + 1),
                    block_weight.eq(weight + 1),
                ]
                with m.If(block_end):
                    m.d.sync += [
                        block.eq(0),
                        group.eq(group + 1),
                        group_pointer.eq(next_group),
                        run_pointer.eq(next_group),
                        word_pointer.eq(next_group),
                    ]
                    with m.If(group_end):
                        base = constant(
                            start_of_parts([0 if lp.streams else lp.weight_words for lp in layers]),
                            "weight_base",
                        )
                        m.d.sync += [
                            group.eq(0),
                            group_pointer.eq(first_word),
                            run_pointer.eq(first_word),
                            word_pointer.eq(first_word),
                            weight.eq(base),
                            block_weight.eq(base),
                        ]
        with m.If(task_end):
            m.d.sync += running.eq(0)

        # A new task sets every pointer from its own layer's constants.
        start_word = constant.coming([lp.nest.base for lp in layers], "start_word")
        start_weight = constant.coming(
            start_of_parts([0 if lp.streams else lp.weight_words for lp in layers]), "start_weight"
        )
        with m.If(taken):
            m.d.sync += [
                running.eq(1),
                task.eq(coming),
                filling.eq(constant.coming([int(n > 0) for n in idle], "start_filling")),
                line_pointer.eq(coming.read),
                row_pointer.eq(coming.read),
                line_top.eq(coming.top),
                group_pointer.eq(start_word),
                run_pointer.eq(start_word),
                word_pointer.eq(start_word),
                weight.eq(start_weight),
                block_weight.eq(start_weight),
            ]
            for pointer in (line_start, set_start, tap):
                column_of.start(pointer, constant)
        if streaming:
            self._stream(m, constant, taken, next_block, task_end, waiting, weight, block_weight)

        for i, (lp, edge) in enumerate((lp, e) for lp, e in layout.input_edges if e.port == "main"):
            gives = Signal(name=f"gives{i}")
            m.d.comb += [
                gives.eq(task_end & (task.write.layer == lp.index)),
                getattr(self, f"{edge.name}_release").eq(Mux(gives, task.release, 0)),
            ]

        # Two address stages: pointers of row and column, then the word.
        y_position = Signal(layout.top_shape)
        y_inside = Signal()
        height, width = (
            constant(values, name)
            for values, name in (
                ([lp.source.height for lp in layers], "height"),
                ([lp.source.width for lp in layers], "width"),
            )
        )
        m.d.comb += [
            y_position.eq(line_top + ky),
            y_inside.eq((y_position >= 0) & (y_position < height)),
        ]
        columns_inside = []
        for i in range(layout.banks):
            position = Signal(signed_shape(column_of.reach + layout.banks), name=f"column{i}")
            m.d.comb += position.eq(tap.column + i)
            columns_inside.append(y_inside & (position >= 0) & (position < width))
        pixel = constant([cursor.pixel for cursor in cursors], "pixel")
        beat_first = (word == 0) & (run == 0) & (step == 0) & (ky == 0)
        stage_address = self._held(m, row_pointer + tap.words, "address", layout.read_bits)
        stage_word = self._held(m, word_pointer, "word")
        m.d.sync += self.read_address.eq(stage_address + stage_word)
        if layout.banks > 1:
            stage_next = self._held(m, row_pointer + tap.words + pixel, "next", layout.read_bits)
            m.d.sync += self.read_next.eq(stage_next + stage_word)
            self._delay(m, tap.column[: layout.bank_bits], self.read_column, "column")
        if len(layout.strides) > 1:
            stride = constant([layout.strides.index(lp.stride[1]) for lp in layers], "stride")
            self._delay(m, stride, self.read_stride, "stride")
        if layout.chunk.maximum:
            maximum = constant([int(lp.layer.op == "max_pool") for lp in layers], "maximum")
            self._delay(m, maximum, self.read_maximum, "maximum")
        self._delay(
            m, constant([source for source, _ in sources], "source"), self.read_source, "source"
        )
        self._delay(m, Cat(columns_inside), self.read_inside, "inside")
        self._delay(m, weight, self.weight_address, "weight")
        self._delay(m, active, self.beat_valid, "valid")
        self._delay(m, beat_first, self.beat_first, "first")
        self._delay(m, visit_end, self.beat_last, "last")
        constant.finish(m)
        return m

    def _stream(
        self,
        m: Module,
        constant: LayerConstants,
        taken: Signal,
        next_block: Signal,
        task_end: Signal,
        waiting: Signal,
        weight: Signal,
        block_weight: Signal,
    ) -> None:
        """Blocks of streamed layers wait for their half of the weight memory, and give it back."""
        chunk = self._layout.chunk
        streams = [int(lp.streams) for lp in chunk.layers]
        current = constant(streams, "streams")
        starts = constant.coming(streams, "streams_at_start")
        half = Signal()  # where the next streamed block lies
        begins, done = Signal(), Signal()
        m.d.comb += [
            done.eq(next_block & current),
            self.block_done.eq(done),
            begins.eq(Mux(taken, starts, done & ~task_end)),
        ]
        with m.If(waiting & self.loaded.any()):
            m.d.sync += waiting.eq(0)
        with m.If(begins):
            start = Mux(half, chunk.weight_words + chunk.stream_words, chunk.weight_words)
            m.d.sync += [waiting.eq(1), half.eq(~half), weight.eq(start), block_weight.eq(start)]

    @staticmethod
    def _held(m: Module, value: Value, name: str, bits: int | None = None) -> Signal:
        """`value` one cycle later."""
        register = Signal(len(value) if bits is None else bits, name=f"stage_{name}")
        m.d.sync += register.eq(value)
        return register

    @classmethod
    def _delay(cls, m: Module, value: Value, out: Signal, name: str) -> None:
        """`out` is `value` two cycles later."""
        m.d.sync += out.eq(cls._held(m, value, name, len(out)))


@dataclass(frozen=True)
class ColumnPointer:
    """A column and the words from its row's start to it, in each bank; negative left of the map."""

    column: Signal
    words: Signal


class Columns:
    """Pointers to columns of banked rows: column c lies in bank c mod banks, so words grow where
    the bank wraps.
    """

    def __init__(self, m: Module, layers: Sequence[LayerPlan], layout: ChunkLayout) -> None:
        self._m, self._layers, self._banks, self._bank_bits = (
            m,
            layers,
            layout.banks,
            layout.bank_bits,
        )
        self._cursors = [layout.main_source(lp)[1] for lp in layers]
        self.reach = max(
            lp.column_sets * lp.chunk.columns * lp.stride[1]
            + lp.kernel[1]
            + lp.chunk.taps
            + lp.padding[1]
            for lp in layers
        )
        most = max(self.reach * cursor.pixel for cursor in self._cursors)
        self._column_shape, self._words_shape = signed_shape(self.reach), signed_shape(most)

    def pointer(self, name: str) -> ColumnPointer:
        """A pointer called `name`."""
        return ColumnPointer(
            Signal(self._column_shape, name=f"{name}_column"),
            Signal(self._words_shape, name=f"{name}_words"),
        )

    def copy(self, to: ColumnPointer, source: ColumnPointer) -> None:
        """Set `to` to where `source` is."""
        self._m.d.sync += [to.column.eq(source.column), to.words.eq(source.words)]

    def start(self, to: ColumnPointer, constant: LayerConstants) -> None:
        """Set `to` to the first column that the coming layer reads."""
        columns = [-lp.padding[1] for lp in self._layers]
        words = [
            column // self._banks * cursor.pixel
            for column, cursor in zip(columns, self._cursors, strict=True)
        ]
        self._m.d.sync += [
            to.column.eq(constant.coming(columns, f"{to.column.name}_start")),
            to.words.eq(constant.coming(words, f"{to.words.name}_start")),
        ]

    def move(
        self,
        to: ColumnPointer,
        source: ColumnPointer,
        steps: Sequence[int],
        constant: LayerConstants,
        name: str,
    ) -> None:
        """Set `to` so many columns right of `source`."""
        name = f"{to.column.name}_{name}"
        moves = [cursor.columns(step) for step, cursor in zip(steps, self._cursors, strict=True)]
        words = constant([words for words, _ in moves], f"{name}_words")
        self._m.d.sync += to.column.eq(source.column + constant(list(steps), name))
        if self._banks == 1:
            self._m.d.sync += to.words.eq(source.words + words)
            return
        bank = source.column[: self._bank_bits] + constant(
            [banks for _, banks in moves], f"{name}_banks"
        )
        wrapped = constant(
            [words + cursor.pixel for (words, _), cursor in zip(moves, self._cursors, strict=True)],
            f"{name}_wrapped",
        )
        self._m.d.sync += to.words.eq(source.words + Mux(bank >= self._banks, wrapped, words))


def signed_shape(most: int) -> Shape:
    """Shape of a signed number of at most `most` in either direction."""
    return Shape(signed_width(-most, most), signed=True)


def start_of_parts(sizes: Sequence[int]) -> list[int]:
    """Start of each part when parts of `sizes` lie one after the other."""
    starts = [0]
    for size in sizes[:-1]:
        starts.append(starts[-1] + size)
    return starts
