"""The joint search: its variants, what it remembers, and how violated limits turn it away."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autonba.boards import find_board
from autonba.search.accelerator.objectives import Aim, goal
from autonba.search.network import spaces
from autonba.search.network.corrections import Pull
from autonba.search.network.hardware_cost import PRICED
from autonba.search.network.joint import JointSearch, Method, entropy
from autonba.search.network.spaces import Choice
from autonba.search.network.supernet import Supernet
from autonba.search.settings import BITWIDTHS
from autonba.search.training.checkpoint import Resumable
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Dataset, Split
from autonba.search.training.progress_log import Log

SPACE = """
[network]
stem = { channels = 4, kernel = 3, stride = 1 }
head = 8
fixed_bits = 8
bits = [4, 8]
operators = ["k3_e1", "k3_e3", "skip"]
stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 8, blocks = 1, stride = 2 }]
[search]
accuracy_weight = 1.0
cycles_weight = 0.15
memory_weight = 0.03
"""
BOARD = find_board("ulx3s-85f")
TINY = Method(warm_epochs=1, search_epochs=2, samples=32, batch=12)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)

    def split(n):
        return Split(
            images=rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8), labels=np.arange(n) % 3
        )

    return Dataset(
        name="noise", classes=("a", "b", "c"), train=split(48), val=split(24), test=split(6)
    )


def joint(data, *, seed=1, limits=None, compute=None, text=SPACE, **method):
    space = spaces.parse("tiny", text)
    wanted = goal(BOARD, BOARD.clock_mhz, **(limits or {}))
    aim = Aim(board=BOARD, clock_mhz=BOARD.clock_mhz, goal=wanted)
    settings = {**vars(TINY), **method}
    return JointSearch(data, space, aim, Method(**settings), seed, compute)


def state(search):
    """All that a search's end depends on, as one text."""
    parts = {name: value.double().sum().item() for name, value in search.net.state_dict().items()}
    return f"{parts} {search.facts()} {search.pricing.engine.gamma.logits_KF.tolist()}"


@pytest.mark.parametrize(
    "method",
    [
        *({"bitwidths": how} for how in BITWIDTHS),
        {"level": "one-level"},
        {"paths": 3},
        {"price": "macs", "correction": False},
        {"price": "none", "correction": False},
        {"interval": 2},
    ],
    ids=str,
)
def test_every_variant_moves_what_it_should(data, method):
    search = joint(data, **method)
    weight = search.net.tail.own["classifier"].conv.weight.detach().clone()
    search.run()
    assert not torch.equal(search.net.tail.own["classifier"].conv.weight, weight)
    assert float(search.net.alpha.detach().std(dim=1).min()) > 0
    assert float(search.net.beta.detach().abs().max()) > 0
    facts = search.facts()
    assert len(facts["train_loss"]) == 3
    assert all(np.isfinite(v) for v in facts["train_loss"])
    assert len(facts.get("val_loss", [])) == (0 if method.get("level") == "one-level" else 2)
    assert len(search.net.derive()) == 2


def test_without_architecture_steps_choices_stay_uniform(data):
    search = joint(data, architecture=False, bitwidths="random-hard")
    search.run()
    assert float(search.net.beta.detach().abs().max()) == 0.0
    assert float(search.net.alpha.detach().std()) == 0.0


def test_offset_keeps_the_mass_of_what_was_not_sampled(data):
    """With the shift, the log-sum-exp of a block's logits stays where it was, but for Adam's
    momentum.
    """
    ends = {}
    for offset in (True, False):
        search = joint(data, offset=offset, correction=False)
        search.run()
        ends[offset] = (torch.logsumexp(search.net.alpha.detach(), 1) - np.log(3)).abs()
    assert float((ends[True] / ends[False]).max()) < 0.3


@pytest.mark.parametrize("steps", [2, 6, 10])
def test_a_search_stopped_at_any_step_goes_on_the_same(data, steps, tmp_path):
    whole, log = joint(data), tmp_path / "whole.jsonl"
    whole.run(log=Log(log))
    stopped, count = joint(data), 0
    step = stopped.one_step

    def stopping():
        nonlocal count
        count += 1
        if count > steps:
            raise KeyboardInterrupt
        step()

    stopped.one_step = stopping
    with pytest.raises(KeyboardInterrupt):
        stopped.run(
            resumable=Resumable(tmp_path / "a.pt", seconds=0.0), log=Log(tmp_path / "own.jsonl")
        )
    torch.manual_seed(99)
    again = joint(data, seed=5)
    again.run(resumable=Resumable(tmp_path / "a.pt", resume=True), log=Log(tmp_path / "own.jsonl"))
    assert state(again) == state(whole)
    assert (tmp_path / "own.jsonl").read_bytes() == log.read_bytes()


