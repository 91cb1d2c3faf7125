"""The Vivado flow: project scripts for boards with a serial port (Arty A7) and for Zynq boards
(with their processor).
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autonba.boards import Board, Resources
from autonba.bundle import Bundle
from autonba.errors import ToolError
from autonba.pll import mmcme2
from autonba.rtl import Rtl

from . import plan
from .ecp5 import heartbeat_bits
from .tools import Step
from .zynq import ZYNQ, zynq_files


def make_plan(bundle: Bundle, board: Board, rtl: Rtl) -> plan.FlowPlan:
    """Scripts for `board`, one of BOARDS, at the design's clock."""
    clock = bundle.design.target.clock_mhz
    common: dict[str, Any] = {
        "banner": plan.banner(bundle.digest),
        "board": board.name,
        "part": board.part,
        "name": bundle.design.name,
        "sources": rtl.sources,
        "memories": plan.memory_files(rtl),
        "period_ns": f"{1000 / clock:.4f}",
        "clock_mhz": f"{clock:g}",
    }
    return plan.FlowPlan(
        board=board,
        files=_FILES[board.name](bundle, board, rtl, common),
        steps=(
            Step(
                name="build",
                tool="vivado",
                arguments=("-mode", "batch", "-nojournal", "-nolog", "-source", "build.tcl"),
            ),
        ),
    )


def _arty_files(bundle: Bundle, board: Board, rtl: Rtl, common: dict[str, Any]) -> dict[str, str]:
    plan.refuse_streams(bundle)
    clock = bundle.design.target.clock_mhz
    return {
        "board_arty.v": plan.render(
            "board_arty.v.j2",
            "autonba.rtl_templates",
            banner=common["banner"],
            pixel_bits=8 * bundle.design.network.input.channels,
            oscillator_mhz=f"{board.oscillator_mhz:g}",
            oscillator_period_ns=f"{1000 / board.oscillator_mhz:.3f}",
            clock_mhz=common["clock_mhz"],
            pll=mmcme2(board.oscillator_mhz, clock),
            heartbeat_bits=heartbeat_bits(clock),
        ),
        "arty.xdc": plan.render(
            "arty.xdc.j2", oscillator_period_ns=f"{1000 / board.oscillator_mhz:.3f}", **common
        ),
        "build.tcl": plan.render(
            "vivado_serial.tcl.j2",
            front=plan.front_file(bundle, rtl),
            top="board_arty",
            constraints="arty.xdc",
            **common,
        ),
    }


_FILES = {"arty-a7-35t": _arty_files} | dict.fromkeys(
    ZYNQ, zynq_files
)  # a board is here with files of its own
BOARDS = tuple(_FILES)


def read_report(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """What Vivado's reports in `folder` say, as values of report/flow_vivado.json. Out of context
    there is no bit file.
    """
    clock, out = bundle.design.target.clock_mhz, folder / "out"
    slack = worst_slack((out / "timing.rpt").read_text())
    bit = None if bundle.design.target.board in ZYNQ else out / f"{bundle.design.name}.bit"
    return {
        "resources": asdict(utilization((out / "utilization_accelerator.rpt").read_text())),
        "board_resources": asdict(utilization((out / "utilization.rpt").read_text())),
        "clock_mhz": clock,
        "fmax_mhz": round(1000 / (1000 / clock - slack), 3),
        "met": slack >= 0,
        "bitstream": bit and bit.relative_to(bundle.path).as_posix(),
    }


def utilization(text: str) -> Resources:
    """Resources of a `report_utilization` text (7-series or UltraScale+); a 36 Kbit block counts as
    two of 18 Kbit.
    """

    def used(*names: str) -> float:
        for name in names:
            match = re.search(rf"^\|\s*{name}\*?\s*\|\s*([\d.]+)\s*\|", text, re.MULTILINE)
            if match:
                return float(match.group(1))
        raise ToolError(
            f"vivado: its utilization report must hold a row {names[0]!r}, and it does not; see"
            " build.log"
        )

    return Resources(
        lut=int(used("Slice LUTs", "CLB LUTs")),
        ff=int(used("Slice Registers", "CLB Registers")),
        dsp=int(used("DSPs")),
        bram=int(2 * used("Block RAM Tile")),
    )


def worst_slack(text: str) -> float:
    """WNS (ns) of a `report_timing_summary` text."""
    match = re.search(r"^\s*WNS\(ns\).*\n[\s-]*\n\s*(-?[\d.]+)", text, re.MULTILINE)
    if match is None:
        raise ToolError(
            "vivado: its timing report must hold WNS(ns), and it does not; see build.log"
        )
    return float(match.group(1))
