"""Recipes of training: each learns, and what is wrong is named."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from autonba.errors import SpecError
from autonba.search.network import spaces
from autonba.search.network.spaces import Choice
from autonba.search.training import train
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Split
from autonba.search.training.progress_log import Log


@pytest.fixture(scope="module")
def stripes():
    """Stripes across or down, 8x8, with noise."""
    rng = np.random.default_rng(0)
    across = np.tile((np.arange(8) // 2 % 2 * 150)[:, None], (1, 8))
    labels = np.arange(96) % 2
    images = np.stack([across.T if label else across for label in labels])[:, None] + rng.integers(
        0, 100, (96, 1, 8, 8)
    )
    return Split(images=images.astype(np.uint8), labels=labels)


def model():
    torch.manual_seed(0)
    space = spaces.load("digits")
    choices = [Choice(operator="k3_e3", bits=6)] * 2 + [Choice(operator="skip", bits=6)] * (
        len(space.blocks) - 2
    )
    return train.Model(spaces.network(space, choices, (1, 8, 8), ("across", "down")))


RECIPES = {
    "adamw": {},
    "sgd": {"optimizer": "sgd", "schedule": "cosine", "rate": 0.1, "decay": 5e-4},
    "average": {"ema": 0.8},
    "bf16": {"exact_epochs": 2},
    "flip": {"augmentation": "flip_crop"},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns(name, stripes, tmp_path):
    recipe = train.Recipe(epochs=8, float_epochs=2, batch=24, **RECIPES[name])
    own, log = model(), Log(tmp_path / "log.jsonl")
    compute = Compute(precision="bf16" if name == "bf16" else "float32")
    history = train.fit(own, stripes, recipe, seed=1, val=stripes, compute=compute, log=log)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["val_accuracy"] > 0.95
    assert (
        train.accuracy(train.predictions(own, stripes, True), stripes)
        == history[-1]["val_accuracy"]
    )
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in own.parameters())


def test_the_rate_rises_and_falls_to_nothing(stripes):
    recipe = train.Recipe(
        epochs=10, batch=96, rate=0.1, optimizer="sgd", schedule="cosine", warmup=0.3
    )
    rates = [
        facts["rate"] for facts in train.fit(model(), stripes, recipe, seed=1, quantized=False)
    ]
    assert rates[:3] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 0.01


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_weights_of_convolutions_decay(optimizer, stripes):
    """Where every gradient is 0, a step is the decay alone: kernels shrink; biases, norms and
    scales of quantizers stay.
    """
    own = model()
    for p in own.parameters():
        p.data.add_(1.0)
        p.grad = torch.zeros_like(p)
    before = {name: p.detach().clone() for name, p in own.named_parameters()}
    stepping, _ = train._optimizer(own, train.Recipe(epochs=1, optimizer=optimizer, decay=0.1), 100)
    stepping.step()
    shrunk = {name for name, p in own.named_parameters() if not torch.equal(p, before[name])}
    assert shrunk == {name for name in before if name.endswith(".conv.weight")}
    assert any(name.endswith(".scale") for name in before)
    assert any(".norm.weight" in name for name in before)


def test_the_average_is_kept_and_the_model_given_back():
    own = torch.nn.Linear(1, 1, bias=False)
    average = train.Average(own, 0.5)
    for value in (1.0, 3.0, 5.0):
        own.weight.data.fill_(value)
        average.update()
    inside = 1.0
    for updates, value in ((2, 3.0), (3, 5.0)):
        inside += (value - inside) * (1 - min(0.5, updates / (9 + updates)))
    with average.applied():
        assert own.weight.item() == pytest.approx(inside)
    assert own.weight.item() == 5.0
    average.keep()
    assert own.weight.item() == pytest.approx(inside)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 to"),
        ({"epochs": 2, "float_epochs": 3}, "float_epochs must be 0 to 2, not 3"),
        ({"epochs": 2, "optimizer": "lion"}, "optimizer must be one of adamw, sgd, not 'lion'"),
        ({"epochs": 2, "augmentation": "mixup"}, "augmentation"),
        ({"epochs": 2, "clip": 0.0}, "clip must be above 0"),
    ],
)
def test_recipes_are_checked(wrong, message):
    with pytest.raises(SpecError, match=message):
        train.Recipe(**wrong)


class Watching(Compute):
    """Notes of each step whether it was exact, the bound of its gradients, and whether the model
    was rounded.
    """

    seen: ClassVar[list] = []

    def autocast(self, *, exact=False):
        self.seen.append({"exact": exact})
        return super().autocast(exact=exact)

    def step(self, loss, *optimizers, clip=None):
        self.seen[-1] |= {"clip": clip, "norm": None}
        super().step(loss, *optimizers, clip=clip)
        gradients = [
            p.grad
            for group in optimizers[-1].param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        self.seen[-1]["norm"] = float(torch.cat([g.flatten() for g in gradients]).norm())


@pytest.fixture
def watched(monkeypatch):
    """Steps of a training by epoch, as `Watching` notes them, with `rounded`."""
    Watching.seen.clear()
    own = model()
    forward = own.forward

    def noting(x, quantized):
        Watching.seen[-1]["rounded"] = quantized
        return forward(x, quantized)

    monkeypatch.setattr(own, "forward", noting)

    def run(split, recipe):
        train.fit(own, split, recipe, seed=1, compute=Watching())
        steps = len(split) // recipe.batch
        return [Watching.seen[n : n + steps] for n in range(0, len(Watching.seen), steps)]

    return run


def test_epochs_are_float_then_rounded_and_exact_at_the_end(stripes, watched):
    epochs = watched(stripes, train.Recipe(epochs=5, float_epochs=2, exact_epochs=1, batch=32))
    assert [[step["rounded"] for step in steps] for steps in epochs] == [
        [n >= 2] * 3 for n in range(5)
    ]
    assert [[step["exact"] for step in steps] for steps in epochs] == [
        [n >= 4] * 3 for n in range(5)
    ]


def test_gradients_are_bounded(stripes, watched):
    epochs = watched(stripes, train.Recipe(epochs=1, batch=48, clip=1e-3))
    assert all(step["norm"] <= 1.001e-3 for steps in epochs for step in steps)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_that_of_smoothed_labels(stripes, smoothing):
    own = model()
    recipe = train.Recipe(epochs=1, batch=96, smoothing=smoothing, augmentation="none")
    feed = train.Feed(stripes)
    with torch.no_grad():
        logits = model().train()(feed.plain(torch.arange(96))[0], False)
    shares = smoothing / 2 + (1 - smoothing) * torch.nn.functional.one_hot(
        torch.as_tensor(stripes.labels), 2
    )
    wanted = -(shares * torch.log_softmax(logits, 1)).sum(1).mean()
    found = train.fit(own, stripes, recipe, seed=1, quantized=False)[0]["loss"]
    assert found == pytest.approx(float(wanted), rel=1e-5)


def test_validation_is_of_the_average_that_is_kept(stripes, monkeypatch):
    own, looked_at = model(), []
    monkeypatch.setattr(
        train,
        "predictions",
        lambda model, split, *_: (
            looked_at.append(model.own("classifier").conv.weight.detach().clone()),
            torch.zeros(len(split)),
        )[1],
    )
    train.fit(own, stripes, train.Recipe(epochs=3, batch=24, ema=0.9), seed=1, val=stripes)
    assert torch.equal(looked_at[-1], own.own("classifier").conv.weight)
    last = model()
    monkeypatch.setattr(train.Average, "keep", lambda self: None)
    train.fit(last, stripes, train.Recipe(epochs=3, batch=24, ema=0.9), seed=1)
    assert not torch.equal(looked_at[-1], last.own("classifier").conv.weight)


def test_a_cosine_falls_once_over_all_epochs(stripes):
    recipe = train.Recipe(
        epochs=8, batch=96, rate=0.1, optimizer="sgd", schedule="cosine", warmup=0.0
    )
    rates = [
        facts["rate"] for facts in train.fit(model(), stripes, recipe, seed=1, quantized=False)
    ]
    wanted = [0.05 * (1 + np.cos(np.pi * max(step - 1, 0) / 7)) for step in range(8)]
    assert rates == pytest.approx(wanted)
