"""When images finish and how long the chunks are busy, from the simulated hardware, beside the
schedule.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonba.bundle import Bundle
from autonba.cost.schedule import SteadyState, simulate, steady_state
from autonba.errors import AutonbaError
from autonba.hwgen.generate import generate
from autonba.mapping import Plan
from autonba.sim.check import finish_cycles
from autonba.sim.network_bench import BenchSettings
from autonba.sim.run import prepare
from autonba.sim.runner import run

MODULE = "benchmarks.throughput_bench"


class MeasurementError(AutonbaError):
    """The simulation went wrong."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """`finish` and `predicted` are the cycles in which the images finish, `busy` the mean cycles an
    image of each chunk.

    `steady` is the schedule's long run, which a simulation is too short to show and speaks for by
    being `exact`. Seconds are wall time.
    """

    plan: Plan
    finish: tuple[int, ...]
    predicted: tuple[int, ...]
    steady: SteadyState
    busy: Mapping[str, float]
    generate_seconds: float
    build_seconds: float
    build_cpu_seconds: float
    run_seconds: float

    @property
    def exact(self) -> bool:
        """Whether every image finished in the predicted cycle."""
        return self.finish == self.predicted

    def to_json(self) -> dict[str, Any]:
        """Everything but the plan."""
        return {
            "images": len(self.finish),
            "finish": list(self.finish),
            "exact": self.exact,
            "predicted": list(self.predicted),
            "steady": self.steady.to_json(),
            "busy": dict(self.busy),
            "seconds": {
                "generate": self.generate_seconds,
                "build": self.build_seconds,
                "build_cpu": self.build_cpu_seconds,
                "run": self.run_seconds,
            },
        }

    @property
    def cycles_per_second(self) -> float:
        """Simulated clock cycles a second of wall time."""
        return self.finish[-1] / self.run_seconds


def measure(bundle: Bundle, *, images: int, simulator: str = "verilator") -> Measurement:
    """Generate, build and run `images` images, whose results are compared."""
    started = time.monotonic()
    generate(bundle)
    generated, before_build = time.monotonic(), _cpu_seconds()
    prepared = prepare(bundle, simulator)
    built, build_cpu = time.monotonic(), _cpu_seconds() - before_build
    folder = prepared.folder.resolve()
    predicted = simulate(prepared.plan, images).finish
    settings, counts = folder / "throughput.json", folder / "counts.json"
    BenchSettings(
        bundle=str(bundle.path.resolve()),
        runs=(images,),
        stalled_images=0,
        image_cycles=predicted[0],
        seed=1,
    ).write(settings)
    began = time.monotonic()
    root = str(Path(__file__).resolve().parent.parent)
    sys.path.insert(0, root)
    verdicts = run(
        prepared.tools,
        top="testbench",
        module=MODULE,
        folder=folder,
        environment={
            "AUTONBA_BENCH": str(settings),
            "AUTONBA_COUNTS": str(counts),
            "PYTHONPATH": root,
        },
    )
    seconds = time.monotonic() - began
    for verdict in verdicts:
        if verdict.failure:
            raise MeasurementError(verdict.failure)
    busy = json.loads(counts.read_text())
    return Measurement(
        plan=prepared.plan,
        finish=finish_cycles(folder, 1),
        predicted=predicted,
        steady=steady_state(prepared.plan),
        busy={
            chunk.chunk.name: count / images
            for chunk, count in zip(prepared.plan.chunks, busy, strict=True)
        },
        generate_seconds=generated - started,
        build_seconds=built - generated,
        build_cpu_seconds=build_cpu,
        run_seconds=seconds,
    )


def _cpu_seconds() -> float:
    """Computing time of this process and of those that it waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)
