"""cocotb bench of loading: an accelerator takes the weights of another bundle and then computes
that bundle's results.
"""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import ClockCycles

from autonba.mapping import plan
from autonba.registers import Register
from autonba.weight_load import load_targets, load_writes

from .network_bench import RUN, Bench


@cocotb.test()
async def load(dut: Any) -> None:
    """Data are refused while the accelerator runs; after loading, checksum and results are those of
    the bundle's weights.
    """
    bench = await Bench.start(dut)
    mapped = plan(bench.network, bench.bundle.design.accelerator, bench.bundle.weights)
    writes, checksum = load_writes(mapped, bench.bundle.weights)
    assert await bench.read(Register.LOAD_TARGETS) == len(load_targets(mapped)), (
        "LOAD_TARGETS must count the memories"
    )
    for offset, value in writes[:20]:
        await bench.write(offset, value)
    assert await bench.read(Register.LOAD_CHECKSUM) == 0, (
        "data that come while the accelerator runs must be refused"
    )
    await bench.write(Register.CONTROL, 0)
    for offset, value in writes:
        await bench.write(offset, value)
    got = await bench.read(Register.LOAD_CHECKSUM)
    assert got == checksum, f"LOAD_CHECKSUM must be {checksum:#010x}, not {got:#010x}"
    await bench.write(Register.CONTROL, RUN)
    await ClockCycles(dut.clk, 5)
    await bench.exchange(range(len(bench.images)), "images after loading")
    await bench.finish()
