"""Simulates a bundle's RTL and compares it with the golden model and the schedule, to the bit and
to the cycle.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from autonba.arithmetic import IntArray
from autonba.bundle import Bundle
from autonba.cost.schedule import simulate as predict
from autonba.cost.schedule import steady_state
from autonba.errors import BundleError, MismatchError
from autonba.files import Work, inside, read_text, working
from autonba.golden import evaluate
from autonba.mapping import Plan, plan
from autonba.rtl import LISTING, Rtl, trusted

from . import check, lint, modules, structure
from .network_bench import STALLED_RUNS, BenchSettings
from .runner import Toolchain, build, find_toolchain
from .runner import run as run_bench
from .scratch import Scratch, scratch
from .testbench import TESTBENCH_PORTS, testbench_text

AGAIN = "run `autonba gen-rtl`"
SCHEMA_VERSION = 1
SHORT_RUNS = (1, 2, 10)  # images of the runs whose cycles are always compared
STALLED_IMAGES = 12
MODULE = "autonba.sim.network_bench"
FAULT_BENCHES = ("reset_in_mid_run", "offered_through_a_soft_reset", "wrong_lengths", "registers")

console = Console()


@dataclass(frozen=True)
class Prepared:
    """A bundle ready to simulate: built testbench, plan, expected values of every layer."""

    bundle: Bundle
    tools: Toolchain
    folder: Path
    plan: Plan
    golden: Mapping[str, IntArray]
    log: Path


def rtl_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Verilog and memory image files of a folder that rtl.f lists."""
    listing = folder / LISTING
    sources = [folder / name for name in read_text(listing, advice=AGAIN).split()]
    for path in sources:
        if not path.is_file():
            raise BundleError(f"{path}: rtl.f names the file, and it is missing; {AGAIN}")
    return sources, sorted(folder.glob("*.hex"))


def prepare(
    bundle: Bundle,
    simulator: str,
    *,
    folder: Path | None = None,
    rtl: Path | None = None,
    images: int | None = None,
) -> Prepared:
    """Build the testbench in `folder` around the Verilog in `rtl`, and compute what the first
    `images` images must give. Without, both are those of the bundle.
    """
    tools = find_toolchain(simulator)
    folder = folder or bundle.path / "sim" / simulator
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    pictures = bundle.golden["images"][:images]
    golden = evaluate(bundle.design.network, bundle.weights, pictures)
    for name, values in bundle.golden.items():
        if name in golden and not np.array_equal(golden[name], values[:images]):
            raise BundleError(
                f"{bundle.path / 'golden.npz'}: {name!r} must hold what design.json and weights.npz"
                " give, and it does not; write the bundle again"
            )
    sources, data = rtl_files(rtl or bundle.path / "rtl")
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / "testbench.v"
    wrapper.write_text(testbench_text(mapped, netlist=False))
    if any(chunk.stream_words for chunk in mapped.chunks):
        memory = folder / "axi_memory.v"
        memory.write_bytes((Path(__file__).parent / memory.name).read_bytes())
        sources.append(memory)
    log = build(
        tools,
        sources=[*sources, wrapper],
        top="testbench",
        folder=folder,
        ports=TESTBENCH_PORTS,
        data=data,
    )
    return Prepared(bundle, tools, folder, mapped, golden, log)


def run_network(
    prepared: Prepared, tests: Sequence[str], runs: Sequence[int], stalled: int, seed: int
) -> dict[str, str]:
    """Run tests of the network bench; returns each one's failure, or an empty text."""
    settings = BenchSettings(
        bundle=str(prepared.bundle.path.resolve()),
        runs=tuple(runs),
        stalled_images=stalled,
        image_cycles=predict(prepared.plan, 1).first_image,
        seed=seed,
    )
    path = (prepared.folder / f"{tests[0]}.json").resolve()
    settings.write(path)
    verdicts = run_bench(
        prepared.tools,
        top="testbench",
        module=MODULE,
        folder=prepared.folder,
        tests=tests,
        seed=seed,
        environment={"AUTONBA_BENCH": str(path)},
        log=prepared.folder / f"{tests[0]}.log",
    )
    return {verdict.test.rpartition(".")[2]: verdict.failure for verdict in verdicts}


