"""Candidates, evaluated as arrays, against plans of the same accelerators: one set of rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autonba.boards import Family, find_board
from autonba.cost.resources import estimate
from autonba.search.accelerator import candidates as cand
from autonba.search.accelerator import objectives
from autonba.search.accelerator.das import AcceleratorSearch, Target
from autonba.search.network import spaces
from autonba.search.network.spaces import Choice

BLOCKS = ("k3_e3", "k3_e1_g2", "skip", "k5_e1", "k3_e3")
DRAWN = 24
CONTROL = (
    1200  # LUT or FF of the control of a design of up to 4 chunks that the estimate may be off by
)


@pytest.mark.parametrize(
    ("family", "board"), [("ecp5", "ulx3s-85f"), ("xc7", "pynq-z2"), ("xcup", "ultra96-v2")]
)
def test_candidates_cost_what_their_plans_cost(family: Family, board: str) -> None:
    space = spaces.load("digits")
    network = spaces.network(
        space,
        [Choice(operator=o, bits=b) for o, b in zip(BLOCKS, (6, 4, 8, 6, 4), strict=True)],
        (1, 8, 8),
        [str(n) for n in range(10)],
    )
    network = replace(
        network,
        layers=tuple(
            layer if layer.residual is None else replace(layer, residual_multiplier=3 << 22)
            for layer in network.layers
        ),
    )
    place = find_board(board)
    target = Target(
        board=place,
        clock_mhz=50.0,
        goal=objectives.goal(place, 50.0, multipliers=space.hardware.multipliers),
    )
    engine = AcceleratorSearch(space=space.hardware, slots=space.slots, target=target, seed=3)
    tables = cand.tabulate(network, space.hardware, space.slots, spaces.slot_of)
    drawn = engine.random(DRAWN)
    costs = cand.evaluate(tables, space.hardware, drawn, family)
    for row in range(DRAWN):
        mapped = cand.least_plan(network, cand.accelerator(tables, space.hardware, drawn, row))
        exact = estimate(mapped, family)
        found = {name: float(values[row]) for name, values in costs.resources.items()}
        assert float(costs.cycles[row]) == mapped.bottleneck
        assert found["multipliers"] == mapped.accelerator.multipliers
        assert found["dsp"] == exact.dsp
        assert found["bram"] == pytest.approx(
            exact.bram, rel=0.15, abs=4
        )  # rows of buffer are guessed
        for kind in (
            "lut",
            "ff",
        ):  # control is estimated by a few numbers; the data path follows the same rules
            assert abs(found[kind] - getattr(exact, kind)) < 0.05 * getattr(exact, kind) + CONTROL
