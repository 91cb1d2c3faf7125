"""cocotb benches of row buffers, row tokens, multiplier arrays and requantizers, each against its twin in Python."""

from __future__ import annotations

import json
import os
import random
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from autonba.arithmetic import Requantization, value_range

CYCLES = 400  # of random stimulus for each device
REQUANTIZER_LATENCY = 5


class Device:
    """Ports of one module under test, its parameters and facts."""

    def __init__(self, dut: Any, document: dict[str, Any]) -> None:
        self._dut = dut
        self.name: str = document["name"]
        self.module: str = document["module"]
        self.parameters: dict[str, Any] = document["parameters"]
        self.facts: dict[str, Any] = document["facts"]

    def has(self, port: str) -> bool:
        """Whether the port exists."""
        return hasattr(self._dut, f"{self.name}_{port}")

    def set(self, port: str, value: int) -> None:
        """Drive an input with the low bits of `value`."""
        handle = getattr(self._dut, f"{self.name}_{port}")
        handle.value = value & ((1 << len(handle)) - 1)

    def get(self, port: str) -> int:
        """Value of an output as an unsigned number; fails where it is unknown."""
        value = getattr(self._dut, f"{self.name}_{port}").value
        assert value.is_resolvable, f"{self.name}_{port} must be known, not {value}"
        return int(value)


async def _start(dut: Any) -> tuple[list[Device], random.Random]:
    """All inputs zero, clock running, reset over; returns the devices."""
    documents = json.loads(Path(os.environ["AUTONBA_BENCH"]).read_text())
    devices = [Device(dut, document) for document in documents]
    for device, document in zip(devices, documents, strict=True):
        for port in set(document["inputs"]) - {"clk", "rst"}:
            device.set(port, 0)
    dut.rst.value = 1
    Clock(dut.clk, 10, unit="ns", impl="gpi").start()
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)
    return devices, random.Random(int(os.environ.get("COCOTB_RANDOM_SEED", "1")))


def _pack(values: list[int], bits: int) -> int:
    return sum((value & ((1 << bits) - 1)) << (place * bits) for place, value in enumerate(values))


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


