"""Hard constraints in the joint search: sets that can be met are met, by exact figures; others are
refused by name.

    python -m benchmarks.joint_constraints [--sets 20]

A feasible set is what a network of the space, drawn at random, needs on the accelerator that a
short search finds for it, with some room. An infeasible set asks for what the smallest network of
the space cannot give. Digits, short searches, no training. Exits with 1 where a set is not met, or
one that cannot be met is not refused for the reason it was made for.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import click
import torch

from autonba.boards import find_board
from autonba.errors import CapacityError
from autonba.files import write_json
from autonba.search import run
from autonba.search.accelerator import objectives
from autonba.search.budget import Budget
from autonba.search.network import spaces, strategies
from autonba.search.network.joint import Method
from autonba.search.settings import CONSTRAINTS
from autonba.search.training import datasets
from autonba.search.training.checkpoint import Checkpoints
from autonba.search.training.compute import Compute
from autonba.search.training.progress_log import Log

BOARD = "ulx3s-85f"
METHOD = Method(warm_epochs=2, search_epochs=2, samples=256)
INFEASIBLE = {  # a limit that nothing meets, and what the refusal must name
    "min_fps": (5e6, "min-fps"),
    "max_latency_ms": (1e-4, "max-latency-ms"),
    "max_energy_uj": (1e-4, "max-energy-uj"),
    "bram": (0, "bram"),
    "lut": (500, "lut"),
}
Wanted = dict[str, float]


def runner(data: datasets.Dataset, wanted: Wanted, seed: int, folder: Path) -> run.Run:
    """A search under the limits `wanted`."""
    space, board = spaces.load("digits"), find_board(BOARD)
    goal = objectives.goal(
        board,
        board.clock_mhz,
        resources={
            **space.constraints,
            **{n: v for n, v in wanted.items() if n in objectives.RESOURCES},
        },
        **{n: wanted.get(n) for n in CONSTRAINTS},
    )
    return run.Run(
        data=data,
        space=space,
        aim=objectives.Aim(board=board, clock_mhz=board.clock_mhz, goal=goal),
        budget=Budget(
            warm_epochs=2,
            search_epochs=2,
            samples=256,
            float_epochs=1,
            quantized_epochs=1,
        ),
        method=METHOD,
        strategy="joint",
        seed=seed,
        compute=Compute(),
        log=Log(),
        monitor=run.Monitor(False),
        kept=Checkpoints(folder=folder, settings={}, resume=False),
    )


def feasible(data: datasets.Dataset, seed: int, folder: Path) -> Wanted:
    """Limits that a random network keeps on an accelerator found for it, times 1.1 to 1.6; three to
    six of them.
    """
    drawn, space = random.Random(seed), spaces.load("digits")
    own = runner(data, {}, seed, folder)
    network = spaces.network(space, strategies.uniform(space, drawn), data.shape, data.classes)
    design = own.accelerator(network).realized
    clock = own.aim.clock_mhz

    def room() -> float:
        return drawn.uniform(1.1, 1.6)

    wanted = {
        "min_fps": clock * 1e6 / design.cycles / room(),
        "max_latency_ms": design.first_image / clock / 1e3 * room(),
        "max_energy_uj": design.energy / 1e6 * room(),
        **{n: float(int(design.figures[n] * room()) + 1) for n in ("dsp", "bram", "lut")},
    }
    return {
        name: wanted[name] for name in drawn.sample(sorted(wanted), drawn.randint(3, len(wanted)))
    }


def shown(wanted: Wanted) -> str:
    """The limits in a line."""
    return ", ".join(f"{name} {value:.5g}" for name, value in wanted.items())


@click.command()
@click.option("--sets", default=20, show_default=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/joint_constraints"),
    show_default=True,
)
def main(sets: int, output: Path) -> None:
    """Search under every set of limits."""
    torch.set_num_threads(1)
    data, rows, wrong = datasets.load("digits"), [], 0
    for seed in range(1, sets + 1):
        wanted = feasible(data, seed, output)
        own = runner(data, wanted, seed, output)
        try:
            own.check_possible()
            choices, network = own.fitting(own.joint()[0])
            design = own.accelerator(network).realized
            over = own.aim.goal.excess(design.figures)
            verdict, met = ("met" if not over else f"MISSED {over}"), not over
            changed = " ".join(f"{c.operator}/{c.bits}" for c in choices)
        except CapacityError as error:
            verdict, met, changed = f"REFUSED: {error}", False, ""
        wrong += not met
        rows.append({"limits": wanted, "met": met})
        click.echo(f"{seed:2} {shown(wanted)}: {verdict} {changed}")
    for name, (limit, named) in INFEASIBLE.items():
        own = runner(data, {name: float(limit)}, 1, output)
        try:
            own.check_possible()
            own.fitting(own.joint()[0])
            message, right = "ACCEPTED", False
        except CapacityError as error:
            message, right = str(error), named in str(error)
        wrong += not right
        rows.append({"limits": {name: limit}, "refused": right})
        click.echo(f"infeasible {name} {limit:g}: {'refused' if right else 'WRONG'}: {message}")
    write_json(Path(__file__).with_suffix(".json"), {"rows": rows})
    click.echo(f"{len(rows) - wrong} of {len(rows)} sets answered rightly")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
