"""The baseline of a search: accelerators drawn uniformly from the same space, within the same
limits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from autonba.boards import Board
from autonba.network import Network

from .evaluation import evaluate
from .objectives import RESOURCES, Goal
from .realize import unsized
from .search_accelerator import problem_of

BATCH = 4096
MOST_BATCHES = 400


def random_designs(
    network: Network, board: Board, goal: Goal, *, seed: int, count: int
) -> list[dict[str, Any]]:
    """`count` accelerators drawn uniformly from the whole space that keep the limits on resources:
    cycles and resources of each.

    Cycles are the steady-state bound, which flatters them: their real schedule is never faster.
    Fewer are returned where the space within the limits is too small to hit.
    """
    of_resources = {n: v for n, v in goal.limits.items() if n in RESOURCES}
    goal = replace(goal, limits=of_resources)
    problem = problem_of(network, board, goal)
    noise = np.random.default_rng(seed)
    designs: list[dict[str, Any]] = []
    for _ in range(MOST_BATCHES):
        drawn = problem.space.legal(problem.space.random(noise, BATCH), problem.layers)
        costs = evaluate(problem.layers, drawn, board.family)
        fits = np.ones(BATCH, dtype=bool)
        for name, limit in problem.goal.limits.items():
            fits &= getattr(costs, name) <= limit
        for index in np.flatnonzero(fits).tolist():
            if len(designs) == count:
                return designs
            accelerator = problem.space.accelerator(problem.layers, drawn, index)
            found = unsized(network, accelerator, board)
            if not goal.excess(found.figures):
                designs.append(
                    {
                        "cycles": found.bound,
                        "multipliers": accelerator.multipliers,
                        "chunks": len(accelerator.chunks),
                        **{name: getattr(found.resources, name) for name in RESOURCES},
                    }
                )
    return designs
