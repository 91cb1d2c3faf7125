"""What the engines of the accelerator search find in the whole space, after how many CPU-seconds,
against the proven optimum of the staged space and against the search of before.

    # every network and budget; some ten minutes; writes benchmarks/das.json and das.png
    python -m benchmarks.das
    python -m benchmarks.das --quick        # the small networks, under two minutes

Exits with 1 where `auto` misses the wanted figure: within 1 % of a proven optimum in under 10
CPU-seconds on one core, building the tables of the network included; or where it ends above what
the search of before found within the limits. Each engine starts anew for each seed. The whole space
is larger than the staged one, so that engines may end below its optimum.

das_before.json holds the accelerators that the search of before (its provenance is there) found for
the same cases, seed and CPU-seconds; they are evaluated here, anew, by the rules of today.
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
from autonba.bundle import Bundle, accelerator_from_json
from autonba.files import read_json, write_json
from autonba.network import Network
from autonba.search.accelerator.accelerator_problem import AcceleratorProblem
from autonba.search.accelerator.engines import auto
from autonba.search.accelerator.layers import Layers, tabulate
from autonba.search.accelerator.objectives import Goal
from autonba.search.accelerator.space import AcceleratorSpace
from autonba.search.accelerator.stages.proof import Bound
from benchmarks.networks import digits, mobilenet_v2, paper_network, resnet8

RESULTS = Path(__file__).with_suffix(".json")
BEFORE = Path(__file__).with_name("das_before.json")
CIFAR = Path(__file__).parent / "cifar10" / "design"
WANTED_GAP, WANTED_SECONDS = 0.01, 10.0
MARKS = (1.0, 3.0, 10.0)  # CPU-seconds of search
ENGINES = ("auto", *auto.SAMPLING)
SMALL = ("resnet-8", "digits", "cifar")  # networks that half the CPU-seconds do for


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
        """CPU-seconds of each search."""
        return MARKS[-1] / 2 if self.network in SMALL else MARKS[-1]

    @property
    def goal(self) -> Goal:
        own = {
            name: float(getattr(BOARDS[self.board].resources, name))
            for name in ("dsp", "bram", "lut", "ff")
        }
        return Goal(weights={"cycles": 1.0}, limits=own | dict(self.limits))

    def problem(self, layers: Layers) -> AcceleratorProblem:
        space = AcceleratorSpace(len(layers), streams="dram" in self.limits)
        return AcceleratorProblem(layers, space, self.goal, BOARDS[self.board].family)


NETWORKS: dict[str, Callable[[], Network]] = {
    "paper, 32x32": paper_network,
    "paper, 224x224": lambda: paper_network(224),
    "mobilenet v2 x0.5": mobilenet_v2,
    "resnet-8": resnet8,
    "digits": digits,
    "cifar": lambda: Bundle(CIFAR).design.network,
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
    Case(network="cifar", budget="pynq-z2", board="pynq-z2", limits={}, quick=True),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """An engine's way: (evaluations, CPU-seconds with tables, cycles; infinite while none keeps the
    limits).
    """

    engine: str
    seed: int
    curve: list[tuple[int, float, float]]

    def cycles(self, seconds: float = math.inf) -> float:
        """Of the best until then."""
        return min((c for _, s, c in self.curve if s <= seconds), default=math.inf)

    def reached(self, cycles: float) -> float | None:
        """CPU-seconds until no more than so many cycles."""
        return next((s for _, s, c in self.curve if c <= cycles), None)

    def to_json(self, optimum: float | None) -> dict[str, Any]:
        count, seconds, _ = self.curve[-1]
        return {
            "engine": self.engine,
            "seed": self.seed,
            "evaluations": count,
            "seconds": seconds,
            "cycles": finite(self.cycles()),
            "gap_by_seconds": {f"{mark:g}": gap(self.cycles(mark), optimum) for mark in MARKS},
            "gap": gap(self.cycles(), optimum),
            "within_wanted_gap": (
                None if optimum is None else self.reached(optimum * (1 + WANTED_GAP))
            ),
            "curve": [[n, round(s, 3), finite(c)] for n, s, c in self.curve],
        }


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def gap(cycles: float, optimum: float | None) -> float | None:
    """Fraction above the optimum; None where there is none or nothing keeps the limits."""
    return None if optimum is None or not math.isfinite(cycles) else cycles / optimum - 1


def run_engine(
    problem: AcceleratorProblem, engine: str, seed: int, seconds: float, building: float
) -> tuple[Run, Bound | None]:
    """One search; tables took `building`, which counts."""
    result = auto.run(problem, engine, seed=seed, seconds=seconds - building)
    curve = [
        (n, building + s, math.exp(v) if math.isfinite(v) else math.inf)
        for n, s, v in result.found.curve
    ]
    return Run(engine=engine, seed=seed, curve=curve), result.bound


@click.command()
@click.option("--quick", is_flag=True, help="Small networks, auto alone, nothing written.")
@click.option("--only", default="", help="Cases whose network or budget contains this text.")
@click.option(
    "--seeds", default=1, show_default=True, help="Searches by auto; the others search once."
)
@click.option("--proof", default=60.0, show_default=True, help="CPU-seconds of a proof.")
def main(quick: bool, only: str, seeds: int, proof: float) -> None:
    """Gaps to the proven optimum."""
    torch.set_num_threads(1)
    rows, missed = [], []
    click.echo(header())
    for case in CASES:
        if (quick and not case.quick) or only not in f"{case.network}/{case.budget}":
            continue
        engines = ENGINES[:1] if quick else ENGINES
        row = examine(case, engines, seeds=seeds, proof=min(proof, 10) if quick else proof)
        rows.append(row)
        click.echo(line(row))
        missed += wrong(row)
        if not quick:
            save(rows)
    for text in missed:
        click.echo(f"missed: {text}")
    if missed:
        sys.exit(1)
    click.echo(
        f"auto is within {100 * WANTED_GAP:g} % of every proven optimum in under"
        f" {WANTED_SECONDS:g} CPU-seconds, and never above the search of before, in {len(rows)}"
        " cases"
    )


def examine(case: Case, engines: tuple[str, ...], *, seeds: int, proof: float) -> dict[str, Any]:
    """One row of the table."""
    began = time.process_time()
    layers = tabulate(NETWORKS[case.network]())
    building = time.process_time() - began
    problem = case.problem(layers)
    runs, bound = [], None
    for engine in engines:
        for seed in range(1, (seeds if engine == "auto" else 1) + 1):
            run, known = run_engine(problem, engine, seed, case.seconds, building)
            runs.append(run)
            bound = known if bound is None or (known is not None and known.proven) else bound
    if bound is None or not bound.proven:
        bound = auto.run(problem, "exact", seed=1, seconds=proof).bound
    optimum = bound.objective if bound is not None and bound.proven else None
    return {
        "network": case.network,
        "budget": case.budget,
        "limits": dict(problem.goal.limits),
        "factors": len(problem.sizes),
        "table_seconds": building,
        "optimum": None if bound is None else bound_json(bound),
        "runs": [run.to_json(optimum) for run in runs],
        "before": before(case, problem, optimum),
    }


def before(case: Case, problem: AcceleratorProblem, optimum: float | None) -> list[dict[str, Any]]:
    """The accelerators of das_before.json for a case, by the rules of today."""
    rows = []
    for row in read_json(BEFORE)["accelerators"] if BEFORE.exists() else []:
        if (row["network"], row["budget"]) != (case.network, case.budget):
            continue
        costs = problem.evaluate(problem.choice(accelerator_from_json(row["accelerator"]))[None])
        cycles = float(costs.cycles[0])
        rows.append(
            {
                "engine": row["engine"],
                "seed": row["seed"],
                "seconds": row["seconds"],
                "cycles": cycles,
                "gap": gap(cycles, optimum),
                "excess": {
                    name: float(costs.metric(name)[0]) / limit
                    for name, limit in problem.goal.limits.items()
                    if float(costs.metric(name)[0]) > limit
                },
            }
        )
    return rows


def bound_json(bound: Bound) -> dict[str, Any]:
    return {
        "cycles": bound.objective,
        "lower_bound": bound.lower,
        "proven": bound.proven,
        "seconds": bound.seconds,
    }


def wrong(row: Mapping[str, Any]) -> list[str]:
    """What is not as wanted."""
    found, name = [], f"{row['network']}, {row['budget']}"
    for run in row["runs"]:
        if run["engine"] != "auto":
            continue
        seed = f"{name}, seed {run['seed']}"
        if run["cycles"] is None:
            found.append(f"{seed}: auto found nothing within the limits")
            continue
        reached = run["within_wanted_gap"]
        proven = row["optimum"] is not None and row["optimum"]["proven"]
        if proven and (reached is None or reached > WANTED_SECONDS):
            at = "never" if reached is None else f"after {reached:.1f} CPU-seconds"
            found.append(f"{seed}: auto is within {WANTED_GAP:.0%} of the optimum {at}")
        found += [
            f"{seed}: auto ends at {run['cycles']:.0f} cycles, the {old['engine']} of before at"
            f" {old['cycles']:.0f}"
            for old in row["before"]
            if not old["excess"] and run["cycles"] > old["cycles"] * (1 + 1e-9)
        ]
    return found


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
            "schema_version": 2,
            "wanted": {"gap": WANTED_GAP, "seconds": WANTED_SECONDS},
            "cases": every,
        },
    )
    plot(every, RESULTS.with_suffix(".png"))


def header() -> str:
    return (
        f"{'network':18} {'budget':28} {'optimum':>10} | {'auto 1 s':>9} {'3 s':>9} {'at end':>9}"
        f" {'to 1 %':>7} | {'das':>9} {'annealing':>9} {'evolution':>9} {'random':>9} | before"
    )


def line(row: Mapping[str, Any]) -> str:
    """Cycles, or how far they are from the optimum, of the worst seed of each engine."""

    def shown(cycles: float | None, away: float | None) -> str:
        if cycles is None:
            return "none"
        return f"{cycles:.0f}" if away is None else f"{100 * away:+.2f} %"

    def worst(engine: str, mark: str | None = None) -> str:
        runs = [run for run in row["runs"] if run["engine"] == engine]
        if not runs:
            return "-"
        if any(run["cycles"] is None for run in runs):
            return "none"
        run = max(runs, key=lambda run: run["cycles"])
        if mark is None:
            return shown(run["cycles"], run["gap"])
        away = run["gap_by_seconds"][mark]
        return "-" if away is None else shown(run["cycles"], away)

    times = [run["within_wanted_gap"] for run in row["runs"] if run["engine"] == "auto"]
    to = "never" if None in times else f"{max(times):.1f} s"
    optimum = row["optimum"]
    known = (
        "none"
        if optimum is None
        else f"{optimum['cycles']:.0f}" + ("" if optimum["proven"] else " ?")
    )
    old = ", ".join(
        f"{was['engine']} {shown(was['cycles'], was['gap'])}"
        + "".join(f" with {ratio:.2f} of its {name}" for name, ratio in was["excess"].items())
        for was in row["before"]
    )
    return (
        f"{row['network']:18} {row['budget']:28} {known:>10} | {worst('auto', '1'):>9}"
        f" {worst('auto', '3'):>9} {worst('auto'):>9} {to:>7} | {worst('das'):>9}"
        f" {worst('annealing'):>9} {worst('evolutionary'):>9} {worst('random'):>9} | {old}"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Cycles against CPU-seconds, a panel for each case."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    across = 3
    down = -(-len(rows) // across)
    figure, axes = pyplot.subplots(
        down, across, figsize=(12, 3.0 * down + 0.5), sharex=True, squeeze=False
    )
    colours = dict(
        zip(ENGINES, ("tab:blue", "tab:purple", "tab:red", "tab:green", "tab:orange"), strict=True)
    )
    for axis in axes.flat[len(rows) :]:
        axis.set_axis_off()
    for axis, row in zip(axes.flat, rows, strict=False):
        for run in row["runs"]:
            points = [(max(s, 0.03), c) for _, s, c in run["curve"] if c]
            if points:
                axis.step(
                    *zip(*points, strict=True),
                    where="post",
                    color=colours[run["engine"]],
                    label=run["engine"] if run["seed"] == 1 else None,
                )
        for was in row["before"]:
            axis.plot(
                [was["seconds"] or MARKS[-1]],
                [was["cycles"]],
                marker="x" if was["excess"] else "o",
                color="grey" if was["engine"].startswith("staged") else "black",
                linestyle="",
                label=f"before: {was['engine']}",
            )
        if row["optimum"] is not None and row["optimum"]["proven"]:
            axis.axhline(row["optimum"]["cycles"], color="grey", linewidth=0.7, linestyle="--")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(f"{row['network']}: {row['budget']}", fontsize=9)
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        handles |= {text: h for h, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="lower right", fontsize=8)
    figure.supxlabel("CPU-seconds, tables included")
    figure.supylabel("cycles an image; dashed: the proven optimum of the staged space")
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
