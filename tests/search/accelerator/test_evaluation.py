"""The evaluation of the accelerator space is that of `plan` and `estimate`, on every sort of
network and family, and what a choice stands for is a legal accelerator.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from autonba.arithmetic import RESIDUAL_MULTIPLIER_BITS
from autonba.boards import Family
from autonba.cost.energy import energy_per_image
from autonba.cost.resources import estimate
from autonba.errors import SpecError
from autonba.mapping import plan
from autonba.network import Network
from autonba.search.accelerator.evaluation import evaluate
from autonba.search.accelerator.factors import LOOPS, OF_CHUNK, OF_LAYER, STREAMED
from autonba.search.accelerator.layers import tabulate
from autonba.search.accelerator.space import AcceleratorSpace
from autonba.sim.random_designs import random_network
from benchmarks.networks import digits, mobilenet_v2, resnet8
from tests.search.accelerator.stages.staged_network import staged_network

MOST = (1 << RESIDUAL_MULTIPLIER_BITS) - 1  # of a residual multiplier
FAMILIES: tuple[Family, ...] = ("ecp5", "xc7", "xcup")


def known_residuals(network: Network) -> Network:
    """The network with shifts, and multipliers of residuals; where they are not known, a search
    counts the most they can be.
    """
    layers = [
        replace(
            layer,
            shift=0 if layer.raw else 3 + n % 9,
            residual_multiplier=0 if layer.residual is None else 40 + 977 * n,
        )
        for n, layer in enumerate(network.layers)
    ]
    return replace(network, layers=tuple(layers))


def networks() -> dict[str, Network]:
    found = {
        "digits": digits(),
        "resnet8": resnet8(),
        "mobilenet": mobilenet_v2(),
        "staged": staged_network(),
    }
    seed = 0
    while len(found) < 24:
        seed += 1
        try:
            network = random_network(random.Random(seed))
            tabulate(network)
        except SpecError:
            continue
        found[f"random {seed}"] = network
    return {name: known_residuals(network) for name, network in found.items()}


NETWORKS = networks()


@pytest.mark.parametrize("name", NETWORKS)
def test_cycles_dsp_block_ram_and_energy_are_those_of_plan_and_estimate(name: str) -> None:
    network = NETWORKS[name]
    layers = tabulate(network)
    draw = random.Random(name)
    logic: list[tuple[float, float]] = []
    for family in FAMILIES:
        space = AcceleratorSpace(len(layers), chunks=draw.choice((2, 3, 6, 16)), streams=True)
        noise = np.random.default_rng(draw.randrange(1 << 30))
        candidates = space.legal(space.random(noise, 24), layers)
        costs = evaluate(layers, candidates, family)
        for n in range(len(candidates)):
            accelerator = space.accelerator(layers, candidates, n)
            mapped = plan(network, accelerator)
            exact = estimate(mapped, family)
            assert costs.cycles[n] == mapped.pace, n
            assert (costs.dsp[n], costs.bram[n]) == (exact.dsp, exact.bram), n
            assert costs.multipliers[n] == accelerator.multipliers
            assert costs.energy[n] == pytest.approx(energy_per_image(mapped).total)
            logic.append((costs.lut[n] / exact.lut, costs.ff[n] / exact.ff))
    assert np.abs(np.median(logic, axis=0) - 1).max() < 0.12  # a share of the control is fitted


@pytest.mark.parametrize("name", ["digits", "staged", "random 1"])
def test_the_choice_of_an_accelerator_stands_for_it(name: str) -> None:
    network = NETWORKS[name]
    layers = tabulate(network)
    space = AcceleratorSpace(len(layers), chunks=5, streams=True)
    candidates = space.legal(space.random(np.random.default_rng(3), 40), layers)
    for n in range(len(candidates)):
        accelerator = space.accelerator(layers, candidates, n)
        choice = space.choice(accelerator, layers)
        assert (choice < np.array(space.sizes)).all()
        again = space.accelerator(layers, space.legal(choice[None], layers))
        assert again.allocation == accelerator.allocation
        assert again.chunks == accelerator.chunks
        assert again.buffers == accelerator.buffers
        assert all(again.loops_of(x) == accelerator.loops_of(x) for x in accelerator.allocation)


def test_every_factor_takes_every_value() -> None:
    """Nothing in the space is decoration: legal accelerators have each value of each factor."""
    layers = tabulate(NETWORKS["digits"])
    space = AcceleratorSpace(len(layers), chunks=4, streams=True)
    candidates = space.legal(space.random(np.random.default_rng(1), 4000), layers)
    for name, values in (OF_CHUNK | OF_LAYER).items():
        assert set(np.unique(getattr(candidates, name))) == set(range(len(values))), name
    assert len(space.names) == len(space.sizes)


def test_weights_stream_only_where_the_space_lets_them() -> None:
    layers = tabulate(NETWORKS["digits"])
    space = AcceleratorSpace(len(layers), chunks=4)
    candidates = space.legal(space.random(np.random.default_rng(1), 1000), layers)
    assert candidates.loops.max() < STREAMED == len(LOOPS) - 1
    assert (evaluate(layers, candidates, "xc7").dram == 0).all()


def test_a_chunk_that_runs_nothing_is_not_built() -> None:
    layers = tabulate(NETWORKS["digits"])
    space = AcceleratorSpace(len(layers), chunks=4)
    choice = np.zeros((1, len(space.sizes)), dtype=np.int64)
    parts = space.parts(choice)
    parts["count"][:] = 3
    parts["out"][:] = [3, 7, 7, 7]
    alone = space.legal(choice, layers)
    assert len(space.accelerator(layers, alone).chunks) == 1
    parts["out"][:] = [3, 0, 0, 0]
    same = space.legal(choice, layers)
    for name in ("cycles", "dsp", "bram", "lut", "ff", "energy"):
        assert getattr(evaluate(layers, alone, "xc7"), name) == getattr(
            evaluate(layers, same, "xc7"), name
        )


def test_an_accelerator_that_is_not_of_the_space_is_refused_with_the_factor() -> None:
    layers = tabulate(NETWORKS["digits"])
    space = AcceleratorSpace(len(layers), chunks=2)
    accelerator = space.accelerator(
        layers, space.legal(np.zeros((1, len(space.sizes)), int), layers)
    )
    odd = replace(accelerator, chunks=(replace(accelerator.chunks[0], out_lanes=5),))
    with pytest.raises(SpecError, match=r"out must be one of \[1, 2, .*\], not 5"):
        space.choice(odd, layers)


def test_unknown_residual_multipliers_count_as_the_most() -> None:
    """Before training r is not known; what is built afterwards must not take more."""
    outline, layers = mobilenet_v2(), tabulate(mobilenet_v2())
    most = [
        replace(layer, residual_multiplier=MOST if layer.residual else 0)
        for layer in outline.layers
    ]
    known = tabulate(replace(outline, layers=tuple(most)))
    space = AcceleratorSpace(len(layers), chunks=3)
    drawn = space.random(np.random.default_rng(1), 50)
    unknown_costs, costs = (
        evaluate(own, space.legal(drawn, own), "xc7") for own in (layers, known)
    )
    assert (unknown_costs.dsp == costs.dsp).all()
    assert layers.residual_factor.max() == known.residual_factor.max() > 0
