"""Baselines of the joint search, on small drawn images."""

import random

import numpy as np
import pytest

from autonba.boards import find_board
from autonba.errors import SpecError
from autonba.search import das, objectives, spaces, strategies
from autonba.search.compute import Compute
from autonba.search.datasets import Dataset, Split
from autonba.search.supernet import JointSearch, Method
from tests.search.test_sampling import SPACE

METHOD = Method(warm_epochs=1, search_epochs=1, samples=64, batch=16)


def split(count, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)
    return Split(images=images, labels=np.arange(count) % 2)


@pytest.fixture(scope="module")
def data():
    return Dataset(name="noise", classes=("a", "b"), train=split(64, 0), val=split(32, 1), test=split(8, 2))


@pytest.fixture(scope="module")
def space():
    return spaces.parse("toy", SPACE)


def target(space, **limits):
    board = find_board("ulx3s-85f")
    return das.Target(
        board=board,
        clock_mhz=50.0,
        goal=objectives.goal(board, 50.0, multipliers=space.hardware.multipliers, **limits),
    )


@pytest.mark.parametrize("strategy", strategies.STRATEGIES)
def test_every_strategy_names_a_network_of_the_space_and_repeats_it(strategy, data, space):
    def found():
        return strategies.search(strategy, data, space, target(space), seed=3, method=METHOD, compute=Compute())

    choices, curves = found()
    assert len(choices) == len(space.blocks)
    spaces.network(space, choices, data.shape, data.classes)
    assert len(curves["train_loss"]) == 2
    assert ("looked_at" in curves) == (strategy in ("random", "evolutionary"))
    assert found()[0] == choices


def test_unknown_strategy_is_refused():
    with pytest.raises(SpecError, match="strategy must be one of joint, sequential, random, evolutionary, not 'grid'"):
        strategies.check("grid")


def test_children_are_made_of_their_parents_but_for_a_change(space):
    drawn = random.Random(0)
    parents = [strategies.uniform(space, drawn) for _ in range(2)]
    for _ in range(50):
        born = strategies.child(space, parents, drawn)
        fresh = [n for n, own in enumerate(born) if own not in (parents[0][n], parents[1][n])]
        assert len(fresh) <= len(space.blocks)
    assert len({strategies.child(space, parents, drawn) for _ in range(50)}) > 5


def test_looking_prefers_networks_that_keep_the_limit(data, space):
    """With a limit on cycles that only small networks keep, the best of many keeps it."""
    free = JointSearch(data, space, target(space), strategies.method_of("random", METHOD), 1, Compute())
    free.run()
    strategies.look(free, evolve=False, seed=1, count=6)
    all_skip = [spaces.Choice(operator="skip", bits=4)] * len(space.blocks)
    least = free.cost.of_choices(all_skip)["cycles"]
    tight = JointSearch(
        data, space, target(space, min_fps=50e6 / (1.05 * least)), strategies.method_of("random", METHOD), 1, Compute()
    )
    tight.run()
    choices, _ = strategies.look(tight, evolve=True, seed=1, count=60)
    found = tight.cost.of_choices(choices)
    assert tight.cost.excess(found).get("cycles", 0.0) <= 1.3
