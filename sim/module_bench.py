"""cocotb benches of row buffers, row tokens, multiplier arrays and requantizers, each against its
twin in Python.
"""

from __future__ import annotations

import json
import os
import random
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from autonba.accelerator import Multiplier
from autonba.arithmetic import Requantization, value_range
from autonba.pipeline import (
    MULTIPLY_STAGES,
    REQUANTIZE_STAGES,
    REQUANTIZER_INPUT_STAGE,
    tree_stages,
)

CYCLES = 400  # of random stimulus for each device


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
        bits, lanes, writers, readers = (
            p["LANE_BITS"],
            p["LANES"],
            p["WRITE_LANES"],
            p["READ_LANES"],
        )
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
                assert got == _pack(wanted, bits), (
                    f"{device.name}, read {cycle}: read_data must be {_pack(wanted, bits):#x}, not"
                    f" {got:#x}"
                )
            wanted = model[read * readers : (read + 1) * readers]
            if enable:
                model[write * writers : (write + 1) * writers] = data


@cocotb.test()
async def row_tokens(dut: Any) -> None:
    """Random amounts claimed, committed and released within the rules; free and available follow, a
    cycle later.
    """
    devices, rng = await _start(dut)
    for device in (d for d in devices if d.module == "row_tokens"):
        rows = device.parameters["ROWS"]
        free, claimed, available, taken = rows, 0, 0, 0
        for cycle in range(CYCLES):
            claim, commit = rng.randint(0, free), rng.randint(0, claimed)
            read, release = rng.randint(0, available), rng.randint(0, taken)
            for port, value in (
                ("claim_write", claim),
                ("commit", commit),
                ("claim_read", read),
                ("release_read", release),
            ):
                device.set(port, value)
            await RisingEdge(dut.clk)
            got = device.get("free"), device.get("available")
            assert got == (free, available), (
                f"{device.name}, cycle {cycle}: free, available must be {(free, available)}, not"
                f" {got}"
            )
            free += release - claim
            claimed += claim - commit
            available += commit - read
            taken += read - release
        for port in ("claim_write", "commit", "claim_read", "release_read"):
            device.set(port, 0)


@cocotb.test()
async def mac_array(dut: Any) -> None:
    """Random blocks with gaps: the drained sums or maxima are exact, in the documented cycles."""
    devices, rng = await _start(dut)
    arrays = [device for device in devices if device.module == "mac_array"]
    tasks = [
        cocotb.start_soon(_compare_array(dut, device, random.Random(rng.getrandbits(32))))
        for device in arrays
    ]
    for task in tasks:
        await task


async def _compare_array(dut: Any, device: Device, rng: random.Random) -> None:
    p = device.parameters
    lanes, columns, terms, drains = p["OUT_LANES"], p["COLUMNS"], p["TERMS"], p["DRAIN_LANES"]
    groups = lanes * columns // drains
    multiplier: Multiplier = ("lut", "dsp", "packed")[p["MULTIPLIER"]]
    stages = (
        1 + MULTIPLY_STAGES[multiplier] + tree_stages(terms)
    )  # from the ports to the accumulators
    weight_range, input_range = (
        value_range(p["WEIGHT_BITS"], True),
        value_range(p["INPUT_BITS"], multiplier != "packed"),
    )
    noise = np.random.default_rng(rng.getrandbits(32))
    wanted: deque[tuple[int, int]] = deque()  # (cycle, drained word)
    done: deque[int] = deque()
    totals = np.zeros((columns, lanes), dtype=np.int64)
    left, since_last, fresh, maximum = 0, groups, True, False
    for cycle in range(CYCLES + 2 * groups + stages + 10):
        ending = cycle >= CYCLES
        if left == 0 and not ending:
            left = max(
                rng.randint(1, 6), groups - since_last
            )  # a block is never shorter than the drain before it
            fresh, maximum = True, p["MAXIMUM"] == 1 and rng.random() < 0.5
        beat = left > 0 and (ending or rng.random() < 0.8)
        weights_LT = _operands(noise, weight_range, (lanes, terms))
        inputs_CLT = _operands(
            noise, input_range, (columns, 1 if p["SHARED"] == 1 else lanes, terms)
        )
        last = beat and left == 1
        device.set("weights", _pack(weights_LT.ravel().tolist(), p["WEIGHT_BITS"]))
        device.set("inputs", _pack(inputs_CLT.ravel().tolist(), p["INPUT_BITS"]))
        for port, value in (
            ("beat_valid", beat),
            ("beat_first", beat and fresh),
            ("beat_last", last),
            ("beat_maximum", maximum),
        ):
            device.set(port, int(value))
        since_last += 1
        if beat:
            if maximum:
                values = inputs_CLT[:, :, 0]
                totals = values if fresh else np.maximum(totals, values)
            else:
                totals = (0 if fresh else totals) + (weights_LT * inputs_CLT).sum(axis=2)
            fresh = False
            left -= 1
        if last:
            since_last = 0
            done.append(cycle + stages - 1)
            drained = totals.reshape(groups, drains).tolist()
            wanted.extend(
                (cycle + stages + 1 + i, _pack(group, p["ACC_BITS"]))
                for i, group in enumerate(drained)
            )
        await RisingEdge(dut.clk)
        expected = bool(done) and done[0] == cycle
        assert bool(device.get("block_done")) == expected, (
            f"{device.name}, cycle {cycle}: block_done must be {int(expected)}"
        )
        if expected:
            done.popleft()
        if wanted and wanted[0][0] == cycle:
            word = wanted.popleft()[1]
            got = device.get("drain")
            assert got == word, (
                f"{device.name}, cycle {cycle}: drain must be {word:#x}, not {got:#x}"
            )
    assert not wanted, (
        f"{device.name}: every block must be drained, and {len(wanted)} groups were not"
    )
    assert not done, f"{device.name}: every block must be announced, and {len(done)} were not"


