"""What continuous integration runs, with a Makefile that only says what is asked of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
TOOLS = ("iverilog", "g++", "perl")  # stand-ins, so that nothing is installed


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the script and the Makefile."""
    for tool in ("git", "make", "bash"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} must be installed for this test, and it is not")
    root = tmp_path / "checkout"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(SCRIPT, root / ".ci" / "run")
    (root / "Makefile").write_text("%:\n\t@echo asked: $@ MINUTES=$(MINUTES) SEED=$(SEED)\n")
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message", "all"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    (tmp_path / "tools").mkdir()
    for tool in TOOLS:
        path = tmp_path / "tools" / tool
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return root


def run(checkout: Path, **variables: str) -> str:
    path = f"{checkout.parent / 'tools'}{os.pathsep}{os.environ['PATH']}"
    without_seed = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SEED", "MAKEFLAGS", "MINUTES")
    }
    return subprocess.run(
        [checkout / ".ci" / "run"],
        env={**without_seed, "PATH": path, **variables},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_each_run_fuzzes_other_designs_and_says_how_to_repeat_them(checkout: Path) -> None:
    seeds = []
    for output in (run(checkout), run(checkout)):
        asked = re.search(r"^asked: fuzz MINUTES=(\d+) SEED=(\d+)$", output, re.MULTILINE)
        assert asked is not None, output
        assert f"make fuzz MINUTES={asked[1]} SEED={asked[2]}\n" in output
        seeds.append(asked[2])
    assert seeds[0] != seeds[1]


def test_a_seed_repeats_a_run(checkout: Path) -> None:
    assert "asked: fuzz MINUTES=5 SEED=77\n" in run(checkout, SEED="77")
