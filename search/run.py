"""The search stage: from a data set and a board to a design bundle.

Phases: joint search of network, bitwidths and accelerator; accelerator for the derived network; training from scratch in
float and with quantization; integers; final accelerator, checked against the limits; baseline of random accelerators.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from autonba import golden
from autonba.boards import Board
from autonba.bundle import Bundle, Design, Target, write_arrays, write_bundle, write_json
from autonba.errors import SpecError
from autonba.network import INPUT, Network, macs
from autonba.search import candidates as cand
from autonba.search import das, datasets, export, spaces, supernet, train
from autonba.search.checkpoint import Checkpoints
from autonba.search.das import AcceleratorSearch, Limits
from autonba.search.datasets import Dataset
from autonba.search.spaces import Choice, Space

Effort = Literal["quick", "full"]
GOLDEN_IMAGES = 100
RANDOM_DESIGNS = 200


def design_name(dataset: str) -> str:
    """`dataset` in the letters that a design's name may have."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in dataset.lower())
    return name if name[:1].isalpha() else f"d_{name}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much work each phase does."""

    warm_epochs: int
    search_epochs: int
    das_samples: int
    das_steps: int
    float_epochs: int
    quantized_epochs: int


EFFORTS: Mapping[Effort, Plan] = {
    "full": Plan(
        warm_epochs=18, search_epochs=25, das_samples=1024, das_steps=200, float_epochs=60, quantized_epochs=90
    ),
    "quick": Plan(warm_epochs=6, search_epochs=4, das_samples=512, das_steps=60, float_epochs=6, quantized_epochs=12),
}


class _Monitor:
    """Progress bars and the seconds of each phase."""

    def __init__(self, show: bool) -> None:
        self.bars = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            disable=not show,
        )
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[train.Tick]:
        """Measures a phase; yields what the phase tells its progress."""
        begin = time.monotonic()
        task = self.bars.add_task(title, total=1.0)
        yield lambda done: self.bars.update(task, completed=done)
        self.bars.update(task, completed=1.0)
        self.seconds[name] = round(time.monotonic() - begin, 1)


