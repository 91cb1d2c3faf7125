"""The accelerator's outside: image input, result output, and the registers that a host sees."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.accelerator import SINK, SOURCE
from autonba.arithmetic import LOGIT_BITS
from autonba.hwgen.layout import (
    index_bits,
    read_address_bits,
    read_cursor,
    token_bits,
    write_address_bits,
    write_cursor,
)
from autonba.hwgen.tables import advance
from autonba.mapping import Plan
from autonba.network import INPUT


class ImageInput(wiring.Component):
    """AXI4-Stream pixels into the row buffers, with packet lengths checked.

    A packet is an image, one pixel a beat. TLAST too early: the missing pixels are zeros. TLAST too late: surplus beats are
    dropped up to TLAST. Either way the packet yields one result, and the next packet is right again.
    Latency: a beat is written one cycle later. Throughput: a pixel a cycle while rows are free. Back-pressure: `s_axis_tready`
    is low while no row is free, and before an image while `run` is low.

    Ports
    -----
    out<i>_*       : write port of each memory
    <edge>_free    : a free row; `claim` takes one of every edge
    commit         : the last pixel of a row is written in this cycle
    image_begin, image_end : first and last pixel of an image taken
    too_early, too_late    : packet length errors
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memories = [m for m in plan.memories if m.writer == SOURCE]
        self._edges = [e for e in plan.edges if e.producer == INPUT]
        pixel_bits = 8 * plan.network.input.channels
        ports: dict[str, In | Out] = {
            "s_axis_tdata": In(pixel_bits), "s_axis_tvalid": In(1), "s_axis_tready": Out(1), "s_axis_tlast": In(1),
            "run": In(1), "claim": Out(1), "commit": Out(1), "image_begin": Out(1), "image_end": Out(1),
            "too_early": Out(1), "too_late": Out(1), "pixel": Out(pixel_bits),
        }
        for i, memory in enumerate(self._memories):
            ports[f"out{i}_enable"] = Out(1)
            ports[f"out{i}_address"] = Out(write_address_bits(memory))
        for edge in self._edges:
            ports[f"{edge.name}_free"] = In(1)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        image = self._plan.network.input
        column, row = Signal(index_bits(image.width)), Signal(index_bits(image.height))
        row_open, filling, dropping, inside_image = Signal(), Signal(), Signal(), Signal()
        may_open, beat, row_end, last_pixel = Signal(), Signal(), Signal(), Signal()
        may_begin = Signal()
        m.d.comb += [
            may_open.eq(Cat(getattr(self, f"{e.name}_free") for e in self._edges).all()),
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
        m.d.sync += [write.eq(beat), self.commit.eq(beat & row_end),
                     self.pixel.eq(Mux(filling, 0, self.s_axis_tdata))]
        for i, memory in enumerate(self._memories):
            cursor = write_cursor(memory, memory.buffers[0])
            pointer = Signal(write_address_bits(memory), init=cursor.base, name=f"out{i}_pointer")
            address = getattr(self, f"out{i}_address")
            m.d.comb += getattr(self, f"out{i}_enable").eq(write)
            with m.If(beat):
                m.d.sync += [address.eq(pointer),
                             pointer.eq(advance(pointer, cursor.pixel % cursor.size, cursor.base, cursor.size))]
        return m


class ResultOutput(wiring.Component):
    """Result rows out as AXI4-Stream, one channel a beat, TLAST on an image's last.

    Latency: three cycles from a row's commit to its first beat. Throughput: a beat every three cycles.
    Back-pressure: `m_axis_tready` may wait for as long as it likes; TDATA holds.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._memory = next(m for m in plan.memories if m.reader == SINK)
        bits = token_bits(self._memory.buffers[0].rows)
        self._signed = self._memory.signed
        super().__init__({
            "read_address": Out(read_address_bits(self._memory)), "read_data": In(self._memory.lane_bits),
            "available": In(bits), "claim": Out(bits), "released": Out(bits),
            "m_axis_tdata": Out(LOGIT_BITS), "m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tlast": Out(1),
            "image_done": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        out = self._plan.network.output
        cursor = read_cursor(self._memory, self._memory.buffers[0])
        channel, column, row = (Signal(index_bits(n), name=name) for n, name in
                                ((out.channels, "channel"), (out.width, "column"), (out.height, "row")))
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
                        m.d.sync += [column.eq(Mux(row_end, 0, column + 1)),
                                     pixel.eq(advance(pixel, cursor.pixel % cursor.size, cursor.base, cursor.size))]
                    with m.If(row_end):
                        m.d.sync += row.eq(Mux(image_end, 0, row + 1))
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "ADDRESS"
        return m


IDENTITY = 0x414E4241  # "ANBA"
VERSION = 1
RESET_CYCLES = 4


class HostRegisters(wiring.Component):
    """AXI4-Lite registers, as in docs/registers.md, and the counters behind them.

    Latency: a write is answered two cycles after address and data are there, a read one. One access at a time each way.
    """

    def __init__(self, digest: str) -> None:
        self._digest = int(digest[:8], 16)
        ports: dict[str, In | Out] = {
            "s_axil_awaddr": In(8), "s_axil_awprot": In(3), "s_axil_awvalid": In(1), "s_axil_awready": Out(1),
            "s_axil_wdata": In(32), "s_axil_wstrb": In(4), "s_axil_wvalid": In(1), "s_axil_wready": Out(1),
            "s_axil_bresp": Out(2), "s_axil_bvalid": Out(1), "s_axil_bready": In(1),
            "s_axil_araddr": In(8), "s_axil_arprot": In(3), "s_axil_arvalid": In(1), "s_axil_arready": Out(1),
            "s_axil_rdata": Out(32), "s_axil_rresp": Out(2), "s_axil_rvalid": Out(1), "s_axil_rready": In(1),
            "run": Out(1, init=1), "core_reset": Out(1),
            "image_begin": In(1), "image_end": In(1), "image_done": In(1), "too_early": In(1), "too_late": In(1),
            "stall_in": In(1), "stall_out": In(1),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        error, flight = Signal(2), Signal(16)
        cycles, images_in, images_out, stalls_in, stalls_out = (
            Signal(32, name=n) for n in ("cycles", "images_in", "images_out", "stalls_in", "stalls_out"))
        reset_left = Signal(range(RESET_CYCLES + 1))
        busy = Signal()
        m.d.comb += [busy.eq(flight.any()), self.core_reset.eq(reset_left.any())]
        m.d.sync += [
            flight.eq(flight + self.image_begin - self.image_done),
            cycles.eq(cycles + (busy | self.image_begin)),
            images_in.eq(images_in + self.image_end), images_out.eq(images_out + self.image_done),
            stalls_in.eq(stalls_in + self.stall_in), stalls_out.eq(stalls_out + self.stall_out),
            error.eq(error | Cat(self.too_early, self.too_late)),
        ]
        with m.If(reset_left.any()):
            m.d.sync += [reset_left.eq(reset_left - 1), flight.eq(0)]

        write, address = Signal(), Signal(6)
        m.d.comb += [
            write.eq(self.s_axil_awvalid & self.s_axil_wvalid & ~self.s_axil_bvalid),
            self.s_axil_awready.eq(write), self.s_axil_wready.eq(write), address.eq(self.s_axil_awaddr[2:]),
        ]
        with m.If(write):
            m.d.sync += self.s_axil_bvalid.eq(1)
            with m.If(self.s_axil_wstrb[0]), m.Switch(address):
                with m.Case(0x0C // 4):
                    m.d.sync += self.run.eq(self.s_axil_wdata[0])
                    with m.If(self.s_axil_wdata[1]):
                        m.d.sync += reset_left.eq(RESET_CYCLES)
                with m.Case(0x14 // 4):
                    m.d.sync += error.eq((error & ~self.s_axil_wdata[:2]) | Cat(self.too_early, self.too_late))
        with m.Elif(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)

        m.d.comb += self.s_axil_arready.eq(~self.s_axil_rvalid)
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [self.s_axil_rvalid.eq(1), self.s_axil_rdata.eq(0)]
            with m.Switch(self.s_axil_araddr[2:]):
                for offset, value in (
                    (0x00, IDENTITY), (0x04, self._digest), (0x08, VERSION), (0x0C, self.run), (0x10, busy),
                    (0x14, error), (0x18, cycles), (0x1C, images_in), (0x20, images_out), (0x24, stalls_in),
                    (0x28, stalls_out),
                ):
                    with m.Case(offset // 4):
                        m.d.sync += self.s_axil_rdata.eq(value)
        with m.Elif(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        return m
