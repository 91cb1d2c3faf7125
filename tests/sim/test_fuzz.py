"""The fuzzer counts, names seeds, tells a failure from a pass, and keeps what failed."""

from __future__ import annotations

import random
from concurrent.futures import Future
from pathlib import Path

import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.network import Network
from autonba.sim import fuzz as fuzzer
from autonba.sim.fuzz import Case, kind, run_case
from autonba.sim.random_designs import Draw

SEED = 16  # four layers on one chunk


def test_a_crash_is_a_failed_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(path: Path) -> None:
        raise RuntimeError("no pencil")

    monkeypatch.setattr(fuzzer, "generate_rtl", spoil)
    case = run_case(SEED, tmp_path / "design")
    assert case.failure == "RuntimeError: no pencil"
    assert case.seed == SEED
    assert "layers on" in case.summary
    assert {"conv", "conv chunk"} <= case.features


def test_a_wrong_generator_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulator: str
) -> None:
    generate = fuzzer.generate_rtl

    def spoil(path: Path) -> None:
        generate(path)
        array = path / "rtl" / "mac_array.v"
        array.write_text(
            array.read_text().replace("clear <= rst | last[PIPELINE-2]", "clear <= rst")
        )

    monkeypatch.setattr(fuzzer, "generate_rtl", spoil)
    assert kind(run_case(SEED, tmp_path / "design").failure) == "bits"


def test_a_warning_of_the_linter_fails_a_right_design(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulator: str
) -> None:
    generate = fuzzer.generate_rtl

    def spoil(path: Path) -> None:
        generate(path)
        array = path / "rtl" / "mac_array.v"
        array.write_text(
            array.read_text().replace("endmodule", "    wire forgotten = clk;\nendmodule")
        )

    monkeypatch.setattr(fuzzer, "generate_rtl", spoil)
    failure = run_case(SEED, tmp_path / "design").failure
    assert kind(failure) == "lint"
    assert failure.startswith("lint: %Warning-UNUSEDSIGNAL: ")
    assert "'forgotten'" in failure


def test_failures_are_told_apart() -> None:
    assert kind("") == ""
    assert (
        kind(
            "run 1: result 0 of 1 must come within 90 cycles, and it did not; layer 'a', expected"
            " 1, got 2"
        )
        == "halt"
    )
    assert (
        kind("run 1, layer 'a', image 0, channel 1, row 0, column 0: expected 1, got 2") == "bits"
    )
    assert (
        kind(
            "run 1, chunk 'c', layer 'a', image 0, task 2: the commit must come in cycle 28, not 29"
        )
        == "cycles"
    )
    assert kind("run 1, chunk 'c', layer 'a': 8 commits must come, not 7") == "cycles"
    assert kind("run 2, image 1: the last word must leave in cycle 28, not 29") == "cycles"
    assert (
        kind(
            "lint: %Warning-WIDTHTRUNC: rtl/chunk_a.v:1:2: Operator ASSIGN expects 1 bit on the LHS"
        )
        == "lint"
    )
    assert (
        kind(
            "run 2, image 1: the last word must leave in cycle 28, not 29; lint: %Warning-LATCH:"
            " a.v:1:2"
        )
        == "cycles"
    )
    assert kind("KeyError: 'stem'") == "crash"


class _Pool:
    """Runs what is submitted at once and in this process, so that it can be replaced."""

    def __init__(self, **_: object) -> None: ...
    def shutdown(self, **_: object) -> None: ...

    def submit(self, function: object, *arguments: object) -> Future[Case]:
        future: Future[Case] = Future()
        future.set_result(fuzzer.run_case(*arguments))  # type: ignore[arg-type]
        return future


def test_the_last_line_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(seed: int, folder: Path, cases: Path | None, draw: Draw | None) -> Case:
        return Case(
            seed=seed,
            summary="a design",
            failure="wrong" if seed == 6 else "",
            seconds=1.0,
            features=frozenset({"conv", f"seed {seed}"}),
        )

    monkeypatch.setattr(fuzzer, "run_case", outcome)
    monkeypatch.setattr(fuzzer, "ProcessPoolExecutor", _Pool)
    assert not fuzzer.fuzz(3, 5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("fuzz: 2 of 3 passed")
    assert lines[-1] == "  seed 6: a design: wrong"
    assert any(line.startswith("seed 6: FAILED") for line in lines)
    assert "      3 conv" in lines
    assert "      1 seed 5" in lines
    assert fuzzer.fuzz(2, 7)
    assert capsys.readouterr().out.splitlines()[-1].startswith("fuzz: 2 of 2 passed")


def test_no_seed_begins_after_the_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(100))
    monkeypatch.setattr(fuzzer.time, "monotonic", lambda: 20.0 * next(now))
    monkeypatch.setattr(
        fuzzer, "run_case", lambda seed, *_: Case(seed=seed, summary="", failure="", seconds=1.0)
    )
    monkeypatch.setattr(fuzzer, "ProcessPoolExecutor", _Pool)
    assert fuzzer.fuzz(None, 1, minutes=1)
    assert "fuzz: 3 of 3 passed" in capsys.readouterr().out


def test_every_second_accelerator_is_drawn_by_the_function_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: dict[int, Draw | None] = {}

    def outcome(seed: int, folder: Path, cases: Path | None, draw: Draw | None) -> Case:
        drawn[seed] = draw
        return Case(seed=seed, summary="", failure="", seconds=1.0)

    monkeypatch.setattr(fuzzer, "run_case", outcome)
    monkeypatch.setattr(fuzzer, "ProcessPoolExecutor", _Pool)
    fuzzer.fuzz(4, 5, draw=_one_chunk)
    assert drawn == {5: _one_chunk, 6: None, 7: _one_chunk, 8: None}
    fuzzer.fuzz(2, 9, draw=_one_chunk, always=True)
    assert (drawn[9], drawn[10]) == (_one_chunk, _one_chunk)


def _one_chunk(rng: random.Random, network: Network, count: int, multipliers: int) -> Accelerator:
    chunk = Chunk(name="one", kind="conv", out_lanes=1, in_lanes=1, drain_lanes=1, multiplier="lut")
    names = [layer.name for layer in network.layers if layer.op != "shuffle"]
    return Accelerator(chunks=(chunk,), allocation=dict.fromkeys(names, "one"))


def test_an_accelerator_that_is_none_is_a_failed_case(tmp_path: Path) -> None:
    case = run_case(SEED, tmp_path / "design", draw=_one_chunk)  # that takes no maxima
    assert (case.seed, case.summary) == (SEED, "an accelerator that is none")
    assert "allocation of a max_pool must be" in case.failure


def test_random_accelerators_are_right(simulator: str) -> None:
    assert fuzzer.fuzz(None, 1001, minutes=1.0, workers=1)
