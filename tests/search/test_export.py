"""The integer network equals the fake-quantized one on every element, and damaged arithmetic is seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autonba import golden
from autonba.errors import BundleError
from autonba.search import datasets, export, spaces, train
from autonba.search.spaces import Choice

BLOCKS = (
    ("k3_e1", 6),
    ("k3_e1_g2", 4),
    ("k5_e1", 8),
    ("skip", 4),
    ("k3_e1_g2", 6),
)  # residuals, groups, shuffle, strided skip


@pytest.fixture(scope="module")
def data():
    return datasets.digits()


@pytest.fixture(scope="module")
def trained(data):
    """A small network, trained a little."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    space = spaces.load("digits")
    network = spaces.network(space, [Choice(operator=o, bits=b) for o, b in BLOCKS], data.shape, data.classes)
    model = train.Model(network)
    losses = [e["loss"] for e in train.fit(model, data.train, train.Recipe(epochs=8), seed=0)]
    torch.set_num_threads(threads)
    assert losses[-1] < losses[0]
    return network, model, export.fold(model, True)


def test_integers_equal_the_fake_quantized_network(trained, data):
    network, _, folded = trained
    whole, weights = export.integers(network, folded)
    golden.check_weights(whole, weights)
    assert export.mismatches(whole, folded, weights, data.test.images) == 0
    assert np.array_equal(
        golden.predict(whole, weights, data.test.images),
        export.predict_folded(whole, folded, data.test.images, quantized=True),
    )


def test_planted_fault_is_counted(trained, data):
    network, _, folded = trained
    whole, weights = export.integers(network, folded)
    name = "b2_project"
    own = weights[name]
    bad = {**weights, name: replace(own, bias=own.bias + (own.bias * 0 + 7))}
    assert export.mismatches(whole, folded, bad, data.test.images[:50]) > 0
    layers = tuple(replace(lay, residual_multiplier=lay.residual_multiplier // 2) for lay in whole.layers)
    assert export.mismatches(replace(whole, layers=layers), folded, weights, data.test.images[:50]) > 0


def test_folding_keeps_the_trained_network(trained, data):
    """Batch norm folded, integers: nearly every image is classified as in training, whose float32 rounds a little differently."""
    network, model, folded = trained
    same = (
        export.predict_folded(network, folded, data.test.images, quantized=True)
        == train.predictions(model, data.test, True).numpy()
    )
    assert same.mean() > 0.93
    real = export.fold(model, False)
    assert (
        export.predict_folded(network, real, data.test.images, quantized=False)
        == train.predictions(model, data.test, False).numpy()
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
