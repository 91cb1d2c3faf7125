"""Pictures for the report, as inline SVG: the schedule; of a search losses, entropies and limits
over time, choices, the front, random designs.

Each is drawn twice, for a wide and for a narrow screen, so that its letters stay readable on both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from autonba import report_schedule
from autonba.report_schedule import Chart

RED, BLUE, GREEN, GREY = "#b0452c", "#27566b", "#4b7f52", "#9fb4bd"
COLOURS = (BLUE, RED, GREEN, "#8a6fa8", "#c08a2d", "#5b5b5b", "#3c9d9b", "#a85d7c")
MARKERS = {"joint": "o", "sequential": "s", "random": "^", "evolutionary": "D"}
LIMITED = {  # metric -> what the reader calls it
    "cycles": "time between images",
    "latency": "latency",
    "energy": "energy",
    "dsp": "DSP",
    "bram": "block RAM",
    "lut": "LUT",
    "ff": "FF",
    "multipliers": "multipliers",
}
Draw = Callable[[Any, bool], None]  # figure, whether it is the narrow one
WIDE, NARROW = 9.5, 3.9  # inches
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters stay letters: small, and found by a search in the page
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture and its heights in inches."""

    title: str
    wide: float
    narrow: float
    draw: Draw

    def render(self) -> dict[str, Any]:
        """`title`, and the SVG of both widths: `svg` and `narrow`."""
        import matplotlib

        matplotlib.use("svg")
        import matplotlib.pyplot as plt

        drawn: dict[str, Any] = {"title": self.title}
        for key, size, narrow in (
            ("svg", (WIDE, self.wide), False),
            ("narrow", (NARROW, self.narrow), True),
        ):
            with plt.rc_context({**STYLE, "svg.hashsalt": f"autonba {self.title} {key}"}):
                figure = plt.figure(figsize=size, layout="constrained")
                self.draw(figure, narrow)
                drawn[key] = _svg(figure, self.title)
                plt.close(figure)
        return drawn


def schedule_picture(chart: Chart) -> dict[str, Any]:
    """The Gantt chart of a schedule."""
    tall = report_schedule.height(chart)
    return Picture(
        title="Schedule",
        wide=tall,
        narrow=tall,
        draw=lambda figure, narrow: report_schedule.draw(figure, chart, narrow),
    ).render()


def pictures(
    search: Mapping[str, Any], front: Mapping[str, Any] | None, own: str, bottleneck: int
) -> list[dict[str, Any]]:
    """Title and SVG of every picture that `search` (report/search.json) has figures for.

    `front` is the front.json of a sweep that the bundle, a folder named `own`, belongs to;
    `bottleneck` the cycles of its busiest chunk.
    """
    curves: Mapping[str, Any] = search["joint_search"]
    drawn = [Picture(title="Search", wide=5.2, narrow=9.6, draw=lambda f, n: _curves(f, n, search))]
    if curves.get("alpha") and "operators" in search["network"]:
        tall = 0.9 + 0.27 * len(curves["alpha"])
        drawn.append(
            Picture(
                title="Operators and bits of each block",
                wide=tall,
                narrow=2 * tall + 0.5,
                draw=lambda f, n: _choices(f, n, search),
            )
        )
    if front is not None:
        drawn.append(
            Picture(
                title="Accuracy against images a second",
                wide=3.4,
                narrow=3.4,
                draw=lambda f, n: _front(f, n, front, own),
            )
        )
    if search["accelerator"]["random"]["count"]:
        drawn.append(
            Picture(
                title="Random designs",
                wide=2.6,
                narrow=2.8,
                draw=lambda f, n: _random(f, n, search, bottleneck),
            )
        )
    return [picture.render() for picture in drawn]


def _curves(figure: Any, narrow: bool, search: Mapping[str, Any]) -> None:
    """Losses, cycles, entropies and limits over the epochs; the warm-up is shaded."""
    curves = search["joint_search"]
    epochs = len(curves["train_loss"])
    warm = (search.get("plan") or {}).get("warm_epochs") or 0
    grid = figure.subplots(*((4, 1) if narrow else (2, 2)), sharex=True)
    losses, cycles, entropies, limits = grid.ravel()
    for axes in (losses, cycles, entropies, limits):
        axes.set_xlim(0.5, max(epochs, 1) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if warm:
            axes.axvspan(0.5, warm + 0.5, color="#eeeeea", linewidth=0)

    def plot(axes: Any, name: str, **style: Any) -> None:
        values = curves.get(name) or []
        axes.plot(range(epochs - len(values) + 1, epochs + 1), values, **style)

    plot(losses, "train_loss", color=RED, label="training")
    plot(losses, "val_loss", color=BLUE, label="validation")
    losses.set(ylabel="loss", title="Loss (warm-up shaded)" if warm else "Loss")
    losses.legend(frameon=False)
    plot(cycles, "cycles", color=BLUE)
    cycles.set(
        ylabel="cycles an image",
        title="Drawn networks" if narrow else "Drawn networks on the accelerator of their time",
    )
    cycles.yaxis.set_major_formatter("{x:,.0f}")
    for name, colour in (("alpha", BLUE), ("beta", RED), ("gamma", GREEN)):
        if curves.get(f"{name}_entropy"):
            plot(entropies, f"{name}_entropy", color=colour, label=name)
    entropies.set(
        xlabel="epoch", ylabel="nats", title="Entropy of operators, bitwidths, accelerator"
    )
    entropies.set_ylim(bottom=0)
    if entropies.get_legend_handles_labels()[0]:
        entropies.legend(frameon=False)
    named = {name: f"need_{name}" for name in LIMITED if curves.get(f"need_{name}")}
    for (name, key), colour in zip(named.items(), COLOURS, strict=False):
        plot(limits, key, color=colour, label=LIMITED[name])
    limits.axhline(1.0, color="#222222", linewidth=0.8, linestyle=":")
    limits.set(xlabel="epoch", ylabel="need / limit", title="Derived design against its limits")
    limits.set_yscale("log" if named else "linear")
    limits.yaxis.set_major_formatter("{x:g}")
    limits.yaxis.set_minor_formatter("")
    if named:
        beside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 3}
        limits.legend(frameon=False, fontsize=7, **(below if narrow else beside))


