"""cocotb bench of a chunk's weight fetcher against cocotbext-axi's memory model, with random
latency on both channels.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

PERIOD_NS = 10
PATIENCE = 20_000  # cycles without progress
_FROM_MEMORY = ("arready", "rid", "rdata", "rresp", "rlast", "rvalid")


def _pauses(chance: float, rng: random.Random) -> Iterator[bool]:
    """Pauses of random length, which come with `chance`."""
    while True:
        if rng.random() < chance:
            yield from itertools.repeat(True, rng.randint(1, 60))
        else:
            yield False


@cocotb.test()
async def random_latency(dut: Any) -> None:
    """Every slice of every block lands in its half, in order, whatever the memory's pauses and the
    consumer's pace.
    """
    settings = json.loads(Path(os.environ["AUTONBA_BENCH"]).read_text())
    rng = random.Random(settings["seed"])
    base, image = settings["base"], bytes.fromhex(settings["image"])
    for name in (
        "task_offered",
        "task_layer",
        "block_done",
        *(f"m_axi_{name}" for name in _FROM_MEMORY),
    ):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start()
    await ClockCycles(dut.clk, 4)
    dut.base.value = base
    memory = AxiRamRead(
        AxiReadBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=base + len(image) + 4096
    )
    memory.log.setLevel(logging.WARNING)
    memory.write(base, image)
    memory.ar_channel.set_pause_generator(_pauses(0.3, rng))
    memory.r_channel.set_pause_generator(_pauses(0.05, rng))
    dut.rst.value = 0
    await RisingEdge(dut.clk)

    wanted = [tuple(entry) for entry in settings["writes"]]
    written = 0

    def look() -> int:
        """Check what is written in this cycle; returns how many slices that is."""
        nonlocal written
        if not int(dut.write_enable.value):
            return 0
        got = int(dut.write_address.value), int(dut.write_slice.value), int(dut.write_data.value)
        assert written < len(wanted), f"no write must follow the last one, and {got} does"
        assert got == wanted[written], f"write {written} must be {wanted[written]}, not {got}"
        written += 1
        return 1

    offers = iter(settings["tasks"])
    ahead, used, quiet = (
        0,
        0,
        0,
    )  # blocks of offered tasks that are not used yet; blocks used; cycles without progress
    while used < settings["blocks"]:
        await RisingEdge(dut.clk)
        quiet = 0 if look() else quiet + 1
        assert quiet < PATIENCE, (
            f"block {used} of {settings['blocks']} must be loaded, and nothing moves"
        )
        loaded = int(dut.loaded.value)
        assert loaded <= 2, f"loaded must be at most 2, not {loaded}"
        if loaded and rng.random() < settings["pace"]:
            dut.block_done.value = 1
            used, ahead = used + 1, ahead - 1
        if (
            ahead <= 1 and (task := next(offers, None)) is not None
        ):  # one task ahead of the one in work
            dut.task_layer.value = task["layer"]
            dut.task_offered.value = 1
            ahead += task["blocks"]
        await RisingEdge(dut.clk)
        look()
        dut.task_offered.value = 0
        dut.block_done.value = 0
    assert written == len(wanted), f"{len(wanted)} slices must be written, not {written}"
    assert not int(dut.error.value)
