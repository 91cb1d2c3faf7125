"""Differentiable accelerator search: Auto-NBA's eq. 8.

gamma holds one logit vector for each design factor; a step draws hundreds of candidates with hard
Gumbel-softmax, evaluates them together and moves gamma by the straight-through gradient of their
cost, ranked. Suffixes: B candidates, F factors, K choices of the factor with most.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autonba.search.accelerator.record import Points, Record

from .descent import Descent
from .engine import Engine, distinct
from .evolutionary import Evolutionary

SETTLED = 0.7  # share of draws that are the likeliest candidate
ELITE = 128  # draws that are bred where gamma has settled
CHAMPIONS = 8  # that are looked at again with every draw
MANY = 1 << 62
POOL = 1_500_000  # numbers of noise


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
            generator = torch.Generator().manual_seed(7)  # the same one after a restart
            self.pool = (
                torch.rand(max(POOL, 2 * count), generator=generator)
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
        the soft sample at the choice: soft[choice] * (onehot(choice) - soft) / temperature.
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


class Differentiable(Engine):
    """Draws from gamma; champions, the best of all draws, are looked at again with each.

    With `finish`, after `steps` draws or where gamma settles earlier, the best draws are bred for
    half as many evaluations and the best are improved by descent. Then gamma starts anew,
    `restarts` times, or as long as the record's budget lasts; once where it has none.
    """

    def __init__(
        self,
        record: Record,
        *,
        seed: int,
        samples: int = 512,
        steps: int = 80,
        rate: float = 0.15,
        temperature: float = 1.0,
        finish: bool = True,
        restarts: int | None = None,
    ) -> None:
        super().__init__(record, seed=seed)
        budget = record.limit is not None or record.seconds is not None
        self.starts = restarts or (MANY if budget else 1)
        self.samples, self.steps, self.rate = samples, steps, rate
        self.temperature, self.finish = temperature, finish
        self.champions_BF = torch.zeros(0, len(record.problem.sizes), dtype=torch.int64)
        self.then: list[Engine] = []
        self._begin()

    def _begin(self) -> None:
        self.starts -= 1
        self.gamma = Gamma(self.record.problem.sizes, rate=self.rate, generator=self.generator)
        self.elite: list[tuple[Tensor, Tensor]] = []
        self.drawn = 0
        self.soft_KBF: Tensor | None = None

    def adopt(self, choice_F: Tensor) -> None:
        """Take a candidate that another engine found among the champions."""
        self.champions_BF = distinct(torch.cat([choice_F[None], self.champions_BF]))[0]

    def propose(self) -> Tensor:
        """Choices (B, F) to look at next; see `Engine`."""
        if self.then:
            found = self.then[0].propose()
            if len(found):
                return found
            self.then.pop(0)
            if not self.then:
                self._begin()
            return self.propose()
        if self.starts < 0:
            return torch.zeros(0, len(self.record.problem.sizes), dtype=torch.int64)
        choice_BF, self.soft_KBF = self.gamma.draw(self.samples, self.temperature)
        return torch.cat([choice_BF, self.gamma.likeliest, self.champions_BF])

    def learn(self, choice_BF: Tensor, points: Points) -> None:
        """Take in what the choices cost; see `Engine`."""
        if self.then:
            self.then[0].learn(choice_BF, points)
            if isinstance(self.then[0], Evolutionary) and self.record.count >= self.bred_until:
                self.then.pop(0)
            return
        count = min(self.samples, len(choice_BF))
        if self.soft_KBF is not None and count == self.samples:
            self.gamma.update(
                choice_BF[:count], self.soft_KBF, merit(points.score[:count]), self.temperature
            )
        order = points.rank.argsort(stable=True)
        self.champions_BF = distinct(choice_BF[order[: 2 * CHAMPIONS]])[0][:CHAMPIONS]
        self.elite.append((choice_BF[order[:ELITE]], points.rank[order[:ELITE]]))
        self.drawn += 1
        ended = self.drawn >= self.steps or self.gamma.settled
        if not self.finish:
            self.elite.clear()
        if ended and self.finish:
            self._finish()
        elif ended:
            self._begin()

    def _finish(self) -> None:
        elite_BF, kept = distinct(torch.cat([choice_BF for choice_BF, _ in self.elite]))
        rank_B = torch.cat([rank_B for _, rank_B in self.elite])[kept]
        elite_BF = elite_BF[rank_B.argsort(stable=True)[:ELITE]]
        seed = int(torch.randint(2**31, (), generator=self.generator))
        self.bred_until = self.record.count + self.samples * self.drawn // 2
        starts = distinct(torch.cat([self.gamma.likeliest, self.champions_BF[:2]]))[0]
        self.then = [
            Evolutionary(self.record, seed=seed, start=elite_BF, population=ELITE, children=512),
            Descent(self.record, seed=seed, starts=starts),
        ]

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        gamma = self.gamma
        return super().state_dict() | {
            "logits": gamma.logits_KF.clone(),
            "mean": gamma.mean_KF.clone(),
            "square": gamma.square_KF.clone(),
            "steps": gamma.steps,
            "champions": self.champions_BF.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        super().load_state_dict(state)
        gamma = self.gamma
        gamma.logits_KF, gamma.mean_KF = state["logits"].clone(), state["mean"].clone()
        gamma.square_KF, gamma.steps = state["square"].clone(), state["steps"]
        self.champions_BF = state["champions"].clone()
