"""Sequencer of a chunk: walks the loop nest of a row task, one multiply cycle ("beat") a clock cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.hwgen.layout import ChunkLayout, index_bits
from autonba.hwgen.tables import constant_table


class Sequencer(wiring.Component):
    """Turns a row task into read addresses.

    Loops, outermost first: column x, group, block of the group, kernel row ky, kernel column kx, run j1, word j2. A block
    shorter than the drain of the one before begins with idle cycles. Consecutive tasks follow without a gap.
    Latency: the first beat's addresses are on the ports three cycles after the task was taken. No back-pressure: a task is
    only offered when all it reads is there.

    Ports
    -----
    task_*           : stream of `ChunkLayout.task`
    read_source      : which main memory, `read_address` in it; `read_inside` is low on padding
    weight_address   : word of the weight ROM
    beat_valid, beat_first, beat_last : a beat, the first and the last of its block
    <edge>_release   : rows given back in this cycle (the last beat of a task was issued)
    """

    def __init__(self, layout: ChunkLayout) -> None:
        self._layout = layout
        ports: dict[str, In | Out] = {
            "task_payload": In(layout.task), "task_valid": In(1), "task_ready": Out(1),
            "read_source": Out(index_bits(len(layout.main_memories))), "read_address": Out(layout.read_bits),
            "read_inside": Out(1), "weight_address": Out(index_bits(layout.chunk.weight_words)),
            "beat_valid": Out(1), "beat_first": Out(1), "beat_last": Out(1),
        }
        for _, edge in layout.input_edges:
            if edge.port == "main":
                ports[f"{edge.name}_release"] = Out(layout.edge_bits(edge))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout, layers = self._layout, self._layout.chunk.layers
        sources = [layout.main_source(lp) for lp in layers]
        cursors = [cursor for _, cursor in sources]

        running = Signal()
        task = Signal(layout.task, name="current_task")
        taken = Signal()
        layer = task.write.layer

        def constants(values: list[int], name: str) -> Signal:
            return constant_table(m, layer, values, name)

        def counter(limits: list[int], name: str) -> tuple[Signal, Signal]:
            """A counter and whether it stands at the current layer's last value."""
            count = Signal(index_bits(max(limits)), name=name)
            at_end = Signal(name=f"{name}_at_end")
            m.d.comb += at_end.eq(count == constants([limit - 1 for limit in limits], f"{name}_end"))
            return count, at_end

        word, word_end = counter([lp.nest.run_words for lp in layers], "word")
        run, run_end = counter([lp.nest.runs for lp in layers], "run")
        kx, kx_end = counter([lp.kernel[1] for lp in layers], "kx")
        ky, ky_end = counter([lp.kernel[0] for lp in layers], "ky")
        block, block_end = counter([lp.nest.blocks_per_group for lp in layers], "block")
        group, group_end = counter([lp.nest.blocks // lp.nest.blocks_per_group for lp in layers], "group")
        x, x_end = counter([lp.out.width for lp in layers], "x")
        idle = [lp.period - lp.beats for lp in layers]
        filling = Signal()
        fill = Signal(index_bits(max(idle) + 1))

        # Pointers that go along with the counters.
        row_pointer = Signal(layout.read_bits)
        column_shape = Shape(2 + max(cursor.row + lp.kernel[1] * cursor.pixel
                                     for lp, cursor in zip(layers, cursors, strict=True)).bit_length(), signed=True)
        x_pointer = Signal(column_shape)
        tap_pointer = Signal(column_shape)
        position_shape = Shape(2 + max(lp.source.width + lp.kernel[1] for lp in layers).bit_length(), signed=True)
        x_position = Signal(position_shape)
        tap_position = Signal(position_shape)
        words_bits = index_bits(max(cursor.pixel for cursor in cursors) + 1)
        group_pointer = Signal(words_bits)
        run_pointer = Signal(words_bits)
        word_pointer = Signal(words_bits)
        weight = Signal(index_bits(layout.chunk.weight_words))

        pixel = constants([cursor.pixel for cursor in cursors], "pixel")
        stride = constants([lp.stride[1] for lp in layers], "stride")
        stride_pixels = constants([lp.stride[1] * cursor.pixel for lp, cursor in zip(layers, cursors, strict=True)],
                                  "stride_pixels")
        row_size = constants([cursor.row for cursor in cursors], "row_size")
        buffer_end = constants([cursor.base + cursor.size for cursor in cursors], "buffer_end")
        buffer_size = constants([cursor.size for cursor in cursors], "buffer_size")
        group_stride = constants([lp.nest.group_stride for lp in layers], "group_stride")
        run_stride = constants([lp.nest.run_stride for lp in layers], "run_stride")
        first_word = constants([lp.nest.base for lp in layers], "first_word")
        height = constants([lp.source.height for lp in layers], "height")
        width = constants([lp.source.width for lp in layers], "width")
        weight_base = constants(start_of_parts([lp.weight_words for lp in layers]), "weight_base")
        fill_last = constants([max(n - 1, 0) for n in idle], "fill_last")
        fills = constants([int(n > 0) for n in idle], "fills")

        # Ends of the loops, innermost first.
        beats_end, pixel_end, task_end = Signal(), Signal(), Signal()
        m.d.comb += [
            beats_end.eq(word_end & run_end & kx_end & ky_end & ~filling),
            pixel_end.eq(beats_end & block_end & group_end),
            task_end.eq(pixel_end & x_end),
            self.task_ready.eq(~running | task_end),
            taken.eq(self.task_ready & self.task_valid),
        ]
        next_run = Signal(words_bits)
        next_group = Signal(words_bits)
        m.d.comb += [next_run.eq(run_pointer + run_stride), next_group.eq(group_pointer + group_stride)]

        with m.If(running):
            with m.If(~filling):
                # word, run, kx, ky
                m.d.sync += [weight.eq(weight + 1), word.eq(word + 1), word_pointer.eq(word_pointer + 1)]
                with m.If(word_end):
                    m.d.sync += [word.eq(0), run.eq(run + 1), run_pointer.eq(next_run), word_pointer.eq(next_run)]
                    with m.If(run_end):
                        m.d.sync += [
                            run.eq(0), run_pointer.eq(group_pointer), word_pointer.eq(group_pointer), kx.eq(kx + 1),
                            tap_pointer.eq(tap_pointer + pixel), tap_position.eq(tap_position + 1),
                        ]
                        with m.If(kx_end):
                            moved = row_pointer + row_size
                            m.d.sync += [
                                kx.eq(0), tap_pointer.eq(x_pointer), tap_position.eq(x_position), ky.eq(ky + 1),
                                row_pointer.eq(Mux(moved >= buffer_end, moved - buffer_size, moved)),
                            ]
            with m.Else():
                m.d.sync += fill.eq(fill + 1)
                with m.If(fill == fill_last):
                    m.d.sync += [filling.eq(0), fill.eq(0)]
            with m.If(beats_end):
                # block, group, x
                m.d.sync += [ky.eq(0), row_pointer.eq(task.read), filling.eq(fills), block.eq(block + 1)]
                with m.If(block_end):
                    m.d.sync += [block.eq(0), group.eq(group + 1), group_pointer.eq(next_group),
                                 run_pointer.eq(next_group), word_pointer.eq(next_group)]
                    with m.If(group_end):
                        m.d.sync += [
                            group.eq(0), group_pointer.eq(first_word), run_pointer.eq(first_word),
                            word_pointer.eq(first_word), x.eq(x + 1), weight.eq(weight_base),
                            x_pointer.eq(x_pointer + stride_pixels), tap_pointer.eq(x_pointer + stride_pixels),
                            x_position.eq(x_position + stride), tap_position.eq(x_position + stride),
                        ]
            with m.If(task_end):
                m.d.sync += [running.eq(0), x.eq(0)]

        # A new task sets every pointer from its own layer's constants.
        coming = self.task_payload.write.layer

        def at_start(values: list[int], name: str) -> Signal:
            return constant_table(m, coming, values, f"{name}_at_start")

        with m.If(taken):
            start_pointer = at_start([-lp.layer.padding[1] * cursor.pixel if lp.layer.op == "conv" else 0
                                      for lp, cursor in zip(layers, cursors, strict=True)], "x_pointer")
            start_position = at_start([-lp.layer.padding[1] if lp.layer.op == "conv" else 0 for lp in layers],
                                      "x_position")
            start_word = at_start([lp.nest.base for lp in layers], "word")
            m.d.sync += [
                running.eq(1), filling.eq(at_start([int(n > 0) for n in idle], "fills")), task.eq(self.task_payload),
                row_pointer.eq(self.task_payload.read),
                x_pointer.eq(start_pointer), tap_pointer.eq(start_pointer),
                x_position.eq(start_position), tap_position.eq(start_position),
                group_pointer.eq(start_word), run_pointer.eq(start_word), word_pointer.eq(start_word),
                weight.eq(at_start(start_of_parts([lp.weight_words for lp in layers]), "weight")),
            ]

        for i, (lp, edge) in enumerate((lp, e) for lp, e in layout.input_edges if e.port == "main"):
            gives = Signal(name=f"gives{i}")
            m.d.comb += [gives.eq(running & task_end & (layer == lp.index)),
                         getattr(self, f"{edge.name}_release").eq(Mux(gives, task.release, 0))]

        # Two address stages: pointers of row and column, then the word.
        y_position = Signal(layout.top_shape)
        stage_address = Signal(layout.read_bits)
        stage_word = Signal(words_bits)
        stage_inside, stage_valid, stage_first, stage_last = Signal(), Signal(), Signal(), Signal()
        stage_weight = Signal.like(weight)
        stage_source = Signal.like(self.read_source)
        m.d.comb += y_position.eq(task.top + ky)
        m.d.sync += [
            stage_address.eq(row_pointer + tap_pointer),
            stage_word.eq(word_pointer),
            stage_inside.eq((y_position >= 0) & (y_position < height) & (tap_position >= 0) & (tap_position < width)),
            stage_valid.eq(running & ~filling),
            stage_first.eq((word == 0) & (run == 0) & (kx == 0) & (ky == 0)),
            stage_last.eq(beats_end),
            stage_weight.eq(weight),
            stage_source.eq(constants([source for source, _ in sources], "source")),
            self.read_address.eq(stage_address + stage_word),
            self.read_inside.eq(stage_inside),
            self.read_source.eq(stage_source),
            self.weight_address.eq(stage_weight),
            self.beat_valid.eq(stage_valid),
            self.beat_first.eq(stage_first),
            self.beat_last.eq(stage_last),
        ]
        return m


def start_of_parts(sizes: list[int]) -> list[int]:
    """Start of each part when parts of `sizes` lie one after the other."""
    starts = [0]
    for size in sizes[:-1]:
        starts.append(starts[-1] + size)
    return starts
