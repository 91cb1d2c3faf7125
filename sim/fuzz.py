"""Random accelerators on random networks, generated and simulated against the golden model and the schedule."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autonba.bundle import Bundle
from autonba.cost.schedule import simulate
from autonba.errors import AutonbaError, ToolError
from autonba.mapping import plan
from autonba.sim.random_designs import random_bundle

IMAGES = 4
WORKERS = 2
ICARUS_CYCLES = 60_000  # up to here, Icarus is done before Verilator has compiled


@dataclass(frozen=True, kw_only=True)
class Case:
    """Outcome of one seed; `failure` is empty where bits and cycles agree, else it says what is wrong."""

    seed: int
    summary: str
    failure: str
    seconds: float


def generate_rtl(bundle: Path) -> None:
    """Generate a bundle's Verilog in a process of its own; raises ToolError with its message."""
    done = subprocess.run([sys.executable, "-m", "autonba.hwgen.generate", str(bundle)], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        log = bundle / "generate.log"
        log.write_text(done.stdout + done.stderr)
        raise ToolError(f"the generator failed on {bundle}: {lines[-1]}; the whole output is in {log}")


def run_case(seed: int, folder: Path, simulator: str | None = None) -> Case:
    """Draw, generate, simulate and compare one design; without `simulator`, the one that is done sooner."""
    from autonba.sim.run import prepare, simulate_network

    started = time.monotonic()
    summary = "not drawn"
    try:
        bundle = random_bundle(folder, seed, IMAGES)
        summary = describe(bundle)
        generate_rtl(folder)
        prepared = prepare(bundle, simulator or quicker(bundle))
        outcome = simulate_network(prepared, images=IMAGES, stalls=True, seed=seed, short=(1,))
        failure = "; ".join(outcome.failures)
        if outcome.found.mismatches and not failure:
            failure = f"{outcome.found.mismatches} mismatches"
    except AutonbaError as error:
        failure = str(error)
    except Exception as error:  # a crash of ours is a failed case, and the next seed goes on
        failure = f"{type(error).__name__}: {error}"
    return Case(seed=seed, summary=summary, failure=failure, seconds=time.monotonic() - started)


def quicker(bundle: Bundle) -> str:
    """The simulator for a design."""
    if shutil.which("iverilog") is None:
        return "verilator"
    design = bundle.design
    cycles = simulate(plan(design.network, design.accelerator, bundle.weights), 3 * IMAGES).finish[-1]
    return "icarus" if cycles <= ICARUS_CYCLES else "verilator"


def describe(bundle: Bundle) -> str:
    """The design in a few words."""
    design = bundle.design
    chunks = " ".join(f"{'dw' if c.kind == 'depthwise' else 'conv'}{c.out_lanes}x{c.in_lanes}/{c.drain_lanes}{c.multiplier[0]}"
                      for c in design.accelerator.chunks)
    return f"{len(design.network.layers)} layers on {len(design.accelerator.chunks)} chunks: {chunks}"


def fuzz(count: int, seed: int) -> bool:
    """Run seeds `seed` ... `seed + count - 1`; prints each, and last how many passed."""
    console = Console()
    root = Path(tempfile.mkdtemp(prefix="autonba-fuzz-"))
    passed = 0
    columns = (TextColumn("fuzz"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, \
            ProcessPoolExecutor(max_workers=min(WORKERS, os.cpu_count() or 1)) as pool:
        task = progress.add_task("fuzz", total=count)
        running = [pool.submit(run_case, number, root / f"seed{number}") for number in range(seed, seed + count)]
        for future in as_completed(running):
            case = future.result()
            folder = root / f"seed{case.seed}"
            verdict = "passed" if not case.failure else "[red]FAILED[/red]"
            progress.console.print(f"seed {case.seed}: {verdict} in {case.seconds:.0f} s: {case.summary}", highlight=False,
                                   soft_wrap=True)
            if case.failure:
                progress.console.print(f"  {case.failure}\n  kept in {folder}; again with: autonba fuzz --count 1 --seed "
                                       f"{case.seed}", highlight=False, markup=False, soft_wrap=True)
            else:
                passed += 1
                shutil.rmtree(folder, ignore_errors=True)
            progress.advance(task)
    if passed == count:
        shutil.rmtree(root, ignore_errors=True)
    console.print(f"fuzz: {passed} of {count} passed", highlight=False)
    return passed == count
