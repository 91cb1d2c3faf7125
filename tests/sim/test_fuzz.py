"""The fuzzer counts, names seeds, and tells a failure from a pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonba.sim import fuzz as fuzzer
from autonba.sim.fuzz import Case, run_case


def test_a_crash_is_a_failed_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(path: Path) -> None:
        raise RuntimeError("no pencil")

    monkeypatch.setattr(fuzzer, "generate_rtl", spoil)
    case = run_case(39, tmp_path / "seed39")
    assert case.failure == "RuntimeError: no pencil"
    assert case.seed == 39
    assert "14 layers on 4 chunks" in case.summary


def test_a_wrong_generator_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = fuzzer.generate_rtl

    def spoil(path: Path) -> None:
        generate(path)
        lane = path / "rtl" / "mac_lane.v"
        lane.write_text(lane.read_text().replace("sum_first ? {ACC_BITS{1'b0}} : accumulator", "accumulator"))

    monkeypatch.setattr(fuzzer, "generate_rtl", spoil)
    assert "expected" in run_case(39, tmp_path / "seed39").failure


class _Pool:
    """Runs what is submitted at once and in this process, so that it can be replaced."""

    def __init__(self, **_: object) -> None: ...
    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, function: object, *arguments: object) -> object:
        from concurrent.futures import Future

        future: Future[object] = Future()
        future.set_result(fuzzer.run_case(*arguments))  # type: ignore[arg-type]
        return future


def test_the_last_line_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def outcome(seed: int, folder: Path) -> Case:
        return Case(seed=seed, summary="a design", failure="wrong" if seed == 6 else "", seconds=1.0)

    monkeypatch.setattr(fuzzer, "run_case", outcome)
    monkeypatch.setattr(fuzzer, "ProcessPoolExecutor", _Pool)
    assert not fuzzer.fuzz(3, 5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "fuzz: 2 of 3 passed"
    assert any(line.startswith("seed 6: FAILED") for line in lines)
    assert fuzzer.fuzz(2, 7)
    assert capsys.readouterr().out.splitlines()[-1] == "fuzz: 2 of 2 passed"


@pytest.mark.slow
def test_random_accelerators_are_right() -> None:
    assert fuzzer.fuzz(2, 39)
