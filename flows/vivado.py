"""The Vivado flow: project scripts and constraints for an Arty A7 (serial port) and an Ultra96-V2 (with its PS)."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autonba.boards import Resources, find_board
from autonba.bundle import Bundle
from autonba.errors import ToolError
from autonba.flows import plan
from autonba.flows.ecp5 import heartbeat_bits
from autonba.flows.pll import mmcme2
from autonba.flows.tools import Step

ARTY, ULTRA96 = "arty-a7-35t", "ultra96-v2"


def make_plan(bundle: Bundle) -> plan.Plan:
    """Scripts for both boards at the design's clock. The steps build the design's own board, else the Arty."""
    design = bundle.design
    clock, banner = design.target.clock_mhz, plan.banner(bundle.digest)
    arty, ultra96 = find_board(ARTY), find_board(ULTRA96)
    names = plan.rtl_files(bundle)
    memories = sorted(path.name for path in (bundle.path / "rtl").glob("*.hex"))
    common: dict[str, Any] = {
        "banner": banner, "name": design.name, "sources": names, "memories": memories,
        "period_ns": f"{1000 / clock:.4f}", "clock_mhz": f"{clock:g}",
    }
    pixel_bits = 8 * design.network.input.channels
    files = {
        "arty/board_arty.v": plan.render(
            "board_arty.v.j2", "autonba.rtl_templates", banner=banner, pixel_bits=pixel_bits,
            oscillator_mhz=f"{arty.oscillator_mhz:g}", oscillator_period_ns=f"{1000 / arty.oscillator_mhz:.3f}",
            clock_mhz=f"{clock:g}", pll=mmcme2(arty.oscillator_mhz, clock), heartbeat_bits=heartbeat_bits(clock)),
        "arty/arty.xdc": plan.render("arty.xdc.j2", banner=banner),
        "arty/build.tcl": plan.render("vivado_arty.tcl.j2", part=arty.part, front=plan.front_file(bundle), **common),
        "ultra96/accelerator.xdc": plan.render("accelerator.xdc.j2", **common),
        "ultra96/build.tcl": plan.render("vivado_ultra96.tcl.j2", part=ultra96.part, **common),
        "ultra96/system.tcl": plan.render("vivado_system.tcl.j2", part=ultra96.part, pixel_bits=pixel_bits, **common),
        "ultra96/package_ip.tcl": plan.render("vivado_ip.tcl.j2", part=ultra96.part, **common),
    }
    folder = "ultra96" if design.target.board == ULTRA96 else "arty"
    return plan.Plan(files=files, steps=(
        Step(name="build", tool="vivado", arguments=("-mode", "batch", "-nojournal", "-nolog", "-source",
                                                    f"{folder}/build.tcl")),))


def read_report(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """What Vivado's reports in `folder` say, as values of report/flow_vivado.json."""
    name = "ultra96" if bundle.design.target.board == ULTRA96 else "arty"
    clock, out = bundle.design.target.clock_mhz, folder / name / "out"
    slack = worst_slack((out / "timing.rpt").read_text())
    return {
        "resources": asdict(utilization((out / "utilization_accelerator.rpt").read_text())),
        "board_resources": asdict(utilization((out / "utilization.rpt").read_text())),
        "clock_mhz": clock,
        "fmax_mhz": round(1000 / (1000 / clock - slack), 3),
        "met": slack >= 0,
        "bitstream": (out / f"{bundle.design.name}{'.dcp' if name == 'ultra96' else '.bit'}")
        .relative_to(bundle.path).as_posix(),
    }


def utilization(text: str) -> Resources:
    """Resources of a `report_utilization` text (7-series or UltraScale+); a 36 Kbit block counts as two of 18 Kbit."""

    def used(*names: str) -> float:
        for name in names:
            match = re.search(rf"^\|\s*{name}\*?\s*\|\s*([\d.]+)\s*\|", text, re.MULTILINE)
            if match:
                return float(match.group(1))
        raise ToolError(f"vivado: its utilization report must hold a row {names[0]!r}, and it does not; see build.log")

    return Resources(lut=int(used("Slice LUTs", "CLB LUTs")), ff=int(used("Slice Registers", "CLB Registers")),
                     dsp=int(used("DSPs")), bram=int(2 * used("Block RAM Tile")))


def worst_slack(text: str) -> float:
    """WNS (ns) of a `report_timing_summary` text."""
    match = re.search(r"^\s*WNS\(ns\).*\n[\s-]*\n\s*(-?[\d.]+)", text, re.MULTILINE)
    if match is None:
        raise ToolError("vivado: its timing report must hold WNS(ns), and it does not; see build.log")
    return float(match.group(1))
