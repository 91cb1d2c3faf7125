"""The ECP5 flow: Yosys, nextpnr-ecp5 and ecppack, to a bit file for the ULX3S."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from autonba.boards import Board, Resources
from autonba.bundle import Bundle
from autonba.errors import SpecError, ToolError
from autonba.files import read_json
from autonba.pll import ehxplll
from autonba.rtl import Rtl

from . import plan
from .tools import Step

BOARDS = ("ulx3s-85f",)
SEED = 1
_PART = re.compile(r"LFE5U-(?P<size>\d+)F-(?P<speed>\d)BG(?P<balls>\d+)[CI]")


def make_plan(bundle: Bundle, board: Board, rtl: Rtl) -> plan.FlowPlan:
    """Scripts and steps for `board`, one of BOARDS, at the design's clock."""
    plan.refuse_streams(bundle)
    design, clock = bundle.design, bundle.design.target.clock_mhz
    banner, name = plan.banner(bundle.digest), design.name
    sources = [f"../../rtl/{file}" for file in rtl.sources]
    front = f"../../rtl/{plan.front_file(bundle, rtl)}"
    pixel_bits = 8 * design.network.input.channels
    synthesis = "synthesis.ys.j2"
    files = {
        "accelerator.ys": plan.render(
            synthesis,
            banner=banner,
            purpose="The accelerator alone: its resources, and its netlist for simulation.",
            sources=sources,
            top="accelerator",
            json=None,
            statistics="accelerator_stat.json",
            netlist="accelerator_netlist.v",
        ),
        "board.ys": plan.render(
            synthesis,
            banner=banner,
            purpose="The whole board.",
            sources=[*sources, front, "board_ulx3s.v"],
            top="board_ulx3s",
            json="board.json",
            statistics="board_stat.json",
            netlist=None,
        ),
        "board_ulx3s.v": plan.render(
            "board_ulx3s.v.j2",
            "autonba.rtl_templates",
            banner=banner,
            pixel_bits=pixel_bits,
            oscillator_mhz=f"{board.oscillator_mhz:g}",
            clock_mhz=f"{clock:g}",
            pll=ehxplll(board.oscillator_mhz, clock),
            heartbeat_bits=heartbeat_bits(clock),
        ),
        "ulx3s.lpf": plan.render("ulx3s.lpf.j2", banner=banner),
        "ecp5_cells.v": resources.files("autonba.flows").joinpath("ecp5_cells.v").read_text(),
    }
    steps = (
        Step(name="synthesis_accelerator", tool="yosys", arguments=("-s", "accelerator.ys")),
        Step(name="synthesis_board", tool="yosys", arguments=("-s", "board.ys")),
        Step(
            name="place_and_route",
            tool="nextpnr-ecp5",
            arguments=(
                *device_arguments(board.part),
                "--freq",
                f"{clock:g}",
                "--seed",
                str(SEED),
                "--timing-allow-fail",
                "--json",
                "board.json",
                "--lpf",
                "ulx3s.lpf",
                "--textcfg",
                "board.config",
                "--report",
                "place_and_route.json",
            ),
        ),
        Step(
            name="pack",
            tool="ecppack",
            arguments=("--compress", "--input", "board.config", "--bit", f"{name}.bit"),
        ),
    )
    return plan.FlowPlan(board=board, files=files, steps=steps)


def device_arguments(part: str) -> tuple[str, ...]:
    """Arguments that name `part`, as LFE5U-85F-6BG381C, to nextpnr-ecp5."""
    match = _PART.fullmatch(part)
    if match is None:
        raise SpecError(
            f"board: part must be an LFE5U in a ball grid, as LFE5U-85F-6BG381C, not {part!r}"
        )
    return f"--{match['size']}k", "--package", f"CABGA{match['balls']}", "--speed", match["speed"]


def heartbeat_bits(clock_mhz: float) -> int:
    """Width of a counter that wraps about once a second."""
    return max(1, round(clock_mhz * 1e6).bit_length())


