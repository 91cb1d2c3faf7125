"""Engines that search any `Problem`: differentiable (DAS), evolutionary and random, with one
interface and one kind of result.

DAS is Auto-NBA's eq. 8: gamma holds one logit vector for each design factor; a step draws thousands
of candidates with hard Gumbel-softmax, evaluates them together and moves gamma by the
straight-through gradient of their cost, ranked. Its best draws
are then crossed, as the evolutionary engine does it, and the best is polished: every candidate that
differs in one factor, and the pairs of such moves that promise most.
Suffixes: B candidates, F factors, K choices of the factor with most, M moves of one factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from autonba.search.accelerator.stages.approach import approach
from autonba.search.accelerator.stages.problem import StagedProblem
from autonba.search.accelerator.stages.response import StageResponse

from .problem import Found, Problem
from .record import CHUNK, NEVER, Record

SETTLED = 0.7  # share of draws that are the likeliest candidate
ELITE = 128  # draws that DAS remembers
POOL = 1_500_000  # numbers of noise
STARTS = 4  # of them, those a staged problem is approached from


def uniform(sizes_F: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choices (count, F) drawn uniformly."""
    drawn = (torch.rand((count, len(sizes_F)), generator=generator) * sizes_F).long()
    return torch.minimum(drawn, sizes_F - 1)


def random_search(
    problem: Problem,
    *,
    seed: int,
    evaluations: int,
    seconds: float | None = None,
    batch: int = CHUNK,
) -> Found:
    """The best of `evaluations` candidates drawn uniformly, or of as many as `seconds` of CPU time
    allow.
    """
    record = Record(problem, evaluations=evaluations, seconds=seconds)
    generator = torch.Generator().manual_seed(seed)
    sizes_F = torch.tensor(problem.sizes)
    while count := min(batch, record.left):
        record.evaluate(uniform(sizes_F, count, generator))
    return record.found()


def evolutionary(
    problem: Problem,
    *,
    seed: int,
    evaluations: int,
    seconds: float | None = None,
    population: int = 256,
    batch: int = 1024,
    mutations: float = 2.0,
) -> Found:
    """An elitist genetic algorithm: the best `population` of parents and `batch` children live on.

    A child takes each factor from one of two parents that won tournaments of two, then draws
    `mutations` factors anew on average.
    """
    record = Record(problem, evaluations=evaluations, seconds=seconds)
    generator = torch.Generator().manual_seed(seed)
    alive_BF = uniform(torch.tensor(problem.sizes), min(population, evaluations), generator)
    breed(
        record,
        alive_BF,
        generator,
        evaluations=evaluations,
        population=population,
        batch=batch,
        mutations=mutations,
    )
    return record.found()


def breed(
    record: Record,
    alive_BF: Tensor,
    generator: torch.Generator,
    *,
    evaluations: int,
    population: int,
    batch: int,
    mutations: float,
) -> None:
    """What `evolutionary` does, from candidates `alive_BF` on, until `evaluations` more are made or
    the budget is spent.
    """
    sizes_F = torch.tensor(record.problem.sizes)
    factors = len(sizes_F)
    end = record.count + evaluations
    score_B = record.evaluate(alive_BF).score
    while (count := min(batch, record.left, end - record.count)) > 0:
        pairs = torch.randint(len(alive_BF), (2, 2, count), generator=generator)
        first, second = torch.where(score_B[pairs[0]] < score_B[pairs[1]], pairs[0], pairs[1])
        swap_BF = torch.rand((count, factors), generator=generator) < 0.5
        child_BF = torch.where(swap_BF, alive_BF[first], alive_BF[second])
        anew_BF = torch.rand((count, factors), generator=generator) < mutations / factors
        child_BF = torch.where(anew_BF, uniform(sizes_F, count, generator), child_BF)
        every_BF, kept = distinct(torch.cat([alive_BF, child_BF]))
        every_B = torch.cat([score_B, record.evaluate(child_BF).score])[kept]
        order = every_B.argsort(stable=True)[:population]
        alive_BF, score_B = every_BF[order], every_B[order]


def distinct(choice_BF: Tensor) -> tuple[Tensor, Tensor]:
    """The different candidates among `choice_BF`, and the number of the first of each."""
    key_F = torch.randint(
        1, 2**62, (choice_BF.shape[1],), generator=torch.Generator().manual_seed(1)
    )
    key_B = (choice_BF * key_F).sum(1)  # wraps around
    sorted_B, order = key_B.sort(stable=True)
    first_B = torch.ones(len(order), dtype=torch.bool)
    first_B[1:] = sorted_B[1:] != sorted_B[:-1]
    number = order[first_B].sort().values
    return choice_BF[number], number


