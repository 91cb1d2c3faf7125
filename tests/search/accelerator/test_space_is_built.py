"""What the accelerator space holds is what the generator builds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from autonba.accelerator import Accelerator
from autonba.errors import SpecError
from autonba.hwgen.generate import generate
from autonba.mapping import plan
from autonba.network import Network
from autonba.search.accelerator.layers import tabulate
from autonba.search.accelerator.small import small_accelerator
from autonba.sim.lint import lint
from autonba.sim.random_designs import MAX_MULTIPLIERS, random_bundle, random_network

DRAWS = 80


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Network, Accelerator]]:
    found: list[tuple[Network, Accelerator]] = []
    rng = random.Random(5)
    while len(found) < DRAWS:
        try:
            network = random_network(rng)
            tabulate(network)
        except SpecError:  # one that no accelerator runs
            continue
        found.append((network, small_accelerator(rng, network, 3, MAX_MULTIPLIERS)))
    return found


def test_every_accelerator_has_a_plan(drawn: list[tuple[Network, Accelerator]]) -> None:
    for network, accelerator in drawn:
        assert plan(network, accelerator).accelerator is accelerator


def test_most_are_as_small_as_asked_for_and_every_factor_is_drawn(
    drawn: list[tuple[Network, Accelerator]],
) -> None:
    small = [a.multipliers <= MAX_MULTIPLIERS for _, a in drawn]
    assert sum(small) > 0.8 * DRAWS
    chunks = [chunk for _, a in drawn for chunk in a.chunks]
    loops = [own for _, a in drawn for own in a.loops.values()]
    assert {len(a.chunks) for _, a in drawn} == {1, 2, 3}
    assert {c.kind for c in chunks} == {"conv", "depthwise"}
    assert {c.multiplier for c in chunks} == {"lut", "dsp", "packed"}
    assert {c.taps for c in chunks} == {1, 2, 3, 5, 7}
    assert {c.columns for c in chunks} == {1, 2, 3, 4, 8}
    assert {own.weights for own in loops} == {"chip", "stream"}
    assert {own.order for own in loops} == {"pixel_outer", "block_outer"}


@pytest.mark.parametrize("seed", [3, 4])
def test_it_is_generated_and_the_linter_is_silent(seed: int, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "design", seed, 1, small_accelerator)
    generate(bundle)
    assert lint(bundle) == []
