"""The golden model's bounds: of accumulators, over all images, and of what weights may be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autonba.arithmetic import value_range
from autonba.golden import LayerWeights, accumulator_range, check_weights, evaluate, predict
from autonba.network import Layer, Network, Tensor


def network(layer: Layer, *, signed: bool, channels: int = 2, size: int = 2) -> Network:
    """One layer on a small map of 2-bit values."""
    return Network(
        input=Tensor(
            name="input", channels=channels, height=size, width=size, bits=2, signed=signed
        ),
        layers=(layer,),
        classes=("a", "b"),
    )


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bias", [[0, 0], [9, -30], [-70, 70]])
def test_accumulators_of_every_image_lie_in_their_range(signed: bool, bias: list[int]) -> None:
    layer = Layer(
        name="a",
        op="conv",
        input="input",
        out_channels=2,
        kernel=(2, 1),
        bits=32,
        signed=True,
        raw=True,
    )
    net = network(layer, signed=signed, size=2)
    own = LayerWeights(
        weight=np.array([[[[3], [-2]], [[0], [5]]], [[[-1], [-4]], [[2], [1]]]]),
        bias=np.array(bias),
    )
    low, high = accumulator_range(net, layer, own)
    values = range(value_range(2, signed)[0], value_range(2, signed)[1] + 1)
    images = (
        np.array(list(itertools.product(values, repeat=4))).reshape(-1, 2, 2, 1).repeat(2, axis=3)
    )
    found = evaluate(net, {"a": own}, images)["a"]
    partial = found - np.array(bias)[None, :, None, None]  # before the bias is added
    assert low == min(found.min(), partial.min(), min(bias), 0)
    assert high == max(found.max(), partial.max(), max(bias), 0)


@pytest.mark.parametrize(
    ("op", "kernel", "wanted"),
    [
        ("avg_pool", (2, 1), (-4, 2)),
        ("global_pool", (1, 1), (-8, 4)),
        ("max_pool", (2, 2), (-2, 1)),
    ],
)
def test_accumulators_of_pools(op: str, kernel: tuple[int, int], wanted: tuple[int, int]) -> None:
    layer = Layer(name="a", op=op, input="input", out_channels=2, kernel=kernel, shift=1)  # type: ignore[arg-type]
    assert (
        accumulator_range(network(layer, signed=True), layer, LayerWeights(m=np.ones(2, int)))
        == wanted
    )


def test_multipliers_are_unsigned() -> None:
    layer = Layer(
        name="a", op="conv", input="input", out_channels=2, weight_bits=2, bits=8, shift=16
    )
    own = LayerWeights(
        weight=np.ones((2, 2, 1, 1), int),
        bias=np.zeros(2, int),
        m=np.array([1 << 15, (1 << 16) - 1]),
    )
    net = network(layer, signed=False)
    check_weights(net, {"a": own})
    assert evaluate(net, {"a": own}, np.full((1, 2, 2, 2), 3))["a"][0, :, 0, 0].tolist() == [3, 6]


def test_the_first_of_equal_results_is_the_class() -> None:
    layer = Layer(
        name="a",
        op="conv",
        input="input",
        out_channels=2,
        kernel=(2, 2),
        bits=32,
        signed=True,
        raw=True,
    )
    own = LayerWeights(weight=np.ones((2, 2, 2, 2), int), bias=np.zeros(2, int))
    images = np.arange(3 * 8).reshape(3, 2, 2, 2) % 4
    assert predict(network(layer, signed=False), {"a": own}, images).tolist() == [0, 0, 0]
    own = LayerWeights(weight=np.ones((2, 2, 2, 2), int), bias=np.array([0, 1]))
    assert predict(network(layer, signed=False), {"a": own}, images).tolist() == [1, 1, 1]