@dataclass
class Outcome:
    """All that simulations found so far."""

    found: check.Comparison
    main: tuple[int, int]  # images and elements of the longest run
    predicted: dict[int, tuple[int, ...]]  # images of a run -> cycles in which its images finish
    simulated: dict[int, tuple[int, ...]]
    benches: dict[str, str]

    @property
    def failures(self) -> list[str]:
        """Everything wrong, in words."""
        return self.found.notes + [f"{name}: {text}" for name, text in self.benches.items() if text]


def simulate_network(
    prepared: Prepared, *, images: int, stalls: bool, seed: int, short: Sequence[int] = SHORT_RUNS
) -> Outcome:
    """Runs without stalls, and with them if wanted; compares every element of every layer and every
    commit.
    """
    counts = sorted({count for count in short if count < images} | {images})
    stalled = min(STALLED_IMAGES, images) if stalls else 0
    tests = ("back_to_back", "stalls") if stalls else ("back_to_back",)
    benches = run_network(prepared, tests, counts, stalled, seed)
    runs: dict[int, Sequence[int]] = {
        number: range(count) for number, count in enumerate(counts, 1)
    }
    start = 0
    for pattern in range(3 if stalls else 0):
        count = len(range(pattern, stalled, 3))
        runs[STALLED_RUNS + pattern] = [
            (start + i) % len(prepared.bundle.golden["images"]) for i in range(count)
        ]
        start += count
    main = check.compare_layers(
        prepared.folder, prepared.plan, prepared.golden, {len(counts): runs.pop(len(counts))}
    )
    found = check.compare_layers(prepared.folder, prepared.plan, prepared.golden, runs)
    outcome = Outcome(found, (main.images, main.elements), {}, {}, benches)
    found.mismatches += main.mismatches
    found.notes[:0] = main.notes
    for number, count in enumerate(counts, 1):
        schedule = predict(prepared.plan, count)
        check.compare_commits(found, prepared.folder, prepared.plan, number, schedule.commits)
        outcome.predicted[count] = schedule.finish
        outcome.simulated[count] = check.finish_cycles(prepared.folder, number)
        check.compare_cycles(found, number, outcome.predicted[count], outcome.simulated[count])
    return outcome


def simulate(
    bundle: Bundle,
    *,
    simulator: str = "verilator",
    images: int = 100,
    stalls: bool = False,
    seed: int = 1,
    rtl: Rtl | None = None,
    complete: bool = False,
) -> dict[str, Any]:
    """Simulate golden images and write report/simulation.json; raises MismatchError where the
    hardware is wrong.

    `rtl` is the Verilog to run, that of rtl/ by default. `complete` adds the structure of the
    Verilog, a linter, module benches, stalls, resets, packets of wrong length and registers.
    """
    inside(bundle.path, "report/simulation.json")
    with working(bundle.path) as work, scratch(work, rtl or trusted(bundle)) as place:
        return _simulate(bundle, work, place, simulator, images, stalls, seed, complete)


