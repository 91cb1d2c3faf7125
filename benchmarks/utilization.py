"""How busy the multipliers are: searched accelerators, generated, simulated, counted by the
hardware's own registers.

    python -m benchmarks.utilization resnet8 mobilenet --multipliers 256 --output build/utilization

Prints for each network what of the multiplications that the DSP blocks allow it does, as the
product of provision, balance, fill and pace (`autonba.cost.utilization`), in the long run of the
schedule, with which every simulated image has to agree.
"""

from __future__ import annotations

from pathlib import Path

import click

from autonba.cost.utilization import Utilization, utilization
from autonba.files import write_json
from autonba.search.accelerator.optimize import MOVES, Limits, optimize
from benchmarks.networks import NETWORKS, multiplications, with_weights, write_design
from benchmarks.throughput import measure

DSPS = 900


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(sorted(NETWORKS)), required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/utilization"),
    show_default=True,
)
@click.option("--multipliers", default=256, show_default=True)
@click.option("--moves", default=MOVES, show_default=True, help="Moves of the search.")
@click.option("--images", default=32, show_default=True)
def main(names: tuple[str, ...], output: Path, multipliers: int, moves: int, images: int) -> None:
    """Measure the utilization of NAMES."""
    for name in names:
        network, weights, golden = with_weights(NETWORKS[name](), images=2)
        found = optimize(
            network, Limits(dsp=DSPS, bram=1090, lut=150_000, multipliers=multipliers), moves=moves
        )
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
