"""Arms of a comparison of searches: each derives a network, which is made to meet the same limits,
trained alike, and generated.

An arm that is finished is read from its bundle, so that a benchmark that was interrupted goes on
when it is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autonba.boards import find_board
from autonba.bundle import Bundle
from autonba.files import read_json, working, write_json
from autonba.hwgen.generate import generate
from autonba.search import run
from autonba.search.accelerator import objectives
from autonba.search.budget import Budget
from autonba.search.network import spaces
from autonba.search.network.joint import Method
from autonba.search.network.spaces import Choice, Space
from autonba.search.training.checkpoint import Checkpoints
from autonba.search.training.compute import Compute, keep_memory
from autonba.search.training.datasets import Dataset, Split
from autonba.search.training.progress_log import Log
from autonba.search.training.train import Recipe

_RECIPE = Recipe(
    epochs=1, batch=128, optimizer="sgd", rate=0.1, warmup=0.2, decay=5e-4, smoothing=0.05
)
Derived = tuple[list[Choice], Mapping[str, Any]]
Searched = Callable[[], Derived]


@dataclass(frozen=True, kw_only=True)
class Arena:
    """What all arms of a comparison share."""

    data: Dataset
    board: str
    min_fps: float
    out: Path
    float_epochs: int
    quantized_epochs: int

    def aim(self, space: Space) -> objectives.Aim:
        """Board, clock and limits."""
        board = find_board(self.board)
        goal = objectives.goal(
            board,
            board.clock_mhz,
            min_fps=self.min_fps,
            resources=space.constraints,
        )
        return objectives.Aim(board=board, clock_mhz=board.clock_mhz, goal=goal)


def space() -> Space:
    """`cifar-small`, whose price hardly counts: the limit on images a second decides, so that all
    arms end up at like speeds.
    """
    return replace(spaces.load("cifar-small"), cycles_weight=0.02, memory_weight=0.0)


def part(split: Split, count: int, seed: int) -> Split:
    """`count` images of a split, drawn."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    return Split(images=split.images[drawn], labels=split.labels[drawn])


def smaller(data: Dataset, train: int, val: int) -> Dataset:
    """`data` with fewer images to train and validate with, and all its test images."""
    return replace(data, train=part(data.train, train, 0), val=part(data.val, val, 1))


def compute() -> Compute:
    """One thread; convolutions in bfloat16."""
    keep_memory()
    torch.set_num_threads(1)
    return Compute(precision="bf16")


def arm(
    arena: Arena, space: Space, method: Method, name: str, seed: int, search: Searched
) -> dict[str, Any]:
    """Figures of one arm."""
    out = arena.out / f"{name}_{seed}"
    done = out / "report" / "arm.json"
    if done.is_file():
        return read_json(done)
    settings: dict[str, Any] = {"arm": name, "seed": seed}
    kept = Checkpoints(folder=out / "search" / "checkpoints", settings=settings, resume=True)
    began = time.process_time()
    phase = kept.load("joint")
    if phase is None:
        choices, curves = search()
        seconds = time.process_time() - began
        kept.save(
            "joint",
            {
                "choices": [[c.operator, c.bits] for c in choices],
                "curves": dict(curves),
                "seconds": seconds,
            },
        )
    else:
        choices = [Choice(operator=o, bits=b) for o, b in phase[0]["choices"]]
        curves, seconds = phase[0]["curves"], phase[0]["seconds"]
    budget = Budget(
        warm_epochs=method.warm_epochs,
        search_epochs=method.search_epochs,
        samples=512,
        float_epochs=arena.float_epochs,
        quantized_epochs=arena.quantized_epochs,
        train=_RECIPE,
        fine=replace(_RECIPE, rate=0.02),
        warm_start=True,
    )
    aim = arena.aim(space)
    runner = run.Run(
        data=arena.data,
        space=space,
        aim=aim,
        budget=budget,
        method=method,
        strategy="joint",
        seed=seed,
        compute=compute(),
        kept=kept,
        log=Log(),
        monitor=run.Monitor(False),
    )
    limits = {n: v for n, v in aim.goal.limits.items() if n in objectives.RESOURCES} | {
        "min_fps": arena.min_fps
    }
    with working(out) as work:
        runner.build(
            choices, curves, work, {**settings, "limits": limits, "dataset": arena.data.name}
        )
    report = read_json(out / "report" / "search.json")
    found = report["accelerator"]
    blocks = [(b["operator"], b["bits"]) for b in report["network"]["blocks"]]
    figures = {
        "arm": name,
        "seed": seed,
        "accuracy": report["accuracy"]["integer"],
        "fps": aim.clock_mhz * 1e6 / found["cycles_per_image"],
        "macs": report["network"]["macs"],
        "bits": float(np.mean([b for o, b in blocks if o != "skip"] or [0])),
        "blocks": [f"{o}/{b}" for o, b in blocks],
        "changed": sum(
            [c.operator, c.bits] != list(b) for c, b in zip(choices, blocks, strict=True)
        ),
        "search_seconds": round(seconds, 1),
        **found["resources"],
    }
    write_json(out / "report" / "arm.json", figures)
    return figures


def simulated_fps(bundle: Bundle, images: int = 12) -> float:
    """Images a second of the generated accelerator in the long run, by the schedule that its
    simulation follows.

    Every element of every layer and the cycle of every commit are checked on the way, or this
    fails.
    """
    from autonba.sim import run as sim

    generate(bundle)
    sim.simulate(bundle, simulator="verilator", images=images, stalls=False, seed=1)
    cycles = read_json(bundle.path / "report" / "simulation.json")["cycles"]["predicted"]
    return bundle.design.target.clock_mhz * 1e6 / float(cycles["per_image"])


def line(row: Mapping[str, Any]) -> str:
    """One arm in a line."""
    fps = f"{row['fps']:.0f} images/s" + (
        f" ({row['simulated_fps']:.0f} simulated)" if "simulated_fps" in row else ""
    )
    return (
        f"{row['arm']:14} seed {row['seed']}: {100 * row['accuracy']:.2f} %, {fps},"
        f" {row['macs'] / 1e6:.2f} M MAC, {row['bits']:.1f} bits, {row['search_seconds']:.0f} CPU-s"
        f" of search, {row['changed']} blocks changed: {' '.join(row['blocks'])}"
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the seeds, and the standard deviation of the accuracy."""
    keys = ("accuracy", "fps", "macs", "bits", "search_seconds")
    means = {key: round(float(np.mean([r[key] for r in rows])), 5) for key in keys}
    spread = float(np.std([r["accuracy"] for r in rows], ddof=1)) if len(rows) > 1 else 0.0
    return {**means, "accuracy_deviation": round(spread, 5)}
