"""Baselines of the joint search, on small drawn images."""

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from autonba.boards import find_board
from autonba.search.accelerator import objectives
from autonba.search.network import spaces, strategies
from autonba.search.network.joint import JointSearch, Method
from autonba.search.settings import STRATEGIES
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Dataset, Split
from tests.search.network.test_sampling import SPACE

METHOD = Method(warm_epochs=1, search_epochs=1, samples=64, batch=16)


def split(count, seed):
    images = np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)
    return Split(images=images, labels=np.arange(count) % 2)


@pytest.fixture(scope="module")
def data():
    return Dataset(
        name="noise", classes=("a", "b"), train=split(64, 0), val=split(32, 1), test=split(8, 2)
    )


@pytest.fixture(scope="module")
def space():
    return spaces.parse("toy", SPACE)


def target(space, **limits):
    board = find_board("ulx3s-85f")
    return objectives.Aim(
        board=board,
        clock_mhz=50.0,
        goal=objectives.goal(board, 50.0, **limits),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_names_a_network_of_the_space_and_repeats_it(strategy, data, space):
    def found():
        return strategies.find_network(
            strategy, data, space, target(space), seed=3, method=METHOD, compute=Compute()
        )

    choices, curves = found()
    assert len(choices) == len(space.blocks)
    spaces.network(space, choices, data.shape, data.classes)
    assert len(curves["train_loss"]) == 2
    assert ("looked_at" in curves) == (strategy in ("random", "evolutionary"))
    assert found()[0] == choices


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
    free = JointSearch(
        data, space, target(space), strategies.method_of("random", METHOD), 1, Compute()
    )
    free.run()
    strategies.look(free, evolve=False, seed=1, count=6)
    all_skip = [spaces.Choice(operator="skip", bits=4)] * len(space.blocks)
    least = free.cost.of_choices(all_skip)["cycles"]
    tight = JointSearch(
        data,
        space,
        target(space, min_fps=50e6 / (1.05 * least)),
        strategies.method_of("random", METHOD),
        1,
        Compute(),
    )
    tight.run()
    choices, _ = strategies.look(tight, evolve=True, seed=1, count=60)
    found = tight.cost.of_choices(choices)
    assert tight.cost.excess(found).get("cycles", 0.0) <= 1.3


def test_children_have_two_parents(space):
    """Half of the children have two different parents, and then, of many blocks, some of each."""
    wide = SimpleNamespace(operators=space.operators, blocks=space.blocks * 5, bits=space.bits)
    one, two = spaces.Choice(operator="skip", bits=4), spaces.Choice(operator="k5_e3", bits=8)
    parents = [[own] * len(wide.blocks) for own in (one, two)]
    drawn = random.Random(1)
    born = [strategies.child(wide, parents, drawn) for _ in range(100)]
    assert 30 < sum(min(own.count(one), own.count(two)) >= 2 for own in born) < 70


def test_parents_are_the_best_seen(space, monkeypatch):
    scores = {}

    def score(joint, choices, progress):
        return scores.setdefault(choices, random.Random(repr(choices)).random())

    def child(space, parents, drawn):
        assert [scores[tuple(p)] for p in parents] == sorted(scores.values())[: strategies.PARENTS]
        born.append(len(scores))
        return tuple(strategies.uniform(space, drawn))

    born: list[int] = []
    monkeypatch.setattr(strategies, "score", score)
    monkeypatch.setattr(strategies, "child", child)
    joint = SimpleNamespace(space=space)
    best, curve = strategies.look(joint, evolve=True, seed=1, count=200)
    assert min(born) >= strategies.POPULATION
    assert len(born) > 60
    assert scores[tuple(best)] == min(scores.values())
    assert curve[-1] == [200.0, round(min(scores.values()), 5)]


def test_the_score_adds_loss_price_and_what_limits_are_exceeded_by():
    space = SimpleNamespace(accuracy_weight=2.0)
    pricing = SimpleNamespace(
        step=lambda *a, **k: None, tabulate=lambda network: None, best=object()
    )

    def joint(over):
        net = SimpleNamespace(network=lambda choices: None, fixed=lambda choices: None)
        cost = SimpleNamespace(
            set_accelerator=lambda best: None,
            of_draw=lambda draw: {},
            price=lambda found, how: torch.tensor(0.25),
            excess=lambda found: over,
        )
        return SimpleNamespace(
            space=space,
            pricing=pricing,
            net=net,
            cost=cost,
            method=METHOD,
            loss=lambda choices, images: 0.5,
        )

    assert strategies.score(joint({}), [], 0.0) == pytest.approx(1.25)
    assert strategies.score(joint({"cycles": 0.9}), [], 0.0) == pytest.approx(1.25)
    wanted = 1.25 + objectives.VIOLATION * (math.log(2.0) + math.log(3.0))
    assert strategies.score(joint({"cycles": 2.0, "energy": 3.0}), [], 0.0) == pytest.approx(wanted)


def test_baselines_are_told_apart_by_their_method():
    sequential = strategies.method_of("sequential", METHOD)
    assert (sequential.price, sequential.correction) == ("macs", False)
    for name in ("random", "evolutionary"):
        method = strategies.method_of(name, METHOD)
        assert (method.architecture, method.bitwidths) == (False, "random-hard")
    assert strategies.method_of("joint", METHOD) == METHOD
