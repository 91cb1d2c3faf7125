"""Runs a flow on a bundle: first the inert plan in flow/<target>/, then its tools, then
report/flow_<target>.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonba.boards import Board, find_board
from autonba.bundle import Bundle, write_json
from autonba.errors import AutonbaError, SpecError, ToolError
from autonba.flows import ecp5, plan, vivado
from autonba.flows.tools import find_tool, run_step, tool_version

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a target can do: the boards that it has scripts for, their plans, and the reading of
    what the tools left.
    """

    boards: tuple[str, ...]
    make_plan: Callable[[Bundle, Board], plan.Plan]
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


def make_plan(bundle: Bundle, target: str) -> plan.Plan:
    """The plan of `target` for the design's own board. Raises SpecError where there are no scripts
    for it.
    """
    if target not in TARGETS:
        raise SpecError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    flow, board = TARGETS[target], find_board(bundle.design.target.board)
    if board.name not in flow.boards:
        others = [f"use --target {other}" for other in targets_of(board.name)] or [
            "use rtl/ in a project of your own"
        ]
        raise SpecError(
            f"target {target!r}: the design's board must be one with scripts,"
            f" {' or '.join(flow.boards)}, not {board.name!r}; {others[0]}, or search again with"
            f" --board {flow.boards[0]}"
        )
    return flow.make_plan(bundle, board)


def prepare(bundle: Bundle, target: str) -> Path:
    """Write flow/<target>/ and return it; no tool is run or needed. Nothing is written if anything
    is wrong.
    """
    planned = make_plan(bundle, target)
    folder = bundle.path / "flow" / target
    planned.write(folder, bundle.digest)
    return folder


def execute(bundle: Bundle, target: str, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Prepare and run the flow; returns and writes report/flow_<target>.json.

    A missing tool is reported before the first step runs; without Vivado, target 'vivado' ends with
    its scripts, and the report's figures are null. A design that misses its clock has `met` false,
    and its bit file, if there is one, is named so.
    """
    folder = prepare(bundle, target)
    steps = plan.read_steps(folder)
    board = find_board(bundle.design.target.board)
    facts: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "target": target,
        "board": board.name,
        "part": board.part,
        "digest": bundle.digest,
        "clock_mhz": bundle.design.target.clock_mhz,
    }
    path = bundle.path / "report" / f"flow_{target}.json"
    for tool in dict.fromkeys(step.tool for step in steps):
        try:
            find_tool(tool)
        except ToolError as error:
            if target == "vivado":
                say(f"{error}; then run {folder / 'run.sh'}")
                facts |= {"fmax_mhz": None, "met": None, "bitstream": None, "resources": None}
                write_json(path, facts)
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
    write_json(path, report)
    return report


def main() -> int:
    """`python -m autonba.flows.run BUNDLE --target ecp5 [--plan-only]`."""
    parser = argparse.ArgumentParser(prog="autonba.flows.run", description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--target", choices=TARGETS, required=True)
    parser.add_argument(
        "--plan-only", action="store_true", help="write the scripts and run nothing"
    )
    options = parser.parse_args()
    try:
        if options.plan_only:
            print(prepare(Bundle(options.bundle), options.target))
            return 0
        report = execute(
            Bundle(options.bundle), options.target, say=lambda line: print(line, flush=True)
        )
    except AutonbaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if report["fmax_mhz"] is None:
        return 0
    used, verdict = report["resources"], "met" if report["met"] else "NOT met"
    result = report["bitstream"] or f"flow/{report['target']}"
    print(
        f"{report['target']}, {report['board']} ({report['part']}): {used['lut']} LUT, {used['ff']}"
        f" FF, {used['dsp']} DSP, {used['bram']} block RAM; {report['fmax_mhz']:.1f} MHz of"
        f" {report['clock_mhz']:g} MHz wanted ({verdict}); {options.bundle / result}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