def _simulate(
    bundle: Bundle,
    work: Work,
    place: Scratch,
    simulator: str,
    images: int,
    stalls: bool,
    seed: int,
    complete: bool,
) -> dict[str, Any]:
    started = time.monotonic()
    stalls = stalls or complete
    available = len(bundle.golden["images"])
    if images > available:
        console.print(f"golden.npz holds {available} images; these are simulated, not {images}")
        images = available
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "digest": bundle.digest,
        "simulator": simulator,
    }
    benches: dict[str, str] = {}
    if complete:
        with step("structure of the Verilog"):
            benches["structure"] = "; ".join(structure.check(bundle, place.rtl).problems)
        if simulator == "verilator":
            with step("lint"):
                log = place.folder / "lint.log"
                benches["lint"] = "; ".join(lint.lint_folder(place.rtl, log))
        with step("module benches"):
            benches |= modules.run_all(bundle, place.rtl, place.folder, simulator, seed)
    with step(f"build with {simulator}"):
        folder = place.folder / simulator
        prepared = prepare(bundle, simulator, folder=folder, rtl=place.rtl, images=images)
    with step(f"{images} images{' with and without stalls' if stalls else ''}"):
        outcome = simulate_network(prepared, images=images, stalls=stalls, seed=seed)
    if complete:
        with step("resets, packets of wrong length, registers"):
            outcome.benches |= run_network(prepared, FAULT_BENCHES, (1,), 0, seed)
    outcome.benches |= benches
    failures = [place.told(text) for text in outcome.failures]
    report |= {
        "simulator_version": prepared.tools.version,
        "cycles": {
            "predicted": {
                "first_image": outcome.predicted[min(outcome.predicted)][0],
                **steady_state(prepared.plan).to_json(),
            },
            "simulated": _simulated_cycles(outcome),
        },
        "runs": {
            str(count): {
                "predicted": list(outcome.predicted[count]),
                "simulated": list(outcome.simulated[count]),
            }
            for count in outcome.predicted
        },
        "rtl_check": {
            "images": outcome.main[0],
            "elements": outcome.main[1],
            "mismatches": outcome.found.mismatches,
        },
        "commit_check": {
            "commits": outcome.found.commits,
            "mismatches": outcome.found.commit_mismatches,
        },
        "also_compared": {
            "images": outcome.found.images,
            "elements": outcome.found.elements,
            "stalls": stalls,
        },
        "benches": {
            name: place.told(text) or "passed" for name, text in sorted(outcome.benches.items())
        },
        "passed": not failures,
    }
    path = bundle.path / "report" / "simulation.json"
    work.write_json("report/simulation.json", report)
    work.commit()
    total = outcome.main[1] + outcome.found.elements
    console.print(
        f"{total} elements of {len(prepared.plan.layers)} layers and the cycles of"
        f" {outcome.found.commits} commits compared, {outcome.found.mismatches} mismatches;"
        f" {_equal(outcome)}; {time.monotonic() - started:.0f} s; {path}",
        markup=False,
        soft_wrap=True,
    )
    if failures:
        for text in failures:
            console.print(f"[red]wrong:[/red] {escape(text)}", highlight=False, soft_wrap=True)
        raise MismatchError(
            "the hardware must equal the golden model and the schedule, and it does not:"
            f" {failures[0]} ({len(failures)} findings in all, logs in {prepared.folder})"
        )
    return report


def _simulated_cycles(outcome: Outcome) -> dict[str, Any]:
    """What was seen: the first image of the shortest run, and how the images of the longest one
    followed each other.

    A simulation is too short for the long run; that its images end when the schedule says is what
    speaks for the latter.
    """
    first, longest = (
        outcome.simulated[min(outcome.simulated)],
        outcome.simulated[max(outcome.simulated)],
    )
    return {
        "first_image": first[0] if first else None,
        "distances": [b - a for a, b in itertools.pairwise(longest)],
        "images": sum(map(len, outcome.predicted.values())),
        "differing": sum(
            a != b
            for count, predicted in outcome.predicted.items()
            for a, b in itertools.zip_longest(predicted, outcome.simulated[count])
        ),
    }


def _equal(outcome: Outcome) -> str:
    parts = []
    for count, wanted in outcome.predicted.items():
        got = outcome.simulated[count][-1] if outcome.simulated[count] else None
        parts.append(
            f"{count}: {got}" if got == wanted[-1] else f"{count}: {got} instead of {wanted[-1]}"
        )
    return "cycles for images " + ", ".join(parts)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Shows what is done, then how long it took."""
    started = time.monotonic()
    with console.status(name):
        yield
    console.print(f"  {name}: {time.monotonic() - started:.1f} s", highlight=False)
