"""The search stage: from a data set and a board to a design bundle.

Phases: joint search of network, bitwidths and accelerator; accelerator for the derived network;
training from scratch in float and with quantization; integers; final accelerator, checked against
the limits; baseline of random accelerators.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from autonba import golden
from autonba.boards import check_clock, find_board
from autonba.bundle import Bundle, Design, Target, digest_of, put_bundle
from autonba.errors import AutonbaError, CapacityError
from autonba.files import Work, inside, read_json, working
from autonba.names import MOST_CHARACTERS
from autonba.network import INPUT, Network, macs
from autonba.search.accelerator import objectives
from autonba.search.accelerator.objectives import RESOURCES, Aim
from autonba.search.accelerator.pricing import Pricing
from autonba.search.accelerator.random_designs import random_designs
from autonba.search.accelerator.search_accelerator import (
    Outcome,
    OutOfReachError,
    check_limits,
    search_accelerator,
)
from autonba.search.network import spaces, strategies
from autonba.search.network.hardware_cost import HardwareCost, pricing_of
from autonba.search.network.joint import Method
from autonba.search.network.spaces import Choice, Space
from autonba.search.network.supernet import Supernet
from autonba.search.training import datasets, distributed, export, integer_check, reference, train
from autonba.search.training.augmentation import check as check_augmentation
from autonba.search.training.checkpoint import Checkpoints
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Dataset, Split
from autonba.search.training.progress_log import Log
from autonba.search.training.train import Tick

from .budget import Budget, budget_for
from .settings import CONSTRAINTS, Settings, Strategy

GOLDEN_IMAGES = 100
RANDOM_DESIGNS = 200
STATE = "state:"  # names of a model's own tensors beside the folded ones
FITTINGS = 8  # changes a block, at most, until a network meets every limit
LOG = "log.jsonl"


def design_name(dataset: str) -> str:
    """`dataset` in the letters that a design's name may have."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in dataset.lower())
    return (name if name[:1].isalpha() else f"d_{name}")[:MOST_CHARACTERS]


class Monitor:
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
    def phase(self, name: str, title: str) -> Iterator[Tick]:
        """Measures a phase; yields what the phase tells its progress."""
        begin = time.monotonic()
        task = self.bars.add_task(title, total=1.0)
        yield lambda done: self.bars.update(task, completed=done)
        self.bars.update(task, completed=1.0)
        self.seconds[name] = round(time.monotonic() - begin, 1)


def run_search(settings: Settings, *, progress: bool = True, resume: bool = False) -> Bundle | None:
    """Search, train and write the bundle `settings.out`: design.json, weights.npz, golden.npz,
    search/model.npz, report/search.json; the bundle, on the main process.

    The same settings give the same bytes (report/search_seconds.json apart). With `resume`, an
    interrupted search goes on, and a finished one is left as it is. Raises DataError, SpecError or
    CapacityError.
    """
    out = Path(settings.out)
    tensorboard = None if settings.tensorboard is None else Path(settings.tensorboard)
    compute = Compute(
        # any text: Compute says which there are
        device=settings.device,  # type: ignore[arg-type]
        precision=settings.precision,  # type: ignore[arg-type]
        threads=settings.threads,
    )
    space = space_of(settings)
    aim = aim_of(settings, space)
    reading = Monitor(progress and distributed.is_main())
    with reading.bars, reading.phase("data", "reading the data set") as tick:
        data = datasets.load(
            settings.dataset, val=settings.val_size, test=settings.test_size, tick=tick
        )
    budget = budget_for(settings, len(data.train))
    asked = identity(settings, data, space, aim, budget)
    if resume and is_finished(out, asked):
        return Bundle(out) if distributed.is_main() else None
    folder = inside(out, "search/checkpoints")
    monitor = Monitor(progress and distributed.is_main())
    kept = Checkpoints(folder=folder, settings=asked, resume=resume)
    with (
        compute.session(),
        distributed.session(),
        working(out) if distributed.is_main() else nullcontext() as work,
        monitor.bars,
    ):
        if not resume:
            kept.clear()
        main = distributed.is_main()
        log = Log(folder / LOG if main else None, tensorboard if main else None)
        if not resume:
            log.clear()
        run = Run(
            data=data,
            space=space,
            aim=aim,
            budget=budget,
            method=method_of(settings, budget),
            strategy=settings.strategy,
            seed=settings.seed,
            compute=compute,
            kept=kept,
            log=log,
            monitor=monitor,
        )
        run.all(work, asked)
        log.close()
        if work is not None:
            seconds = {**reading.seconds, **monitor.seconds}
            seconds["total"] = round(sum(seconds.values()), 1)
            work.write_json("report/search_seconds.json", {"schema_version": 1, **seconds})
            work.write(f"search/{LOG}", log.path.read_bytes() if log.path else b"")
            work.commit()
            log.clear()
        kept.clear()
    return Bundle(out) if distributed.is_main() else None


