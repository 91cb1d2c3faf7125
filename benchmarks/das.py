"""How close the accelerator search engines come to the proven optimum, after how many evaluations
and CPU-seconds.

    # every network and budget; minutes; writes benchmarks/das.json and das.png
    python -m benchmarks.das
    python -m benchmarks.das --quick        # three networks, under a minute

Exits with 1 where the differentiable search misses the wanted figure: within 1 % of the optimum in
under 10 CPU-seconds on one core, building the tables of the network included. Each engine starts
anew for each seed; the proof starts from the best found.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from autonba.boards import BOARDS
from autonba.errors import CapacityError
from autonba.files import read_json, write_json
from autonba.network import Network
from autonba.search.accelerator.engines import differentiable, evolutionary, random_search
from autonba.search.accelerator.objectives import Goal
from autonba.search.accelerator.problem import Found
from autonba.search.accelerator.stages.problem import StagedProblem, staged_problem
from autonba.search.accelerator.stages.proof import Bound, prove
from benchmarks.networks import digits, mobilenet_v2, paper_network, resnet8

RESULTS = Path(__file__).with_suffix(".json")
WANTED_GAP, WANTED_SECONDS = 0.01, 10.0
MARKS = (1.0, 3.0, 10.0)  # CPU-seconds of search
EVALUATIONS = (1_000, 10_000, 100_000, 1_000_000)
MOST = 1 << 40  # evaluations, where seconds are the limit


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network within limits: those of a board, tightened or, for `more`, replaced."""

    network: str
    budget: str
    board: str
    limits: Mapping[str, float]
    quick: bool = False  # part of --quick

    @property
    def seconds(self) -> float:
        """CPU-seconds of each search: small networks need no more."""
        return MARKS[-1] if self.network not in ("resnet-8", "digits") else MARKS[-1] / 2

    @property
    def goal(self) -> Goal:
        own = {
            name: float(getattr(BOARDS[self.board].resources, name))
            for name in ("dsp", "bram", "lut", "ff")
        }
        return Goal(weights={"cycles": 1.0}, limits=own | dict(self.limits))


