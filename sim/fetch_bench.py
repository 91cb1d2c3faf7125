"""cocotb bench of a weight fetcher with its weight memory: every word at the right place, in the cycles of its twin."""

from __future__ import annotations

import json
import os
import random
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

from autonba.cost.fetch import FetchModel
from autonba.weight_image import PAGE_BYTES, ChunkStream, StreamedLayer, word_bytes

BASE = 0x4_0000
MEMORY_BYTES = 1 << 20
READ_AHEAD = 2  # cycles from a sequencer's last beat to the weight memory's address
PATIENCE = 5_000  # cycles without a block


class Bench:
    """The device, what the DRAM holds, and a reader that plays scheduler and sequencer."""

    def __init__(self, dut: Any) -> None:
        document = json.loads(Path(os.environ["AUTONBA_BENCH"]).read_text())
        layers = tuple(None if layer is None else StreamedLayer(**layer) for layer in document.pop("layers"))
        self.dut = dut
        self.latencies: list[int] = document.pop("latencies")
        self.tasks: int = document.pop("tasks")
        self.chip_words: list[int] = document.pop("chip_words")
        self.stream = ChunkStream(layers=layers, **document)
        self.rng = random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", "1")))
        self.memory = bytearray(self.rng.randbytes(MEMORY_BYTES))
        self.words: list[list[int]] = []
        for layer in layers:
            count = 0 if layer is None else layer.blocks * layer.words
            self.words.append([self.rng.getrandbits(self.stream.word_bits) for _ in range(count)])
            if layer is not None:
                data, place = word_bytes(self.words[-1], self.stream), BASE + layer.offset
                self.memory[place : place + len(data)] = data
        self.cycle = 0
        self.half = 0

    async def start(self, bus: FixedLatencyMemory | None = None) -> None:
        """Idle inputs, clock, reset."""
        for port in ("clear", "task_offered", "task_layer", "block_done", "read_address"):
            getattr(self.dut, port).value = 0
        self.dut.base.value = BASE
        if bus is not None:
            bus.drive(0)
        self.dut.rst.value = 1
        Clock(self.dut.clk, 10, unit="ns", impl="gpi").start()
        for _ in range(4):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    def get(self, port: str) -> int:
        """An output in the cycle that the clock's edge has just ended."""
        value = getattr(self.dut, port).value
        assert value.is_resolvable, f"cycle {self.cycle}: {port} must be known, not {value}"
        return int(value)

    async def clear(self, cycles: int) -> None:
        """What a reset of the core does: no more inputs, and `clear` for some cycles."""
        self.dut.task_offered.value = self.dut.block_done.value = 0
        self.dut.clear.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.dut.clear.value = 0
        self.half = 0


class FixedLatencyMemory:
    """The first beat `latency` cycles after the address, then a beat a cycle, in order."""

    def __init__(self, bench: Bench, latency: int) -> None:
        self._bench, self._latency = bench, latency
        self._beats: deque[tuple[int, int, bool]] = deque()  # not before this cycle, address, last

    def drive(self, cycle: int) -> None:
        """Set the bus for `cycle`."""
        dut = self._bench.dut
        dut.m_axi_arready.value, dut.m_axi_rresp.value, dut.m_axi_rid.value = 1, 0, 0
        valid = bool(self._beats) and self._beats[0][0] <= cycle
        dut.m_axi_rvalid.value = int(valid)
        if valid:
            _, address, last = self._beats.popleft()
            size = self._bench.stream.beat_bytes
            dut.m_axi_rdata.value = int.from_bytes(self._bench.memory[address : address + size], "little")
            dut.m_axi_rlast.value = int(last)

    def take(self, cycle: int) -> None:
        """Look at the address channel in `cycle`, which has just ended."""
        if self._bench.get("m_axi_arvalid"):
            address, beats = self._bench.get("m_axi_araddr"), self._bench.get("m_axi_arlen") + 1
            size = self._bench.stream.beat_bytes
            self._beats.extend((cycle + self._latency, address + i * size, i == beats - 1) for i in range(beats))