def _choices(figure: Any, narrow: bool, search: Mapping[str, Any]) -> None:
    """Probability of every operator of every block, and of the bitwidths of the chosen one; what is
    built is framed.
    """
    curves, network = search["joint_search"], search["network"]
    operators, widths, blocks = network["operators"], network["bits"], network["blocks"]
    if narrow:
        left, right = figure.subplots(2, 1)
    else:
        left, right = figure.subplots(
            1, 2, gridspec_kw={"width_ratios": [max(len(operators), 3), max(len(widths), 3)]}
        )
    chosen = [operators.index(block["operator"]) for block in blocks]
    bits = [row[i] for row, i in zip(curves["beta"], chosen, strict=True)]
    places = (
        (left, curves["alpha"], operators, chosen, "Probability of operators (framed: built)"),
        (
            right,
            bits,
            [f"{w} bits" for w in widths],
            [widths.index(block["bits"]) for block in blocks],
            "Probability of its bitwidths" if narrow else "… of its bitwidths",
        ),
    )
    for axes, values, names, built, title in places:
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for n, place in enumerate(built):
            axes.add_patch(_frame(place, n))
        for n, row in enumerate(values):
            for i, value in enumerate(row):
                if value >= (0.3 if narrow and len(names) > 8 else 0.05):
                    colour = "white" if value > 0.6 else "#222222"
                    axes.text(
                        i, n, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour
                    )
        crowded = narrow and len(names) > 5
        axes.set_xticks(range(len(names)), names, rotation=90 if crowded else 0)
        axes.set_yticks(range(len(values)), [f"block {n}" for n in range(len(values))])
        axes.set_title(title)
        axes.tick_params(length=0)


def _frame(x: int, y: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, fill=False, edgecolor=RED, linewidth=1.5)


def _front(figure: Any, narrow: bool, front: Mapping[str, Any], own: str) -> None:
    """Every point of a sweep, a marker for each strategy; the best of both as a step line; this
    bundle circled.
    """
    points = [p for p in front["points"] if "refused" not in p]
    axes = figure.subplots()
    for number, strategy in enumerate(dict.fromkeys(p.get("strategy", "joint") for p in points)):
        mine = [p for p in points if p.get("strategy", "joint") == strategy]
        axes.plot(
            [p["fps"] for p in mine],
            [100 * p["val_accuracy"] for p in mine],
            MARKERS.get(strategy, "o"),
            color=COLOURS[number % len(COLOURS)],
            label=strategy,
        )
    best = sorted((p["fps"], 100 * p["val_accuracy"]) for p in points if p["best"])
    axes.step(
        [b[0] for b in best],
        [b[1] for b in best],
        where="pre",
        color=GREY,
        linewidth=1,
        zorder=0,
        label="Pareto front",
    )
    this: Sequence[Mapping[str, Any]] = [p for p in points if p["bundle"] == own]
    axes.plot(
        [p["fps"] for p in this],
        [100 * p["val_accuracy"] for p in this],
        "o",
        markersize=12,
        fillstyle="none",
        color="#222222",
        label="this design",
    )
    axes.set(
        xlabel="images a second",
        ylabel="validation accuracy, %" if narrow else "validation accuracy, integer network, %",
    )
    axes.legend(frameon=False)


def _random(figure: Any, narrow: bool, search: Mapping[str, Any], bottleneck: int) -> None:
    """Histogram of random accelerators of the same space under the same limits."""
    random, axes = search["accelerator"]["random"], figure.subplots()
    axes.hist([design["cycles"] / 1000 for design in random["designs"]], bins=40, color=GREY)
    axes.axvline(bottleneck / 1000, color=RED, linewidth=2, label="found")
    axes.axvline(
        random["median_cycles"] / 1000, color=BLUE, linestyle="--", label="median of random"
    )
    axes.set(
        xlabel="thousand busy cycles an image" + ("" if narrow else " of the busiest chunk"),
        ylabel="random designs",
        title="The found accelerator among random ones",
    )
    axes.legend(frameon=False, loc="upper right")


def _svg(figure: Any, title: str) -> Markup:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    named = f'<svg role="img" aria-label="{escape(title)}"'
    return Markup(named + text[text.index("<svg") + 4 :])  # our own picture
