"""Fits the LUT and FF model of `autonba.cost.logic` to Yosys runs, and checks DSP and block RAM on the way.

    python -m benchmarks.fit_resources synthesize --family ecp5 --seeds 1-41 # random designs: benchmarks/resources_ecp5.json
    python -m benchmarks.fit_resources fit --family ecp5                     # autonba/cost/logic_ecp5.json, and the error table

A design is synthesized flat, as the flows do it, and each cell is then counted for the part that it belongs to: registers,
carry chains, DSP blocks and memories by the source line they come from, LUTs by what they drive. So one run gives a sample of
every part of a design. Synthesis of a design takes 20 to 60 s of a core; its result is kept below build/, and taking samples of
designs that are there again takes a second. The error is that of designs left out: each is predicted with coefficients
fitted to all the others.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from autonba.accelerator import Accelerator, Chunk, Loops, Multiplier
from autonba.boards import Family
from autonba.bundle import Bundle, Target, read_json, write_bundle, write_json
from autonba.cost.buffers import size_buffers
from autonba.cost.logic import Logic, logic_parts
from autonba.cost.resources import dsp_blocks, ram_blocks, uses_block_ram
from autonba.cost.schedule import simulate
from autonba.errors import DeadlockError, SpecError
from autonba.flows.tools import find_tool
from autonba.hwgen.generate import generate
from autonba.mapping import plan
from autonba.network import Network
from autonba.sim.random_designs import random_bundle

LARGEST = 64  # multipliers, and
MOST_CHUNKS = 3  # chunks of a design: larger ones take many minutes each
BOARD: dict[Family, str] = {"ecp5": "ulx3s-85f", "xc7": "pynq-z2", "xcup": "ultra96-v2"}
SYNTHESIS: dict[Family, str] = {
    "ecp5": "synth_ecp5", "xc7": "synth_xilinx -family xc7 -noiopad -flatten",
    "xcup": "synth_xilinx -family xcup -noiopad -flatten",
}
REPOSITORY = Path(__file__).parent.parent
BUILD = REPOSITORY / "build" / "resources"
KINDS: tuple[Logic, ...] = ("lut", "ff")
RIDGE = 0.01  # weight that keeps coefficients small which the samples say nothing of
PRIOR: dict[Family, Family] = {"xc7": "ecp5", "xcup": "ecp5"}  # few designs are synthesized for these:
PRIOR_RIDGE = 0.05  # weight that keeps their coefficients near those of the other family

# Cells of the three families: what each counts as. Those without a source line of their own follow what they drive.
LUTS = {
    "LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4, **{f"LUT{n}": 1 for n in range(1, 7)}, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
    "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "SRL16E": 1, "SRLC32E": 1,
}
FFS = {"TRELLIS_FF": 1, "FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1}
DSPS = {"MULT18X18D": 1, "DSP48E1": 1, "DSP48E2": 1}
BRAMS = {"DP16KD": 1, "RAMB18E1": 1, "RAMB36E1": 2, "RAMB18E2": 1, "RAMB36E2": 2}
FREE = {"PFUMX", "L6MUX21", "MUXF7", "MUXF8", "MUXF9", "INV", "CARRY4", "CARRY8", "BUFG"}
FOLLOWING = {"LUT4", "PFUMX", "L6MUX21", "MUXF7", "MUXF8", "MUXF9", "INV", *(f"LUT{n}" for n in range(1, 7))}
PARTS = {
    "schedule": "schedule", "sequence": "sequence", "write": "write", "requantize": "requantize", "chunk": "array",
    "mac": "array", "multiply": "array", "adder": "array", "column": "memory", "row_buffer": "memory", "ram": "memory",
    "rom": "rom", "row_tokens": "tokens", "host": "front", "image": "front", "result": "front", "accelerator": "front",
}
Part = dict[str, dict[str, int]]  # amounts of a design by part, "chunk/kind" or "kind"


def varied(rng: random.Random, network: Network, accelerator: Accelerator) -> Accelerator:
    """The allocation of `accelerator` on chunks of the whole space, with random loops and sized buffers."""
    tensors = network.tensors
    while True:
        chunks = tuple(_varied_chunk(rng, chunk) for chunk in accelerator.chunks)
        if sum(chunk.multipliers for chunk in chunks) > LARGEST:
            continue
        loops = {}
        for name in accelerator.allocation:
            rows = rng.choice([n for n in (1, 1, 1, 2, 3) if tensors[name].height % n == 0])
            loops[name] = Loops(order=rng.choice(("pixel_outer", "block_outer")), rows=rows)
        try:
            found = size_buffers(network, Accelerator(chunks=chunks, allocation=accelerator.allocation, loops=loops))
            simulate(plan(network, found), 4)
        except (SpecError, DeadlockError):
            continue
        return found


def _varied_chunk(rng: random.Random, chunk: Chunk) -> Chunk:
    taps, columns = rng.choice((1, 1, 1, 2, 3)), rng.choice((1, 1, 1, 2, 4))
    styles: tuple[Multiplier, ...] = ("lut", "dsp", "packed")
    multiplier = rng.choice(styles)
    if chunk.kind == "depthwise":
        out_lanes = in_lanes = rng.choice((1, 2, 4, 8))
        columns = max(columns, 2) if multiplier == "packed" else columns
    else:
        out_lanes, in_lanes = rng.choice((1, 2, 3, 4, 6, 8, 12)), rng.choice((1, 2, 4, 8))
    drain_lanes = rng.choice([n for n in (1, 2, 4) if out_lanes % n == 0])
    return replace(chunk, taps=taps, columns=columns, multiplier=multiplier, out_lanes=out_lanes, in_lanes=in_lanes,
                   drain_lanes=drain_lanes)


def make_design(path: Path, seed: int, family: Family) -> Bundle | None:
    """The design of `seed`, or None where it is too large."""
    bundle = random_bundle(path, seed, 1)
    if len(bundle.design.accelerator.chunks) > MOST_CHUNKS:
        return None
    network = bundle.design.network
    accelerator = varied(random.Random(f"resources {seed}"), network, bundle.design.accelerator)
    design = replace(bundle.design, accelerator=accelerator, target=Target(board=BOARD[family], clock_mhz=50.0))
    return write_bundle(path, design, bundle.weights, bundle.golden)


def synthesize_bundle(bundle: Bundle, family: Family) -> Part:
    """Generate and synthesize; the amounts of each part."""
    generate(bundle)
    folder = bundle.path / "rtl"
    sources = " ".join(f"read_verilog -defer {line};" for line in (folder / "rtl.f").read_text().split())
    script = f"{sources} {SYNTHESIS[family]} -top accelerator; write_json netlist.json"
    subprocess.run([find_tool("yosys"), "-q", "-p", script], cwd=folder, check=True, capture_output=True)
    netlist = json.loads((folder / "netlist.json").read_text())
    (folder / "netlist.json").unlink()
    return amounts(netlist["modules"]["accelerator"])


def amounts(module: dict[str, Any]) -> Part:
    """Cells of a flat netlist by part."""
    cells = module["cells"]
    instance_of = {bit: name.split(".")[0].removeprefix("u_") for name, net in module["netnames"].items()
                   if re.match(r"u_(?!mem_|registers)\w+\.", name) for bit in net["bits"] if isinstance(bit, int)}
    readers: dict[int, list[str]] = defaultdict(list)
    for name, cell in cells.items():
        if cell["type"] in FOLLOWING or cell["type"] in LUTS | FFS | DSPS | BRAMS | dict.fromkeys(FREE, 0):
            for port, bits in cell["connections"].items():
                if cell["port_directions"].get(port) == "input":
                    for bit in bits:
                        if isinstance(bit, int):
                            readers[bit].append(name)
    owner: dict[str, str] = {}

    def find(name: str) -> str:
        """Part of a cell; LUTs: the one most of its readers belong to."""
        stack = [name]
        while stack:
            top = stack[-1]
            cell = cells[top]
            if top in owner:
                stack.pop()
                continue
            if cell["type"] not in FOLLOWING:
                owner[top] = part_of(top, cell, instance_of)
                stack.pop()
                continue
            driven = [reader for port, bits in cell["connections"].items() if cell["port_directions"].get(port) == "output"
                      for bit in bits if isinstance(bit, int) for reader in readers[bit]]
            missing = [reader for reader in driven if reader not in owner]
            if missing:
                stack += missing
                continue
            votes = Counter(owner[reader] for reader in driven)
            owner[top] = max(sorted(votes), key=lambda part: votes[part]) if votes else "front"
            stack.pop()
        return owner[name]

    parts: Part = defaultdict(lambda: {"lut": 0, "ff": 0, "dsp": 0, "bram": 0})
    for name, cell in cells.items():
        kind = cell["type"]
        if kind[0] == "$":
            continue
        if kind not in LUTS | FFS | DSPS | BRAMS and kind not in FREE:
            raise click.ClickException(f"unknown cell {kind}")
        part = parts[find(name)]
        for column, weights in (("lut", LUTS), ("ff", FFS), ("dsp", DSPS), ("bram", BRAMS)):
            part[column] += weights.get(kind, 0)
    return {name: dict(part) for name, part in sorted(parts.items())}


def part_of(name: str, cell: dict[str, Any], instance_of: dict[int, str]) -> str:
    """Part of a cell that has a source line or a hierarchical name; `instance_of` knows the chunk whose nets it drives."""
    file = next((s.split(":")[0] for s in cell["attributes"].get("src", "").split("|")
                 if s and not s.startswith("/")), "")
    stem = file.removesuffix(".v")
    kind = next((k for prefix, k in PARTS.items() if stem.startswith(prefix)), "")
    if not kind:
        kind = "memory" if name.startswith("u_mem_") else "rom" if ".u_weights" in name or ".u_parameters" in name else "array"
    if kind in ("memory", "tokens", "front"):
        return kind
    if kind in ("schedule", "sequence", "write", "requantize") or stem.startswith("chunk_"):
        return f"{stem.split('_', 1)[1]}/{kind}"
    driven = [instance_of[bit] for port, bits in cell["connections"].items() if cell["port_directions"].get(port) == "output"
              for bit in bits if bit in instance_of]
    return f"{driven[0]}/{kind}" if driven else "front"


def seeds_of(text: str) -> range:
    """FIRST-LAST."""
    span = re.fullmatch(r"(\d+)-(\d+)", text)
    if span is None:
        raise click.BadParameter(f"--seeds must be FIRST-LAST, as 1-60, not {text!r}")
    return range(int(span[1]), int(span[2]) + 1)


@click.group()
def main() -> None:
    """Fit the LUT and FF model."""


@main.command()
@click.option("--family", type=click.Choice(sorted(BOARD)), default="ecp5")
@click.option("--seeds", required=True, help="Range of random designs, as 1-41.")
def synthesize(family: Family, seeds: str) -> None:
    """Synthesize random designs and take their samples."""
    rows: dict[int, dict[str, Any]] = {}
    if rows_file(family).exists():
        rows = {row["seed"]: row for row in read_json(rows_file(family))["designs"]}
    for seed in seeds_of(seeds):
        path = BUILD / family / str(seed)
        done = path / "amounts.json"
        bundle = Bundle(path) if done.exists() else make_design(path, seed, family)
        if bundle is None:
            continue
        if not done.exists():
            write_json(done, synthesize_bundle(bundle, family))
        row = rows[seed] = samples(bundle, family, seed, read_json(done))
        write_json(rows_file(family), {"family": family, "designs": [rows[key] for key in sorted(rows)]})
        exact = all(row["counted"][kind] == row["predicted"][kind] for kind in ("dsp", "bram"))
        click.echo(f"{family} seed {seed}: {row['multipliers']} multipliers, {row['counted']}, dsp and bram "
                   f"{'exact' if exact else 'DIFFER: ' + str(row['predicted'])}")


def rows_file(family: Family) -> Path:
    """Samples of a family."""
    return REPOSITORY / "benchmarks" / f"resources_{family}.json"


def model_file(family: Family) -> Path:
    """Coefficients of a family."""
    return REPOSITORY / "autonba" / "cost" / f"logic_{family}.json"


def samples(bundle: Bundle, family: Family, seed: int, counted: Part) -> dict[str, Any]:
    """A design's samples: what its parts count, and the amounts that the model knows of them."""
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    parts = logic_parts(mapped, family, lambda width, depth: uses_block_ram(width, depth, family), bundle.weights)
    strange = set(counted) - set(parts)
    if strange:
        raise click.ClickException(f"seed {seed}: cells of unknown parts {sorted(strange)}")
    zero = dict.fromkeys(("lut", "ff", "dsp", "bram"), 0)
    return {
        "seed": seed, "multipliers": bundle.design.accelerator.multipliers, "chunks": len(mapped.chunks),
        "layers": len(mapped.layers),
        "counted": {kind: sum(part[kind] for part in counted.values()) for kind in zero},
        "predicted": {"dsp": dsp_blocks(mapped, family), "bram": ram_blocks(mapped, family, bundle.weights)},
        "parts": {name: {"amounts": amounts, **{kind: counted.get(name, zero)[kind] for kind in KINDS}}
                  for name, amounts in parts.items()},
    }


