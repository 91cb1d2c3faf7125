"""The schedule as a Gantt chart: when each chunk works on which layer of which image, from the
first pixel on and in the long run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from autonba.arithmetic import IntArray
from autonba.cost.schedule import Schedule, SteadyState, beat_to_commit, simulate
from autonba.mapping import LayerPlan, Plan

SHOWN_IMAGES = 3  # images of a panel, counted by their results
LONGEST_PERIOD = 6  # images of a period that is shown whole
MOST_TASKS = 400_000  # row tasks that are scheduled for a picture: about two seconds
MOST_LAYERS = 40  # layers that get a lane each; of more, the chunks alone are drawn
COLOURS = ("#27566b", "#c7772b", "#6d9a73", "#8a6fa8", "#b0452c")
CHUNK_HEIGHT, LAYER_HEIGHT, GAP = 1.0, 0.62, 0.45  # of lanes, in units of UNIT inches
UNIT = 0.21


@dataclass(frozen=True, kw_only=True)
class Window:
    """The cycles `begin` to `end`, and the images whose results leave in them."""

    begin: int
    end: int
    images: range


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a Gantt chart shows: spans of work of each layer, and the windows of its two panels.

    `spans[layer]` (images, tasks, 2) holds the cycles in which each row task is begun and ended.
    """

    plan: Plan
    finish: tuple[int, ...]
    spans: dict[str, IntArray]
    first: Window
    steady: Window
    period: SteadyState | None  # of the schedule from `steady` on; None where it has none yet

    @property
    def lanes(self) -> list[tuple[str, list[str]]]:
        """Each lane's name and its layers: those of a chunk together, then one by one."""
        every = len(self.plan.layers) <= MOST_LAYERS
        found = []
        for chunk in self.plan.chunks:
            names = [lp.layer.name for lp in chunk.layers]
            found.append((chunk.chunk.name, names))
            found += [(name, [name]) for name in names if every]
        return found


def chart(mapped: Plan, steady: SteadyState) -> Chart:
    """The chart of a plan whose long run is `steady`."""
    shown = min(max(SHOWN_IMAGES, steady.images), LONGEST_PERIOD)
    behind = _most_in_flight(mapped)
    affordable = MOST_TASKS // sum(lp.tasks for lp in mapped.layers.values()) - shown - behind
    settled = min(steady.settled, max(affordable, SHOWN_IMAGES))
    schedule = simulate(mapped, settled + shown + behind)
    finish = schedule.finish
    return Chart(
        plan=mapped,
        finish=finish,
        spans={name: _spans(schedule, mapped, lp) for name, lp in mapped.layers.items()},
        first=Window(begin=0, end=finish[SHOWN_IMAGES - 1], images=range(SHOWN_IMAGES)),
        steady=Window(
            begin=finish[settled - 1],
            end=finish[settled + shown - 1],
            images=range(settled, settled + shown),
        ),
        period=steady if steady.proven and settled == steady.settled else None,
    )


def _most_in_flight(mapped: Plan) -> int:
    """No more images than this can be begun before the first of them has left."""
    kept = sum(-(-buffer.rows // buffer.tensor.height) for buffer in mapped.buffers)
    return kept + len(mapped.layers) + 2


def _spans(schedule: Schedule, mapped: Plan, lp: LayerPlan) -> IntArray:
    """(images, tasks, 2): first cycle of each row task, and the one after its last beat."""
    chunk = next(c for c in mapped.chunks if c.chunk.name == lp.chunk.name)
    starts = np.array(schedule.starts[lp.layer.name], dtype=np.int64)
    ends = np.array(schedule.commits[lp.layer.name], dtype=np.int64) - beat_to_commit(chunk, lp)
    return np.stack([starts, ends], axis=1).reshape(-1, lp.tasks, 2)


def bars(
    spans: Sequence[IntArray], begin: int, end: int, most: int
) -> list[tuple[float, float, int]]:
    """(begin, end, image) of the bars of a lane, in the order of time.

    `spans` are those of its layers, of which no two overlap. The cycles `begin` to `end` are cut
    into at most `most` equal bins. A bin is drawn where at least half of it is worked in, or any of
    it in the lane of one layer, so that no task is too short to be seen; it is of the image that
    has most of it, and neighbouring bins of an image are one bar.
    """
    bins = min(end - begin, most)
    edges = np.linspace(begin, end, bins + 1)
    images = [
        i
        for i in range(len(spans[0]))
        if any(own[i, 0, 0] < end and own[i, -1, 1] > begin for own in spans)
    ]
    if not images:
        return []
    worked = np.stack([_worked(np.concatenate([own[i] for own in spans]), edges) for i in images])
    least = (end - begin) / bins / 2 if len(spans) > 1 else 1e-6
    idle = worked.sum(axis=0) < least
    owner = np.where(idle, -1, np.array(images)[worked.argmax(axis=0)])
    cuts = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), bins]
    runs = [(a, b) for a, b in pairwise(cuts) if owner[a] >= 0]
    return [(float(edges[a]), float(edges[b]), int(owner[a])) for a, b in runs]


