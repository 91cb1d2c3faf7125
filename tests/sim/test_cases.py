"""Designs that once failed, made small: `autonba fuzz --cases tests/sim/cases` saves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonba.sim.fuzz import IMAGES, check_bundle
from autonba.sim.shrink import load

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path) -> None:
    subject = load(path)
    assert check_bundle(subject.write(tmp_path, IMAGES), subject.seed) == ""
