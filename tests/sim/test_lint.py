"""Generated RTL is lint-clean with the waivers, and the waivers hide no more than they say."""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path

import pytest

from autonba.accelerator import Accelerator, Chunk, Loops
from autonba.bundle import Bundle
from autonba.cost.buffers import size_buffers
from autonba.errors import ToolError
from autonba.hwgen.generate import generate
from autonba.network import Network
from autonba.sim.example_designs import stream_design
from autonba.sim.lint import lint, lint_folder
from autonba.sim.runner import find_toolchain
from tests.sim.conftest import plant


@pytest.fixture(autouse=True)
def _verilator() -> None:
    try:
        find_toolchain("verilator")
    except ToolError as error:
        pytest.skip(str(error))


def test_generated_rtl_is_clean(small: Bundle) -> None:
    assert lint(small) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        (
            "mac_lane.v",
            "endmodule",
            "    wire forgotten;\n    assign forgotten = clk;\nendmodule",
            "UNUSEDSIGNAL",
        ),
        (
            "row_tokens.v",
            "free <= free + release_read",
            "free <= {free, release_read}",
            "WIDTHTRUNC",
        ),
        ("accelerator.v", ".run(run), ", "", "PINMISSING"),
        (
            "result_output.v",
            "endmodule",
            "  reg latch;\n  always @* if (clk) latch = rst;\nendmodule",
            "LATCH",
        ),
    ],
)
def test_planted_fault_is_found(spoilt: Bundle, file: str, old: str, new: str, rule: str) -> None:
    plant(spoilt, file, old, new)
    assert any(rule in line and file in line for line in lint(spoilt))


@pytest.fixture
def loaded(tmp_path: Path) -> Bundle:
    """Three layers whose weights are streamed on one chunk, a depthwise one on another, loadable,
    and an image of few bits.
    """
    subject = stream_design()
    first, last = subject.network.layers
    layers = (
        first,
        replace(first, name="middle", input="stem"),
        replace(first, name="depth", input="middle", groups=8),
        replace(last, input="depth"),
    )
    network = Network(
        input=replace(subject.network.input, bits=1), layers=layers, classes=subject.network.classes
    )
    chunks = (
        Chunk(
            name="streams", kind="conv", out_lanes=2, in_lanes=4, drain_lanes=1, multiplier="dsp"
        ),
        Chunk(
            name="stays", kind="depthwise", out_lanes=2, in_lanes=2, drain_lanes=1, multiplier="lut"
        ),
    )
    allocation = {layer.name: "stays" if layer.is_depthwise else "streams" for layer in layers}
    accelerator = size_buffers(
        network,
        Accelerator(
            chunks=chunks,
            allocation=allocation,
            stream_bits=256,
            loadable=True,
            loops={
                name: Loops(order="block_outer", weights="stream")
                for name, chunk in allocation.items()
                if chunk == "streams"
            },
        ),
    )
    bundle = replace(subject, network=network, accelerator=accelerator).write(
        tmp_path / "loaded", 1
    )
    generate(bundle)
    return bundle


def test_every_waiver_still_hides_something(
    small: Bundle, tiny: Bundle, loaded: Bundle, tmp_path: Path
) -> None:
    """One that hides nothing would hide the next fault of its kind."""
    assert lint(loaded) == []
    text = resources.files("autonba.sim").joinpath("lint.vlt").read_text()
    waivers = re.findall(
        r'^lint_off -rule (\w+) -file "([^"]+)"(?: -match "([^"]+)")?$', text, re.MULTILINE
    )
    assert len(waivers) == text.count("lint_off")
    warnings = [
        line
        for bundle in (small, tiny, loaded)
        for line in lint_folder(
            bundle.path / "rtl", tmp_path / "lint.log", "accelerator", waived=False
        )
    ]
    found = [
        match.groups()
        for line in warnings
        if (match := re.match(r"%Warning-(\w+): (\S+?):\d+:\d+: (.*)", line))
    ]
    assert [
        f"{rule} {file} {said}"
        for rule, file, said in waivers
        if not any(
            rule == r and fnmatchcase(f, file) and fnmatchcase(s, said or "*") for r, f, s in found
        )
    ] == []
