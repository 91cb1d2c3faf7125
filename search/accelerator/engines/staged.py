"""The staged spaces: accelerators whose chunks run a stage of consecutive layers each, where the
best can be found by column generation and proven.

A staged space is part of the whole one. There is one for each set of layers that stream their
weights: none, or those whose maps are at most so high.
"""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from autonba.errors import CapacityError, SpecError
from autonba.search.accelerator.accelerator_problem import AcceleratorProblem
from autonba.search.accelerator.objectives import Goal
from autonba.search.accelerator.problem import Found
from autonba.search.accelerator.record import Points, Record
from autonba.search.accelerator.stages.approach import ATTEMPTS, approach
from autonba.search.accelerator.stages.problem import StagedProblem, accelerator
from autonba.search.accelerator.stages.proof import Bound, least_needs, prove
from autonba.search.accelerator.stages.response import StageResponse
from autonba.search.accelerator.stages.tables import COMPONENTS, StageTables

from .differentiable import Differentiable
from .engine import Engine

DRAWS = 40  # of gamma, from whose best column generation starts
EVALUATIONS = 240_000  # of a staged space
TIGHTER = 4  # searches of a staged space, each with the limits tightened that the costs exceeded
SHARE = 0.6  # of the time that is left, for column generation
SPARE = 0.998  # of a limit that is tightened
PORT = 128  # bits of the ports that stream
STARTS = 4
METRICS = {"cycles", "latency", *COMPONENTS} - {"lag"}
FEW_ATTEMPTS = 2  # before a proof


class Staged(Engine):
    """One staged space after another; of each the best that column generation finds, and with
    `proofs` the optimum, if it is proven in `seconds` of CPU time.

    `bound` is what is known of the optimum of the space that streams nothing.
    """

    def __init__(
        self,
        record: Record,
        *,
        seed: int,
        proofs: bool = False,
        seconds: float | None = None,
        tables: StageTables | None = None,
        evaluations: int | None = None,
    ) -> None:
        super().__init__(record, seed=seed)
        assert isinstance(record.problem, AcceleratorProblem)
        self.problem, self.proofs, self.seconds = record.problem, proofs, seconds
        self.own_tables, self.evaluations = tables, evaluations
        self.bound: Bound | None = None
        wanted = {*self.problem.goal.weights, *self.problem.goal.limits} - {"dram"}
        # a metric that the tables do not know is for other engines
        self.waiting = self.streamed_sets(self.problem) if wanted <= METRICS else []

    @staticmethod
    def streamed_sets(problem: AcceleratorProblem) -> list[frozenset[str]]:
        """Layers that stream in each staged space."""
        layers = problem.layers
        found = [frozenset[str]()]
        if not problem.space.streams:
            return found
        able = {
            lp.layer.name: lp.out.height
            for lp in layers.plans
            if lp.layer.op == "conv" and lp.groups == 1 and not lp.layer.raw
        }
        heights = sorted(set(able.values()))
        for most in heights[: 1 + len(heights) // 2]:
            found.append(frozenset(name for name, height in able.items() if height <= most))
        return found

    def propose(self) -> Tensor:
        """Choices (B, F) to look at next; see `Engine`."""
        while self.waiting:
            choice_BF = self._best_of(self.waiting.pop(0))
            if len(choice_BF):
                return choice_BF
        return torch.zeros(0, len(self.problem.sizes), dtype=torch.int64)

    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Nothing is learnt."""

    def _best_of(self, streamed: frozenset[str]) -> Tensor:
        """The best candidates (B, F) of one staged space: better and better ones."""
        problem = self.problem
        limits = {
            n: limit / problem.correction.get(n, 1.0)
            for n, limit in problem.goal.limits.items()
            if n != "dram"
        }
        tables = self.own_tables
        if tables is None or streamed:
            tables = StageTables(problem.layers, problem.family, streamed, PORT)
        found: list[Tensor] = []
        for _ in range(TIGHTER):
            staged = StagedProblem(tables, Goal(weights=problem.goal.weights, limits=limits))
            least = least_needs(staged)
            if any(least[name] > limit for name, limit in limits.items()):
                break
            choices = self._search(staged, prove_it=not streamed)
            if not choices:
                break
            found += choices
            costs = problem.evaluate(choices[-1][None])
            excess = {
                name: float(costs.metric(name)[0]) / limit
                for name, limit in problem.goal.limits.items()
                if float(costs.metric(name)[0]) > limit
            }
            if not excess:
                break
            for name, ratio in excess.items():
                if name in limits:
                    limits[name] *= SPARE / ratio
        return torch.stack(found) if found else torch.zeros(0, len(problem.sizes)).long()

    def _search(self, staged: StagedProblem, *, prove_it: bool) -> list[Tensor]:
        """Choices of the whole space that stand for the best of a staged one, the best last."""
        proves = self.proofs and prove_it
        found = self._columns(staged, FEW_ATTEMPTS if proves else ATTEMPTS)
        choices = self._kept(staged, found)
        if proves:
            seconds = min((s for s in (self.seconds, self._left) if s is not None), default=None)
            with suppress(CapacityError, SpecError):  # none, or not of the sort that can be proven
                found, self.bound = prove(staged, found, seconds=seconds)
            if not found.proven:
                again = self._columns(staged, ATTEMPTS)
                found = min(found, again, key=lambda f: (not f.feasible, f.score))
            choices = self._kept(staged, found)
        return choices

    @property
    def _left(self) -> float | None:
        """CPU-seconds of the record's budget that are left, a little where it is spent."""
        seconds = self.record.seconds
        return None if seconds is None else max(seconds - self.record.spent, 0.1)

    def _kept(self, staged: StagedProblem, found: Found) -> list[Tensor]:
        """The choice of the whole space that stands for what was found, noted in the record at
        once: when all is done the budget may be spent, and what is proposed is not looked at.
        """
        if not found.feasible:
            return []
        choice_F = self.problem.choice(accelerator(staged.tables, staged.decode(found.choice)))
        self.record.evaluate(choice_F[None])
        return [choice_F]

    def _columns(self, staged: StagedProblem, attempts: int) -> Found:
        left = self._left
        return column_generation(
            staged,
            seed=int(torch.randint(2**31, (), generator=self.generator)),
            evaluations=self.evaluations,
            seconds=None if left is None else SHARE * left,
            attempts=attempts,
        )


def column_generation(
    staged: StagedProblem,
    *,
    seed: int,
    evaluations: int | None = None,
    seconds: float | None = None,
    attempts: int = ATTEMPTS,
) -> Found:
    """The best of one staged space that column generation finds from a few draws of gamma."""
    record = Record(staged, evaluations=evaluations or EVALUATIONS, seconds=seconds)
    draws = Differentiable(record, seed=seed, steps=DRAWS + 1, finish=False)
    while record.left and draws.drawn < DRAWS:
        draws.step()
    starts_BF = torch.cat([draws.gamma.likeliest, draws.champions_BF[:STARTS]])
    approach(record, StageResponse(staged), starts_BF, draws.generator, attempts)
    return record.found()
