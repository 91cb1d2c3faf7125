"""Widths and places that the generated modules agree on, at the values where one bit less would do
no more.
"""

from __future__ import annotations

import pytest
from amaranth.hdl import Const, Shape, Signal
from amaranth.sim import Simulator, SimulatorContext

from autonba.accelerator import Accelerator, Chunk
from autonba.arithmetic import clog2
from autonba.cost.buffers import size_buffers
from autonba.hwgen import generate
from autonba.hwgen.fronts import ImageInput
from autonba.hwgen.layout import ChunkLayout, index_bits, token_bits
from autonba.hwgen.requantizer import RequantizerShape
from autonba.hwgen.tables import LayerConstants, table_shape
from autonba.mapping import MemoryPlan, plan
from autonba.network import Layer, Network, Tensor


@pytest.mark.parametrize("rows", range(1, 70))
def test_tokens_count_a_full_and_an_empty_buffer(rows: int) -> None:
    assert 1 << token_bits(rows) > rows
    assert 1 << index_bits(rows) >= rows


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        ([0], Shape(1)),
        ([5, 7], Shape(3)),
        ([0, 8], Shape(4)),
        ([-1, 0], Shape(1, signed=True)),
        ([-9, 3], Shape(5, signed=True)),
        ([-3, 8], Shape(5, signed=True)),
    ],
)
def test_tables_hold_all_their_values(values: list[int], shape: Shape) -> None:
    assert table_shape(values) == shape
    for value in values:
        assert Const(value, table_shape(values)).value == value


def test_a_constant_of_all_layers_takes_no_register() -> None:
    constants = LayerConstants(Signal(), Signal(2))
    assert isinstance(constants([3, 3, 3], "same"), Const)
    assert constants([3, 1, 3], "other") is constants([3, 1, 3], "again")
    assert constants([3, 1, 4], "third") is not constants([3, 1, 3], "other")


@pytest.mark.parametrize(("height", "kernel"), [(7, 5), (8, 5), (11, 5), (3, 1), (16, 9)])
def test_a_row_number_reaches_from_the_padding_to_below_the_map(height: int, kernel: int) -> None:
    layer = Layer(
        name="a",
        op="conv",
        input="input",
        out_channels=2,
        kernel=(kernel, 1),
        padding=(kernel // 2, 0),
        shift=1,
    )
    network = Network(
        input=Tensor(name="input", channels=1, height=height, width=2, bits=8, signed=False),
        layers=(layer,),
        classes=("a", "b"),
    )
    chunk = Chunk(name="c", kind="conv", out_lanes=2, in_lanes=1, drain_lanes=1, multiplier="lut")
    mapped = plan(
        network, size_buffers(network, Accelerator(chunks=(chunk,), allocation={"a": "c"}))
    )
    shape = ChunkLayout(mapped, mapped.chunks[0]).top_shape
    for row in (-(kernel // 2), height + kernel // 2):
        assert Const(row, shape).value == row


def requantizer(shifts: tuple[int, int]) -> RequantizerShape:
    return RequantizerShape(
        acc_bits=20,
        residual_bits=0,
        residual_multiplier_bits=1,
        shifts=shifts,
        write_bits=8,
        raw=False,
        requantizes=True,
    )


@pytest.mark.parametrize("shifts", [(3, 3), (3, 4), (3, 5), (3, 7), (0, 8), (12, 20), (9, 40)])
def test_the_shift_beyond_the_least_fits(shifts: tuple[int, int]) -> None:
    assert 1 << requantizer(shifts).shift_bits > shifts[1] - shifts[0]
    assert 1 << requantizer(shifts).half_bits > (1 << shifts[1]) >> 1


def memory(bits: int, signed: bool, lanes: int = 4) -> MemoryPlan:
    return MemoryPlan(
        name="m",
        writer="input",
        reader="c",
        port="main",
        write_lanes=lanes,
        read_lanes=lanes,
        lane_bits=bits,
        signed=signed,
        banks=1,
        depth=16,
        buffers=(),
    )


@pytest.mark.parametrize(
    ("signed", "packed", "operand", "zero"),
    [
        (True, False, "{{2{m_read_data[n*6 + 5]}}, m_read_data[n*6 +: 6]}", "8'd0"),
        (False, False, "{2'd0, m_read_data[n*6 +: 6]}", "8'd0"),
        (False, True, "{2'd0, m_read_data[n*6 +: 6]}", "8'd0"),
        (
            True,
            True,
            "{~m_read_data[n*6 + 5], {2{m_read_data[n*6 + 5]}}, m_read_data[n*6 +: 5]}",
            "8'd128",
        ),
    ],
)
def test_lanes_become_operands(signed: bool, packed: bool, operand: str, zero: str) -> None:
    """Signed lanes are extended by their sign; packed ones are raised by 2^7, and so is the
    padding.
    """
    values = generate._read_values(memory(6, signed), 4, 8, packed)
    assert "{" + values["operand"].strip("{}") + "}" == "{" + operand.strip("{}") + "}"
    assert values["zero"] == zero


def test_lanes_without_a_channel_are_zero() -> None:
    assert generate._pixel(memory(8, False), 3) == "{8'd0, pixel}"
    assert generate._pixel(memory(1, False, 2), 2) == "pixel"


@pytest.mark.parametrize("bits", [1, 7, 8])
def test_a_pixel_s_first_channel_is_the_lowest_lane(bits: int) -> None:
    """Of each channel's byte the image's bits, side by side."""
    layer = Layer(name="a", op="conv", input="input", out_channels=2, shift=1)
    network = Network(
        input=Tensor(name="input", channels=3, height=2, width=2, bits=bits, signed=False),
        layers=(layer,),
        classes=("a", "b"),
    )
    chunk = Chunk(name="c", kind="conv", out_lanes=2, in_lanes=1, drain_lanes=1, multiplier="lut")
    front = ImageInput(
        plan(network, size_buffers(network, Accelerator(chunks=(chunk,), allocation={"a": "c"})))
    )
    word, seen = 0x9E_35_C7, []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(front.s_axis_tdata, word)
        ctx.set(front.s_axis_tvalid, 1)
        ctx.set(front.run, 1)
        ctx.set(front.input_to_a_free, 1)
        await ctx.tick().repeat(4)
        seen.append(ctx.get(front.pixel))

    simulator = Simulator(front)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    kept = (1 << bits) - 1
    assert seen == [0xC7 & kept | (0x35 & kept) << bits | (0x9E & kept) << 2 * bits]


@pytest.mark.parametrize(("word", "beat"), [(70, 32), (64, 32), (5, 32), (33, 16)])
def test_slices_cover_a_word(word: int, beat: int) -> None:
    parts = generate._slices(word, beat)
    assert [part["low"] for part in parts] == list(range(0, word, beat))
    assert sum(part["bits"] for part in parts) == word
    assert [part["part"] for part in parts] == [
        "" if part["bits"] == beat else f"[{part['bits'] - 1}:0]" for part in parts
    ]
    assert index_bits(len(parts)) == max(clog2(len(parts)), 1)
