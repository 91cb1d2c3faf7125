"""cocotb bench of the whole accelerator: streams, registers, stalls, resets and packets of a wrong
length.

The results are compared here; what every layer wrote, and in which cycle, the testbench logs, and
`autonba.sim.check` compares it afterwards. Settings come as JSON from the file that AUTONBA_BENCH
names.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from autonba.arithmetic import IntArray
from autonba.bundle import Bundle
from autonba.golden import evaluate

PERIOD_NS = 10
STALLED_RUNS = 100  # runs from this number on are logged with stalls

ID, DIGEST, VERSION, CONTROL, STATUS, ERROR = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
CYCLES, IMAGES_IN, IMAGES_OUT, STALL_IN, STALL_OUT = 0x18, 0x1C, 0x20, 0x24, 0x28
RUN, SOFT_RESET = 1, 2
TOO_EARLY, TOO_LATE = 1, 2
IDENTITY = 0x414E4241
RESET_TAKES, RESET_CLOSED = (
    2,
    5,
)  # cycles after the write of soft_reset in which pixels are still taken, and are not

_INPUTS = (
    "rst",
    "log_run",
    "stall_memory",
    "s_axis_tdata",
    "s_axis_tvalid",
    "s_axis_tlast",
    "m_axis_tready",
    "s_axil_awaddr",
    "s_axil_awprot",
    "s_axil_awvalid",
    "s_axil_wdata",
    "s_axil_wstrb",
    "s_axil_wvalid",
    "s_axil_bready",
    "s_axil_araddr",
    "s_axil_arprot",
    "s_axil_arvalid",
    "s_axil_rready",
)


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What the bench does. `runs`: images of each run without stalls; `image_cycles`: predicted
    latency of an image.
    """

    bundle: str
    runs: tuple[int, ...]
    stalled_images: int
    image_cycles: int
    seed: int

    def write(self, path: Path) -> None:
        """Write to `path`."""
        path.write_text(json.dumps(self.__dict__, indent=2, sort_keys=True))

    @classmethod
    def read(cls, path: Path) -> BenchSettings:
        """Read what `write` wrote."""
        values = json.loads(path.read_text())
        return cls(**{**values, "runs": tuple(values["runs"])})


def words(image_CHW: IntArray) -> list[int]:
    """Stream words of an image: one a pixel, channel 0 in the low byte."""
    channels = image_CHW.shape[0]
    pixels = image_CHW.reshape(channels, -1).T.tolist()
    return [sum((value & 0xFF) << (8 * c) for c, value in enumerate(pixel)) for pixel in pixels]


def results(tensor_CHW: IntArray) -> list[int]:
    """Stream words of a result: channels fastest, then columns and rows, as unsigned 32-bit
    words.
    """
    return [int(value) & 0xFFFFFFFF for value in tensor_CHW.transpose(1, 2, 0).ravel()]