def space_of(settings: Settings) -> Space:
    """The search space with the settings' bitwidths and augmentation."""
    name = settings.space or ("digits" if settings.dataset == "digits" else "images")
    space = spaces.fix(spaces.load(name), bits=settings.bits)
    if settings.augmentation is not None:
        space = replace(space, augmentation=check_augmentation(settings.augmentation))
    return space


def aim_of(settings: Settings, space: Space) -> Aim:
    """Board, clock, objective and limits: the settings' take the place of the space's."""
    board, wanted = find_board(settings.board), settings.constraints
    clock = board.clock_mhz if settings.clock_mhz is None else settings.clock_mhz
    check_clock(board, clock)
    goal = objectives.goal(
        board,
        clock,
        objective=settings.objective,
        resources={**space.constraints, **{n: v for n, v in wanted.items() if n in RESOURCES}},
        min_fps=wanted.get("min_fps"),
        max_latency_ms=wanted.get("max_latency_ms"),
        max_energy_uj=wanted.get("max_energy_uj"),
    )
    return Aim(board=board, clock_mhz=clock, goal=goal)


def method_of(settings: Settings, budget: Budget) -> Method:
    """How the joint search goes about it."""
    return Method(
        bitwidths=settings.bitwidths,
        paths=settings.paths,
        offset=settings.offset,
        level=settings.level,
        correction=settings.correction,
        warm_epochs=budget.warm_epochs,
        search_epochs=budget.search_epochs,
        samples=budget.samples,
        batch=budget.batch,
        interval=budget.interval,
    )


def identity(
    settings: Settings, data: Dataset, space: Space, aim: Aim, budget: Budget
) -> dict[str, Any]:
    """All that the result depends on, for checkpoints and the report."""
    return {
        "dataset": data.name,
        "split": {"val": settings.val_size, "test": settings.test_size},
        "data_digest": (
            hashlib.sha256(
                b"".join(own.images.tobytes() for own in (data.train, data.val, data.test))
            ).hexdigest()
        ),
        "shape": list(data.shape),
        "classes": list(data.classes),
        "board": aim.board.name,
        "seed": settings.seed,
        "effort": settings.effort,
        "space": space.name,
        "space_digest": hashlib.sha256(repr(space).encode()).hexdigest(),
        "clock_mhz": aim.clock_mhz,
        "bits": list(space.bits),
        "objective": settings.objective,
        "strategy": settings.strategy,
        "method": {
            n: getattr(settings, n) for n in ("bitwidths", "paths", "level", "offset", "correction")
        },
        "plan": {
            n: getattr(budget, n)
            for n in (
                "warm_epochs",
                "search_epochs",
                "float_epochs",
                "quantized_epochs",
                "search_images",
                "batch",
            )
        },
        "precision": settings.precision,
        "limits": (
            {n: v for n, v in aim.goal.limits.items() if n in RESOURCES}
            | {n: v for n, v in settings.constraints.items() if n in CONSTRAINTS}
        ),
    }