class Gamma:
    """One logit vector for each factor (K, F), moved by Adam along the straight-through gradient of
    eq. 8.
    """

    def __init__(self, sizes: Sequence[int], *, rate: float, generator: torch.Generator) -> None:
        self.generator, self.rate = generator, rate
        self.pool: Tensor | None = None
        self.sizes_F = torch.tensor(sizes)
        absent_KF = torch.arange(max(sizes))[:, None] >= self.sizes_F
        self.logits_KF = torch.zeros(absent_KF.shape).masked_fill(absent_KF, -1e9)
        self.mean_KF, self.square_KF, self.steps = (
            torch.zeros_like(self.logits_KF),
            torch.zeros_like(self.logits_KF),
            0,
        )

    def noise(self, count: int) -> Tensor:
        """Standard Gumbel noise (count,), from a random place of a pool: to draw it each time takes
        longer than all else.
        """
        if self.pool is None or len(self.pool) < 2 * count:
            self.pool = (
                torch.rand(max(POOL, 2 * count), generator=self.generator)
                .clamp_(min=1e-9)
                .log_()
                .neg_()
                .log_()
                .neg_()
            )
        start = int(torch.randint(len(self.pool) - count, (), generator=self.generator))
        return self.pool[start : start + count]

    def draw(self, samples: int, temperature: float) -> tuple[Tensor, Tensor]:
        """Hard Gumbel-softmax: the choices (B, F), and the soft sample (K, B, F) whose gradient
        they take.
        """
        choices, factors = self.logits_KF.shape
        noise_KBF = self.noise(choices * samples * factors).view(choices, samples, factors)
        soft_KBF = torch.softmax((noise_KBF + self.logits_KF[:, None]).mul_(1 / temperature), dim=0)
        return soft_KBF.max(0).indices, soft_KBF

    def update(
        self, choice_BF: Tensor, soft_KBF: Tensor, cost_B: Tensor, temperature: float
    ) -> None:
        """One step of Adam down the gradient of mean_B cost * product_F GS_hard(gamma^f)[choice],
        cost less its mean.

        The product is 1 in the forward pass; backward, the derivative of its factor f is that of
        the soft sample at the
        choice: soft[choice] * (onehot(choice) - soft) / temperature.
        """
        push_BF = soft_KBF.amax(0) * cost_B[:, None]
        slope_KF = torch.zeros_like(self.logits_KF).scatter_add(0, choice_BF, push_BF)
        slope_KF = (slope_KF - (push_BF * soft_KBF).sum(1)) / (temperature * len(cost_B))
        self.steps += 1
        self.mean_KF = 0.5 * self.mean_KF + 0.5 * slope_KF
        self.square_KF = 0.9 * self.square_KF + 0.1 * slope_KF**2
        mean_KF, square_KF = (
            self.mean_KF / (1 - 0.5**self.steps),
            self.square_KF / (1 - 0.9**self.steps),
        )
        self.logits_KF = self.logits_KF - self.rate * mean_KF / (square_KF.sqrt() + 1e-8)

    @property
    def settled(self) -> bool:
        """Whether almost nothing but its likeliest choices is drawn."""
        return bool(torch.softmax(self.logits_KF, dim=0).amax(0).prod() > SETTLED)

    @property
    def likeliest(self) -> Tensor:
        """The most likely choice of every factor (1, F)."""
        return self.logits_KF.max(0).indices[None]


def merit(score_B: Tensor, share: float = 0.1) -> Tensor:
    """What eq. 8 weighs candidates with here (B,): -1 times a utility of the rank of the score, its
    mean 0 and its deviation 1.

    Only the best `share` differ, the more the better they are: the few draws that come close to the
    best within limits decide; how bad the bad ones are (penalties, a chunk without lanes) is no
    news.
    """
    count = len(score_B)
    rank_B = torch.empty(count).scatter_(
        0, score_B.argsort(stable=True), torch.arange(count, dtype=torch.float32)
    )
    utility_B = (math.log(share * count + 1) - torch.log(rank_B + 1)).clamp_(min=0)
    return (utility_B.mean() - utility_B) / (utility_B.std(correction=0) + 1e-9)


