"""The engines on problems whose optimum is planted."""

import itertools

import pytest
import torch

from autonba.errors import SpecError
from autonba.search.accelerator.engines.descent import Descent
from autonba.search.accelerator.engines.differentiable import Differentiable, Gamma, merit
from autonba.search.accelerator.engines.engine import distinct, run_engine
from autonba.search.accelerator.engines.evolutionary import Evolutionary
from autonba.search.accelerator.engines.uniform import Uniform
from autonba.search.accelerator.objectives import Costs, Goal
from autonba.search.accelerator.record import Record


class Chunks:
    """Chunk c of `count` has lanes 2**a and memory 2**b: busy work[c] / (lanes * min(memory, 8));
    dsp and bram are their sums.
    """

    def __init__(self, count=6, dsp=60.0, bram=40.0):
        self.count, self.calls = count, 0
        self.sizes = (6, 5) * count
        self.goal = Goal(weights={"cycles": 1.0}, limits={"dsp": dsp, "bram": bram})
        self.work = torch.tensor([1000.0 * 3 ** (c % 4) for c in range(count)], dtype=torch.float64)

    def evaluate(self, choice_BF):
        self.calls += len(choice_BF)
        lanes, memory = (2.0 ** choice_BF.view(-1, self.count, 2).double()).unbind(-1)
        cycles = (self.work / (lanes * memory.clamp(max=8))).amax(1)
        nothing = torch.zeros_like(cycles)
        return Costs(
            cycles=cycles,
            latency=nothing,
            energy=nothing,
            resources={"dsp": lanes.sum(1), "bram": memory.sum(1)},
        )

    def optimum(self):
        """Least cycles by enumeration of what each chunk needs for each period."""
        periods = sorted({float(w) / 2**n for w in self.work for n in range(9)})
        for period in periods:
            # of each chunk the pareto points of lanes and memory that are fast enough; a small
            # product of sums is enumerated
            need = {(0, 0)}
            for work in self.work.tolist():
                fast = [
                    (2**a, 2**b)
                    for a in range(6)
                    for b in range(5)
                    if work / (2**a * min(2**b, 8)) <= period
                ]
                need = {(d + x, m + y) for (d, m), (x, y) in itertools.product(need, fast)}
                need = {
                    n
                    for n in need
                    if n[0] <= self.goal.limits["dsp"] and n[1] <= self.goal.limits["bram"]
                }
            if need:
                return period
        return None


ENGINES = {
    "random": lambda problem, seed, **k: run_engine(
        Uniform, problem, seed=seed, **({"evaluations": 9000} | k)
    ),
    "evolutionary": lambda problem, seed, **k: run_engine(
        Evolutionary, problem, seed=seed, **({"evaluations": 9000} | k)
    ),
    "differentiable": lambda problem, seed, **k: run_engine(
        Differentiable, problem, seed=seed, **({"samples": 128, "steps": 40} | k)
    ),
}


BUDGETS = {
    "evolutionary": {"evaluations": 60000},
    "differentiable": {"samples": 512, "steps": 80, "restarts": 3},
}


@pytest.mark.parametrize("name", BUDGETS)
@pytest.mark.parametrize("seed", range(3))
def test_planted_optimum_is_found_within_limits_that_bind(name, seed):
    problem = Chunks()
    found = ENGINES[name](problem, seed, **BUDGETS[name])
    costs = problem.evaluate(found.choice[None])
    assert found.feasible
    assert bool(problem.goal.feasible(costs))
    assert float(costs.cycles) == problem.optimum()
    assert found.score == pytest.approx(float(problem.goal.score(costs)))


def test_gamma_alone_learns():
    """Without crossing and polishing the draws themselves become good: gamma's own choice beats
    random search by far.
    """
    problem = Chunks()
    drawn_by_gamma = run_engine(Differentiable, problem, seed=1, finish=False, steps=80, restarts=1)
    drawn = run_engine(Uniform, problem, seed=1, evaluations=drawn_by_gamma.evaluations)
    assert float(problem.evaluate(drawn_by_gamma.choice[None]).cycles) <= 1.2 * problem.optimum()
    assert float(problem.evaluate(drawn.choice[None]).cycles) >= 1.5 * problem.optimum()


@pytest.mark.parametrize("name", ENGINES)
def test_same_seed_same_result(name):
    first, second, other = (ENGINES[name](Chunks(), seed, evaluations=3000) for seed in (5, 5, 6))
    assert torch.equal(first.choice, second.choice)
    assert [(c[0], c[2]) for c in first.curve] == [(c[0], c[2]) for c in second.curve]
    assert [(c[0], c[2]) for c in first.curve] != [(c[0], c[2]) for c in other.curve]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("evaluations", [1, 700, 5001])
def test_evaluations_are_counted_and_kept(name, evaluations):
    problem = Chunks()
    found = ENGINES[name](problem, 0, evaluations=evaluations)
    assert found.evaluations == problem.calls == evaluations
    counts, seconds, values = zip(*found.curve, strict=True)
    assert list(counts) == sorted(counts)
    assert list(seconds) == sorted(seconds)
    assert all(0 <= c < len(found.choice) * 10**9 for c in counts)
    if found.feasible:
        assert values[-1] == pytest.approx(
            float(problem.goal.value(problem.evaluate(found.choice[None])))
        )
    else:
        assert values[-1] == float("inf")


