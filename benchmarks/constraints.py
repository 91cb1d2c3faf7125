"""Do accelerators meet what is asked of them? Random sets of limits for `search-accel` on the
network for digits.

    # writes benchmarks/constraints.json; exits with 1 where one set fails
    python -m benchmarks.constraints

Feasible sets are drawn around accelerators of the space: each limit is 1.0 to 1.5 times what a
found accelerator with its buffers has, so that they can be met together. Infeasible sets ask one
metric for less than any accelerator needs; the refusal must name it.
"""

from __future__ import annotations

import random
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from autonba.boards import BOARDS, Board
from autonba.errors import AutonbaError, CapacityError
from autonba.files import write_json
from autonba.network import Network
from autonba.search.accelerator.engines import auto
from autonba.search.accelerator.layers import tabulate
from autonba.search.accelerator.objectives import OBJECTIVES, Goal
from autonba.search.accelerator.realize import realize
from autonba.search.accelerator.search_accelerator import problem_of, search_accelerator
from autonba.search.accelerator.stages.problem import StagedProblem
from autonba.search.accelerator.stages.proof import least_needs
from autonba.search.accelerator.stages.tables import StageTables
from benchmarks.networks import digits

RESULTS = Path(__file__).with_suffix(".json")
LIMITED = ("cycles", "latency", "energy", "dsp", "bram", "lut")
OPTION = {"cycles": "--min-fps", "latency": "--max-latency-ms", "energy": "--max-energy-uj"}
FEASIBLE, INFEASIBLE = 20, 5
SECONDS = 3.0  # of CPU time, for the accelerator that a set is drawn around


def feasible_set(network: Network, board: Board, draw: random.Random) -> Goal:
    """An objective, and limits that some accelerator keeps."""
    own = {name: float(getattr(board.resources, name)) for name in ("dsp", "bram", "lut", "ff")}
    tight = {name: limit * draw.uniform(0.35, 1.0) for name, limit in own.items()}
    start = problem_of(
        network,
        board,
        Goal(weights=OBJECTIVES[draw.choice(("throughput", "energy"))], limits=tight),
    )
    found = auto.run(start, "auto", seed=draw.randrange(100), seconds=SECONDS).found
    if not found.feasible:
        return feasible_set(network, board, draw)
    exact = realize(network, start.accelerator(found.choice), board).figures
    chosen = draw.sample(LIMITED, draw.randint(2, 4))
    limits = own | {name: exact[name] * draw.uniform(1.0, 1.5) for name in chosen}
    if any(exact[name] > limit for name, limit in limits.items()):
        return feasible_set(network, board, draw)
    return Goal(
        weights=OBJECTIVES[draw.choice(("throughput", "latency", "energy", "dsp", "lut"))],
        limits=limits,
    )


@click.command()
@click.option("--seed", default=1, show_default=True)
def main(seed: int) -> None:
    """Feasible sets are met, infeasible ones refused by name."""
    torch.set_num_threads(1)
    draw, rows, failed = random.Random(seed), [], 0
    cases = tuple((digits(), BOARDS[name]) for name in ("arty-a7-35t", "ulx3s-85f"))
    for number in range(FEASIBLE):
        network, board = cases[number % len(cases)]
        wanted = feasible_set(network, board, draw)
        began = time.process_time()
        row: dict[str, Any] = {
            "board": board.name,
            "objective": dict(wanted.weights),
            "limits": dict(wanted.limits),
            "feasible": True,
        }
        try:
            outcome = search_accelerator(network, board, wanted, seed=number)
            row |= {
                "figures": dict(outcome.figures),
                "met": not wanted.excess(outcome.figures),
                "searches": outcome.attempts,
            }
        except AutonbaError as error:
            row |= {"met": False, "error": str(error)}
        rows.append(row | {"seconds": round(time.process_time() - began, 1)})
        failed += not row["met"]
        click.echo(
            f"feasible {number + 1:2}:"
            f" {'met' if row['met'] else 'NOT met: ' + row.get('error', '')}"
        )
    for number in range(INFEASIBLE):
        network, board = cases[number % len(cases)]
        name = LIMITED[number]
        own = {n: float(getattr(board.resources, n)) for n in ("dsp", "bram", "lut", "ff")}
        goal = Goal(weights=OBJECTIVES["throughput"], limits=own)
        tables = StageTables(tabulate(network), board.family)
        least = least_needs(StagedProblem(tables, goal))[name]
        wanted = replace(goal, limits=own | {name: least * draw.uniform(0.3, 0.95)})
        option = OPTION.get(name, f"--max-{name}")
        try:
            search_accelerator(network, board, wanted, seed=number)
            refused, text = False, "an accelerator was returned"
        except CapacityError as error:
            text = str(error)
            refused = text.startswith(option) and re.search(r"\d", text) is not None
        rows.append(
            {
                "board": board.name,
                "limits": dict(wanted.limits),
                "feasible": False,
                "binding": option,
                "met": refused,
                "error": text,
            }
        )
        failed += not refused
        click.echo(f"infeasible {number + 1}: {'refused' if refused else 'WRONG'}: {text}")
    met = sum(row["met"] for row in rows if row["feasible"])
    refused_count = sum(row["met"] for row in rows if not row["feasible"])
    write_json(
        RESULTS,
        {
            "schema_version": 1,
            "seed": seed,
            "feasible_met": met,
            "infeasible_refused": refused_count,
            "sets": rows,
        },
    )
    click.echo(
        f"{met} of {FEASIBLE} feasible sets met, {refused_count} of {INFEASIBLE} infeasible sets"
        " refused by name"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