def differentiable(
    problem: Problem,
    *,
    seed: int,
    samples: int = 512,
    steps: int = 80,
    restarts: int | None = None,
    evaluations: int | None = None,
    seconds: float | None = None,
    rate: float = 0.15,
    temperature: float = 1.0,
    finish: bool = True,
) -> Found:
    """DAS: `steps` draws of `samples` candidates. Where gamma settles earlier, it starts anew from
    even logits.

    With `finish`, half as many candidates are then crossed from the best draws, and the best is
    polished; a staged problem is approached instead (`stages/approach.py`), until nothing helps or
    its budget is spent. All that is done `restarts` times: once, or, where `evaluations` or
    `seconds` of CPU time are given, until they are spent.
    """
    record = Record(problem, evaluations=evaluations, seconds=seconds)
    generator = torch.Generator().manual_seed(seed)
    if restarts is None:
        restarts = 1 if evaluations is None and seconds is None else 2**62
    left = steps * restarts
    while record.left and left > 0:
        gamma = Gamma(problem.sizes, rate=rate, generator=generator)
        draws: list[tuple[Tensor, Tensor]] = []
        drawn = 0
        while record.left and left > 0 and drawn < steps and not gamma.settled:
            choice_BF, soft_KBF = gamma.draw(min(samples, record.left), temperature)
            points = record.evaluate(choice_BF)
            gamma.update(choice_BF, soft_KBF, merit(points.score), temperature)
            best = points.rank.argsort(stable=True)[:ELITE]
            draws.append((choice_BF[best], points.rank[best]))
            drawn, left = drawn + 1, left - 1
        elite_BF, kept = distinct(torch.cat([choice_BF for choice_BF, _ in draws]))
        elite_BF = elite_BF[
            torch.cat([rank_B for _, rank_B in draws])[kept].argsort(stable=True)[:ELITE]
        ]
        if isinstance(problem, StagedProblem):
            starts_BF = torch.cat([gamma.likeliest, elite_BF[:STARTS]])
            approach(record, StageResponse(problem), starts_BF, generator)
            break
        if finish and record.left:
            elite_BF = elite_BF[: record.left]
            breed(
                record,
                elite_BF,
                generator,
                evaluations=samples * drawn // 2,
                population=ELITE,
                batch=512,
                mutations=2.0,
            )
            for start_F in distinct(torch.cat([gamma.likeliest, record.best[None]]))[0]:
                polish(record, start_F)
    return record.found()


def polish(record: Record, start_F: Tensor, *, width: int = 48, rounds: int = 60) -> None:
    """Go from `start_F` to the best neighbour as long as there is a better one.

    Neighbours are all candidates that differ in one factor, and pairs of the most promising of
    these moves.
    """
    sizes = record.problem.sizes
    factor_M = torch.tensor([factor for factor, size in enumerate(sizes) for _ in range(size)])
    value_M = torch.tensor([value for size in sizes for value in range(size)])
    here_F, reached = start_F, NEVER
    for _ in range(rounds):
        moves = (here_F[factor_M] != value_M).nonzero()[:, 0][: record.left]
        if not len(moves):
            break
        near_BF = here_F.repeat(len(moves), 1)
        near_BF[torch.arange(len(moves)), factor_M[moves]] = value_M[moves]
        points = record.evaluate(near_BF)
        rank_B = points.rank
        if record.left:
            by_score = moves[points.score.argsort(stable=True)]
            by_value = moves[(points.value + 0.1 * points.score).argsort(stable=True)]
            first = torch.tensor(sorted({*by_value[:width].tolist(), *by_score[:width].tolist()}))
            a, b = (
                t.flatten() for t in torch.meshgrid(first, by_score[: 2 * width], indexing="ij")
            )
            apart = (factor_M[a] != factor_M[b]).nonzero()[: record.left, 0]
            a, b = a[apart], b[apart]
            pair_BF = here_F.repeat(len(a), 1)
            pair_BF[torch.arange(len(a)), factor_M[a]] = value_M[a]
            pair_BF[torch.arange(len(a)), factor_M[b]] = value_M[b]
            near_BF = torch.cat([near_BF, pair_BF])
            rank_B = torch.cat([rank_B, record.evaluate(pair_BF).rank]) if len(a) else rank_B
        best = int(rank_B.argmin())
        if not float(rank_B[best]) < reached - 1e-12:
            break
        reached, here_F = float(rank_B[best]), near_BF[best]
