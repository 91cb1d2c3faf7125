"""Verilator's linter on generated RTL, every warning on, less the waivers of lint.vlt."""

from __future__ import annotations

import os
import subprocess
from importlib import resources
from pathlib import Path

from autonba.bundle import Bundle

from .runner import find_toolchain


def lint(bundle: Bundle, top: str = "accelerator") -> list[str]:
    """Warnings and errors of `verilator --lint-only -Wall` on the bundle's rtl/; the log is
    sim/lint.log.
    """
    return lint_folder(bundle.path / "rtl", bundle.path / "sim" / "lint.log", top)


def lint_folder(
    rtl: Path, log: Path, top: str = "accelerator", *, waived: bool = True
) -> list[str]:
    """The same on a folder that holds rtl.f; without the waivers where not `waived`."""
    tools, rtl = find_toolchain("verilator", builds=False), rtl.resolve()
    with resources.as_file(resources.files("autonba.sim").joinpath("lint.vlt")) as waivers:
        command = [
            "verilator",
            "--lint-only",
            "-Wall",
            "-Wno-fatal",
            "--top-module",
            top,
            *([str(waivers)] if waived else []),
            *(str(rtl / name) for name in (rtl / "rtl.f").read_text().split()),
        ]
        done = subprocess.run(
            command,
            cwd=rtl,
            env={**os.environ, **tools.environment},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout + done.stderr)
    lines = [
        line
        for line in done.stderr.splitlines()
        if line.startswith("%") and not line.startswith("%Error: Exiting")
    ]
    if done.returncode and not lines:
        lines = [f"verilator ended with exit code {done.returncode}; the whole output is in {log}"]
    return lines
