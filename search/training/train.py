"""The derived network as a trainable model, and its training: in float, or with quantization in the
loop.

Suffixes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonba.arithmetic import value_range
from autonba.errors import SpecError
from autonba.network import INPUT, Layer, Network, shuffle_order
from autonba.network import Tensor as Map

from . import augmentation
from .augmentation import Feed, Policy
from .checkpoint import Resumable, Snapshot
from .compute import Compute, convolve
from .datasets import Split
from .distributed import GlobalBatchNorm2d, mean
from .progress_log import Log
from .quantizers import initial_scale, quantize_activation, quantize_weight, scale_gradient

Tick = Callable[[float], None]  # told the finished fraction


class QuantizedLayer(nn.Module):
    """Convolution (or pooling) with batch norm, residual, ReLU and a learned output scale."""

    def __init__(self, layer: Layer, source: Map) -> None:
        super().__init__()
        self.layer = layer
        self.pixels = source.height * source.width
        if layer.op == "conv":
            self.conv = nn.Conv2d(
                source.channels,
                layer.out_channels,
                layer.kernel,
                layer.stride,
                layer.padding,
                groups=layer.groups,
                bias=layer.raw,
            )
            fan_out = layer.kernel[0] * layer.kernel[1] * layer.out_channels // layer.groups
            nn.init.normal_(
                self.conv.weight, 0.0, (2.0 / fan_out) ** 0.5 if not layer.raw else 0.05
            )
            if not layer.raw:
                self.norm = GlobalBatchNorm2d(layer.out_channels)
        if not layer.raw:
            self.scale = nn.Parameter(torch.tensor(0.0))  # 0: not yet set by a batch

    def forward(self, x: Tensor, residual: Tensor | None, quantized: bool) -> Tensor:
        """Output map; rounded to the layer's bits if `quantized`."""
        layer = self.layer
        if layer.op == "global_pool":
            y = x.mean(dim=(2, 3), keepdim=True)
        else:
            w = (
                quantize_weight(self.conv.weight, layer.weight_bits, layer.raw)
                if quantized
                else self.conv.weight
            )
            y = convolve(x, w, self.conv.bias, layer)
            if layer.raw:
                return y
            y = self.norm(y)
        if residual is not None:
            y = y + residual
        if not quantized:
            return y if layer.signed else F.relu(y)
        if self.training and float(self.scale.detach()) == 0.0:
            self.scale.data.copy_(
                initial_scale(y if layer.signed else F.relu(y), layer.bits, layer.signed)
            )
        factor = (y.numel() / y.shape[0] * value_range(layer.bits, layer.signed)[1]) ** -0.5
        scale = scale_gradient(self.scale.abs().clamp(min=1e-5), factor)
        return quantize_activation(y, scale, layer.bits, layer.signed)


