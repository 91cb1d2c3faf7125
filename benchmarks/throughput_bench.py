"""cocotb bench that runs images back to back, compares every result, and reads the busy counters of the chunks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.utils import get_sim_time

from autonba.registers import Register
from autonba.sim.network_bench import PERIOD_NS, Bench


@cocotb.test()
async def throughput(dut: Any) -> None:
    """Settings.runs: images of the run, and those after which counting begins and ends; AUTONBA_COUNTS: file for the counts."""
    bench = await Bench.start(dut)
    images, begin, end = bench.settings.runs
    chunks = await bench.read(Register.CHUNKS)
    dut.log_run.value = 1
    bench.send(range(images))

    async def snapshot() -> dict[str, Any]:
        return {"cycle": int(get_sim_time("ns")) // PERIOD_NS,
                "busy": [await bench.read(Register.CHUNK_BUSY + 4 * number) for number in range(chunks)]}

    counts = []
    for number in range(images):
        await bench.expect([bench.logits[number % len(bench.images)]], f"image {number}")
        if number + 1 in (begin, end):
            counts.append(await snapshot())
    await bench.finish()
    Path(os.environ["AUTONBA_COUNTS"]).write_text(json.dumps(counts))
