"""Runs a flow on a bundle: first the inert plan in flow/<target>/, then its tools, then report/flow_<target>.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autonba.bundle import Bundle, write_json
from autonba.errors import AutonbaError, SpecError, ToolError
from autonba.flows import ecp5, plan, vivado
from autonba.flows.tools import find_tool, run_step, tool_version

SCHEMA_VERSION = 1
TARGETS = ("ecp5", "vivado")


def prepare(bundle: Bundle, target: str) -> Path:
    """Write flow/<target>/ and return it; no tool is run or needed."""
    if target not in TARGETS:
        raise SpecError(f"target must be one of {', '.join(TARGETS)}, not {target!r}")
    streamed = [layer for layer, loops in bundle.design.accelerator.loops.items() if loops.weights == "stream"]
    if streamed:
        raise SpecError(f"layer {streamed[0]!r}: loops.weights must be 'chip' for target {target!r}, whose board project has no "
                        "DRAM behind AXI4, not 'stream'; use rtl/ in a project of your own")
    planned = ecp5.make_plan(bundle) if target == "ecp5" else vivado.make_plan(bundle)
    folder = bundle.path / "flow" / target
    planned.write(folder, bundle.digest)
    return folder


def execute(bundle: Bundle, target: str, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Prepare and run the flow; returns and writes report/flow_<target>.json.

    A missing tool is reported before the first step runs; without Vivado, target 'vivado' ends with its scripts, and
    the report's figures are null. A design that misses its clock has `met` false, and its bit file is named so.
    """
    folder = prepare(bundle, target)
    steps = plan.read_steps(folder)
    facts: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "target": target, "board": bundle.design.target.board,
                             "digest": bundle.digest, "clock_mhz": bundle.design.target.clock_mhz}
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
        say(f"[{number}/{len(steps)}] {step.name} ({step.tool}), log {folder / (step.name + '.log')}")
        seconds[step.name] = round(run_step(step, folder), 1)
    reader = ecp5.read_report if target == "ecp5" else vivado.read_report
    tools = {tool: tool_version(tool) for tool in dict.fromkeys(step.tool for step in steps)}
    report = facts | {"seconds": seconds, "tools": tools} | reader(bundle, folder)
    if not report["met"]:
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
    parser.add_argument("--plan-only", action="store_true", help="write the scripts and run nothing")
    options = parser.parse_args()
    try:
        if options.plan_only:
            print(prepare(Bundle(options.bundle), options.target))
            return 0
        report = execute(Bundle(options.bundle), options.target, say=lambda line: print(line, flush=True))
    except AutonbaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if report["fmax_mhz"] is None:
        return 0
    used, verdict = report["resources"], "met" if report["met"] else "NOT met"
    print(f"{report['target']}: {used['lut']} LUT, {used['ff']} FF, {used['dsp']} DSP, {used['bram']} block RAM; "
          f"{report['fmax_mhz']:.1f} MHz of {report['clock_mhz']:g} MHz wanted ({verdict}); "
          f"{options.bundle / report['bitstream']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
