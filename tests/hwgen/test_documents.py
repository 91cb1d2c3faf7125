"""Documents against what the generator writes: files of rtl/, ports of the top module, words that
are loaded.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from autonba.arithmetic import MULTIPLIER_BITS
from autonba.bundle import Bundle
from autonba.hwgen.generate import render
from autonba.mapping import plan
from autonba.sim.example_designs import chip_design, stream_design
from autonba.weight_load import load_images, load_targets

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """Cells of the rows of the first table below `heading`."""
    below = (DOCS / page).read_text().partition(f"\n{heading}\n")[2]
    assert below, f"{page} must have the heading {heading!r}"
    table = re.search(r"^\|.*\n\|-.*\n((?:\|.*\n)*)", below, re.MULTILINE)
    assert table is not None
    for line in table[1].splitlines():
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def names(cell: str) -> list[str]:
    """Code spans of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` is `pattern` with something for each <…>."""
    return re.fullmatch(re.sub(r"<\w+>", r"\\w+", re.escape(pattern)), name) is not None


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Designs that between them have every file and port: several chunk kinds; streamed weights;
    weights that can be loaded.
    """
    loadable = [
        replace(subject, accelerator=replace(subject.accelerator, loadable=True))
        for subject in (chip_design(), stream_design())
    ]
    return [
        subject.write(tmp_path_factory.mktemp("bundle"), 1)
        for subject in (chip_design(), stream_design(), *loadable)
    ]


@pytest.fixture(scope="module")
def generated(bundles: list[Bundle]) -> list[dict[str, str]]:
    return [render(bundle) for bundle in bundles]


def test_section_6_names_the_files_of_rtl(
    bundles: list[Bundle], generated: list[dict[str, str]]
) -> None:
    named = [name for row in rows("bundle-format.md", "## 6. rtl/") for name in names(row[0])]
    written = set().union(*generated)
    assert [
        name for name in sorted(written) if not any(matches(pattern, name) for pattern in named)
    ] == []
    assert [
        pattern for pattern in named if not any(matches(pattern, name) for name in written)
    ] == []
    for bundle, files in zip(bundles, generated, strict=True):
        chunks = [chunk.name for chunk in bundle.design.accelerator.chunks]
        for pattern in (p for p in named if "<chunk>" in p):
            for name in filter(lambda name: matches(pattern, name), files):
                assert any(matches(pattern.replace("<chunk>", chunk), name) for chunk in chunks), (
                    name
                )


def ports(verilog: str) -> dict[str, tuple[str, int]]:
    """Direction and width of each port of the module in `verilog`."""
    header = verilog.partition("module accelerator (")[2].partition(");")[0]
    found = re.findall(r"\b(in|out)put\s+wire\s+(?:\[(\d+):0\]\s+)?(\w+)", header)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def test_registers_page_names_every_port_of_the_top(
    bundles: list[Bundle], generated: list[dict[str, str]]
) -> None:
    table = [
        (name, row[1], row[2])
        for row in rows("registers.md", "## Ports of `accelerator`")
        for name in names(row[0])
    ]
    used = set()
    for bundle, files in zip(bundles, generated, strict=True):
        design = bundle.design
        widths = {
            "8 x channels": 8 * design.network.input.channels,
            "`stream_bits`": design.accelerator.stream_bits,
        }
        found = ports(files["accelerator.v"])
        assert len(found) > 20
        for port, (direction, bits) in found.items():
            row = [
                (way, widths.get(width) or int(width))
                for name, way, width in table
                if matches(name, port)
            ]
            assert row == [(direction, bits)], port
            used |= {name for name, _, _ in table if matches(name, port)}
    assert used == {name for name, _, _ in table}


def test_loaded_words_are_laid_out_as_the_registers_page_says(bundles: list[Bundle]) -> None:
    """A conv chunk with dense layers in natural order, its words built from the page."""
    design, own = bundles[3].design, bundles[3].weights
    network, accelerator = (
        design.network,
        replace(design.accelerator, loops={}),
    )  # on the chip, so that they are loaded
    mapped = plan(network, accelerator, own)
    (chunk,), (spec,) = mapped.chunks, accelerator.chunks
    weight_bits = max(layer.weight_bits for layer in network.layers)
    weight_words, parameter_words = [], []
    for layer in network.layers:
        weight, bias, m = own[layer.name].weight, own[layer.name].bias, own[layer.name].m
        assert weight is not None
        assert bias is not None
        (kernel_rows, kernel_columns), inputs = layer.kernel, network.tensors[layer.input].channels
        for block in range(0, layer.out_channels, spec.out_lanes):
            outputs = range(block, block + spec.out_lanes)
            for ky, step, word in itertools.product(
                range(kernel_rows),
                range(0, kernel_columns, spec.taps),
                range(0, inputs, spec.in_lanes),
            ):
                places = itertools.product(
                    outputs, range(step, step + spec.taps), range(word, word + spec.in_lanes)
                )
                weight_words.append(
                    [
                        (
                            (
                                int(weight[o, i, ky, kx])
                                if o < layer.out_channels and kx < kernel_columns and i < inputs
                                else 0
                            ),
                            weight_bits,
                        )
                        for o, kx, i in places
                    ]
                )
            for first in outputs[:: spec.drain_lanes]:
                parameter_words.append(
                    [
                        field
                        for o in range(first, first + spec.drain_lanes)
                        for field in (
                            (int(bias[o]), chunk.acc_bits),
                            (0 if m is None else int(m[o]), MULTIPLIER_BITS),
                        )
                    ]
                )
    assert [target.kind for target in load_targets(mapped)] == ["weights", "parameters"]
    assert load_images(mapped, own) == [
        b"".join(sent(word, accelerator.stream_bits) for word in words)
        for words in (weight_words, parameter_words)
    ]


def sent(fields: list[tuple[int, int]], stream_bits: int) -> bytes:
    """A word of fields (value, bits), the first one lowest, filled up to a multiple of
    `stream_bits`; lowest bytes first.
    """
    word = low = 0
    for value, bits in fields:
        word += (value % (1 << bits)) << low
        low += bits
    return word.to_bytes(-(-low // stream_bits) * stream_bits // 8, "little")
