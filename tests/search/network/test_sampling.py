"""Single-path forward, multi-path backward; soft and hard bitwidths."""

import pytest
import torch

from autonba.search.gumbel import Annealing
from autonba.search.network import sampling, spaces
from autonba.search.network.supernet import Supernet
from autonba.search.training.quantizers import quantize_activation, quantize_weight

SPACE = """
[network]
stem = { channels = 4, kernel = 3, stride = 1 }
head = 8
fixed_bits = 8
bits = [4, 6, 8]
operators = ["k3_e1", "k5_e3", "k3_e1_g2", "skip"]
[[network.stages]]
channels = 4
blocks = 1
stride = 1
[[network.stages]]
channels = 8
blocks = 1
stride = 2
[search]
accuracy_weight = 1.0
cycles_weight = 0.1
memory_weight = 0.1
"""


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Supernet(spaces.parse("toy", SPACE), (1, 6, 6), ["a", "b", "c"])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_paths_are_one_hot_forward_and_reach_exactly_k_logits():
    alpha = torch.tensor([0.0, 2.0, 1.0, -3.0], requires_grad=True)
    paths = sampling.draw_paths(alpha, 2, 1.0, generator())
    assert paths.weight.tolist() == pytest.approx([1.0, 0.0])
    (paths.weight * torch.tensor([1.0, 3.0])).sum().backward()
    assert {i for i in range(4) if alpha.grad[i] != 0} == set(paths.index)


def test_draws_follow_the_logits():
    alpha = torch.tensor([0.0, 1.0, 2.0]).log_softmax(0)
    g = generator()
    first = torch.tensor([sampling.draw_paths(alpha, 2, 1.0, g).index[0] for _ in range(4000)])
    share = torch.bincount(first, minlength=3) / 4000
    assert torch.allclose(share, alpha.exp(), atol=0.03)


def test_mass_of_the_k_logits_is_kept():
    before = torch.tensor([0.3, -1.0, 2.0, 0.5])
    after = before.clone()
    after[torch.tensor([2, 0])] += torch.tensor([0.7, -0.4])
    after[1] += 0.3  # as Adam's momentum does
    sampling.keep_mass(after, before, (2, 0))
    chosen = torch.tensor([0, 2])
    assert torch.logsumexp(after[chosen], 0) == pytest.approx(
        float(torch.logsumexp(before[chosen], 0)), abs=1e-6
    )
    assert after[1] == before[1]
    assert after[3] == before[3]
    assert after[2] - after[0] == pytest.approx(
        float(before[2] - before[0]) + 1.1, abs=1e-6
    )  # the difference was learnt