def test_a_warm_supernet_is_shared(data):
    warm = joint(data)
    warm.run(until=1)
    own = joint(data, seed=7, price="macs", correction=False)
    own.adopt(warm)
    assert own.epoch == 1
    for name, value in warm.net.state_dict().items():
        assert torch.equal(own.net.state_dict()[name], value), name
    own.run()
    before = state(warm)
    own.net.tail.own["classifier"].conv.weight.data.zero_()
    own.weights.state[own.net.weights[0]]["exp_avg"].zero_()
    assert state(warm) == before
    warm.run()
    again = joint(data)
    again.run()
    assert state(warm) == state(again)


def test_looking_at_a_network_changes_nothing(data):
    search = joint(data)
    search.run(until=1)
    before = {name: value.clone() for name, value in search.net.state_dict().items()}
    choices = [Choice(operator="k3_e1", bits=8), Choice(operator="k3_e3", bits=4)]
    first = search.loss(choices, 24, batch=10)
    assert first == search.loss(choices, 24, batch=10)
    assert 0.5 < first < 3.0
    assert all(torch.equal(value, before[name]) for name, value in search.net.state_dict().items())


def test_a_network_is_looked_at_with_every_class_of_sorted_images(data):
    """Validation images sorted by class, as folders hold them: whatever the number, all classes and
    not the first alone.
    """
    order = np.argsort(data.val.labels, kind="stable")
    search = joint(replace(data, val=data.val.take(order)))
    seen, plain = [], search.val.plain
    search.val.plain = lambda index: seen.append(search.val.labels_N[index]) or plain(index)
    search.loss([Choice(operator="skip", bits=4)] * 2, 9, batch=6)
    assert torch.bincount(torch.cat(seen)).tolist() == [3, 3, 3]
    assert torch.bincount(seen[0]).tolist() == [2, 2, 2]


def test_half_precision_searches_too(data):
    search = joint(data, compute=Compute(precision="bf16"))
    search.run()
    whole = joint(data)
    whole.run()
    assert search.facts()["train_loss"][0] == pytest.approx(
        whole.facts()["train_loss"][0], rel=0.05
    )
    assert search.facts()["train_loss"] != whole.facts()["train_loss"]
    assert all(p.dtype == torch.float32 for p in search.net.parameters())


def test_a_fixed_draw_is_the_derived_network(data):
    search = joint(data)
    net: Supernet = search.net
    choices = [Choice(operator="skip", bits=4), Choice(operator="k3_e3", bits=8)]
    assert net.fixed(choices).choices(search.space) == choices
    assert [layer.name for layer in net.network(choices).layers][:2] == ["stem", "b1_expand"]
    costs = search.cost.of_choices(choices)
    dearer = search.cost.of_choices([Choice(operator="k3_e3", bits=8)] * 2)
    assert all(
        dearer[name] >= costs[name] for name in ("cycles", "latency", "memory", "macs", "energy")
    )
    assert dearer["macs"] > costs["macs"]


@pytest.mark.parametrize("objective", [{}, {"max_latency_ms": 0.05}])
def test_costs_of_one_network_are_those_of_the_accelerator_search(data, objective):
    """Of uniform networks, and of mixed ones what does not depend on the memories that layers
    share; also where corrected.
    """
    wider = SPACE.replace("channels = 8", "channels = 32").replace("channels = 4", "channels = 16")
    search = joint(data, limits=objective, text=wider)
    assert ("latency" in search.pricing.correction) == bool(objective)
    noise = np.random.default_rng(1)
    drawn = torch.from_numpy(search.pricing.space.random(noise, 500))
    best = next(choice for choice in drawn if spreads(search, choice))
    search.cost.set_accelerator(best)
    names, wide = [o.name for o in search.space.operators], search.space.bits[-1]
    for first in names:
        for second in names:
            choices = [Choice(operator=first, bits=wide), Choice(operator=second, bits=wide)]
            layers = search.pricing.tabulate(search.net.network(choices))
            exact = search.pricing.costs(layers, best)
            found = search.cost.of_choices(choices)
            metrics = (
                ["cycles", "latency"]
                + ["bram"] * (first == second)
                + ["energy"] * (first == second == names[0])
            )
            for (
                metric
            ) in metrics:  # stem and head cost the energy that they cost beside the first operator
                assert found[metric] == pytest.approx(float(exact.metric(metric)[0]), rel=1e-5), (
                    metric,
                    first,
                    second,
                )
    wide, narrow = (
        search.cost.of_choices([Choice(operator="k3_e3", bits=b)] * 2)
        for b in reversed(search.space.bits)
    )
    assert all(narrow[metric] < wide[metric] for metric in ("energy", "bram"))


def spreads(search, choice):
    """Whether two chunks of a candidate work, so that neither the stem nor the blocks are all of
    its time.
    """
    busy = search.pricing.costs(search.cost.tables[0], choice).busy[0]
    return int((busy > 0).sum()) == 2


def test_entropy_is_that_of_the_softmax():
    assert entropy(torch.zeros(3, 4)) == pytest.approx(np.log(4))
    assert entropy(torch.tensor([[0.0, -1e9]])) == pytest.approx(0.0)


