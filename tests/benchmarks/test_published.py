"""The authors' cost model restated, and the searches over it."""

import pytest
import torch

from autonba.search.accelerator.stages.solver import solve
from benchmarks.published import CASES, KNOWN, Case, exact, known_optimum
from benchmarks.published_model import BUDGET, CLOCK, MODES, Published, layers
from benchmarks.published_search import (
    differentiable_as_published,
    frames_per_second,
    random_as_published,
)

# Mode 1 only or not; the choices of FACTORS of every chunk; cycles, DSPs and block RAMs, as the
# authors' own code predicts them.
PREDICTED = (
    (
        True,
        (
            "000440044 002200243 040334033 014122412 002322333 "
            "022502250 011301150 033204320 032303230 034203420"
        ),
        13985568.0,
        12.625,
        119.0,
    ),
    (
        True,
        (
            "011132224 000401051 000312033 040234333 000111033 "
            "020102150 010401150 032003300 031203120 012104210"
        ),
        12132864.0,
        18.25,
        149.0,
    ),
    (
        False,
        (
            "121232123 000412241 212033203 024232433 103214421 "
            "001000200 122102220 004303430 144204420 113101310"
        ),
        12547584.0,
        35.0,
        250.0,
    ),
    (
        False,
        (
            "012131233 222052235 144004433 104333433 014122432 "
            "121102110 120502050 132104420 030303130 113204420"
        ),
        15809664.0,
        5.125,
        100.0,
    ),
)


def problem(one_mode=False, mended=False, **budget):
    return Published(one_mode=one_mode, mended=mended, budget=BUDGET | budget)


@pytest.mark.parametrize(("one_mode", "digits", "cycles", "dsp", "bram"), PREDICTED)
def test_predictions_are_those_of_the_authors_code(one_mode, digits, cycles, dsp, bram):
    choice = torch.tensor([[int(d) for d in digits.replace(" ", "")]])
    costs = problem(one_mode).evaluate(choice)
    assert (float(costs.cycles), float(costs.resources["dsp"]), float(costs.resources["bram"])) == (
        cycles,
        dsp,
        bram,
    )


def test_network_is_theirs():
    chunks = layers()
    assert len(chunks) == 10
    assert sum(times for shapes in chunks.values() for times in shapes.values()) == 70
    macs = sum(
        n * s.inputs * s.outputs * s.size**2 * s.kernel**2
        for shapes in chunks.values()
        for s, n in shapes.items()
    )
    assert macs == pytest.approx(100.3e6, rel=5e-4)


@pytest.mark.parametrize(
    "case", [c for c in CASES if (c.dsp, c.bram) == (900.0, 700.0)], ids=lambda c: c.name
)
def test_known_optima_are_reproduced_and_checked(case):
    found, _ = exact(case)
    assert known_optimum(case, found) is None
    wrong, _ = exact(Case(one_mode=case.one_mode, mended=case.mended, dsp=40))
    assert "known are" in known_optimum(case, wrong)


def test_tighter_budgets_bind():
    """Every budget of ours costs frames a second."""
    free = {key: exact(Case(one_mode=key[0], mended=key[1]))[0].period for key in KNOWN}
    for case in CASES:
        if (case.dsp, case.bram) != (900.0, 700.0):
            assert exact(case)[0].period > free[case.one_mode, case.mended]


def test_solution_is_a_candidate_with_its_figures():
    """The path's options are rows of the table that `evaluate` reads."""
    own = problem(bram=150.0)
    found = solve(own.graph(), [900.0, 150.0])
    worst, dsp, bram = 0.0, 0.0, 0.0
    for chunk, (_, _, option) in zip(own.chunks, found.path, strict=True):
        figures = [table.ravel()[option] for table in chunk.tables]
        worst, dsp, bram = max(worst, figures[0]), dsp + figures[1], bram + figures[2]
    assert (worst, dsp, bram) == (found.period, *found.spent)


def test_mending_only_adds():
    choice = (
        torch.rand((200, 90), generator=torch.Generator().manual_seed(0))
        * torch.tensor(problem().sizes)
    ).long()
    shipped, mended = (problem(mended=m).evaluate(choice) for m in (False, True))
    assert bool((mended.cycles >= shipped.cycles).all())
    assert bool((mended.resources["bram"] >= shipped.resources["bram"]).all())
    assert bool((mended.resources["bram"] > shipped.resources["bram"]).any())
    assert torch.equal(mended.resources["dsp"], shipped.resources["dsp"])


def test_restated_searches_stay_within_the_budget_and_below_the_optimum():
    own = problem(one_mode=True)
    best = CLOCK / solve(own.graph(), [900.0, 700.0]).period
    found = (
        random_as_published(own, samples=500, seed=1),
        differentiable_as_published(own, steps=200, rate=0.1, seed=1),
    )
    assert all(20 < fps < best for fps in found)
    assert random_as_published(problem(one_mode=True, bram=1.0), samples=500, seed=1) == 0
    assert (
        differentiable_as_published(problem(one_mode=True, bram=1.0), steps=20, rate=0.1, seed=1)
        == 0
    )


def test_restated_differentiable_search_learns_with_a_rate_that_is_large_enough():
    own = problem(one_mode=True)
    slow, fast = (
        differentiable_as_published(own, steps=800, rate=rate, seed=0) for rate in (1e-7, 0.1)
    )
    assert fast > 1.2 * slow


def test_frames_per_second_of_what_does_not_fit_are_none():
    choice = torch.zeros((1, 90), dtype=torch.int64).numpy()
    assert frames_per_second(problem(dsp=1.0), choice)[0] == 0
    assert frames_per_second(problem(dsp=1e9, bram=1e9), choice)[0] > 0
    assert MODES[True] == (0, 1)
