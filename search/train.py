"""The derived network as a trainable model, and its training: in float, or with quantization in the loop.

Suffixes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonba.arithmetic import value_range
from autonba.network import INPUT, Layer, Network, shuffle_order
from autonba.network import Tensor as Map
from autonba.search.datasets import Split
from autonba.search.quantizers import initial_scale, quantize_activation, quantize_weight, scale_gradient

INPUT_SCALE = 1 / 255
Tick = Callable[[float], None]  # told the finished fraction


def as_input(split_images: object) -> Tensor:
    """uint8 images as real values 0..1."""
    return torch.as_tensor(split_images, dtype=torch.float32) * INPUT_SCALE


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
            nn.init.normal_(self.conv.weight, 0.0, (2.0 / fan_out) ** 0.5 if not layer.raw else 0.05)
            if not layer.raw:
                self.norm = nn.BatchNorm2d(layer.out_channels)
        if not layer.raw:
            self.scale = nn.Parameter(torch.tensor(0.0))  # 0: not yet set by a batch

    def forward(self, x: Tensor, residual: Tensor | None, quantized: bool) -> Tensor:
        """Output map; rounded to the layer's bits if `quantized`."""
        layer = self.layer
        if layer.op == "global_pool":
            y = x.mean(dim=(2, 3), keepdim=True)
        else:
            w = quantize_weight(self.conv.weight, layer.weight_bits, layer.raw) if quantized else self.conv.weight
            y = F.conv2d(x, w, self.conv.bias, layer.stride, layer.padding, groups=layer.groups)
            if layer.raw:
                return y
            y = self.norm(y)
        if residual is not None:
            y = y + residual
        if not layer.signed:
            y = F.relu(y)
        if not quantized:
            return y
        if self.training and float(self.scale.detach()) == 0.0:
            self.scale.data.copy_(initial_scale(y, layer.bits, layer.signed))
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
        self.orders = {
            layer.name: torch.tensor(list(shuffle_order(layer.out_channels, layer.groups)))
            for layer in network.layers
            if layer.op == "shuffle"
        }

    def own(self, name: str) -> QuantizedLayer:
        """The module of layer `name`."""
        return cast(QuantizedLayer, self.layers[name])

    def forward(self, x_NCHW: Tensor, quantized: bool) -> Tensor:
        """Logits (N, classes)."""
        tensors = {INPUT: x_NCHW}
        for layer in self.network.layers:
            x = tensors[layer.input]
            if layer.op == "shuffle":
                tensors[layer.name] = x[:, self.orders[layer.name]]
            else:
                residual = None if layer.residual is None else tensors[layer.residual]
                tensors[layer.name] = self.layers[layer.name](x, residual, quantized)
        return tensors[self.network.layers[-1].name].flatten(1)


def augment(x_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Small random rotations, stretches, shears and shifts; outside is 0."""
    n = x_NCHW.shape[0]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1.0
    theta[:, :, :2] += (torch.rand((n, 2, 2), generator=generator) - 0.5) * 0.3
    theta[:, :, 2] = (torch.rand((n, 2), generator=generator) - 0.5) * 0.3
    grid = F.affine_grid(theta, list(x_NCHW.shape), align_corners=False)
    return F.grid_sample(x_NCHW, grid, padding_mode="zeros", align_corners=False)


def fit(
    model: Model,
    split: Split,
    *,
    epochs: int,
    quantized: bool,
    seed: int,
    rate: float = 4e-3,
    batch: int = 96,
    tick: Tick = lambda done: None,
) -> list[float]:
    """Train `model` from its present weights; returns the mean loss of each epoch.

    With `quantized`, the first tenth of the epochs runs in float, so that output scales start from sensible maps.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = as_input(split.images), torch.as_tensor(split.labels)
    scales = [p for name, p in model.named_parameters() if name.endswith(".scale")]
    norms = [p for name, p in model.named_parameters() if ".norm." in name or name.endswith(".bias")]
    kept = {id(p) for p in scales + norms}
    others = [p for p in model.parameters() if id(p) not in kept]
    optimizer = torch.optim.AdamW(
        [
            {"params": others, "weight_decay": 0.02},
            {"params": norms, "weight_decay": 0.0},
            {"params": scales, "weight_decay": 0.0},
        ],
        lr=rate,
    )
    steps = max(1, len(labels) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps, pct_start=0.1)
    losses = []
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(labels), generator=generator)
        total = 0.0
        for step in range(steps):
            index = order[step * batch : (step + 1) * batch]
            logits = model(augment(images[index], generator), quantized and epoch >= epochs // 10)
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / steps)
        tick((epoch + 1) / epochs)
    return losses


@torch.no_grad()
def predictions(model: Model, split: Split, quantized: bool) -> Tensor:
    """Class numbers (N,) that `model` gives."""
    model.eval()
    images = as_input(split.images)
    return torch.cat([model(part, quantized).argmax(dim=1) for part in torch.split(images, 256)])


def accuracy(predicted: object, split: Split) -> float:
    """Fraction of `split` classified rightly."""
    return float((torch.as_tensor(predicted) == torch.as_tensor(split.labels)).double().mean())