def is_finished(out: Path, asked: Mapping[str, Any]) -> bool:
    """Whether `out` is the whole bundle of a search with this `identity`."""
    try:
        report, digest = read_json(inside(out, "report/search.json")), Bundle(out).digest
    except AutonbaError:
        return False
    return report.get("digest") == digest and all(report.get(n) == v for n, v in asked.items())


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's parts; each method is a phase."""

    data: Dataset
    space: Space
    aim: Aim
    budget: Budget
    method: Method
    strategy: Strategy
    seed: int
    compute: Compute
    kept: Checkpoints
    log: Log
    monitor: Monitor

    def all(self, work: Work | None, asked: Mapping[str, Any]) -> None:
        """Every phase, then the bundle."""
        self.check_possible()
        choices, joint = self.joint()
        self.build(choices, joint, work, asked)

    def build(
        self,
        choices: list[Choice],
        joint: Mapping[str, Any],
        work: Work | None,
        asked: Mapping[str, Any],
    ) -> None:
        """The bundle of the network that `choices` name, or of the next one that meets every limit:
        accelerator and training. The process with `work` writes it.
        """
        # A network that cannot fit is found before it is trained.
        with self.monitor.phase("accelerator", "accelerator of the derived network"):
            choices, outline = self.fitting(choices)
        real = self.train(outline, quantized=False)
        fake = self.train(outline, quantized=True)
        if work is None:
            return
        with self.monitor.phase("integers", "integers, checks") as tick:
            network, weights = export.integers(outline, fake)
            golden.check_weights(network, weights)
            integer_check.check_nearest(network, fake, weights)
            facts = self.compare(network, real, fake, weights, tick)
        with self.monitor.phase("final", "final accelerator, random baseline"):
            found, baseline = self.final(network, weights)
        design = Design(
            name=design_name(self.data.name),
            network=network,
            accelerator=found.accelerator,
            target=Target(board=self.aim.board.name, clock_mhz=self.aim.clock_mhz),
            constraints=dict(asked["limits"]),
        )
        chosen = self.data.test.take(datasets.in_turn(self.data.test.labels, GOLDEN_IMAGES))
        images = chosen.images.astype(np.int64)
        tensors = golden.evaluate(network, weights, images)
        vectors = {name: values for name, values in tensors.items() if name != INPUT}
        put_bundle(work, design, weights, {"images": images, "labels": chosen.labels, **vectors})
        work.write_arrays(
            "search/model.npz",
            {**export.to_arrays(real, "float"), **export.to_arrays(fake, "quantized")},
        )
        work.write_json(
            "report/search.json",
            {
                "schema_version": 1,
                "digest": digest_of(design, weights),
                **asked,
                **facts,
                "clock_mhz": self.aim.clock_mhz,
                "images": {
                    name: len(getattr(self.data, name)) for name in ("train", "val", "test", "held")
                },
                "network": {
                    "operators": [o.name for o in self.space.operators],
                    "bits": list(self.space.bits),
                    "blocks": [{"operator": c.operator, "bits": c.bits} for c in choices],
                    "macs": macs(network),
                    "layers": len(network.layers),
                },
                "joint_search": dict(joint),
                "accelerator": baseline,
            },
        )

    def check_possible(self) -> None:
        """A board that cannot hold even the smallest network of the space is refused before
        anything is trained.
        """
        operators = [o.name for o in self.space.operators]
        net = Supernet(self.space, self.data.shape, self.data.classes)
        macs_BI = HardwareCost(net, self.pricing(net.uniform[0])).macs
        choices = [
            Choice(
                operator=operators[
                    min(block.allowed, key=macs_BI[block.index].tolist().__getitem__)
                ],
                bits=min(self.space.bits),
            )
            for block in self.space.blocks
        ]
        network = spaces.network(self.space, choices, self.data.shape, self.data.classes)
        check_limits(network, self.aim)
        timed = any(name not in RESOURCES for name in self.aim.goal.limits)
        if timed and not self.pricing(network).look_for(network):
            self.accelerator(network)

    def pricing(self, network: Network) -> Pricing:
        """What prices networks of the space, of which `network` is one."""
        return pricing_of(self.space, self.aim, self.seed, network)

    def joint(self) -> tuple[list[Choice], dict[str, Any]]:
        """Search for operators and bitwidths; the derived ones, and its curves."""
        with self.monitor.phase("joint", f"{self.strategy} search") as tick:
            done = self.kept.load("joint")
            if done is None:
                choices, curves = strategies.find_network(
                    self.strategy,
                    self.searched(),
                    self.space,
                    self.aim,
                    seed=self.seed,
                    method=self.method,
                    compute=self.compute,
                    resumable=self.kept.within("joint"),
                    log=self.log,
                    tick=tick,
                )
                facts: dict[str, Any] = {
                    "choices": [[c.operator, c.bits] for c in choices],
                    "curves": curves,
                }
                self.kept.save("joint", facts)
            else:
                facts = done[0]
        return [Choice(operator=o, bits=b) for o, b in facts["choices"]], facts["curves"]

    def searched(self) -> Dataset:
        """The data set with at most the budget's number of training images for the search."""
        count, train_split = self.budget.search_images, self.data.train
        if count is None or count >= len(train_split):
            return self.data
        drawn = np.sort(np.random.default_rng(self.seed).permutation(len(train_split))[:count])
        return replace(
            self.data,
            train=Split(images=train_split.images[drawn], labels=train_split.labels[drawn]),
        )

    def fitting(self, choices: list[Choice]) -> tuple[list[Choice], Network]:
        """`choices` and their network; changed, where no accelerator meets every limit, as little
        as it takes.

        Raises CapacityError where even the smallest network cannot meet them.
        """
        for _ in range(FITTINGS * len(choices)):
            outline = spaces.network(self.space, choices, self.data.shape, self.data.classes)
            pricing = self.pricing(outline)
            metric, error = "bram", None
            if pricing.look_for(outline):
                try:
                    self.accelerator(outline)
                except OutOfReachError as refused:
                    metric, error = refused.metric, refused
                else:
                    return choices, outline
            elif pricing.best is not None:
                costs = pricing.costs(pricing.tabulate(outline), pricing.best)
                limits = pricing.goal.limits
                metric = max(limits, key=lambda n: float(costs.metric(n)[0]) / max(limits[n], 1e-9))
            smaller = self.smaller(choices, metric, pricing)
            if smaller is None:
                if error is None:
                    self.accelerator(outline)
                    return choices, outline
                raise error
            choices = smaller
        raise CapacityError(
            "no network of the space was found that meets every limit; loosen one of them"
        )

    def smaller(self, choices: list[Choice], metric: str, pricing: Pricing) -> list[Choice] | None:
        """The network next to `choices`, one operator or bitwidth changed, that saves most of what
        the limits are about.
        """
        net = Supernet(self.space, self.data.shape, self.data.classes)
        cost = HardwareCost(net, pricing)
        if pricing.best is not None:
            cost.set_accelerator(pricing.best)
        known = metric if metric in cost.of_choices(choices) else "macs"
        return self.next_smaller(cost, choices, known) or self.next_smaller(cost, choices, "macs")

    def next_smaller(
        self, cost: HardwareCost, choices: Sequence[Choice], name: str
    ) -> list[Choice] | None:
        """The change of one block that saves most of metric `name` for the products that it gives
        away; None where none saves.
        """
        now = cost.of_choices(choices)
        best: tuple[float, list[Choice]] | None = None
        for block in self.space.blocks:
            for operator in (self.space.operators[i].name for i in block.allowed):
                for width in self.space.bits:
                    new = [*choices]
                    new[block.index] = Choice(operator=operator, bits=width)
                    found = cost.of_choices(new)
                    saved, lost = 1 - found[name] / now[name], 1 - found["macs"] / now["macs"]
                    value = saved / (0.02 + lost)
                    if (
                        saved > 1e-3 and lost > 0 and (best is None or value > best[0])
                    ):  # products fall, so it comes to an end
                        best = value, new
        return None if best is None else best[1]

    def accelerator(self, network: Network, weights: golden.Weights | None = None) -> Outcome:
        """The best accelerator within the limits: what `autonba search-accel` finds for them."""
        return search_accelerator(
            network,
            self.aim.board,
            self.aim.goal,
            seed=self.seed,
            weights=weights,
            clock_mhz=self.aim.clock_mhz,
        )

    def train(self, outline: Network, *, quantized: bool) -> dict[str, export.Folded]:
        """The derived network trained and folded."""
        name = "quantized" if quantized else "float"
        with self.monitor.phase(name, f"training, {name}") as tick:
            done = self.kept.load(name)
            if done is None:
                torch.manual_seed(self.seed)
                model = train.Model(outline)
                budget, recipe = self.budget, self.budget.train
                epochs = budget.quantized_epochs if quantized else budget.float_epochs
                if quantized and budget.warm_start:
                    recipe = budget.fine or recipe
                    kept = self.kept.load("float", always=True)
                    assert kept is not None
                    own = {
                        n.removeprefix(STATE): v for n, v in kept[1].items() if n.startswith(STATE)
                    }
                    model.load_state_dict({n: torch.as_tensor(v) for n, v in own.items()})
                float_epochs = epochs // 10 if quantized and not budget.warm_start else 0
                train.fit(
                    model,
                    self.data.fit,
                    replace(
                        recipe,
                        epochs=epochs,
                        float_epochs=float_epochs,
                        augmentation=self.space.augmentation,
                    ),
                    quantized=quantized,
                    seed=self.seed,
                    val=self.data.held,
                    compute=self.compute,
                    resumable=self.kept.within(name),
                    log=self.log,
                    phase=name,
                    tick=tick,
                )
                arrays = export.to_arrays(export.fold(model, quantized), name)
                state = (
                    {}
                    if quantized or not self.budget.warm_start
                    else {f"{STATE}{n}": v.numpy() for n, v in model.state_dict().items()}
                )
                self.kept.save(name, {}, {**arrays, **state})
            else:
                arrays = done[1]
        return export.from_arrays(arrays, name, outline)

    def compare(
        self,
        network: Network,
        real: export.FoldedNetwork,
        fake: export.FoldedNetwork,
        weights: golden.Weights,
        tick: Tick,
    ) -> dict[str, Any]:
        """Accuracies on test images and on the validation images held back, and how the integer
        network differs.
        """
        test = self.data.test.take(datasets.in_turn(self.data.test.labels))
        found = integer_check.compare(network, fake, weights, test.images, tick)
        held = self.data.held
        of_held = {
            "quantized": reference.predict(network, fake, held.images, quantized=True),
            "integer": golden.predict(network, weights, held.images.astype(np.int64)),
        }
        facts: dict[str, Any] = {
            "integer_against_quantized": found.facts(),
            "chance": float(np.bincount(test.labels).max() / len(test)),
        }
        for name, split, predicted in (
            ("accuracy", test, {"quantized": found.quantized, "integer": found.integer}),
            ("validation_accuracy", held, of_held),
        ):
            whole = {
                "float": reference.predict(network, real, split.images, quantized=False),
                **predicted,
            }
            facts[name] = {n: train.accuracy(classes, split) for n, classes in whole.items()} | {
                "images": len(split)
            }
        return facts

    def final(self, network: Network, weights: golden.Weights) -> tuple[Outcome, dict[str, Any]]:
        """The accelerator of the integer network beside random ones."""
        outcome = self.accelerator(network, weights)
        design = outcome.realized
        designs = random_designs(
            network, self.aim.board, self.aim.goal, seed=self.seed, count=RANDOM_DESIGNS
        )
        cycles = [float(d["cycles"]) for d in designs]
        facts: dict[str, Any] = {
            "cycles_per_image": design.cycles,
            "cycles_proven": design.proven,
            "cycles_bound": design.bound,
            "cycles_first_image": design.first_image,
            "multipliers": design.accelerator.multipliers,
            "chunks": len(design.accelerator.chunks),
            "resources": {name: getattr(design.resources, name) for name in RESOURCES},
            "energy_pj": round(design.energy, 1),
            "score_curve": [
                round(value, 5) for _, _, value in outcome.found.curve if math.isfinite(value)
            ],
            "random": {"count": len(designs), "designs": designs},
        }
        if cycles:
            median = statistics.median(cycles)
            facts["random"] |= {
                "median_cycles": median,
                "best_cycles": min(cycles),
                "median_over_search": round(median / design.cycles, 4),
            }
        return outcome, facts
