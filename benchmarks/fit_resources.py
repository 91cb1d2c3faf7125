"""Fits the LUT and FF model of `autonba.cost.resources` to Yosys runs, and checks DSP and block RAM on the way.

    python -m benchmarks.fit_resources synthesize --seeds 1-16     # adds rows to benchmarks/resources_ecp5.json
    python -m benchmarks.fit_resources synthesize --bundle build   # a row that is kept out of the fit
    python -m benchmarks.fit_resources fit                         # writes autonba/cost/logic_ecp5.json

Designs are the random ones of `make fuzz`. The error is stated for designs left out of the fit: leave-one-out over the
random designs, and the bundles.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.optimize import nnls

from autonba.bundle import Bundle, read_json, write_json
from autonba.cost.resources import LOGIC_FEATURES, estimate, logic_features
from autonba.flows.ecp5 import read_statistics, synthesized_resources
from autonba.flows.tools import find_tool
from autonba.hwgen.generate import generate
from autonba.mapping import plan
from autonba.sim.random_designs import random_bundle

LARGEST = 96  # multipliers; larger random designs take many minutes each
ROWS = Path(__file__).parent / "resources_ecp5.json"
COEFFICIENTS = Path(__file__).parent.parent / "autonba" / "cost" / "logic_ecp5.json"


def measure(bundle: Bundle, name: str) -> dict[str, Any]:
    """Generate and synthesize a bundle; returns its features, the prediction and the counts."""
    generate(bundle)
    folder = bundle.path / "rtl"
    sources = " ".join(f"read_verilog -defer {line};" for line in (folder / "rtl.f").read_text().split())
    script = f"{sources} synth_ecp5 -top accelerator; tee -q -o stat.json stat -json"
    subprocess.run([find_tool("yosys"), "-q", "-p", script], cwd=folder, check=True, capture_output=True)
    counted = synthesized_resources(read_statistics(folder / "stat.json"))
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    return {"name": name, "features": logic_features(mapped), "counted": asdict(counted),
            "predicted": asdict(estimate(mapped, "ecp5", bundle.weights))}


def design_matrix(rows: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """Features of `rows` in the order of LOGIC_FEATURES."""
    return np.array([[row["features"][name] for name in LOGIC_FEATURES] for row in rows])


def fit_rows(rows: list[dict[str, Any]], kind: str) -> np.ndarray[Any, Any]:
    """Non-negative coefficients that minimize the sum of squared relative errors."""
    counted = np.array([row["counted"][kind] for row in rows], dtype=float)
    solution: np.ndarray[Any, Any] = nnls(design_matrix(rows) / counted[:, None], np.ones(len(rows)))[0]
    return solution


@click.group()
def main() -> None:
    """Fit the LUT and FF model."""


@main.command()
@click.option("--seeds", help="Range of random designs, as 1-16.")
@click.option("--bundle", "bundles", multiple=True, type=click.Path(path_type=Path), help="A bundle, kept out of the fit.")
def synthesize(seeds: str | None, bundles: tuple[Path, ...]) -> None:
    """Measure designs."""
    rows: dict[str, dict[str, Any]] = {r["name"]: r for r in read_json(ROWS)["rows"]} if ROWS.exists() else {}
    span = re.fullmatch(r"(\d+)-(\d+)", seeds or "1-0")
    if span is None:
        raise click.BadParameter(f"--seeds must be FIRST-LAST, as 1-16, not {seeds!r}")
    first, last = (int(n) for n in span.groups())
    with tempfile.TemporaryDirectory() as scratch:
        work = [(f"seed{n}", lambda n=n: random_bundle(Path(scratch) / str(n), n, 1)) for n in range(first, last + 1)]
        work += [(f"bundle:{Bundle(path).design.name}", lambda path=path: Bundle(path)) for path in bundles]
        for name, make in work:
            bundle = make()
            if name.startswith("seed") and bundle.design.accelerator.multipliers > LARGEST:
                continue
            row = rows[name] = measure(bundle, name)
            exact = all(row["predicted"][k] == row["counted"][k] for k in ("dsp", "bram"))
            click.echo(f"{name}: {row['counted']} dsp and bram {'exact' if exact else 'DIFFER: ' + str(row['predicted'])}")
            write_json(ROWS, {"schema_version": 1, "rows": sorted(rows.values(), key=lambda r: str(r["name"]))})


@main.command()
def fit() -> None:
    """Fit, state the error, write the coefficients."""
    rows = read_json(ROWS)["rows"]
    fitted = [row for row in rows if row["name"].startswith("seed")]
    others = [row for row in rows if row not in fitted]
    document: dict[str, Any] = {"coefficients": {}, "error": {}, "designs": len(fitted)}
    for kind in ("lut", "ff"):
        errors = []
        for i, row in enumerate(fitted):
            k = fit_rows(fitted[:i] + fitted[i + 1 :], kind)
            errors.append(abs((design_matrix([row]) @ k)[0] / row["counted"][kind] - 1))
        k = fit_rows(fitted, kind)
        for row in others:
            predicted = (design_matrix([row]) @ k)[0]
            click.echo(f"{row['name']} {kind}: predicted {predicted:.0f}, counted {row['counted'][kind]}, "
                       f"error {predicted / row['counted'][kind] - 1:+.1%}")
        click.echo(f"{kind}: left-out error mean {np.mean(errors):.1%}, largest {np.max(errors):.1%}")
        document["coefficients"][kind] = dict(zip(LOGIC_FEATURES, np.round(k, 6).tolist(), strict=True))
        document["error"][kind] = round(float(np.mean(errors)), 4)
    write_json(COEFFICIENTS, document)


if __name__ == "__main__":
    main()