def read_report(bundle: Bundle, folder: Path) -> dict[str, Any]:
    """What the finished tools of `folder` say, as values of report/flow_ecp5.json."""
    clock = bundle.design.target.clock_mhz
    routed = read_json(folder / "place_and_route.json")
    fmax = clock_fmax(routed)
    bit = folder / f"{bundle.design.name}.bit"
    return {
        "resources": asdict(
            synthesized_resources(read_statistics(folder / "accelerator_stat.json"))
        ),
        "cells": read_statistics(folder / "accelerator_stat.json"),
        "board_resources": asdict(placed_resources(routed)),
        "fmax_mhz": round(fmax, 3),
        "clock_mhz": clock,
        "met": fmax >= clock,
        "bitstream": bit.relative_to(bundle.path).as_posix(),
        "netlist": (folder / "accelerator_netlist.v").relative_to(bundle.path).as_posix(),
        "netlist_cells": (folder / "ecp5_cells.v").relative_to(bundle.path).as_posix(),
        "critical_path": critical_path(routed),
    }


def read_statistics(path: Path) -> dict[str, int]:
    """Cell counts by type of the one module in a `stat -json` file."""
    text = path.read_text()
    try:
        modules: dict[str, Any] = json.loads(text[text.index("{") :])["modules"]
        (module,) = modules.values()
        return {
            name: int(count)
            for name, count in sorted(module["num_cells_by_type"].items())
            if name[0] != "$"
        }
    except (ValueError, KeyError, AttributeError) as error:
        raise ToolError(
            f"yosys: {path} must hold the cell counts of one module ({error}); run the flow again"
        ) from None


def synthesized_resources(cells: dict[str, int]) -> Resources:
    """Resources of ECP5 cells, LUTs counted as nextpnr counts TRELLIS_COMB: a carry cell is two, a
    16x4 memory four.
    """
    return Resources(
        lut=cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0) + 4 * cells.get("TRELLIS_DPR16X4", 0),
        ff=cells.get("TRELLIS_FF", 0),
        dsp=cells.get("MULT18X18D", 0),
        bram=cells.get("DP16KD", 0),
    )


def placed_resources(report: dict[str, Any]) -> Resources:
    """Resources of the placed board, from nextpnr's report."""
    used = {name: int(entry["used"]) for name, entry in report["utilization"].items()}
    return Resources(
        lut=used.get("TRELLIS_COMB", 0),
        ff=used.get("TRELLIS_FF", 0),
        dsp=used.get("MULT18X18D", 0),
        bram=used.get("DP16KD", 0),
    )


def clock_fmax(report: dict[str, Any]) -> float:
    """Highest frequency (MHz) of the slowest clock net, from nextpnr's report."""
    achieved = [float(entry["achieved"]) for entry in report.get("fmax", {}).values()]
    if not achieved:
        raise ToolError(
            "nextpnr-ecp5: its report must hold the frequency of at least one clock, and it holds"
            " none; see place_and_route.log"
        )
    return min(achieved)


def critical_path(report: dict[str, Any]) -> list[str]:
    """The slowest path within one clock: a line for each delay (ns) from 0.3, and the sum of the
    small ones between.
    """
    inside = [p for p in report.get("critical_paths", ()) if p["from"] == p["to"]]
    if not inside:
        return []
    path = max(inside, key=lambda p: sum(step["delay"] for step in p["path"]))["path"]
    lines = [f"{sum(step['delay'] for step in path):.2f} ns in all, {len(path)} steps"]
    small = 0.0
    for step in path:
        if step["delay"] < 0.3:
            small += step["delay"]
            continue
        if small:
            lines.append(f"{small:.2f} small steps")
            small = 0.0
        lines.append(
            f"{step['delay']:.2f} {step['type']} to {step['to']['cell']}.{step['to']['port']}"
        )
    return lines
