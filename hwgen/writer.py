"""Writer of a chunk: follows the finished blocks, requantizes them and puts them where they
belong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.arithmetic import Requantization, ceil_div, clog2, value_range
from autonba.mapping import LayerPlan
from autonba.pipeline import ADDRESS_STAGES, GROUP_TO_WRITE, REQUANTIZER_INPUT_STAGE

from .layout import ChunkLayout, Cursor, index_bits, write_address_bits
from .requantizer import RequantizerShape
from .sequencer import start_of_parts
from .tables import LayerConstants, advance, constant_table

TASK_CYCLES = 4  # the scheduler offers a task every so many cycles at most
READ_STAGES = 1  # a group's parameter address to its accumulator's cycle
RESIDUAL_STAGES = 1  # the residual's address to its value, counted like REQUANTIZER_INPUT_STAGE


def requantization(lp: LayerPlan) -> Requantization:
    """The constants of a layer."""
    layer = lp.layer
    return Requantization(
        shift=layer.shift,
        residual_multiplier=layer.residual_multiplier,
        bits=layer.bits,
        signed=layer.signed,
    )


class Writer(wiring.Component):
    """Addresses of parameters, residuals and results for the channel groups that the drain
    delivers.

    Follows the sequencer's visits; of each, the columns one after the other, and of a column the
    groups of the block.
    Latency: `block_done` to the first group's parameter address 1 cycle, to its write
    GROUP_TO_WRITE more. Throughput: a group a cycle. No back-pressure: the row that a task writes
    was claimed before the task began.

    Ports
    -----
    task_valid, task_payload : a task was taken by the sequencer
    block_done               : the drain delivers a block's first group two cycles from now
    parameter_address        : word of the parameter ROM
    residual_source, residual_address : residual memory and its address
    residual_multiplier, half, shift, low, high, raw : constants of the requantizer, each at its own
        stage
    write_valid, write_layer : a group of that layer is written in this cycle
    out<i>_enable, out<i>_address : the same, for each memory; out<i>_column : its column bank,
        where there are several
    <layer>_commit           : the last group of a task is written in this cycle
    <edge>_release           : residual rows given back in this cycle
    """

    def __init__(self, layout: ChunkLayout) -> None:
        self._layout = layout
        self._shape = RequantizerShape.of(layout.chunk)
        shape = self._shape
        ports: dict[str, In | Out] = {
            "task_payload": In(layout.write_task),
            "task_valid": In(1),
            "block_done": In(1),
            "parameter_address": Out(index_bits(layout.chunk.parameter_words)),
            "write_valid": Out(1),
            "write_layer": Out(layout.layer_bits),
        }
        if shape.requantizes:
            ports |= {
                "half": Out(shape.half_bits),
                "shift": Out(shape.shift_bits),
                "low": Out(shape.out_shape),
                "high": Out(shape.out_shape),
            }
        if shape.raw and shape.requantizes:
            ports["raw"] = Out(1)
        if layout.residual_memories:
            ports |= {
                "residual_source": Out(index_bits(len(layout.residual_memories))),
                "residual_address": Out(layout.residual_bits),
                "residual_multiplier": Out(shape.residual_multiplier_bits),
            }
        for i, memory in enumerate(layout.output_memories):
            ports[f"out{i}_enable"] = Out(1)
            ports[f"out{i}_address"] = Out(write_address_bits(memory))
            if memory.banks > 1:
                ports[f"out{i}_column"] = Out(clog2(memory.banks))
        for lp in layout.chunk.layers:
            ports[f"{lp.layer.name}_commit"] = Out(1)
        for _, edge in layout.input_edges:
            if edge.port == "residual":
                ports[f"{edge.name}_release"] = Out(layout.edge_bits(edge))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """The position within the task, and the pointers of every memory at it."""
        m = Module()
        layout, chunk, layers = self._layout, self._layout.chunk, self._layout.chunk.layers
        groups, columns = layers[0].block_groups, chunk.chunk.columns

        # Tasks on their way from the sequencer.
        depth = 2 + ceil_div(ADDRESS_STAGES + chunk.array_stages, TASK_CYCLES)
        slots = [Signal(layout.write_task, name=f"slot{i}") for i in range(depth)]
        count = Signal(range(depth + 1))
        load = Signal()
        place = Signal(range(depth + 1))
        m.d.comb += place.eq(Mux(load, count - 1, count))
        m.d.sync += count.eq(place + self.task_valid)
        for i, slot in enumerate(slots):
            with m.If(self.task_valid & (place == i)):
                m.d.sync += slot.eq(self.task_payload)
            if i + 1 < depth:
                with m.Elif(load):
                    m.d.sync += slot.eq(slots[i + 1])

        # Position: row y of the task, column set x, block, column of the set, group of the block.
        task = Signal(layout.write_task, name="current_task")
        constant = LayerConstants(load, slots[0].layer)
        busy = Signal()  # groups of a visit are being delivered
        fresh = Signal(init=1)  # the next visit begins a task
        y = Signal(index_bits(max(lp.loops.rows for lp in layers)))
        x = Signal(index_bits(max(lp.column_sets for lp in layers)))
        set_column = Signal(index_bits(max(lp.column_sets * columns for lp in layers)))
        column = Signal(index_bits(columns))
        lane = Signal(index_bits(groups))
        block_group = Signal(
            index_bits(max(lp.parameter_words for lp in layers))
        )  # the block's first group
        group = Signal.like(block_group)
        block_outer = constant(
            [int(lp.loops.order == "block_outer") for lp in layers], "block_outer"
        )

        lanes_end, visit_end, blocks_end, next_set = Signal(), Signal(), Signal(), Signal()
        x_end, y_end, next_block, task_end = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            lanes_end.eq(lane == groups - 1),
            visit_end.eq(busy & lanes_end & (column == columns - 1)),
            blocks_end.eq(
                block_group
                == constant([lp.parameter_words - lp.block_groups for lp in layers], "last_block")
            ),
            x_end.eq(x == constant([lp.column_sets - 1 for lp in layers], "x_last")),
            y_end.eq(y == constant([lp.loops.rows - 1 for lp in layers], "y_last")),
            next_set.eq(visit_end & (block_outer | blocks_end)),
            next_block.eq(visit_end & (~block_outer | (x_end & y_end))),
            task_end.eq(visit_end & blocks_end & x_end & y_end),
            load.eq(self.block_done & (fresh | task_end)),
        ]
        next_block_group = Signal.like(block_group)
        m.d.comb += next_block_group.eq(block_group)
        with m.If(next_block):
            m.d.comb += next_block_group.eq(Mux(blocks_end, 0, block_group + groups))
        with m.If(busy):
            m.d.sync += [lane.eq(lane + 1), group.eq(group + 1)]
            with m.If(lanes_end):
                m.d.sync += [lane.eq(0), group.eq(block_group), column.eq(column + 1)]
        with m.If(visit_end):
            m.d.sync += [
                busy.eq(0),
                column.eq(0),
                block_group.eq(next_block_group),
                group.eq(next_block_group),
            ]
        with m.If(next_set):
            m.d.sync += [x.eq(x + 1), set_column.eq(set_column + columns)]
            with m.If(x_end):
                m.d.sync += [x.eq(0), set_column.eq(0), y.eq(Mux(y_end, 0, y + 1))]
        with m.If(task_end):
            m.d.sync += fresh.eq(1)
        with m.If(self.block_done):
            m.d.sync += [busy.eq(1), fresh.eq(0)]
        with m.If(load):
            m.d.sync += task.eq(slots[0])

        # Pointers to the pixel of the current column, in every memory that is written, and in the
        # residual's.
        cursors: dict[str, list[Cursor | None]] = {
            f"out{i}": [layout.destination(lp, memory) for lp in layers]
            for i, memory in enumerate(layout.output_memories)
        }
        if layout.residual_memories:
            found = [layout.residual_source(lp) for lp in layers]
            cursors["residual"] = [None if source is None else source[1] for source in found]
        pixels = {
            name: (
                PixelPointer(
                    m, name, of_layers, [lp.loops.rows for lp in layers], columns, constant
                ).follow(
                    getattr(task, name),
                    getattr(slots[0], name),
                    load,
                    busy & lanes_end,
                    visit_end,
                    next_set,
                    x_end,
                    y_end,
                )
            )
            for name, of_layers in cursors.items()
        }

        inside = Signal(name="in_map")
        m.d.comb += inside.eq(
            busy
            & (group < constant([lp.channel_groups for lp in layers], "groups"))
            & (set_column + column < constant([lp.out.width for lp in layers], "width"))
        )
        m.d.comb += self.parameter_address.eq(
            group
            + constant(start_of_parts([lp.parameter_words for lp in layers]), "parameter_base")
        )

        # Everything below goes along with a group, `stage` cycles after its parameter address.
        layer_at = [task.layer]
        for stage in range(1, GROUP_TO_WRITE + 1):
            layer = Signal(layout.layer_bits, name=f"layer_at_{stage}")
            m.d.sync += layer.eq(layer_at[-1])
            layer_at.append(layer)

        def later(value: Value, cycles: int, name: str) -> Value:
            for stage in range(1, cycles + 1):
                register = Signal(len(value), name=f"{name}_at_{stage}")
                m.d.sync += register.eq(value)
                value = register
            return value

        def stage_constants(port: str, values: list[int]) -> None:
            """Drive `port` in the cycle in which the requantizer takes it."""
            out = getattr(self, port)
            index = layer_at[READ_STAGES + REQUANTIZER_INPUT_STAGE[port] - 1]
            m.d.sync += out.eq(constant_table(m, index, values, f"{port}_of_layer", out.shape()))

        self._requantizer_constants(stage_constants)
        if layout.residual_memories:
            found = [layout.residual_source(lp) for lp in layers]
            source = constant_table(
                m, task.layer, [0 if r is None else r[0] for r in found], "source"
            )
            wait = REQUANTIZER_INPUT_STAGE["residual"] - RESIDUAL_STAGES
            # What a layer without a residual reads counts 0 times, but a simulator's value from
            # behind the memory's end is unknown.
            memory = layout.residual_memories[0]
            has_residual = [int(r is not None) for r in found]
            behind = any(
                not has and lp.parameter_words > memory.depth * memory.lanes // memory.read_lanes
                for has, lp in zip(has_residual, layers, strict=True)
            )
            read_group = (
                Mux(constant_table(m, task.layer, has_residual, "has_residual"), group, 0)
                if behind
                else group
            )
            m.d.comb += [
                self.residual_address.eq(
                    later(pixels["residual"].words + read_group, wait, "residual_address")
                ),
                self.residual_source.eq(later(source, wait, "residual_source")),
            ]

        write_valid = later(inside, GROUP_TO_WRITE, "write_valid")
        write_layer = layer_at[GROUP_TO_WRITE]
        last = later(task_end, GROUP_TO_WRITE, "task_done")
        m.d.comb += [self.write_valid.eq(write_valid), self.write_layer.eq(write_layer)]
        for i, memory in enumerate(layout.output_memories):
            address = Signal(write_address_bits(memory), name=f"out{i}_group")
            pixel = pixels[f"out{i}"]
            m.d.comb += address.eq(pixel.words + group)
            goes_here = constant_table(
                m,
                write_layer,
                [int(layout.destination(lp, memory) is not None) for lp in layers],
                f"to_out{i}",
            )
            m.d.comb += [
                getattr(self, f"out{i}_address").eq(
                    later(address, GROUP_TO_WRITE, f"out{i}_address")
                ),
                getattr(self, f"out{i}_enable").eq(write_valid & goes_here),
            ]
            if pixel.bank is not None:
                m.d.comb += getattr(self, f"out{i}_column").eq(
                    later(pixel.bank, GROUP_TO_WRITE, f"out{i}_column")
                )
        for lp in layers:
            m.d.comb += getattr(self, f"{lp.layer.name}_commit").eq(
                last & (write_layer == lp.index)
            )
        for lp, edge in layout.input_edges:
            if edge.port == "residual":
                given = last & (write_layer == lp.index)
                m.d.comb += getattr(self, f"{edge.name}_release").eq(Mux(given, lp.loops.rows, 0))
        constant.finish(m)
        return m

    def _requantizer_constants(self, stage_constants: Callable[[str, list[int]], None]) -> None:
        layers, shape = self._layout.chunk.layers, self._shape
        values = [requantization(lp) for lp in layers]
        if self._layout.residual_memories:
            stage_constants("residual_multiplier", [q.residual_multiplier for q in values])
        if shape.requantizes:
            ranges = [
                value_range(q.bits, q.signed) if not lp.layer.raw else (0, 0)
                for lp, q in zip(layers, values, strict=True)
            ]
            lowest = shape.shifts[0]
            stage_constants(
                "half",
                [0 if lp.layer.raw else q.half for lp, q in zip(layers, values, strict=True)],
            )
            stage_constants(
                "shift",
                [
                    0 if lp.layer.raw else q.shift - lowest
                    for lp, q in zip(layers, values, strict=True)
                ],
            )
            stage_constants("low", [low for low, _ in ranges])
            stage_constants("high", [high for _, high in ranges])
            if shape.raw:
                stage_constants("raw", [int(lp.layer.raw) for lp in layers])


class PixelPointer:
    """Where the pixel of the current column lies in one memory; its bank too, where the memory has
    several.

    Three nested places: the start of the current row, of the current column set, and the current
    column.
    """

    def __init__(
        self,
        m: Module,
        name: str,
        cursors: Sequence[Cursor | None],
        rows: Sequence[int],
        columns: int,
        constant: LayerConstants,
    ) -> None:
        self._m, self._name, self._columns, self._constant = m, name, columns, constant
        self._cursors, self._rows = cursors, rows
        self._banks = next(c.banks for c in cursors if c is not None)

    def _of(self, value: Callable[[Cursor], int], name: str) -> Value:
        return self._constant(
            [0 if c is None else value(c) for c in self._cursors], f"{self._name}_{name}"
        )

    def _moved(
        self, words: Value, bank: Value | None, columns: int, name: str
    ) -> tuple[Value, Value | None]:
        """`columns` columns to the right."""
        step = self._of(lambda c: c.columns(columns)[0], f"{name}_words")
        if bank is None:
            return words + step, None
        moved = Signal(range(2 * self._banks), name=f"{self._name}_{name}_bank")
        self._m.d.comb += moved.eq(bank + columns % self._banks)
        wrapped = self._of(lambda c: c.columns(columns)[0] + c.pixel, f"{name}_wrapped")
        return words + Mux(moved >= self._banks, wrapped, step), moved[: clog2(self._banks)]

    def follow(
        self,
        start: Value,
        coming: Value,
        load: Value,
        next_column: Value,
        next_visit: Value,
        next_set: Value,
        x_end: Value,
        y_end: Value,
    ) -> PixelPointer:
        """Add the registers. `start` is where the task begins, `coming` where the one that `load`
        takes does.
        """
        m, bits = self._m, len(start)
        row, of_set, self.words = (
            Signal(bits, name=f"{self._name}_{n}") for n in ("row", "set", "pixel")
        )
        set_bank: Signal | None = None
        self.bank: Signal | None = None
        if self._banks > 1:
            set_bank, self.bank = (
                Signal(range(self._banks), name=f"{self._name}_{n}") for n in ("set_bank", "bank")
            )
        row_size, base, size = (
            self._of(value, name)
            for value, name in (
                (lambda c: c.row % c.size, "row_size"),
                (lambda c: c.base, "base"),
                (lambda c: c.size, "size"),
            )
        )

        after_words, after_bank = (
            Signal(bits, name=f"{self._name}_after"),
            None,
        )  # the set of the next visit
        m.d.comb += after_words.eq(of_set)
        row_after = Signal(bits, name=f"{self._name}_row_after")
        m.d.comb += row_after.eq(Mux(y_end, start, advance(row, row_size, base, size)))
        moved_words, moved_bank = self._moved(of_set, set_bank, self._columns, "next_set")
        if set_bank is not None:
            after_bank = Signal.like(set_bank, name=f"{self._name}_after_bank")
            m.d.comb += after_bank.eq(set_bank)
        with m.If(next_set):
            m.d.comb += after_words.eq(Mux(x_end, row_after, moved_words))
            if after_bank is not None:
                m.d.comb += after_bank.eq(Mux(x_end, 0, moved_bank))
            with m.If(x_end):
                m.d.sync += row.eq(row_after)

        pixel_words, pixel_bank = self._moved(self.words, self.bank, 1, "next_column")
        with m.If(next_column):
            m.d.sync += self.words.eq(pixel_words)
        with m.If(next_visit):
            m.d.sync += [of_set.eq(after_words), self.words.eq(after_words)]
        with m.If(load):
            m.d.sync += [row.eq(coming), of_set.eq(coming), self.words.eq(coming)]
        if self.bank is not None and set_bank is not None:
            with m.If(next_column):
                m.d.sync += self.bank.eq(pixel_bank)
            with m.If(next_visit):
                m.d.sync += [set_bank.eq(after_bank), self.bank.eq(after_bank)]
            with m.If(load):
                m.d.sync += [set_bank.eq(0), self.bank.eq(0)]
        return self
