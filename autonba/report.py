"""The report: what every stage found, as report/summary.json (a published interface) and as one
self-contained HTML page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from autonba import __version__
from autonba.boards import find_board
from autonba.bundle import Bundle, check_schema
from autonba.cost.energy import energy_per_image
from autonba.cost.logic import nearest_held_out
from autonba.cost.resources import chunk_dsps, estimate
from autonba.cost.schedule import simulate, steady_state
from autonba.cost.utilization import utilization
from autonba.errors import BundleError
from autonba.files import inside, read_json, working
from autonba.mapping import Plan, plan
from autonba.report_confusion import confusion
from autonba.report_facts import check_facts, check_front
from autonba.report_pictures import pictures, schedule_picture
from autonba.report_schedule import chart

KINDS = ("lut", "ff", "dsp", "bram")


def write_report(bundle: Bundle) -> tuple[Path, Path]:
    """Write report/summary.json and report/index.html of `bundle`; returns their paths."""
    folder = inside(bundle.path, "report")
    found = {
        path.stem: read_json(path)
        for path in sorted(folder.glob("*.json"))
        if path.stem != "summary"
    }
    for name, facts in found.items():
        if not isinstance(facts, dict):
            raise BundleError(
                f"{folder / f'{name}.json'}: the file must hold an object, not {facts!r:.40}; run"
                " the stage that writes it again"
            )
    found = {name: facts for name, facts in found.items() if _is_current(facts, bundle.digest)}
    for name, facts in found.items():
        check_facts(folder / f"{name}.json", facts)
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    try:
        summary = summarize(bundle, mapped, found)
        check_schema(summary, "summary", "summary.json")
        page = render(bundle, mapped, summary, found)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BundleError(
            f"{folder}: its files must be as the stages write them ({type(error).__name__}:"
            f" {error}); run the stage that wrote the damaged one again"
        ) from None
    with working(bundle.path) as work:
        work.write_json("report/summary.json", summary)
        work.write("report/index.html", page.encode())
    return folder / "summary.json", folder / "index.html"


def _is_current(facts: Any, digest: str) -> bool:
    """Whether facts are of this design: a stage that names the design it saw must have seen this
    one.
    """
    return isinstance(facts, dict) and facts.get("digest", digest) == digest


def summarize(bundle: Bundle, mapped: Plan, found: dict[str, Any]) -> dict[str, Any]:
    """Content of summary.json; null where a stage has not run."""
    design = bundle.design
    clock_hz = design.target.clock_mhz * 1e6
    simulation = found.get("simulation")
    steady, board = steady_state(mapped), find_board(design.target.board)
    simulated = {} if simulation is None else simulation["cycles"]["simulated"]
    cycles = {
        "predicted": {"first_image": simulate(mapped, 1).first_image, **steady.to_json()},
        "simulated": {
            key: simulated.get(key) for key in ("first_image", "distances", "images", "differing")
        },
    }
    flows = {
        name.removeprefix("flow_"): facts
        for name, facts in found.items()
        if name.startswith("flow_") and facts.get("resources")
    }
    predicted = estimate(mapped, board.family, bundle.weights)
    dsps = design.constraints.get("dsp") or board.resources.dsp
    accuracy = found.get("search", {}).get("accuracy") or {}
    check = (simulation or {}).get("rtl_check", {})
    return {
        "schema_version": 1,
        "digest": bundle.digest,
        "accuracy": {key: accuracy.get(key) for key in ("float", "quantized", "integer", "images")},
        "cycles": cycles,
        "fps": clock_hz / steady.per_image,
        "clock_mhz": design.target.clock_mhz,
        "fmax_mhz": {
            target: facts["fmax_mhz"] for target, facts in flows.items() if facts.get("fmax_mhz")
        },
        "resources": {
            "predicted": asdict(predicted),
            "synthesized": {
                target: {kind: facts["resources"][kind] for kind in KINDS}
                for target, facts in flows.items()
            },
        },
        "rtl_check": {key: check.get(key) for key in ("images", "elements", "mismatches")},
        "multipliers": design.accelerator.multipliers,
        "utilization": utilization(mapped, steady.per_image, board.family, dsps).to_json(),
        "chunks": len(mapped.chunks),
    }


def render(bundle: Bundle, mapped: Plan, summary: dict[str, Any], found: dict[str, Any]) -> str:
    """The HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autonba", "."),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    search, board = found.get("search"), find_board(bundle.design.target.board)
    steady = steady_state(mapped)
    drawn = [schedule_picture(chart(mapped, steady))]
    if search is not None:
        own = bundle.path.resolve().name
        drawn += pictures(search, _front_of(bundle), own, mapped.bottleneck)
    return environment.get_template("report.html.j2").render(
        version=__version__,
        design=bundle.design,
        summary=summary,
        mapped=mapped,
        per_image=steady.per_image,
        comparisons=_comparisons(summary),
        amounts=_amounts(bundle, summary),
        limits=_limits(bundle, mapped, summary),
        accuracies=_accuracies(search),
        confusion=confusion(bundle),
        dsps={chunk.chunk.name: chunk_dsps(chunk, board.family) for chunk in mapped.chunks},
        board=board,
        random=(search or {}).get("accelerator", {}).get("random"),
        rounding=(search or {}).get("integer_against_quantized"),
        alike=nearest_held_out(
            board.family, bundle.design.accelerator.style, bundle.design.accelerator.multipliers
        ),
        schedule=drawn[0],
        pictures=drawn[1:],
        flows={
            name.removeprefix("flow_"): facts
            for name, facts in found.items()
            if name.startswith("flow_")
        },
        missing=[
            command
            for command, there in (
                ("search", search is not None),
                ("sim", "simulation" in found),
                ("flow", any(name.startswith("flow_") for name in found)),
            )
            if not there
        ],
    )


