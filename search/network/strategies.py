"""Ways to find a network and its accelerator: the joint search and its baselines, with the same
interface and budget.

joint         alpha, beta and gamma together (Auto-NBA); with one bitwidth, DNA
sequential    the network first, for accuracy and few multiply-accumulates, whatever the hardware;
              then its accelerator
random        networks drawn uniformly, each priced on an accelerator that moves along; the best of
              them
evolutionary  the same, but most networks are children of the best so far

Random and evolutionary search train the same supernet with operators and bitwidths drawn uniformly;
what the joint search spends on steps of alpha and beta, they spend on looking at networks with the
supernet's weights.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from autonba.search.accelerator.objectives import VIOLATION, Aim
from autonba.search.settings import Strategy
from autonba.search.training.checkpoint import Resumable
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Dataset
from autonba.search.training.progress_log import Log
from autonba.search.training.train import Tick

from .joint import REFRESH, JointSearch, Method
from .spaces import Choice, Space

EVALUATED = 500  # validation images that a network is looked at with
PASSES = 4  # forward passes that a step of alpha and beta is worth: two paths, and the way back
POPULATION, PARENTS = 24, 8
# of the evolutionary search's networks, once the population is full; the others are drawn uniformly
MUTATED = 0.8


def method_of(strategy: Strategy, method: Method) -> Method:
    """`method` as the strategy needs it."""
    if strategy == "sequential":
        return replace(method, price="macs", correction=False)
    if strategy in ("random", "evolutionary"):
        return replace(method, architecture=False, bitwidths="random-hard")
    return method


def find_network(
    strategy: Strategy,
    data: Dataset,
    space: Space,
    aim: Aim,
    *,
    seed: int,
    method: Method,
    compute: Compute | None = None,
    resumable: Resumable | None = None,
    log: Log | None = None,
    tick: Tick = lambda done: None,
) -> tuple[list[Choice], dict[str, Any]]:
    """Operator and bitwidth of each block, and the curves of the search."""
    joint = JointSearch(data, space, aim, method_of(strategy, method), seed, compute)
    joint.run(resumable=resumable, log=log, tick=tick)
    return finish(strategy, joint, seed)


def finish(
    strategy: Strategy, joint: JointSearch, seed: int
) -> tuple[list[Choice], dict[str, Any]]:
    """The networks that a trained supernet leads to."""
    if strategy in ("joint", "sequential"):
        return joint.net.derive(), joint.facts()
    best, curve = look(joint, evolve=strategy == "evolutionary", seed=seed, count=budget(joint))
    return best, {**joint.facts(), "looked_at": curve}


def budget(joint: JointSearch) -> int:
    """Networks to look at for what a joint search spends on steps of alpha and beta."""
    method = joint.method
    steps = method.search_epochs * joint.steps // method.interval
    return max(POPULATION, steps * method.batch * PASSES // min(EVALUATED, len(joint.val)))


def look(
    joint: JointSearch, *, evolve: bool, seed: int, count: int
) -> tuple[list[Choice], list[list[float]]]:
    """The best of `count` networks: validation loss with the supernet's weights, plus price, plus
    penalties for limits.

    Also the best score after each tenth of them.
    """
    drawn = random.Random(seed)
    seen: dict[tuple[Choice, ...], float] = {}
    curve: list[list[float]] = []
    for number in range(count):
        choices: tuple[Choice, ...] = tuple(uniform(joint.space, drawn))
        if evolve and len(seen) >= POPULATION and drawn.random() < MUTATED:
            choices = child(joint.space, sorted(seen, key=seen.__getitem__)[:PARENTS], drawn)
        if choices not in seen:
            seen[choices] = score(joint, choices, number / count)
        if number % max(1, count // 10) == 0 or number == count - 1:
            curve.append([float(number + 1), round(min(seen.values()), 5)])
    return list(min(seen.items(), key=lambda item: item[1])[0]), curve


def uniform(space: Space, drawn: random.Random) -> list[Choice]:
    """A network drawn uniformly."""
    return [
        Choice(
            operator=space.operators[drawn.choice(block.allowed)].name,
            bits=drawn.choice(space.bits),
        )
        for block in space.blocks
    ]


def child(
    space: Space, parents: Sequence[Sequence[Choice]], drawn: random.Random
) -> tuple[Choice, ...]:
    """Each block from one of two parents; then one block, sometimes more, drawn anew."""
    first, second = drawn.choice(parents), drawn.choice(parents)
    mixed = [drawn.choice(pair) for pair in zip(first, second, strict=True)]
    fresh = uniform(space, drawn)
    sure = drawn.randrange(len(mixed))
    return tuple(
        new if n == sure or drawn.random() < 0.1 else own
        for n, (own, new) in enumerate(zip(mixed, fresh, strict=True))
    )


def score(joint: JointSearch, choices: Sequence[Choice], progress: float) -> float:
    """What the joint search minimizes, of one network; smaller is better."""
    network = joint.net.network(choices)
    layers = joint.pricing.tabulate(network)
    for _ in range(REFRESH // 2):
        joint.pricing.step(layers, samples=joint.method.samples, progress=progress)
    assert joint.pricing.best is not None
    joint.cost.set_accelerator(joint.pricing.best)
    found = joint.cost.of_draw(joint.net.fixed(choices))
    price = float(joint.cost.price(found, "accelerator").detach())
    over = joint.cost.excess({name: float(value.detach()) for name, value in found.items()})
    penalty = VIOLATION * sum(math.log(max(ratio, 1.0)) for ratio in over.values())
    return joint.space.accuracy_weight * joint.loss(choices, EVALUATED) + price + penalty
