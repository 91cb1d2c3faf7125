"""The accelerator on which a joint search prices the networks that it draws.

gamma moves with every network that is priced: a step draws candidates of the whole space and takes
the best of them and of the champions so far. Now and then the staged spaces are searched for one
network, and what they give becomes a champion, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autonba.network import Network
from autonba.search.accelerator.engines.differentiable import MANY, Differentiable
from autonba.search.accelerator.engines.staged import Staged
from autonba.search.gumbel import Annealing

from .accelerator_problem import AcceleratorProblem
from .evaluation import Evaluation, evaluate
from .layers import Layers, tabulate
from .objectives import Aim, Costs
from .realize import unsized
from .record import Record
from .space import AcceleratorSpace, Candidates

QUICK_EVALUATIONS = 12_000  # of a staged space, for a network that will still change


class Pricing:
    """gamma, the champions, and the best accelerator of the network priced last (`best`, a choice
    of the space). `slots` are the places of layers in the networks, `roles` tell those apart that
    hold unlike layers, `slot_of` maps a layer's name to its slot; `network` is any of them.
    """

    def __init__(
        self,
        *,
        slots: Sequence[str],
        roles: Sequence[int],
        slot_of: Callable[[str], str],
        aim: Aim,
        seed: int,
        network: Network,
        annealing: Annealing | None = None,
    ) -> None:
        self.slots, self.slot_of, self.board = tuple(slots), slot_of, aim.board
        self.goal, self.seed = aim.goal.tightened, seed
        self.space = AcceleratorSpace(
            len(self.slots), streams="dram" in aim.goal.limits, roles=tuple(roles)
        )
        self.annealing = annealing or Annealing(first=2.0, last=0.5)
        self.correction: dict[str, float] = {}
        record = Record(self.problem(self.tabulate(network)), evaluations=None, seconds=None)
        self.engine = Differentiable(record, seed=seed, steps=MANY, finish=False)
        self.best: Tensor | None = None

    def tabulate(self, network: Network) -> Layers:
        """What a network asks of an accelerator."""
        return tabulate(network, self.slots, self.slot_of)

    def problem(self, layers: Layers) -> AcceleratorProblem:
        """The problem of choosing an accelerator for a network."""
        return AcceleratorProblem(layers, self.space, self.goal, self.board.family, self.correction)

    def step(self, layers: Layers, *, samples: int, progress: float) -> float:
        """One draw of `samples` accelerators for a network and one update of gamma; returns the
        best score.
        """
        record = Record(self.problem(layers), evaluations=None, seconds=None)
        self.engine.record = record
        self.engine.samples, self.engine.temperature = samples, self.annealing.at(progress)
        self.engine.step()
        self.best = record.best
        return record.score

    def look_for(self, network: Network) -> bool:
        """Search the staged spaces for a network; whether something was found that keeps the
        limits. What was found becomes a champion, and the latency's estimate is set right by it.
        """
        layers = self.tabulate(network)
        self.correction = {}
        record = Record(self.problem(layers), evaluations=None, seconds=None)
        Staged(record, seed=self.seed, evaluations=QUICK_EVALUATIONS).run()
        if record.rank == float("inf"):
            return False
        self.engine.adopt(record.best)
        self.best = record.best
        if "latency" in {**self.goal.limits, **self.goal.weights}:
            bare = self.problem(layers).accelerator(record.best)
            exact = unsized(network, bare, self.board, timed=True).figures["latency"]
            estimate = float(self.costs(layers, record.best).latency[0])
            if exact > 0:
                self.correction = {"latency": exact / estimate}
        return record.feasible

    def costs(self, layers: Layers, choice_F: Tensor) -> Costs:
        """Costs (1,) of an accelerator for a network."""
        return self.problem(layers).evaluate(choice_F[None])

    def evaluated(self, layers: Layers, choice_F: Tensor) -> tuple[Candidates, Evaluation]:
        """The chunk of every layer, and costs by chunk and layer, of one accelerator (1, ...)."""
        candidates = self.space.legal(choice_F[None].numpy(), layers)
        return candidates, evaluate(layers, candidates, self.board.family)

    def smallest(self) -> Tensor:
        """One chunk with one multiplier built of LUTs (F,)."""
        return torch.zeros(len(self.space.sizes), dtype=torch.int64)

    def entropy(self) -> float:
        """Mean entropy of gamma's factors, in nats."""
        p_KF = torch.softmax(self.engine.gamma.logits_KF, dim=0)
        return float(-(p_KF * p_KF.clamp(min=1e-12).log()).sum(0).mean())

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step."""
        return {
            "engine": self.engine.state_dict(),
            "best": self.best,
            "correction": dict(self.correction),
            "seed": self.seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.best, self.correction = state["best"], dict(state["correction"])
        self.seed = state["seed"]
        self.engine.load_state_dict(state["engine"])