def _amounts(bundle: Bundle, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the resources, predicted and synthesized: need, what the board has, the limit, and
    the shares of both.
    """
    board, limits = find_board(bundle.design.target.board), bundle.design.constraints
    counts = {"predicted": summary["resources"]["predicted"]} | {
        f"synthesized, {target}": counted
        for target, counted in summary["resources"]["synthesized"].items()
    }
    return [
        {
            "name": kind.upper(),
            "source": source,
            "need": counted[kind],
            "board": getattr(board.resources, kind),
            "of_board": counted[kind] / getattr(board.resources, kind),
            "limit": limits.get(kind),
            "of_limit": _share(counted[kind], limits.get(kind)),
        }
        for kind in KINDS
        for source, counted in counts.items()
    ]


def _limits(bundle: Bundle, mapped: Plan, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of speed, latency and energy: what the design has, its limit, the share used of it."""
    limits, clock_hz = bundle.design.constraints, summary["clock_mhz"] * 1e6
    latency_ms = summary["cycles"]["predicted"]["first_image"] / clock_hz * 1e3
    energy_uj = energy_per_image(mapped).total / 1e6
    least, most, highest = (
        limits.get(key) for key in ("min_fps", "max_latency_ms", "max_energy_uj")
    )
    return [
        {
            "name": "images a second",
            "found": summary["fps"],
            "rule": "at least",
            "limit": least,
            "share": None if least is None else least / summary["fps"],
        },
        {
            "name": "latency of an image alone, ms",
            "found": latency_ms,
            "rule": "at most",
            "limit": most,
            "share": _share(latency_ms, most),
        },
        {
            "name": "energy of an image, µJ (45 nm model)",
            "found": energy_uj,
            "rule": "at most",
            "limit": highest,
            "share": _share(energy_uj, highest),
        },
    ]


def _share(need: float, limit: float | None) -> float | None:
    return need / limit if limit else None


def _accuracies(search: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of float | fake-quantized | integer for each set of images that has been measured."""
    splits = {
        "test": "accuracy",
        "validation, held back from training": "validation_accuracy",
    }
    return [
        {
            "name": name,
            **{key: search[split].get(key) for key in ("float", "quantized", "integer", "images")},
        }
        for name, split in splits.items()
        if search is not None and search.get(split)
    ]


def _comparisons(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of predicted | simulated | synthesized; `error` is of the prediction."""
    predicted, simulated = summary["cycles"]["predicted"], summary["cycles"]["simulated"]
    first = simulated["first_image"]
    long_run = "in the long run" if predicted["proven"] else "in the long run, not proven"
    rows = [
        {
            "name": "cycles, first image",
            "predicted": predicted["first_image"],
            "simulated": first,
            "synthesized": None,
            "error": None if first is None else predicted["first_image"] / first - 1,
        },
        {
            "name": f"cycles from image to image, {long_run}",
            "predicted": predicted["per_image"],
            "simulated": None,
            "synthesized": None,
            "error": None,
        },
    ]
    if simulated["images"]:
        rows.append(
            {
                "name": "images that end in the predicted cycle",
                "predicted": simulated["images"],
                "simulated": simulated["images"] - simulated["differing"],
                "synthesized": None,
                "error": simulated["images"] / max(simulated["images"] - simulated["differing"], 1)
                - 1,
            }
        )
    for target, counted in summary["resources"]["synthesized"].items():
        for kind in KINDS:
            predicted = summary["resources"]["predicted"][kind]
            rows.append(
                {
                    "name": f"{kind.upper()}, {target}",
                    "predicted": predicted,
                    "simulated": None,
                    "synthesized": counted[kind],
                    "error": predicted / counted[kind] - 1 if counted[kind] else None,
                }
            )
    if not summary["resources"]["synthesized"]:
        rows += [
            {
                "name": kind.upper(),
                "predicted": summary["resources"]["predicted"][kind],
                "simulated": None,
                "synthesized": None,
                "error": None,
            }
            for kind in KINDS
        ]
    for target, fmax in summary["fmax_mhz"].items():
        rows.append(
            {
                "name": f"clock (MHz), {target}",
                "predicted": summary["clock_mhz"],
                "simulated": None,
                "synthesized": fmax,
                "error": None,
            }
        )
    return rows


def _front_of(bundle: Bundle) -> Mapping[str, Any] | None:
    """The front.json of the sweep that the bundle belongs to, without the values refused."""
    path = bundle.path.resolve().parent / "front.json"
    return {"points": check_front(path, read_json(path))} if path.is_file() else None
