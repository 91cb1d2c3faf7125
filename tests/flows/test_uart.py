"""The serial front alone, in Amaranth's simulator, against the frames of autonba.uart_frame."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.sim import Simulator

from autonba import uart_frame
from autonba.errors import DataError, SpecError
from autonba.hwgen.uart import UartFront, UartReceiver, UartTransmitter
from autonba.hwgen.verilog import emit
from autonba.uart_frame import IDENTIFY, IMAGE, REPLY, REQUEST, TIMEOUT, Identity, crc8, frame

BOARD = Identity(digest=bytes(range(0xF0, 0xF8)), height=2, width=3, channels=2, classes=2)
PIXELS = bytes(
    [0xA5, 0x49, 0, 255, 3, 4, 0xA5, 6, 7, 8, 0x5A, 11]
)  # with bytes that look like the start of frames
RESULTS = (-5, 70000)
OK = frame(REPLY, IMAGE, struct.pack("<2i", *RESULTS))


def line_bits(byte: int) -> list[int]:
    return [0, *((byte >> i) & 1 for i in range(8)), 1]


class Bench:
    """The front with a line driver, a line monitor and a slow accelerator around it."""

    def __init__(self, divisor: int = 5, drift: float = 0.0) -> None:
        self.divisor, self.drift = divisor, drift
        self.front = UartFront(BOARD, divisor=divisor, timeout=60 * divisor)
        self.replies = bytearray()
        self.images: list[tuple[int, ...]] = []

    def run(self, script: list[bytes]) -> None:
        front, ended = self.front, []
        simulator = Simulator(front)
        simulator.add_clock(1e-6)

        async def host(ctx: Any) -> None:
            debt = 0.0
            await ctx.tick().repeat(10)
            for item in script:
                for byte in item:
                    for bit in line_bits(byte):
                        ctx.set(front.uart_rx, bit)
                        debt += self.divisor * (1 + self.drift)
                        await ctx.tick().repeat(int(debt))
                        debt -= int(debt)
                await ctx.tick().repeat(self.divisor * 400)  # longer than timeout and reply
            ended.append(True)

        async def monitor(ctx: Any) -> None:
            while not ended:
                await ctx.tick()
                if ctx.get(front.uart_tx):
                    continue
                await ctx.tick().repeat(self.divisor + self.divisor // 2 - 1)
                byte = 0
                for i in range(8):
                    byte |= ctx.get(front.uart_tx) << i
                    await ctx.tick().repeat(self.divisor)
                assert ctx.get(front.uart_tx) == 1, "stop bit"
                self.replies.append(byte)

        async def taker(ctx: Any) -> None:
            taken: list[int] = []
            while not ended:
                ctx.set(front.pixel_tready, 1)
                _, _, valid, data, last = await ctx.tick().sample(
                    front.pixel_tvalid, front.pixel_tdata, front.pixel_tlast
                )
                ctx.set(front.pixel_tready, 0)
                if valid:
                    taken.append(data)
                    assert last == (len(taken) == BOARD.height * BOARD.width)
                    if last:
                        self.images.append(tuple(taken))
                        taken.clear()
                        await ctx.tick().repeat(50)
                        for i, value in enumerate(RESULTS):
                            ctx.set(front.result_tdata, value & 0xFFFFFFFF)
                            ctx.set(front.result_tvalid, 1)
                            ctx.set(front.result_tlast, i == len(RESULTS) - 1)
                            while not (await ctx.tick().sample(front.result_tready))[2]:
                                assert not ended
                            ctx.set(front.result_tvalid, 0)
                await ctx.tick().repeat(2)
            assert not taken

        simulator.add_testbench(host)
        simulator.add_testbench(monitor, background=True)
        simulator.add_testbench(taker, background=True)
        simulator.run()


WORDS = tuple(PIXELS[i] | PIXELS[i + 1] << 8 for i in range(0, len(PIXELS), 2))


def requests(*items: bytes) -> Bench:
    bench = Bench()
    bench.run(list(items))
    return bench


def test_identify_and_images_back_to_back() -> None:
    image = frame(REQUEST, IMAGE, PIXELS)
    bench = requests(frame(REQUEST, IDENTIFY), image, image, image)
    assert bytes(bench.replies) == frame(REPLY, IDENTIFY, BOARD.pack()) + 3 * OK
    assert bench.images == 3 * [WORDS]


@pytest.mark.parametrize("lost", range(len(PIXELS) + 3))
def test_a_lost_byte_costs_one_image(lost: int) -> None:
    image = frame(REQUEST, IMAGE, PIXELS)
    bench = requests(image[:lost] + image[lost + 1 :], image, image)
    assert bytes(bench.replies).endswith(2 * OK)
    assert bench.images == 2 * [WORDS]


@pytest.mark.parametrize("place", [2, 7, len(PIXELS) + 2])
def test_a_damaged_byte_runs_nothing(place: int) -> None:
    image = bytearray(frame(REQUEST, IMAGE, PIXELS))
    image[place] ^= 0x10
    bench = requests(bytes(image), frame(REQUEST, IMAGE, PIXELS))
    assert bytes(bench.replies) == frame(REPLY, uart_frame.BAD_CRC) + OK
    assert bench.images == [WORDS]


def test_a_request_cut_short_is_answered() -> None:
    assert bytes(requests(frame(REQUEST, IMAGE, PIXELS)[:5]).replies) == frame(REPLY, TIMEOUT)


def test_noise_between_frames_is_ignored() -> None:
    bench = requests(
        b"\x00\xff\x13",
        bytes([REQUEST, REQUEST]) + frame(REQUEST, IDENTIFY),
        bytes([REQUEST]) + b"?",
    )
    assert bytes(bench.replies) == frame(REPLY, IDENTIFY, BOARD.pack())


@pytest.mark.parametrize("drift", [-0.02, 0.02])
def test_line_clock_may_be_off_by_two_percent(drift: float) -> None:
    bench = Bench(divisor=50, drift=drift)
    bench.run([frame(REQUEST, IMAGE, PIXELS)])
    assert bytes(bench.replies) == OK


def test_identity_round_trip() -> None:
    assert Identity.parse(BOARD.pack()) == BOARD
    with pytest.raises(DataError, match="protocol version must be 1, not 9"):
        Identity.parse(b"\x09" + BOARD.pack()[1:])


def test_crc_catches_every_burst_of_eight_bits() -> None:
    whole = b"\x49" + PIXELS
    value, good = int.from_bytes(whole, "big"), crc8(whole)
    for shift in range(8 * (len(whole) - 1)):
        for burst in (0x01, 0x81, 0xFF, 0xA5):
            assert crc8((value ^ burst << shift).to_bytes(len(whole), "big")) != good
    assert crc8(b"123456789") == 0xF4  # the check value of CRC-8/SMBUS


@pytest.mark.parametrize(("clock", "cycles"), [(50.0, 50), (62.5, 62), (25.0, 25)])
def test_divisor(clock: float, cycles: int) -> None:
    assert uart_frame.divisor(clock) == cycles


@pytest.mark.parametrize("clock", [1.0, 5.45])
def test_clock_that_makes_no_baud_rate(clock: float) -> None:
    with pytest.raises(SpecError, match="whole number of cycles a bit"):
        uart_frame.divisor(clock)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UartReceiver(3),
        lambda: UartTransmitter(2),
        lambda: UartFront(BOARD, divisor=10, timeout=100),
    ],
)
def test_parameters_out_of_range(make: Callable[[], object]) -> None:
    with pytest.raises(SpecError, match="must be at least"):
        make()


def test_verilog_is_the_same_twice_and_free_of_attributes() -> None:
    texts = [
        emit({"uart_front": UartFront(BOARD, divisor=10, timeout=1000)})["uart_front"]
        for _ in range(2)
    ]
    assert texts[0] == texts[1]
    assert "(*" not in texts[0].replace("@(*)", "").replace("@*", "")
