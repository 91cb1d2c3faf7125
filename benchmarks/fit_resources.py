"""Fits the LUT and FF model of `autonba.cost.logic` to Yosys runs, and judges it by whole designs
that it was not fitted to.

    python -m benchmarks.primitives synthesize --family xc7  # the table of array primitives, first
    # all designs of resource_designs.py; hours of a core
    python -m benchmarks.fit_resources synthesize --family xc7
    # autonba/cost/logic_xc7.json, and the table of errors
    python -m benchmarks.fit_resources fit --family xc7

A design is synthesized flat, as the flows do it, and each cell is then counted for the part that it
belongs to (`benchmarks/attribution.py`), so one run gives a sample of every part. What synthesis
counted is kept with a digest of the Verilog in benchmarks/resources_<family>.json; a design whose
Verilog has changed since is synthesized again, and `fit` refuses a stale one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from autonba.boards import Family
from autonba.bundle import Bundle
from autonba.cost import control, logic
from autonba.cost.logic import KINDS, KNOWN, Logic
from autonba.cost.resources import chunk_dsps, dsp_blocks, logic_parts, ram_blocks, weight_blocks
from autonba.files import read_json, write_json
from autonba.flows.tools import find_tool
from autonba.hwgen.generate import generate
from autonba.mapping import Plan, plan
from benchmarks.attribution import Part, amounts
from benchmarks.primitives import SYNTHESIS
from benchmarks.resource_designs import (
    BOARD,
    HELD_OUT,
    TRAINING_SEEDS,
    held_out_bundle,
    training_bundle,
)

REPOSITORY = Path(__file__).parent.parent
BUILD = REPOSITORY / "build" / "resources"
RIDGE = 0.0003  # weight that keeps coefficients small which the samples say nothing of
PRIOR: dict[Family, Family] = {
    "xcup": "xc7"
}  # fewer designs are synthesized for some, and their LUTs are alike
PRIOR_RIDGE = 0.001  # weight that keeps coefficients near those of the other family
DATA_PARTS = ("array", "operands", "weights")
LARGE = 256  # multipliers from which a design counts as large
family_option = click.option("--family", type=click.Choice(sorted(BOARD)), required=True)
Coefficients = dict[str, dict[str, float]]  # by part, then amount


def designs(family: Family) -> Iterator[tuple[str, bool]]:
    """(name, held out) of all designs, those held out first."""
    for name in HELD_OUT:
        if family in HELD_OUT[name]().families:
            yield name, True
    for seed in TRAINING_SEEDS:
        yield str(seed), False


def make(name: str, held_out: bool, family: Family) -> tuple[Bundle, str]:
    """A design's bundle with its Verilog, and the module that is synthesized."""
    path = BUILD / family / name.replace(" ", "_").replace(",", "")
    shutil.rmtree(path, ignore_errors=True)
    made = (
        held_out_bundle(path, name, family)
        if held_out
        else (training_bundle(path, int(name), family), "accelerator")
    )
    assert made is not None
    generate(made[0])
    return made


def digest(bundle: Bundle) -> str:
    """Of a bundle's Verilog and memory contents, without the banners, which hold a version."""
    found = hashlib.sha256()
    for file in sorted((bundle.path / "rtl").iterdir()):
        if file.suffix in (".v", ".hex"):
            text = "\n".join(
                line for line in file.read_text().splitlines() if not line.startswith("//")
            )
            found.update(f"{file.name}\n{text}\n".encode())
    return found.hexdigest()