def _operands(
    noise: np.random.Generator, reach: tuple[int, int], shape: tuple[int, ...]
) -> npt.NDArray[np.int64]:
    """Random numbers, a quarter of them the smallest or the largest."""
    low, high = reach
    values = noise.integers(low, high + 1, shape)
    return np.where(noise.random(shape) < 0.25, noise.choice([low, high], shape), values)


@cocotb.test()
async def requantizer(dut: Any) -> None:
    """Each layer's constants, a value a cycle: results as `autonba.arithmetic` defines them, in the
    documented cycle.
    """
    devices, rng = await _start(dut)
    for device in (d for d in devices if d.module.startswith("requantize_")):
        facts = device.facts
        acc_bits, write_bits = facts["acc_bits"], facts["write_bits"]
        for number, layer in enumerate(facts["layers"]):
            constants = Requantization(
                shift=layer["shift"],
                residual_multiplier=layer["residual_multiplier"],
                bits=layer["bits"],
                signed=layer["signed"],
            )
            low, high = (0, 0) if layer["raw"] else value_range(layer["bits"], layer["signed"])
            fixed = {
                "half": 0 if layer["raw"] else constants.half,
                "low": low,
                "high": high,
                "raw": int(layer["raw"]),
                "shift": 0 if layer["raw"] else layer["shift"] - facts["least_shift"],
                "residual_multiplier": layer["residual_multiplier"],
            }
            for port, value in fixed.items():
                if device.has(port):
                    device.set(port, value)
            wanted: deque[tuple[int, int]] = deque()
            coming: deque[dict[str, int]] = deque(
                [{}] * REQUANTIZE_STAGES, maxlen=REQUANTIZE_STAGES
            )  # latest first
            for cycle in range(60 + REQUANTIZE_STAGES):
                reach = acc_bits - rng.randint(
                    1, acc_bits - 1
                )  # small values as often as large ones
                acc = rng.randint(-(1 << (reach - 1)), (1 << (reach - 1)) - 1)
                least, most = (
                    -(1 << (acc_bits - 1)) - min(acc, 0),
                    (1 << (acc_bits - 1)) - 1 - max(acc, 0),
                )  # no overflow
                bias = (
                    rng.randint(least, most)
                    if rng.random() < 0.5
                    else max(least, min(rng.randint(-100, 100), most))
                )
                m = rng.randrange(1 << rng.randint(1, 16))
                residual = (
                    rng.randint(*value_range(facts["residual_bits"], True))
                    if facts["residual_bits"]
                    else 0
                )
                coming.appendleft({"acc": acc, "bias": bias, "multiplier": m, "residual": residual})
                for port in ("acc", "bias", "multiplier", "residual"):
                    if device.has(port):
                        device.set(port, coming[REQUANTIZER_INPUT_STAGE[port]].get(port, 0))
                value = (
                    acc + bias
                    if layer["raw"]
                    else int(
                        constants.compute(
                            np.array([acc + bias]), np.array([m]), np.array([residual])
                        )[0]
                    )
                )
                wanted.append((cycle + REQUANTIZE_STAGES, value))
                await RisingEdge(dut.clk)
                if wanted[0][0] == cycle:
                    expected = wanted.popleft()[1]
                    got = _signed(device.get("result"), write_bits)
                    assert got == _signed(expected & ((1 << write_bits) - 1), write_bits), (
                        f"{device.name}, layer {number}: result must be {expected}, not {got}"
                    )
