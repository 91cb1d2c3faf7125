"""cocotb bench that runs images back to back, compares every result, and reads the busy counters of
the chunks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb

from autonba.registers import Register
from autonba.sim.network_bench import Bench


@cocotb.test()
async def throughput(dut: Any) -> None:
    """BenchSettings.runs: images of the run; AUTONBA_COUNTS: file for each chunk's busy cycles."""
    bench = await Bench.start(dut)
    (images,) = bench.settings.runs
    chunks = await bench.read(Register.CHUNKS)
    dut.log_run.value = 1
    bench.send(range(images))
    for number in range(images):
        await bench.expect([bench.logits[number % len(bench.images)]], f"image {number}")
    await bench.finish()
    counts = [await bench.read(Register.CHUNK_BUSY + 4 * number) for number in range(chunks)]
    Path(os.environ["AUTONBA_COUNTS"]).write_text(json.dumps(counts))