class Model(nn.Module):
    """A Network with real weights."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        tensors = network.tensors
        self.layers = nn.ModuleDict(
            {
                layer.name: QuantizedLayer(layer, tensors[layer.input])
                for layer in network.layers
                if layer.op != "shuffle"
            }
        )
        for layer in network.layers:
            if layer.op == "shuffle":
                order = torch.tensor(list(shuffle_order(layer.out_channels, layer.groups)))
                self.register_buffer(f"order_{layer.name}", order, persistent=False)

    def own(self, name: str) -> QuantizedLayer:
        """The module of layer `name`."""
        return cast(QuantizedLayer, self.layers[name])

    def forward(self, x_NCHW: Tensor, quantized: bool) -> Tensor:
        """Logits (N, classes)."""
        tensors = {INPUT: x_NCHW}
        for layer in self.network.layers:
            x = tensors[layer.input]
            if layer.op == "shuffle":
                tensors[layer.name] = x[:, self.get_buffer(f"order_{layer.name}")]
            else:
                residual = None if layer.residual is None else tensors[layer.residual]
                tensors[layer.name] = self.layers[layer.name](x, residual, quantized)
        return tensors[self.network.layers[-1].name].flatten(1)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Of `epochs`, the first `float_epochs` run without quantization, so that output scales start from
    sensible maps; the last `exact_epochs` in float32 whatever the precision, so that batch
    statistics fit the exact arithmetic. The rate rises to `rate` in the first `warmup` of all steps
    and then falls to 0; `one_cycle` also moves the momentum against it. `decay` is the weight decay
    of convolution weights, `smoothing` that of the labels; `clip` bounds the gradients' norm; `ema`
    > 0 ends with an exponential average of the weights. `augmentation` None: what suits the images.
    """

    epochs: int
    float_epochs: int = 0
    exact_epochs: int = 0
    batch: int = 96
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["one_cycle", "cosine"] = "one_cycle"
    rate: float = 4e-3
    warmup: float = 0.1
    decay: float = 0.02
    momentum: float = 0.9
    smoothing: float = 0.05
    clip: float | None = 5.0
    ema: float = 0.0
    augmentation: Policy | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("optimizer", ("adamw", "sgd")), ("schedule", ("one_cycle", "cosine"))):
            if getattr(self, name) not in kinds:
                raise SpecError(
                    f"training: {name} must be one of {', '.join(kinds)}, not"
                    f" {getattr(self, name)!r}"
                )
        if self.augmentation is not None:
            augmentation.check(self.augmentation)
        for name, low, high in (
            ("epochs", 1, 1e6),
            ("float_epochs", 0, self.epochs),
            ("exact_epochs", 0, self.epochs),
            ("batch", 1, 1e6),
            ("rate", 1e-9, 100.0),
            ("warmup", 0.0, 0.9),
            ("decay", 0.0, 1.0),
            ("momentum", 0.0, 0.9999),
            ("smoothing", 0.0, 0.9),
            ("ema", 0.0, 0.99999),
        ):
            if not low <= getattr(self, name) <= high:
                raise SpecError(
                    f"training: {name} must be {low:g} to {high:g}, not {getattr(self, name)!r}"
                )
        if self.clip is not None and not self.clip > 0:
            raise SpecError(f"training: clip must be above 0, not {self.clip!r}")


def fit(
    model: Model,
    split: Split,
    recipe: Recipe,
    *,
    seed: int,
    quantized: bool = True,
    val: Split | None = None,
    compute: Compute | None = None,
    resumable: Resumable | None = None,
    log: Log | None = None,
    phase: str = "training",
    tick: Tick = lambda done: None,
) -> list[dict[str, float]]:
    """Train `model` in place from its present weights; returns of each epoch `loss`, `rate` and,
    with `val`, `val_accuracy`.

    Not `quantized`: every epoch runs in float. Interrupted and called again with a `resumable` that
    holds its snapshot, it ends with the same weights, to the bit. The model is on the CPU
    afterwards.
    """
    compute, resumable, log = (
        compute or Compute(threads=None),
        resumable or Resumable(),
        log or Log(),
    )
    with compute.session():
        history = _fit(
            model, split, recipe, seed, quantized, val, compute, resumable, log, phase, tick
        )
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return history


