"""Hard constraints during the search: the step is changed, by the least amount, so that no violated
cost gets worse.

After HDX (Hong et al., DAC 2022, section 4.2), which adds to the gradient the smallest vector that
turns it away from a violated constraint, by a pull that grows while the violation lasts. Here it is
the optimizer's step that is changed, since Adam's step does not point along the gradient, and
several constraints are met together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

ROUNDS = 50  # of projections, one after the other, until all constraints hold


def least_change(step: Tensor, slopes: Sequence[Tensor], falls: Sequence[float]) -> Tensor:
    """The vector nearest to `step` along which every cost falls by its amount: <slope, result> <=
    -fall (Hildreth's projections).

    Costs of slope 0 are left out.
    """
    pairs = [
        (slope, fall)
        for slope, fall in zip(slopes, falls, strict=True)
        if float(slope.square().sum()) > 1e-20
    ]
    weights = [0.0] * len(pairs)
    for _ in range(ROUNDS if len(pairs) > 1 else 1):
        for n, (slope, fall) in enumerate(pairs):
            missing = float((step * slope).sum()) + fall
            change = max(-weights[n], missing / float(slope.square().sum()))
            weights[n] += change
            step = step - change * slope
    return step


@dataclass
class Pull:
    """How hard each constraint pulls: `first`, times 1 + `growth` for every step that it has been
    violated in a row.
    """

    first: float = 2e-3
    growth: float = 0.02
    most: float = 0.5
    strength: dict[str, float] = field(default_factory=dict)

    def update(self, excess: Mapping[str, float]) -> None:
        """Take note of the violated constraints (need / limit above 1)."""
        self.strength = {
            name: min(
                self.strength.get(name, self.first / (1 + self.growth)) * (1 + self.growth),
                self.most,
            )
            for name, ratio in excess.items()
            if ratio > 1
        }


def corrected(
    parameters: Sequence[Tensor], before: Sequence[Tensor], costs: Mapping[str, Tensor], pull: Pull
) -> None:
    """Replace the step from `before` to the present parameters by the nearest one along which each
    violated cost falls.

    `costs` are differentiable in `parameters`, logarithms of what is limited; those that pull fall
    by their strength.
    """
    names = [name for name in pull.strength if name in costs]
    if not names:
        return
    slopes = []
    for name in names:
        gradients = torch.autograd.grad(
            costs[name], list(parameters), retain_graph=True, allow_unused=True
        )
        slopes.append(
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).flatten()
                    for p, g in zip(parameters, gradients, strict=True)
                ]
            )
        )
    step = torch.cat([(p.detach() - b).flatten() for p, b in zip(parameters, before, strict=True)])
    step = least_change(
        step,
        slopes,
        [pull.strength[name] * float(s.norm()) for name, s in zip(names, slopes, strict=True)],
    )
    with torch.no_grad():
        for p, b, part in zip(
            parameters, before, torch.split(step, [p.numel() for p in parameters]), strict=True
        ):
            p.copy_(b + part.reshape(p.shape))
