"""From a trained model to integers: fold batch norm, round weights, biases and multipliers.

The *folded* network is a set of plain arrays (it is what search/model.npz holds). `integers` turns
it into the integer network of `autonba.golden`; how far that is from the trained one is measured in
`autonba.search.training.integer_check`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from autonba.arithmetic import (
    LOGIT_BITS,
    MAX_SHIFT,
    MULTIPLIER_BITS,
    RESIDUAL_MULTIPLIER_BITS,
    IntArray,
    value_range,
)
from autonba.errors import BundleError
from autonba.golden import LayerWeights
from autonba.network import INPUT, Layer, Network

from .augmentation import INPUT_SCALE
from .quantizers import weight_scale
from .train import Model

RealArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Real weights of one layer, batch norm folded in.

    `weight` (O, I/g, KH, KW), `bias` (O,), `weight_scale` (O,), and the `scale` (1,) of the output.
    Fields that the operation lacks are empty; in a float network, scales are empty too.
    """

    weight: RealArray
    bias: RealArray
    weight_scale: RealArray
    scale: RealArray


FoldedNetwork = Mapping[str, Folded]
_NONE: RealArray = np.zeros(0)


def fold(model: Model, quantized: bool) -> dict[str, Folded]:
    """Weights and scales of `model` with batch norm folded in, in float64."""
    folded = {}
    for layer in model.network.layers:
        if layer.op == "shuffle":
            continue
        own = model.own(layer.name)
        weight = bias = scales = _NONE
        if layer.op == "conv":
            w = own.conv.weight.detach().double()
            if layer.raw:
                assert own.conv.bias is not None
                b = own.conv.bias.detach().double()
            else:
                norm = own.norm
                assert norm.running_mean is not None
                assert norm.running_var is not None
                gain = norm.weight.detach().double() / torch.sqrt(
                    norm.running_var.double() + norm.eps
                )
                w = w * gain[:, None, None, None]
                b = norm.bias.detach().double() - norm.running_mean.double() * gain
            weight, bias = w.numpy(), b.numpy()
            if quantized:
                scales = weight_scale(w, layer.weight_bits, layer.raw).numpy()
        scale = (
            np.array([max(abs(float(own.scale.detach())), 1e-5)])
            if quantized and not layer.raw
            else _NONE
        )
        folded[layer.name] = Folded(weight=weight, bias=bias, weight_scale=scales, scale=scale)
    return folded


def to_arrays(folded: FoldedNetwork, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """As plain arrays, named `<prefix>.<layer>.<field>`."""
    return {
        f"{prefix}.{name}.{field}": values
        for name, own in folded.items()
        for field, values in own.__dict__.items()
    }


def from_arrays(
    arrays: Mapping[str, npt.NDArray[Any]], prefix: str, network: Network
) -> dict[str, Folded]:
    """Inverse of `to_arrays`; raises BundleError where an array is missing."""
    folded = {}
    for layer in network.layers:
        if layer.op == "shuffle":
            continue
        fields = {}
        for field in ("weight", "bias", "weight_scale", "scale"):
            name = f"{prefix}.{layer.name}.{field}"
            if name not in arrays:
                raise BundleError(
                    f"search/model.npz: array {name!r} must be present, and it is missing; run"
                    " `autonba search` again"
                )
            values = np.asarray(arrays[name])
            if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
                raise BundleError(
                    f"search/model.npz: array {name!r} must hold finite numbers; run"
                    " `autonba search` again"
                )
            if (
                field == "weight"
                and layer.op == "conv"
                and values.shape[:1] != (layer.out_channels,)
            ):
                raise BundleError(
                    f"search/model.npz: array {name!r} must have {layer.out_channels} as its first"
                    f" size, not shape {list(values.shape)}; run `autonba search` again"
                )
            fields[field] = values.astype(np.float64)
        folded[layer.name] = Folded(**fields)
    return folded


@dataclass(frozen=True, kw_only=True)
class Multipliers:
    """m (O,), r and s of a layer."""

    m: IntArray
    r: int
    s: int


def multipliers(ratio_O: RealArray, residual_ratio: float) -> Multipliers:
    """Integers with m / 2^s nearest to `ratio_O` and r / 2^s to `residual_ratio`, at the largest
    shift they fit with.
    """
    shift = MAX_SHIFT
    while shift > 0 and (
        round(float(ratio_O.max()) * 2.0**shift) >= 1 << MULTIPLIER_BITS
        or round(residual_ratio * 2.0**shift) >= 1 << RESIDUAL_MULTIPLIER_BITS
    ):
        shift -= 1
    m = np.clip(np.floor(ratio_O * 2.0**shift + 0.5), 1, (1 << MULTIPLIER_BITS) - 1).astype(
        np.int64
    )
    return Multipliers(
        m=m,
        r=min(math.floor(residual_ratio * 2.0**shift + 0.5), (1 << RESIDUAL_MULTIPLIER_BITS) - 1),
        s=shift,
    )


def tensor_scales(network: Network, folded: FoldedNetwork) -> dict[str, float]:
    """Value of a digit of every tensor."""
    scales = {INPUT: INPUT_SCALE}
    for layer in network.layers:
        scales[layer.name] = (
            scales[layer.input]
            if layer.op == "shuffle"
            else 1.0
            if layer.raw
            else float(folded[layer.name].scale[0])
        )
    return scales


def _layer_multipliers(
    network: Network, layer: Layer, own: Folded, scales: Mapping[str, float]
) -> Multipliers:
    source = network.tensors[layer.input]
    if layer.op == "global_pool":
        ratio = np.full(
            layer.out_channels,
            scales[layer.input] / (source.height * source.width * scales[layer.name]),
        )
    else:
        ratio = own.weight_scale * scales[layer.input] / scales[layer.name]
    return multipliers(
        ratio, 0.0 if layer.residual is None else scales[layer.residual] / scales[layer.name]
    )


def integers(network: Network, folded: FoldedNetwork) -> tuple[Network, dict[str, LayerWeights]]:
    """The integer network: `network` with its shifts and residual multipliers, and all weights."""
    scales = tensor_scales(network, folded)
    layers: list[Layer] = []
    weights: dict[str, LayerWeights] = {}
    for layer in network.layers:
        if layer.op == "shuffle":
            layers.append(layer)
            continue
        own = folded[layer.name]
        weight = bias = m = None
        if layer.op == "conv":
            high = value_range(layer.weight_bits, True)[1]
            scale_O111 = own.weight_scale[:, None, None, None]
            weight = np.clip(np.floor(own.weight / scale_O111 + 0.5), -high, high).astype(np.int64)
            low, high = value_range(LOGIT_BITS, True)
            exact = np.floor(own.bias / (own.weight_scale * scales[layer.input]) + 0.5)
            bias = np.clip(exact, low // 4, high // 4).astype(np.int64)
        if not layer.raw:
            found = _layer_multipliers(network, layer, own, scales)
            m = found.m
            layer = replace(layer, shift=found.s, residual_multiplier=found.r)
        layers.append(layer)
        weights[layer.name] = LayerWeights(weight=weight, bias=bias, m=m)
    return replace(network, layers=tuple(layers)), weights
