"""The joint search: a supernet with operator logits alpha and bitwidth logits beta, beside the accelerator's gamma.

Weights are updated on training images with one drawn path and soft bitwidths (one convolution whatever their number);
alpha and beta on validation images with the single path forward and gradients to the K most likely operators, and hard
bitwidths. The cost is that of the drawn network on the best accelerator found for it so far, and every step moves gamma
for the drawn network. Suffixes: J choices of bitwidth, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonba.arithmetic import value_range
from autonba.network import INPUT, Layer, Network, effective_kernel, shuffle_order
from autonba.network import Tensor as Map
from autonba.search import candidates as cand
from autonba.search import sampling, spaces
from autonba.search.candidates import NetworkTables
from autonba.search.das import AcceleratorSearch, Limits, score
from autonba.search.datasets import Dataset
from autonba.search.quantizers import mix, quantize_activation, quantize_weight
from autonba.search.spaces import Choice, Space
from autonba.search.train import Tick, as_input, augment

K = 2  # operators that get gradients
BATCH = 48
SMOOTH = 0.1  # width of the smooth maximum over chunks, as a fraction of the busiest
WARM_PATHS = (4, 3, 2)  # operators averaged in the thirds of the warm-up
RESIDUAL_GAIN = 0.2  # first gain of layers with a residual: operators start close to the identity, hence alike
REFRESH = 4  # architecture steps between two draws of accelerators


class MixedLayer(nn.Module):
    """Convolution, batch norm, residual, ReLU, with weights and output in a mixture of bitwidths."""

    def __init__(self, layer: Layer, source: Map, bits: Sequence[int]) -> None:
        super().__init__()
        self.layer, self.bits = layer, tuple(bits)
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
                if layer.residual is not None:
                    nn.init.constant_(self.norm.weight, RESIDUAL_GAIN)
        self.extent: Tensor
        self.register_buffer("extent", torch.tensor(0.0))  # running size of the output: mean of the batches' largest

    def forward(self, x: Tensor, residual: Tensor | None, b_J: Tensor) -> Tensor:
        """Output map: sigma(sum_j b_j A_j) convolved with sum_j b_j W_j, by quantizing where a map is made."""
        layer = self.layer
        if layer.op == "global_pool":
            y = x.mean(dim=(2, 3), keepdim=True)
        else:
            w = mix(lambda bits: quantize_weight(self.conv.weight, bits, layer.raw), self.bits, b_J)
            y = F.conv2d(x, w, self.conv.bias, layer.stride, layer.padding, groups=layer.groups)
            if layer.raw:
                return y
            y = self.norm(y)
        if residual is not None:
            y = y + residual
        if not layer.signed:
            y = F.relu(y)
        if self.training:
            largest = y.detach().abs().amax()
            self.extent.copy_(torch.where(self.extent == 0, largest, 0.9 * self.extent + 0.1 * largest))
        extent = self.extent.clamp(min=1e-4)
        return mix(
            lambda bits: quantize_activation(y, extent / value_range(bits, layer.signed)[1], bits, layer.signed),
            self.bits,
            b_J,
        )


class MixedPath(nn.Module):
    """A chain of layers with shuffles and residuals: an operator of a block, the stem, or the head."""

    def __init__(self, layers: Sequence[Layer], source: Map, maps: dict[str, Map], bits: Sequence[int]) -> None:
        super().__init__()
        self.chain, self.source = tuple(layers), source.name
        known = {**maps, source.name: source}
        self.own = nn.ModuleDict(
            {layer.name: MixedLayer(layer, known[layer.input], bits) for layer in layers if layer.op != "shuffle"}
        )

    def forward(self, x: Tensor, b_J: Tensor) -> Tensor:
        """Output of the last layer; `x` itself for an identity."""
        tensors = {self.source: x}
        for layer in self.chain:
            x = tensors[layer.input]
            if layer.op == "shuffle":
                tensors[layer.name] = x[:, list(shuffle_order(layer.out_channels, layer.groups))]
            else:
                residual = None if layer.residual is None else tensors[layer.residual]
                tensors[layer.name] = cast(Tensor, self.own[layer.name](x, residual, b_J))
        return tensors[self.chain[-1].name] if self.chain else x


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw of a network: paths of each block, and bitwidth weights (J,) of each of its paths."""

    paths: tuple[sampling.Paths, ...]
    bits: tuple[tuple[Tensor, ...], ...]

    def choices(self, space: Space) -> list[Choice]:
        """Operator and (most weighted) bitwidth of each block on the drawn path."""
        return [
            Choice(operator=space.operators[p.index[0]].name, bits=space.bits[int(b[0].argmax())])
            for p, b in zip(self.paths, self.bits, strict=True)
        ]


