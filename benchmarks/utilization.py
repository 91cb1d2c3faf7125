"""How busy the multipliers are: searched accelerators, generated, simulated, counted by the hardware's own registers.

    python -m benchmarks.utilization resnet8 mobilenet --multipliers 256 --output build/utilization

Prints for each network the multiply-accumulates of its convolutions over multipliers x cycles an image, and the bottleneck
chunk's busy cycles over all cycles. MACs with padded lanes, columns and taps count as idle.
"""

from __future__ import annotations

from pathlib import Path

import click

from autonba.bundle import write_json
from autonba.search.optimize import MOVES, Limits, optimize
from benchmarks.networks import NETWORKS, multiplications, with_weights, write_design
from benchmarks.throughput import measure


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(NETWORKS)), required=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("build/utilization"), show_default=True)
@click.option("--multipliers", default=256, show_default=True)
@click.option("--moves", default=MOVES, show_default=True, help="Moves of the search.")
@click.option("--images", default=32, show_default=True)
@click.option("--window", nargs=2, default=(12, 22), show_default=True, help="Images between which is counted.")
def main(names: tuple[str, ...], output: Path, multipliers: int, moves: int, images: int, window: tuple[int, int]) -> None:
    """Measure the utilization of NAMES."""
    for name in names:
        network, weights, golden = with_weights(NETWORKS[name](), images=2)
        found = optimize(network, Limits(dsp=900, bram=1090, lut=150_000, multipliers=multipliers), moves=moves)
        bundle = write_design(output / name, name, network, weights, golden, found.accelerator)
        measured = measure(bundle, images=images, window=window)
        write_json(output / name / "report" / "throughput.json", measured.to_json())
        work, present = multiplications(network), found.accelerator.multipliers
        busiest = max(measured.busy, key=lambda chunk: measured.busy[chunk])
        click.echo(f"{name}: {work / 1e6:.1f} M MAC, {present} multipliers, {measured.per_image:.0f} cycles an image (bound "
                   f"{found.bound}, exact: {measured.exact}); {100 * work / present / measured.per_image:.1f} % of all "
                   f"multipliers x cycles; bottleneck {busiest} {100 * measured.busy[busiest] / measured.per_image:.1f} % busy, "
                   f"bound / cycles {found.bound / measured.per_image:.3f}")


if __name__ == "__main__":
    main()
