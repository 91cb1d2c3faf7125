"""The comparison of logs with the golden model finds every planted difference and names its
place.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autonba.arithmetic import IntArray
from autonba.bundle import Bundle
from autonba.cost.schedule import simulate as predict
from autonba.errors import ToolError
from autonba.mapping import Plan, plan
from autonba.sim.check import (
    Comparison,
    compare_commits,
    compare_cycles,
    compare_layers,
    finish_cycles,
)
from autonba.sim.testbench import read_trace

RUN = 7


def mapped(bundle: Bundle) -> Plan:
    return plan(bundle.design.network, bundle.design.accelerator, bundle.weights)


def write_traces(folder: Path, bundle: Bundle, golden: dict[str, IntArray]) -> None:
    """Logs as a testbench writes them for the images of `golden`, layer after layer."""
    for chunk in mapped(bundle).chunks:
        lanes, bits = chunk.chunk.drain_lanes, chunk.write_bits
        lines = []
        for lp in chunk.layers:
            values = golden[lp.layer.name][:, list(lp.output_order)]
            padded = np.pad(
                values, ((0, 0), (0, lp.channel_groups * lanes - lp.out.channels), (0, 0), (0, 0))
            )
            for group in padded.transpose(0, 2, 3, 1).reshape(-1, lanes).tolist():
                word = sum(
                    (value & ((1 << bits) - 1)) << (lane * bits) for lane, value in enumerate(group)
                )
                lines.append(
                    f"{RUN:02x} {len(lines):08x} {lp.index:x} {word:0{-(-lanes * bits // 4)}x}\n"
                )
        (folder / f"chunk_{chunk.chunk.name}.trace").write_text("".join(lines))


def compare(folder: Path, bundle: Bundle, images: range | None = None) -> Comparison:
    count = len(bundle.golden["labels"])
    return compare_layers(folder, mapped(bundle), bundle.golden, {RUN: images or range(count)})


def test_golden_values_agree(tiny: Bundle, tmp_path: Path) -> None:
    write_traces(tmp_path, tiny, tiny.golden)
    found = compare(tmp_path, tiny)
    elements = sum(
        values.size for name, values in tiny.golden.items() if name in mapped(tiny).layers
    )
    assert (found.elements, found.mismatches, found.notes) == (elements, 0, [])
    assert found.images == len(tiny.golden["labels"])


@pytest.mark.parametrize("place", ["first", "last"])
def test_one_wrong_element_is_named(tiny: Bundle, tmp_path: Path, place: str) -> None:
    for name, lp in mapped(tiny).layers.items():
        golden = {key: values.copy() for key, values in tiny.golden.items()}
        where = (0, 0, 0, 0) if place == "first" else tuple(size - 1 for size in golden[name].shape)
        right = int(golden[name][where])
        golden[name][where] = wrong = right - 1 if right > 0 else right + 1
        write_traces(tmp_path, tiny, golden)
        found = compare(tmp_path, tiny)
        assert found.mismatches == 1
        image, channel, row, column = where
        assert found.notes == [
            f"run {RUN}, layer {name!r}, image {image}, channel {channel}, row {row}, column"
            f" {column}: expected {right}, got {wrong}"
        ], lp


def test_missing_and_unknown_words_are_found(tiny: Bundle, tmp_path: Path) -> None:
    write_traces(tmp_path, tiny, tiny.golden)
    chunk = mapped(tiny).chunks[0]
    path = tmp_path / f"chunk_{chunk.chunk.name}.trace"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert compare(tmp_path, tiny).mismatches >= 1
    path.write_text("".join([lines[0][:-2] + "x\n", *lines[1:]]))
    found = compare(tmp_path, tiny)
    assert found.mismatches == 1
    assert "unknown bits" in found.notes[0]
    digits = lines[0].split()
    digits[2] = "f" * len(digits[2])
    path.write_text("".join([" ".join(digits) + "\n", *lines[1:]]))
    if len(chunk.layers) <= int(digits[2], 16):
        assert "name no layer" in compare(tmp_path, tiny).notes[0]


def test_images_are_compared_with_the_right_ones(tiny: Bundle, tmp_path: Path) -> None:
    write_traces(tmp_path, tiny, tiny.golden)
    assert compare(tmp_path, tiny, range(len(tiny.golden["labels"]) - 1, -1, -1)).mismatches > 0


def test_cycles_come_from_the_handshakes(tmp_path: Path) -> None:
    (tmp_path / "input.trace").write_text("01 00000064 0\n01 00000065 1\n02 000000ff 1\n")
    (tmp_path / "output.trace").write_text(
        "01 00000070 0 00000001\n01 00000073 1 fffffffe\n01 00000080 1 00000000\n"
    )
    assert finish_cycles(tmp_path, 1) == (16, 29)
    assert finish_cycles(tmp_path, 3) == ()
    found = Comparison()
    compare_cycles(found, 1, (16, 29), (16, 29))
    assert found.mismatches == 0
    compare_cycles(found, 1, (16, 28), (16, 29))
    compare_cycles(found, 1, (16, 28, 40), (16, 28))
    assert found.mismatches == 2
    assert found.notes[0] == "run 1, image 1: the last word must leave in cycle 28, not 29"


FIRST_PIXEL = 0x64
Commits = dict[str, list[int]]


def write_commits(folder: Path, bundle: Bundle, commits: Commits) -> None:
    """Logs as a testbench writes them where layers commit in those cycles, counted from the first
    pixel.
    """
    (folder / "input.trace").write_text(
        f"{RUN:02x} {FIRST_PIXEL:08x} 0\n{RUN:02x} {FIRST_PIXEL + 1:08x} 0\n"
    )
    for chunk in mapped(bundle).chunks:
        events = sorted(
            (cycle, lp.index) for lp in chunk.layers for cycle in commits[lp.layer.name]
        )
        lines = [f"{RUN:02x} {FIRST_PIXEL + cycle:08x} {layer:04x}\n" for cycle, layer in events]
        (folder / f"commits_{chunk.chunk.name}.trace").write_text("".join(lines))


def commits_of(
    folder: Path, bundle: Bundle, edit: Callable[[Commits], object] = lambda commits: None
) -> Comparison:
    """Compare the schedule of two images with logs that say the same but for `edit`."""
    schedule = predict(mapped(bundle), 2)
    logged = {name: list(cycles) for name, cycles in schedule.commits.items()}
    edit(logged)
    write_commits(folder, bundle, logged)
    found = Comparison()
    compare_commits(found, folder, mapped(bundle), RUN, schedule.commits)
    return found


def test_every_commit_is_compared(tiny: Bundle, tmp_path: Path) -> None:
    found = commits_of(tmp_path, tiny)
    assert (found.commits, found.mismatches, found.notes) == (
        2 * (4 + 4 + 1),
        0,
        [],
    )  # rows of stem, wide and logits


@pytest.mark.parametrize("task", range(8))
@pytest.mark.parametrize(("chunk", "layer"), [("conv0", "stem"), ("depthwise0", "wide")])
def test_one_commit_in_another_cycle_is_named(
    tiny: Bundle, tmp_path: Path, chunk: str, layer: str, task: int
) -> None:
    right = predict(mapped(tiny), 2).commits[layer][task]

    def late(commits: Commits) -> None:
        commits[layer][task] += 1

    found = commits_of(tmp_path, tiny, late)
    assert (found.mismatches, found.commit_mismatches) == (1, 1)
    assert found.notes == [
        f"run {RUN}, chunk {chunk!r}, layer {layer!r}, image {task // 4}, task {task % 4}: "
        f"the commit must come in cycle {right}, not {right + 1}"
    ]


def test_the_earliest_of_several_is_described_first(tiny: Bundle, tmp_path: Path) -> None:
    def late(commits: Commits) -> None:
        for cycles in commits.values():
            cycles[-1] += 1

    found = commits_of(tmp_path, tiny, late)
    assert [note.split(",")[2] for note in found.notes] == [
        " layer 'stem'",
        " layer 'wide'",
        " layer 'logits'",
    ]


def test_missing_and_extra_commits_are_counted(tiny: Bundle, tmp_path: Path) -> None:
    found = commits_of(tmp_path, tiny, lambda commits: commits["wide"].pop())
    assert found.notes == [
        f"run {RUN}, chunk 'depthwise0', layer 'wide': 8 commits must come, not 7"
    ]
    found = commits_of(tmp_path, tiny, lambda commits: commits["logits"].extend([10**6, 10**6 + 1]))
    assert found.notes == [f"run {RUN}, chunk 'conv0', layer 'logits': 2 commits must come, not 4"]
    assert found.commit_mismatches == 2


def test_lanes_are_two_s_complement(tmp_path: Path) -> None:
    path = tmp_path / "chunk.trace"
    path.write_text("01 00000000 0 7f80\n01 00000001 0 xX01\n")
    values, known = read_trace(path, 4).lanes(
        3, 3, 5
    )  # 111 11111 11100 00000 would be 16 bits: three lanes of five
    assert values[0].tolist() == [0, -4, -1]
    assert known.tolist() == [[True, True, True], [True, False, False]]


def test_half_a_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chunk.trace"
    path.write_text("01 00000000 0 7f80\n01 00000001 0 7f")
    with pytest.raises(ToolError, match="whole lines"):
        read_trace(path, 4)
    path.write_text("01 00000000 0\n")
    with pytest.raises(ToolError, match="4 columns, not 3"):
        read_trace(path, 4)