def synthesize_bundle(bundle: Bundle, family: Family, module: str = "accelerator") -> Part:
    """LUT, FF, DSP and block RAM of each part, as Yosys makes them."""
    folder = bundle.path / "rtl"
    sources = " ".join(
        f"read_verilog -defer {line};" for line in (folder / "rtl.f").read_text().split()
    )
    subprocess.run(
        [
            str(find_tool("yosys")),
            "-q",
            "-p",
            f"{sources} {SYNTHESIS[family]} -top {module}; write_json netlist.json",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    netlist = json.loads((folder / "netlist.json").read_text())
    (folder / "netlist.json").unlink()
    chunks = [chunk.name for chunk in bundle.design.accelerator.chunks]
    return amounts(
        netlist["modules"][module],
        chunks,
        None if module == "accelerator" else module.removeprefix("chunk_"),
    )


@click.group()
def main() -> None:
    """Fit the LUT and FF model."""


@main.command()
@family_option
@click.option("--only", multiple=True, help="Names of designs; by default all.")
def synthesize(family: Family, only: tuple[str, ...]) -> None:
    """Synthesize the designs that are new or have changed."""
    for name, held_out in designs(family):
        if only and name not in only:
            continue
        bundle, module = make(name, held_out, family)
        kept = {row["name"]: row for row in read_rows(family)}
        verilog = digest(bundle)
        if name not in kept or kept[name]["verilog"] != verilog:
            counted = synthesize_bundle(bundle, family, module)
            kept[name] = {
                "name": name,
                "held_out": held_out,
                "module": module,
                "verilog": verilog,
                "counted": counted,
            }
            order = [known for known, _ in designs(family)]
            rows = sorted(kept.values(), key=lambda row: order.index(row["name"]))
            write_json(rows_file(family), {"family": family, "designs": rows})
        sums = {
            kind: sum(part[kind] for part in kept[name]["counted"].values())
            for kind in ("lut", "ff", "dsp", "bram")
        }
        click.echo(f"{family} {name}: {bundle.design.accelerator.multipliers} multipliers, {sums}")


def rows_file(family: Family) -> Path:
    """What synthesis counted."""
    return REPOSITORY / "benchmarks" / f"resources_{family}.json"


def model_file(family: Family) -> Path:
    """Coefficients of a family."""
    return REPOSITORY / "autonba" / "cost" / f"logic_{family}.json"


def read_rows(family: Family) -> list[dict[str, Any]]:
    """Kept results of synthesis."""
    rows: list[dict[str, Any]] = (
        read_json(rows_file(family))["designs"] if rows_file(family).exists() else []
    )
    return rows


class Sample:
    """A design: what its parts count, and the amounts that the model knows of them."""

    def __init__(self, row: dict[str, Any], bundle: Bundle, family: Family) -> None:
        self.name, self.held_out, self.counted = row["name"], row["held_out"], row["counted"]
        self.mapped: Plan = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
        module = row["module"].removeprefix("chunk_")
        whole = row["module"] == "accelerator"
        self.parts = {
            name: part
            for name, part in logic_parts(self.mapped, family, bundle.weights).items()
            if whole or name.startswith(f"{module}/")
        }
        strange = set(self.counted) - set(self.parts)
        if strange:
            raise click.ClickException(
                f"design {self.name}: cells of unknown parts {sorted(strange)}"
            )
        chunks = bundle.design.accelerator.chunks
        self.multipliers = sum(
            chunk.multipliers for chunk in chunks if whole or chunk.name == module
        )
        self.style = (
            bundle.design.accelerator.style
            if whole
            else bundle.design.accelerator.chunk(module).multiplier
        )
        self.total = {
            kind: sum(part[kind] for part in self.counted.values())
            for kind in ("lut", "ff", "dsp", "bram")
        }
        self.exact = {
            "dsp": dsp_blocks(self.mapped, family),
            "bram": ram_blocks(self.mapped, family, bundle.weights),
        }
        if not whole:
            chunk = next(chunk for chunk in self.mapped.chunks if chunk.chunk.name == module)
            self.exact = {
                "dsp": chunk_dsps(chunk, family),
                "bram": weight_blocks(chunk, family, bundle.weights, bundle.design.accelerator),
            }

    def count(self, part: str, kind: str) -> int:
        """What synthesis counted of a part."""
        found: int = self.counted.get(part, {kind: 0})[kind]
        return found


def samples(family: Family) -> list[Sample]:
    """All designs that have been synthesized; refuses one whose Verilog is another now."""
    found = []
    for row in read_rows(family):
        bundle, _ = make(row["name"], row["held_out"], family)
        if digest(bundle) != row["verilog"]:
            raise click.ClickException(
                f"design {row['name']!r} has other Verilog than was synthesized; run synthesize"
                " again"
            )
        found.append(Sample(row, bundle, family))
    return found


def group_of(part: str) -> str:
    """What a part is fitted with: registers between parts of a chunk's data path bear the names of
    both, and LUTs follow them.
    """
    chunk, _, kind = part.rpartition("/")
    return f"{chunk}/data" if kind in DATA_PARTS else part


def fit_parts(known: Sequence[Sample], kind: Logic, prior: Coefficients | None) -> Coefficients:
    """Non-negative coefficients that minimize the squared errors of groups of parts, as fractions
    of their designs.

    Where the samples leave a choice, those of `prior` are taken.
    """
    coefficients: Coefficients = {}
    groups = sorted(
        {group_of(name).rpartition("/")[2] for sample in known for name in sample.parts}
    )
    for group_kind in groups:
        rows: list[dict[tuple[str, str], float]] = []
        wanted, totals = [], []
        for sample in known:
            for group in sorted({group_of(name) for name in sample.parts}):
                if group.rpartition("/")[2] != group_kind:
                    continue
                own = [name for name in sample.parts if group_of(name) == group]
                rows.append(
                    {
                        (name.rpartition("/")[2], amount): float(value)
                        for name in own
                        for amount, value in sample.parts[name].items()
                    }
                )
                known_amount = sum(
                    float(sample.parts[name].get(f"{KNOWN}_{kind}", 0.0)) for name in own
                )
                wanted.append(sum(sample.count(name, kind) for name in own) - known_amount)
                totals.append(float(sample.total[kind]))
        keys = sorted({key for row in rows for key in row if not key[1].startswith(f"{KNOWN}_")})
        matrix = np.array([[row.get(key, 0.0) for key in keys] for row in rows])
        total = np.array(totals)
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-9)
        weighted: npt.NDArray[Any] = 100 * matrix / scale / total[:, None]
        expected = np.array(
            [
                0.0 if prior is None else prior.get(part, {}).get(amount, 0.0)
                for part, amount in keys
            ]
        )
        ridge = RIDGE if prior is None else PRIOR_RIDGE
        solution = (
            nnls(
                np.vstack([weighted, ridge * np.eye(len(keys))]),
                np.append(100 * np.array(wanted) / total, ridge * expected * scale),
            )[0]
            / scale
        )
        solution[scale == 1e-9] = 0.0
        for (part, amount), value in zip(keys, np.round(solution, 4).tolist(), strict=True):
            coefficients.setdefault(part, {})[amount] = value
    return coefficients


def predict(sample: Sample, coefficients: Coefficients, kind: Logic) -> dict[str, float]:
    """LUT or FF of each part."""
    return {
        name: float(
            sum(
                (
                    amount
                    if amount_name == f"{KNOWN}_{kind}"
                    else coefficients[name.split("/")[-1]].get(amount_name, 0.0) * amount
                )
                for amount_name, amount in part.items()
            )
        )
        for name, part in sample.parts.items()
    }


def fit_control(
    known: Sequence[Sample], coefficients: Coefficients, kind: Logic
) -> tuple[list[float], list[float]]:
    """Coefficients of `logic.control` and of `logic.top`, from what the model says of whole
    plans.
    """
    rows, wanted, top_rows, top_wanted = [], [], [], []
    for sample in known:
        found = predict(sample, coefficients, kind)
        for chunk in sample.mapped.chunks:
            own = [
                found[f"{chunk.chunk.name}/{part}"] for part in ("schedule", "sequence", "write")
            ]
            tables = sum(control.row_tables(lp.pattern) for lp in chunk.layers)
            rows.append(
                [1.0, len(chunk.layers), sum(map(control.address_bits, chunk.layers)), tables]
            )
            wanted.append(sum(own))
        top_rows.append(
            [1.0, len(sample.mapped.chunks), len(sample.mapped.layers), len(sample.mapped.edges)]
        )
        top_wanted.append(found["tokens"] + found["front"])
    return _relative(rows, wanted), _relative(top_rows, top_wanted)


def _relative(rows: list[list[float]], wanted: list[float]) -> list[float]:
    """Non-negative least squares of relative errors."""
    values = np.array(wanted)
    return np.round(nnls(np.array(rows) / values[:, None], np.ones(len(values)))[0], 3).tolist()  # type: ignore[no-any-return]


@main.command()
@family_option
def fit(family: Family) -> None:
    """Fit to the training designs, write the coefficients, print what they say of the designs held
    out.
    """
    for line in write_model(samples(family), family):
        click.echo(line)


def write_model(known: Sequence[Sample], family: Family) -> Iterator[str]:
    """Write autonba/cost/logic_FAMILY.json; the lines of the table of errors."""
    training = [sample for sample in known if not sample.held_out]
    other = PRIOR.get(family)
    priors: dict[Logic, Coefficients] = (
        {} if other is None else read_json(model_file(other))["coefficients"]
    )
    model: dict[str, Any] = {
        "coefficients": {},
        "control": {},
        "top": {},
        "held_out": [],
        "training": len(training),
    }
    found = {}
    for kind in KINDS:
        coefficients = model["coefficients"][kind] = fit_parts(training, kind, priors.get(kind))
        model["control"][kind], model["top"][kind] = fit_control(training, coefficients, kind)
        for sample in known:
            found[sample.name, kind] = sum(predict(sample, coefficients, kind).values())
    for sample in known:
        if sample.held_out:
            model["held_out"].append(
                {
                    "name": sample.name,
                    "multipliers": sample.multipliers,
                    "style": sample.style,
                    **{
                        kind: {
                            "predicted": round(found[sample.name, kind]),
                            "synthesized": sample.total[kind],
                        }
                        for kind in KINDS
                    },
                    **{
                        kind: {"predicted": sample.exact[kind], "synthesized": sample.total[kind]}
                        for kind in ("dsp", "bram")
                    },
                }
            )
    write_json(model_file(family), model)
    logic.model.cache_clear()
    yield (
        f"{'':30} multipliers |"
        + "".join(f"  {kind:>6} predicted  error |" for kind in KINDS)
        + " dsp | bram"
    )
    for sample in known:
        figures = ""
        for kind in KINDS:
            counted, predicted = sample.total[kind], found[sample.name, kind]
            figures += f" {counted:7} {predicted:9.0f} {predicted / counted - 1:+6.1%} |"
        blocks = " |".join(
            f" {sample.total[kind]}"
            + ("" if sample.total[kind] == sample.exact[kind] else f" NOT {sample.exact[kind]}")
            for kind in ("dsp", "bram")
        )
        yield (
            f"{'held out ' * sample.held_out + sample.name:34} {sample.multipliers:7}"
            f" |{figures}{blocks}"
        )
    for kind in KINDS:
        errors = [
            abs(row[kind]["predicted"] / row[kind]["synthesized"] - 1)
            for row in model["held_out"]
            if row["multipliers"] >= LARGE
        ]
        if errors:
            yield (
                f"{family} {kind}: {len(errors)} designs of at least {LARGE} multipliers held out,"
                f" mean error {np.mean(errors):.1%}, worst {max(errors):.1%}"
            )


@main.command()
def table() -> None:
    """Write benchmarks/resources.md: predicted and synthesized amounts of all designs held out."""
    lines = [
        "# Designs that the resource model was not fitted to",
        "",
        (
            "Predicted | synthesized by Yosys 0.70, of module `accelerator` (of a streaming chunk:"
            " of that chunk). Written by"
        ),
        "`python -m benchmarks.fit_resources table`; `fit` makes the figures.",
        "",
    ]
    for family in sorted(BOARD):
        rows = logic.model(family)["held_out"]
        lines += [
            f"## {family}",
            "",
            "| design | multipliers | built of | DSP | block RAM | LUT | error | FF | error |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in sorted(rows, key=lambda row: (-row["multipliers"], row["name"])):
            both = {
                kind: f"{row[kind]['predicted']} | {row[kind]['synthesized']}".replace("|", "\\|")
                for kind in ("dsp", "bram", *KINDS)
            }
            error = {
                kind: f"{row[kind]['predicted'] / row[kind]['synthesized'] - 1:+.1%}"
                for kind in KINDS
            }
            lines.append(
                f"| {row['name']} | {row['multipliers']} | {row['style']} | {both['dsp']} |"
                f" {both['bram']} | {both['lut']} | {error['lut']} | {both['ff']} | {error['ff']} |"
            )
        lines.append("")
        for kind in KINDS:
            errors = [
                abs(row[kind]["predicted"] / row[kind]["synthesized"] - 1)
                for row in rows
                if row["multipliers"] >= LARGE
            ]
            lines.append(
                f"{kind.upper()}, {len(errors)} designs of at least {LARGE} multipliers: mean error"
                f" {np.mean(errors):.1%}, worst {max(errors):.1%}.  "
            )
        lines.append("")
    (REPOSITORY / "benchmarks" / "resources.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
