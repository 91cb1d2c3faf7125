"""What simulating one image costs: a searched accelerator of 256 multipliers for ResNet-8, built
and run with Verilator.

    python -m benchmarks.simulation --output build/simulation
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from autonba.boards import BOARDS
from autonba.search.accelerator.objectives import goal
from autonba.search.accelerator.search_accelerator import search_accelerator
from benchmarks.networks import NETWORKS, with_weights, write_design
from benchmarks.throughput import measure

BOARD = BOARDS["zc706"]


@click.command()
@click.option(
    "--network", "name", type=click.Choice(sorted(NETWORKS)), default="resnet8", show_default=True
)
@click.option("--multipliers", default=256, show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("build/simulation"), show_default=True
)
def main(name: str, multipliers: int, output: Path) -> None:
    """Measure generating, building and running."""
    network, weights, golden = with_weights(NETWORKS[name](), images=2)
    wanted = goal(BOARD, BOARD.clock_mhz)
    limits = {**wanted.limits, "multipliers": float(multipliers)}
    found = search_accelerator(network, BOARD, replace(wanted, limits=limits), weights=weights)
    bundle = write_design(output, name, network, weights, golden, found.accelerator)
    one = measure(bundle, images=2)
    chunks = len(found.accelerator.chunks)
    click.echo(
        f"{name}, {found.accelerator.multipliers} multipliers in {chunks} chunks: Verilog"
        f" {one.generate_seconds:.1f} s, build {one.build_seconds:.1f} s"
        f" ({one.build_cpu_seconds:.1f} s of computing), run of 2 images {one.run_seconds:.1f} s"
        f" ({one.finish[-1]} cycles, {one.cycles_per_second:.0f} a second with start-up), exact:"
        f" {one.exact}"
    )


if __name__ == "__main__":
    main()
