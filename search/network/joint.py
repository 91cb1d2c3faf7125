"""The joint search: alpha and beta of the supernet beside the accelerator's gamma.

Weights are updated on training images with one drawn path and soft bitwidths; alpha and beta on
validation images with the single path forward and gradients to the K most likely operators, and
hard bitwidths. The cost is that of the drawn network on the best accelerator found for it so far,
and every step moves gamma for the drawn network. `Method` holds the variants of all that.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from autonba.search.accelerator.objectives import Aim
from autonba.search.gumbel import Annealing
from autonba.search.settings import Bitwidths, Level
from autonba.search.training import datasets, distributed
from autonba.search.training.augmentation import Feed
from autonba.search.training.checkpoint import Resumable, Snapshot
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Dataset
from autonba.search.training.progress_log import Log
from autonba.search.training.train import Tick

from . import sampling
from .corrections import Pull, corrected
from .hardware_cost import HardwareCost, pricing_of
from .spaces import Choice, Space
from .supernet import Draw, Supernet

WARM_PATHS = (4, 3, 2)  # operators averaged in the thirds of the warm-up
REFRESH = 4  # architecture steps between two draws of accelerators
CLIP = 5.0  # norm of the weights' gradients


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a joint search goes about it.

    `bitwidths`    how bitwidths are sampled: see `sampling.sample_bits`
    `paths`        operators of a block that get gradients (K); with `offset` their logits are
                   shifted afterwards so that their log-sum-exp is unchanged
    `level`        bilevel: alpha and beta on validation images; one-level: with the weights, on
                   training images
    `price`        accelerator: cost of the drawn network on the best accelerator; macs:
                   multiply-accumulates times bits, as where the network is searched before the
                   accelerator; none
    `correction`   whether violated limits change the steps (HDX)
    """

    bitwidths: Bitwidths = "heterogeneous"
    paths: int = 2
    offset: bool = True
    temperature: Annealing = field(default_factory=Annealing)
    level: Level = "bilevel"
    price: Literal["accelerator", "macs", "none"] = "accelerator"
    correction: bool = True
    architecture: bool = True  # without, operators and bitwidths stay uniform
    warm_epochs: int = 18
    search_epochs: int = 25
    samples: int = 1024
    batch: int = 48
    rate: float = 1e-2
    architecture_rate: float = 0.06
    interval: int = 1  # weight steps for each architecture step


