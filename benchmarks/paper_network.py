"""Images a second of the Auto-NBA authors' 22-block CIFAR network on hardware searched and
generated here, beside their model's.

    # bundle of an accelerator found before, or
    python -m benchmarks.paper_network kept --output build/paper
    python -m benchmarks.paper_network search --output build/paper     # another one; minutes
    # Verilog, Verilator; many minutes
    python -m benchmarks.paper_network simulate --output build/paper
    python -m benchmarks.paper_network report --output build/paper     # the table

Both sides have 900 DSP48E1, 700 block RAMs of 18 Kbit and 200 MHz.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from autonba.bundle import Bundle, Design, accelerator_from_json
from autonba.cli import cli
from autonba.cost.resources import estimate, requantizer_dsps
from autonba.cost.schedule import steady_state
from autonba.cost.utilization import utilization
from autonba.files import read_json, write_json
from autonba.mapping import plan
from benchmarks.networks import (
    PAPER_BLOCKS,
    multiplications,
    paper_inner,
    paper_network,
    weight_bits,
    with_weights,
    write_design,
)
from benchmarks.throughput import measure
from benchmarks.utilization import line

CLOCK = 200e6
DSP = 900
# its LUTs and registers are those of the board; of DRAM half of what the board's SODIMM can give
# (64 bits at 1600 MT/s, AMD UG954)
SEARCH = ("--board", "zc706", "--max-dsp", str(DSP), "--max-bram", "700", "--max-dram", "256")
# images a second of the authors' cost model on this network, and what its accelerator takes
PUBLISHED = (
    ("their search, 10,000 random samples", 90.0, "not reported"),
    ("their model's exact optimum", 407.4, "249 DSP"),
    ("the same with two defects of the model mended", 356.4, "153 DSP, 633 block RAMs"),
    (
        "bound: 2 multiply-accumulates a DSP and cycle",
        CLOCK * 2 * DSP / 100_283_904,
        "900 DSP",
    ),
)
KEPT = Path(__file__).parent / "paper_accelerator.json"
output_option = click.option(
    "--output", type=click.Path(path_type=Path), default=Path("build/paper"), show_default=True
)


@click.group()
def main() -> None:
    """Throughput of the authors' network."""


@main.command("search")
@output_option
@click.option("--seed", default=1, show_default=True)
def find_accelerator(output: Path, seed: int) -> None:
    """Search the accelerator with `autonba search-accel` and write its bundle."""
    network, weights, golden = with_weights(paper_network(), images=4)
    output.mkdir(parents=True, exist_ok=True)
    document = output / "network.json"
    write_json(document, {"schema_version": 1, "name": "paper", "network": asdict(network)})
    command = (*SEARCH, "--seed", str(seed), "--json", "--out", str(output / "found.json"))
    result = CliRunner().invoke(cli, ["search-accel", str(document), *command])
    if result.exit_code:
        raise click.ClickException(result.output)
    accelerator = Design.from_json(read_json(output / "found.json")).accelerator
    write_design(output, "paper", network, weights, golden, accelerator)
    found = json.loads(result.output)
    write_json(output / "report" / "optimum.json", found)
    kept_document = {
        "schema_version": 1,
        "accelerator": read_json(output / "found.json")["accelerator"],
        "optimum": found,
    }
    write_json(output / "kept.json", kept_document)
    click.echo(
        f"{found['exact']['cycles']:.1f} cycles an image, {found['exact']['fps']:.0f} images/s;"
        f" {output / 'kept.json'} is what may be kept"
    )


@main.command()
@output_option
def kept(output: Path) -> None:
    """Write the bundle of an accelerator that was found before, paper_accelerator.json."""
    network, weights, golden = with_weights(paper_network(), images=4)
    document = read_json(KEPT)
    write_design(
        output, "paper", network, weights, golden, accelerator_from_json(document["accelerator"])
    )
    write_json(output / "report" / "optimum.json", document["optimum"])


@main.command()
@output_option
@click.option("--images", default=32, show_default=True)
def simulate(output: Path, images: int) -> None:
    """Generate, build, run; every result and the cycle of every image are compared."""
    found = measure(Bundle(output), images=images)
    write_json(output / "report" / "throughput.json", found.to_json())
    click.echo(
        f"{images} images, each in the predicted cycle: {found.exact}; {found.steady.per_image:.1f}"
        f" cycles an image in the long run; build {found.build_seconds:.0f} s, run"
        f" {found.run_seconds:.0f} s, {found.cycles_per_second:.0f} cycles/s"
    )


@main.command()
@output_option
def report(output: Path) -> None:
    """Print the comparison."""
    bundle = Bundle(output)
    network = bundle.design.network
    mapped = plan(network, bundle.design.accelerator, bundle.weights)
    optimum: dict[str, Any] = read_json(output / "report" / "optimum.json")
    path = output / "report" / "throughput.json"
    measured: dict[str, Any] = read_json(path) if path.is_file() else {"images": 0, "exact": None}
    steady = steady_state(mapped)
    used = utilization(mapped, steady.per_image, "xc7", DSP)
    write_json(
        output / "report" / "utilization.json",
        {"steady": steady.to_json(), "utilization": used.to_json()},
    )
    work, blocks = (
        multiplications(network),
        multiplications(network, paper_inner()),
    )
    multipliers = bundle.design.accelerator.multipliers
    fps = CLOCK / steady.per_image
    click.echo(
        f"{len(PAPER_BLOCKS)} blocks, {blocks / 1e6:.1f} M multiply-accumulates; with stem and"
        f" classifier {work / 1e6:.1f} M"
    )
    for name, rate, uses in PUBLISHED:
        click.echo(f"  {rate:7.0f} images/s  {name} ({uses})")
    period = (
        f"{steady.cycles} cycles for {steady.images} images, again and again after {steady.settled}"
    )
    click.echo(
        f"  {fps:7.0f} images/s  ours in the long run: {steady.per_image:.1f} cycles an image "
        f"({period if steady.proven else 'no period was found: an estimate'})"
    )
    click.echo(
        f"  {measured['images']:7} images simulated in Verilog, each in the cycle of this schedule:"
        f" {measured['exact']}"
    )
    found = estimate(mapped, "xc7")
    drains = sum(
        chunk.chunk.drain_lanes * requantizer_dsps(chunk, "xc7") for chunk in mapped.chunks
    )
    soft = sum(
        chunk.multipliers for chunk in bundle.design.accelerator.chunks if chunk.multiplier == "lut"
    )
    click.echo(
        f"ours: {len(mapped.chunks)} chunks, {multipliers} multipliers; {found.dsp} DSP, of them"
        f" {drains} in requantizers; {found.bram} block RAMs; about {found.lut} LUTs (estimate), in"
        f" them {soft} multipliers"
    )
    click.echo(line(used))
    streamed = sum(
        bits for name, bits in weight_bits(network).items() if mapped.layers[name].streams
    )
    padded = optimum["exact"]["dram"] * optimum["exact"]["cycles"]
    click.echo(
        f"weights: {sum(weight_bits(network).values()) / 1e6:.1f} Mbit, {streamed / 1e6:.1f} Mbit"
        " of them streamed once an image, with padding"
        f" {padded / 1e6:.1f} Mbit: {padded * fps / 8e9:.2f} GB/s of DRAM"
    )


if __name__ == "__main__":
    main()
