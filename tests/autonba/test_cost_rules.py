"""The rules of cost, which exact model and searches share, against counting one by one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest

from autonba.boards import Family
from autonba.cost import dsp, logic, primitives, ram, resources, timing
from autonba.cost.arrays import bit_length, divided_up, log2_up
from autonba.hwgen.layout import ChunkLayout
from autonba.mapping import MemoryPlan, plan
from autonba.sim.example_designs import chip_design, stream_design
from autonba.sim.shrink import Subject

FAMILIES: tuple[Family, ...] = ("ecp5", "xc7", "xcup")


def test_whole_numbers_alone_and_in_arrays() -> None:
    numbers = [*range(1, 3000), *((1 << e) + d for e in range(2, 52) for d in (-1, 0, 1))]
    assert (
        [int(log2_up(n)) for n in numbers]
        == [(n - 1).bit_length() for n in numbers]
        == log2_up(np.array(numbers)).tolist()
    )
    assert [int(bit_length(n)) for n in [0, *numbers]] == [n.bit_length() for n in [0, *numbers]]
    assert [divided_up(a, 7) for a in range(30)] == [
        sum(1 for _ in range(0, a, 7)) for a in range(30)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_a_layer_against_its_loops(seed: int) -> None:
    """Every beat of every visit, one by one."""
    drawn = random.Random(seed)
    kh, kw, taps, words = (drawn.randint(1, 5) for _ in range(4))
    height, width, columns, blocks = (drawn.randint(1, 9) for _ in range(4))
    drain = drawn.choice((1, 2, 4))
    out_lanes = drain * drawn.randint(1, 4)
    beats = sum(1 for _ in itertools.product(range(kh), range(0, kw, taps), range(words)))
    groups = sum(1 for _ in itertools.product(range(columns), range(0, out_lanes, drain)))
    visits = sum(
        1 for _ in itertools.product(range(height), range(0, width, columns), range(blocks))
    )
    assert timing.beats(kh, kw, taps, words) == beats
    assert timing.drain_cycles(columns, out_lanes, drain) == groups
    assert timing.period(beats, groups) == max(beats, groups)
    assert timing.visits(height, width, columns, blocks) == visits


@pytest.mark.parametrize(
    ("columns", "stride", "taps"), [*itertools.product((1, 2, 3, 8), (1, 2, 3), (1, 2, 3, 8))]
)
def test_columns_that_are_read_at_once_lie_in_different_banks(
    columns: int, stride: int, taps: int
) -> None:
    banks = timing.banks(columns, stride, taps)
    read = {column * stride + tap for column in range(columns) for tap in range(taps)}
    assert len({column % banks for column in range(min(read), max(read) + 1)}) == max(read) + 1
    assert banks // 2 <= max(read)


@pytest.mark.parametrize("depthwise", [False, True])
def test_packs_of_an_array(depthwise: bool) -> None:
    """Each group of `fields` output lanes (columns, in a depthwise array) that share a factor is a
    pack.
    """
    for lanes, terms, columns, fields in itertools.product((1, 4, 6), (1, 3), (1, 2, 5), (1, 2, 3)):
        shared, others = (columns, lanes) if depthwise else (lanes, columns)
        counted = sum(
            1 for _ in itertools.product(range(0, shared, fields), range(others), range(terms))
        )
        assert int(dsp.packs(depthwise, lanes, terms, columns, fields)) == counted


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_of_a_memory(family: Family) -> None:
    """18 Kbit as 512 x 36 to 16384 x 1; a memory takes as few as some shape allows, more only where
    that saves multiplexers.
    """
    shapes = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512))
    for width, depth in itertools.product(
        (1, 8, 9, 17, 36, 37, 72, 130), (33, 512, 513, 1025, 4096, 20000)
    ):
        apart = min(-(-width // bits) * -(-depth // words) for bits, words in shapes)
        least = -(-width * depth // (18 * 1024))
        found = int(ram.blocks(width, depth, family))
        assert (
            least <= found <= 1.3 * apart + 1
        )  # slices share blocks; a few blocks more may save multiplexers
        assert 0 < int(ram.blocks(width, depth, family, rom=True)) <= found
    assert int(ram.blocks(72, 512, family)) == 2
    assert (
        int(ram.blocks(37, 1536, "xc7", rom=True)) == -(-37 * 3 // 36) == 4
    )  # slices of 512 words of a ROM share blocks
    assert int(ram.blocks(37, 1536, family)) == -(-45 * 3 // 36) == 4  # of a RAM in bytes of 9 bits
    assert int(ram.blocks(80, 1352, family)) == -(-81 * 3 // 36) == 7  # counted by Yosys
    assert int(ram.blocks(10, 1100, "xc7")) == 2  # ten bits are two bytes: as a ROM it would be 1
    assert int(ram.sliced_blocks(70, 512, 32, family)) == 1 + 1 + 1


def test_every_column_bank_is_a_memory() -> None:
    def blocks(banks: int, lanes: int) -> int:
        memory = MemoryPlan(
            name="m",
            writer="c",
            reader="d",
            port="main",
            write_lanes=4,
            read_lanes=lanes,
            lane_bits=8,
            signed=False,
            banks=banks,
            depth=1024,
            buffers=(),
        )
        return resources.memory_blocks(memory, "xc7", 3)

    assert blocks(1, 4) == 2
    assert blocks(4, 4) == 4 * blocks(1, 4)
    assert blocks(1, 8) == 2 * blocks(1, 4)


@pytest.mark.parametrize("design", [chip_design, stream_design])
def test_weight_memories_are_as_deep_as_they_are_built(design: Callable[[], Subject]) -> None:
    """What stays on the chip, and two halves for streamed blocks."""
    subject = design()
    mapped = plan(subject.network, subject.accelerator)
    for chunk in mapped.chunks:
        (width, depth, *_), _ = resources._weight_memories(chunk, None, mapped.accelerator)
        assert depth == ChunkLayout(mapped, chunk).weight_depth
        assert width == chunk.chunk.weights_per_cycle * chunk.weight_bits


@pytest.mark.parametrize("family", FAMILIES)
def test_columns_share_the_registers_of_their_weights(family: Family) -> None:
    one, two = (
        float(
            primitives.lanes(
                "lut",
                False,
                "ff",
                weight_bits=6,
                input_bits=8,
                acc_bits=22,
                out_lanes=4,
                terms=8,
                columns=columns,
                family=family,
            )
        )
        for columns in (1, 2)
    )
    assert two == pytest.approx(2 * one - 4 * 8 * 6)


@pytest.mark.parametrize("family", FAMILIES)
def test_designs_of_the_style_come_before_those_of_the_size(family: Family) -> None:
    rows = logic.model(family)["held_out"]
    for style, size in itertools.product({row["style"] for row in rows}, (1, 300, 5000)):
        own = sum(row["style"] == style for row in rows)
        found = [
            row["style"] for row in logic.nearest_held_out(family, style, size, count=len(rows))
        ]
        assert found[:own] == [style] * own