class Supernet(nn.Module):
    """All operators of all blocks, with alpha (blocks, operators) and beta (blocks, operators, bitwidths)."""

    def __init__(self, space: Space, shape: tuple[int, int, int], classes: Sequence[str]) -> None:
        super().__init__()
        self.space, self.shape, self.classes = space, shape, tuple(classes)
        self.uniform = [
            self.network([Choice(operator=o.name, bits=space.bits[-1])] * len(space.blocks)) for o in space.operators
        ]
        maps = self.uniform[0].tensors
        layers = {layer.name: layer for layer in self.uniform[0].layers}
        self.stem = MixedPath([layers["stem"]], maps[INPUT], maps, [space.fixed_bits])
        self.blocks = nn.ModuleList()
        for block in space.blocks:
            options = nn.ModuleList()
            for network in self.uniform:
                own = [layer for layer in network.layers if layer.name.startswith(f"b{block.index}_")]
                tensors = network.tensors
                source = tensors[own[0].input] if own else next(iter(tensors.values()))
                options.append(MixedPath(own, source, tensors, space.bits))
            self.blocks.append(options)
        tail = [layers[name] for name in ("head", "pool", "classifier")]
        self.tail = MixedPath(tail, maps[tail[0].input], maps, [space.fixed_bits])
        self.alpha = nn.Parameter(torch.zeros(len(space.blocks), len(space.operators)))
        self.beta = nn.Parameter(torch.zeros(len(space.blocks), len(space.operators), len(space.bits)))

    def network(self, choices: Sequence[Choice]) -> Network:
        """The network that `choices` name."""
        return spaces.network(self.space, choices, self.shape, self.classes)

    @property
    def weights(self) -> list[nn.Parameter]:
        """Every parameter but alpha and beta."""
        return [p for name, p in self.named_parameters() if name not in ("alpha", "beta")]

    def draw(self, *, paths: int, hard_bits: bool, temperature: float, generator: torch.Generator) -> Draw:
        """Draw operators (hard, with `paths` of them getting gradients) and their bitwidths (soft or hard)."""
        drawn = tuple(sampling.draw_paths(a, paths, temperature, generator) for a in self.alpha)
        sample = sampling.hard_sample if hard_bits else sampling.soft_sample
        bits = tuple(
            tuple(sample(self.beta[n, i], temperature, generator) for i in p.index) for n, p in enumerate(drawn)
        )
        return Draw(paths=drawn, bits=bits)

    def average(self, x_NCHW: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Logits with the mean of `count` random operators in each block, at the widest bits: warms up the weights.

        Operators that share a step get the same gradient, so that their outputs become alike and single paths can be drawn.
        """
        one, widest = torch.ones(1), torch.eye(len(self.space.bits))[-1]
        x = self.stem(x_NCHW, one)
        for options in self.blocks:
            paths = cast(nn.ModuleList, options)
            drawn = torch.randperm(len(paths), generator=generator)[:count].tolist()
            x = torch.stack([paths[i](x, widest) for i in drawn]).mean(dim=0)
        return cast(Tensor, self.tail(x, one)).flatten(1)

    def forward(self, x_NCHW: Tensor, draw: Draw) -> Tensor:
        """Logits of the drawn path; the other paths of `draw` are computed only for the gradient of their weight."""
        one = torch.ones(1)
        x = self.stem(x_NCHW, one)
        for options, paths, bits in zip(self.blocks, draw.paths, draw.bits, strict=True):
            outputs = [cast(nn.ModuleList, options)[paths.index[0]](x, bits[0])]
            with torch.no_grad():
                outputs += [
                    cast(nn.ModuleList, options)[i](x, b) for i, b in zip(paths.index[1:], bits[1:], strict=True)
                ]
            if len(outputs) == 1:
                x = outputs[0]
            else:
                x = sum((w * y for w, y in zip(paths.weight, outputs, strict=True)), torch.zeros(()))
        return cast(Tensor, self.tail(x, one)).flatten(1)

    def derive(self) -> list[Choice]:
        """The most likely operator of each block and its most likely bitwidth."""
        best = self.alpha.argmax(dim=1).tolist()
        return [
            Choice(operator=self.space.operators[i].name, bits=self.space.bits[int(self.beta[n, i].argmax())])
            for n, i in enumerate(best)
        ]


class HardwareCost:
    """Differentiable cycles and memory of a draw on an accelerator."""

    def __init__(self, net: Supernet, engine: AcceleratorSearch) -> None:
        self.net, self.engine, self.space = net, engine, net.space
        self.tables = [self.tabulate(network) for network in net.uniform]
        self.memory = torch.zeros(
            len(net.space.blocks), len(net.space.operators)
        )  # weights and map elements of each operator
        for i, network in enumerate(net.uniform):
            tensors = network.tensors
            for layer in network.layers:
                if layer.name.startswith("b") and layer.op == "conv":
                    kh, kw = effective_kernel(layer, tensors[layer.input])
                    size = layer.out_channels * tensors[layer.input].channels // layer.groups * kh * kw
                    rows = min(tensors[layer.name].height, kh + 1)
                    self.memory[int(layer.name[1 : layer.name.index("_")]), i] += (
                        size + rows * tensors[layer.name].width * layer.out_channels
                    )

    def tabulate(self, network: Network) -> NetworkTables:
        """Cost tables of a network for this search's hardware."""
        return cand.tabulate(network, self.space.hardware, self.space.slots, spaces.slot_of)

    def loss(self, draw: Draw, best: cand.Candidates) -> tuple[Tensor, float]:
        """Weighted logarithms of cycles and memory, differentiable in the draw; and the cycles as a number.

        Cycles are those of the busiest chunk of accelerator `best`, its gradient that of a smooth maximum.
        """
        blocks = len(self.space.blocks)
        busy_BIC = torch.zeros(blocks, len(self.space.operators), self.space.hardware.chunks)
        rest_C = torch.zeros(self.space.hardware.chunks)
        for i, tables in enumerate(self.tables):
            chunk_BL = cand.allocate(tables, best)
            cycles = cand.layer_cycles(tables, self.space.hardware, best, chunk_BL)[0][0].float()
            for name, chunk, value in zip(tables.names, chunk_BL[0].tolist(), cycles, strict=True):
                if name.startswith("b"):
                    busy_BIC[int(name[1 : name.index("_")]), i, chunk] += value
                elif i == 0:
                    rest_C[chunk] += value
        busy_C = rest_C
        memory = torch.tensor(0.0)
        width_J = torch.tensor([float(b) for b in self.space.bits])
        for n, (paths, bits) in enumerate(zip(draw.paths, draw.bits, strict=True)):
            index = torch.tensor(paths.index)
            busy_C = busy_C + (paths.weight[:, None] * busy_BIC[n, index]).sum(0)
            widths_K = torch.stack([(b * width_J).sum() for b in bits])
            memory = memory + (paths.weight * self.memory[n, index] * widths_K).sum()
        busiest = busy_C.detach().max()
        smooth = torch.logsumexp(busy_C / (SMOOTH * busiest), 0) * SMOOTH * busiest
        cycles = smooth / smooth.detach() * busiest  # value of the maximum, gradient of the smooth one
        total = self.space.cycles_weight * torch.log(cycles) + self.space.memory_weight * torch.log(memory + 1000.0)
        return total, float(busiest)


def search(
    data: Dataset,
    space: Space,
    limits: Limits,
    *,
    seed: int,
    warm_epochs: int,
    search_epochs: int,
    samples: int,
    tick: Tick = lambda done: None,
) -> tuple[list[Choice], dict[str, Any]]:
    """Run the joint search; returns the derived choice of each block, and the curves of the search."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = Supernet(space, data.shape, data.classes)
    engine = AcceleratorSearch(space=space.hardware, slots=space.slots, limits=limits, seed=seed)
    cost = HardwareCost(net, engine)
    engine.calibrate(net.uniform[0], cost.tables[0])
    annealing = sampling.Annealing()
    steps = max(1, len(data.train) // BATCH)
    epochs = warm_epochs + search_epochs
    weights = torch.optim.AdamW(net.weights, lr=1e-2, weight_decay=0.01)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(weights, epochs * steps, eta_min=1e-3)
    architecture = torch.optim.Adam([net.alpha, net.beta], lr=0.06, betas=(0.5, 0.999))
    images, labels = as_input(data.train.images), torch.as_tensor(data.train.labels)
    val_images, val_labels = as_input(data.val.images), torch.as_tensor(data.val.labels)
    curves: dict[str, Any] = {
        name: [] for name in ("train_loss", "val_loss", "cycles", "accelerator_score", "alpha_entropy")
    }
    number = 0
    for epoch in range(epochs):
        progress = max(0, epoch - warm_epochs) / max(1, search_epochs)
        temperature = annealing.at(progress)
        net.train()
        sums = dict.fromkeys(curves, 0.0)
        order = torch.randperm(len(labels), generator=generator)
        for step in range(steps):
            index = order[step * BATCH : (step + 1) * BATCH]
            x = augment(images[index], generator)
            if epoch < warm_epochs:
                logits = net.average(x, WARM_PATHS[epoch * len(WARM_PATHS) // warm_epochs], generator)
            else:
                logits = net(x, net.draw(paths=1, hard_bits=False, temperature=temperature, generator=generator))
            loss = F.cross_entropy(logits, labels[index])
            weights.zero_grad()
            torch.autograd.backward([loss])
            nn.utils.clip_grad_norm_(net.weights, 5.0)
            weights.step()
            decay.step()
            sums["train_loss"] += float(loss.detach())
            if epoch < warm_epochs:
                continue
            index = torch.randint(len(val_labels), (BATCH,), generator=generator)
            draw = net.draw(paths=K, hard_bits=True, temperature=temperature, generator=generator)
            if number % REFRESH == 0 or engine.best is None:
                tables = cost.tabulate(net.network(draw.choices(space)))
                engine.step(tables, samples=samples, progress=progress)
            number += 1
            assert engine.best is not None
            price, cycles = cost.loss(draw, engine.best)
            loss = space.accuracy_weight * F.cross_entropy(net(val_images[index], draw), val_labels[index])
            architecture.zero_grad()
            torch.autograd.backward([loss + price])
            before = net.alpha.detach().clone()
            architecture.step()
            for n, paths in enumerate(draw.paths):
                sampling.keep_mass(net.alpha.data[n], before[n], paths.index)
            sums["val_loss"] += float(loss.detach())
            sums["cycles"] += cycles
        for name, value in sums.items():
            if name in ("val_loss", "cycles", "train_loss"):
                curves[name].append(round(value / steps, 5))
        probability = torch.softmax(net.alpha.detach(), dim=1)
        curves["alpha_entropy"].append(round(float(-(probability * probability.log()).sum(1).mean()), 5))
        if engine.best is not None:
            derived = cost.tabulate(net.network(net.derive()))
            curves["accelerator_score"].append(round(float(score(engine.costs(derived, engine.best), limits)), 5))
        tick((epoch + 1) / epochs)
    curves["alpha"] = [[round(v, 4) for v in row] for row in torch.softmax(net.alpha.detach(), 1).tolist()]
    curves["beta"] = [
        [[round(v, 4) for v in row] for row in block] for block in torch.softmax(net.beta.detach(), 2).tolist()
    ]
    return net.derive(), curves
