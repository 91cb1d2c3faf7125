"""How far the integer network is from the trained one, and whether the integers are what they
should be.

Rounding biases and scale ratios changes the network: `compare` counts by how much, and it is
reported, whatever it is. What must
never be is checked and raised: integers that are not the nearest to the trained numbers, and a
golden model that gives another result for them than an evaluation written apart from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.arithmetic import (
    LOGIT_BITS,
    MAX_SHIFT,
    MULTIPLIER_BITS,
    RESIDUAL_MULTIPLIER_BITS,
    IntArray,
    value_range,
)
from autonba.golden import BATCH, Weights, evaluate
from autonba.network import Layer, Network

from .export import FoldedNetwork
from .reference import (
    Constants,
    Images,
    classes_of,
    evaluate_quantized,
    integer_constants,
    trained_constants,
)
from .train import Tick

SAMPLE = (
    1000  # images, at most, of the evaluations beside the integer and the fake-quantized network's
)
# of a digit: how far beyond one half float64's own rounding may take a number that is rounded to
# the nearest
TIE = 1e-6
Results = Mapping[str, npt.NDArray[Any]]


@dataclass(kw_only=True)
class Difference:
    """Where a network differs from the fake-quantized one: counted over every element of every
    rounded map.
    """

    images: int = 0
    elements: int = 0
    differing_elements: int = 0
    largest_difference: int = 0  # digits
    differing_predictions: int = 0

    def add(self, network: Network, reference: Results, other: Results) -> None:
        """Count a batch. Logits are sums that nothing rounds; of them the classes are compared."""
        for layer in network.layers:
            if not layer.raw:
                apart = np.abs(reference[layer.name] - other[layer.name])
                self.elements += apart.size
                self.differing_elements += int(np.count_nonzero(apart))
                self.largest_difference = max(self.largest_difference, int(apart.max(initial=0)))
        last = network.layers[-1].name
        self.images += len(reference[last])
        self.differing_predictions += int(
            (classes_of(reference[last]) != classes_of(other[last])).sum()
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Classes (N,) of the integer and of the fake-quantized network, and where the two differ.

    `causes`: what one rounding alone would change, on the first SAMPLE images.
    """

    integer: IntArray
    quantized: IntArray
    difference: Difference
    causes: Mapping[str, Difference]

    def facts(self) -> dict[str, Any]:
        """For report/search.json."""
        return {
            **vars(self.difference),
            "by_cause": {name: vars(own) for name, own in self.causes.items()},
        }


def compare(
    network: Network,
    folded: FoldedNetwork,
    weights: Weights,
    images: Images,
    tick: Tick = lambda done: None,
) -> Comparison:
    """The integer network beside the fake-quantized one it came from, on uint8 images (N, C, H, W).

    Raises AssertionError where the golden model and `evaluate_quantized` disagree about the same
    integers, on the first SAMPLE images; `images` should begin with all classes.
    """
    trained, rounded = trained_constants(network, folded), integer_constants(network, weights)
    single = {
        "rounded_biases": {n: replace(own, bias=rounded[n].bias) for n, own in trained.items()},
        "rounded_multipliers": {
            n: replace(own, ratio=rounded[n].ratio, residual_ratio=rounded[n].residual_ratio)
            for n, own in trained.items()
        },
    }
    difference, causes = Difference(), {name: Difference() for name in single}
    last, whole, fake = network.layers[-1].name, [], []
    for first in range(0, len(images), BATCH):
        part = images[first : first + BATCH]
        integer = evaluate(network, weights, part.astype(np.int64))
        quantized = evaluate_quantized(network, trained, part)
        difference.add(network, quantized, integer)
        whole.append(classes_of(integer[last]))
        fake.append(classes_of(quantized[last]))
        if first < SAMPLE:
            _check_same(network, integer, evaluate_quantized(network, rounded, part))
            for name, constants in single.items():
                causes[name].add(network, quantized, evaluate_quantized(network, constants, part))
        tick(min(1.0, (first + BATCH) / len(images)))
    return Comparison(
        integer=np.concatenate(whole),
        quantized=np.concatenate(fake),
        difference=difference,
        causes=causes,
    )


def _check_same(network: Network, golden: Results, other: Results) -> None:
    for layer in network.layers:
        wrong = int(np.count_nonzero(golden[layer.name] != other[layer.name]))
        if wrong:
            raise AssertionError(
                f"layer {layer.name!r}: the golden model and the evaluation in real numbers must"
                f" agree about the same integers, and {wrong} elements differ"
            )


def check_nearest(network: Network, folded: FoldedNetwork, weights: Weights) -> None:
    """Raise AssertionError unless every integer is the nearest to its trained number, at the
    largest shift that fits.

    Weights and biases may also stand at the end of their range, and a multiplier at 1. Nothing that
    chose them is used.
    """
    trained = trained_constants(network, folded)
    for layer in network.layers:
        if layer.op == "shuffle":
            continue
        own, real = weights[layer.name], trained[layer.name]
        if layer.op == "conv":
            exact = folded[layer.name].weight / folded[layer.name].weight_scale[:, None, None, None]
            high = value_range(layer.weight_bits, True)[1]
            _check_rounded(layer, "weight", own.weight, exact, (-high, high))
            assert real.bias is not None
            low, high = value_range(LOGIT_BITS, True)
            _check_rounded(layer, "bias", own.bias, real.bias, (low // 4, high // 4))
        if not layer.raw:
            _check_multipliers(layer, own.m, real)


def _check_rounded(
    layer: Layer,
    field: str,
    integers: IntArray | None,
    exact: npt.NDArray[np.float64],
    limits: tuple[int, int],
) -> None:
    assert integers is not None
    low, high = limits
    off = np.abs(integers - np.clip(exact, low, high))
    if off.max(initial=0.0) > 0.5 + TIE:
        raise AssertionError(
            f"layer {layer.name!r}: each {field} must be the nearest integer, not {off.max():g}"
            " digits off"
        )


def _check_multipliers(layer: Layer, m: IntArray | None, real: Constants) -> None:
    """In exact fractions: m and r nearest to ratio * 2^s, and no larger s at which both would fit
    their fields.
    """
    assert m is not None
    assert real.ratio is not None
    ratios, residual = (
        [Fraction(float(ratio)) for ratio in real.ratio],
        Fraction(real.residual_ratio),
    )
    where, half = f"layer {layer.name!r}", Fraction(1, 2)

    def nearest(ratio: Fraction, shift: int) -> int:
        return math.floor(ratio * (1 << shift) + half)

    if list(map(int, m)) != [max(1, nearest(ratio, layer.shift)) for ratio in ratios]:
        raise AssertionError(
            f"{where}: every m must be the integer nearest to its ratio * 2^{layer.shift}, and one"
            " is not"
        )
    if layer.residual_multiplier != nearest(residual, layer.shift):
        raise AssertionError(
            f"{where}: residual_multiplier must be the integer nearest to its ratio *"
            f" 2^{layer.shift}"
        )
    fits = nearest(max(ratios), layer.shift + 1) < 2**MULTIPLIER_BITS
    if (
        layer.shift < MAX_SHIFT
        and fits
        and nearest(residual, layer.shift + 1) < 2**RESIDUAL_MULTIPLIER_BITS
    ):
        raise AssertionError(
            f"{where}: shift must be the largest with which m and r fit, and {layer.shift + 1}"
            " fits too"
        )
