"""The benchmark of the accelerator search's engines says what is not as wanted."""

from __future__ import annotations

from typing import Any

import pytest

from autonba.search.accelerator.engines import auto
from autonba.search.accelerator.layers import tabulate
from benchmarks.das import CASES, NETWORKS, Run, wrong


def row(cycles: float | None, reached: float | None, before: float, excess: bool) -> dict[str, Any]:
    return {
        "network": "n",
        "budget": "b",
        "optimum": {"cycles": 100.0, "proven": True},
        "runs": [{"engine": "auto", "seed": 1, "cycles": cycles, "within_wanted_gap": reached}],
        "before": [
            {"engine": "staged", "cycles": before, "excess": {"lut": 1.5} if excess else {}}
        ],
    }


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (row(100.0, 3.0, 100.0, False), ""),
        (row(90.0, 3.0, 80.0, True), ""),
        (row(90.0, 3.0, 80.0, False), "the staged of before at 80"),
        (row(100.0, 10.5, 100.0, False), "after 10.5 CPU-seconds"),
        (row(120.0, None, 130.0, False), "never"),
        (row(None, None, 130.0, False), "nothing within the limits"),
    ],
)
def test_what_is_missed_is_said(found: dict[str, Any], missed: str) -> None:
    texts = wrong(found)
    assert bool(texts) == bool(missed)
    assert all(missed in text for text in texts)


def test_a_run_knows_when_it_was_how_good() -> None:
    run = Run(engine="auto", seed=1, curve=[(1, 0.5, float("inf")), (2, 1.0, 20.0), (9, 3.0, 10.0)])
    assert (run.cycles(0.9), run.cycles(2.0), run.cycles()) == (float("inf"), 20.0, 10.0)
    assert (run.reached(10.0), run.reached(25.0), run.reached(5.0)) == (3.0, 1.0, None)


def test_what_is_found_while_the_budget_is_spent_counts() -> None:
    case = next(case for case in CASES if case.network == "digits")
    problem = case.problem(tabulate(NETWORKS["digits"]()))
    assert auto.run(problem, "exact", seed=1, seconds=0.2).found.feasible