class JointSearch:
    """A joint search with everything that it remembers; `run` carries it to the end."""

    def __init__(
        self,
        data: Dataset,
        space: Space,
        aim: Aim,
        method: Method,
        seed: int,
        compute: Compute | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.data, self.space, self.aim, self.method = data, space, aim, method
        self.compute = compute or Compute()
        self.generator = torch.Generator().manual_seed(seed)
        self.net = Supernet(space, data.shape, data.classes)
        middle = self.net.network(self.net.derive())
        self.pricing = pricing_of(space, aim, seed, middle)
        if method.price == "accelerator":
            self.pricing.look_for(middle)
        self.cost = HardwareCost(self.net, self.pricing)
        self.compute.place(self.net)
        for logits in (self.net.alpha, self.net.beta):  # draws and costs are made on the CPU
            logits.data = logits.data.cpu()
        self.pull = Pull()
        self.feed = Feed(data.train, space.augmentation, self.compute.target)
        self.val = Feed(data.val, device=self.compute.target)
        self.spread = torch.as_tensor(
            datasets.spread(data.val.labels, seed)
        )  # validation images, any beginning of all classes
        self.steps = max(1, len(self.feed) // method.batch)
        self.weights = torch.optim.AdamW(self.net.weights, lr=method.rate, weight_decay=0.01)
        self.decay = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.weights, max(1, self.epochs * self.steps), eta_min=method.rate / 10
        )
        self.architecture = torch.optim.Adam(
            [self.net.alpha, self.net.beta], lr=method.architecture_rate, betas=(0.5, 0.999)
        )
        self.epoch = self.step = self.number = 0
        self.order = torch.zeros(0, dtype=torch.int64)
        self.sums: dict[str, float] = {}
        self.curves: dict[str, list[float]] = {}

    @property
    def epochs(self) -> int:
        """All of them."""
        return self.method.warm_epochs + self.method.search_epochs

    @property
    def progress(self) -> float:
        """Finished part of the search itself, 0 during the warm-up."""
        return max(0, self.epoch - self.method.warm_epochs) / max(1, self.method.search_epochs)

    def adopt(self, other: JointSearch) -> None:
        """Take the warm weights of another search of the same space: supernets of a comparison are
        trained once.
        """
        own, shared = self.net.state_dict(), other.net.state_dict()
        self.net.load_state_dict(shared | {name: own[name] for name in ("alpha", "beta")})
        self.weights.load_state_dict(copy.deepcopy(other.weights.state_dict()))
        self.decay.load_state_dict(other.decay.state_dict())
        self.generator.set_state(other.generator.get_state())
        self.epoch = other.epoch

    def snapshot(self) -> Snapshot:
        """The parts that change from step to step."""
        return Snapshot(
            net=self.net,
            weights=self.weights,
            decay=self.decay,
            architecture=self.architecture,
            generator=self.generator,
            engine=self.pricing,
            compute=self.compute,
        )

    def take(self) -> dict[str, Any]:
        """All that changes, for `Resumable.save`."""
        return self.snapshot().take(
            epoch=self.epoch,
            step=self.step,
            number=self.number,
            order=self.order,
            sums=dict(self.sums),
            curves={name: list(values) for name, values in self.curves.items()},
            pull=dict(self.pull.strength),
        )

    def put_back(self, state: Mapping[str, Any]) -> None:
        """Inverse of `take`."""
        plain = self.snapshot().put_back(state)
        self.epoch, self.step, self.number, self.order = (
            plain[n] for n in ("epoch", "step", "number", "order")
        )
        self.sums, self.curves, self.pull.strength = (
            dict(plain["sums"]),
            plain["curves"],
            dict(plain["pull"]),
        )
        if self.pricing.best is not None:
            self.cost.set_accelerator(self.pricing.best)

    def run(
        self,
        *,
        until: int | None = None,
        resumable: Resumable | None = None,
        log: Log | None = None,
        tick: Tick = lambda done: None,
    ) -> None:
        """Every epoch up to `until` (to the end by default)."""
        resumable, log = resumable or Resumable(), log or Log()
        if (state := resumable.restore()) is not None:
            self.put_back(state)
        log.rewind("joint", self.epoch)
        while self.epoch < (self.epochs if until is None else until):
            if self.step == 0:
                self.order, self.sums = self.feed.order(self.generator), {}
            self.net.train()
            while self.step < self.steps:
                self.one_step()
                self.step += 1
                if self.step % 20 == 0:
                    tick((self.epoch + self.step / self.steps) / self.epochs)
                if resumable.due():
                    resumable.save(self.take())
            self.epoch, self.step = self.epoch + 1, 0
            if self.epoch > self.method.warm_epochs and self.method.price == "accelerator":
                self.pricing.look_for(self.net.network(self.net.derive()))
            log.scalars("joint", self.epoch, self.note())
            resumable.save(self.take())
            tick(self.epoch / self.epochs)

    def one_step(self) -> None:
        """A weight step, and after the warm-up an architecture step."""
        method = self.method
        searching = self.epoch >= method.warm_epochs and method.architecture
        temperature = method.temperature.at(self.progress)
        x, labels = self.feed(
            self.order[self.step * method.batch : (self.step + 1) * method.batch], self.generator
        )
        found: dict[str, float] = {}
        if searching and method.level == "one-level":
            found = self.architecture_step(x, labels, temperature, weights=True)
        else:
            found["train_loss"] = self.weight_step(x, labels, temperature)
            if searching and self.step % method.interval == 0:
                index = torch.randint(len(self.val), (method.batch,), generator=self.generator)
                found |= self.architecture_step(*self.val.plain(index), temperature, weights=False)
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.sums[f"{name}_count"] = self.sums.get(f"{name}_count", 0.0) + 1

    def weight_step(self, x: Tensor, labels: Tensor, temperature: float) -> float:
        """One update of the weights; returns the loss."""
        net, method = self.net, self.method
        with self.compute.autocast():
            if self.epoch < method.warm_epochs:
                count = WARM_PATHS[self.epoch * len(WARM_PATHS) // method.warm_epochs]
                logits = net.average(x, count, self.generator)
            else:
                draw = net.draw(
                    paths=1,
                    how=method.bitwidths,
                    for_weights=True,
                    temperature=temperature,
                    generator=self.generator,
                )
                logits = net(x, draw.detach())
        loss = F.cross_entropy(logits.float(), labels)
        self.compute.step(loss, self.weights, clip=CLIP)
        self.decay.step()
        return float(distributed.mean(loss.detach()))

    def architecture_step(
        self, x: Tensor, labels: Tensor, temperature: float, *, weights: bool
    ) -> dict[str, float]:
        """One update of alpha, beta and gamma, and with `weights` of the weights (one-level);
        figures for the curves.
        """
        draw, price, cycles = self.drawn(temperature)
        with self.compute.autocast():
            logits = self.net(x, draw)
        loss = F.cross_entropy(logits.float(), labels)
        total = self.space.accuracy_weight * loss + price.to(loss.device)
        before = [p.detach().clone() for p in (self.net.alpha, self.net.beta)]
        if weights:
            self.compute.step(total, self.architecture, self.weights, clip=CLIP)
            self.decay.step()
        else:
            self.compute.step(total, self.architecture)
        self.finish_step(draw, before)
        return {
            "train_loss" if weights else "val_loss": float(distributed.mean(loss.detach())),
            "cycles": cycles,
        }

    def drawn(self, temperature: float) -> tuple[Draw, Tensor, float]:
        """A draw of a network, its price on the best accelerator so far, and its cycles there;
        moves gamma.
        """
        net, method = self.net, self.method
        draw = net.draw(
            paths=method.paths,
            how=method.bitwidths,
            for_weights=False,
            temperature=temperature,
            generator=self.generator,
        )
        if method.price == "accelerator" and (
            self.number % REFRESH == 0 or self.pricing.best is None
        ):
            layers = self.pricing.tabulate(net.network(draw.choices(self.space)))
            self.pricing.step(layers, samples=method.samples, progress=self.progress)
            assert self.pricing.best is not None
            self.cost.set_accelerator(self.pricing.best)
        self.number += 1
        found = self.cost.of_draw(draw)
        return draw, self.cost.price(found, method.price), float(found["cycles"].detach())

    def finish_step(self, draw: Draw, before: Sequence[Tensor]) -> None:
        """Keep the mass of what was not sampled, and turn the step of alpha and beta away from
        violated limits.
        """
        net, method = self.net, self.method
        if method.offset:
            for n, paths in enumerate(draw.paths):
                sampling.keep_mass(net.alpha.data[n], before[0][n], paths.index)
        if method.correction and method.price == "accelerator":
            self.pull.update(self.cost.excess(self.cost.of_choices(net.derive())))
            if self.pull.strength:
                costs = {
                    name: torch.log(v.clamp(min=1e-6))
                    for name, v in self.cost.expected(net.alpha, net.beta).items()
                }
                corrected([net.alpha, net.beta], before, costs, self.pull)

    def note(self) -> dict[str, float]:
        """Figures of the epoch, which also go to the curves."""
        figures = {
            n: v / self.sums[f"{n}_count"] for n, v in self.sums.items() if not n.endswith("_count")
        }
        net, pricing = self.net, self.pricing
        for name, logits in (("alpha", net.alpha), ("beta", net.beta)):
            figures[f"{name}_entropy"] = entropy(logits.detach())
        figures["gamma_entropy"] = pricing.entropy()
        if pricing.best is not None:
            costs = pricing.costs(pricing.tabulate(net.network(net.derive())), pricing.best)
            figures["accelerator_score"] = float(pricing.goal.score(costs)[0])
            for name, limit in pricing.goal.limits.items():
                figures[f"need_{name}"] = float(costs.metric(name)) / max(limit, 1e-9)
        for name, value in figures.items():
            self.curves.setdefault(name, []).append(round(value, 5))
        return figures

    def facts(self) -> dict[str, Any]:
        """Curves and final probabilities."""
        alpha, beta = (
            torch.softmax(self.net.alpha.detach(), 1),
            torch.softmax(self.net.beta.detach(), 2),
        )
        return {
            **self.curves,
            "alpha": [[round(v, 4) for v in row] for row in alpha.tolist()],
            "beta": [[[round(v, 4) for v in row] for row in block] for block in beta.tolist()],
        }

    @torch.no_grad()
    def loss(self, choices: Sequence[Choice], images: int, batch: int = 250) -> float:
        """Loss on so many validation images of all classes, with the supernet's weights; batch norm
        by each batch.
        """
        self.net.train()
        draw, kept = (
            self.net.fixed(choices),
            {name: value.clone() for name, value in self.net.named_buffers()},
        )
        looked_at = self.spread[:images]
        total = torch.tensor(0.0)
        for part in torch.split(looked_at, batch):
            x, labels = self.val.plain(part)
            with self.compute.autocast():
                logits = self.net(x, draw)
            total += distributed.total(
                F.cross_entropy(logits.float(), labels, reduction="sum").cpu()
            )
        for name, value in self.net.named_buffers():
            value.copy_(kept[name])
        return float(total) / len(looked_at)


def entropy(logits: Tensor) -> float:
    """Mean entropy, in nats, of the softmax along the last axis."""
    p = torch.softmax(logits, -1)
    return float(-(p * p.clamp(min=1e-12).log()).sum(-1).mean())