def _fit(
    model: Model,
    split: Split,
    recipe: Recipe,
    seed: int,
    quantized: bool,
    val: Split | None,
    compute: Compute,
    resumable: Resumable,
    log: Log,
    phase: str,
    tick: Tick,
) -> list[dict[str, float]]:
    model = compute.place(model)
    generator = torch.Generator().manual_seed(seed)
    feed = Feed(split, recipe.augmentation or augmentation.default(split.shape), compute.target)
    batch = min(recipe.batch, len(split))
    steps = len(split) // batch
    optimizer, schedule = _optimizer(model, recipe, recipe.epochs * steps)
    average = Average(model, recipe.ema)
    parts = Snapshot(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        average=average,
        generator=generator,
        compute=compute,
    )
    epoch, step, rate, total = 0, 0, recipe.rate, torch.zeros((), dtype=torch.float64)
    order = torch.empty(0, dtype=torch.int64)
    history: list[dict[str, float]] = []
    saved = resumable.restore()
    if saved is not None:
        plain = parts.put_back(saved)
        epoch, step, total, order, history = (
            plain[name] for name in ("epoch", "step", "total", "order", "history")
        )
    log.rewind(phase, epoch)
    while epoch < recipe.epochs:
        model.train()
        rounded = quantized and epoch >= recipe.float_epochs
        if step == 0:
            order = feed.order(generator)
        while step < steps:
            x, labels = feed(order[step * batch : (step + 1) * batch], generator)
            with compute.autocast(exact=epoch >= recipe.epochs - recipe.exact_epochs):
                logits = model(x, rounded)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=recipe.smoothing)
            compute.step(loss, optimizer, clip=recipe.clip)
            rate = float(optimizer.param_groups[0]["lr"])
            schedule.step()
            if rounded or not quantized:
                average.update()
            total += mean(loss.detach()).double().cpu()
            step += 1
            if step < steps and resumable.due():
                resumable.save(
                    parts.take(epoch=epoch, step=step, total=total, order=order, history=history)
                )
        facts = {"loss": float(total) / steps, "rate": rate}
        if val is not None:
            with average.applied():
                facts["val_accuracy"] = accuracy(predictions(model, val, rounded, compute), val)
        epoch, step, total = epoch + 1, 0, torch.zeros((), dtype=torch.float64)
        history.append(facts)
        log.scalars(phase, epoch, facts)
        if epoch < recipe.epochs:
            resumable.save(
                parts.take(epoch=epoch, step=0, total=total, order=order, history=history)
            )
        tick(epoch / recipe.epochs)
    average.keep()
    return history


def _optimizer(
    model: Model, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Optimizer and schedule over `steps`; only convolution weights decay."""
    plain = [
        p
        for name, p in model.named_parameters()
        if name.endswith((".scale", ".bias")) or ".norm." in name
    ]
    kept = {id(p) for p in plain}
    groups = [
        {
            "params": [p for p in model.parameters() if id(p) not in kept],
            "weight_decay": recipe.decay,
        },
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0
        )
    else:
        optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(recipe.momentum, 0.999))
    if recipe.schedule == "one_cycle":
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.rate, total_steps=steps, pct_start=max(recipe.warmup, 1e-6)
        )
    warm = max(1, round(recipe.warmup * steps))

    def factor(step: int) -> float:
        return (
            (step + 1) / warm
            if step < warm
            else 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, steps - warm))
        )

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class Average:
    """Exponential average of a model's weights and batch statistics, from the first `update` on;
    `decay` 0 keeps none.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.own = [t for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()]
        self.shadow: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model as it is; the first updates weigh more, so that the average forgets its
        start.
        """
        if self.decay == 0.0:
            return
        if not self.shadow:
            self.shadow = [t.detach().clone() for t in self.own]
        self.updates += 1
        torch._foreach_lerp_(
            self.shadow, list(self.own), 1 - min(self.decay, self.updates / (9.0 + self.updates))
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The average in the model for as long as it lasts."""
        before = [t.detach().clone() for t in self.own] if self.shadow else []
        self.keep()
        try:
            yield
        finally:
            with torch.no_grad():
                for own, value in zip(self.own, before, strict=False):
                    own.copy_(value)

    @torch.no_grad()
    def keep(self) -> None:
        """Put the average in the model's place."""
        for own, value in zip(self.own, self.shadow, strict=False):
            own.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"updates": self.updates, "shadow": self.shadow}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.updates = state["updates"]
        self.shadow = [
            value.to(own.device) for value, own in zip(state["shadow"], self.own, strict=False)
        ]


@torch.no_grad()
def predictions(
    model: Model, split: Split, quantized: bool, compute: Compute | None = None, batch: int = 256
) -> Tensor:
    """Class numbers (N,) that `model`, on the device of `compute`, gives."""
    compute = compute or Compute(threads=None)
    model.eval()
    feed = Feed(split, device=compute.target)
    parts = []
    for index in torch.split(torch.arange(len(split)), batch):
        with compute.autocast():
            parts.append(model(feed.plain(index, shared=False)[0], quantized).argmax(dim=1).cpu())
    return torch.cat(parts)


def accuracy(predicted: object, split: Split) -> float:
    """Fraction of `split` classified rightly."""
    return float((torch.as_tensor(predicted) == torch.as_tensor(split.labels)).double().mean())