Coefficients = dict[str, dict[str, float]]  # by kind of part, then amount


def fit_designs(designs: list[dict[str, Any]], kind: Logic, prior: Coefficients | None) -> Coefficients:
    """Non-negative coefficients that minimize the squared errors of parts, as fractions of their designs.

    Where the samples leave a choice, those of `prior` are taken, times one factor for each kind of part.
    """
    coefficients = {}
    for part_kind in sorted({name.split("/")[-1] for design in designs for name in design["parts"]}):
        parts = [(part, design["counted"][kind]) for design in designs for name, part in design["parts"].items()
                 if name.split("/")[-1] == part_kind]
        names = list(parts[0][0]["amounts"])
        matrix = np.array([[part["amounts"][name] for name in names] for part, _ in parts], dtype=float)
        total = np.array([total for _, total in parts], dtype=float)
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-9)
        weighted: npt.NDArray[Any] = 100 * matrix / scale / total[:, None]
        wanted = 100 * np.array([part[kind] for part, _ in parts]) / total
        expected = np.array([0.0 if prior is None else prior[part_kind][name] for name in names])
        known = float((matrix @ expected / total).sum())
        if known:
            expected *= wanted.sum() / 100 / known
        ridge = RIDGE if prior is None else PRIOR_RIDGE
        solution = nnls(np.vstack([weighted, ridge * np.eye(len(names))]), np.append(wanted, ridge * expected * scale))[0] / scale
        solution[scale == 1e-9] = 0.0
        coefficients[part_kind] = dict(zip(names, np.round(solution, 4).tolist(), strict=True))
    return coefficients


