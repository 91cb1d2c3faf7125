"""The resource model's exact parts against counts of Yosys 0.70 `synth_ecp5`."""

from __future__ import annotations

import pytest

from autonba.cost.resources import block_rams, changing_bits, product_dsps


@pytest.mark.parametrize(("width", "depth", "blocks"), [(36, 512, 1), (37, 512, 2), (9, 2048, 1), (72, 1024, 4), (129, 5339, 45)])
def test_block_rams(width: int, depth: int, blocks: int) -> None:
    assert block_rams(width, depth) == blocks


@pytest.mark.parametrize(("a", "b", "dsps"), [(8, 9, 1), (2, 2, 1), (1, 9, 0), (19, 8, 1), (20, 17, 2), (38, 17, 3), (20, 20, 4)])
def test_product_dsps(a: int, b: int, dsps: int) -> None:
    assert product_dsps(a, b) == dsps


def test_columns_that_never_change_do_not_count() -> None:
    assert changing_bits([0b1010, 0b1001, 0b1011]) == 2
