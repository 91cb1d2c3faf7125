"""Fixtures of the flow tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # small_design, also for the simulator's process

import small_design

from autonba.bundle import Bundle


@pytest.fixture
def placeholder(tmp_path: Path) -> Bundle:
    """A bundle for the ULX3S whose RTL is only there by name."""
    return small_design.placeholder(tmp_path / "build", "ulx3s-85f")