class Reader:
    """Offers random tasks, at most one ahead, reads every word of their blocks, and gives the halves back.

    `pauses` is how often it stands still where it may. With `bus`, it also drives that memory and compares cycles with the
    model.
    """

    def __init__(self, bench: Bench, pauses: float, bus: FixedLatencyMemory | None = None,
                 model: FetchModel | None = None) -> None:
        self._bench, self._pauses, self._bus, self._model = bench, pauses, bus, model
        self._tasks = [bench.rng.randrange(len(bench.stream.layers)) for _ in range(bench.tasks)]
        self._offered = self._working = 0
        self._blocks = self._released = self._predicted = self._counted = 0
        self._loads: deque[int] = deque()  # cycles, by the model, from which on one half more is loaded
        self._wanted: int | None = None  # the word whose data are there in this cycle
        self.blocks_read = 0

    async def run(self) -> None:
        """All tasks."""
        bench = self._bench
        for number, layer in enumerate(self._tasks):
            self._working = number
            while self._offered <= number:
                await self._turn()
            streamed = bench.stream.layers[layer]
            for block in range(0 if streamed is None else streamed.blocks):
                assert streamed is not None
                await self._block(bench.words[layer][block * streamed.words : (block + 1) * streamed.words])
            while bench.rng.random() < self._pauses:
                await self._turn()

    async def _block(self, words: list[int]) -> None:
        bench, dut = self._bench, self._bench.dut
        first = bench.stream.first_word + bench.half * bench.stream.half_words
        dut.read_address.value = first
        waited = 0
        while await self._turn() == 0:
            waited += 1
            assert waited < PATIENCE, f"cycle {bench.cycle}: a block must be loaded after {PATIENCE} cycles"
        self._wanted = words[0]  # `loaded` counted the half in the very cycle that addressed it
        gives_back = max(len(words) - 1 - READ_AHEAD, 1)
        for i in range(1, max(len(words), 2)):
            if i < len(words):
                dut.read_address.value = first + i
            if i == gives_back:
                dut.block_done.value = 1
                self._release()
            await self._turn()
            self._wanted = words[i] if i < len(words) else None
        await self._turn()
        bench.half ^= 1
        self.blocks_read += 1
        while bench.rng.random() < self._pauses / 4:
            for _ in range(bench.rng.randrange(2 * bench.stream.half_words)):
                await self._turn()

    async def _turn(self) -> int:
        """Let a cycle pass; returns `loaded` in it."""
        bench, dut = self._bench, self._bench.dut
        if self._offered < min(len(self._tasks), self._working + 2) and bench.rng.random() >= self._pauses:
            layer = self._tasks[self._offered]
            self._offered += 1
            dut.task_offered.value, dut.task_layer.value = 1, layer
            if self._model is not None:
                self._blocks += self._model.offer(bench.cycle, layer)
                self._predict()
        if self._bus is not None:
            self._bus.drive(bench.cycle)
        await RisingEdge(dut.clk)
        if self._bus is not None:
            self._bus.take(bench.cycle)
        loaded = bench.get("loaded")
        assert bench.get("error") == 0, f"cycle {bench.cycle}: error must be 0"
        if self._wanted is not None:
            got = bench.get("read_data")
            assert got == self._wanted, f"cycle {bench.cycle}: read_data must be {self._wanted:#x}, not {got:#x}"
            self._wanted = None
        if self._model is not None:
            while self._loads and self._loads[0] <= bench.cycle:
                self._loads.popleft()
                self._counted += 1
            assert loaded == self._counted, f"cycle {bench.cycle}: loaded must be {self._counted}, not {loaded}"
            self._counted -= int(dut.block_done.value)
        dut.task_offered.value = dut.block_done.value = 0
        bench.cycle += 1
        return loaded

    def _release(self) -> None:
        if self._model is not None:
            self._model.release(self._bench.cycle)
            self._released += 1
            self._predict()

    def _predict(self) -> None:
        assert self._model is not None
        while self._predicted < min(self._blocks, self._released + 2):
            self._loads.append(self._model.loaded_at(self._predicted))
            self._predicted += 1

    def check_end(self) -> None:
        """Nothing is left over."""
        wanted = sum(layer.blocks for layer in (self._bench.stream.layers[t] for t in self._tasks) if layer is not None)
        assert self.blocks_read == wanted, f"{wanted} blocks must be read, not {self.blocks_read}"
        assert self._bench.get("loaded") == 0, "loaded must be 0 at the end"


