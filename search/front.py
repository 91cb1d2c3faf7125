"""`autonba search` as it is asked for: one search, or one for each value of a limit and the Pareto
front of what they found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autonba.boards import find_board
from autonba.bundle import Bundle
from autonba.config import COUNTS, SearchConfig
from autonba.errors import BundleError, CapacityError
from autonba.files import read_json, working
from autonba.search.training import distributed
from autonba.search.training.compute import Compute

from .run import search

SCHEMA_VERSION = 2  # of front.json; in the first, test images chose the front


def run(config: SearchConfig, *, progress: bool = True, resume: bool = False) -> Bundle | None:
    """The search that `config` asks for; its bundle, on the main process."""
    bundle = search(
        dataset=config.dataset,
        board=find_board(config.board),
        out=Path(config.out),
        clock_mhz=config.clock_mhz,
        seed=config.seed,
        effort=config.effort,
        constraints=dict(config.constraints),
        space=config.space,
        bits=config.bits,
        objective=config.objective,
        strategy=config.strategy,
        bitwidths=config.bitwidths,
        paths=config.paths,
        level=config.level,
        offset=config.offset,
        correction=config.correction,
        augmentation=config.augmentation,
        val_size=config.val_size,
        test_size=config.test_size,
        given={name: getattr(config, name) for name in (*COUNTS, "search_images", "batch")},
        compute=Compute(
            device=config.device,  # type: ignore[arg-type]
            precision=config.precision,  # type: ignore[arg-type]
            threads=config.threads,
        ),
        tensorboard=None if config.tensorboard is None else Path(config.tensorboard),
        progress=progress,
        resume=resume,
    )
    return bundle if distributed.is_main() else None


def sweep(
    config: SearchConfig, name: str, values: Sequence[float], *, progress: bool, resume: bool
) -> list[str]:
    """One search for each value of limit `name`, in folders of their own under `config.out`;
    front.json tells which are best.

    Sweeps of other strategies or limits into the same folder add to its front.

    Returns lines for the user. A value that no design can meet is reported and the others go on;
    raises CapacityError where none can be met. A finished search is not run again with `resume`.
    """
    for value in values:  # every value is checked before hours are spent on the first
        replace(config, constraints={**config.constraints, name: value})
    with working(Path(config.out)) as work:
        path = work.root / "front.json"
        before = _points(path) if path.is_file() else []
        points = _sweep(config, name, values, progress, resume)
        points = [
            p for p in before if (p["strategy"], p["limit"]) != (config.strategy, name)
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
    config: SearchConfig, name: str, values: Sequence[float], progress: bool, resume: bool
) -> list[dict[str, Any]]:
    """A point for each value."""
    points: list[dict[str, Any]] = []
    for value in values:
        out = Path(config.out) / f"{config.strategy}_{name}_{_exact(value)}"
        own = replace(config, out=str(out), constraints={**config.constraints, name: value})
        try:
            run(own, progress=progress, resume=resume)
        except CapacityError as error:
            points.append(
                {"strategy": config.strategy, "limit": name, "value": value, "refused": str(error)}
            )
            continue
        found_here = figures(read_json(out / "report" / "search.json"))
        points.append(
            {
                "strategy": config.strategy,
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
