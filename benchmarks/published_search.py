"""The two searches that Auto-NBA's authors publish with their cost model, restated; see
`published_model` for the source.

Both look at one accelerator at a time and drop what exceeds the budget. Here random samples are
drawn in batches, and a step of the differentiable search is a few NumPy calls, so their speed is
not that of the authors' code.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.published_model import CLOCK, FACTORS, WIDEST, Published

TILE = slice(1, 5)  # of FACTORS
UNROLL = slice(5, 9)


def frames_per_second(problem: Published, choice: np.ndarray) -> np.ndarray:
    """Of candidates (B, F); 0 where they exceed the budget."""
    costs = problem.evaluate(torch.from_numpy(choice))
    return np.where(problem.goal.feasible(costs).numpy(), CLOCK / costs.cycles.numpy(), 0.0)


def random_as_published(problem: Published, *, samples: int, seed: int) -> float:
    """The best of accelerators whose tiles are drawn uniformly, and then the unrolled parts among
    those that fit the tiles.
    """
    rng = np.random.default_rng(seed)
    sizes = np.reshape(problem.sizes, (-1, len(FACTORS)))
    best = 0.0
    for start in range(0, samples, 10_000):
        count = min(10_000, samples - start)
        choice = (rng.random((count, *sizes.shape)) * sizes).astype(np.int64)
        tile = choice[:, :, TILE]  # choices count from the largest value down
        choice[:, :, UNROLL] = tile + (rng.random(tile.shape) * (sizes[:, TILE] - tile)).astype(
            np.int64
        )
        best = max(best, float(frames_per_second(problem, choice.reshape(count, -1)).max()))
    return best


def differentiable_as_published(problem: Published, *, steps: int, rate: float, seed: int) -> float:
    """One hard Gumbel-softmax sample a step; Adam on latency times the product of the chosen
    factors' soft samples.

    The product is 1 in the forward pass. Their learning rate is 1e-7; betas 0.5 and 0.999,
    temperature 1.
    """
    rng = np.random.default_rng(seed)
    sizes = np.reshape(problem.sizes, (-1, len(FACTORS)))
    index = np.arange(WIDEST)
    absent = index >= sizes[:, :, None]
    logits = np.full(absent.shape, 1e-3)
    mean, square, updates, best = np.zeros_like(logits), np.zeros_like(logits), 0, 0.0
    for _ in range(steps):
        noisy = np.where(absent, -np.inf, logits - np.log(-np.log(rng.random(logits.shape))))
        tile = noisy[:, TILE].argmax(-1)
        noisy[:, UNROLL][
            index < tile[:, :, None]
        ] = -np.inf  # no more is unrolled than the tile holds
        choice = noisy.argmax(-1)
        fps = float(frames_per_second(problem, choice.reshape(1, -1))[0])
        if not fps:
            continue
        best = max(best, fps)
        soft = np.exp(noisy - noisy.max(-1, keepdims=True))
        soft /= soft.sum(-1, keepdims=True)
        chosen = index == choice[:, :, None]
        slope = (soft * chosen).sum(-1, keepdims=True) * (chosen - soft) / fps  # latency in seconds
        updates += 1
        mean, square = 0.5 * mean + 0.5 * slope, 0.999 * square + 0.001 * slope**2
        logits = logits - rate * (mean / (1 - 0.5**updates)) / (
            np.sqrt(square / (1 - 0.999**updates)) + 1e-8
        )
    return best