def predict(design: dict[str, Any], coefficients: Coefficients) -> float:
    """LUT or FF of a design."""
    return float(sum(coefficients[name.split("/")[-1]][amount] * value for name, part in design["parts"].items()
                     for amount, value in part["amounts"].items()))


@main.command()
@click.option("--family", type=click.Choice(sorted(BOARD)), default="ecp5")
def fit(family: Family) -> None:
    """Fit, print the error table, write the coefficients."""
    document = read_json(rows_file(family))
    designs = document["designs"]
    other = PRIOR.get(family)
    prior: dict[Logic, Coefficients] = {} if other is None else read_json(model_file(other))["coefficients"]
    model: dict[str, Any] = {"coefficients": {}, "error": {}, "designs": len(designs)}
    for kind in KINDS:
        for i, design in enumerate(designs):
            design["predicted"][kind] = round(predict(design, fit_designs(designs[:i] + designs[i + 1 :], kind, prior.get(kind))))
        errors = [design["predicted"][kind] / design["counted"][kind] - 1 for design in designs]
        model["coefficients"][kind] = fit_designs(designs, kind, prior.get(kind))
        model["error"][kind] = round(float(np.mean(np.abs(errors))), 4)
    click.echo("seed multipliers chunks layers |" + "".join(f" {kind:>6} left out  error |" for kind in KINDS) + " dsp | bram")
    for design in designs:
        counted, predicted = design["counted"], design["predicted"]
        logic = "".join(f" {counted[k]:6} {predicted[k]:8} {predicted[k] / counted[k] - 1:+6.1%} |" for k in KINDS)
        blocks = " |".join(f" {counted[k]}" if counted[k] == predicted[k] else f" {counted[k]} not {predicted[k]}"
                           for k in ("dsp", "bram"))
        click.echo(f"{design['seed']:4} {design['multipliers']:11} {design['chunks']:6} {design['layers']:6} |{logic}{blocks}")
    click.echo(f"{family}: {len(designs)} designs, mean absolute error {model['error']}")
    write_json(rows_file(family), document)
    write_json(model_file(family), model)


if __name__ == "__main__":
    main()
