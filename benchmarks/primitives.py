"""Table of synthesized array primitives: LUT and FF of a lane (or a pack) of a multiplier array.

    # about 30 CPU-minutes; autonba/cost/primitives_xc7.json
    python -m benchmarks.primitives synthesize --family xc7

A primitive is what one more lane of `mac_array` takes, its accumulators included and drained at
once: the difference between arrays with and without it, so that whatever lanes share is not counted
twice. Styles: `lut` and `dsp` lanes of so many terms; `packed`, a pack of output lanes that share
an activation; `columns`, a pack of columns that share a weight. A pack is synthesized full and with
one field.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from autonba.arithmetic import clog2
from autonba.boards import Family
from autonba.files import read_json, write_json
from autonba.flows.tools import find_tool
from autonba.packing import PORT_BITS, pack, pack_columns
from benchmarks.attribution import KINDS

SPARE_BITS = 4  # of the accumulators beyond the sums
TERMS = {"lut": (1, 2), "dsp": (1, 2, 4), "packed": (4,), "columns": (1,)}
LUT_WEIGHTS, LUT_INPUTS = (2, 3, 4, 5, 6, 7, 8), (2, 3, 5, 7, 9)
DSP_WEIGHTS, DSP_INPUTS = (2, 4, 6, 8), (2, 5, 9)
PACKED_BITS = (2, 3, 4, 5, 6, 8)
MORE_BITS = 8  # of the accumulators, to tell what each of their bits takes
BATCH = 24  # arrays of a run of Yosys
REPOSITORY = Path(__file__).parent.parent
BUILD = REPOSITORY / "build" / "primitives"
TABLE = REPOSITORY / "autonba" / "cost"
LIBRARY_FOLDER = REPOSITORY / "rtl_templates"
LIBRARY = (
    "mac_array",
    "mac_lane",
    "mac_pack",
    "multiply_dsp",
    "multiply_lut",
    "multiply_packed",
    "multiply_slice",
    "adder_tree",
)
SYNTHESIS: dict[Family, str] = {
    "ecp5": "synth_ecp5",
    "xc7": "synth_xilinx -family xc7 -noiopad -flatten",
    "xcup": "synth_xilinx -family xcup -noiopad -flatten",
}


@dataclass(frozen=True, kw_only=True)
class Array:
    """A `mac_array` to synthesize."""

    style: str
    weight_bits: int
    input_bits: int  # signed, but never negative, as activations are; unsigned in packed arrays
    terms: int
    lanes: int
    columns: int
    fields: int
    spacing: int
    acc_bits: int

    @property
    def name(self) -> str:
        """Its module's name."""
        return (
            f"{self.style}_w{self.weight_bits}_a{self.input_bits}_t{self.terms}_o{self.lanes}_c{self.columns}"
            f"_acc{self.acc_bits}"
        )

    @property
    def weight_port(self) -> int:
        """Bits of its port of weights."""
        return self.lanes * self.terms * self.weight_bits

    @property
    def inputs(self) -> int:
        """Numbers that it takes a cycle."""
        return self.columns * (self.lanes if self.style == "columns" else 1) * self.terms

    @property
    def varying_bits(self) -> int:
        """Bits of an input without its sign."""
        return self.input_bits - (self.style in ("lut", "dsp"))

    @property
    def input_port(self) -> int:
        """Bits of its port of inputs."""
        return self.inputs * self.varying_bits

    def verilog(self) -> str:
        """A module with the array alone, which synthesis keeps."""
        shared = self.style != "columns"
        drain = self.lanes * self.columns
        multiplier = {"lut": 0, "dsp": 1}.get(self.style, 2)
        sign = "1'b0, " if self.varying_bits < self.input_bits else ""
        bits = self.varying_bits
        operands = ", ".join(
            f"{sign}inputs[{n * bits} +: {bits}]" for n in reversed(range(self.inputs))
        )
        return (
            f"(* keep_hierarchy *) module {self.name} (input clk, input rst, input"
            f" [{self.weight_port - 1}:0] weights,\n  input [{self.input_port - 1}:0] inputs, input"
            " valid, input first, input last, output done,\n  output"
            f" [{drain * self.acc_bits - 1}:0] drain);\n  mac_array #(.OUT_LANES({self.lanes}),"
            f" .TERMS({self.terms}), .COLUMNS({self.columns}), .SHARED({int(shared)}),\n   "
            f" .DRAIN_LANES({drain}), .WEIGHT_BITS({self.weight_bits}),"
            f" .INPUT_BITS({self.input_bits}),\n    .ACC_BITS({self.acc_bits}),"
            f" .MULTIPLIER({multiplier}), .FIELDS({self.fields}), .SPACING({self.spacing}))\n "
            f" u_array (.clk(clk), .rst(rst), .weights(weights), .inputs({{{operands}}}),"
            " .beat_valid(valid),\n    .beat_first(first), .beat_last(last), .beat_maximum(1'b0),"
            " .block_done(done), .drain(drain));\nendmodule\n"
        )


