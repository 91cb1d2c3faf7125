"""Our engines and our exact solver on the accelerator search that Auto-NBA's authors publish, in
their cost model.

    python -m benchmarks.published             # five seeds; writes benchmarks/published.json
    python -m benchmarks.published --quick     # some budgets, nothing written; under a minute
    python -m benchmarks.published --json FILE

It fails where the exact solver misses one of the known optima, where the median run of DAS is not
within 1 % of the optimum or takes a CPU-second or more (tables included), or where DAS evaluates
less than 100 times the accelerators a second that the authors' code does. Their budget binds in the
mended model only; the tighter ones are ours. What is restated of theirs says `published_model` and
`published_search`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from autonba.files import write_json
from autonba.search.accelerator.engines.differentiable import Differentiable
from autonba.search.accelerator.engines.engine import run_engine
from autonba.search.accelerator.engines.evolutionary import Evolutionary
from autonba.search.accelerator.engines.uniform import Uniform
from autonba.search.accelerator.problem import Found
from autonba.search.accelerator.stages.solver import Solution, solve
from benchmarks.published_model import BUDGET, CLOCK, Published
from benchmarks.published_search import differentiable_as_published, random_as_published

RESULT = Path(__file__).with_suffix(".json")
# (mode 1 only, mended): FPS, DSP, block RAMs or None; found by another exact solver, 2026
KNOWN = {
    (True, False): (176.8, 75.0, None),
    (False, False): (407.4, 249.0, None),
    (False, True): (356.4, 153.0, 633.0),
}
GAP, CPU_SECONDS, SPEEDUP = 0.01, 1.0, 100  # wanted of DAS
# as measured on a two-core machine; on the one of published.json it made 1500 samples or 53 steps a
# second
THEIR_CODE = {
    "random": {
        "samples_per_second": 600.0,
        "fps, mode 1 only": {"1000": 58.0, "10000": 90.0, "100000": 109.0},
        "fps, all modes": {"1000": 50.0, "10000": 58.0},
    },
    "differentiable, rate 1e-7": {
        "steps_per_second": 26.0,
        "fps, mode 1 only": {"10000": "64 to 68"},
    },
    "differentiable, rate 0.1": {"steps_per_second": 26.0, "fps, mode 1 only": {"10000": 88.0}},
}
THEIR_SPEED = 600.0  # samples a second, the faster of the two


@dataclass(frozen=True, kw_only=True)
class Case:
    """A search problem: `one_mode` and `mended` as of Published, and a budget."""

    one_mode: bool
    mended: bool
    dsp: float = BUDGET["dsp"]
    bram: float = BUDGET["bram"]

    def problem(self) -> Published:
        return Published(
            one_mode=self.one_mode, mended=self.mended, budget={"dsp": self.dsp, "bram": self.bram}
        )

    @property
    def name(self) -> str:
        model = "mended" if self.mended else "as shipped"
        return (
            f"{model}, {'mode 1' if self.one_mode else 'all modes'}, {self.dsp:g} DSP,"
            f" {self.bram:g} BRAM"
        )


CASES = (
    Case(one_mode=True, mended=False),
    Case(one_mode=True, mended=False, dsp=40),
    Case(one_mode=True, mended=False, bram=150),
    Case(one_mode=False, mended=False),
    Case(one_mode=False, mended=False, dsp=150),
    Case(one_mode=False, mended=False, bram=150),
    Case(one_mode=False, mended=False, dsp=100, bram=120),
    Case(one_mode=False, mended=True),
    Case(one_mode=False, mended=True, dsp=100),
    Case(one_mode=False, mended=True, bram=400),
    Case(one_mode=False, mended=True, dsp=80, bram=300),
)
ENGINES: Mapping[str, Callable[[Published, int], Found]] = {
    "das": lambda problem, seed: run_engine(Differentiable, problem, seed=seed, restarts=2),
    "das, gamma alone": lambda problem, seed: run_engine(
        Differentiable, problem, seed=seed, restarts=2, finish=False
    ),
    "evolutionary": lambda problem, seed: run_engine(
        Evolutionary, problem, seed=seed, evaluations=150_000
    ),
    "random": lambda problem, seed: run_engine(Uniform, problem, seed=seed, evaluations=150_000),
}


def exact(case: Case) -> tuple[Solution, float]:
    """The proven optimum, and the CPU-seconds with tables and fronts."""
    began = time.process_time()
    found = solve(case.problem().graph(), [case.dsp, case.bram])
    return found, time.process_time() - began


def known_optimum(case: Case, found: Solution) -> str | None:
    """What is wrong with the optimum of a case that is known, or None."""
    known = (
        KNOWN.get((case.one_mode, case.mended))
        if (case.dsp, case.bram) == (BUDGET["dsp"], BUDGET["bram"])
        else None
    )
    if known is None:
        return None if found.proven else f"{case.name}: the optimum is not proven"
    fps, dsp, bram = known
    same = (
        abs(CLOCK / found.period - fps) < 0.05
        and found.spent[0] == dsp
        and bram in (None, found.spent[1])
        and found.proven
    )
    text = f"{CLOCK / found.period:.1f} FPS, {found.spent[0]:g} DSP, {found.spent[1]:g} BRAM"
    return (
        None
        if same
        else f"{case.name}: the exact solver gives {text}, known are {fps} FPS, {dsp:g} DSP"
    )


def examine(
    case: Case, engine: Callable[[Published, int], Found], seeds: int, optimum: float
) -> dict[str, Any]:
    """Gap to the optimum in cycles, CPU-seconds with tables, and evaluations of an engine, over
    seeds.
    """
    gaps, seconds, speeds, evaluations = [], [], [], 0
    for seed in range(seeds):
        began = time.process_time()
        problem = case.problem()
        found = engine(problem, seed)
        seconds.append(time.process_time() - began)
        speeds.append(found.evaluations / seconds[-1])
        evaluations = found.evaluations
        cycles = float(problem.evaluate(found.choice[None]).cycles[0])
        gaps.append(cycles / optimum - 1 if found.feasible else float("inf"))
    return {
        "gap_median": round(statistics.median(gaps), 5),
        "gap_worst": round(max(gaps), 5),
        "cpu_seconds": round(statistics.median(seconds), 3),
        "evaluations": evaluations,
        "evaluations_per_second": round(statistics.median(speeds)),
    }


def their_engines(case: Case, steps: int) -> dict[str, float]:
    """FPS of the authors' procedures, restated, after `steps` samples."""
    problem = case.problem()
    return {
        "random": round(random_as_published(problem, samples=steps, seed=0), 1),
        "differentiable, rate 1e-7": round(
            differentiable_as_published(problem, steps=steps, rate=1e-7, seed=0), 1
        ),
        "differentiable, rate 0.1": round(
            differentiable_as_published(problem, steps=steps, rate=0.1, seed=0), 1
        ),
    }


