"""How busy the multipliers are: searched accelerators, generated, simulated, counted by the
hardware's own registers.

    python -m benchmarks.utilization resnet8 mobilenet --multipliers 256 --output build/utilization

Prints for each network what of the multiplications that the DSP blocks allow it does, as the
product of provision, balance, fill and pace (`autonba.cost.utilization`), in the long run of the
schedule, with which every simulated image has to agree.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from autonba.boards import BOARDS
from autonba.cost.utilization import Utilization, utilization
from autonba.files import write_json
from autonba.search.accelerator.objectives import goal
from autonba.search.accelerator.search_accelerator import search_accelerator
from benchmarks.networks import NETWORKS, multiplications, with_weights, write_design
from benchmarks.throughput import measure

BOARD = BOARDS["zc706"]
DSPS = BOARD.resources.dsp


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(NETWORKS)), required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/utilization"),
    show_default=True,
)
@click.option("--multipliers", default=256, show_default=True)
@click.option("--images", default=32, show_default=True)
def main(names: tuple[str, ...], output: Path, multipliers: int, images: int) -> None:
    """Measure the utilization of NAMES."""
    for name in names:
        network, weights, golden = with_weights(NETWORKS[name](), images=2)
        wanted = goal(BOARD, BOARD.clock_mhz)
        limits = {**wanted.limits, "multipliers": float(multipliers)}
        found = search_accelerator(network, BOARD, replace(wanted, limits=limits), weights=weights)
        bundle = write_design(output / name, name, network, weights, golden, found.accelerator)
        measured = measure(bundle, images=images)
        used = utilization(measured.plan, measured.steady.per_image, "xc7", DSPS)
        write_json(
            output / name / "report" / "throughput.json",
            measured.to_json() | {"utilization": used.to_json()},
        )
        click.echo(
            f"{name}: {multiplications(network) / 1e6:.1f} M MAC, {found.accelerator.multipliers}"
            f" multipliers, {measured.steady.per_image:.1f} cycles an image in the long run"
            f" ({'' if measured.steady.proven else 'not '}proven; {images} images exact:"
            f" {measured.exact}); {line(used)}"
        )


def line(used: Utilization) -> str:
    """The factors in a line."""
    return (
        f"{used.overall:.1%} of what {used.dsp_limit:g} DSP could do = provision"
        f" {used.provision:.1%} x balance {used.balance:.1%} x fill {used.fill:.1%} x pace"
        f" {used.pace:.1%}; {used.of_built:.1%} of the multipliers built"
    )


if __name__ == "__main__":
    main()
