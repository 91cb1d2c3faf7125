"""Serial front of a board with no processor: 8N1 bytes, and frames (autonba.uart_frame) to and from
AXI4-Stream.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from autonba import uart_frame
from autonba.bundle import Design
from autonba.errors import SpecError
from autonba.uart_frame import Identity

_TIMEOUT_SECONDS = 0.1  # longer than any pause that a USB adapter makes within one write


class UartReceiver(wiring.Component):
    """Bytes from an asynchronous line, 8N1, sampled at mid-bit.

    Latency: `bytes.valid` is high for one cycle, 9.5 bits and three cycles after the start edge.
    Back-pressure: none; a byte must be taken in its cycle. A byte whose stop bit is low is dropped.
    Twin: a byte b is the bits 0, b[0] .. b[7], 1 on the line.
    """

    def __init__(self, divisor: int) -> None:
        if divisor < 4:
            raise SpecError(f"uart: divisor must be at least 4 cycles a bit, not {divisor}")
        self._divisor = divisor
        super().__init__(
            {"pin": In(1, init=1), "bytes": Out(stream.Signature(8, always_ready=True))}
        )

    def elaborate(self, platform: object) -> Module:
        """The line in two registers, the bit timer and the shift register."""
        m = Module()
        first, level = (
            Signal(init=1),
            Signal(init=1),
        )  # the line has no relation to the clock: two registers
        timer = Signal(range(self._divisor))
        bit = Signal(range(9), name="bit_index")
        shift = Signal(8)
        m.d.sync += [
            first.eq(self.pin),
            level.eq(first),
            self.bytes.valid.eq(0),
            timer.eq(timer - 1),
        ]
        m.d.comb += self.bytes.payload.eq(shift)
        with m.FSM(name="receive"):
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self._divisor // 2 - 1), bit.eq(0)]
                with m.If(~level):
                    m.next = "START"
            with m.State("START"), m.If(timer == 0):
                m.d.sync += timer.eq(self._divisor - 1)
                m.next = "DATA"
                with m.If(level):  # a glitch, no start bit
                    m.next = "IDLE"
            with m.State("DATA"), m.If(timer == 0):
                m.d.sync += [
                    timer.eq(self._divisor - 1),
                    bit.eq(bit + 1),
                    shift.eq(Cat(shift[1:], level)),
                ]
                with m.If(bit == 7):
                    m.next = "STOP"
            with m.State("STOP"), m.If(timer == 0):
                m.d.sync += self.bytes.valid.eq(level)
                m.next = "LINE"
            with m.State("LINE"), m.If(level):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes to an asynchronous line, 8N1.

    Throughput: a byte every 10 bits. Back-pressure: `bytes.ready` is low while a byte is on the
    line.
    """

    def __init__(self, divisor: int) -> None:
        if divisor < 4:
            raise SpecError(f"uart: divisor must be at least 4 cycles a bit, not {divisor}")
        self._divisor = divisor
        super().__init__({"pin": Out(1, init=1), "bytes": In(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        """The bit timer and the shift register."""
        m = Module()
        timer = Signal(range(self._divisor))
        shift = Signal(10, init=0x3FF)
        left = Signal(range(11))
        m.d.comb += [self.bytes.ready.eq(left == 0), self.pin.eq(shift[0])]
        with m.If(left == 0), m.If(self.bytes.valid):
            m.d.sync += [
                shift.eq(Cat(Const(0, 1), self.bytes.payload, Const(1, 1))),
                left.eq(10),
                timer.eq(self._divisor - 1),
            ]
        with m.Elif(timer == 0):
            m.d.sync += [
                timer.eq(self._divisor - 1),
                shift.eq(Cat(shift[1:], Const(1, 1))),
                left.eq(left - 1),
            ]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m


class UartFront(wiring.Component):
    """Frames of autonba.uart_frame on a serial line, an accelerator's AXI4-Stream ports on the
    other side.

    An image is stored whole and its crc checked before its first pixel goes to the accelerator, so
    a damaged request runs nothing and no byte is lost to back-pressure. Pixels leave at one every
    `channels + 2` cycles; results are sent as they come, while the accelerator waits.
    Twin: autonba.flows.host.

    Ports
    -----
    uart_rx, uart_tx : the line
    pixel_t*         : to the accelerator's s_axis
    result_t*        : from the accelerator's m_axis
    busy             : from a request's first byte to its reply's last
    fault            : the last request was damaged
    """

    def __init__(self, identity: Identity, *, divisor: int, timeout: int) -> None:
        if timeout < 20 * divisor:
            raise SpecError(
                f"uart: timeout must be at least the {20 * divisor} cycles of two bytes, not"
                f" {timeout}"
            )
        self._identity, self._divisor, self._timeout = identity, divisor, timeout
        super().__init__(
            {
                "uart_rx": In(1, init=1),
                "uart_tx": Out(1, init=1),
                "pixel_tdata": Out(8 * identity.channels),
                "pixel_tvalid": Out(1),
                "pixel_tready": In(1),
                "pixel_tlast": Out(1),
                "result_tdata": In(32),
                "result_tvalid": In(1),
                "result_tready": Out(1),
                "result_tlast": In(1),
                "busy": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A request stored and checked, its pixels sent, the response put together."""
        m = Module()
        size = self._identity.image_bytes
        m.submodules.receiver = receiver = UartReceiver(self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self._divisor)
        m.submodules.image = image = memory.Memory(shape=8, depth=size, init=[])
        write, read = image.write_port(), image.read_port()
        m.d.comb += [receiver.pin.eq(self.uart_rx), self.uart_tx.eq(transmitter.pin)]
        byte, arrived = receiver.bytes.payload, receiver.bytes.valid

        # Request.
        letter, crc_in = Signal(8), Signal(8)
        count = Signal(range(size + 1))
        patience = Signal(range(self._timeout + 1))
        replied = Signal()
        load = Signal()
        verdict, verdict_given = (
            Signal(8),
            Signal(),
        )  # letter of the reply, and the cycle in which it is known
        m.d.comb += [write.addr.eq(count), write.data.eq(byte)]

        def give(status: int | Value) -> None:
            m.d.comb += [verdict.eq(status), verdict_given.eq(1)]
            m.next = "REPLY"

        def lose_patience() -> None:
            with m.Elif(patience == self._timeout):
                give(uart_frame.TIMEOUT)

        with m.If(arrived):
            m.d.sync += patience.eq(0)
        with m.Elif(patience != self._timeout):
            m.d.sync += patience.eq(patience + 1)
        with m.FSM(name="request") as request:
            with m.State("HUNT"):
                m.d.sync += [count.eq(0), crc_in.eq(0)]
                with m.If(arrived & (byte == uart_frame.REQUEST)):
                    m.next = "LETTER"
            with m.State("LETTER"):
                with m.If(arrived):
                    m.d.sync += [letter.eq(byte), crc_in.eq(_crc_step(crc_in, byte))]
                    with m.Switch(byte):
                        with m.Case(uart_frame.IMAGE):
                            m.next = "PIXELS"
                        with m.Case(uart_frame.IDENTIFY):
                            m.next = "CRC"
                        with m.Case(uart_frame.REQUEST):
                            m.d.sync += crc_in.eq(0)
                        with m.Default():
                            m.next = "HUNT"
                lose_patience()
            with m.State("PIXELS"):
                with m.If(arrived):
                    m.d.comb += write.en.eq(1)
                    m.d.sync += [count.eq(count + 1), crc_in.eq(_crc_step(crc_in, byte))]
                    with m.If(count == size - 1):
                        m.next = "CRC"
                lose_patience()
            with m.State("CRC"):
                with m.If(arrived):
                    give(Mux(byte == crc_in, letter, uart_frame.BAD_CRC))
                    m.d.comb += load.eq((byte == crc_in) & (letter == uart_frame.IMAGE))
                lose_patience()
            with m.State("REPLY"), m.If(replied):
                m.next = "HUNT"
        m.d.comb += self.busy.eq(~request.ongoing("HUNT"))
        with m.If(verdict_given):
            m.d.sync += self.fault.eq(
                (verdict == uart_frame.BAD_CRC) | (verdict == uart_frame.TIMEOUT)
            )

        # Image memory to pixels.
        channels = self._identity.channels
        address = Signal(range(size + 1))
        lane = Signal(range(channels + 1))
        m.d.comb += [read.addr.eq(address), read.en.eq(1)]
        with m.FSM(name="pixels"):
            with m.State("IDLE"):
                m.d.sync += [address.eq(0), lane.eq(0)]
                with m.If(load):
                    m.next = "ADDRESS"
            with m.State("ADDRESS"):
                m.d.sync += address.eq(address + 1)
                m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += [
                    self.pixel_tdata.eq(Cat(self.pixel_tdata, read.data)[8:]),
                    address.eq(address + 1),
                    lane.eq(lane + 1),
                ]
                with m.If(lane == channels - 1):
                    m.d.sync += [
                        self.pixel_tvalid.eq(1),
                        self.pixel_tlast.eq(address == size),
                        address.eq(address),
                    ]
                    m.next = "OFFER"
            with m.State("OFFER"), m.If(self.pixel_tready):
                m.d.sync += [self.pixel_tvalid.eq(0), self.pixel_tlast.eq(0), lane.eq(0)]
                m.next = "ADDRESS"
                with m.If(self.pixel_tlast):
                    m.next = "IDLE"

        # Reply.
        identity = self._identity.pack()
        letter_out, crc_out = Signal(8), Signal(8)
        index = Signal(range(len(identity)))
        word, word_last, left = Signal(32), Signal(), Signal(range(4))
        out = transmitter.bytes
        sent = Signal()
        m.d.comb += sent.eq(out.valid & out.ready)

        def send(value: Value, then: str | None = None) -> None:
            m.d.comb += [out.valid.eq(1), out.payload.eq(value)]
            with m.If(out.ready):
                m.d.sync += crc_out.eq(_crc_step(crc_out, out.payload))
                if then is not None:
                    m.next = then

        with m.FSM(name="reply"):
            with m.State("IDLE"), m.If(verdict_given):
                m.d.sync += letter_out.eq(verdict)
                m.next = "START"
            with m.State("START"):
                send(uart_frame.REPLY, then="LETTER")
                with m.If(sent):
                    m.d.sync += crc_out.eq(0)
            with m.State("LETTER"):
                m.d.sync += index.eq(0)
                send(letter_out, then="CRC")
                with m.If(sent & (letter_out == uart_frame.IMAGE)):
                    m.next = "WORD"
                with m.If(sent & (letter_out == uart_frame.IDENTIFY)):
                    m.next = "IDENTITY"
            with m.State("IDENTITY"):
                send(Array(Const(value, 8) for value in identity)[index])
                with m.If(sent):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == len(identity) - 1):
                        m.next = "CRC"
            with m.State("WORD"):
                m.d.comb += self.result_tready.eq(1)
                with m.If(self.result_tvalid):
                    m.d.sync += [
                        word.eq(self.result_tdata),
                        word_last.eq(self.result_tlast),
                        left.eq(3),
                    ]
                    m.next = "WORD_BYTES"
            with m.State("WORD_BYTES"):
                send(word[:8])
                with m.If(sent):
                    m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]
                    with m.If(left == 0):
                        m.next = "WORD"
                        with m.If(word_last):
                            m.next = "CRC"
            with m.State("CRC"):
                send(crc_out, then="END")
            with m.State("END"):
                m.d.comb += replied.eq(out.ready)
                with m.If(out.ready):
                    m.next = "IDLE"
        return m


def _crc_step(crc: Signal, byte: Signal) -> Value:
    """Next CRC-8, as an expression; equals uart_frame.crc8(bytes([byte]), crc)."""
    mixed = crc ^ byte
    columns = [
        uart_frame.crc8(bytes([1 << i])) for i in range(8)
    ]  # the crc is linear: what each bit of `mixed` flips
    return Cat(Cat(mixed[i] for i in range(8) if columns[i] >> j & 1).xor() for j in range(8))


def uart_front(design: Design, digest: str) -> UartFront:
    """The front for `design` at its target's clock."""
    clock = design.target.clock_mhz
    return UartFront(
        Identity.of(design, digest),
        divisor=uart_frame.divisor(clock),
        timeout=round(clock * 1e6 * _TIMEOUT_SECONDS),
    )
