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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from autonba import golden
from autonba.boards import Board, check_clock
from autonba.bundle import Bundle, Design, digest_of, put_bundle
from autonba.bundle import Target as BuildTarget
from autonba.errors import AutonbaError, CapacityError, SpecError
from autonba.files import Work, inside, read_json, working
from autonba.names import MOST_CHARACTERS
from autonba.network import INPUT, Network, macs
from autonba.search.accelerator import candidates as cand
from autonba.search.accelerator import das, objectives
from autonba.search.accelerator.das import AcceleratorSearch, Target
from autonba.search.accelerator.objectives import RESOURCES
from autonba.search.accelerator.search_accelerator import search_accelerator
from autonba.search.network import spaces, strategies
from autonba.search.network.sampling import BITWIDTHS
from autonba.search.network.spaces import Choice, Space
from autonba.search.network.strategies import Strategy
from autonba.search.network.supernet import HardwareCost, Method, Supernet
from autonba.search.training import datasets, distributed, export, integer_check, reference, train
from autonba.search.training.augmentation import check as check_augmentation
from autonba.search.training.checkpoint import Checkpoints
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Dataset, Split
from autonba.search.training.progress_log import Log
from autonba.search.training.train import Recipe, Tick

Effort = Literal["quick", "full"]
GOLDEN_IMAGES = 100
RANDOM_DESIGNS = 200
STATE = "state:"  # names of a model's own tensors beside the folded ones
FITTINGS = 8  # changes a block, at most, until a network meets every limit
CONSTRAINTS = ("min_fps", "max_latency_ms", "max_energy_uj")  # beside the resources
LEVELS = ("bilevel", "one-level")
LOG = "log.jsonl"


