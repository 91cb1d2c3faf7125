"""A failing design becomes small, stays as it failed, and comes back from its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonba.accelerator import Loops
from autonba.bundle import Bundle, Target
from autonba.sim import fuzz
from autonba.sim.random_designs import random_design
from autonba.sim.shrink import Subject, load, save, shrink

BOARD = Target(board="ulx3s-85f", clock_mhz=50.0)


def subject(seed: int) -> Subject:
    network, accelerator, _ = random_design(seed)
    return Subject(network=network, accelerator=accelerator, target=BOARD, seed=seed)


def strided(design: Subject) -> bool:
    """Whether some layer with a stride runs on a chunk of several columns: what a fault might
    need.
    """
    return any(
        max(layer.stride) > 1
        and design.accelerator.chunk(design.accelerator.allocation[layer.name]).columns > 1
        for layer in design.network.layers
        if layer.op != "shuffle"
    )


def test_only_what_the_failure_needs_is_left() -> None:
    large = next(
        s
        for s in map(subject, range(100))
        if strided(s) and len(s.network.layers) > 3 and len(s.accelerator.chunks) > 2
    )
    small = shrink(large, strided, seconds=60)
    assert strided(small)
    assert len(small.network.layers) == len(small.accelerator.chunks) == 1
    layer, chunk = small.network.layers[0], small.accelerator.chunks[0]
    assert chunk.columns == 2
    assert chunk.taps == chunk.out_lanes == chunk.in_lanes == 1
    assert small.accelerator.loops_of(layer.name) == Loops()
    assert max(layer.stride) > 1
    assert layer.kernel == (1, 1)
    assert small.network.input.height * small.network.input.width <= 2
    assert small.network.input.channels <= 3


def test_a_case_comes_back_from_its_file(tmp_path: Path) -> None:
    save(tmp_path / "case.json", subject(5), "a word is wrong")
    assert load(tmp_path / "case.json") == subject(5)


def test_time_is_limited() -> None:
    large = subject(5)
    assert shrink(large, lambda _: True, seconds=0) == large


@pytest.mark.slow
def test_a_planted_fault_is_made_small_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = fuzz.generate_rtl

    def spoil(path: Path) -> None:
        generate(path)
        array = path / "rtl" / "column_buffer.v"
        array.write_text(array.read_text().replace("NUMBER < read_column", "NUMBER <= read_column"))

    seed = next(n for n in range(100) if strided(subject(n)))
    monkeypatch.setattr(fuzz, "generate_rtl", spoil)
    found = fuzz.run_case(seed, tmp_path / "design", tmp_path / "cases")
    assert found.failure
    small = load(Path(found.saved))
    assert len(small.network.layers) <= 2
    assert fuzz.check_bundle(small.write(tmp_path / "spoilt", fuzz.IMAGES), seed)
    monkeypatch.setattr(fuzz, "generate_rtl", generate)
    assert not fuzz.check_bundle(Bundle(small.write(tmp_path / "right", fuzz.IMAGES).path), seed)