class Bench:
    """Drivers, monitors and the golden values."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.settings = BenchSettings.read(Path(os.environ["AUTONBA_BENCH"]))
        self.bundle = Bundle(Path(self.settings.bundle))
        self.network = self.bundle.design.network
        self.images = self.bundle.golden["images"]
        self.logits = self.bundle.golden[self.network.layers[-1].name]
        self.random = random.Random(self.settings.seed)
        self.source = AxiStreamSource(
            AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst, byte_lanes=1
        )
        self.sink = AxiStreamSink(
            AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst, byte_lanes=1
        )
        for driver in (self.source, self.sink):
            driver.log.setLevel(logging.WARNING)

    @classmethod
    async def start(cls, dut: Any) -> Bench:
        """Start the clock, reset, and then the drivers: before a reset, a port's value may be
        unknown.
        """
        for name in _INPUTS:
            getattr(dut, name).value = 0
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start()
        await ClockCycles(dut.clk, 5)
        bench = cls(dut)
        await bench.reset()
        return bench

    @cached_property
    def registers(self) -> AxiLiteMaster:
        """Driver of the registers."""
        master = AxiLiteMaster(
            AxiLiteBus.from_prefix(self.dut, "s_axil"), self.dut.clk, self.dut.rst
        )
        for side in (master.read_if, master.write_if):
            side.log.setLevel(logging.WARNING)
        return master

    async def reset(self) -> None:
        """Hold `rst` for a few cycles; then wait until the first row can be taken."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 5)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 20)

    async def read(self, address: int) -> int:
        """Value of a register."""
        return int(await self.registers.read_dword(address))

    async def write(self, address: int, value: int) -> None:
        """Set a register."""
        await self.registers.write_dword(address, value)

    def send(self, indices: Sequence[int]) -> None:
        """Queue images."""
        for index in indices:
            self.source.send_nowait(AxiStreamFrame(words(self.images[index % len(self.images)])))

    async def expect(self, wanted: Sequence[IntArray], what: str, slowness: int = 1) -> None:
        """Receive one packet for each of `wanted` and compare each word."""
        limit = PERIOD_NS * slowness * (4 * self.settings.image_cycles + 2000) * (len(wanted) + 2)
        for number, tensor in enumerate(wanted):
            try:
                frame = await with_timeout(self.sink.recv(), limit, "ns")
            except SimTimeoutError:
                raise AssertionError(
                    f"{what}: result {number} of {len(wanted)} must come within"
                    f" {limit // PERIOD_NS} cycles, and it did not"
                ) from None
            got, expected = list(frame.tdata), results(tensor)
            assert len(got) == len(expected), (
                f"{what}: result {number} must have {len(expected)} words before TLAST, not"
                f" {len(got)}"
            )
            for place, (g, e) in enumerate(zip(got, expected, strict=True)):
                assert g == e, (
                    f"{what}: result {number}, word {place} must be {e:#010x}, not {g:#010x}"
                )

    async def exchange(self, indices: Sequence[int], what: str, slowness: int = 1) -> None:
        """Send images, receive and compare their results."""
        self.send(indices)
        await self.expect(
            [self.logits[index % len(self.images)] for index in indices], what, slowness
        )

    async def finish(self) -> None:
        """Check that nothing is left over on any side."""
        await ClockCycles(self.dut.clk, 50)
        assert self.source.empty(), "every packet must be taken, and some are left"
        assert self.source.idle(), "every pixel must be taken, and some are left"
        assert self.sink.empty(), f"no more results must come, and {self.sink.count()} did"
        assert not self.dut.m_axis_tvalid.value, "no more results must be offered, and one is"

    def stall(self, chance: float, longest: int) -> Iterator[bool]:
        """Pauses of random length, beginning with probability `chance` in each cycle that is not
        paused.
        """
        while True:
            if self.random.random() < chance:
                yield from [True] * self.random.randint(1, longest)
            yield False


@cocotb.test()
async def back_to_back(dut: Any) -> None:
    """Runs of one, two and more images without stalls; the testbench logs them as run 1, 2, ..."""
    bench = await Bench.start(dut)
    for number, count in enumerate(bench.settings.runs, 1):
        dut.log_run.value = number
        await bench.exchange(range(count), f"run of {count} images")
        await bench.finish()
        dut.log_run.value = 0
        await ClockCycles(dut.clk, 2)


@cocotb.test()
async def stalls(dut: Any) -> None:
    """Random stalls on input, output and both; the testbench logs them as run 100, 101, ..."""
    bench = await Bench.start(dut)
    patterns = (
        ((0.5, 2), (0.5, 2)),
        ((0.02, 4 * bench.network.input.width), None),
        (None, (0.1, 100)),
    )
    start = 0
    for number, (before, behind) in enumerate(patterns):
        count = len(range(number, bench.settings.stalled_images, len(patterns)))
        dut.log_run.value = STALLED_RUNS + number
        dut.stall_memory.value = 1
        bench.source.set_pause_generator(bench.stall(*before) if before else None)
        bench.sink.set_pause_generator(bench.stall(*behind) if behind else None)
        await bench.exchange(range(start, start + count), f"stalls of pattern {number}", slowness=8)
        for driver in (bench.source, bench.sink):
            driver.clear_pause_generator()
            driver.pause = False
        await bench.finish()
        dut.log_run.value = 0
        dut.stall_memory.value = 0
        start += count


