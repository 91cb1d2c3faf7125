"""Folding keeps the trained network; integers are the nearest to its numbers, which exact fractions
check.
"""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from autonba import golden
from autonba.errors import BundleError
from autonba.search.training import datasets, export, integer_check, reference, train


def test_folding_keeps_the_trained_network(trained, digits):
    """Batch norm folded: nearly every image is classified as in training, whose float32 rounds a
    little differently.
    """
    network, model, folded = trained
    same = (
        reference.predict(network, folded, digits.test.images, quantized=True)
        == train.predictions(model, digits.test, True).numpy()
    )
    assert same.mean() > 0.98
    real = export.fold(model, False)
    assert (
        reference.predict(network, real, digits.test.images, quantized=False)
        == train.predictions(model, digits.test, False).numpy()
    ).all()


def test_classifier_has_one_scale(trained):
    _, _, folded = trained
    assert len(np.unique(folded["classifier"].weight_scale)) == 1


def test_arrays_round_trip_and_missing_one_is_named(trained):
    network, _, folded = trained
    arrays = export.to_arrays(folded, "quantized")
    again = export.from_arrays(arrays, "quantized", network)
    assert all(np.array_equal(again[n].weight, folded[n].weight) for n in folded)
    del arrays["quantized.head.bias"]
    with pytest.raises(BundleError, match=r"quantized\.head\.bias"):
        export.from_arrays(arrays, "quantized", network)


def nearest_fields(ratios, residual):
    """m, r and s as docs/bundle-format.md has them: nearest integers, largest shift to 40, m <
    2^16, r < 2^24; in fractions.
    """

    def rounded(ratio, shift):
        return math.floor(Fraction(ratio) * 2**shift + Fraction(1, 2))

    shift = max(
        s for s in range(41) if rounded(max(ratios), s) < 2**16 and rounded(residual, s) < 2**24
    )
    return [max(1, rounded(ratio, shift)) for ratio in ratios], rounded(residual, shift), shift


def test_multipliers_are_the_nearest_at_the_largest_shift():
    rng = np.random.default_rng(0)
    for number in range(200):
        ratios = 2.0 ** rng.uniform(-14, 3, size=rng.integers(1, 9))
        residual = 0.0 if number % 2 else float(2.0 ** rng.uniform(-6, 9))
        found = export.multipliers(ratios, residual)
        assert (found.m.tolist(), found.r, found.s) == nearest_fields(ratios.tolist(), residual)
    assert export.multipliers(np.array([2.0**-30]), 0.0).s == 40


@pytest.mark.parametrize("fault", ["m", "m of the pool", "shift", "residual", "bias", "weight"])
def test_integers_that_are_not_the_nearest_are_refused(trained, fault):
    network, _, folded = trained
    whole, weights = export.integers(network, folded)
    integer_check.check_nearest(whole, folded, weights)
    adds = next(layer for layer in whole.layers if layer.residual is not None)
    layer = whole.layers[-2] if fault == "m of the pool" else adds
    own = weights[layer.name]
    if fault in ("m", "m of the pool"):
        own = replace(own, m=own.m - 1)
    elif fault == "shift":
        real, half = (
            reference.trained_constants(network, folded)[layer.name],
            2.0 ** (layer.shift - 1),
        )
        own = replace(own, m=np.floor(real.ratio * half + 0.5).astype(np.int64))
        layer = replace(
            layer,
            shift=layer.shift - 1,
            residual_multiplier=math.floor(real.residual_ratio * half + 0.5),
        )
    elif fault == "residual":
        layer = replace(layer, residual_multiplier=layer.residual_multiplier - 1)
    else:
        own = replace(own, **{fault: getattr(own, fault) - np.sign(getattr(own, fault))})
    spoilt = replace(
        whole, layers=tuple(layer if old.name == layer.name else old for old in whole.layers)
    )
    rule = {"m of the pool": "m", "residual": "residual_multiplier"}.get(fault, fault)
    with pytest.raises(AssertionError, match=f"layer '{layer.name}': .*{rule} must be"):
        integer_check.check_nearest(spoilt, folded, {**weights, layer.name: own})


def test_truncated_multipliers_are_refused(trained, monkeypatch):
    network, _, folded = trained
    right = export.multipliers

    def truncating(ratio_O, residual_ratio):
        found = right(ratio_O, residual_ratio)
        return replace(found, m=np.maximum(np.floor(ratio_O * 2.0**found.s), 1).astype(np.int64))

    monkeypatch.setattr(export, "multipliers", truncating)
    whole, weights = export.integers(network, folded)
    with pytest.raises(AssertionError, match="every m must be the integer nearest"):
        integer_check.check_nearest(whole, folded, weights)


def test_golden_images_of_all_classes_show_a_single_weight_off_by_one(trained, digits):
    """20 images, the classes in turn, see nearly every change; 4 of one class, as a class-sorted
    folder begins, miss many.
    """
    network, _, folded = trained
    whole, weights = export.integers(network, folded)
    test = digits.test
    chosen = {
        "spread": datasets.in_turn(test.labels, 20),
        "one class": np.flatnonzero(test.labels == 0)[:4],
    }
    images = {name: test.images[index].astype(np.int64) for name, index in chosen.items()}
    before = {name: golden.evaluate(whole, weights, own) for name, own in images.items()}
    rng, seen = np.random.default_rng(0), dict.fromkeys(images, 0)
    convolutions = [layer.name for layer in whole.layers if layer.op == "conv"]
    for _ in range(60):
        name = convolutions[rng.integers(len(convolutions))]
        weight = weights[name].weight.copy()
        place = rng.integers(weight.size)
        weight.flat[place] -= 1 if weight.flat[place] > 0 else -1
        changed = {**weights, name: replace(weights[name], weight=weight)}
        for kind, own in images.items():
            after = golden.evaluate(whole, changed, own)
            seen[kind] += any(
                not np.array_equal(after[layer.name], before[kind][layer.name])
                for layer in whole.layers
            )
    assert seen["spread"] >= 0.9 * 60
    assert seen["spread"] >= 1.2 * seen["one class"]
