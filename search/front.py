"""One search for each value of a limit, and the Pareto front of what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autonba.errors import BundleError, CapacityError
from autonba.files import read_json, working

from .run import run_search
from .settings import Settings

SCHEMA_VERSION = 2  # of front.json; in the first, test images chose the front


def sweep(
    settings: Settings, name: str, values: Sequence[float], *, progress: bool, resume: bool
) -> list[str]:
    """One search for each value of limit `name`, in folders of their own under `settings.out`;
    front.json tells which are best.

    Sweeps of other strategies or limits into the same folder add to its front.

    Returns lines for the user. A value that no design can meet is reported and the others go on;
    raises CapacityError where none can be met. A finished search is not run again with `resume`.
    """
    for value in values:  # every value is checked before hours are spent on the first
        replace(settings, constraints={**settings.constraints, name: value})
    with working(Path(settings.out)) as work:
        path = work.root / "front.json"
        before = _points(path) if path.is_file() else []
        points = _sweep(settings, name, values, progress, resume)
        points = [
            p for p in before if (p["strategy"], p["limit"]) != (settings.strategy, name)
        ] + points
        found = [p for p in points if "refused" not in p]
        for point in found:
            point["best"] = not any(dominates(other, point) for other in found)
        work.write_json("front.json", {"schema_version": SCHEMA_VERSION, "points": points})
    return [*(_line(point) for point in points), f"front in {path}"]


def _line(point: Mapping[str, Any]) -> str:
    """A point in words."""
    place = f"{point['strategy']}, {point['limit']} {_exact(point['value'])}"
    if "refused" in point:
        return f"{place}: {point['refused']}"
    return (
        f"{place}: {100 * point['val_accuracy']:.2f} % of validation and"
        f" {100 * point['test_accuracy']:.2f} % of test images, {point['fps']:.0f}"
        f" images/s{'' if point['best'] else ' (another is better in both)'}"
    )


def _exact(value: float) -> str:
    """A number so that others read otherwise."""
    return repr(float(value)).removesuffix(".0")


def _sweep(
    settings: Settings, name: str, values: Sequence[float], progress: bool, resume: bool
) -> list[dict[str, Any]]:
    """A point for each value."""
    points: list[dict[str, Any]] = []
    for value in values:
        out = Path(settings.out) / f"{settings.strategy}_{name}_{_exact(value)}"
        own = replace(settings, out=str(out), constraints={**settings.constraints, name: value})
        try:
            run_search(own, progress=progress, resume=resume)
        except CapacityError as error:
            points.append(
                {
                    "strategy": settings.strategy,
                    "limit": name,
                    "value": value,
                    "refused": str(error),
                }
            )
            continue
        found_here = figures(read_json(out / "report" / "search.json"))
        points.append(
            {
                "strategy": settings.strategy,
                "limit": name,
                "value": value,
                "bundle": out.name,
                **found_here,
            }
        )
    if all("refused" in p for p in points):
        raise CapacityError(
            f"sweep: no value of {name} could be met; the last: {points[-1]['refused']}"
        )
    return points


def _points(path: Path) -> list[dict[str, Any]]:
    document = read_json(path)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema_version must be {SCHEMA_VERSION}, whose points have an accuracy of"
            " validation images; sweep into another folder"
        )
    points: list[dict[str, Any]] = document["points"]
    return points


def figures(report: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy, speed and resources of a finished search; test accuracy is told and chooses
    nothing.
    """
    found = report["accelerator"]
    return {
        "val_accuracy": report["validation_accuracy"]["integer"],
        "test_accuracy": report["accuracy"]["integer"],
        "fps": report["clock_mhz"] * 1e6 / found["cycles_per_image"],
        "energy_uj": found["energy_pj"] / 1e6,
        **found["resources"],
    }


def dominates(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether `a` is at least as accurate, on validation images, and as fast as `b`, and better in
    one.
    """
    one, other = ((p["val_accuracy"], p["fps"]) for p in (a, b))
    return one != other and all(x >= y for x, y in zip(one, other, strict=True))