@cocotb.test()
async def reset_in_mid_run(dut: Any) -> None:
    """`rst` and the soft reset at random moments; the images behind them come out right."""
    bench = await Bench.start(dut)
    for soft in (False, True, False, True):
        name = "soft reset" if soft else "rst"
        bench.send(range(3))
        await ClockCycles(dut.clk, bench.random.randint(1, 2 * bench.settings.image_cycles))
        bench.source.clear()
        if soft:
            bench.source.assert_reset(
                True
            )  # the host stops its stream first, as AXI4-Stream cannot take a beat back
            await ClockCycles(dut.clk, 1)
            await bench.write(CONTROL, RUN | SOFT_RESET)
            await ClockCycles(dut.clk, 20)
            bench.source.assert_reset(False)
            bench.sink.assert_reset()
        else:
            await bench.reset()
        bench.sink.clear()
        assert await bench.read(STATUS) == 0, f"after {name}, STATUS must be 0 (idle)"
        await bench.exchange((4, 2, 3), f"after {name}")
        await bench.finish()


@cocotb.test()
async def offered_through_a_soft_reset(dut: Any) -> None:
    """A host that goes on offering pixels through a soft reset, as docs/registers.md says: pixels
    that are taken up to RESET_TAKES cycles after the write are lost with their image, none is taken
    for RESET_CLOSED cycles, and the pixel that is offered then is an image's first, so that the
    rest of a packet makes an image that ends too early."""
    bench = await Bench.start(dut)
    image = bench.network.input
    pixels = image.height * image.width
    taken, written = [], []  # cycles

    async def watch() -> None:
        cycle = 0
        while True:
            await RisingEdge(dut.clk)
            cycle += 1
            if int(dut.s_axis_tvalid.value) & int(dut.s_axis_tready.value):
                taken.append(cycle)
            if (
                int(dut.s_axil_awvalid.value) & int(dut.s_axil_awready.value)
                and int(dut.s_axil_awaddr.value) == CONTROL
            ):
                written.append(cycle)

    watching = cocotb.start_soon(watch())
    bench.send(range(3))
    begun = bench.random.randint(1, max(1, pixels - 1))
    while len(taken) < begun:
        await RisingEdge(dut.clk)
    await bench.write(CONTROL, RUN | SOFT_RESET)
    await ClockCycles(dut.clk, RESET_CLOSED)
    bench.sink.assert_reset()
    bench.sink.clear()
    lost = [cycle for cycle in taken if cycle <= written[0] + RESET_TAKES]
    closed = [
        cycle for cycle in taken[len(lost) :] if cycle <= written[0] + RESET_TAKES + RESET_CLOSED
    ]
    assert not closed, (
        f"no pixel must be taken from {RESET_TAKES + 1} cycles after the write of soft_reset on,"
        f" and {closed} were"
    )
    number, part = divmod(len(lost), pixels)
    wanted = [bench.logits[index % len(bench.images)] for index in range(number + (part > 0), 3)]
    if part:
        cut = np.zeros((1, image.channels, pixels), dtype=np.int64)
        cut[:, :, : pixels - part] = bench.images[number % len(bench.images)].reshape(
            image.channels, pixels
        )[:, part:]
        outputs = evaluate(
            bench.network,
            bench.bundle.weights,
            cut.reshape(1, image.channels, image.height, image.width),
        )
        wanted.insert(0, outputs[bench.network.layers[-1].name][0])
    await bench.expect(wanted, f"after a soft reset behind pixel {len(lost)}")
    error, flag = await bench.read(ERROR), TOO_EARLY if part else 0
    assert error == flag, f"after the rest of a packet, ERROR must be {flag}, not {error}"
    watching.cancel()
    await bench.finish()