async def watch_addresses(bench: Bench) -> None:
    """Bursts keep to AXI4 for as long as the bench runs: no 4 KiB boundary crossed, and an offered address stands still."""
    dut, held = bench.dut, None
    while True:
        await RisingEdge(dut.clk)
        if not bench.get("m_axi_arvalid"):
            assert held is None, f"m_axi_arvalid must stay until arready, at {held}"
            continue
        address, beats = bench.get("m_axi_araddr"), bench.get("m_axi_arlen") + 1
        assert held in (None, (address, beats)), f"an address must stay until arready, not change from {held}"
        held = None if bench.get("m_axi_arready") else (address, beats)
        last = address + beats * bench.stream.beat_bytes - 1
        assert address // PAGE_BYTES == last // PAGE_BYTES, \
            f"a burst must not cross {PAGE_BYTES} bytes, as {beats} beats at {address:#x} do"


async def check_chip_words(bench: Bench) -> None:
    """What lies before the halves is as the file says."""
    for address, word in enumerate(bench.chip_words):
        bench.dut.read_address.value = address
        await RisingEdge(bench.dut.clk)
        await RisingEdge(bench.dut.clk)
        got = bench.get("read_data")
        assert got == word, f"word {address} must be {word:#x}, not {got:#x}"


def random_memory(bench: Bench) -> AxiRamRead:
    """An AXI4 RAM that pauses at random on both channels."""
    ram = AxiRamRead(AxiReadBus.from_prefix(bench.dut, "m_axi"), bench.dut.clk, bench.dut.rst, size=MEMORY_BYTES,
                     mem=bench.memory)
    dice = random.Random(bench.rng.getrandbits(32))

    def pauses(share: float) -> Any:
        while True:
            for paused in [dice.random() < share] * dice.randrange(1, 30):
                yield paused

    ram.ar_channel.set_pause_generator(pauses(0.5))
    ram.r_channel.set_pause_generator(pauses(0.3))
    return ram


@cocotb.test()
async def words(dut: Any) -> None:
    """Whatever the memory's pauses: every word lands in its place before it is announced."""
    bench = Bench(dut)
    random_memory(bench)
    await bench.start()
    cocotb.start_soon(watch_addresses(bench))
    for pauses in (0.0, 0.7):
        reader = Reader(bench, pauses)
        await reader.run()
        reader.check_end()
    await check_chip_words(bench)


@cocotb.test()
async def cycles(dut: Any) -> None:
    """A memory of fixed latency: `loaded` equals the model's in every cycle."""
    bench = Bench(dut)
    bus = FixedLatencyMemory(bench, bench.latencies[0])
    await bench.start(bus)
    cocotb.start_soon(watch_addresses(bench))
    for latency in bench.latencies:
        for pauses in (0.0, 0.6):
            bus = FixedLatencyMemory(bench, latency)
            await bench.clear(2)
            bench.cycle += 10
            reader = Reader(bench, pauses, bus, FetchModel(bench.stream, latency))
            await reader.run()
            reader.check_end()


@cocotb.test()
async def clear(dut: Any) -> None:
    """A reset of the core at any time: what is under way on the bus is let pass, and the next task is right."""
    bench = Bench(dut)
    random_memory(bench)
    await bench.start()
    cocotb.start_soon(watch_addresses(bench))
    for _ in range(12):
        broken = cocotb.start_soon(Reader(bench, 0.2).run())
        for _ in range(bench.rng.randrange(3, 6 * bench.stream.half_words * bench.stream.slices)):
            await RisingEdge(dut.clk)
        broken.cancel()
        await bench.clear(4)
    reader = Reader(bench, 0.1)
    await reader.run()
    reader.check_end()
    await check_chip_words(bench)
