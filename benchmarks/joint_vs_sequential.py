"""The joint search against its baselines at equal images a second: accuracy of what each
derives.

    python -m benchmarks.joint_vs_sequential --data FOLDER --output build/joint [--simulate]

For each seed one supernet of the space `cifar-small` is warmed up; every arm goes on from its
weights for as many epochs:

joint       operators, bitwidths and accelerator together
sequential  the network first, for accuracy and few products times bits, then the accelerator
fixed8      the joint search with 8 bits everywhere
random      networks drawn uniformly, looked at with the supernet's weights

A derived network that misses the limit on images a second is changed as little as it takes; every
arm gets the accelerator that `autonba search-accel` finds; training is the same. With --simulate,
the accelerators are generated and the images a second are those of the simulated Verilog. Writes
benchmarks/joint_vs_sequential.json and .png.
"""

from __future__ import annotations

from pathlib import Path

import click
import matplotlib

from autonba.bundle import Bundle
from autonba.files import write_json
from autonba.search.network import spaces, strategies
from autonba.search.network.joint import JointSearch, Method
from autonba.search.settings import Strategy
from autonba.search.training import datasets
from benchmarks import arms

ARMS: dict[str, tuple[Strategy, tuple[int, ...] | None]] = {
    "joint": ("joint", None),
    "sequential": ("sequential", None),
    "fixed8": ("joint", (8,)),
    "random": ("random", None),
}


@click.command()
@click.option("--data", required=True, help="Data set to search and train on.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("build/joint_vs_sequential"),
    show_default=True,
)
@click.option("--seeds", default=3, show_default=True)
@click.option("--min-fps", default=2500.0, show_default=True)
@click.option("--images", default=12_000, show_default=True, help="Training images.")
@click.option("--search-epochs", default=4, show_default=True)
@click.option("--simulate/--no-simulate", default=False)
def main(
    data: str,
    output: Path,
    seeds: int,
    min_fps: float,
    images: int,
    search_epochs: int,
    simulate: bool,
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
    base = Method(warm_epochs=2, search_epochs=search_epochs, samples=512, batch=128, interval=2)
    rows = []
    for seed in range(1, seeds + 1):
        warm: list[JointSearch] = []
        for name, (strategy, bits) in ARMS.items():
            own = spaces.fix(space, bits=bits)
            method = strategies.method_of(strategy, base)

            def derive(
                own: spaces.Space = own,
                method: Method = method,
                strategy: Strategy = strategy,
                seed: int = seed,
                warm: list[JointSearch] = warm,
            ) -> arms.Derived:
                if not warm:
                    warm.append(
                        JointSearch(searched, space, arena.aim(space), base, seed, arms.compute())
                    )
                    warm[0].run(until=base.warm_epochs)
                joint = JointSearch(searched, own, arena.aim(own), method, seed, arms.compute())
                joint.adopt(warm[0])
                joint.run()
                return strategies.finish(strategy, joint, seed)

            row = arms.arm(arena, own, method, name, seed, derive)
            if simulate:
                row["simulated_fps"] = arms.simulated_fps(Bundle(output / f"{name}_{seed}"))
            rows.append(row)
            click.echo(arms.line(row))
    summary = {name: arms.summary([r for r in rows if r["arm"] == name]) for name in ARMS}
    for name, figures in summary.items():
        gain = 100 * (summary["joint"]["accuracy"] - figures["accuracy"])
        click.echo(
            f"{name:12} "
            + ", ".join(f"{k} {v:g}" for k, v in figures.items())
            + f"; joint is {gain:+.2f} points better"
        )
    write_json(
        Path(__file__).with_suffix(".json"),
        {"min_fps": min_fps, "images": images, "rows": rows, "summary": summary},
    )
    draw(rows, Path(__file__).with_suffix(".png"))


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Accuracy against images a second, a marker for each arm."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, marker in zip(ARMS, "os^D", strict=True):
        own = [r for r in rows if r["arm"] == name]
        fps = [r.get("simulated_fps", r["fps"]) for r in own]
        axes.plot(
            fps, [100 * float(str(r["accuracy"])) for r in own], marker, label=name, alpha=0.8
        )
    axes.set(
        xlabel="images a second",
        ylabel="test accuracy, %",
        title="Derived networks under one limit of images a second",
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
