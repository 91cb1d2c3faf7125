"""Steps that are turned away from violated limits."""

import pytest
import torch

from autonba.search.network.corrections import Pull, corrected, least_change


def test_least_change_is_the_nearest_vector_that_falls():
    """Against one constraint, the projection in closed form; against two, every condition of an
    optimum.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        step, one, two = (torch.randn(5, generator=generator) for _ in range(3))
        found = least_change(step, [one], [0.3])
        missing = max(0.0, float(step @ one) + 0.3)
        assert torch.allclose(found, step - missing / float(one @ one) * one, atol=1e-6)
        both = least_change(step, [one, two], [0.3, 0.1])
        assert float(both @ one) <= -0.3 + 1e-4
        assert float(both @ two) <= -0.1 + 1e-4
        weights = torch.linalg.lstsq(torch.stack([one, two], 1), (step - both)[:, None]).solution[
            :, 0
        ]
        assert torch.allclose(torch.stack([one, two], 1) @ weights, step - both, atol=1e-4)
        assert float(weights.min()) > -1e-4
        for weight, slope, fall in zip(weights, (one, two), (0.3, 0.1), strict=True):
            assert float(weight) < 1e-3 or abs(float(both @ slope) + fall) < 1e-3


def test_a_step_that_already_falls_and_a_flat_cost_change_nothing():
    step = torch.tensor([-1.0, 0.5])
    assert torch.equal(least_change(step, [torch.tensor([1.0, 0.0])], [0.5]), step)
    assert torch.equal(least_change(step, [torch.zeros(2)], [0.5]), step)


def test_pull_grows_while_violated_and_forgets():
    pull = Pull(first=0.1, growth=0.5, most=0.2)
    strengths = []
    for ratio in (1.2, 1.2, 1.2, 1.0, 1.2):
        pull.update({"cycles": ratio, "energy": 0.9})
        strengths.append(pull.strength.get("cycles"))
    assert strengths == pytest.approx([0.1, 0.15, 0.2, None, 0.1])
    assert "energy" not in pull.strength


def test_a_corrected_step_makes_the_violated_cost_fall():
    before = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
    now = [p + torch.tensor(0.5) for p in before]
    for p in now:
        p.requires_grad_()
    costs = {"cycles": 2 * now[0].sum() + now[1].sum(), "energy": -now[1].sum()}
    corrected(now, before, costs, Pull(strength={"cycles": 0.1, "latency": 0.4}))
    change = 2 * (now[0] - before[0]).sum() + (now[1] - before[1]).sum()
    assert float(change) == pytest.approx(-0.1 * 3.0, abs=1e-5)  # the pull times the slope's length
    untouched = [p.detach().clone() for p in now]
    corrected(now, before, costs, Pull())
    assert all(torch.equal(a, b) for a, b in zip(now, untouched, strict=True))
