"""The search for a fixed network: within its limits, as fast as it says, and refused by name where
nothing fits.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.cost.buffers import LOSS, first_rows, size_buffers
from autonba.cost.schedule import Machine, steady_state
from autonba.errors import CapacityError, DeadlockError
from autonba.mapping import plan, required_buffers
from autonba.network import INPUT, Layer, Network, Tensor, macs
from autonba.search.accelerator.optimize import Limits, optimize


@pytest.fixture
def network() -> Network:
    """An inverted bottleneck with a residual, 12x12."""
    six = {"weight_bits": 6, "bits": 6}
    return Network(
        input=Tensor(name=INPUT, channels=3, height=12, width=12, bits=8, signed=False),
        layers=(
            Layer(
                name="stem",
                op="conv",
                input=INPUT,
                out_channels=16,
                kernel=(3, 3),
                padding=(1, 1),
                **six,
            ),
            Layer(name="expand", op="conv", input="stem", out_channels=48, **six),
            Layer(
                name="depthwise",
                op="conv",
                input="expand",
                out_channels=48,
                groups=48,
                kernel=(3, 3),
                padding=(1, 1),
                **six,
            ),
            Layer(
                name="project",
                op="conv",
                input="depthwise",
                out_channels=16,
                signed=True,
                residual="stem",
                **six,
            ),
            Layer(
                name="pool", op="global_pool", input="project", out_channels=16, bits=8, signed=True
            ),
            Layer(
                name="logits",
                op="conv",
                input="pool",
                out_channels=4,
                weight_bits=8,
                bits=32,
                signed=True,
                raw=True,
            ),
        ),
        classes=("a", "b", "c", "d"),
    )


def test_optimum_is_within_limits_and_busy(network: Network) -> None:
    limits = Limits(dsp=60, bram=100, lut=60_000, multipliers=64, load=0)
    found = optimize(network, limits, moves=4000)
    assert found.accelerator.multipliers <= limits.multipliers
    assert all(found.uses[name] <= getattr(limits, name) for name in ("dsp", "bram", "lut"))
    mapped = plan(network, found.accelerator)
    assert mapped.bottleneck == found.bound
    assert found.pace <= 1.02 * found.bound
    assert macs(network) / (found.accelerator.multipliers * found.pace) > 0.6
    assert found.stream_bits_per_image == 0


def test_same_seed_gives_the_same_accelerator(network: Network) -> None:
    limits = Limits(dsp=60, bram=100, lut=60_000, multipliers=64, load=0)
    assert optimize(network, limits, moves=500) == optimize(network, limits, moves=500)


def test_more_multipliers_are_not_slower(network: Network) -> None:
    few, many = (
        optimize(network, Limits(dsp=200, bram=200, lut=60_000, multipliers=n, load=0), moves=3000)
        for n in (16, 128)
    )
    assert many.bound < few.bound / 3


def test_impossible_limits_are_refused_by_name(network: Network) -> None:
    with pytest.raises(CapacityError, match="dsp"):
        optimize(network, Limits(dsp=1, bram=100, lut=60_000, soft=False, load=0), moves=300)


@pytest.fixture
def accelerator() -> Accelerator:
    """Two chunks."""
    conv = Chunk(
        name="conv",
        kind="conv",
        out_lanes=8,
        in_lanes=4,
        columns=2,
        drain_lanes=4,
        multiplier="dsp",
    )
    depthwise = Chunk(
        name="depthwise",
        kind="depthwise",
        out_lanes=4,
        in_lanes=4,
        taps=3,
        drain_lanes=2,
        multiplier="lut",
    )
    return Accelerator(
        chunks=(conv, depthwise),
        allocation={
            "stem": "conv",
            "expand": "conv",
            "depthwise": "depthwise",
            "project": "conv",
            "pool": "depthwise",
            "logits": "conv",
        },
    )


def test_a_halt_is_seen(network: Network, accelerator: Accelerator) -> None:
    mapped = plan(network, size_buffers(network, accelerator))
    least = required_buffers(network, accelerator)
    rows = [least[b.tensor.name, b.reader, b.port] for b in mapped.buffers]
    with pytest.raises(
        DeadlockError, match="'stem'"
    ):  # the residual's buffer of one row halts the network
        Machine(mapped).steady_state(rows)


def test_sized_buffers_are_small_and_lose_little(
    network: Network, accelerator: Accelerator
) -> None:
    few, whole = (size_buffers(network, accelerator, tolerance) for tolerance in (LOSS, 0.0))
    ample = first_rows(network, required_buffers(network, accelerator))
    assert (
        sum(b.rows for b in few.buffers) <= sum(b.rows for b in whole.buffers) < sum(ample.values())
    )
    bound = Machine(plan(network, whole)).bound
    assert steady_state(plan(network, whole)).per_image == bound
    assert bound <= steady_state(plan(network, few)).per_image <= bound * (1 + LOSS)
    assert replace(few, buffers=()) == accelerator
