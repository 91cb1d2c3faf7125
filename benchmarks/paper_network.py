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

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from autonba.bundle import Bundle, accelerator_from_json
from autonba.cost.resources import estimate, requantizer_dsps
from autonba.cost.schedule import steady_state
from autonba.cost.utilization import utilization
from autonba.files import read_json, write_json
from autonba.mapping import plan
from autonba.search.accelerator.optimize import MOVES, Limits, optimize
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
LIMITS = Limits(dsp=900, bram=700, lut=150_000)
# images a second of the authors' cost model on this network, and what its accelerator takes
PUBLISHED = (
    ("their search, 10,000 random samples", 90.0, "not reported"),
    ("their model's exact optimum", 407.4, "249 DSP"),
    ("the same with two defects of the model mended", 356.4, "153 DSP, 633 block RAMs"),
    (
        "bound: 2 multiply-accumulates a DSP and cycle",
        CLOCK * 2 * LIMITS.dsp / 100_283_904,
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
@click.option("--moves", default=MOVES, show_default=True, help="Moves of the search.")
@click.option("--seed", default=1, show_default=True)
def find_accelerator(output: Path, moves: int, seed: int) -> None:
    """Search the accelerator and write its bundle."""
    network, weights, golden = with_weights(paper_network(), images=4)
    found = optimize(network, LIMITS, moves=moves, seed=seed)
    write_design(output, "paper", network, weights, golden, found.accelerator)
    write_json(
        output / "report" / "optimum.json",
        {
            "uses": found.uses,
            "bound": found.bound,
            "pace": found.pace,
            "stream_bits_per_image": found.stream_bits_per_image,
            "limits": asdict(LIMITS),
            "moves": moves,
            "seed": seed,
        },
    )
    click.echo(
        f"{found.bound} cycles an image at best, {found.pace:.0f} with the buffers chosen: "
        f"{CLOCK / found.pace:.0f} images/s"
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
    used = utilization(mapped, steady.per_image, "xc7", LIMITS.dsp)
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
    uses, found = optimum["uses"], estimate(mapped, "xc7")
    drains = sum(
        chunk.chunk.drain_lanes * requantizer_dsps(chunk, "xc7") for chunk in mapped.chunks
    )
    soft = sum(
        chunk.multipliers for chunk in bundle.design.accelerator.chunks if chunk.multiplier == "lut"
    )
    click.echo(
        f"ours: {len(mapped.chunks)} chunks, {multipliers} multipliers; {found.dsp} DSP, of them"
        f" {drains} in requantizers; {found.bram} block RAMs; about {uses['lut']:.0f} LUTs"
        f" (estimate of the search), in them {soft} multipliers"
    )
    click.echo(line(used))
    streamed = sum(
        bits for name, bits in weight_bits(network).items() if mapped.layers[name].streams
    )
    click.echo(
        f"weights: {sum(weight_bits(network).values()) / 1e6:.1f} Mbit, {streamed / 1e6:.1f} Mbit"
        " of them streamed once an image, with padding"
        f" {optimum['stream_bits_per_image'] / 1e6:.1f} Mbit:"
        f" {optimum['stream_bits_per_image'] * fps / 8e9:.2f} GB/s of DRAM"
    )


if __name__ == "__main__":
    main()
