"""What a search wants of an accelerator and what it must keep to: metrics, objective, limits, and
the score made of them.

Engines compare candidates by `Goal.score`; whoever returns a design checks it against the limits
with exact figures.
Suffix B: candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from autonba.boards import Board
from autonba.cost import logic
from autonba.errors import SpecError

RESOURCES = ("dsp", "bram", "lut", "ff")
# what a limit may hold; dram: bits a cycle
METRICS = ("cycles", "latency", "energy", *RESOURCES, "multipliers", "dram")
OBJECTIVES: Mapping[str, Mapping[str, float]] = {
    "throughput": {"cycles": 1.0},
    "latency": {"latency": 1.0},
    "energy": {"energy": 1.0},
    "edp": {"energy": 1.0, "cycles": 1.0},  # energy of an image times the time between two images
    **{name: {name: 1.0} for name in RESOURCES},
}
VIOLATION = (
    5.0  # of the score, for each factor e above a limit: outweighs any gain of the objective
)
# of the score, for using all of every resource: between equally good accelerators, the smaller one
THRIFT = 0.02


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Of each candidate (B,), float64: steady-state `cycles` an image, `latency` of the first image
    in cycles, `energy` of an
    image in pJ, and `resources`: dsp, bram, lut, ff, multipliers, dram. `busy` (B, parts), where
    there is one, holds the cycles of the parts whose largest is `cycles`."""

    cycles: Tensor
    latency: Tensor
    energy: Tensor
    resources: Mapping[str, Tensor]
    busy: Tensor | None = None

    @classmethod
    def join(cls, parts: Sequence[Costs]) -> Costs:
        """Costs of all candidates of `parts` in a row, without `busy`."""
        names = parts[0].resources
        return cls(
            cycles=torch.cat([p.cycles for p in parts]),
            latency=torch.cat([p.latency for p in parts]),
            energy=torch.cat([p.energy for p in parts]),
            resources={n: torch.cat([p.resources[n] for p in parts]) for n in names},
        )

    def metric(self, name: str) -> Tensor:
        """One of METRICS."""
        if name in ("cycles", "latency", "energy"):
            found: Tensor = getattr(self, name)
            return found
        return self.resources[name]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Minimize the product of the metrics in `weights`, each to the power of its weight, within
    `limits` (of METRICS).
    """

    weights: Mapping[str, float]
    limits: Mapping[str, float] = field(default_factory=dict)
    # factors by which figures of a metric may be too low: those of LUT and FF on whole designs
    margins: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for where, names in (("objective", self.weights), ("limits", self.limits)):
            for name in names:
                if name not in METRICS:
                    raise SpecError(
                        f"{where}: key must be one of {', '.join(METRICS)}, not {name!r}"
                    )

    @property
    def tightened(self) -> Goal:
        """The same with the margins taken off the limits: what a search goes by."""
        limits = {name: limit / self.margins.get(name, 1.0) for name, limit in self.limits.items()}
        return replace(self, limits=limits, margins={})

    def value(self, costs: Costs) -> Tensor:
        """Logarithm of the objective alone (B,)."""
        total = torch.zeros_like(costs.cycles)
        for name, weight in self.weights.items():
            total = total + weight * torch.log(costs.metric(name).clamp(min=1e-3))
        return total

    def score(self, costs: Costs) -> Tensor:
        """Logarithm of the objective, plus a penalty for every limit exceeded and a little for what
        is used (B,).
        """
        total = self.value(costs)
        used = torch.zeros_like(total)
        for name, limit in self.limits.items():
            need = costs.metric(name)
            total = total + VIOLATION * torch.relu(
                torch.log(need.clamp(min=1e-3) / max(limit, 1e-3))
            )
            if name not in ("cycles", "latency", "energy"):
                used = used + (need / max(limit, 1.0)).clamp(max=2.0)
        return total + THRIFT * used / 5

    def feasible(self, costs: Costs) -> Tensor:
        """Whether each candidate is within every limit (B,)."""
        fits = torch.ones_like(costs.cycles, dtype=torch.bool)
        for name, limit in self.limits.items():
            fits &= costs.metric(name) <= limit
        return fits

    def excess(self, figures: Mapping[str, float]) -> dict[str, float]:
        """need / limit of every limit that a design's exact `figures` exceed, margins taken off."""
        return {
            name: figures[name] / max(limit, 1e-9)
            for name, limit in self.tightened.limits.items()
            if figures[name] > limit * (1 + 1e-12)
        }


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Where an accelerator shall run, and what is wanted of it."""

    board: Board
    clock_mhz: float
    goal: Goal


def goal(
    board: Board,
    clock_mhz: float,
    *,
    objective: str | Mapping[str, float] = "throughput",
    dram: float = 0.0,
    min_fps: float | None = None,
    max_latency_ms: float | None = None,
    max_energy_uj: float | None = None,
    resources: Mapping[str, float] | None = None,
) -> Goal:
    """The goal on a board at a clock: its resources, tightened by `resources`, and the user's
    constraints. Weights may be streamed with `dram` bits a cycle.
    """
    if isinstance(objective, str):
        if objective not in OBJECTIVES:
            raise SpecError(f"objective must be one of {', '.join(OBJECTIVES)}, not {objective!r}")
        objective = OBJECTIVES[objective]
    own = {name: float(getattr(board.resources, name)) for name in RESOURCES}
    limits = {
        name: min(own[name], float((resources or {}).get(name, own[name]))) for name in RESOURCES
    }
    for name, value in (
        ("min_fps", min_fps),
        ("max_latency_ms", max_latency_ms),
        ("max_energy_uj", max_energy_uj),
    ):
        if value is not None and not value > 0:
            raise SpecError(f"{name} must be a number above 0, not {value!r}")
    if not 0 <= dram < float("inf"):
        raise SpecError(f"max_dram must be a number of bits a cycle from 0 on, not {dram!r}")
    if dram:
        limits["dram"] = dram
    if min_fps is not None:
        limits["cycles"] = clock_mhz * 1e6 / min_fps
    if max_latency_ms is not None:
        limits["latency"] = max_latency_ms * 1e-3 * clock_mhz * 1e6
    if max_energy_uj is not None:
        limits["energy"] = max_energy_uj * 1e6
    margins = {str(kind): logic.margin(board.family, kind) for kind in logic.KINDS}
    return Goal(weights=dict(objective), limits=limits, margins=margins)
