"""The comparison of logs with the golden model finds every planted difference and names its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autonba.arithmetic import IntArray
from autonba.bundle import Bundle
from autonba.errors import ToolError
from autonba.mapping import Plan, plan
from autonba.sim.check import Comparison, compare_cycles, compare_layers, finish_cycles
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
            padded = np.pad(values, ((0, 0), (0, lp.channel_groups * lanes - lp.out.channels), (0, 0), (0, 0)))
            for group in padded.transpose(0, 2, 3, 1).reshape(-1, lanes).tolist():
                word = sum((value & ((1 << bits) - 1)) << (lane * bits) for lane, value in enumerate(group))
                lines.append(f"{RUN:02x} {len(lines):08x} {lp.index:x} {word:0{-(-lanes * bits // 4)}x}\n")
        (folder / f"chunk_{chunk.chunk.name}.trace").write_text("".join(lines))


def compare(folder: Path, bundle: Bundle, images: range | None = None) -> Comparison:
    count = len(bundle.golden["labels"])
    return compare_layers(folder, mapped(bundle), bundle.golden, {RUN: images or range(count)})


def test_golden_values_agree(tiny: Bundle, tmp_path: Path) -> None:
    write_traces(tmp_path, tiny, tiny.golden)
    found = compare(tmp_path, tiny)
    elements = sum(values.size for name, values in tiny.golden.items() if name in mapped(tiny).layers)
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
        assert found.notes == [f"run {RUN}, layer {name!r}, image {image}, channel {channel}, row {row}, column {column}: "
                               f"expected {right}, got {wrong}"], lp


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
    (tmp_path / "output.trace").write_text("01 00000070 0 00000001\n01 00000073 1 fffffffe\n01 00000080 1 00000000\n")
    assert finish_cycles(tmp_path, 1) == (16, 29)
    assert finish_cycles(tmp_path, 3) == ()
    found = Comparison()
    compare_cycles(found, 1, (16, 29), (16, 29))
    assert found.mismatches == 0
    compare_cycles(found, 1, (16, 28), (16, 29))
    compare_cycles(found, 1, (16, 28, 40), (16, 28))
    assert found.mismatches == 2
    assert found.notes[0] == "run 1, image 1: the last word must leave in cycle 28, not 29"


def test_lanes_are_two_s_complement(tmp_path: Path) -> None:
    path = tmp_path / "chunk.trace"
    path.write_text("01 00000000 0 7f80\n01 00000001 0 xX01\n")
    values, known = read_trace(path, 4).lanes(3, 3, 5)  # 111 11111 11100 00000 would be 16 bits: three lanes of five
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