def measure(
    cases: Sequence[Case], seeds: Mapping[str, int], steps: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for every case, and what was missed."""
    rows, missed = [], []
    least = SPEEDUP * THEIR_SPEED
    for case in cases:
        found, seconds = exact(case)
        wrong = known_optimum(case, found)
        row: dict[str, Any] = {
            "case": case.name,
            "optimum_fps": round(CLOCK / found.period, 2),
            "optimum_dsp": float(found.spent[0]),
            "optimum_bram": float(found.spent[1]),
            "exact_cpu_seconds": round(seconds, 3),
            "proven": found.proven,
            "engines": {
                name: examine(case, engine, seeds.get(name, 1), found.period)
                for name, engine in ENGINES.items()
            },
            f"their_procedure_fps_after_{steps}_samples": their_engines(case, steps),
        }
        rows.append(row)
        das = row["engines"]["das"]
        missed += [wrong] if wrong else []
        if das["gap_median"] > GAP:
            missed.append(
                f"{case.name}: DAS is {das['gap_median']:.1%} from the optimum, wanted {GAP:.0%}"
            )
        if das["cpu_seconds"] >= CPU_SECONDS:
            missed.append(
                f"{case.name}: DAS took {das['cpu_seconds']} CPU-seconds, wanted less than"
                f" {CPU_SECONDS:g}"
            )
        if das["evaluations_per_second"] < least:
            missed.append(
                f"{case.name}: DAS made {das['evaluations_per_second']} evaluations/s, wanted"
                f" {least:g}"
            )
        print_row(row, steps)
    return rows, missed


def print_row(row: Mapping[str, Any], steps: int) -> None:
    """One case for people."""
    click.echo(
        f"{row['case']}: optimum {row['optimum_fps']} FPS with {row['optimum_dsp']:g} DSP,"
        f" {row['optimum_bram']:g} BRAM, {'proven' if row['proven'] else 'not proven'} in"
        f" {row['exact_cpu_seconds']} CPU-s"
    )
    for name, result in row["engines"].items():
        click.echo(
            f"  {name:18s} gap {result['gap_median']:7.2%} (worst {result['gap_worst']:7.2%}),"
            f" {result['evaluations']} evaluations, {result['cpu_seconds']} CPU-s,"
            f" {result['evaluations_per_second']}/s"
        )
    theirs = row[f"their_procedure_fps_after_{steps}_samples"]
    click.echo(
        f"  the authors' procedures after {steps} samples, FPS: "
        + ", ".join(f"{k} {v}" for k, v in theirs.items())
    )


@click.command()
@click.option(
    "--quick",
    is_flag=True,
    help="Some budgets, three seeds of DAS, one of the others; nothing written.",
)
@click.option(
    "--json",
    "result",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"Written instead of {RESULT.name}.",
)
def main(quick: bool, result: Path | None) -> None:
    """Our engines on the search problem that Auto-NBA's authors publish."""
    torch.set_num_threads(1)
    run_engine(
        Differentiable, CASES[0].problem(), seed=0, samples=64, steps=2
    )  # what PyTorch loads at first use is not counted
    seeds = {"das": 3} if quick else {"das": 5, "das, gamma alone": 5, "evolutionary": 5}
    rows, missed = measure(
        CASES[::2] + CASES[3:4] + CASES[7:8] if quick else CASES, seeds, 1000 if quick else 10_000
    )
    if result is not None or not quick:
        write_json(result or RESULT, {"schema_version": 1, "cases": rows, "their_code": THEIR_CODE})
    for line in missed:
        click.echo(f"missed: {line}", err=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
