"""Networks: rules and their messages, shapes, shuffles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autonba.errors import BundleError, DataError, SpecError
from autonba.golden import LayerWeights, check_weights, evaluate
from autonba.network import Layer, Network, Tensor, macs, shuffle_order

IMAGE = Tensor(name="input", channels=4, height=6, width=6, bits=8, signed=False)


def conv(name: str = "a", source: str = "input", out: int = 4, **more: Any) -> Layer:
    return Layer(name=name, op="conv", input=source, out_channels=out, **more)


def network(*layers: Layer, classes: int = 4) -> Network:
    return Network(input=IMAGE, layers=layers, classes=tuple(f"c{i}" for i in range(classes)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv(kernel=(0, 1)), "layer 'a': kernel must be from 1 to 4096"),
        (
            lambda: conv(padding=(1, 1)),
            "layer 'a': padding must be at least 0 and below the kernel",
        ),
        (lambda: conv(weight_bits=9), "layer 'a': weight_bits must be 2 to 8, not 9"),
        (lambda: conv(bits=1), "layer 'a': bits must be 2 to 8, not 1"),
        (lambda: conv(shift=41), "layer 'a': shift must be 0 to 40, not 41"),
        (lambda: conv(name="1a"), "name must be a letter followed by"),
        (lambda: conv(name="output"), "layer 'output': name must be"),
        (lambda: conv(raw=True), "layer 'a': bits must be 32 and signed in a raw layer"),
        (lambda: conv(groups=3), "layer 'a': groups must be a divisor of out_channels = 4"),
        (
            lambda: network(conv(source="b")),
            "layer 'a': input must be 'input' or an earlier layer, not 'b'",
        ),
        (lambda: network(conv(), conv("a", "a")), "layer 'a': name must be unique"),
        (lambda: network(conv(kernel=(7, 7))), "must fit the padded 6x6 map of 'input'"),
        (
            lambda: network(conv(), conv("b", "a", 8, residual="input"), classes=8),
            "layer 'b': residual 'input' must have the shape",
        ),
        (
            lambda: network(conv(), conv("b", "a", stride=(2, 1), residual="input")),
            "layer 'b': residual 'input' must have the shape [4, 3, 6], not [4, 6, 6]",
        ),
        (
            lambda: network(conv(), conv("b", "input")),
            "layer 'a': its output must be read by a later layer",
        ),
        (lambda: network(conv(), classes=3), "classes must name each of the 4 channels"),
        (
            lambda: network(Layer(name="s", op="shuffle", input="input", out_channels=4, groups=2)),
            "op of the last layer",
        ),
    ],
)
def test_broken_rules_are_named(make: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        make()
    assert message in str(caught.value)


def test_shuffle_is_shufflenets() -> None:
    channels, groups = 12, 3
    x = np.arange(channels)
    assert (
        list(shuffle_order(channels, groups))
        == x.reshape(groups, channels // groups).T.ravel().tolist()
    )


def test_macs_of_a_small_network() -> None:
    assert macs(network(conv(kernel=(3, 3), padding=(1, 1)), conv("b", "a", groups=4))) == 36 * (
        4 * 9 * 4 + 4
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weight": np.zeros((4, 4, 3, 3), int)},
            "a.weight must have shape [4, 4, 1, 1] as design.json says, not [4, 4, 3, 3]",
        ),
        ({"weight": np.full((4, 4, 1, 1), 8)}, "a.weight must lie in -8..7"),
        ({"bias": None}, "a.bias must be present"),
        ({"m": np.full(4, 1 << 16)}, "a.m must lie in 0..65535"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    good = {"weight": np.zeros((4, 4, 1, 1), int), "bias": np.zeros(4, int), "m": np.ones(4, int)}
    with pytest.raises(BundleError) as caught:
        check_weights(network(conv(weight_bits=4)), {"a": LayerWeights(**{**good, **change})})
    assert message in str(caught.value)


def test_images_outside_the_range_are_refused() -> None:
    weights = {
        "a": LayerWeights(
            weight=np.zeros((4, 4, 1, 1), int), bias=np.zeros(4, int), m=np.ones(4, int)
        )
    }
    with pytest.raises(DataError, match=r"must lie in 0\.\.255"):
        evaluate(network(conv()), weights, np.full((1, 4, 6, 6), 256))