NETWORKS: dict[str, Callable[[], Network]] = {
    "paper, 32x32": paper_network,
    "paper, 224x224": lambda: paper_network(224),
    "mobilenet v2 x0.5": mobilenet_v2,
    "resnet-8": resnet8,
    "digits": digits,
}
CASES = (
    Case(network="paper, 32x32", budget="zc706", board="zc706", limits={}),
    Case(network="paper, 32x32", budget="zc706, 100 kLUT", board="zc706", limits={"lut": 100_000}),
    Case(
        network="paper, 32x32",
        budget="zc706, 60 kLUT, 300 DSP",
        board="zc706",
        limits={"lut": 60_000, "dsp": 300},
    ),
    Case(network="paper, 224x224", budget="zc706, 1500 BRAM", board="zc706", limits={"bram": 1500}),
    Case(
        network="paper, 224x224",
        budget="zc706, 1500 BRAM, 100 kLUT",
        board="zc706",
        limits={"bram": 1500, "lut": 100_000},
    ),
    Case(
        network="paper, 224x224",
        budget="zc706, 1800 BRAM, 60 kLUT",
        board="zc706",
        limits={"bram": 1800, "lut": 60_000},
    ),
    Case(
        network="mobilenet v2 x0.5",
        budget="zc706, 100 kLUT",
        board="zc706",
        limits={"lut": 100_000},
        quick=True,
    ),
    Case(
        network="mobilenet v2 x0.5",
        budget="zc706, 50 kLUT, 400 DSP",
        board="zc706",
        limits={"lut": 50_000, "dsp": 400},
    ),
    Case(
        network="mobilenet v2 x0.5",
        budget="ultra96-v2, 600 BRAM",
        board="ultra96-v2",
        limits={"bram": 600},
    ),
    Case(network="resnet-8", budget="arty-a7-35t", board="arty-a7-35t", limits={}, quick=True),
    Case(network="resnet-8", budget="ulx3s-85f", board="ulx3s-85f", limits={}, quick=True),
    Case(
        network="resnet-8",
        budget="pynq-z2, 100 DSP, 50 BRAM",
        board="pynq-z2",
        limits={"dsp": 100, "bram": 50},
        quick=True,
    ),
    Case(network="digits", budget="arty-a7-35t", board="arty-a7-35t", limits={}, quick=True),
    Case(
        network="digits",
        budget="ulx3s-85f, 40 kLUT, 60 DSP",
        board="ulx3s-85f",
        limits={"lut": 40_000, "dsp": 60},
        quick=True,
    ),
    Case(
        network="digits",
        budget="arty-a7-35t, 10 kLUT, 40 DSP",
        board="arty-a7-35t",
        limits={"lut": 10_000, "dsp": 40},
        quick=True,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """An engine's way: (evaluations, CPU-seconds, cycles)."""

    engine: str
    seed: int
    curve: list[tuple[int, float, float]]

    def gap(
        self, optimum: float, *, seconds: float = math.inf, evaluations: float = math.inf
    ) -> float | None:
        """Fraction above the optimum of the best so far, None while nothing keeps the limits."""
        best = [
            c for n, s, c in self.curve if s <= seconds and n <= evaluations and math.isfinite(c)
        ]
        return min(best) / optimum - 1 if best else None

    def reached(self, optimum: float) -> tuple[int, float] | None:
        """Evaluations and seconds until within the wanted gap."""
        return next(((n, s) for n, s, c in self.curve if c <= optimum * (1 + WANTED_GAP)), None)


def run_engine(problem: StagedProblem, engine: str, seed: int, seconds: float) -> tuple[Run, Found]:
    """One search."""
    if engine == "das":
        found = differentiable(problem, seed=seed, seconds=seconds)
    else:
        found = (random_search if engine == "random" else evolutionary)(
            problem, seed=seed, seconds=seconds, evaluations=MOST
        )
    curve = [(n, s, math.exp(v) if math.isfinite(v) else math.inf) for n, s, v in found.curve]
    return Run(engine=engine, seed=seed, curve=curve), found


@click.command()
@click.option(
    "--quick", is_flag=True, help="Small networks, one seed, short proofs, nothing written."
)
@click.option("--only", default="", help="Cases whose network or budget contains this text.")
@click.option(
    "--seeds", default=2, show_default=True, help="Searches by das; the others search once."
)
@click.option("--proof", default=300.0, show_default=True, help="CPU-seconds of a proof.")
def main(quick: bool, only: str, seeds: int, proof: float) -> None:
    """Gaps to the proven optimum."""
    torch.set_num_threads(1)
    cases = [
        case
        for case in CASES
        if (case.quick or not quick) and only in f"{case.network}/{case.budget}"
    ]
    tables: dict[str, tuple[StagedProblem, float]] = {}
    rows, missed = [], []
    click.echo(header())
    for case in cases:
        if case.network not in tables:
            tables.clear()
        key = f"{case.network} on {BOARDS[case.board].family}"
        if key not in tables:
            began = time.process_time()
            problem = staged_problem(NETWORKS[case.network](), BOARDS[case.board].family, case.goal)
            tables[key] = problem, time.process_time() - began
        whole, building = tables[key]
        problem = StagedProblem(whole.tables, case.goal)
        try:
            row = examine(
                case,
                problem,
                building,
                seeds=1 if quick else seeds,
                seconds=3.0 if quick else case.seconds,
                proof=proof,
                engines=("das",) if quick else ("das", "evolutionary", "random"),
            )
        except CapacityError as error:
            click.echo(str(error))
            missed.append(f"{case.network} / {case.budget}")
            continue
        rows.append(row)
        click.echo(line(row))
        if not quick:
            save(rows)
        if not row["met"]:
            missed.append(f"{case.network} / {case.budget}")
    if missed:
        click.echo(f"missed: {', '.join(missed)}")
        sys.exit(1)
    click.echo(
        f"das is within {100 * WANTED_GAP:g} % of the optimum in under {WANTED_SECONDS:g}"
        f" CPU-seconds in all {len(rows)} cases"
    )


def save(rows: list[dict[str, Any]]) -> None:
    """Write results and picture; cases that were not run keep the results they have."""
    kept = {
        (row["network"], row["budget"]): row
        for row in (read_json(RESULTS)["cases"] if RESULTS.exists() else [])
    }
    kept |= {(row["network"], row["budget"]): row for row in rows}
    every = [
        kept[case.network, case.budget] for case in CASES if (case.network, case.budget) in kept
    ]
    write_json(
        RESULTS,
        {
            "schema_version": 1,
            "wanted": {"gap": WANTED_GAP, "seconds": WANTED_SECONDS},
            "cases": every,
        },
    )
    plot(every, RESULTS.with_suffix(".png"))


def examine(
    case: Case,
    problem: StagedProblem,
    building: float,
    *,
    seeds: int,
    seconds: float,
    proof: float,
    engines: tuple[str, ...],
) -> dict[str, Any]:
    """One row of the table."""
    runs, best = [], None
    for engine in engines:
        for seed in range(1, (seeds if engine == "das" else 1) + 1):
            run, found = run_engine(problem, engine, seed, seconds)
            runs.append(run)
            if found.feasible and (best is None or found.score < best.score):
                best = found
    if best is None:
        raise CapacityError(
            f"{case.network}, {case.budget}: no engine found an accelerator; raise the limits of"
            " this case"
        )
    _, bound = prove(problem, best, seconds=proof)
    reference = bound.objective if bound.proven else bound.lower
    das = [run for run in runs if run.engine == "das"]
    reached = [run.reached(reference) for run in das]
    met = all(r is not None and building + r[1] <= WANTED_SECONDS for r in reached)
    return {
        "network": case.network,
        "budget": case.budget,
        "limits": dict(problem.goal.limits),
        "factors": len(problem.sizes),
        "table_seconds": building,
        "optimum": bound_json(bound),
        "met": met,
        "runs": [run_json(run, reference) for run in runs],
    }


def bound_json(bound: Bound) -> dict[str, Any]:
    return {
        "cycles": bound.objective,
        "lower_bound": bound.lower,
        "proven": bound.proven,
        "seconds": bound.seconds,
    }


def run_json(run: Run, optimum: float) -> dict[str, Any]:
    reached = run.reached(optimum)
    last = run.curve[-1]
    return {
        "engine": run.engine,
        "seed": run.seed,
        "evaluations": last[0],
        "seconds": last[1],
        "evaluations_per_second": last[0] / last[1],
        "gap": run.gap(optimum),
        "gap_by_seconds": {f"{mark:g}": run.gap(optimum, seconds=mark) for mark in MARKS},
        "gap_by_evaluations": {
            str(count): run.gap(optimum, evaluations=count) for count in EVALUATIONS
        },
        "within_wanted_gap": (
            None if reached is None else {"evaluations": reached[0], "seconds": reached[1]}
        ),
        "curve": [[n, round(s, 3), c if math.isfinite(c) else None] for n, s, c in run.curve],
    }


def header() -> str:
    return (
        f"{'network':18} {'budget':28} {'optimum':>9} {'proof':>7} {'tables':>7} | {'das 1 s':>8}"
        f" {'3 s':>7} {'10 s':>7} {'to 1 %':>7} | {'evolutionary':>12} {'random':>8}"
    )


def line(row: Mapping[str, Any]) -> str:
    """The worst seed of each engine."""

    def worst(engine: str, mark: str | None = None) -> str:
        gaps = [
            run["gap"] if mark is None else run["gap_by_seconds"][mark]
            for run in row["runs"]
            if run["engine"] == engine
        ]
        return "-" if not gaps else "none" if None in gaps else f"{100 * max(gaps):.2f} %"

    times = [run["within_wanted_gap"] for run in row["runs"] if run["engine"] == "das"]
    to = "never" if None in times else f"{max(t['seconds'] for t in times):.1f} s"
    optimum = row["optimum"]
    mark = "" if optimum["proven"] else f" (not proven, none below {optimum['lower_bound']:.0f})"
    return (
        f"{row['network']:18} {row['budget']:28} {optimum['cycles']:9.0f} {optimum['seconds']:5.1f}"
        f" s {row['table_seconds']:5.1f} s | {worst('das', '1'):>8} {worst('das', '3'):>7}"
        f" {worst('das'):>7} {to:>7} | {worst('evolutionary'):>12} {worst('random'):>8}{mark}"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Gap against CPU-seconds, a panel for each case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(5, 3, figsize=(12, 14), sharex=True)
    colours = {"das": "tab:blue", "evolutionary": "tab:orange", "random": "tab:green"}
    for axis, row in zip(axes.flat, rows, strict=False):
        for run in row["runs"]:
            points = [
                (max(s, 0.03), 100 * (c / row["optimum"]["cycles"] - 1) + 0.05)
                for _, s, c in run["curve"]
                if c
            ]
            if points:
                axis.step(
                    *zip(*points, strict=True),
                    where="post",
                    color=colours[run["engine"]],
                    label=run["engine"] if run["seed"] == 1 else None,
                )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.axhline(1, color="grey", linewidth=0.5)
        axis.set_title(f"{row['network']}: {row['budget']}", fontsize=9)
    axes.flat[0].legend(fontsize=8)
    figure.supxlabel("CPU-seconds")
    figure.supylabel("per cent above the proven optimum, + 0.05")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