def test_a_violated_limit_makes_the_search_choose_cheaper_networks(data):
    """Where the loss knows no price, only the correction makes the mean network cheaper."""
    text = SPACE.replace("0.15", "0.0").replace("0.03", "0.0")
    found = {}
    for on in (True, False):
        search = joint(data, limits={"min_fps": 700_000.0}, correction=on, text=text)
        search.pull = Pull(first=0.2)
        first = float(search.cost.expected(search.net.alpha, search.net.beta)["macs"].detach())
        search.run()
        found[on] = (
            float(search.cost.expected(search.net.alpha, search.net.beta)["macs"].detach()) / first
        )
    assert found[True] < 0.9 * found[False]


def test_block_rams_of_mean_networks_follow_those_of_the_uniform_ones():
    """A network of large operators is not priced at the rate of one that stores next to nothing."""
    space, board = spaces.load("cifar-small"), find_board("ulx3s-85f")
    images = Split(images=np.zeros((8, 3, 32, 32), dtype=np.uint8), labels=np.arange(8) % 2)
    whole = Dataset(name="blank", classes=("a", "b"), train=images, val=images, test=images)
    wanted = Aim(board=board, clock_mhz=50.0, goal=goal(board, 50.0))
    searched = JointSearch(whole, space, wanted, Method(warm_epochs=0, search_epochs=1), 1)
    space_of = searched.pricing.space
    best = torch.from_numpy(space_of.random(np.random.default_rng(1), 1)[0])
    searched.cost.set_accelerator(best)
    for operator, tables in zip(space.operators, searched.cost.tables, strict=True):
        choices = [Choice(operator=operator.name, bits=space.bits[-1])] * len(space.blocks)
        exact = float(searched.pricing.costs(tables, best).resources["bram"][0])
        assert searched.cost.of_choices(choices)["bram"] == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize(("level", "split"), [("bilevel", "val"), ("one-level", "train")])
def test_alpha_and_beta_learn_from_the_level_s_images(data, level, split, monkeypatch):
    search = joint(data, level=level)
    known = {
        name: {image.tobytes() for image in getattr(data, name).images} for name in ("train", "val")
    }
    seen = []
    step = search.architecture_step

    def watched(x, *rest, **more):
        seen.extend(
            (255 * x).round().to(torch.uint8).contiguous().numpy()[n].tobytes()
            for n in range(len(x))
        )
        return step(x, *rest, **more)

    monkeypatch.setattr(search, "architecture_step", watched)
    search.feed.policy = "none"
    search.run()
    assert len(seen) == 2 * search.steps * search.method.batch
    assert set(seen) <= known[split]
    assert not known["train"] & known["val"]


def test_progress_begins_after_the_warm_up(data):
    search = joint(data, warm_epochs=2, search_epochs=4)
    found = []
    for search.epoch in range(7):
        found.append(search.progress)
    assert found == [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_price_follows_the_powers_of_the_objective(data):
    search = joint(data, limits={"objective": {"cycles": 2.0, "energy": 0.25, "dsp": 1.0}})
    space = search.space
    figures = {name: torch.tensor(1.0) for name in (*PRICED, "memory", "macs")}
    more = {
        **figures,
        "cycles": torch.tensor(np.e),
        "energy": torch.tensor(np.e**2),
        "memory": torch.tensor(np.e**3),
    }
    assert float(search.cost.price(figures, "accelerator")) == pytest.approx(0.0)
    wanted = space.cycles_weight * (2.0 * 1 + 0.25 * 2) + space.memory_weight * 3
    assert float(search.cost.price(more, "accelerator")) == pytest.approx(wanted, rel=1e-5)
    products = {**figures, "macs": torch.tensor(np.e)}
    assert float(search.cost.price(products, "macs")) == pytest.approx(
        space.cycles_weight, rel=1e-5
    )
    assert float(search.cost.price(more, "none")) == 0.0


def test_logits_of_another_search_are_not_adopted(data):
    warm, own = joint(data), joint(data, seed=7)
    warm.net.alpha.data += torch.randn_like(warm.net.alpha)
    warm.net.beta.data += 1.0
    alpha, beta = own.net.alpha.detach().clone(), own.net.beta.detach().clone()
    own.adopt(warm)
    assert torch.equal(own.net.alpha, alpha)
    assert torch.equal(own.net.beta, beta)


def test_each_block_gets_its_own_operator_s_bitwidth(data):
    net = joint(data).net
    with torch.no_grad():
        net.alpha[0, 1] = net.alpha[1, 0] = 3.0
        net.beta[0, 1] = torch.tensor([1.0, 0.0])
        net.beta[0, [0, 2]] = torch.tensor([0.0, 9.0])  # of operators that are not taken
        net.beta[1, 0] = torch.tensor([0.0, 1.0])
        net.beta[1, [1, 2]] = torch.tensor([9.0, 0.0])
    assert net.derive() == [Choice(operator="k3_e3", bits=4), Choice(operator="k3_e1", bits=8)]
