"""Random accelerators on random networks: generated, linted, and simulated against the golden model
and the schedule.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count as count_from
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from autonba.bundle import Bundle
from autonba.errors import AutonbaError, ToolError

from .lint import lint
from .random_designs import Draw, IllegalDrawError, features, random_bundle
from .shrink import Subject, save, shrink

IMAGES = 3
SHOWN = 20  # failures at the end of a log
SHRINK_SECONDS = 240.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """Outcome of one seed; `failure` is empty where bits and cycles agree and the linter is silent,
    else tells what is wrong.
    """

    seed: int
    summary: str
    failure: str
    seconds: float
    features: frozenset[str] = field(default_factory=frozenset)
    saved: str = ""  # file of the smallest design that fails like this one


def generate_rtl(bundle: Path) -> None:
    """Generate a bundle's Verilog in a process of its own; raises ToolError with its message."""
    done = subprocess.run(
        [sys.executable, "-m", "autonba.hwgen.generate", str(bundle)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        log = bundle / "generate.log"
        log.write_text(done.stdout + done.stderr)
        raise ToolError(
            f"the generator failed on {bundle}: {lines[-1]}; the whole output is in {log}"
        )


def check_bundle(bundle: Bundle, seed: int) -> str:
    """Generate, simulate, compare and lint; returns what is wrong, or an empty text. Icarus where
    it is installed.
    """
    try:
        generate_rtl(bundle.path)
        return "; ".join([*_simulate(bundle, seed), *(f"lint: {line}" for line in lint(bundle))])
    except AutonbaError as error:
        return str(error)
    except Exception as error:  # a crash of ours is a failed case, and the next seed goes on
        return f"{type(error).__name__}: {error}"


def _simulate(bundle: Bundle, seed: int) -> list[str]:
    """Findings of the simulator at hand."""
    if shutil.which("iverilog"):
        from . import quick_bench

        return quick_bench.simulate(bundle, seed).notes
    from .run import prepare, simulate_network

    return simulate_network(
        prepare(bundle, "verilator"), images=IMAGES, stalls=True, seed=seed, short=(1,)
    ).failures


def kind(failure: str) -> str:
    """Which sort of failure a text tells of."""
    for sign, name in (
        ("must come within", "halt"),
        (" expected ", "bits"),
        ("words must be written", "bits"),
        ("result word", "bits"),
        ("commit must come", "cycles"),
        ("commits must come", "cycles"),
        ("last word must leave", "cycles"),
        ("lint: ", "lint"),
    ):
        if sign in failure:
            return name
    return "crash" if failure else ""


def run_case(seed: int, folder: Path, cases: Path | None = None, draw: Draw | None = None) -> Case:
    """Check one design, its accelerator drawn by `draw`; where it fails and `cases` is a folder, a
    smaller one that fails in the same way is saved there.
    """
    started = time.monotonic()
    try:
        bundle = random_bundle(folder, seed, IMAGES, draw)
    except IllegalDrawError as error:
        return Case(
            seed=seed,
            summary="an accelerator that is none",
            failure=str(error),
            seconds=time.monotonic() - started,
        )
    failure = check_bundle(bundle, seed)
    saved = ""
    design = bundle.design
    if failure and cases is not None:
        subject = Subject(
            network=design.network, accelerator=design.accelerator, target=design.target, seed=seed
        )
        small = smallest(subject, kind(failure), folder / "shrink")
        cases.mkdir(parents=True, exist_ok=True)
        path = cases / f"seed{seed}.json"
        save(path, small, failure)
        saved = str(path)
    return Case(
        seed=seed,
        summary=describe(bundle),
        failure=failure,
        seconds=time.monotonic() - started,
        saved=saved,
        features=frozenset(features(design.network, design.accelerator, design.target.board)),
    )


def smallest(
    subject: Subject, wanted: str, folder: Path, seconds: float = SHRINK_SECONDS
) -> Subject:
    """A small design with that kind of failure."""

    def fails(candidate: Subject) -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return kind(check_bundle(candidate.write(folder, IMAGES), candidate.seed)) == wanted

    return shrink(subject, fails, seconds)


def describe(bundle: Bundle) -> str:
    """The design in a few words."""
    design = bundle.design
    kinds = {"conv": "conv", "depthwise": "dw"}
    chunks = " ".join(
        f"{kinds[c.kind]}{c.out_lanes}x{c.in_lanes}x{c.taps}x{c.columns}/{c.drain_lanes}{c.multiplier[0]}"
        for c in design.accelerator.chunks
    )
    return (
        f"{len(design.network.layers)} layers on {len(design.accelerator.chunks)} chunks: {chunks}"
    )


def fuzz(
    count: int | None,
    seed: int,
    *,
    minutes: float | None = None,
    workers: int | None = None,
    cases: Path | None = None,
    draw: Draw | None = None,
    always: bool = False,
) -> bool:
    """Run seeds from `seed` on, `count` of them or as many as begin within `minutes`; prints each,
    coverage and a last line.

    Accelerators of odd seeds, or `always`, come from `draw`. A failing design is made small and
    saved in `cases`.
    """
    console = Console()
    root = Path(tempfile.mkdtemp(prefix="autonba-fuzz-"))
    end = time.monotonic() + 60 * minutes if minutes else float("inf")
    found: list[Case] = []
    columns = (TextColumn("fuzz"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    workers = workers or os.cpu_count() or 1
    pool = ProcessPoolExecutor(
        max_workers=workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    )
    running: set[Future[Case]] = set()
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("fuzz", total=count)
            for number in count_from(seed):
                last = (count is not None and number >= seed + count) or time.monotonic() > end
                if not last:
                    own = draw if always or number % 2 else None
                    folder = root / f"seed{number}"
                    running.add(pool.submit(run_case, number, folder, cases, own))
                while running and (last or len(running) > workers):
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        found.append(future.result())
                        _print(progress.console, found[-1], root, " --space" * always)
                        progress.advance(task)
                if last:
                    break
    finally:  # also after Ctrl-C, when what is running ends by itself
        pool.shutdown(wait=True, cancel_futures=True)
        _summarize(console, found)
    passed = sum(not case.failure for case in found)
    if passed == len(found):
        shutil.rmtree(root, ignore_errors=True)
    return passed == len(found)


def _print(console: Console, case: Case, root: Path, option: str) -> None:
    verdict = "passed" if not case.failure else "[red]FAILED[/red]"
    console.print(
        f"seed {case.seed}: {verdict} in {case.seconds:.0f} s: {case.summary}",
        highlight=False,
        soft_wrap=True,
    )
    folder = root / f"seed{case.seed}"
    if not case.failure:
        shutil.rmtree(folder, ignore_errors=True)
        return
    lines = [
        case.failure,
        f"kept in {folder}; again with: autonba fuzz --count 1 --seed {case.seed}{option}",
    ]
    if case.saved:
        lines.append(f"made small in {case.saved}")
    for line in lines:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _summarize(console: Console, found: list[Case]) -> None:
    """How many designs had each feature, and how many passed."""
    counts = Counter(feature for case in found for feature in case.features)
    if counts:
        console.print("designs with", highlight=False)
    for feature, number in sorted(counts.items()):
        console.print(f"  {number:5} {feature}", highlight=False, markup=False)
    seconds = sum(case.seconds for case in found)
    passed = sum(not case.failure for case in found)
    console.print(
        f"fuzz: {passed} of {len(found)} passed, {seconds / max(len(found), 1):.1f} s a design",
        highlight=False,
    )
    # Once more, where the end of a log shows them.
    for case in [case for case in found if case.failure][:SHOWN]:
        console.print(
            f"  seed {case.seed}: {case.summary}: {case.failure}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
