"""The report: what every stage found, as report/summary.json (a published interface) and as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from autonba import __version__
from autonba.boards import find_board
from autonba.bundle import Bundle, check_schema, read_json, write_bytes, write_json
from autonba.cost.resources import estimate, logic_model_error
from autonba.cost.schedule import simulate
from autonba.errors import BundleError
from autonba.mapping import Plan, plan
from autonba.network import macs
from autonba.report_pictures import pictures

STEADY_IMAGES = 64  # fewer say nothing about the steady state: the first images meet an empty accelerator
KINDS = ("lut", "ff", "dsp", "bram")


def write_report(bundle: Bundle) -> tuple[Path, Path]:
    """Write report/summary.json and report/index.html of `bundle`; returns their paths."""
    folder = bundle.path / "report"
    found = {path.stem: read_json(path) for path in sorted(folder.glob("*.json")) if path.stem != "summary"}
    found = {name: facts for name, facts in found.items() if _is_current(facts, bundle.digest)}
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    try:
        summary = summarize(bundle, mapped, found)
        check_schema(summary, "summary", "summary.json")
        page = render(bundle, mapped, summary, found)
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{folder}: its files must be as the stages write them ({type(error).__name__}: {error}); "
                          "run the stage that wrote the damaged one again") from None
    write_json(folder / "summary.json", summary)
    write_bytes(folder / "index.html", page.encode())
    return folder / "summary.json", folder / "index.html"


def _is_current(facts: Any, digest: str) -> bool:
    """Whether facts are of this design: a stage that names the design it saw must have seen this one."""
    return isinstance(facts, dict) and facts.get("digest", digest) == digest


def summarize(bundle: Bundle, mapped: Plan, found: dict[str, Any]) -> dict[str, Any]:
    """Content of summary.json; null where a stage has not run."""
    design = bundle.design
    clock_hz = design.target.clock_mhz * 1e6
    simulation = found.get("simulation")
    cycles: dict[str, dict[str, Any]] = {
        "predicted": {"first_image": simulate(mapped, 1).first_image, "per_image": simulate(mapped, STEADY_IMAGES).per_image},
        "simulated": {"first_image": None, "per_image": None},
    }
    if simulation is not None:
        cycles["simulated"]["first_image"] = simulation["cycles"]["simulated"]["first_image"]
        if simulation["rtl_check"]["images"] >= STEADY_IMAGES:
            for side in ("predicted", "simulated"):
                cycles[side]["per_image"] = simulation["cycles"][side]["per_image"]
    per_image = {side: values["per_image"] for side, values in cycles.items()}
    flows = {name.removeprefix("flow_"): facts for name, facts in found.items()
             if name.startswith("flow_") and facts.get("resources")}
    predicted = estimate(mapped, find_board(design.target.board).family, bundle.weights)
    accuracy = found.get("search", {}).get("accuracy", {})
    check = (simulation or {}).get("rtl_check", {})
    multipliers = design.accelerator.multipliers
    return {
        "schema_version": 1,
        "digest": bundle.digest,
        "accuracy": {key: accuracy.get(key) for key in ("float", "quantized", "integer", "images")},
        "cycles": {side: {key: values[key] for key in ("first_image", "per_image")} for side, values in cycles.items()},
        "fps": {side: None if value is None else clock_hz / value for side, value in per_image.items()},
        "clock_mhz": design.target.clock_mhz,
        "fmax_mhz": {target: facts["fmax_mhz"] for target, facts in flows.items()},
        "resources": {
            "predicted": asdict(predicted),
            "synthesized": {target: {kind: facts["resources"][kind] for kind in KINDS} for target, facts in flows.items()},
        },
        "rtl_check": {key: check.get(key) for key in ("images", "elements", "mismatches")},
        "multipliers": multipliers,
        "utilization": macs(design.network) / (multipliers * (per_image["simulated"] or per_image["predicted"])),
        "chunks": len(mapped.chunks),
    }


def render(bundle: Bundle, mapped: Plan, summary: dict[str, Any], found: dict[str, Any]) -> str:
    """The HTML page."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("autonba", "."), undefined=jinja2.StrictUndefined,
                                     autoescape=True, trim_blocks=True, lstrip_blocks=True)
    per_image = summary["cycles"]["simulated"]["per_image"] or summary["cycles"]["predicted"]["per_image"]
    search, board = found.get("search"), find_board(bundle.design.target.board)
    return environment.get_template("report.html.j2").render(
        version=__version__, design=bundle.design, summary=summary, mapped=mapped, per_image=per_image,
        comparisons=_comparisons(summary), board=board,
        limits=bundle.design.constraints, random=(search or {}).get("accelerator", {}).get("random"),
        rounding=(search or {}).get("integer_against_quantized"),
        logic_error=logic_model_error(board.family),
        pictures=[] if search is None else pictures(search, _front_of(bundle), bundle.path.resolve().name, mapped.bottleneck),
        flows={name.removeprefix("flow_"): facts for name, facts in found.items() if name.startswith("flow_")},
    )


def _comparisons(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of predicted | simulated | synthesized; `error` is of the prediction."""
    rows = []
    for key, name in (("first_image", "cycles, first image"), ("per_image", "cycles from image to image")):
        predicted, simulated = (summary["cycles"][side][key] for side in ("predicted", "simulated"))
        rows.append({"name": name, "predicted": predicted, "simulated": simulated, "synthesized": None,
                     "error": None if None in (predicted, simulated) else predicted / simulated - 1})
    for target, counted in summary["resources"]["synthesized"].items():
        for kind in KINDS:
            predicted = summary["resources"]["predicted"][kind]
            rows.append({"name": f"{kind.upper()}, {target}", "predicted": predicted, "simulated": None,
                         "synthesized": counted[kind], "error": predicted / counted[kind] - 1 if counted[kind] else None})
    if not summary["resources"]["synthesized"]:
        rows += [{"name": kind.upper(), "predicted": summary["resources"]["predicted"][kind], "simulated": None,
                  "synthesized": None, "error": None} for kind in KINDS]
    for target, fmax in summary["fmax_mhz"].items():
        rows.append({"name": f"clock (MHz), {target}", "predicted": summary["clock_mhz"], "simulated": None,
                     "synthesized": fmax, "error": None})
    return rows


def _front_of(bundle: Bundle) -> Mapping[str, Any] | None:
    """The front.json of the sweep that the bundle belongs to."""
    path = bundle.path.resolve().parent / "front.json"
    return read_json(path) if path.is_file() else None
