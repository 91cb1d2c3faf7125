"""Golden model: evaluates an integer network in NumPy, layer by layer, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from autonba.arithmetic import (
    LOGIT_BITS,
    MULTIPLIER_BITS,
    IntArray,
    Requantization,
    convolve,
    pool,
    value_range,
)
from autonba.errors import BundleError, DataError
from autonba.network import INPUT, Layer, Network, effective_kernel, shuffle_order


@dataclass(frozen=True, kw_only=True)
class LayerWeights:
    """Integers of one layer: `weight` (O, I / groups, KH, KW), `bias` (O,), `m` (O,); absent where
    the op has none.

    conv: weight, bias and, unless raw, m. Pools: m. shuffle: nothing.
    """

    weight: IntArray | None = None
    bias: IntArray | None = None
    m: IntArray | None = None


Weights = Mapping[str, LayerWeights]
BATCH = 100  # images whose tensors are held at once


def accumulate(layer: Layer, weights: LayerWeights, x_NCHW: IntArray) -> IntArray:
    """Accumulators of a conv or pool layer, before requantization."""
    if layer.op == "global_pool":
        sums: IntArray = x_NCHW.sum(axis=(2, 3), keepdims=True)
        return sums
    if layer.is_pool:
        return pool(
            x_NCHW, layer.kernel, layer.stride, layer.padding, maximum=layer.op == "max_pool"
        )
    assert weights.weight is not None
    assert weights.bias is not None
    return convolve(x_NCHW, weights.weight, weights.bias, layer.stride, layer.padding, layer.groups)


def evaluate(network: Network, weights: Weights, images_NCHW: IntArray) -> dict[str, IntArray]:
    """Every tensor of the network, the input included, for a batch of integer images, as int64 (N,
    C, H, W).
    """
    images = np.asarray(images_NCHW, dtype=np.int64)
    low, high = value_range(network.input.bits, network.input.signed)
    shape = (network.input.channels, network.input.height, network.input.width)
    if images.ndim != 4 or images.shape[1:] != shape:
        raise DataError(
            f"images must have shape (N, {shape[0]}, {shape[1]}, {shape[2]}), not {images.shape}"
        )
    if images.size and (images.min() < low or images.max() > high):
        raise DataError(f"images must lie in {low}..{high}, not {images.min()}..{images.max()}")
    tensors = {INPUT: images}
    for layer in network.layers:
        x = tensors[layer.input]
        if layer.op == "shuffle":
            tensors[layer.name] = x[:, shuffle_order(layer.out_channels, layer.groups)]
            continue
        own = weights[layer.name]
        acc = accumulate(layer, own, x)
        if layer.raw:
            tensors[layer.name] = acc
            continue
        assert own.m is not None
        requantization = Requantization(
            shift=layer.shift,
            residual_multiplier=layer.residual_multiplier,
            bits=layer.bits,
            signed=layer.signed,
        )
        residual = None if layer.residual is None else tensors[layer.residual]
        tensors[layer.name] = requantization.compute(acc, own.m[None, :, None, None], residual)
    return tensors


def predict(network: Network, weights: Weights, images_NCHW: IntArray) -> IntArray:
    """Class index of each image: the first channel of the largest result."""
    last = network.layers[-1].name
    parts = [
        evaluate(network, weights, images_NCHW[first : first + BATCH])[last]
        for first in range(0, len(images_NCHW), BATCH)
    ]
    classes: IntArray = np.concatenate(parts).reshape(len(images_NCHW), -1).argmax(axis=1)
    return classes


def check_weights(network: Network, weights: Weights) -> None:
    """Raise BundleError where `weights` do not fit `network` in names, shapes or ranges."""
    tensors = network.tensors
    extra = set(weights) - {layer.name for layer in network.layers}
    if extra:
        raise BundleError(
            f"weights: {min(extra)!r} must name a layer of the network, and it does not"
        )
    for layer in network.layers:
        own = weights.get(layer.name, LayerWeights())
        wanted: dict[str, tuple[tuple[int, ...], tuple[int, int]]] = {}
        source = tensors[layer.input]
        if layer.op == "conv":
            weight_shape = (layer.out_channels, source.channels // layer.groups, *layer.kernel)
            wanted["weight"] = (weight_shape, value_range(layer.weight_bits, True))
            wanted["bias"] = ((layer.out_channels,), value_range(LOGIT_BITS, True))
        if layer.op != "shuffle" and not layer.raw:
            wanted["m"] = ((layer.out_channels,), value_range(MULTIPLIER_BITS, False))
        for field in ("weight", "bias", "m"):
            values = getattr(own, field)
            where = f"weights: {layer.name}.{field}"
            if field not in wanted:
                if values is not None:
                    raise BundleError(
                        f"{where} must be absent in this {layer.op} layer, and it is there"
                    )
                continue
            if values is None:
                raise BundleError(f"{where} must be present, and it is missing")
            shape, (low, high) = wanted[field]
            if values.shape != shape:
                raise BundleError(
                    f"{where} must have shape {list(shape)} as design.json says, not"
                    f" {list(values.shape)}"
                )
            if values.size and (values.min() < low or values.max() > high):
                raise BundleError(
                    f"{where} must lie in {low}..{high}, not {values.min()}..{values.max()}"
                )
        low, high = accumulator_range(network, layer, own)
        if layer.raw and (
            low < value_range(LOGIT_BITS, True)[0] or high > value_range(LOGIT_BITS, True)[1]
        ):
            raise BundleError(
                f"weights: results of {layer.name!r} must fit {LOGIT_BITS} bits, not {low}..{high}"
            )


def accumulator_range(network: Network, layer: Layer, weights: LayerWeights) -> tuple[int, int]:
    """Smallest and largest partial or final accumulator that any image can cause, bias included."""
    if layer.op == "shuffle":
        return 0, 0
    source = network.tensors[layer.input]
    x_low, x_high = value_range(source.bits, source.signed)
    if layer.is_pool:
        kh, kw = (1, 1) if layer.op == "max_pool" else effective_kernel(layer, source)
        return min(0, x_low * kh * kw), x_high * kh * kw
    assert weights.weight is not None
    assert weights.bias is not None
    w = weights.weight.reshape(layer.out_channels, -1)
    positive, negative = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    high = positive * x_high + negative * x_low
    low = positive * x_low + negative * x_high
    return (
        int(min(low.min(), (low + weights.bias).min(), weights.bias.min(), 0)),
        int(max(high.max(), (high + weights.bias).max(), weights.bias.max(), 0)),
    )