@cocotb.test()
async def row_buffer(dut: Any) -> None:
    """Random writes and reads; each read gives what was written last there, zero at first."""
    devices, rng = await _start(dut)
    for device in (d for d in devices if d.module == "row_buffer"):
        p = device.parameters
        bits, lanes, writers, readers = p["LANE_BITS"], p["LANES"], p["WRITE_LANES"], p["READ_LANES"]
        model = [0] * (p["DEPTH"] * lanes)  # one entry a channel
        wanted: list[int] | None = None
        for cycle in range(CYCLES):
            if wanted is not None:
                await RisingEdge(dut.clk)  # the address of the last turn is taken
            write = rng.randrange(p["DEPTH"] * lanes // writers)
            read = rng.randrange(p["DEPTH"] * lanes // readers)
            enable = rng.random() < 0.7 and write * writers // lanes != read * readers // lanes
            data = [rng.getrandbits(bits) for _ in range(writers)]
            device.set("write_enable", int(enable))
            device.set("write_address", write)
            device.set("write_data", _pack(data, bits))
            device.set("read_address", read)
            if wanted is not None:
                await RisingEdge(dut.clk)
                got = device.get("read_data")
                assert got == _pack(wanted, bits), \
                    f"{device.name}, read {cycle}: read_data must be {_pack(wanted, bits):#x}, not {got:#x}"
            wanted = model[read * readers : (read + 1) * readers]
            if enable:
                model[write * writers : (write + 1) * writers] = data


@cocotb.test()
async def row_tokens(dut: Any) -> None:
    """Random amounts claimed, committed and released within the rules; free and available follow, a cycle later."""
    devices, rng = await _start(dut)
    for device in (d for d in devices if d.module == "row_tokens"):
        rows = device.parameters["ROWS"]
        free, claimed, available, taken = rows, 0, 0, 0
        for cycle in range(CYCLES):
            claim, commit = rng.randint(0, free), rng.randint(0, claimed)
            read, release = rng.randint(0, available), rng.randint(0, taken)
            for port, value in (("claim_write", claim), ("commit", commit), ("claim_read", read), ("release_read", release)):
                device.set(port, value)
            await RisingEdge(dut.clk)
            got = device.get("free"), device.get("available")
            assert got == (free, available), \
                f"{device.name}, cycle {cycle}: free, available must be {(free, available)}, not {got}"
            free += release - claim
            claimed += claim - commit
            available += commit - read
            taken += read - release
        for port in ("claim_write", "commit", "claim_read", "release_read"):
            device.set(port, 0)


@cocotb.test()
async def mac_array(dut: Any) -> None:
    """Random blocks with gaps: the drained sums are the exact dot products, in the documented cycles."""
    devices, rng = await _start(dut)
    for device in (d for d in devices if d.module == "mac_array"):
        p = device.parameters
        outs, ins, drains, acc_bits = p["OUT_LANES"], 1 << p["LEVELS"], p["DRAIN_LANES"], p["ACC_BITS"]
        shared = p["SHARED"] == 1
        noise = np.random.default_rng(rng.getrandbits(32))
        wanted: deque[tuple[int, int]] = deque()  # (cycle, drained word)
        done: deque[int] = deque()
        totals, left = np.zeros(outs, dtype=np.int64), 0
        since_last = outs
        for cycle in range(CYCLES + 3 * outs + 20):
            ending = cycle >= CYCLES
            if left == 0 and not ending:
                left = rng.randint(1, 6)
                left = max(left, outs // drains - since_last)  # a block is never shorter than the drain before it
                fresh = True
            beat = left > 0 and rng.random() < 0.8
            weights = noise.integers(*_reach(p["WEIGHT_BITS"]), (outs, ins))
            inputs = noise.integers(*_reach(p["INPUT_BITS"]), (1 if shared else outs, ins))
            last = beat and left == 1
            device.set("weights", _pack(weights.ravel().tolist(), p["WEIGHT_BITS"]))
            device.set("inputs", _pack(inputs.ravel().tolist(), p["INPUT_BITS"]))
            for port, value in (("beat_valid", beat), ("beat_first", beat and fresh), ("beat_last", last)):
                device.set(port, int(value))
            since_last += 1
            if beat:
                totals = (0 if fresh else totals) + (weights * inputs).sum(axis=1)
                fresh = False
                left -= 1
            if last:
                since_last = 0
                done.append(cycle + 1 + p["TREE_STAGES"])
                for group in range(outs // drains):
                    values = totals[group * drains : (group + 1) * drains].tolist()
                    wanted.append((cycle + 3 + p["TREE_STAGES"] + group, _pack(values, acc_bits)))
            await RisingEdge(dut.clk)
            expected = bool(done) and done[0] == cycle
            assert bool(device.get("block_done")) == expected, \
                f"{device.name}, cycle {cycle}: block_done must be {int(expected)}"
            if expected:
                done.popleft()
            if wanted and wanted[0][0] == cycle:
                word = wanted.popleft()[1]
                got = device.get("drain")
                assert got == word, f"{device.name}, cycle {cycle}: drain must be {word:#x}, not {got:#x}"
        assert not wanted, f"{device.name}: every block must be drained, and {len(wanted)} groups were not"
        assert not done, f"{device.name}: every block must be announced, and {len(done)} were not"


def _reach(bits: int) -> tuple[int, int]:
    low, high = value_range(bits, True)
    return low, high + 1


@cocotb.test()
async def requantizer(dut: Any) -> None:
    """Each layer's constants, a value a cycle: results as `autonba.arithmetic` defines them, five cycles later."""
    devices, rng = await _start(dut)
    for device in (d for d in devices if d.module.startswith("requantize_")):
        facts = device.facts
        acc_bits, write_bits = facts["acc_bits"], facts["write_bits"]
        for number, layer in enumerate(facts["layers"]):
            constants = Requantization(shift=layer["shift"], residual_multiplier=layer["residual_multiplier"],
                                       bits=layer["bits"], signed=layer["signed"])
            low, high = (0, 0) if layer["raw"] else value_range(layer["bits"], layer["signed"])
            fixed = {"half": 0 if layer["raw"] else constants.half, "low": low, "high": high, "raw": int(layer["raw"]),
                     "shift": 0 if layer["raw"] else layer["shift"] - facts["least_shift"],
                     "residual_multiplier": layer["residual_multiplier"]}
            for port, value in fixed.items():
                if device.has(port):
                    device.set(port, value)
            wanted: deque[tuple[int, int]] = deque()
            previous = 0
            for cycle in range(60 + REQUANTIZER_LATENCY):
                reach = acc_bits - rng.randint(1, acc_bits - 1)  # small values as often as large ones
                acc = rng.randint(-(1 << (reach - 1)), (1 << (reach - 1)) - 1)
                least, most = -(1 << (acc_bits - 1)) - min(acc, 0), (1 << (acc_bits - 1)) - 1 - max(acc, 0)  # no overflow
                bias = rng.randint(least, most) if rng.random() < 0.5 else max(least, min(rng.randint(-100, 100), most))
                m = rng.randrange(1 << rng.randint(1, 16))
                residual = rng.randint(*value_range(facts["residual_bits"], True)) if facts["residual_bits"] else 0
                device.set("acc", acc)
                device.set("bias", bias)
                if device.has("multiplier"):
                    device.set("multiplier", m)
                if device.has("residual"):
                    device.set("residual", previous)  # a residual comes one cycle behind its accumulator
                previous = residual
                value = acc + bias if layer["raw"] else int(constants.compute(
                    np.array([acc + bias]), np.array([m]), np.array([residual]))[0])
                wanted.append((cycle + REQUANTIZER_LATENCY, value))
                await RisingEdge(dut.clk)
                if wanted[0][0] == cycle:
                    expected = wanted.popleft()[1]
                    got = _signed(device.get("result"), write_bits)
                    assert got == _signed(expected & ((1 << write_bits) - 1), write_bits), \
                        f"{device.name}, layer {number}: result must be {expected}, not {got}"
