"""The resource model against counts of Yosys 0.70 `synth_ecp5`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.boards import Family
from autonba.cost.buffers import size_buffers
from autonba.cost.resources import (
    block_rams,
    changing_bits,
    estimate,
    logic_breakdown,
    logic_model_error,
    product_dsps,
)
from autonba.mapping import Plan, plan
from autonba.network import INPUT, Layer, Network, Tensor

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
FAMILIES: tuple[Family, ...] = ("ecp5", "xc7", "xcup")


@pytest.mark.parametrize(("width", "depth", "blocks"), [(36, 512, 1), (37, 512, 2), (9, 2048, 1), (72, 1024, 4), (129, 5339, 45)])
def test_block_rams(width: int, depth: int, blocks: int) -> None:
    assert block_rams(width, depth) == blocks


@pytest.mark.parametrize(("a", "b", "dsps"), [(8, 9, 1), (2, 2, 1), (1, 9, 0), (19, 8, 1), (20, 17, 2), (38, 17, 3), (20, 20, 4)])
def test_product_dsps(a: int, b: int, dsps: int) -> None:
    assert product_dsps(a, b) == dsps


def test_columns_that_never_change_do_not_count() -> None:
    assert changing_bits([0b1010, 0b1001, 0b1011]) == 2


def rows(family: Family) -> list[dict[str, Any]]:
    """Designs of the error table, each predicted by a model that it was left out of."""
    designs: list[dict[str, Any]] = json.loads((BENCHMARKS / f"resources_{family}.json").read_text())["designs"]
    return designs


@pytest.mark.parametrize(("family", "count"), [("ecp5", 20), ("xc7", 8), ("xcup", 8)])
def test_error_table_of_designs_left_out(family: Family, count: int) -> None:
    designs = rows(family)
    assert len(designs) >= count
    for design in designs:
        assert all(design["predicted"][kind] == design["counted"][kind] for kind in ("dsp", "bram")), design["seed"]
    error = logic_model_error(family)
    for kind in ("lut", "ff"):
        errors = [abs(design["predicted"][kind] / design["counted"][kind] - 1) for design in designs]
        assert error[kind] == pytest.approx(np.mean(errors), abs=1e-4)
        assert error[kind] < 0.08


def small_plan(columns: int = 1) -> Plan:
    network = Network(
        input=Tensor(name=INPUT, channels=1, height=8, width=8, bits=8, signed=False),
        layers=(
            Layer(name="first", op="conv", input=INPUT, out_channels=8, kernel=(3, 3), padding=(1, 1), weight_bits=4, bits=4,
                  shift=8),
            Layer(name="logits", op="conv", input="first", out_channels=3, kernel=(8, 8), weight_bits=4, bits=32, signed=True,
                  raw=True)),
        classes=("a", "b", "c"))
    chunk = Chunk(name="c0", kind="conv", out_lanes=4, in_lanes=4, columns=columns, drain_lanes=2, multiplier="dsp")
    return plan(network, size_buffers(network, Accelerator(chunks=(chunk,), allocation={"first": "c0", "logits": "c0"})))


@pytest.mark.parametrize("family", FAMILIES)
def test_estimate_is_the_sum_of_its_parts(family: Family) -> None:
    mapped = small_plan()
    parts = logic_breakdown(mapped, family)
    assert estimate(mapped, family).lut == round(sum(part["lut"] for part in parts.values()))
    assert [part["lut"] for part in parts.values()] == sorted((part["lut"] for part in parts.values()), reverse=True)
    assert {"c0/array", "c0/write", "memory", "front"} <= set(parts)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_columns_need_more(family: Family) -> None:
    one, four = (estimate(small_plan(columns), family) for columns in (1, 4))
    assert four.lut > one.lut
    assert four.ff > one.ff
    assert four.dsp == one.dsp + 3 * 16
