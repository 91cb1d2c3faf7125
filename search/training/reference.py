"""Networks evaluated in float64, apart from the golden model: the float network, the fake-quantized
one, and any integer one.

A quantized network is one `Constants` a layer: with the trained ones it is the fake-quantized
network, which rounds weights and maps and nothing else; with an integer network's own it is that
network, computed another way. Suffixes: O output channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from autonba.arithmetic import IntArray, value_range
from autonba.golden import BATCH, Weights
from autonba.network import INPUT, Layer, Network, shuffle_order

from .augmentation import INPUT_SCALE
from .export import FoldedNetwork, RealArray, tensor_scales

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What a quantized layer computes with: (conv(x, weight) + bias) * ratio + residual *
    residual_ratio, rounded to digits.

    `weight` (O, I/g, KH, KW) in digits and `bias` (O,) in digits of the accumulator, of a
    convolution; `ratio` (O,) and `residual_ratio` turn digits of accumulator and residual into
    those of the output, unless the layer is raw.
    """

    weight: RealArray | None = None
    bias: RealArray | None = None
    ratio: RealArray | None = None
    residual_ratio: float = 0.0


def trained_constants(network: Network, folded: FoldedNetwork) -> dict[str, Constants]:
    """Those of the fake-quantized network as it was trained: real scale ratios, biases not
    rounded.
    """
    scales = tensor_scales(network, folded)
    found = {}
    for layer in _computing(network):
        own, source, unit = folded[layer.name], network.tensors[layer.input], scales[layer.input]
        weight = bias = None
        if layer.op == "conv":
            high = value_range(layer.weight_bits, True)[1]
            weight = np.clip(
                np.floor(own.weight / own.weight_scale[:, None, None, None] + 0.5), -high, high
            )
            sum_unit_O = own.weight_scale * unit
            bias = own.bias / sum_unit_O
        else:
            sum_unit_O = np.full(layer.out_channels, unit / (source.height * source.width))
        found[layer.name] = Constants(
            weight=weight,
            bias=bias,
            ratio=None if layer.raw else sum_unit_O / scales[layer.name],
            residual_ratio=(
                0.0 if layer.residual is None else scales[layer.residual] / scales[layer.name]
            ),
        )
    return found


def integer_constants(network: Network, weights: Weights) -> dict[str, Constants]:
    """Those of an integer network, read from its integers alone; every result is a dyadic fraction
    that float64 holds exactly.
    """
    found = {}
    for layer in _computing(network):
        own, step = weights[layer.name], 2.0**-layer.shift
        found[layer.name] = Constants(
            weight=None if own.weight is None else own.weight.astype(np.float64),
            bias=None if own.bias is None else own.bias.astype(np.float64),
            ratio=None if own.m is None else own.m.astype(np.float64) * step,
            residual_ratio=layer.residual_multiplier * step,
        )
    return found


def _computing(network: Network) -> list[Layer]:
    return [layer for layer in network.layers if layer.op != "shuffle"]


@torch.no_grad()
def evaluate_quantized(
    network: Network, constants: Mapping[str, Constants], images: Images
) -> dict[str, RealArray]:
    """Every tensor, in digits, for uint8 images (N, C, H, W); logits are not rounded."""
    tensors = {INPUT: torch.as_tensor(images).double()}
    for layer in network.layers:
        x = tensors[layer.input]
        if layer.op == "shuffle":
            tensors[layer.name] = x[:, list(shuffle_order(layer.out_channels, layer.groups))]
            continue
        own = constants[layer.name]
        if layer.op == "global_pool":
            y = x.sum(dim=(2, 3), keepdim=True)
        else:
            y = F.conv2d(
                x,
                torch.as_tensor(own.weight),
                None,
                layer.stride,
                layer.padding,
                groups=layer.groups,
            )
            y = y + torch.as_tensor(own.bias)[:, None, None]
        if not layer.raw:
            y = y * torch.as_tensor(own.ratio)[:, None, None]
            if layer.residual is not None:
                y = y + tensors[layer.residual] * own.residual_ratio
            y = torch.floor(y + 0.5).clamp(*value_range(layer.bits, layer.signed))
        tensors[layer.name] = y
    return {name: values.numpy() for name, values in tensors.items()}


@torch.no_grad()
def evaluate_float(network: Network, folded: FoldedNetwork, images: Images) -> dict[str, RealArray]:
    """Every tensor of a folded float network, for uint8 images (N, C, H, W)."""
    tensors = {INPUT: torch.as_tensor(images).double() * INPUT_SCALE}
    for layer in network.layers:
        x = tensors[layer.input]
        if layer.op == "shuffle":
            tensors[layer.name] = x[:, list(shuffle_order(layer.out_channels, layer.groups))]
            continue
        own = folded[layer.name]
        if layer.op == "global_pool":
            y = x.mean(dim=(2, 3), keepdim=True)
        else:
            weight, bias = torch.as_tensor(own.weight), torch.as_tensor(own.bias)
            y = F.conv2d(x, weight, bias, layer.stride, layer.padding, groups=layer.groups)
        if layer.residual is not None:
            y = y + tensors[layer.residual]
        tensors[layer.name] = y if layer.raw or layer.signed else F.relu(y)
    return {name: values.numpy() for name, values in tensors.items()}


def predict(
    network: Network, folded: FoldedNetwork, images: Images, *, quantized: bool
) -> IntArray:
    """Class number of each image (N,) by the float or by the fake-quantized network."""
    last, constants = (
        network.layers[-1].name,
        trained_constants(network, folded) if quantized else {},
    )
    parts = []
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH]
        found = (
            evaluate_quantized(network, constants, part)
            if quantized
            else evaluate_float(network, folded, part)
        )
        parts.append(classes_of(found[last]))
    return np.concatenate(parts)


def classes_of(results: npt.NDArray[np.float64] | IntArray) -> IntArray:
    """Class number of each image (N,): the first of the largest results."""
    found: IntArray = results.reshape(len(results), -1).argmax(axis=1)
    return found