@pytest.mark.parametrize("name", ENGINES)
def test_seconds_are_kept(name):
    found = ENGINES[name](Chunks(), 0, evaluations=10**9, seconds=0.2)
    assert 0.2 <= found.seconds <= 10  # a step may end late on a busy machine


def test_a_few_samples_are_enough_to_start():
    found = run_engine(Differentiable, Chunks(), seed=0, samples=64, steps=2)
    assert found.evaluations > 128


def test_infeasible_is_said_and_comes_as_close_as_it_can():
    found = run_engine(
        Differentiable, Chunks(dsp=5.0), seed=0, samples=64, steps=20
    )  # six chunks need six
    assert not found.feasible
    assert found.choice.tolist()[::2] == [0] * 6


def test_feasible_comes_before_a_better_score():
    """A limit missed by a little may score better; it is not what an engine returns."""

    class Tempting(Chunks):
        def __init__(self):
            super().__init__(count=1, dsp=31.9)

    found = run_engine(Differentiable, Tempting(), seed=0, samples=32, steps=5)
    assert found.feasible
    assert found.choice.tolist()[0] == 4


def test_gradient_is_that_of_equation_8():
    """The written-out slope equals autograd's through hard Gumbel-softmax with straight-through."""
    generator = torch.Generator().manual_seed(0)
    gamma = Gamma((3, 2, 4), rate=1.0, generator=generator)
    gamma.logits_KF = gamma.logits_KF + torch.rand(4, 3, generator=generator)
    choice_BF, soft_KBF = gamma.draw(50, 0.7)
    cost_B = torch.randn(50, generator=generator)
    state = (
        torch.log(soft_KBF.clamp(min=1e-30)) * 0.7 - gamma.logits_KF[:, None]
    )  # the noise, up to a constant
    logits_KF = gamma.logits_KF.clone().requires_grad_()
    soft = torch.softmax((logits_KF[:, None] + state) / 0.7, dim=0)
    chosen_BF = soft.gather(0, choice_BF[None])[0]
    factors_BF = (
        1 - chosen_BF.detach() + chosen_BF
    )  # the hard sample at the choice: 1, with the soft one's gradient
    (cost_B * factors_BF.prod(1)).mean().backward()
    gamma.update(choice_BF, soft_KBF, cost_B, 0.7)
    present = gamma.logits_KF > -1e8
    torch.testing.assert_close(
        gamma.mean_KF[present] / 0.5, logits_KF.grad[present], rtol=1e-3, atol=1e-6
    )


def test_absent_choices_are_never_drawn():
    gamma = Gamma((1, 6, 2), rate=1.0, generator=torch.Generator().manual_seed(0))
    choice_BF, _ = gamma.draw(4000, 5.0)
    assert choice_BF.amax(0).tolist() == [0, 5, 1]


def test_merit_looks_at_ranks_only():
    score = torch.tensor([3.0, 1.0, 2.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0])
    weight = merit(score, share=0.3)
    torch.testing.assert_close(weight, merit(score.exp(), share=0.3))
    assert weight.argsort().tolist()[:3] == [1, 2, 0]
    assert weight[3:].unique().numel() == 1
    assert float(weight.mean()) == pytest.approx(0, abs=1e-6)


def test_polish_ends_where_no_two_moves_help():
    problem = Chunks(count=2, dsp=12.0, bram=9.0)
    record = Record(problem, evaluations=None, seconds=None)
    Descent(record, seed=1, starts=torch.zeros(1, 4, dtype=torch.int64)).run()
    every = torch.tensor(list(itertools.product(*(range(s) for s in problem.sizes))))
    near = every[(every != record.best).sum(1) <= 2]
    whole = Record(problem, evaluations=None, seconds=None).evaluate(near)
    assert float(whole.rank.min()) == record.rank


def test_distinct_keeps_the_first_of_each():
    rows = torch.tensor([[1, 2], [0, 5], [1, 2], [2, 1], [0, 5]])
    found, number = distinct(rows)
    assert number.tolist() == [0, 1, 3]
    assert torch.equal(found, rows[[0, 1, 3]])


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("budget", [{"evaluations": 0}, {"seconds": -1.0}])
def test_bad_budgets_are_refused(name, budget):
    with pytest.raises(SpecError, match=f"{next(iter(budget))} must be a number above 0"):
        ENGINES[name](Chunks(), 0, **budget)


def test_children_are_mostly_of_those_who_win_tournaments():
    record = Record(Chunks(), evaluations=None, seconds=None)
    engine = Evolutionary(record, seed=1, children=2000)
    engine.alive_BF = torch.stack([torch.zeros(12), torch.full((12,), 3.0)]).long()
    engine.score_B = torch.tensor([1.0, 2.0], dtype=torch.float64)
    children = engine.propose()
    assert 0.6 < float((children == 0).double().mean()) < 0.85  # of tournaments of two: 3 of 4
