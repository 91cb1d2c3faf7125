"""cocotb bench: a pseudo-terminal joined to the pins of the simulated board; the host program runs
against it unchanged.
"""

from __future__ import annotations

import os
import threading
import tty
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from autonba.bundle import Bundle
from autonba.flows.host import run_images

PERIOD_NS = 10
BIT_NS = PERIOD_NS * int(os.environ.get("LINE_DIVISOR", "8"))


@cocotb.test
async def host_runs_images_over_the_line(dut: object) -> None:
    """Golden images through the line; LINE_DROP names a byte of the requests that the line
    loses.
    """
    bundle, drop = Bundle(Path(os.environ["LINE_BUNDLE"])), int(os.environ.get("LINE_DROP", "-1"))
    images = bundle.golden["images"]
    wanted = bundle.golden[bundle.design.network.layers[-1].name].reshape(len(images), -1)
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)

    dut.line_in.value = 1
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, PERIOD_NS, unit="ns").start())
    await Timer(20 * PERIOD_NS, unit="ns")
    dut.rst.value = 0

    async def to_terminal() -> None:
        while True:
            await FallingEdge(dut.line_out)
            await Timer(BIT_NS // 2, unit="ns")
            byte = 0
            for i in range(8):
                await Timer(BIT_NS, unit="ns")
                byte |= int(dut.line_out.value) << i
            await Timer(BIT_NS, unit="ns")
            assert int(dut.line_out.value) == 1, "stop bit"
            os.write(master, bytes([byte]))

    outcome: list[np.ndarray | Exception] = []

    def host() -> None:
        try:
            outcome.append(run_images(os.ttyname(slave), images, bundle.digest))
        except Exception as error:  # shown by the bench, which runs in another thread
            outcome.append(error)

    cocotb.start_soon(to_terminal())
    thread = threading.Thread(target=host, daemon=True)
    thread.start()
    count = 0
    while thread.is_alive():
        try:
            data = os.read(master, 4096)
        except BlockingIOError:
            data = b""
            await Timer(4 * BIT_NS, unit="ns")
        for byte in data:
            count += 1
            if count - 1 == drop:
                continue
            for bit in (0, *((byte >> i) & 1 for i in range(8)), 1):
                dut.line_in.value = bit
                await Timer(BIT_NS, unit="ns")
    (result,) = outcome
    if isinstance(result, Exception):
        raise result
    assert np.array_equal(result, wanted), f"{result.tolist()}, not {wanted.tolist()}"
    size = images[0].size
    once = 3 + len(images) * (size + 3)
    assert count == (once if drop < 0 else once + size + 3), (
        f"{count} bytes of requests: the host repeated wrongly"
    )
    os.close(slave)
    os.close(master)
