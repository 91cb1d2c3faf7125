"""How bitwidths are sampled: heterogeneous against hard and soft for both, by the accuracy of the
derived networks.

    python -m benchmarks.ablation_sampling --data FOLDER --output build/ablation_sampling

Every arm searches the space `cifar-small` from scratch under one limit of images a second, so that
derived networks cost the same hardware, and trains what it derives alike. FOLDER is a data set that
`autonba search` takes, of 32x32 colour images. Writes benchmarks/ablation_sampling.json.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from autonba.files import write_json
from autonba.search.network import strategies
from autonba.search.network.joint import Method
from autonba.search.settings import BITWIDTHS
from autonba.search.training import datasets
from benchmarks import arms


@click.command()
@click.option("--data", required=True, help="Data set to search and train on.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/ablation_sampling"),
    show_default=True,
)
@click.option("--seeds", default=3, show_default=True)
@click.option(
    "--arms",
    "names",
    default="heterogeneous,hard,soft",
    show_default=True,
    help=f"Of {', '.join(BITWIDTHS)}.",
)
@click.option("--min-fps", default=2500.0, show_default=True)
@click.option("--images", default=12_000, show_default=True, help="Training images.")
@click.option("--search-epochs", default=4, show_default=True)
def main(
    data: str, output: Path, seeds: int, names: str, min_fps: float, images: int, search_epochs: int
) -> None:
    """Search, train and measure every arm with every seed."""
    space = arms.space()
    whole = arms.smaller(datasets.load(data), images, 2000)
    arena = arms.Arena(
        data=whole,
        board="ulx3s-85f",
        min_fps=min_fps,
        out=output,
        float_epochs=4,
        quantized_epochs=2,
    )
    searched = arms.smaller(whole, 5000, 2000)
    rows = []
    for seed in range(1, seeds + 1):
        for name in names.split(","):
            method = Method(
                bitwidths=name,  # type: ignore[arg-type]
                warm_epochs=2,
                search_epochs=search_epochs,
                samples=512,
                batch=128,
                interval=2,
            )

            def derive(method: Method = method, seed: int = seed) -> arms.Derived:
                return strategies.find_network(
                    "joint",
                    searched,
                    space,
                    arena.aim(space),
                    seed=seed,
                    method=method,
                    compute=arms.compute(),
                )

            rows.append(arms.arm(arena, space, method, name, seed, derive))
            click.echo(arms.line(rows[-1]))
    summary = {
        name: arms.summary([r for r in rows if r["arm"] == name]) for name in names.split(",")
    }
    for name, figures in summary.items():
        click.echo(f"{name:14} " + ", ".join(f"{key} {value:g}" for key, value in figures.items()))
    first = summary[names.split(",")[0]]["accuracy"]
    gains = {name: round(first - figures["accuracy"], 5) for name, figures in summary.items()}
    click.echo(
        "first arm's gain in points: "
        + ", ".join(f"{name} {100 * gain:+.2f}" for name, gain in gains.items())
    )
    spread = float(np.mean([figures["accuracy_deviation"] for figures in summary.values()]))
    click.echo(f"standard deviation over seeds, mean of the arms: {100 * spread:.2f} points")
    write_json(
        Path(__file__).with_suffix(".json"),
        {"min_fps": min_fps, "images": images, "rows": rows, "summary": summary},
    )


if __name__ == "__main__":
    main()
