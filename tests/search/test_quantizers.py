"""Fake quantization equals the integer arithmetic."""

import numpy as np
import pytest
import torch

from autonba.arithmetic import Requantization, value_range
from autonba.search.export import multipliers
from autonba.search.quantizers import (
    mix_activation,
    mix_weight,
    quantize_activation,
    quantize_weight,
    round_half_up,
    scale_gradient,
    weight_scale,
)


def test_rounds_half_up_with_straight_gradient():
    x = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.4], requires_grad=True)
    y = round_half_up(x)
    assert y.tolist() == [-1.0, 0.0, 1.0, 2.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0] * 5


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_weights_are_integers_of_each_channel_scale(bits):
    w = (
        torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1, 2, 4, 8, 16.0])[:, None, None, None]
    )
    scale = weight_scale(w, bits)[:, None, None, None]
    units = quantize_weight(w, bits) / scale
    assert torch.allclose(units, units.round(), atol=1e-4)
    assert (units.abs().flatten(1).amax(1).round() == value_range(bits, True)[1]).all()
    assert len(weight_scale(w, bits, per_tensor=True).unique()) == 1


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_activation_equals_requantizer(bits, signed):
    """Scaling by m / 2^s and rounding in real numbers is what the integer requantizer does."""
    rng = np.random.default_rng(1)
    acc = rng.integers(-5000, 5000, (50, 4))
    found = multipliers(np.array([0.01, 0.037, 0.002, 0.05]), 0.0)
    exact = Requantization(shift=found.s, residual_multiplier=0, bits=bits, signed=signed).compute(acc, found.m)
    real = torch.as_tensor(acc * found.m * 2.0**-found.s)
    fake = quantize_activation(real, torch.tensor(1.0, dtype=torch.float64), bits, signed)
    assert np.array_equal(exact, fake.numpy())


def test_multipliers_fit_their_widths_and_are_close():
    ratio = np.array([0.9, 0.01, 1e-6])
    found = multipliers(ratio, 200.0)
    assert found.m.max() < 1 << 16
    assert found.m.min() >= 1
    assert found.r < 1 << 24
    assert 0 <= found.s <= 40
    assert found.r / 2**found.s == pytest.approx(200.0, rel=1e-4)
    assert found.m[0] / 2**found.s == pytest.approx(0.9, rel=1e-4)


def test_scale_gradient_keeps_the_value_and_scales_the_gradient():
    scale = torch.tensor(0.3, requires_grad=True)
    scaled = scale_gradient(scale, 0.1)
    scaled.backward()
    assert scaled.item() == pytest.approx(0.3)
    assert scale.grad.item() == pytest.approx(0.1)


def reference(x, scale, bits, signed):
    """Straight-through quantization made of ordinary operations."""
    low, high = value_range(bits, signed)
    return round_half_up((x / scale).clamp(low, high)) * scale


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_mixed_activation_has_the_values_and_gradients_of_the_weighted_sum(signed, soft):
    bits = (2, 4, 8)
    base = torch.randn(4, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    results = []
    for mixed in (True, False):
        x = base.clone().requires_grad_()
        scales = torch.tensor([0.5, 0.11, 0.013], dtype=torch.float64, requires_grad=True)
        b = torch.tensor([0.2, 0.5, 0.3] if soft else [0.0, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
        if mixed:
            y = mix_activation(x, scales, bits, b, signed)
        else:
            y = sum(b[j] * reference(x, scales[j], bits[j], signed) for j in range(3))
        (y * torch.arange(20.0).reshape(4, 5)).sum().backward()
        results.append([y.detach(), x.grad, scales.grad, b.grad])
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)


def test_mixed_weight_has_the_values_and_gradients_of_the_weighted_sum():
    base = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    g = torch.randn(base.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    b = torch.tensor([0.25, 0.75], dtype=torch.float64, requires_grad=True)
    w = base.clone().requires_grad_()
    mixed = mix_weight(w, (4, 8), b)
    (mixed * g).sum().backward()
    own = [quantize_weight(base, bits) for bits in (4, 8)]
    assert torch.allclose(mixed, 0.25 * own[0] + 0.75 * own[1])
    assert torch.allclose(w.grad, g)
    assert torch.allclose(b.grad, torch.stack([(g * part).sum() for part in own]))


def saved_bytes(count):
    """Bytes that autograd keeps of a mixture of `count` bitwidths."""
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    x = torch.randn(1000).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        mix_activation(x * 1.0, torch.full((count,), 0.1), tuple(range(2, 2 + count)), torch.full((count,), 0.2), True)
    return total


def test_memory_of_a_mixture_does_not_grow_with_the_number_of_bitwidths():
    assert saved_bytes(5) <= 1.1 * saved_bytes(1)