def search(
    *,
    dataset: str,
    board: Board,
    out: Path,
    clock_mhz: float | None = None,
    seed: int = 1,
    effort: Effort = "full",
    constraints: Mapping[str, float] | None = None,
    progress: bool = True,
    resume: bool = False,
) -> Bundle:
    """Search, train and write the bundle `out`: design.json, weights.npz, golden.npz, search/model.npz, report/search.json.

    `constraints` (dsp, bram, lut, ff) take the place of the space's and cannot exceed the board. The same arguments give
    the same bytes (report/search_seconds.json apart). Raises DataError, SpecError or CapacityError.
    """
    for name in constraints or {}:
        if name not in cand.COSTS:
            raise SpecError(f"constraints: key must be one of {', '.join(cand.COSTS)}, not {name!r}")
    if effort not in EFFORTS:
        raise SpecError(f"effort must be one of {', '.join(EFFORTS)}, not {effort!r}")
    data = datasets.load(dataset)
    space = spaces.load("digits" if dataset == "digits" else "images")
    limits = Limits.of(board, {**space.constraints, **(constraints or {})}, space.hardware)
    settings = {
        "dataset": data.name,
        "data_digest": hashlib.sha256(data.fit.images.tobytes() + data.test.images.tobytes()).hexdigest(),
        "shape": list(data.shape),
        "classes": list(data.classes),
        "board": board.name,
        "seed": seed,
        "effort": effort,
        "limits": dict(limits.resources),
    }
    kept = Checkpoints(folder=out / "search" / "checkpoints", settings=settings, resume=resume)
    if not resume:
        kept.clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # maps are tiny: more threads cost more than they bring, and would change the sums' order
    monitor = _Monitor(progress)
    try:
        with monitor.bars:
            bundle = _Run(
                data=data, space=space, limits=limits, plan=EFFORTS[effort], seed=seed, kept=kept, monitor=monitor
            ).all(out, clock_mhz or board.clock_mhz, settings)
    finally:
        torch.set_num_threads(threads)
    write_json(
        out / "report" / "search_seconds.json",
        {"schema_version": 1, **monitor.seconds, "total": round(sum(monitor.seconds.values()), 1)},
    )
    kept.clear()
    return bundle


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run's parts; each method is a phase."""

    data: Dataset
    space: Space
    limits: Limits
    plan: Plan
    seed: int
    kept: Checkpoints
    monitor: _Monitor

    def all(self, out: Path, clock_mhz: float, settings: Mapping[str, Any]) -> Bundle:
        """Every phase, then the bundle."""
        self.check_possible()
        choices, joint = self.joint()
        outline = spaces.network(self.space, choices, self.data.shape, self.data.classes)
        with self.monitor.phase("accelerator", "accelerator of the derived network"):
            self.accelerator(outline)  # a network that cannot fit is found before it is trained
        real = self.train(outline, quantized=False)
        fake = self.train(outline, quantized=True)
        with self.monitor.phase("integers", "integers, checks"):
            network, weights = export.integers(outline, fake)
            golden.check_weights(network, weights)
            facts = self.compare(network, real, fake, weights)
        with self.monitor.phase("final", "final accelerator, random baseline"):
            found, baseline = self.final(network, weights)
        design = Design(
            name=design_name(self.data.name),
            network=network,
            accelerator=found.design.accelerator,
            target=Target(board=self.limits.board.name, clock_mhz=clock_mhz),
            constraints=dict(self.limits.resources),
        )
        images = self.data.test.images[:GOLDEN_IMAGES].astype(np.int64)
        tensors = golden.evaluate(network, weights, images)
        vectors = {name: values for name, values in tensors.items() if name != INPUT}
        bundle = write_bundle(
            out, design, weights, {"images": images, "labels": self.data.test.labels[:GOLDEN_IMAGES], **vectors}
        )
        write_arrays(
            out / "search" / "model.npz", {**export.to_arrays(real, "float"), **export.to_arrays(fake, "quantized")}
        )
        write_json(
            out / "report" / "search.json",
            {
                "schema_version": 1,
                **settings,
                **facts,
                "clock_mhz": clock_mhz,
                "images": {"train": len(self.data.train), "val": len(self.data.val), "test": len(self.data.test)},
                "network": {
                    "blocks": [{"operator": c.operator, "bits": c.bits} for c in choices],
                    "macs": macs(network),
                    "layers": len(network.layers),
                },
                "joint_search": joint,
                "accelerator": baseline,
            },
        )
        return bundle

    def check_possible(self) -> None:
        """A board that cannot hold even the smallest network of the space is refused before anything is trained."""
        operators = [o.name for o in self.space.operators]
        least = spaces.SKIP if spaces.SKIP in operators else operators[0]
        choices = [Choice(operator=least, bits=min(self.space.bits))] * len(self.space.blocks)
        network = spaces.network(self.space, choices, self.data.shape, self.data.classes)
        tables, engine = self.engine(network)
        das.check_possible(network, engine, tables)

    def engine(self, network: Network) -> tuple[cand.NetworkTables, AcceleratorSearch]:
        """Cost tables of a network, and a fresh search for its accelerator."""
        tables = cand.tabulate(network, self.space.hardware, self.space.slots, spaces.slot_of)
        return tables, AcceleratorSearch(
            space=self.space.hardware, slots=self.space.slots, limits=self.limits, seed=self.seed
        )

    def joint(self) -> tuple[list[Choice], dict[str, Any]]:
        """Joint search; the derived operators and bitwidths, and its curves."""
        with self.monitor.phase("joint", "joint search") as tick:
            done = self.kept.load("joint")
            if done is None:
                choices, curves = supernet.search(
                    self.data,
                    self.space,
                    self.limits,
                    seed=self.seed,
                    warm_epochs=self.plan.warm_epochs,
                    search_epochs=self.plan.search_epochs,
                    samples=self.plan.das_samples,
                    tick=tick,
                )
                facts: dict[str, Any] = {"choices": [[c.operator, c.bits] for c in choices], "curves": curves}
                self.kept.save("joint", facts)
            else:
                facts = done[0]
        return [Choice(operator=o, bits=b) for o, b in facts["choices"]], facts["curves"]

    def accelerator(
        self, network: Network, weights: golden.Weights | None = None
    ) -> tuple[das.Found, AcceleratorSearch, cand.NetworkTables]:
        """The best accelerator within the limits."""
        tables, engine = self.engine(network)
        found = das.search(
            network, engine, tables, steps=self.plan.das_steps, samples=self.plan.das_samples, weights=weights
        )
        return found, engine, tables

    def train(self, outline: Network, *, quantized: bool) -> dict[str, export.Folded]:
        """The derived network trained from scratch and folded."""
        name = "quantized" if quantized else "float"
        with self.monitor.phase(name, f"training, {name}") as tick:
            done = self.kept.load(name)
            if done is None:
                torch.manual_seed(self.seed)
                model = train.Model(outline)
                epochs = self.plan.quantized_epochs if quantized else self.plan.float_epochs
                train.fit(model, self.data.fit, epochs=epochs, quantized=quantized, seed=self.seed, tick=tick)
                arrays = export.to_arrays(export.fold(model, quantized), name)
                self.kept.save(name, {}, arrays)
            else:
                arrays = done[1]
        return export.from_arrays(arrays, name, outline)

    def compare(
        self, network: Network, real: export.FoldedNetwork, fake: export.FoldedNetwork, weights: golden.Weights
    ) -> dict[str, Any]:
        """Accuracies on the test split; the integer network must equal the fake-quantized one on every image."""
        test = self.data.test
        whole = golden.predict(network, weights, test.images.astype(np.int64))
        quantized = export.predict_folded(network, fake, test.images, quantized=True)
        differing = export.mismatches(network, fake, weights, test.images)
        if differing or (whole != quantized).any():
            raise AssertionError(f"{differing} elements of the integer network differ from the fake-quantized one")
        return {
            "accuracy": {
                "float": train.accuracy(export.predict_folded(network, real, test.images, quantized=False), test),
                "quantized": train.accuracy(quantized, test),
                "integer": train.accuracy(whole, test),
                "images": len(test),
            },
            "integer_check": {
                "images": len(test),
                "differing_predictions": int((whole != quantized).sum()),
                "differing_elements": differing,
            },
        }

    def final(self, network: Network, weights: golden.Weights) -> tuple[das.Found, dict[str, Any]]:
        """The accelerator of the integer network beside random ones."""
        found, engine, tables = self.accelerator(network, weights)
        designs = das.random_designs(network, engine, tables, count=RANDOM_DESIGNS, weights=weights)
        design, cycles = found.design, [float(d["cycles"]) for d in designs]
        facts: dict[str, Any] = {
            "cycles_per_image": design.cycles,
            "cycles_bound": design.bound,
            "cycles_first_image": design.first_image,
            "multipliers": design.accelerator.multipliers,
            "chunks": len(design.accelerator.chunks),
            "resources": {name: getattr(design.resources, name) for name in cand.COSTS},
            "multipliers_limit": self.limits.multipliers,
            "score_curve": [round(v, 5) for v in found.curve],
            "random": {"count": len(designs), "designs": designs},
        }
        if cycles:
            median = statistics.median(cycles)
            facts["random"] |= {
                "median_cycles": median,
                "best_cycles": min(cycles),
                "median_over_search": round(median / design.cycles, 4),
            }
        return found, facts