def design_name(dataset: str) -> str:
    """`dataset` in the letters that a design's name may have."""
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in dataset.lower())
    return (name if name[:1].isalpha() else f"d_{name}")[:MOST_CHARACTERS]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much work each phase does.

    With `warm_start`, quantized training begins at the weights of the float training, at a smaller
    rate; else from scratch.
    """

    warm_epochs: int
    search_epochs: int
    das_samples: int
    das_steps: int
    float_epochs: int
    quantized_epochs: int
    search_images: int | None = None
    batch: int = 48
    interval: int = 1
    train: Recipe = field(default_factory=lambda: Recipe(epochs=1))
    fine: Recipe | None = None
    warm_start: bool = False
    # seconds for the exact solver of the staged space, beside the search of the free allocation
    staged: float = 0.0


_COLOUR = Recipe(
    epochs=1, batch=128, optimizer="sgd", rate=0.2, warmup=0.2, decay=5e-4, smoothing=0.1
)
EFFORTS: Mapping[Effort, Plan] = {
    "full": Plan(
        warm_epochs=18,
        search_epochs=25,
        das_samples=1024,
        das_steps=200,
        float_epochs=60,
        quantized_epochs=90,
    ),
    "quick": Plan(
        warm_epochs=6,
        search_epochs=4,
        das_samples=512,
        das_steps=60,
        float_epochs=6,
        quantized_epochs=12,
    ),
}
# training images from which a data set gets a plan of its own: fewer epochs, larger batches
LARGE = 10_000
LARGE_EFFORTS: Mapping[Effort, Plan] = {
    "full": Plan(
        warm_epochs=3,
        search_epochs=8,
        das_samples=1024,
        das_steps=200,
        float_epochs=60,
        quantized_epochs=12,
        batch=128,
        interval=2,
        train=_COLOUR,
        fine=replace(_COLOUR, rate=0.02, warmup=0.1),
        warm_start=True,
    ),
    "quick": Plan(
        warm_epochs=1,
        search_epochs=2,
        das_samples=512,
        das_steps=60,
        float_epochs=3,
        quantized_epochs=2,
        batch=128,
        interval=2,
        search_images=6000,
        train=_COLOUR,
        fine=replace(_COLOUR, rate=0.02),
        warm_start=True,
    ),
}


def plan_for(effort: str, images: int, given: Mapping[str, int | None]) -> Plan:
    """The plan of an effort for so many training images, with what is `given` in place of its
    own.
    """
    table: Mapping[Any, Plan] = LARGE_EFFORTS if images >= LARGE else EFFORTS
    if effort not in table:
        raise SpecError(f"effort must be one of {', '.join(EFFORTS)}, not {effort!r}")
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(table[effort], **changes)


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


def search(
    *,
    dataset: str,
    board: Board,
    out: Path,
    clock_mhz: float | None = None,
    seed: int = 1,
    effort: str = "full",
    constraints: Mapping[str, float] | None = None,
    space: str | Space | None = None,
    bits: Sequence[int] | None = None,
    objective: str = "throughput",
    strategy: str = "joint",
    bitwidths: str = "heterogeneous",
    paths: int = 2,
    level: str = "bilevel",
    offset: bool = True,
    correction: bool = True,
    augmentation: str | None = None,
    val_size: float | None = None,
    test_size: float | None = None,
    given: Mapping[str, int | None] | None = None,
    compute: Compute | None = None,
    tensorboard: Path | None = None,
    progress: bool = True,
    resume: bool = False,
) -> Bundle:
    """Search, train and write the bundle `out`: design.json, weights.npz, golden.npz,
    search/model.npz, report/search.json.

    `constraints` (dsp, bram, lut, ff, min_fps, max_latency_ms, max_energy_uj) take the place of the
    space's; resources cannot exceed the board's. `given` replaces figures of the effort's plan. The
    same arguments give the same bytes (report/search_seconds.json apart). Raises DataError,
    SpecError or CapacityError.
    """
    wanted = dict(constraints or {})
    for name in wanted:
        if name not in (*RESOURCES, *CONSTRAINTS):
            raise SpecError(
                f"constraints: key must be one of {', '.join((*RESOURCES, *CONSTRAINTS))}, not"
                f" {name!r}"
            )
    for name, value, known in (("bitwidths", bitwidths, BITWIDTHS), ("level", level, LEVELS)):
        if value not in known:
            raise SpecError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    found = (
        space
        if isinstance(space, Space)
        else spaces.load(space or ("digits" if dataset == "digits" else "images"))
    )
    found = spaces.fix(found, bits=bits)
    if augmentation is not None:
        found = replace(found, augmentation=check_augmentation(augmentation))
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    check_clock(board, clock)
    reading = Monitor(progress and distributed.is_main())
    with reading.bars, reading.phase("data", "reading the data set") as tick:
        data = datasets.load(dataset, val=val_size, test=test_size, tick=tick)
    goal = objectives.goal(
        board,
        clock,
        objective=objective,
        multipliers=found.hardware.multipliers,
        resources={**found.constraints, **{n: v for n, v in wanted.items() if n in RESOURCES}},
        **{n: wanted.get(n) for n in CONSTRAINTS},
    )
    plan = plan_for(effort, len(data.train), given or {})
    method = Method(
        bitwidths=bitwidths,  # type: ignore[arg-type]
        paths=paths,
        offset=offset,
        level=level,  # type: ignore[arg-type]
        correction=correction,
        warm_epochs=plan.warm_epochs,
        search_epochs=plan.search_epochs,
        samples=plan.das_samples,
        batch=plan.batch,
        interval=plan.interval,
    )
    compute = compute or Compute()
    settings = {
        "dataset": data.name,
        "split": {"val": val_size, "test": test_size},
        "data_digest": (
            hashlib.sha256(
                b"".join(own.images.tobytes() for own in (data.train, data.val, data.test))
            ).hexdigest()
        ),
        "shape": list(data.shape),
        "classes": list(data.classes),
        "board": board.name,
        "seed": seed,
        "effort": effort,
        "space": found.name,
        "space_digest": hashlib.sha256(repr(found).encode()).hexdigest(),
        "clock_mhz": clock,
        "bits": list(found.bits),
        "objective": objective,
        "strategy": strategies.check(strategy),
        "method": {
            "bitwidths": bitwidths,
            "paths": paths,
            "level": level,
            "offset": offset,
            "correction": correction,
        },
        "plan": {
            n: getattr(plan, n)
            for n in (
                "warm_epochs",
                "search_epochs",
                "float_epochs",
                "quantized_epochs",
                "search_images",
                "batch",
            )
        },
        "precision": compute.precision,
        "limits": (
            {n: v for n, v in goal.limits.items() if n in RESOURCES}
            | {n: wanted[n] for n in CONSTRAINTS if n in wanted}
        ),
    }
    if resume and is_finished(out, settings):
        return Bundle(out)
    folder = inside(out, "search/checkpoints")
    monitor = Monitor(progress and distributed.is_main())
    kept = Checkpoints(folder=folder, settings=settings, resume=resume)
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
            space=found,
            target=Target(board=board, clock_mhz=clock, goal=goal),
            plan=plan,
            method=method,
            strategy=strategies.check(strategy),
            seed=seed,
            compute=compute,
            kept=kept,
            log=log,
            monitor=monitor,
        )
        run.all(work, settings)
        log.close()
        if work is not None:
            seconds = {**reading.seconds, **monitor.seconds}
            seconds["total"] = round(sum(seconds.values()), 1)
            work.write_json("report/search_seconds.json", {"schema_version": 1, **seconds})
            work.write(f"search/{LOG}", log.path.read_bytes() if log.path else b"")
            work.commit()
            log.clear()
        kept.clear()
    return Bundle(out)


def is_finished(out: Path, settings: Mapping[str, Any]) -> bool:
    """Whether `out` is the whole bundle of a search with these settings."""
    try:
        report, digest = read_json(inside(out, "report/search.json")), Bundle(out).digest
    except AutonbaError:
        return False
    return report.get("digest") == digest and all(report.get(n) == v for n, v in settings.items())


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's parts; each method is a phase."""

    data: Dataset
    space: Space
    target: Target
    plan: Plan
    method: Method
    strategy: Strategy
    seed: int
    compute: Compute
    kept: Checkpoints
    log: Log
    monitor: Monitor

    def all(self, work: Work | None, settings: Mapping[str, Any]) -> None:
        """Every phase, then the bundle."""
        self.check_possible()
        choices, joint = self.joint()
        self.build(choices, joint, work, settings)

    def build(
        self,
        choices: list[Choice],
        joint: Mapping[str, Any],
        work: Work | None,
        settings: Mapping[str, Any],
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
            accelerator=found.design.accelerator,
            target=BuildTarget(board=self.target.board.name, clock_mhz=self.target.clock_mhz),
            constraints=dict(settings["limits"]),
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
                **settings,
                **facts,
                "clock_mhz": self.target.clock_mhz,
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
        _, height, width = self.data.shape
        if self.target.goal.limits.get("cycles", math.inf) < height * width:  # a pixel a cycle
            raise das.OutOfReachError("cycles", height * width, self.target)
        operators = [o.name for o in self.space.operators]
        net = Supernet(self.space, self.data.shape, self.data.classes)
        macs_BI = HardwareCost(net, self.engine(net.uniform[0])[1]).macs
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
        tables, engine = self.engine(network)
        das.check_possible(network, engine, tables)
        if any(name not in (*RESOURCES, "multipliers") for name in self.target.goal.limits):
            das.search(
                network, engine, tables, steps=self.plan.das_steps, samples=self.plan.das_samples
            )

    def engine(self, network: Network) -> tuple[cand.NetworkTables, AcceleratorSearch]:
        """Cost tables of a network, and a fresh search for its accelerator."""
        tables = cand.tabulate(network, self.space.hardware, self.space.slots, spaces.slot_of)
        return tables, AcceleratorSearch(
            space=self.space.hardware, slots=self.space.slots, target=self.target, seed=self.seed
        )

    def joint(self) -> tuple[list[Choice], dict[str, Any]]:
        """Search for operators and bitwidths; the derived ones, and its curves."""
        with self.monitor.phase("joint", f"{self.strategy} search") as tick:
            done = self.kept.load("joint")
            if done is None:
                choices, curves = strategies.search(
                    self.strategy,
                    self.searched(),
                    self.space,
                    self.target,
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
        """The data set with at most the plan's number of training images for the search."""
        count, train_split = self.plan.search_images, self.data.train
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
            try:
                self.accelerator(outline)
            except das.OutOfReachError as error:
                smaller = self.smaller(choices, error)
                if smaller is None:
                    raise
                choices = smaller
            else:
                return choices, outline
        raise CapacityError(
            "no network of the space was found that meets every limit; loosen one of them"
        )

    def smaller(self, choices: list[Choice], error: das.OutOfReachError) -> list[Choice] | None:
        """The network next to `choices`, one operator or bitwidth changed, that saves most of what
        the limits are about.
        """
        net = Supernet(self.space, self.data.shape, self.data.classes)
        _, engine = self.engine(net.network(choices))
        tables = cand.tabulate(
            net.network(choices), self.space.hardware, self.space.slots, spaces.slot_of
        )
        for step in range(20):
            engine.step(tables, samples=self.plan.das_samples, progress=step / 20)
        assert engine.best is not None
        cost = HardwareCost(net, engine)
        cost.set_accelerator(engine.best)
        name = error.metric if error.metric in ("cycles", "latency", "energy") else "bram"
        return self.next_smaller(cost, choices, name) or self.next_smaller(cost, choices, "macs")

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

    def accelerator(
        self, network: Network, weights: golden.Weights | None = None
    ) -> tuple[das.Found, AcceleratorSearch, cand.NetworkTables]:
        """The best accelerator within the limits: free allocation, and staged space if the plan has
        `staged` seconds.
        """
        tables, engine = self.engine(network)
        steps, samples = self.plan.das_steps, self.plan.das_samples
        if not self.plan.staged:
            return (
                das.search(network, engine, tables, steps=steps, samples=samples, weights=weights),
                engine,
                tables,
            )
        error: das.OutOfReachError | None = None
        found: das.Found | None = None
        try:
            found = das.search(
                network, engine, tables, steps=steps, samples=samples, weights=weights
            )
        except das.OutOfReachError as refused:
            error = refused
        try:
            outcome = search_accelerator(
                network,
                self.target.board,
                self.target.goal,
                engine="exact",
                seed=self.seed,
                weights=weights,
                clock_mhz=self.target.clock_mhz,
                seconds=self.plan.staged,
            )
        except CapacityError:
            outcome = None
        if outcome is not None:
            design = das.exact(
                network, outcome.accelerator, self.target, weights=weights, sized=False, given=True
            )
            if not self.target.goal.excess(design.figures) and (
                found is None or self.objective(design) < self.objective(found.design)
            ):
                found = das.Found(design=design, curve=[] if found is None else found.curve)
        if found is None:
            assert error is not None
            raise error
        return found, engine, tables

    def objective(self, design: das.Design) -> float:
        """Logarithm of what the goal minimizes."""
        return sum(
            weight * math.log(max(design.figures[name], 1e-3))
            for name, weight in self.target.goal.weights.items()
        )

    def train(self, outline: Network, *, quantized: bool) -> dict[str, export.Folded]:
        """The derived network trained and folded."""
        name = "quantized" if quantized else "float"
        with self.monitor.phase(name, f"training, {name}") as tick:
            done = self.kept.load(name)
            if done is None:
                torch.manual_seed(self.seed)
                model = train.Model(outline)
                plan, recipe = self.plan, self.plan.train
                epochs = plan.quantized_epochs if quantized else plan.float_epochs
                if quantized and plan.warm_start:
                    recipe = plan.fine or recipe
                    kept = self.kept.load("float", always=True)
                    assert kept is not None
                    own = {
                        n.removeprefix(STATE): v for n, v in kept[1].items() if n.startswith(STATE)
                    }
                    model.load_state_dict({n: torch.as_tensor(v) for n, v in own.items()})
                float_epochs = epochs // 10 if quantized and not plan.warm_start else 0
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
                    if quantized or not self.plan.warm_start
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

    def final(self, network: Network, weights: golden.Weights) -> tuple[das.Found, dict[str, Any]]:
        """The accelerator of the integer network beside random ones."""
        found, engine, tables = self.accelerator(network, weights)
        designs = das.random_designs(network, engine, tables, count=RANDOM_DESIGNS, weights=weights)
        design, cycles = found.design, [float(d["cycles"]) for d in designs]
        facts: dict[str, Any] = {
            "cycles_per_image": design.cycles,
            "cycles_proven": design.proven,
            "cycles_bound": design.bound,
            "cycles_first_image": design.first_image,
            "multipliers": design.accelerator.multipliers,
            "chunks": len(design.accelerator.chunks),
            "resources": {name: getattr(design.resources, name) for name in RESOURCES},
            "multipliers_limit": self.space.hardware.multipliers,
            "energy_pj": round(design.energy, 1),
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
