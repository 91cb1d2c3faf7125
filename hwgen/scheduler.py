"""Scheduler of a chunk: picks the next row task among its layers."""

from __future__ import annotations

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from autonba.mapping import LayerPlan

from .layout import ChunkLayout, Cursor, index_bits, write_address_bits
from .tables import advance, constant_table


class Scheduler(wiring.Component):
    """Looks at the row tokens, picks the next ready layer after the last one picked, claims its
    tokens and offers the task.

    A layer is ready when every input edge has the rows its next task needs and every output edge
    has room for its rows.
    Latency: look, pick, claim, offer take a cycle each; `autonba.cost.schedule` counts on it
    (LOOK_TO_OFFER).
    Throughput: a task every four cycles. Back-pressure: the offer waits for `task_ready`; nothing
    is claimed meanwhile.

    Ports
    -----
    <edge>_available : rows present and unclaimed, for each input edge
    <edge>_claim     : rows claimed in this cycle (those the task will give back)
    <edge>_free      : free rows, for each output edge
    <layer>_claim    : the layer claims a task's rows of each of its output edges
    task_*           : stream of `ChunkLayout.task`
    waiting, waiting_room, waiting_layer : a layer waits for rows; for room, not for input; its
        place in the network: the last layer that has its input and no room, or else the first that
        has begun an image and lacks input
    """

    def __init__(self, layout: ChunkLayout) -> None:
        self._layout = layout
        self._waits: list[
            tuple[LayerPlan, Value, Value]
        ] = []  # layer, whether it waits for input, for room
        ports: dict[str, In | Out] = {
            "task_payload": Out(layout.task),
            "task_valid": Out(1),
            "task_ready": In(1),
            "waiting": Out(1),
            "waiting_room": Out(1),
            "waiting_layer": Out(index_bits(len(layout.plan.network.layers))),
        }
        for _, edge in layout.input_edges:
            ports[f"{edge.name}_available"] = In(layout.edge_bits(edge))
            ports[f"{edge.name}_claim"] = Out(layout.edge_bits(edge))
        for lp in layout.chunk.layers:
            ports[f"{lp.layer.name}_claim"] = Out(1)
            for edge in layout.outgoing(lp):
                ports[f"{edge.name}_free"] = In(layout.edge_bits(edge))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """What is ready, which layer is next, and the claim of its tokens."""
        m = Module()
        layout, layers = self._layout, self._layout.chunk.layers
        ready = Signal(len(layers))
        ready_then, later_then = (
            Signal(len(layers)),
            Signal(len(layers)),
        )  # all that were ready, and those after `chosen`
        chosen = Signal(layout.layer_bits)
        chosen_next = Signal(layout.layer_bits)
        claiming = Signal()
        for candidates in (
            ready_then,
            later_then,
        ):  # the last assignment wins: the first layer after the one before
            for i in reversed(range(len(layers))):
                with m.If(candidates[i]):
                    m.d.comb += chosen_next.eq(i)
        turn = Signal(layout.layer_bits)
        m.d.comb += turn.eq(chosen)
        m.d.sync += [
            ready_then.eq(ready),
            later_then.eq(ready & Cat(C(0, 1), (turn < i for i in range(1, len(layers))))),
        ]

        with m.FSM():
            with m.State("LOOK"):
                m.next = "PICK"
            with m.State("PICK"):
                m.d.sync += chosen.eq(chosen_next)
                with m.If(ready_then.any()):
                    m.next = "CLAIM"
                with m.Else():  # an idle chunk forgets whose turn it is: every run begins alike
                    m.d.comb += turn.eq(0)
            with m.State("CLAIM"):
                m.d.comb += claiming.eq(1)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.task_valid.eq(1)
                with m.If(self.task_ready):
                    m.next = "LOOK"

        tasks = [
            self._layer(m, lp, ready[i], claiming & (chosen == i)) for i, lp in enumerate(layers)
        ]
        with m.If(claiming), m.Switch(chosen):
            for i, task in enumerate(tasks):
                with m.Case(i):
                    m.d.sync += self.task_payload.eq(task)
        self._watch(m)
        return m

    def _watch(self, m: Module) -> None:
        """What the watchdog is told. During a stall nothing moves, so a register on the way does
        not matter.
        """
        place = {layer.name: i for i, layer in enumerate(self._layout.plan.network.layers)}
        m.d.sync += [self.waiting.eq(0), self.waiting_room.eq(0)]
        ranked = [(lp, wait, 0) for lp, wait, _ in reversed(self._waits)] + [
            (lp, wait, 1) for lp, _, wait in self._waits
        ]
        for lp, waits, room in ranked:  # the last assignment wins
            with m.If(waits):
                m.d.sync += [
                    self.waiting.eq(1),
                    self.waiting_room.eq(room),
                    self.waiting_layer.eq(place[lp.layer.name]),
                ]

    def _layer(self, m: Module, lp: LayerPlan, ready: Signal, claim: Signal) -> data.View:
        """Row state of one layer; returns its next task."""
        layout, name, pattern = self._layout, lp.layer.name, lp.pattern
        number = Signal(index_bits(lp.tasks), name=f"{name}_number")
        last = Signal(name=f"{name}_last")
        m.d.comb += [last.eq(number == lp.tasks - 1), getattr(self, f"{name}_claim").eq(claim)]
        inputs, begun = [], [number.any()]
        for owner, edge in layout.input_edges:
            if owner is not lp:
                continue
            tasks = range(edge.pattern.tasks)
            need = constant_table(
                m, number, [edge.pattern.need(t) for t in tasks], f"{edge.name}_need"
            )
            release = constant_table(
                m, number, [edge.pattern.release(t) for t in tasks], f"{edge.name}_gives"
            )
            inputs.append(getattr(self, f"{edge.name}_available") >= need)
            begun.append(getattr(self, f"{edge.name}_available").any())
            m.d.comb += getattr(self, f"{edge.name}_claim").eq(Mux(claim, release, 0))
        fed = Cat(inputs).all()
        m.d.comb += ready.eq(
            fed
            & Cat(
                getattr(self, f"{edge.name}_free") >= edge.produced for edge in layout.outgoing(lp)
            ).all()
        )
        self._waits.append((lp, Cat(begun).any() & ~fed, fed & ~ready))

        task = Signal(layout.task, name=f"{name}_task")
        _, cursor = layout.main_source(lp)
        start = -pattern.padding
        read = Signal(
            layout.read_bits,
            init=cursor.base + start % cursor.rows * cursor.row,
            name=f"{name}_read",
        )
        top = Signal(layout.top_shape, init=start, name=f"{name}_top")
        to_next_image = pattern.rows - (lp.tasks - 1) * pattern.step
        step = Mux(
            last, to_next_image % cursor.rows * cursor.row, pattern.step % cursor.rows * cursor.row
        )
        with m.If(claim):
            m.d.sync += [
                number.eq(Mux(last, 0, number + 1)),
                top.eq(Mux(last, start, top + pattern.step)),
                read.eq(advance(read, step, cursor.base, cursor.size)),
            ]
        m.d.comb += [
            task.read.eq(read),
            task.top.eq(top),
            task.release.eq(
                constant_table(
                    m, number, [pattern.release(t) for t in range(lp.tasks)], f"{name}_release"
                )
            ),
            task.write.layer.eq(lp.index),
        ]
        residual = layout.residual_source(lp)
        if residual is not None:
            self._pointer(
                m,
                task.write.residual,
                residual[1],
                lp,
                claim,
                f"{name}_residual",
                layout.residual_bits,
            )
        for i, memory in enumerate(layout.output_memories):
            destination = layout.destination(lp, memory)
            if destination is not None:
                self._pointer(
                    m,
                    getattr(task.write, f"out{i}"),
                    destination,
                    lp,
                    claim,
                    f"{name}_out{i}",
                    write_address_bits(memory),
                )
        return task

    @staticmethod
    def _pointer(
        m: Module, out: Signal, cursor: Cursor, lp: LayerPlan, claim: Signal, name: str, bits: int
    ) -> None:
        """A pointer that moves on by a task's output rows with each task."""
        pointer = Signal(bits, init=cursor.base, name=name)
        m.d.comb += out.eq(pointer)
        with m.If(claim):
            step = lp.loops.rows % cursor.rows * cursor.row
            m.d.sync += pointer.eq(advance(pointer, step, cursor.base, cursor.size))
