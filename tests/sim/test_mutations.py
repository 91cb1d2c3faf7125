"""Planted faults: they can all be planted, some of them are found here, and every one by `make
mutations`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autonba.errors import SpecError
from autonba.sim.mutations import MUTATIONS, Mutation, judge, main, prepare, table

HERE = (0, 3, 24, 29, 31, 33)  # faults of every kind
HIDDEN = "rows given back a cycle late"  # a fault that only the cycles of commits show


@pytest.fixture(scope="module")
def designs(tmp_path_factory: pytest.TempPathFactory, simulator: str) -> Path:
    root = tmp_path_factory.mktemp("mutations")
    prepare(root)
    return root


def test_every_fault_can_be_planted(designs: Path) -> None:
    assert len({mutation.fault for mutation in MUTATIONS}) == len(MUTATIONS) >= 20
    for mutation in MUTATIONS:
        mutation.plant((designs / mutation.design / "rtl" / mutation.file).read_text())


@pytest.mark.parametrize("index", HERE)
def test_a_fault_is_found(designs: Path, index: int) -> None:
    verdict = judge(designs, index)
    assert verdict.kind in ("bits", "cycles", "halt"), verdict
    assert verdict.mutation.fault in table([verdict])


def test_a_fault_that_no_image_shows_is_found_by_its_commits(designs: Path) -> None:
    finding = judge(designs, [mutation.fault for mutation in MUTATIONS].index(HIDDEN)).finding
    assert re.search(
        r"chunk 'packs', layer 'stem', image 1, task \d+: the commit must come in cycle \d+,"
        r" not \d+",
        finding,
    )
    assert "last word" not in finding


def test_a_fault_that_cannot_be_planted_is_an_error() -> None:
    stale = Mutation(fault="old", file="mac_array.v", old="no such text", new="")
    with pytest.raises(
        SpecError,
        match=r"mutation 'old': mac_array\.v of design 'chip' must have text that matches",
    ):
        stale.plant("module mac_array")


@pytest.mark.slow
def test_every_fault_is_found() -> None:
    assert main() == 0