def test_soft_is_soft_and_hard_is_one_hot_with_gradient():
    logits = torch.zeros(3, requires_grad=True)
    soft = sampling.soft_sample(logits, 2.0, generator())
    assert (soft > 0).all()
    assert soft.sum().item() == pytest.approx(1.0)
    hard = sampling.hard_sample(logits, 2.0, generator())
    assert sorted(round(v, 6) for v in hard.tolist()) == [0.0, 0.0, 1.0]
    (hard * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    assert (logits.grad != 0).all()


def test_forward_is_the_drawn_path_alone(net):
    """The other paths change gradients of alpha, not logits."""
    net.eval()
    x = torch.rand(4, 1, 6, 6)
    many = net.draw(paths=2, how="hard", for_weights=False, temperature=1.0, generator=generator())
    one = type(many)(
        paths=tuple(sampling.Paths(index=p.index[:1], weight=p.weight[:1]) for p in many.paths),
        bits=tuple(b[:1] for b in many.bits),
    )
    assert torch.allclose(net(x, many), net(x, one), atol=1e-5)


def test_backward_reaches_k_alphas_but_the_weights_of_one_path(net):
    draw = net.draw(paths=2, how="hard", for_weights=False, temperature=1.0, generator=generator(3))
    net(torch.rand(8, 1, 6, 6), draw).square().sum().backward()
    for n, paths in enumerate(draw.paths):
        assert {i for i in range(4) if net.alpha.grad[n, i] != 0} == set(paths.index)
        for i, path in enumerate(net.blocks[n]):
            touched = any(
                p.grad is not None and bool((p.grad != 0).any()) for p in path.parameters()
            )
            assert touched == (i == paths.index[0] and bool(path.chain))


def test_bitwidths_of_the_drawn_operator_get_gradients(net):
    draw = net.draw(paths=1, how="hard", for_weights=False, temperature=1.0, generator=generator(5))
    net(torch.rand(8, 1, 6, 6), draw).square().sum().backward()
    for n, paths in enumerate(draw.paths):
        used = bool(net.blocks[n][paths.index[0]].chain)
        assert bool((net.beta.grad[n, paths.index[0]] != 0).all()) == used
        others = [i for i in range(4) if i != paths.index[0]]
        assert (net.beta.grad[n, others] == 0).all()


def test_soft_bits_mix_tensors_and_hard_bits_choose_one(net):
    net.eval()
    layer = net.blocks[0][0].own["b0_expand"]
    layer.extent.fill_(2.0)
    x = torch.rand(2, 4, 6, 6)
    eye = torch.eye(3)
    soft = torch.tensor([0.2, 0.3, 0.5])
    w = sum(
        s * sampled
        for s, sampled in zip(soft, [_weights(layer, b) for b in (4, 6, 8)], strict=True)
    )
    y = torch.relu(layer.norm(torch.nn.functional.conv2d(x, w)))
    wanted = sum(
        s * quantize_activation(y, torch.tensor(2.0 / (2**b - 1)), b, False)
        for s, b in zip(soft, (4, 6, 8), strict=True)
    )
    assert torch.allclose(layer(x, None, soft), wanted, atol=1e-6)
    hard = [layer(x, None, eye[j]) for j in range(3)]
    assert len(hard[0].unique()) <= 16
    assert not torch.allclose(hard[0], hard[2])


def _weights(layer, bits):
    return quantize_weight(layer.conv.weight, bits)


@pytest.mark.parametrize(
    ("how", "for_weights", "one_hot"),
    [
        ("heterogeneous", True, False),
        ("heterogeneous", False, True),
        ("hard", True, True),
        ("hard", False, True),
        ("soft", True, False),
        ("soft", False, False),
        ("random-hard", True, True),
        ("random-hard", False, True),
    ],
)
def test_bitwidths_are_soft_or_hard_as_the_variant_says(how, for_weights, one_hot):
    b = sampling.sample_bits(
        torch.zeros(3), how, for_weights=for_weights, temperature=2.0, generator=generator(1)
    )
    assert b.sum().item() == pytest.approx(1.0)
    assert (max(b.tolist()) == pytest.approx(1.0)) == one_hot


def test_random_bitwidths_ignore_the_logits():
    g, logits = generator(2), torch.tensor([50.0, 0.0])
    share = sum(float(sampling.random_sample(logits, g)[0]) for _ in range(400)) / 400
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("shape", ["exponential", "linear", "cosine"])
def test_temperature_falls_from_first_to_last(shape):
    annealing = Annealing(first=5.0, last=0.5, shape=shape)
    steps = [annealing.at(n / 10) for n in range(11)]
    assert steps[0] == pytest.approx(5.0)
    assert steps[-1] == pytest.approx(0.5)
    assert steps == sorted(steps, reverse=True)
    assert Annealing(first=2.0, shape="constant").at(0.7) == 2.0


@pytest.mark.parametrize("temperature", [0.3, 5.0])
def test_the_temperature_sharpens_a_draw_and_does_not_choose_it(temperature):
    """The largest weight follows the logits at every temperature; how much larger it is follows the
    temperature.
    """
    logits = torch.tensor([0.0, 1.0, 2.0]).log_softmax(0)
    g = generator()
    draws = torch.stack([sampling.soft_sample(logits, temperature, g) for _ in range(4000)])
    share = torch.bincount(draws.argmax(1), minlength=3) / 4000
    assert torch.allclose(share, logits.exp(), atol=0.03)
    hard = torch.stack([sampling.hard_sample(logits, temperature, g) for _ in range(4000)]).mean(0)
    assert torch.allclose(hard, logits.exp(), atol=0.03)
    assert (float(draws.amax(1).mean()) > 0.8) == (temperature < 1)
