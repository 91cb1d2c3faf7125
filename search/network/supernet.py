"""The supernet: every operator of every block, with operator logits alpha and bitwidth logits beta.

A drawn path runs one operator a block; its bitwidths are mixed in the quantized tensors, so that
one convolution runs whatever their number. Suffixes: J choices of bitwidth, N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from autonba.network import INPUT, Layer, Network, shuffle_order
from autonba.network import Tensor as Map
from autonba.search.settings import Bitwidths
from autonba.search.training import distributed
from autonba.search.training.compute import convolve
from autonba.search.training.distributed import GlobalBatchNorm2d
from autonba.search.training.quantizers import mixed_activation, mixed_weight, peak

from . import sampling, spaces
from .spaces import Choice, Space

RESIDUAL_GAIN = (
    0.2  # first gain of layers with a residual: operators start close to the identity, hence alike
)
NEVER = -1e9  # logit of an operator that may not stand in a block


class MixedLayer(nn.Module):
    """Convolution, batch norm, residual, ReLU, with weights and output in a mixture of
    bitwidths.
    """

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
            nn.init.normal_(
                self.conv.weight, 0.0, (2.0 / fan_out) ** 0.5 if not layer.raw else 0.05
            )
            if not layer.raw:
                self.norm = GlobalBatchNorm2d(layer.out_channels)
                if layer.residual is not None:
                    nn.init.constant_(self.norm.weight, RESIDUAL_GAIN)
        self.extent: Tensor
        self.register_buffer(
            "extent", torch.tensor(0.0)
        )  # running size of the output: mean of the batches' largest

    def forward(self, x: Tensor, residual: Tensor | None, b_J: Tensor) -> Tensor:
        """Output map: sigma(sum_j b_j A_j) convolved with sum_j b_j W_j, by quantizing where a map
        is made.
        """
        layer = self.layer
        if layer.op == "global_pool":
            y = x.mean(dim=(2, 3), keepdim=True)
        else:
            w = mixed_weight(self.conv.weight, self.bits, b_J, layer.raw)
            y = convolve(x, w, self.conv.bias, layer)
            if layer.raw:
                return y
            y = self.norm(y)
        if residual is not None:
            y = y + residual
        if self.training:
            largest = distributed.largest(peak(y, layer.signed))
            self.extent.copy_(
                torch.where(self.extent == 0, largest, 0.9 * self.extent + 0.1 * largest)
            )
        return mixed_activation(y, self.extent.clamp(min=1e-4), self.bits, layer.signed, b_J)


class MixedPath(nn.Module):
    """A chain of layers with shuffles and residuals: an operator of a block, the stem, or the
    head.
    """

    def __init__(
        self, layers: Sequence[Layer], source: Map, maps: dict[str, Map], bits: Sequence[int]
    ) -> None:
        super().__init__()
        self.chain, self.source = tuple(layers), source.name
        known = {**maps, source.name: source}
        self.own = nn.ModuleDict(
            {
                layer.name: MixedLayer(layer, known[layer.input], bits)
                for layer in layers
                if layer.op != "shuffle"
            }
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
    """One draw of a network: paths of each block, and bitwidth weights (J,) of each of its
    paths.
    """

    paths: tuple[sampling.Paths, ...]
    bits: tuple[tuple[Tensor, ...], ...]

    def detach(self) -> Draw:
        """The same draw, through which no gradient reaches alpha or beta."""
        paths = tuple(sampling.Paths(index=p.index, weight=p.weight.detach()) for p in self.paths)
        return Draw(paths=paths, bits=tuple(tuple(b.detach() for b in own) for own in self.bits))

    def choices(self, space: Space) -> list[Choice]:
        """Operator and (most weighted) bitwidth of each block on the drawn path."""
        return [
            Choice(operator=space.operators[p.index[0]].name, bits=space.bits[int(b[0].argmax())])
            for p, b in zip(self.paths, self.bits, strict=True)
        ]


class Supernet(nn.Module):
    """All operators of all blocks, with alpha (blocks, operators) and beta (blocks, operators,
    bitwidths).
    """

    def __init__(self, space: Space, shape: tuple[int, int, int], classes: Sequence[str]) -> None:
        super().__init__()
        self.space, self.shape, self.classes = space, shape, tuple(classes)
        placed = [
            spaces.place(
                space,
                [Choice(operator=o.name, bits=space.bits[-1])] * len(space.blocks),
                shape,
                classes,
            )
            for o in space.operators
        ]
        self.uniform = [own.network for own in placed]
        # number of the block, of every layer that may stand in one
        self.block_of = {name: n for own in placed for name, n in own.block_of.items()}
        maps = self.uniform[0].tensors
        layers = {layer.name: layer for layer in self.uniform[0].layers}
        self.stem = MixedPath([layers["stem"]], maps[INPUT], maps, [space.fixed_bits])
        self.blocks = nn.ModuleList()
        for block in space.blocks:
            options = nn.ModuleList()
            for number, network in enumerate(self.uniform):
                if number not in block.allowed:
                    options.append(nn.Identity())
                    continue
                own = [
                    layer
                    for layer in network.layers
                    if self.block_of.get(layer.name) == block.index
                ]
                tensors = network.tensors
                source = tensors[own[0].input] if own else next(iter(tensors.values()))
                options.append(MixedPath(own, source, tensors, space.bits))
            self.blocks.append(options)
        tail = [layers[name] for name in ("head", "pool", "classifier")]
        self.tail = MixedPath(tail, maps[tail[0].input], maps, [space.fixed_bits])
        mask = torch.full((len(space.blocks), len(space.operators)), NEVER)
        for block in space.blocks:
            mask[block.index, list(block.allowed)] = 0.0
        self.alpha = nn.Parameter(mask)
        self.beta = nn.Parameter(
            torch.zeros(len(space.blocks), len(space.operators), len(space.bits))
        )

    def network(self, choices: Sequence[Choice]) -> Network:
        """The network that `choices` name."""
        return spaces.network(self.space, choices, self.shape, self.classes)

    @property
    def weights(self) -> list[nn.Parameter]:
        """Every parameter but alpha and beta."""
        return [p for name, p in self.named_parameters() if name not in ("alpha", "beta")]

    def draw(
        self,
        *,
        paths: int,
        how: Bitwidths,
        for_weights: bool,
        temperature: float,
        generator: torch.Generator,
    ) -> Draw:
        """Draw operators (hard, with `paths` of them getting gradients) and their bitwidths."""
        drawn = tuple(
            sampling.draw_paths(a, min(paths, len(block.allowed)), temperature, generator)
            for a, block in zip(self.alpha, self.space.blocks, strict=True)
        )
        bits = tuple(
            tuple(
                sampling.sample_bits(
                    self.beta[n, i],
                    how,
                    for_weights=for_weights,
                    temperature=temperature,
                    generator=generator,
                )
                for i in p.index
            )
            for n, p in enumerate(drawn)
        )
        return Draw(paths=drawn, bits=bits)

    def fixed(self, choices: Sequence[Choice]) -> Draw:
        """The draw that stands for one network."""
        names = [o.name for o in self.space.operators]
        eye = torch.eye(len(self.space.bits))
        return Draw(
            paths=tuple(
                sampling.Paths(index=(names.index(c.operator),), weight=torch.ones(1))
                for c in choices
            ),
            bits=tuple((eye[self.space.bits.index(c.bits)],) for c in choices),
        )

    def average(self, x_NCHW: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Logits with the mean of `count` random operators in each block, at the widest bits: warms
        up the weights.

        Operators that share a step get the same gradient, so that their outputs become alike and
        single paths can be drawn.
        """
        one, widest = torch.ones(1), torch.eye(len(self.space.bits))[-1]
        x = self.stem(x_NCHW, one)
        for options, block in zip(self.blocks, self.space.blocks, strict=True):
            paths = cast(nn.ModuleList, options)
            order = torch.randperm(len(block.allowed), generator=generator)[:count].tolist()
            x = sum((paths[block.allowed[i]](x, widest) for i in order), torch.zeros(())) / len(
                order
            )
        return cast(Tensor, self.tail(x, one)).flatten(1)

    def forward(self, x_NCHW: Tensor, draw: Draw) -> Tensor:
        """Logits of the drawn path; the other paths of `draw` are computed only for the gradient of
        their weight.
        """
        one = torch.ones(1)
        x = self.stem(x_NCHW, one)
        for options, paths, bits in zip(self.blocks, draw.paths, draw.bits, strict=True):
            outputs = [cast(nn.ModuleList, options)[paths.index[0]](x, bits[0])]
            with torch.no_grad():
                outputs += [
                    cast(nn.ModuleList, options)[i](x, b)
                    for i, b in zip(paths.index[1:], bits[1:], strict=True)
                ]
            if len(outputs) == 1:
                x = outputs[0]
            else:
                x = sum(
                    (w * y for w, y in zip(paths.weight, outputs, strict=True)), torch.zeros(())
                )
        return cast(Tensor, self.tail(x, one)).flatten(1)

    def derive(self) -> list[Choice]:
        """The most likely operator of each block and its most likely bitwidth."""
        best = self.alpha.argmax(dim=1).tolist()
        return [
            Choice(
                operator=self.space.operators[i].name,
                bits=self.space.bits[int(self.beta[n, i].argmax())],
            )
            for n, i in enumerate(best)
        ]
