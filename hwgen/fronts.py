"""The accelerator's outside: image input, result output, and the registers that a host sees."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from autonba.accelerator import SINK, SOURCE
from autonba.arithmetic import LOGIT_BITS, clog2
from autonba.errors import SpecError
from autonba.mapping import Plan
from autonba.network import INPUT
from autonba.registers import (
    ADDRESS_BITS,
    IDENTITY,
    LOAD_REGISTERS,
    MAX_CHUNKS,
    VERSION,
    WATCHDOG_CYCLES,
    Register,
    Stall,
)

from .layout import (
    index_bits,
    read_address_bits,
    read_cursor,
    token_bits,
    write_address_bits,
    write_cursor,
)
from .tables import advance


class ImageInput(wiring.Component):
    """AXI4-Stream pixels into the row buffers, with packet lengths checked.

    A packet is an image, one pixel a beat. TLAST too early: the missing pixels are zeros. TLAST too
    late: surplus beats are dropped up to TLAST. Either way the packet yields one result, and the
    next packet is right again.
    Latency: a beat is written one cycle later. Throughput: a pixel a cycle while rows are free.
    Back-pressure: `s_axis_tready` is low while no row is free, and before an image while `run` is
    low.

    Ports
    -----
    out<i>_*       : write port of each memory
    <edge>_free    : free rows; `claim` takes one of every edge
    commit         : the last pixel of a row is written in this cycle
    image_begin, image_end : first and last pixel of an image taken
    too_early, too_late    : packet length errors
    pixel                  : the pixel that is written; of each channel's byte the bits that the
                           image has
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memories = [m for m in plan.memories if m.writer == SOURCE]
        self._edges = [e for e in plan.edges if e.producer == INPUT]
        image = plan.network.input
        ports: dict[str, In | Out] = {
            "s_axis_tdata": In(8 * image.channels),
            "s_axis_tvalid": In(1),
            "s_axis_tready": Out(1),
            "s_axis_tlast": In(1),
            "run": In(1),
            "claim": Out(1),
            "commit": Out(1),
            "image_begin": Out(1),
            "image_end": Out(1),
            "too_early": Out(1),
            "too_late": Out(1),
            "pixel": Out(image.channels * image.bits),
        }
        for i, memory in enumerate(self._memories):
            ports[f"out{i}_enable"] = Out(1)
            ports[f"out{i}_address"] = Out(write_address_bits(memory))
            if memory.banks > 1:
                ports[f"out{i}_column"] = Out(clog2(memory.banks))
        for edge in self._edges:
            ports[f"{edge.name}_free"] = In(token_bits(plan.buffers[edge.buffer].rows))
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Pixels counted, rows opened and committed, packets of a wrong length put right."""
        m = Module()
        image = self._plan.network.input
        column, row = (
            Signal(index_bits(image.width), name="column"),
            Signal(index_bits(image.height), name="row"),
        )
        row_open, filling, dropping, inside_image = (
            Signal(name=name) for name in ("row_open", "filling", "dropping", "inside_image")
        )
        may_open, beat, row_end, last_pixel = Signal(), Signal(), Signal(), Signal()
        may_begin = Signal()
        m.d.comb += [
            may_open.eq(Cat(getattr(self, f"{e.name}_free").any() for e in self._edges).all()),
            may_begin.eq(row_open & ~dropping & (inside_image | self.run)),
            self.s_axis_tready.eq(dropping | (may_begin & ~filling)),
            beat.eq(may_begin & (filling | self.s_axis_tvalid)),
            row_end.eq(column == image.width - 1),
            last_pixel.eq(row_end & (row == image.height - 1)),
            self.claim.eq(may_open & (~row_open | (beat & row_end))),
            self.image_begin.eq(beat & ~inside_image),
            self.image_end.eq(beat & last_pixel),
            self.too_early.eq(beat & ~filling & self.s_axis_tlast & ~last_pixel),
            self.too_late.eq(beat & ~filling & ~self.s_axis_tlast & last_pixel),
        ]
        with m.If(~row_open | (beat & row_end)):
            m.d.sync += row_open.eq(may_open)
        with m.If(beat):
            m.d.sync += [column.eq(Mux(row_end, 0, column + 1)), inside_image.eq(~last_pixel)]
            with m.If(row_end):
                m.d.sync += row.eq(Mux(last_pixel, 0, row + 1))
            with m.If(last_pixel):
                m.d.sync += filling.eq(0)
        with m.If(self.too_early):
            m.d.sync += filling.eq(1)
        with m.If(self.too_late):
            m.d.sync += dropping.eq(1)
        with m.Elif(self.s_axis_tvalid & self.s_axis_tlast):
            m.d.sync += dropping.eq(0)

        write = Signal()
        values = Cat(
            self.s_axis_tdata.word_select(channel, 8)[: image.bits]
            for channel in range(image.channels)
        )
        m.d.sync += [
            write.eq(beat),
            self.commit.eq(beat & row_end),
            self.pixel.eq(Mux(filling, 0, values)),
        ]
        for i, memory in enumerate(self._memories):
            cursor = write_cursor(memory, memory.buffers[0])
            pointer = Signal(write_address_bits(memory), init=cursor.base, name=f"out{i}_pointer")
            address = getattr(self, f"out{i}_address")
            m.d.comb += getattr(self, f"out{i}_enable").eq(write)
            last_bank: Value = Const(1)
            if memory.banks > 1:
                bank = Signal(range(memory.banks), name=f"out{i}_bank")
                last_bank = (bank == memory.banks - 1) | row_end
                with m.If(beat):
                    m.d.sync += [
                        bank.eq(Mux(last_bank, 0, bank + 1)),
                        getattr(self, f"out{i}_column").eq(bank),
                    ]
            with m.If(beat):
                m.d.sync += address.eq(pointer)
                with m.If(last_bank):
                    m.d.sync += pointer.eq(
                        advance(pointer, cursor.pixel % cursor.size, cursor.base, cursor.size)
                    )
        return m


class ResultOutput(wiring.Component):
    """Result rows out as AXI4-Stream, one channel a beat, TLAST on an image's last.

    Latency: three cycles from a row's commit to its first beat. Throughput: a beat every three
    cycles. Back-pressure: `m_axis_tready` may wait for as long as it likes; TDATA holds.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memory = next(m for m in plan.memories if m.reader == SINK)
        bits = token_bits(self._memory.buffers[0].rows)
        self._signed = self._memory.signed
        super().__init__(
            {
                "read_address": Out(read_address_bits(self._memory)),
                "read_data": In(self._memory.lane_bits),
                "available": In(bits),
                "claim": Out(bits),
                "released": Out(bits),
                "m_axis_tdata": Out(LOGIT_BITS),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                "image_done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Rows read, and their channels sent one after the other."""
        m = Module()
        out = self._plan.network.output
        cursor = read_cursor(self._memory, self._memory.buffers[0])
        channel, column, row = (
            Signal(index_bits(n), name=name)
            for n, name in ((out.channels, "channel"), (out.width, "column"), (out.height, "row"))
        )
        pixel = Signal(read_address_bits(self._memory), init=cursor.base)
        channel_end, row_end, image_end, sent = Signal(), Signal(), Signal(), Signal()
        value = Signal(signed(LOGIT_BITS))
        m.d.comb += [
            channel_end.eq(channel == out.channels - 1),
            row_end.eq(channel_end & (column == out.width - 1)),
            image_end.eq(row_end & (row == out.height - 1)),
            self.read_address.eq(pixel + channel),
            value.eq(self.read_data.as_signed() if self._signed else self.read_data),
            self.image_done.eq(sent & image_end),
            self.released.eq(sent & row_end),
        ]
        with m.FSM():
            with m.State("IDLE"), m.If(self.available.any()):
                m.d.comb += self.claim.eq(1)
                m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.next = "READ"
            with m.State("READ"):
                m.d.sync += [self.m_axis_tdata.eq(value), self.m_axis_tlast.eq(image_end)]
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.m_axis_tvalid.eq(1)
                with m.If(self.m_axis_tready):
                    m.d.comb += sent.eq(1)
                    m.d.sync += channel.eq(Mux(channel_end, 0, channel + 1))
                    with m.If(channel_end):
                        m.d.sync += [
                            column.eq(Mux(row_end, 0, column + 1)),
                            pixel.eq(
                                advance(pixel, cursor.pixel % cursor.size, cursor.base, cursor.size)
                            ),
                        ]
                    with m.If(row_end):
                        m.d.sync += row.eq(Mux(image_end, 0, row + 1))
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "ADDRESS"
        return m


RESET_CYCLES = 4


class HostRegisters(wiring.Component):
    """AXI4-Lite registers, as in docs/registers.md, and the counters and the watchdog behind them.

    Latency: a write is answered two cycles after address and data are there, a read one. One access
    at a time each way.

    Ports
    -----
    pixel_*, result_*       : handshakes of s_axis and m_axis
    stopped                 : `run` is 0 and no image is in flight
    load_*                  : for `autonba.hwgen.loader`, where it has targets
    stream_base, stream_error : where streamed weights lie in DRAM; the DRAM answered with an error
    <chunk>_busy            : the chunk multiplies in this cycle
    <chunk>_waiting         : a layer of the chunk waits for rows
    <chunk>_waiting_room    : it waits for free output rows, not for input rows
    <chunk>_waiting_layer   : its place in the network's list of layers
    """

    def __init__(
        self,
        digest: str,
        chunks: Sequence[str] = (),
        layer_bits: int = 1,
        streams: bool = False,
        load_targets: int = 0,
    ) -> None:
        if len(chunks) > MAX_CHUNKS:
            raise SpecError(
                f"accelerator: chunks must be at most {MAX_CHUNKS}, as each has a register, not"
                f" {len(chunks)}"
            )
        self._digest = int(digest[:8], 16)
        self._chunks = chunks
        self._layer_bits = layer_bits
        self._streams = streams
        self._load_targets = load_targets
        ports: dict[str, In | Out] = {
            "s_axil_awaddr": In(ADDRESS_BITS),
            "s_axil_awprot": In(3),
            "s_axil_awvalid": In(1),
            "s_axil_awready": Out(1),
            "s_axil_wdata": In(32),
            "s_axil_wstrb": In(4),
            "s_axil_wvalid": In(1),
            "s_axil_wready": Out(1),
            "s_axil_bresp": Out(2),
            "s_axil_bvalid": Out(1),
            "s_axil_bready": In(1),
            "s_axil_araddr": In(ADDRESS_BITS),
            "s_axil_arprot": In(3),
            "s_axil_arvalid": In(1),
            "s_axil_arready": Out(1),
            "s_axil_rdata": Out(32),
            "s_axil_rresp": Out(2),
            "s_axil_rvalid": Out(1),
            "s_axil_rready": In(1),
            "run": Out(1, init=1),
            "core_reset": Out(1),
            "image_begin": In(1),
            "image_end": In(1),
            "image_done": In(1),
            "too_early": In(1),
            "too_late": In(1),
            "pixel_valid": In(1),
            "pixel_ready": In(1),
            "result_valid": In(1),
            "result_ready": In(1),
        }
        if streams:
            ports |= {"stream_base": Out(32), "stream_error": In(1)}
        if load_targets:
            ports |= {
                "stopped": Out(1),
                "load_write": Out(len(LOAD_REGISTERS)),
                "load_target": In(32),
                "load_address": In(32),
                "load_checksum": In(32),
            }
        for name in chunks:
            ports |= {
                f"{name}_busy": In(1),
                f"{name}_waiting": In(1),
                f"{name}_waiting_room": In(1),
                f"{name}_waiting_layer": In(layer_bits),
            }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """Both channels of the bus, the registers, the counters and the watchdog."""
        m = Module()
        faults = Cat(self.too_early, self.too_late, *([self.stream_error] if self._streams else []))
        error, flight = Signal(len(faults), name="error"), Signal(16, name="flight")
        reset_left = Signal(range(RESET_CYCLES + 1))
        busy = Signal()
        counted = {
            Register.CYCLES: busy | self.image_begin,
            Register.IMAGES_IN: self.image_end,
            Register.IMAGES_OUT: self.image_done,
            Register.STALL_IN: self.pixel_valid & ~self.pixel_ready,
            Register.STALL_OUT: self.result_valid & ~self.result_ready,
        }
        counters: dict[int, Value] = {}
        for register, event in counted.items():
            counters[register] = self._counter(m, event, register.name.lower())
        for i, name in enumerate(self._chunks):
            counters[Register.CHUNK_BUSY + 4 * i] = self._counter(
                m, getattr(self, f"{name}_busy"), f"{name}_busy_cycles"
            )
        m.d.comb += [busy.eq(flight.any()), self.core_reset.eq(reset_left.any())]
        m.d.sync += [
            flight.eq(flight + self.image_begin - self.image_done),
            error.eq(error | faults),
        ]
        with m.If(reset_left.any()):
            m.d.sync += [reset_left.eq(reset_left - 1), flight.eq(0)]
        watchdog, patience, stall = self._watchdog(m, flight)

        write, address = Signal(), Signal(ADDRESS_BITS - 2)
        m.d.comb += [
            write.eq(self.s_axil_awvalid & self.s_axil_wvalid & ~self.s_axil_bvalid),
            self.s_axil_awready.eq(write),
            self.s_axil_wready.eq(write),
            address.eq(self.s_axil_awaddr[2:]),
        ]
        with m.If(write):
            m.d.sync += self.s_axil_bvalid.eq(1)
            with m.If(self.s_axil_wstrb[0]), m.Switch(address):
                for i, register in enumerate(LOAD_REGISTERS if self._load_targets else ()):
                    with m.Case(register // 4):
                        m.d.comb += self.load_write[i].eq(1)
                with m.Case(Register.CONTROL // 4):
                    m.d.sync += self.run.eq(self.s_axil_wdata[0])
                    with m.If(self.s_axil_wdata[1]):
                        m.d.sync += reset_left.eq(RESET_CYCLES)
                with m.Case(Register.ERROR // 4):
                    m.d.sync += error.eq((error & ~self.s_axil_wdata[: len(error)]) | faults)
                if self._streams:
                    with m.Case(Register.STREAM_BASE // 4):
                        m.d.sync += self.stream_base.eq(self.s_axil_wdata)
                with m.Case(Register.WATCHDOG // 4):
                    m.d.sync += [watchdog.eq(self.s_axil_wdata), patience.eq(self.s_axil_wdata)]
                with m.Case(Register.STALL // 4):
                    m.d.sync += [stall.eq(0), patience.eq(watchdog)]
        with m.Elif(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)

        values: dict[int, Value | int] = {
            Register.ID: IDENTITY,
            Register.DIGEST: self._digest,
            Register.VERSION: VERSION,
            Register.CONTROL: self.run,
            Register.STATUS: busy,
            Register.ERROR: error,
            Register.CHUNKS: len(self._chunks),
            Register.WATCHDOG: watchdog,
            Register.STALL: stall,
            **counters,
        }
        if self._streams:
            values[Register.STREAM_BASE] = self.stream_base
        if self._load_targets:
            m.d.comb += self.stopped.eq(~self.run & ~busy)
            values |= {
                Register.LOAD_TARGETS: self._load_targets,
                Register.LOAD_TARGET: self.load_target,
                Register.LOAD_ADDRESS: self.load_address,
                Register.LOAD_CHECKSUM: self.load_checksum,
            }
        m.d.comb += self.s_axil_arready.eq(~self.s_axil_rvalid)
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [self.s_axil_rvalid.eq(1), self.s_axil_rdata.eq(0)]
            with m.Switch(self.s_axil_araddr[2:]):
                for offset, value in values.items():
                    with m.Case(offset // 4):
                        m.d.sync += self.s_axil_rdata.eq(value)
        with m.Elif(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        return m

    @staticmethod
    def _counter(m: Module, event: Value, name: str) -> Signal:
        counter = Signal(32, name=name)
        m.d.sync += counter.eq(counter + event)
        return counter

    def _watchdog(self, m: Module, flight: Signal) -> tuple[Signal, Signal, Signal]:
        """Registers WATCHDOG, the cycles left of it, and STALL."""
        watchdog, patience = (
            Signal(32, init=WATCHDOG_CYCLES, name=name) for name in ("watchdog", "patience")
        )
        stall = Signal(32)
        inside_image, moved, host_input, host_output = (
            Signal(name=name) for name in ("inside_image", "moved", "host_input", "host_output")
        )
        with m.If(self.core_reset | self.image_end):
            m.d.sync += inside_image.eq(0)
        with m.Elif(self.image_begin):
            m.d.sync += inside_image.eq(1)
        m.d.comb += [
            moved.eq(
                Cat(
                    self.pixel_valid & self.pixel_ready,
                    self.result_valid & self.result_ready,
                    *(getattr(self, f"{name}_busy") for name in self._chunks),
                ).any()
            ),
            # Earlier images do not need the pixels of a later one: with two in flight, the host is
            # not to blame.
            host_input.eq(inside_image & (flight == 1) & self.pixel_ready & ~self.pixel_valid),
            host_output.eq(self.result_valid & ~self.result_ready),
        ]
        culprit, layer, chunk = self._culprit(m)
        with m.If(moved | ~flight.any()):
            m.d.sync += patience.eq(watchdog)
        with m.Elif(patience.any()):
            m.d.sync += patience.eq(patience - 1)
            with m.If(
                (patience == 1) & (stall[:3] <= Stall.HOST_OUTPUT)
            ):  # a stall of the design stays until it is read
                m.d.sync += stall.eq(
                    Mux(
                        host_output,
                        Stall.HOST_OUTPUT,
                        Mux(host_input, Stall.HOST_INPUT, Cat(culprit, Const(0, 5), chunk, layer)),
                    )
                )
        return watchdog, patience, stall

    def _culprit(self, m: Module) -> tuple[Value, Value, Value]:
        """Kind of stall (3 bits), layer, and chunk (8 bits) that is nearest to the cause.

        It is the last layer without room, as those before it wait only for it. If none lacks room,
        it is the first layer that lacks input. The chunks are compared in a pipeline; during a
        stall nothing moves, so it has settled.
        """
        shape = {"layer": self._layer_bits, "room": 1, "waiting": 1}
        best, best_chunk = Const(0, self._layer_bits + 2), Const(0, 8)
        for i, name in enumerate(self._chunks):
            waiting, room, layer = (
                getattr(self, f"{name}_{port}")
                for port in ("waiting", "waiting_room", "waiting_layer")
            )
            rank = Cat(Mux(room, layer, ~layer), room, waiting)
            better, better_chunk = (
                Signal(len(rank), name=f"{name}_rank"),
                Signal(8, name=f"{name}_rank_chunk"),
            )
            m.d.sync += [
                better.eq(Mux(rank > best, rank, best)),
                better_chunk.eq(Mux(rank > best, i, best_chunk)),
            ]
            best, best_chunk = better, better_chunk
        rank = data.View(data.StructLayout(shape), best)
        return (
            Mux(rank.waiting, Mux(rank.room, Stall.OUTPUT_ROWS, Stall.INPUT_ROWS), Stall.TASK),
            Mux(rank.waiting, Mux(rank.room, rank.layer, ~rank.layer), 0),
            Mux(rank.waiting, best_chunk, 0),
        )
