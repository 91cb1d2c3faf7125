"""Runs a flow on a bundle: first the inert plan in flow/<target>/, then its tools, then
report/flow_<target>.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonba.boards import Board, check_clock, find_board
from autonba.bundle import Bundle
from autonba.errors import SpecError, ToolError
from autonba.files import inside, refuse_links, working
from autonba.rtl import Rtl, trusted

from . import ecp5, plan, vivado
from .tools import Step, find_tool, run_step, tool_version

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a target can do: the boards that it has scripts for, their plans, and the reading of
    what the tools left.
    """

    boards: tuple[str, ...]
    make_plan: Callable[[Bundle, Board, Rtl], plan.FlowPlan]
    read_report: Callable[[Bundle, Path], dict[str, Any]]


TARGETS = {
    "ecp5": Flow(boards=ecp5.BOARDS, make_plan=ecp5.make_plan, read_report=ecp5.read_report),
    "vivado": Flow(
        boards=vivado.BOARDS, make_plan=vivado.make_plan, read_report=vivado.read_report
    ),
}


def targets_of(board: str) -> list[str]:
    """Targets with scripts for the board called `board`."""
    return [target for target, flow in TARGETS.items() if board in flow.boards]


def make_plan(bundle: Bundle, target: str, rtl: Rtl | None = None) -> plan.FlowPlan:
    """The plan of `target` for the design's own board. Raises SpecError where there are no scripts
    for it.
    """
    if target not in TARGETS:
        raise SpecError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    flow, board = TARGETS[target], find_board(bundle.design.target.board)
    check_clock(board, bundle.design.target.clock_mhz)
    if board.name not in flow.boards:
        others = [f"use --target {other}" for other in targets_of(board.name)] or [
            "use rtl/ in a project of your own"
        ]
        raise SpecError(
            f"target {target!r}: the design's board must be one with scripts,"
            f" {' or '.join(flow.boards)}, not {board.name!r}; {others[0]}, or search again with"
            f" --board {flow.boards[0]}"
        )
    return flow.make_plan(bundle, board, rtl or trusted(bundle))


def prepare(bundle: Bundle, target: str, rtl: Rtl | None = None) -> Path:
    """Write flow/<target>/ for the Verilog `rtl`, that of rtl/ by default, and return it; no tool
    is run or needed. Nothing is written if anything is wrong.
    """
    with working(bundle.path) as work:
        make_plan(bundle, target, rtl).write(work, target, bundle.digest)
    return bundle.path / "flow" / target


def execute(
    bundle: Bundle, target: str, say: Callable[[str], None] = print, rtl: Rtl | None = None
) -> dict[str, Any]:
    """Prepare and run the flow; returns and writes report/flow_<target>.json.

    A missing tool is reported before the first step runs; without Vivado, target 'vivado' ends with
    its scripts, and the report's figures are null. A design that misses its clock has `met` false,
    and its bit file, if there is one, is named so.
    """
    planned = make_plan(bundle, target, rtl)
    with working(bundle.path) as work:
        folder = inside(bundle.path, f"flow/{target}")
        refuse_links(folder)  # tools write here
        planned.write(work, target, bundle.digest)
        report = _execute(bundle, target, planned.steps, folder, say)
        work.write_json(f"report/flow_{target}.json", report)
    return report


def _execute(
    bundle: Bundle, target: str, steps: Sequence[Step], folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    board = find_board(bundle.design.target.board)
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "target": target,
        "board": board.name,
        "part": board.part,
        "digest": bundle.digest,
        "clock_mhz": bundle.design.target.clock_mhz,
    }
    for tool in dict.fromkeys(step.tool for step in steps):
        try:
            find_tool(tool)
        except ToolError as error:
            if target == "vivado":
                say(f"{error}; then run {folder / 'run.sh'}")
                facts |= {"fmax_mhz": None, "met": None, "bitstream": None, "resources": None}
                return facts
            raise ToolError(f"{error}; the scripts are in {folder}") from None
    seconds = {}
    for number, step in enumerate(steps, 1):
        say(
            f"[{number}/{len(steps)}] {step.name} ({step.tool}), log"
            f" {folder / (step.name + '.log')}"
        )
        seconds[step.name] = round(run_step(step, folder), 1)
    tools = {tool: tool_version(tool) for tool in dict.fromkeys(step.tool for step in steps)}
    report = (
        facts | {"seconds": seconds, "tools": tools} | TARGETS[target].read_report(bundle, folder)
    )
    if report["bitstream"] and not report["met"]:
        bit = bundle.path / report["bitstream"]
        report["bitstream"] = f"{report['bitstream'].removesuffix('.bit')}.timing-failed.bit"
        bit.replace(bundle.path / report["bitstream"])
    return report