@cocotb.test()
async def wrong_lengths(dut: Any) -> None:
    """TLAST too early or too late raises its error bit, gives one result, and the next image is
    right.
    """
    bench = await Bench.start(dut)
    image = bench.network.input
    pixels = image.height * image.width
    lengths = {
        pixels - 1,
        1,
        max(1, pixels // 2),
        pixels + 1,
        pixels + image.width,
        2 * pixels + 3,
    } - {pixels, 0}
    for length in sorted(lengths):
        what = f"packet of {length} instead of {pixels} pixels"
        sent = words(bench.images[0])
        packet = sent[:length] + [
            bench.random.getrandbits(8 * image.channels) for _ in range(length - pixels)
        ]
        bench.source.send_nowait(AxiStreamFrame(packet))
        bench.send((1, 2))
        cut = bench.images[:1].reshape(1, image.channels, -1).copy()
        cut[:, :, length:] = 0
        bad = evaluate(bench.network, bench.bundle.weights, cut.reshape(bench.images[:1].shape))
        wanted = [
            bad[bench.network.layers[-1].name][0],
            bench.logits[1 % len(bench.images)],
            bench.logits[2 % len(bench.images)],
        ]
        await bench.expect(wanted, what)
        flag = TOO_EARLY if length < pixels else TOO_LATE
        error = await bench.read(ERROR)
        assert error == flag, f"{what}: ERROR must be {flag}, not {error}"
        await bench.write(ERROR, flag)
        assert await bench.read(ERROR) == 0, (
            f"{what}: ERROR must be 0 after it was written with ones"
        )
        await bench.finish()


@cocotb.test()
async def registers(dut: Any) -> None:
    """Identity, counters against what is seen at the ports, and stop and start."""
    bench = await Bench.start(dut)
    seen = {STALL_IN: 0, STALL_OUT: 0}

    async def count_stalls() -> None:
        while True:
            await RisingEdge(dut.clk)
            seen[STALL_IN] += int(dut.s_axis_tvalid.value) & ~int(dut.s_axis_tready.value) & 1
            seen[STALL_OUT] += int(dut.m_axis_tvalid.value) & ~int(dut.m_axis_tready.value) & 1

    counting = cocotb.start_soon(count_stalls())
    fixed = {
        ID: IDENTITY,
        DIGEST: int(bench.bundle.digest[:8], 16),
        CONTROL: RUN,
        STATUS: 0,
        ERROR: 0,
        CYCLES: 0,
        IMAGES_IN: 0,
        IMAGES_OUT: 0,
    }
    for address, value in fixed.items():
        got = await bench.read(address)
        assert got == value, f"register {address:#04x} must be {value:#x} after reset, not {got:#x}"
    assert await bench.read(VERSION) > 0, "VERSION must not be 0"

    await bench.exchange((0,), "one image")
    cycles = await bench.read(CYCLES)
    predicted = bench.settings.image_cycles
    assert cycles == predicted, (
        f"CYCLES must be {predicted} after one image, as the schedule says, not {cycles}"
    )
    bench.sink.set_pause_generator(bench.stall(0.3, 20))
    await bench.exchange((1, 2), "two more images", slowness=8)
    bench.sink.clear_pause_generator()
    bench.sink.pause = False
    await bench.finish()
    for address, value in {IMAGES_IN: 3, IMAGES_OUT: 3, **seen, STATUS: 0}.items():
        got = await bench.read(address)
        assert got == value, (
            f"register {address:#04x} must be {value} after three images, not {got}"
        )
    counting.cancel()

    await bench.write(CONTROL, 0)
    assert await bench.read(CONTROL) == 0, "CONTROL must be 0 after stop"
    bench.send((3,))
    await ClockCycles(dut.clk, 2 * predicted)
    for address, value in {IMAGES_IN: 3, IMAGES_OUT: 3, STATUS: 0}.items():
        got = await bench.read(address)
        assert got == value, f"register {address:#04x} must stay {value} while stopped, not {got}"
    assert bench.sink.empty(), "no result must come while stopped"
    await bench.write(CONTROL, RUN)
    await bench.expect([bench.logits[3 % len(bench.images)]], "after start")

    bench.send((0, 1))  # stopped in the middle of an image, which is finished; the next one waits
    await ClockCycles(dut.clk, 3)
    await bench.write(CONTROL, 0)
    await bench.expect([bench.logits[0]], "image in flight at the stop")
    await ClockCycles(dut.clk, 2 * predicted)
    assert bench.sink.empty(), "the image behind the stop must wait"
    await bench.write(CONTROL, RUN)
    await bench.expect([bench.logits[1 % len(bench.images)]], "image behind the stop")
    await bench.finish()
    assert np.array_equal([await bench.read(IMAGES_IN), await bench.read(IMAGES_OUT)], [6, 6]), (
        "six images must be counted"
    )
