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
    """Settings.runs names the images of the run and the one after which counting begins; AUTONBA_COUNTS the file for counts."""
    bench = await Bench.start(dut)
    images, begin = bench.settings.runs
    chunks = await bench.read(Register.CHUNKS)
    dut.log_run.value = 1
    bench.send(range(images))

    async def snapshot() -> dict[str, Any]:
        return {"cycle": int(get_sim_time("ns")) // PERIOD_NS,
                "busy": [await bench.read(Register.CHUNK_BUSY + 4 * number) for number in range(chunks)]}

    first = await snapshot()
    for number in range(images):
        await bench.expect([bench.logits[number % len(bench.images)]], f"image {number}")
        if number + 1 == begin:
            first = await snapshot()
    last = await snapshot()
    await bench.finish()
    Path(os.environ["AUTONBA_COUNTS"]).write_text(json.dumps({"first": first, "last": last}))
