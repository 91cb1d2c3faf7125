"""Layers of the supernet."""

import pytest
import torch

from autonba.network import Layer
from autonba.network import Tensor as Map
from autonba.search.network.supernet import MixedLayer


def test_the_extent_is_a_slow_mean_of_the_batches_largest():
    layer = Layer(name="pool", op="global_pool", input="input", out_channels=1)
    mixed = MixedLayer(
        layer, Map(name="input", channels=1, height=2, width=2, bits=8, signed=False), [8]
    ).train()
    for value in (4.0, 8.0):
        mixed(torch.full((2, 1, 2, 2), value), None, torch.ones(1))
    assert float(mixed.extent) == pytest.approx(0.9 * 4.0 + 0.1 * 8.0)
    mixed.eval()
    mixed(torch.full((2, 1, 2, 2), 99.0), None, torch.ones(1))
    assert float(mixed.extent) == pytest.approx(0.9 * 4.0 + 0.1 * 8.0)