def pairs(family: Family) -> Iterator[tuple[dict[str, Any], Array, Array]]:
    """(key, larger array, smaller array) of each primitive."""
    for style, widths in (("lut", (LUT_WEIGHTS, LUT_INPUTS)), ("dsp", (DSP_WEIGHTS, DSP_INPUTS))):
        for w, a, terms in itertools.product(*widths, TERMS[style]):
            for spare in (
                (SPARE_BITS, SPARE_BITS + MORE_BITS) if (w, a) == (8, 9) else (SPARE_BITS,)
            ):
                more, less = (
                    Array(
                        style=style,
                        weight_bits=w,
                        input_bits=a,
                        terms=terms,
                        lanes=lanes,
                        columns=1,
                        fields=1,
                        spacing=w + a,
                        acc_bits=w + a + clog2(terms) + spare,
                    )
                    for lanes in (2, 1)
                )
                yield _key(more, 1), more, less
    for style, w, a in itertools.product(("packed", "columns"), PACKED_BITS, PACKED_BITS):
        packing = (pack if style == "packed" else pack_columns)(w, a, PORT_BITS[family])
        full = packing.fields
        for terms in TERMS[style]:
            for fields in {full, 1}:
                sizes = (
                    [(1, full), (2, full)] if fields == full else [(1, full), (1, full + 1)]
                )  # packs and fields
                less, more = (
                    Array(
                        style=style,
                        weight_bits=w,
                        input_bits=a,
                        terms=terms,
                        fields=full,
                        spacing=packing.spacing,
                        lanes=packs * count if style == "packed" else packs,
                        columns=count if style == "columns" else 1,
                        acc_bits=w + a + clog2(terms) + SPARE_BITS,
                    )
                    for packs, count in sizes
                )
                yield _key(more, fields), more, less


def _key(array: Array, fields: int) -> dict[str, Any]:
    return {
        "style": array.style,
        "weight_bits": array.weight_bits,
        "input_bits": array.input_bits,
        "terms": array.terms,
        "fields": fields,
        "acc_bits": array.acc_bits,
    }


def script(arrays: list[Array], family: Family) -> str:
    """A Yosys script that synthesizes all arrays, each kept apart from the others, and writes their
    statistics.
    """
    sources = " ".join(f"{name}.v" for name in LIBRARY)
    return (
        "\n".join(
            (
                f"read_verilog -defer {sources}",
                "read_verilog -defer arrays.v",
                f"{SYNTHESIS[family]} -top arrays",
                "tee -q -o cells.json stat -json",
            )
        )
        + "\n"
    )


def synthesize(
    arrays: list[Array], family: Family, folder: Path, yosys: str | Path
) -> dict[str, dict[str, int]]:
    """Cells of each array, by name and kind; kept in `folder`, and taken from there while what is
    synthesized is the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = {f"{name}.v": (LIBRARY_FOLDER / f"{name}.v").read_text() for name in LIBRARY}
    sources["arrays.v"] = "".join(array.verilog() for array in arrays) + _top(arrays)
    sources["run.ys"] = script(arrays, family)
    digest = hashlib.sha256(json.dumps(sources).encode()).hexdigest()
    kept = folder / "kept.json"
    if kept.exists() and (found := read_json(kept))["sources"] == digest:
        return dict(found["cells"])
    for name, text in sources.items():
        (folder / name).write_text(text)
    subprocess.run([str(yosys), "-q", "-s", "run.ys"], cwd=folder, check=True, capture_output=True)
    modules = json.loads((folder / "cells.json").read_text())["modules"]
    cells = {array.name: modules[f"\\{array.name}"]["num_cells_by_type"] for array in arrays}
    write_json(kept, {"sources": digest, "cells": cells})
    return cells


def _top(arrays: list[Array]) -> str:
    """A module that holds all arrays, with pins for every port."""
    ports, instances = ["input clk", "input rst", "input valid", "input first", "input last"], []
    for n, array in enumerate(arrays):
        ports += [
            f"input [{array.weight_port - 1}:0] weights{n}",
            f"input [{array.input_port - 1}:0] inputs{n}",
            f"output done{n}",
            f"output [{array.lanes * array.columns * array.acc_bits - 1}:0] drain{n}",
        ]
        instances.append(
            f"  {array.name} u{n} (.clk(clk), .rst(rst), .weights(weights{n}), .inputs(inputs{n}),"
            f" .valid(valid), .first(first), .last(last), .done(done{n}), .drain(drain{n}));\n"
        )
    return f"module arrays ({', '.join(ports)});\n{''.join(instances)}endmodule\n"


@click.group()
def main() -> None:
    """Synthesize the table of array primitives."""


@main.command(name="synthesize")
@click.option("--family", type=click.Choice(sorted(SYNTHESIS)), required=True)
def run(family: Family) -> None:
    """Write autonba/cost/primitives_FAMILY.json."""
    wanted = {array.name: array for _, *both in pairs(family) for array in both}
    cells: dict[str, dict[str, int]] = {}
    folder = BUILD / family
    arrays = sorted(wanted.values(), key=lambda array: array.name)
    for first in range(0, len(arrays), BATCH):
        part = arrays[first : first + BATCH]
        cells |= synthesize(part, family, folder / str(first), find_tool("yosys"))
        click.echo(f"{family}: {first + len(part)} of {len(arrays)} arrays")
    rows = []
    for key, more, less in pairs(family):
        taken = {
            kind: _count(cells[more.name], kind) - _count(cells[less.name], kind)
            for kind in ("lut", "ff", "dsp")
        }
        rows.append({**key, **taken})
    write_json(TABLE / f"primitives_{family}.json", {"family": family, "primitives": rows})


def _count(cells: dict[str, int], kind: str) -> int:
    return sum(KINDS[kind].get(cell, 0) * number for cell, number in cells.items())


if __name__ == "__main__":
    main()
