"""Fake quantization equals the integer arithmetic."""

import numpy as np
import pytest
import torch

from autonba.arithmetic import Requantization, value_range
from autonba.search.training.export import multipliers
from autonba.search.training.quantizers import (
    PIECE,
    SCALE_SPREAD,
    initial_scale,
    mixed_activation,
    mixed_weight,
    peak,
    quantize_activation,
    quantize_weight,
    scale_gradient,
    weight_scale,
)


def plain_activation(x, scale, bits, signed):
    """The textbook chain of operations, whose gradients autograd finds."""
    low, high = value_range(bits, signed)
    x = (x if signed else x.relu()) / scale
    x = x.clamp(low, high)
    return (x + (torch.floor(x + 0.5) - x).detach()) * scale


def plain_weight(w, bits):
    scale = weight_scale(w, bits).reshape(-1, 1, 1, 1)
    return (w / scale + (torch.floor(w / scale + 0.5) - w / scale).detach()) * scale


def gradients(y, *inputs):
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(9)).to(y.dtype)
    return torch.autograd.grad((y * weight).sum(), inputs)


def close(a, b, tolerance=2e-6):
    return all(
        torch.allclose(x, y, rtol=1e-5, atol=tolerance * float(y.abs().max()))
        for x, y in zip(a, b, strict=True)
    )


def sample(shape):
    return (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()


def test_rounds_half_up_with_straight_gradient():
    x = torch.tensor([-9.0, -1.5, -0.5, 0.0, 0.5, 1.5, 2.4, 9.0], requires_grad=True)
    y = quantize_activation(x, torch.tensor(1.0), 4, True)
    assert y.tolist() == [-8.0, -1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 7.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0] + [1.0] * 6 + [0.0]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0)])
def test_activation_is_the_textbook_chain_with_its_gradients(signed, order):
    """In any order in memory, also that of channels last (0, 3, 1, 2)."""
    x, scale = sample((16, 24, 20, 20)).permute(order), torch.tensor(0.11, requires_grad=True)
    assert x.numel() > PIECE
    fast, slow = (f(x, scale, 4, signed) for f in (quantize_activation, plain_activation))
    assert torch.equal(fast, slow)
    assert fast.stride() == x.stride() or order == (3, 2, 1, 0)
    assert close(
        gradients(fast, x, scale), gradients(slow, x, scale), 1e-3
    )  # the scale's sum cancels


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("b", [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
def test_mixtures_are_sums_and_reach_every_bitwidth(signed, b):
    x, w, b_J, bits = (
        sample((2, 4, 6, 6)),
        sample((4, 2, 3, 3)),
        torch.tensor(b, requires_grad=True),
        (3, 5, 8),
    )
    extent = peak(x, signed) * 0.7
    fast = mixed_activation(x, extent, bits, signed, b_J)
    terms = [plain_activation(x, extent / value_range(n, signed)[1], n, signed) for n in bits]
    slow = sum(b * t for b, t in zip(b_J, terms, strict=True))
    assert torch.equal(fast, slow)
    assert close(gradients(fast, x, b_J), gradients(slow, x, b_J))
    fast, slow = (
        mixed_weight(w, bits, b_J),
        sum(b * plain_weight(w, n) for b, n in zip(b_J, bits, strict=True)),
    )
    assert torch.equal(fast, slow)
    assert close(gradients(fast, w, b_J), gradients(slow, w, b_J))


def test_mixtures_keep_one_map_for_backward_whatever_the_bitwidths():
    kept = []
    x = sample((2, 4, 6, 6))
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        mixed_activation(x, torch.tensor(3.0), (2, 3, 4, 6, 8), False, torch.full((5,), 0.2))
    assert sum(kept) == x.numel() + 1 + 5


def test_quantizers_stay_in_float32_under_autocast():
    x, w = sample((1, 2, 4, 4)), sample((2, 2, 3, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = torch.nn.functional.conv2d(x, quantize_weight(w, 6))
        assert y.dtype == torch.bfloat16
        q = quantize_activation(y, torch.tensor(0.1), 6, True)
    assert q.dtype == torch.float32
    assert torch.equal(q, plain_activation(y.float(), torch.tensor(0.1), 6, True))
    assert torch.equal(quantize_weight(w, 6), plain_weight(w, 6))


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
    exact = Requantization(shift=found.s, residual_multiplier=0, bits=bits, signed=signed).compute(
        acc, found.m
    )
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


def test_weights_round_half_up():
    w = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]]).reshape(1, 7, 1, 1)  # a scale of 1
    assert quantize_weight(w, 8).flatten().tolist() == [127, 1, 2, 3, 0, -1, -2]
    assert mixed_weight(w, (8, 8), torch.tensor([0.5, 0.5])).flatten().tolist() == [
        127,
        1,
        2,
        3,
        0,
        -1,
        -2,
    ]


def test_the_scale_of_a_tiny_channel_is_bounded_by_the_largest():
    w = torch.tensor([[1.0, -0.5], [1e-7, 0.0], [0.25, -0.25]]).reshape(3, 2, 1, 1)
    assert (weight_scale(w, 8) * 127).tolist() == pytest.approx([1.0, 1 / SCALE_SPREAD, 0.25])
    assert (weight_scale(w, 8, per_tensor=True) * 127).tolist() == pytest.approx([1.0] * 3)


def test_the_peak_of_a_signed_map_may_be_negative():
    x = torch.tensor([-5.0, 3.0, 0.0])
    assert float(peak(x, True)) == 5.0
    assert float(peak(-x, True)) == 5.0
    assert float(peak(x, False)) == 3.0
    assert float(peak(-x.abs(), False)) == 0.0


def test_zeros_do_not_count_for_the_first_scale():
    """A map is as large as its live values, whatever share of it ReLU or dead channels leave at
    0.
    """
    live = torch.rand(1000, generator=torch.Generator().manual_seed(1)) + 0.5
    dense = float(initial_scale(live, 4, False))
    assert dense == pytest.approx(2 * float(live.mean()) / 15**0.5, rel=1e-5)
    assert float(initial_scale(torch.cat([live, torch.zeros(9000)]), 4, False)) == pytest.approx(
        dense, rel=1e-5
    )
    assert float(
        initial_scale(torch.cat([live, torch.full((9000,), 1e-8)]), 4, False)
    ) == pytest.approx(dense, rel=1e-5)
