"""Writer of a chunk: follows the finished blocks, requantizes them and puts them where they belong."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.arithmetic import Requantization, value_range
from autonba.hwgen.layout import ChunkLayout, index_bits, write_address_bits
from autonba.hwgen.requantizer import RequantizerShape
from autonba.hwgen.sequencer import start_of_parts
from autonba.hwgen.tables import constant_table
from autonba.mapping import LayerPlan

QUEUE_DEPTH = 4  # tasks between sequencer and writer: at least 4 cycles a task, at most 12 cycles of pipeline
GROUP_TO_WRITE = 6  # from a group's parameter address to its write: ROM, bias, multiply, add, shift, clamp


def requantization(lp: LayerPlan) -> Requantization:
    """The constants of a layer."""
    layer = lp.layer
    return Requantization(shift=layer.shift, residual_multiplier=layer.residual_multiplier, bits=layer.bits,
                          signed=layer.signed)


class Writer(wiring.Component):
    """Addresses of parameters, residuals and results for the channel groups that the drain delivers.

    Latency: `block_done` to the first group's parameter address 1 cycle, to its write 7. Throughput: a group a cycle.
    No back-pressure: the row that a task writes was claimed before the task began.

    Ports
    -----
    task_valid, task_payload : a task was taken by the sequencer
    block_done               : the drain delivers a block's first group two cycles from now
    parameter_address        : word of the parameter ROM
    residual_source, residual_address : residual memory and its address
    residual_multiplier, half, shift, low, high, raw : constants of the requantizer, each at its own stage
    write_valid, write_layer : a group of that layer is written in this cycle
    out<i>_enable, out<i>_address : the same, for each memory
    <layer>_commit           : the last group of a row is written in this cycle
    <edge>_release           : residual rows given back in this cycle
    """

    def __init__(self, layout: ChunkLayout) -> None:
        self._layout = layout
        self._shape = RequantizerShape.of(layout.chunk)
        shape = self._shape
        ports: dict[str, In | Out] = {
            "task_payload": In(layout.write_task), "task_valid": In(1), "block_done": In(1),
            "parameter_address": Out(index_bits(layout.chunk.parameter_words)),
            "write_valid": Out(1), "write_layer": Out(layout.layer_bits),
        }
        if shape.requantizes:
            ports |= {"half": Out(shape.half_bits), "shift": Out(shape.shift_bits), "low": Out(shape.out_shape),
                      "high": Out(shape.out_shape)}
        if shape.raw and shape.requantizes:
            ports["raw"] = Out(1)
        if layout.residual_memories:
            ports |= {"residual_source": Out(index_bits(len(layout.residual_memories))),
                      "residual_address": Out(layout.residual_bits),
                      "residual_multiplier": Out(shape.residual_multiplier_bits)}
        for i, memory in enumerate(layout.output_memories):
            ports[f"out{i}_enable"] = Out(1)
            ports[f"out{i}_address"] = Out(write_address_bits(memory))
        for lp in layout.chunk.layers:
            ports[f"{lp.layer.name}_commit"] = Out(1)
        for _, edge in layout.input_edges:
            if edge.port == "residual":
                ports[f"{edge.name}_release"] = Out(layout.edge_bits(edge))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layout, layers = self._layout, self._layout.chunk.layers

        # Tasks on their way from the sequencer.
        slots = [Signal(layout.write_task, name=f"slot{i}") for i in range(QUEUE_DEPTH)]
        count = Signal(range(QUEUE_DEPTH + 1))
        load = Signal()
        place = Signal(range(QUEUE_DEPTH + 1))
        m.d.comb += place.eq(Mux(load, count - 1, count))
        m.d.sync += count.eq(place + self.task_valid)
        for i, slot in enumerate(slots):
            with m.If(self.task_valid & (place == i)):
                m.d.sync += slot.eq(self.task_payload)
            if i + 1 < QUEUE_DEPTH:
                with m.Elif(load):
                    m.d.sync += slot.eq(slots[i + 1])

        # Position: column x, channel group of the pixel, group of the block.
        task = Signal(layout.write_task, name="current_task")
        busy = Signal()  # groups of a block are being delivered
        fresh = Signal(init=1)  # the next block begins a task
        x = Signal(index_bits(max(lp.out.width for lp in layers)))
        group = Signal(index_bits(max(lp.nest.blocks * lp.drain_cycles for lp in layers)))
        lane = Signal(index_bits(layers[0].drain_cycles))

        def constants(values: list[int], name: str, index: Value = task.layer, shape: Shape | None = None) -> Signal:
            return constant_table(m, index, values, name, shape)

        block_end, pixel_end, task_end = Signal(), Signal(), Signal()
        m.d.comb += [
            block_end.eq(lane == layers[0].drain_cycles - 1),
            pixel_end.eq(group == constants([lp.nest.blocks * lp.drain_cycles - 1 for lp in layers], "group_end")),
            task_end.eq(busy & pixel_end & (x == constants([lp.out.width - 1 for lp in layers], "x_end"))),
            load.eq(self.block_done & (fresh | task_end)),
        ]
        pointers = []
        for i, memory in enumerate(layout.output_memories):
            cursors = [layout.destination(lp, memory) for lp in layers]
            pointers.append((f"out{i}", [0 if c is None else c.pixel for c in cursors]))
        if layout.residual_memories:
            residuals = [layout.residual_source(lp) for lp in layers]
            pointers.append(("residual", [0 if r is None else r[1].pixel for r in residuals]))
        registers = {}
        for name, pixels in pointers:
            field = getattr(task, name)
            registers[name] = pointer = Signal(len(field), name=f"{name}_pixel")
            with m.If(busy & pixel_end):
                m.d.sync += pointer.eq(pointer + constants(pixels, f"{name}_step"))
            with m.If(load):
                m.d.sync += pointer.eq(getattr(slots[0], name))
        with m.If(busy):
            m.d.sync += [lane.eq(lane + 1), group.eq(group + 1)]
            with m.If(block_end):
                m.d.sync += [lane.eq(0), busy.eq(0)]
            with m.If(pixel_end):
                m.d.sync += [group.eq(0), x.eq(x + 1)]
            with m.If(task_end):
                m.d.sync += [x.eq(0), fresh.eq(1)]
        with m.If(self.block_done):
            m.d.sync += [busy.eq(1), fresh.eq(0)]
        with m.If(load):
            m.d.sync += task.eq(slots[0])

        inside = Signal(name="in_channels")
        m.d.comb += inside.eq(busy & (group < constants([lp.channel_groups for lp in layers], "groups")))
        parameter_words = [lp.nest.blocks * lp.drain_cycles for lp in layers]
        parameter_base = constants(start_of_parts(parameter_words), "parameter_base")
        m.d.comb += self.parameter_address.eq(parameter_base + group)

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

        def stage_constants(port: str, stage: int, values: list[int]) -> None:
            out = getattr(self, port)
            m.d.sync += out.eq(constants(values, f"{port}_of_layer", layer_at[stage - 1], out.shape()))

        self._requantizer_constants(stage_constants)
        if layout.residual_memories:
            m.d.comb += [
                self.residual_address.eq(registers["residual"] + group),
                self.residual_source.eq(constants([0 if r is None else r[0] for r in residuals], "source")),
            ]

        write_valid = later(inside, GROUP_TO_WRITE, "write_valid")
        write_layer = layer_at[GROUP_TO_WRITE]
        last = later(task_end, GROUP_TO_WRITE, "row_done")
        m.d.comb += [self.write_valid.eq(write_valid), self.write_layer.eq(write_layer)]
        for i, memory in enumerate(layout.output_memories):
            address = Signal(write_address_bits(memory), name=f"out{i}_group")
            m.d.comb += address.eq(registers[f"out{i}"] + group)
            goes_here = constants([int(layout.destination(lp, memory) is not None) for lp in layers], f"to_out{i}",
                                  write_layer)
            m.d.comb += [getattr(self, f"out{i}_address").eq(later(address, GROUP_TO_WRITE, f"out{i}_address")),
                         getattr(self, f"out{i}_enable").eq(write_valid & goes_here)]
        for lp in layers:
            m.d.comb += getattr(self, f"{lp.layer.name}_commit").eq(last & (write_layer == lp.index))
        for lp, edge in layout.input_edges:
            if edge.port == "residual":
                m.d.comb += getattr(self, f"{edge.name}_release").eq(last & (write_layer == lp.index))
        return m

    def _requantizer_constants(self, stage_constants: object) -> None:
        assert callable(stage_constants)
        layers, shape = self._layout.chunk.layers, self._shape
        values = [requantization(lp) for lp in layers]
        if self._layout.residual_memories:
            stage_constants("residual_multiplier", 2, [q.residual_multiplier for q in values])
        if shape.requantizes:
            ranges = [value_range(q.bits, q.signed) if not lp.layer.raw else (0, 0)
                      for lp, q in zip(layers, values, strict=True)]
            lowest = shape.shifts[0]
            stage_constants("half", 3, [0 if lp.layer.raw else q.half for lp, q in zip(layers, values, strict=True)])
            stage_constants("shift", 4, [0 if lp.layer.raw else q.shift - lowest
                                         for lp, q in zip(layers, values, strict=True)])
            stage_constants("low", 5, [low for low, _ in ranges])
            stage_constants("high", 5, [high for _, high in ranges])
            if shape.raw:
                stage_constants("raw", 5, [int(lp.layer.raw) for lp in layers])


