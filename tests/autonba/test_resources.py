"""The resource model against counts of Yosys 0.70, and the rules over arrays against the plan's
figures.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonba.accelerator import Accelerator, Buffer, Chunk, Multiplier
from autonba.boards import Family
from autonba.cost import dsp, logic, primitives, ram, timing, widths
from autonba.cost.buffers import size_buffers
from autonba.cost.logic import nearest_held_out
from autonba.cost.resources import changing_bits, estimate, logic_breakdown
from autonba.mapping import Plan, plan, required_buffers
from autonba.network import INPUT, Layer, Network, Tensor
from autonba.packing import PORT_BITS, cut

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
FAMILIES: tuple[Family, ...] = ("ecp5", "xc7", "xcup")
LARGE = 256  # multipliers


# The rules, against numbers counted by hand or by Yosys


@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(36, 512, 1), (37, 512, 2), (9, 2048, 1), (72, 1024, 4), (129, 5339, 45)],
)
def test_block_rams(width: int, depth: int, blocks: int) -> None:
    assert ram.blocks(width, depth, "ecp5") == blocks


@pytest.mark.parametrize(("family", "last"), [("ecp5", 32), ("xc7", 128), ("xcup", 128)])
def test_shallow_memories_are_built_of_luts(family: Family, last: int) -> None:
    assert ram.in_blocks(np.array([64, 64]), np.array([last, last + 1]), family).tolist() == [
        False,
        True,
    ]
    assert not ram.in_blocks(7, 256, family)  # 1792 bits
    assert ram.in_blocks(8, 256, family)


def test_a_deep_memory_has_slices() -> None:
    assert ram.depth_slices(36, np.array([512, 513, 1025]), "xc7", rom=True).tolist() == [1, 1, 3]
    assert ram.depth_slices(36, 100, "xc7") == 1  # of LUTs


@pytest.mark.parametrize(
    ("a", "b", "dsps"),
    [(8, 9, 1), (2, 2, 1), (1, 9, 0), (19, 8, 1), (20, 17, 2), (38, 17, 3), (20, 20, 4)],
)
def test_products_on_ecp5(a: int, b: int, dsps: int) -> None:
    assert dsp.product(a, b, "ecp5") == dsps


# Counted by `synth_xilinx -family xc7`: products of fewer than 9 bits are built of LUTs.
@pytest.mark.parametrize(
    ("a", "b", "dsps"),
    [
        (4, 4, 0),
        (4, 5, 1),
        (8, 9, 1),
        (2, 6, 0),
        (2, 7, 1),
        (25, 18, 1),
        (26, 18, 2),
        (26, 19, 2),
        (18, 25, 1),
        (44, 17, 2),
    ],
)
def test_products_on_xc7(a: int, b: int, dsps: int) -> None:
    assert dsp.product(a, b, "xc7") == dsps


# Counted by Yosys on arrays of `benchmarks/primitives.py`: lanes, terms, weight bits, input bits.
@pytest.mark.parametrize(
    ("lanes", "terms", "w", "a", "dsps"),
    [
        (8, 4, 4, 4, 8),
        (4, 4, 4, 4, 4),
        (5, 4, 4, 4, 4),
        (4, 4, 8, 8, 8),
        (3, 4, 8, 8, 8),
        (16, 16, 8, 8, 128),
    ],
)
def test_packed_arrays_on_xc7(lanes: int, terms: int, w: int, a: int, dsps: int) -> None:
    assert dsp.packed_array(False, lanes, terms, 1, w, a, "xc7") == dsps


def test_a_requantizer_takes_a_block_for_each_part_and_one_for_the_residual() -> None:
    assert dsp.requantizer(np.array([25, 26, 49, 50]), 0, 0, "xc7").tolist() == [1, 2, 2, 3]
    assert dsp.requantizer(20, 9, 24, "xc7") == 1 + 1
    assert dsp.requantizer(20, 9, 24, "ecp5") == 2 + 2
    for family in FAMILIES:
        for bits in range(2, 60):
            assert dsp.product_parts(bits, family) == len(cut(bits, PORT_BITS[family])) - 1


def test_widths_hold_the_worst_sum() -> None:
    for w, a, products in ((8, 8, 27), (2, 3, 1), (5, 7, 576)):
        bits = int(widths.layer_sum(w, a, products))
        worst = products * 2 ** (w - 1) * 2**a
        assert 2 ** (bits - 1) > worst >= 2 ** (bits - 3)
    assert widths.accumulator(widths.beat_sum(8, 9, 16), 20) == 22
    assert widths.accumulator(widths.beat_sum(8, 9, 16), 30) == 30


def test_rules_of_time() -> None:
    assert timing.beats(5, 5, 3, 4) == 5 * 2 * 4
    assert timing.drain_cycles(2, 24, 8) == 6
    assert timing.period(np.array([5, 9]), 6).tolist() == [6, 9]
    assert timing.visits(7, 10, 4, 3) == 7 * 3 * 3
    assert timing.banks(2, 2, 3) == 8
    assert timing.banks(1, 2, 1) == 1


def test_columns_that_never_change_do_not_count() -> None:
    assert changing_bits([0b1010, 0b1001, 0b1011]) == 2


# Arrays: the table of synthesized primitives


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", logic.KINDS)
def test_the_table_gives_back_what_was_synthesized(family: Family, kind: logic.Logic) -> None:
    rows = json.loads((Path(primitives.__file__).parent / f"primitives_{family}.json").read_text())[
        "primitives"
    ]
    checked = 0
    for row in rows:
        w, a, style = row["weight_bits"], row["input_bits"], row["style"]
        deep, multiplier = style == "columns", style if style in ("lut", "dsp") else "packed"
        most = int(dsp.packing(deep, w, a, family)[0]) if multiplier == "packed" else 1
        if row["fields"] != most:
            continue
        size = {"out_lanes": 1 if deep else most, "columns": most if deep else 1}
        found = primitives.lanes(
            multiplier,
            deep,
            kind,
            weight_bits=w,
            input_bits=a,
            acc_bits=row["acc_bits"],
            terms=row["terms"],
            family=family,
            **size,
        )
        assert float(found) == pytest.approx(row[kind], abs=0.51), row
        checked += 1
    assert checked > 100


@pytest.mark.parametrize("family", FAMILIES)
def test_soft_multipliers_are_not_cheap(family: Family) -> None:
    """An 8 x 9 bit multiplier of LUTs with its share of the sums takes about 72 of them on xc7; 37
    were believed once.
    """
    taken = primitives.lanes(
        "lut",
        False,
        "lut",
        weight_bits=8,
        input_bits=9,
        acc_bits=26,
        out_lanes=16,
        terms=16,
        columns=1,
        family=family,
    )
    assert 65 * 256 < taken < 190 * 256


def test_an_adder_tree_has_an_adder_less_than_terms() -> None:
    for terms in range(1, 65):
        assert primitives.tree("lut", 10, terms) >= 10 * (terms - 1)
    assert [int(primitives.tree("lut", 10, n)) for n in (1, 2, 3, 4)] == [
        0,
        11,
        11 + 12,
        2 * 11 + 12,
    ]
    assert [int(primitives.tree("ff", 10, n)) for n in (1, 2, 3, 4)] == [
        0,
        11,
        2 * 11 + 12,
        2 * 11 + 12,
    ]


# Whole designs that the model was not fitted to


@pytest.mark.parametrize("family", FAMILIES)
def test_large_designs_held_out(family: Family) -> None:
    rows: list[dict[str, Any]] = logic.model(family)["held_out"]
    counted = {
        row["name"]: row
        for row in json.loads((BENCHMARKS / f"resources_{family}.json").read_text())["designs"]
    }
    for row in rows:
        assert counted[row["name"]]["held_out"]
        for kind in ("lut", "ff"):
            assert row[kind]["synthesized"] == sum(
                part[kind] for part in counted[row["name"]]["counted"].values()
            )
    for kind in ("lut", "ff"):
        errors = [
            abs(row[kind]["predicted"] / row[kind]["synthesized"] - 1)
            for row in rows
            if row["multipliers"] >= LARGE
        ]
        assert len(errors) >= 2
        assert np.mean(errors) < 0.08
        assert max(errors) < 0.15


def test_the_designs_most_like_one_are_of_its_style_and_size() -> None:
    rows = nearest_held_out("xc7", "packed", 260, count=2)
    assert [row["style"] for row in rows] == ["packed", "packed"]
    assert abs(rows[0]["multipliers"] - 260) <= abs(rows[1]["multipliers"] - 260)


# Plans


NETWORK = Network(
    input=Tensor(name=INPUT, channels=1, height=8, width=8, bits=8, signed=False),
    layers=(
        Layer(
            name="first",
            op="conv",
            input=INPUT,
            out_channels=8,
            kernel=(3, 3),
            padding=(1, 1),
            weight_bits=4,
            bits=4,
            shift=8,
        ),
        Layer(
            name="logits",
            op="conv",
            input="first",
            out_channels=3,
            kernel=(8, 8),
            weight_bits=4,
            bits=32,
            signed=True,
            raw=True,
        ),
    ),
    classes=("a", "b", "c"),
)


def small_plan(columns: int = 1, multiplier: Multiplier = "dsp") -> Plan:
    chunk = Chunk(
        name="c0",
        kind="conv",
        out_lanes=4,
        in_lanes=4,
        columns=columns,
        drain_lanes=2,
        multiplier=multiplier,
    )
    return plan(
        NETWORK,
        size_buffers(
            NETWORK, Accelerator(chunks=(chunk,), allocation={"first": "c0", "logits": "c0"})
        ),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_estimate_is_the_sum_of_its_parts(family: Family) -> None:
    mapped = small_plan()
    parts = logic_breakdown(mapped, family)
    assert estimate(mapped, family).lut == round(sum(part["lut"] for part in parts.values()))
    assert [part["lut"] for part in parts.values()] == sorted(
        (part["lut"] for part in parts.values()), reverse=True
    )
    assert {"c0/array", "c0/requantize", "c0/write", "memory", "front", "tokens"} <= set(parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_columns_need_more(family: Family) -> None:
    one, four = (estimate(small_plan(columns), family) for columns in (1, 4))
    assert four.lut > one.lut
    assert four.ff > one.ff
    assert four.dsp == one.dsp + 3 * 16


def test_dsp_blocks_of_a_plan() -> None:
    """Sixteen 4 x 9 bit products in blocks, and two requantizers whose accumulators one block
    multiplies.
    """
    assert estimate(small_plan(), "xc7").dsp == 16 + 2
    assert estimate(small_plan(multiplier="lut"), "xc7").dsp == 2


def test_streams_and_loading_take_logic() -> None:
    chunk = Chunk(name="c0", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=2, multiplier="lut")
    bare = Accelerator(chunks=(chunk,), allocation={"first": "c0", "logits": "c0"})
    rows = required_buffers(NETWORK, bare)
    whole = replace(
        bare,
        buffers=tuple(
            Buffer(tensor=t, reader=r, port=p, rows=n + 1) for (t, r, p), n in rows.items()
        ),
    )
    for family in FAMILIES:
        fixed, loaded = (
            logic_breakdown(plan(NETWORK, replace(whole, loadable=loadable)), family)
            for loadable in (False, True)
        )
        assert "load" not in fixed
        assert loaded["load"]["lut"] > 50