def _worked(spans: IntArray, edges: Any) -> Any:
    """Cycles of `spans` (tasks, 2) between each two neighbours of `edges`."""
    ordered = spans[np.argsort(spans[:, 0], kind="stable")]
    done = np.concatenate([[0], np.cumsum(ordered[:, 1] - ordered[:, 0])])
    return np.diff(np.interp(edges, ordered.ravel(), np.stack([done[:-1], done[1:]], 1).ravel()))


def height(found: Chart) -> float:
    """Height in inches of a chart of both panels."""
    return 2 * (_tops(found)[-1] * UNIT + 1.1)


def _tops(found: Chart) -> list[float]:
    """Upper edge of each lane, in units from the top, and the lower edge of the last."""
    tops, y = [], 0.0
    chunks = {chunk.chunk.name for chunk in found.plan.chunks}
    for name, _ in found.lanes:
        y += GAP if name in chunks and y else 0
        tops.append(y)
        y += CHUNK_HEIGHT if name in chunks else LAYER_HEIGHT
    return [*tops, y]


def draw(figure: Any, found: Chart, narrow: bool) -> None:
    """Both panels, one above the other."""
    upper, lower = figure.subplots(2, 1)
    first, steady = found.first, found.steady
    _panel(upper, found, first, narrow)
    _title(upper, f"The first {len(first.images)} images")
    upper.set_xlabel("cycles from the first pixel on")
    _panel(lower, found, steady, narrow)
    if found.period is None:
        title = f"Images {steady.images[0]} to {steady.images[-1]}, not yet periodic"
    else:
        count, cycles = found.period.images, found.period.cycles
        period = "1 image" if count == 1 else f"{count} images"
        title = f"From image {steady.images[0]}: period of {period}"
        title += "" if narrow else f", {cycles:,} cycles"
    _title(lower, title)
    lower.set_xlabel(f"cycles after image {steady.images[0] - 1} has left")


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontweight="bold", pad=17)


def _panel(axes: Any, found: Chart, window: Window, narrow: bool) -> None:
    from matplotlib.patches import PathPatch

    chunks = {chunk.chunk.name for chunk in found.plan.chunks}
    lanes, tops = found.lanes, _tops(found)
    boxes: dict[int, list[tuple[float, float, float, float]]] = {}
    middles = []
    for (name, layers), top in zip(lanes, tops, strict=False):
        tall = CHUNK_HEIGHT if name in chunks else LAYER_HEIGHT
        middles.append(top + tall / 2)
        if name in chunks:
            axes.axhspan(top, top + tall, color="#eef2f3", linewidth=0, zorder=0)
        spans = [found.spans[layer] for layer in layers]
        for begin, end, image in bars(spans, window.begin, window.end, 320 if narrow else 720):
            boxes.setdefault(image % len(COLOURS), []).append(
                (begin - window.begin, top + 0.08, end - window.begin, top + tall - 0.08)
            )
    for colour, own in sorted(boxes.items()):
        axes.add_patch(PathPatch(_boxes(own), facecolor=COLOURS[colour], linewidth=0))
    axes.set(xlim=(0, window.end - window.begin), ylim=(tops[-1] + 0.2, -0.2))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.get_major_locator().set_params(nbins=4 if narrow else 8)
    axes.tick_params(axis="y", length=0)
    axes.set_yticks(middles, [_short(name, 10 if narrow else 16) for name, _ in lanes])
    for label, (name, _) in zip(axes.get_yticklabels(), lanes, strict=True):
        label.set(fontsize=9 if name in chunks else 7)
        label.set_fontweight("bold" if name in chunks else "normal")
    left = [found.finish[i] - window.begin for i in window.images]
    for image, cycle in zip(window.images, left, strict=True):
        axes.axvline(cycle, color=COLOURS[image % len(COLOURS)], linewidth=1, linestyle=":")
        axes.text(
            cycle,
            -0.3,
            f"{image} out" if narrow else f"image {image} out",
            ha="right",
            va="bottom",
            fontsize=7,
            color=COLOURS[image % len(COLOURS)],
        )
    axes.spines["left"].set_visible(False)


def _boxes(corners: list[tuple[float, float, float, float]]) -> Any:
    """One path of the boxes (left, top, right, bottom)."""
    from matplotlib.path import Path

    points = [
        point
        for x0, y0, x1, y1 in corners
        for point in ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    ]
    box = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(points, box * len(corners))


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
