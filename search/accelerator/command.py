"""What `autonba search-accel` reads, writes and prints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autonba.boards import check_clock, find_board
from autonba.bundle import Bundle, Design, Target, network_from_json
from autonba.errors import SpecError
from autonba.files import read_json, write_json
from autonba.golden import Weights
from autonba.network import Network

from .objectives import RESOURCES, goal
from .search_accelerator import Outcome, report, search_accelerator


def read_network(path: Path) -> tuple[str, Network, Weights | None]:
    """Name, network and, where a bundle holds them, weights; of a bundle's folder, its design.json,
    or a network document.
    """
    if path.is_dir():
        path = path / "design.json"
    document = read_json(path)
    if isinstance(document, dict) and "accelerator" in document:
        design = Design.from_json(document, str(path))
        bundled = path.name == "design.json" and (path.parent / "weights.npz").is_file()
        return design.name, design.network, Bundle(path.parent).weights if bundled else None
    name, network = network_from_json(document, str(path))
    return name, network, None


def run(
    path: Path,
    *,
    board: str,
    engine: str,
    objective: str,
    min_fps: float | None,
    max_latency_ms: float | None,
    max_energy_uj: float | None,
    max_dsp: float | None,
    max_bram: float | None,
    max_lut: float | None,
    max_ff: float | None,
    max_dram: float | None,
    clock_mhz: float | None,
    seed: int,
    seconds: float | None,
    as_json: bool,
    out: Path | None,
) -> Iterator[str]:
    """Search, write, and give the lines to print."""
    place = find_board(board)
    clock = place.clock_mhz if clock_mhz is None else clock_mhz
    check_clock(place, clock)
    limits = {"dsp": max_dsp, "bram": max_bram, "lut": max_lut, "ff": max_ff}
    for name, limit in limits.items():
        if limit is not None and not 0 <= limit < float("inf"):
            raise SpecError(f"max_{name} must be a number from 0 on, not {limit!r}")
    wanted = goal(
        place,
        clock,
        objective=objective,
        min_fps=min_fps,
        max_latency_ms=max_latency_ms,
        max_energy_uj=max_energy_uj,
        resources={name: limit for name, limit in limits.items() if limit is not None},
        dram=max_dram or 0.0,
    )
    name, network, weights = read_network(path)
    notes: list[str] = []
    outcome = search_accelerator(
        network,
        place,
        wanted,
        engine=engine,
        seed=seed,
        weights=weights,
        clock_mhz=clock,
        seconds=seconds,
        say=notes.append,
    )
    if out is not None:
        design = Design(
            name=name,
            network=network,
            accelerator=outcome.accelerator,
            target=Target(board=place.name, clock_mhz=clock),
            constraints={n: limit for n, limit in limits.items() if limit is not None},
        )
        document = json.loads(json.dumps(design.to_json()))
        Design.from_json(document)
        write_json(out, document)
    found = report(outcome, place, clock)
    if as_json:
        yield json.dumps(found, sort_keys=True)
        return
    yield from notes
    yield from _table(outcome, found)
    if out is not None:
        yield f"written to {out}"


def _table(outcome: Outcome, found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{'chunk':12} {'out':>4} {'in':>4} {'taps':>5} {'columns':>8} {'drain':>6}"
        f" {'multipliers':>12} {'of':>7} {'layers':>7}"
    )
    allocation = list(outcome.accelerator.allocation.values())
    for chunk in outcome.accelerator.chunks:
        yield (
            f"{chunk.name:12} {chunk.out_lanes:4} {chunk.in_lanes:4} {chunk.taps:5}"
            f" {chunk.columns:8} {chunk.drain_lanes:6} {chunk.multipliers:12} {chunk.multiplier:>7}"
            f" {allocation.count(chunk.name):7}"
        )
    yield f"{'':12} {'exact':>12} {'predicted':>12} {'limit':>12}"
    limits = {"fps": "min_fps", "latency_ms": "max_latency_ms", "energy_uj": "max_energy_uj"}
    for name in ("fps", "latency_ms", "energy_uj", *RESOURCES):
        limit = found["limits"].get(limits.get(name, name))
        asked = "-" if limit is None else f"{limit:.6g}"
        yield f"{name:12} {found['exact'][name]:12.6g} {found['predicted'][name]:12.6g} {asked:>12}"
    proof = found["optimum"]
    if proof is not None:
        state = (
            "proven"
            if proof["proven"]
            else f"not proven in time; none is below {proof['lower_bound']:.6g}"
        )
        yield (
            f"optimum of the staged space: {proof['objective']:.6g} ({state}), gap of the"
            f" accelerator {100 * proof['gap']:.2f} %"
        )
    yield (
        f"{found['search']['evaluations']} accelerators of the last search of"
        f" {found['search']['searches']}, {found['search']['seconds']:.1f} CPU-seconds"
    )
