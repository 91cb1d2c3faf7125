"""The host program: against a software board, and through a pseudo-terminal against the simulated
one.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import small_design

from autonba.errors import DataError, ToolError
from autonba.flows.host import Board, pixel_bytes, run_images
from autonba.flows.plan import render
from autonba.hwgen.generate import generate
from autonba.hwgen.uart import UartFront
from autonba.hwgen.verilog import emit
from autonba.rtl import trusted
from autonba.uart_frame import (
    BAD_CRC,
    IDENTIFY,
    IMAGE,
    REPLY,
    REQUEST,
    TIMEOUT,
    Identity,
    crc8,
    frame,
)

BOARD = Identity(digest=bytes(range(8)), height=2, width=3, channels=1, classes=2)


class SoftwareBoard:
    """Answers as the hardware does; `faults` are replies sent instead, one a request."""

    def __init__(self, faults: list[bytes] | None = None) -> None:
        self.faults, self.out, self.images = list(faults or ()), b"", []

    def write(self, data: bytes) -> None:
        assert data[0] == REQUEST
        assert data[-1] == crc8(data[1:-1])
        if self.faults:
            self.out += self.faults.pop(0)
        elif data[1] == IDENTIFY:
            self.out += frame(REPLY, IDENTIFY, BOARD.pack())
        else:
            self.images.append(data[2:-1])
            self.out += frame(REPLY, IMAGE, struct.pack("<2i", -sum(data[2:-1]), len(self.images)))

    def read(self, size: int = 1) -> bytes:
        data, self.out = self.out[:size], self.out[size:]
        return data


IMAGES = np.arange(12).reshape(2, 1, 2, 3)


def test_images_go_out_and_results_come_back() -> None:
    board = SoftwareBoard()
    assert Board(board).run(IMAGES, "0001020304050607ffff").tolist() == [[-15, 1], [-51, 2]]
    assert board.images == [bytes(range(6)), bytes(range(6, 12))]


def test_pixels_are_sent_row_by_row_with_channels_together() -> None:
    image_CHW = np.array([[[1, 2], [3, 4]], [[-1, -2], [-3, -4]]])
    assert pixel_bytes(image_CHW) == bytes([1, 255, 2, 254, 3, 253, 4, 252])


@pytest.mark.parametrize(
    "fault",
    [
        b"",
        frame(REPLY, TIMEOUT),
        frame(REPLY, BAD_CRC),
        b"\x00\x5a",
        frame(REPLY, IMAGE, b"12345678")[:-1] + b"\x00",
    ],
)
def test_a_fault_on_the_line_is_repeated(fault: bytes) -> None:
    board = Board(SoftwareBoard())
    board.identify()
    line = SoftwareBoard([fault])
    board._line = line
    assert board.result(bytes(6), 2) == (0, 1)


def test_a_dead_line_is_given_up() -> None:
    with pytest.raises(
        DataError, match="it must answer within 5 s, and nothing came back 3 times; check the cable"
    ):
        Board(SoftwareBoard([b""] * 3)).identify()


def test_another_design_is_refused() -> None:
    with pytest.raises(
        DataError, match="its design must be ffffffffffffffff, the bundle's, not 0001020304050607"
    ):
        Board(SoftwareBoard()).run(IMAGES, "f" * 64)


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(N, 1, 2, 3\) for this board, not \(2, 1, 3, 2\)"):
        Board(SoftwareBoard()).run(IMAGES.reshape(2, 1, 3, 2))


def test_a_port_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="must be there and free"):
        run_images(str(tmp_path / "ttyUSB9"), IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("drop", [-1, 30])
def test_host_through_a_pseudo_terminal(tmp_path: Path, drop: int) -> None:
    """The host program, a pseudo-terminal, the serial front and the accelerator: golden results,
    also with a byte lost.
    """
    from cocotb_tools.runner import get_results, get_runner

    divisor = 8
    bundle = small_design.write(tmp_path / "build", images=2)
    generate(bundle)
    front = UartFront(
        Identity.of(bundle.design, bundle.digest), divisor=divisor, timeout=100 * divisor
    )
    (tmp_path / "uart_front.v").write_text(emit({"uart_front": front})["uart_front"])
    core = render("board_core.v.j2", "autonba.rtl_templates", pixel_bits=16)
    (tmp_path / "line_top.v").write_text(
        "`timescale 1ns / 1ps\nmodule line_top (input wire clk, input wire rst, input wire line_in,"
        " output wire line_out);\n"
        + core
        + "    assign uart_rx = line_in;\n    assign line_out = uart_tx;\nendmodule\n"
    )
    rtl = bundle.path / "rtl"
    work = tmp_path / "sim"
    work.mkdir()
    for memory in rtl.glob("*.hex"):
        (work / memory.name).write_bytes(memory.read_bytes())
    runner = get_runner("icarus")
    runner.build(
        sources=[
            tmp_path / "line_top.v",
            tmp_path / "uart_front.v",
            *(rtl / name for name in trusted(bundle).sources),
        ],
        hdl_toplevel="line_top",
        build_dir=work,
        build_args=["-g2005-sv"],
        timescale=("1ns", "1ps"),
    )
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *(p for p in sys.path if p)])
    results = runner.test(
        hdl_toplevel="line_top",
        test_module="line_bench",
        build_dir=work,
        test_dir=work,
        timescale=("1ns", "1ps"),
        extra_env={
            "LINE_BUNDLE": str(bundle.path),
            "LINE_DIVISOR": str(divisor),
            "LINE_DROP": str(drop),
            "PYTHONPATH": path,
        },
    )
    assert get_results(results) == (1, 0)
