"""Compares what the testbench logged with the golden model, element by element, and with the
schedule, commit by commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.arithmetic import IntArray
from autonba.mapping import ChunkPlan, LayerPlan, Plan

from .testbench import Trace, read_trace

SHOWN = 10  # mismatches described in words


@dataclass
class Comparison:
    """Elements and commits compared and the differences found; `notes` describes the first ones.

    `mismatches` counts every difference, `commit_mismatches` those of them that are commits in
    another cycle than predicted.
    """

    images: int = 0
    elements: int = 0
    commits: int = 0
    mismatches: int = 0
    commit_mismatches: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str, mismatches: int = 1) -> None:
        """Count differences and describe them, if there is room."""
        self.mismatches += mismatches
        if len(self.notes) < SHOWN:
            self.notes.append(text)


def compare_layers(
    folder: Path, plan: Plan, golden: Mapping[str, IntArray], runs: Mapping[int, Sequence[int]]
) -> Comparison:
    """Compare every element of every layer in the logs under `folder`.

    `golden` holds (N, C, H, W) of every layer; `runs` says which of the N images each logged run
    had, in order.
    """
    found = Comparison(images=sum(len(images) for images in runs.values()))
    for chunk in plan.chunks:
        trace = read_trace(folder / f"chunk_{chunk.chunk.name}.trace", 4)
        for run, images in runs.items():
            mine = trace.of_run(run)
            layers = mine.numbers(2)
            strange = int((layers >= len(chunk.layers)).sum() + (layers < 0).sum())
            if strange:
                found.note(
                    f"run {run}, chunk {chunk.chunk.name!r}: {strange} writes name no layer of it",
                    strange,
                )
            for lp in chunk.layers:
                lines = Trace(
                    mine.path, tuple(column[layers == lp.index] for column in mine.columns)
                )
                _compare_layer(found, lines, chunk, lp, golden[lp.layer.name], run, images)
    return found


def _compare_layer(
    found: Comparison,
    lines: Trace,
    chunk: ChunkPlan,
    lp: LayerPlan,
    golden: IntArray,
    run: int,
    images: Sequence[int],
) -> None:
    lanes, groups, out = chunk.chunk.drain_lanes, lp.channel_groups, lp.out
    name = lp.layer.name
    expected = golden[np.asarray(images, dtype=np.int64)]
    found.elements += expected.size
    per_image = out.height * out.width * groups
    if lines.lines != per_image * len(images):
        found.note(
            f"run {run}, layer {name!r}: {per_image * len(images)} words must be written, not"
            f" {lines.lines}",
            abs(per_image * len(images) - lines.lines),
        )
    whole = min(lines.lines // per_image, len(images))
    values, known = lines.lanes(3, lanes, chunk.write_bits)
    shape = (whole, out.height * out.width * groups, lanes)
    order = np.argsort(np.asarray(lp.output_order))  # physical channel of each logical one
    line = np.argsort(write_order(lp))  # in the log, of each group by row, column and number

    def of_map(logged: npt.NDArray[Any]) -> npt.NDArray[Any]:
        sorted_ = logged[: whole * per_image].reshape(shape)[:, line]
        return sorted_.reshape(whole, out.height, out.width, groups * lanes)[..., order].transpose(
            0, 3, 1, 2
        )

    got, sure = of_map(values), of_map(known)
    wrong = np.argwhere((got != expected[:whole]) | ~sure)
    for image, channel, row, column in wrong[:SHOWN]:
        place = image, channel, row, column
        shown = got[place] if sure[place] else "unknown bits"
        found.note(
            f"run {run}, layer {name!r}, image {images[image]}, channel {channel}, row {row},"
            f" column {column}: expected {expected[place]}, got {shown}",
            0,
        )
    found.mismatches += len(wrong)


def write_order(lp: LayerPlan) -> IntArray:
    """Numbers (row * width + column) * groups + group of an image's channel groups, in the order in
    which they are written.
    """
    spec, out = lp.chunk, lp.out
    task, row, x, block, column, lane = np.meshgrid(
        *(
            np.arange(n)
            for n in (
                lp.tasks,
                lp.loops.rows,
                lp.column_sets,
                lp.nest.blocks,
                spec.columns,
                lp.block_groups,
            )
        ),
        indexing="ij",
    )
    rows, columns = task * lp.loops.rows + row, x * spec.columns + column
    groups = block * lp.block_groups + lane
    numbers = (rows * out.width + columns) * lp.channel_groups + groups
    numbers = np.where((columns < out.width) & (groups < lp.channel_groups), numbers, -1)
    if lp.loops.order == "block_outer":
        numbers = numbers.transpose(0, 3, 1, 2, 4, 5)
    order: IntArray = numbers.ravel()
    return order[order >= 0]


def finish_cycles(folder: Path, run: int) -> tuple[int, ...]:
    """Cycles from the first pixel taken to the last word of each image, both included, in a logged
    run.
    """
    inputs, outputs = (
        read_trace(folder / f"{side}.trace", columns).of_run(run)
        for side, columns in (("input", 3), ("output", 4))
    )
    if not inputs.lines:
        return ()
    last = outputs.numbers(2) == 1
    return tuple(int(cycle - inputs.cycles[0] + 1) for cycle in outputs.cycles[last])


def compare_results(found: Comparison, folder: Path, run: int, wanted: IntArray) -> None:
    """Compare the words that left in a logged run with the results (N, C, H, W) of its images."""
    lines = read_trace(folder / "output.trace", 4).of_run(run)
    words = [int(word) & 0xFFFFFFFF for word in wanted.transpose(0, 2, 3, 1).ravel()]
    got = lines.numbers(3).tolist()
    if len(got) != len(words):
        found.note(f"run {run}: {len(words)} result words must leave, not {len(got)}")
    differ = [place for place, (w, g) in enumerate(zip(words, got, strict=False)) if w != g]
    if differ:
        found.note(
            f"run {run}: result word {differ[0]} must be {words[differ[0]]:#x}, not"
            f" {got[differ[0]]:#x}",
            len(differ),
        )
    each = wanted[0].size
    ends = (np.flatnonzero(lines.numbers(2) == 1) + 1).tolist()
    if ends != list(range(each, len(got) + 1, each)):
        found.note(
            f"run {run}: TLAST must come with each {each}th word, not with words {ends[:SHOWN]}"
        )


def compare_commits(
    found: Comparison, folder: Path, plan: Plan, run: int, predicted: Mapping[str, Sequence[int]]
) -> None:
    """Compare the cycle of every chunk's every commit in a logged run without stalls.

    `predicted` is what the schedule of as many images says (`Schedule.commits`). The earliest
    differences are described first, as what is late makes others late.
    """
    pixels = read_trace(folder / "input.trace", 3).of_run(run)
    start = int(pixels.cycles[0]) if pixels.lines else 0
    differences: list[tuple[int, str]] = []
    for chunk in plan.chunks:
        trace = read_trace(folder / f"commits_{chunk.chunk.name}.trace", 3).of_run(run)
        layers = trace.numbers(2)
        for lp in chunk.layers:
            place = f"run {run}, chunk {chunk.chunk.name!r}, layer {lp.layer.name!r}"
            expected = np.asarray(predicted[lp.layer.name], dtype=np.int64)
            got = trace.cycles[layers == lp.index] - start
            found.commits += len(expected)
            if len(got) != len(expected):
                found.commit_mismatches += abs(len(expected) - len(got))
                found.note(
                    f"{place}: {len(expected)} commits must come, not {len(got)}",
                    abs(len(expected) - len(got)),
                )
            both = min(len(got), len(expected))
            differences += [
                (
                    int(expected[i]),
                    (
                        f"{place}, image {i // lp.tasks}, task {i % lp.tasks}: the commit must come"
                        f" in cycle {expected[i]}, not {got[i]}"
                    ),
                )
                for i in np.flatnonzero(got[:both] != expected[:both])
            ]
    for _, text in sorted(differences):
        found.note(text)
    found.commit_mismatches += len(differences)


def compare_cycles(
    found: Comparison, run: int, predicted: Sequence[int], simulated: Sequence[int]
) -> None:
    """Note each image that does not end in the very cycle that the schedule predicts."""
    if len(predicted) != len(simulated):
        found.note(f"run {run}: {len(predicted)} results must come, not {len(simulated)}")
    for image, (wanted, got) in enumerate(zip(predicted, simulated, strict=False)):
        if wanted != got:
            found.note(
                f"run {run}, image {image}: the last word must leave in cycle {wanted}, not {got}"
            )
