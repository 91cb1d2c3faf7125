"""Provision, balance, fill and pace, from definitions counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.cost.buffers import size_buffers
from autonba.cost.utilization import most_macs, utilization
from autonba.mapping import plan
from autonba.network import INPUT, Layer, Network, Tensor

NETWORK = Network(
    input=Tensor(name=INPUT, channels=4, height=6, width=6, bits=8, signed=False),
    layers=(
        Layer(name="wide", op="conv", input=INPUT, out_channels=8, weight_bits=8, bits=4),
        Layer(name="narrow", op="conv", input="wide", out_channels=6, weight_bits=4, bits=8),
        Layer(name="pool", op="global_pool", input="narrow", out_channels=6, bits=8),
    ),
    classes=tuple("abcdef"),
)
WIDE, NARROW = 36 * 4 * 8, 36 * 8 * 6  # multiply-accumulates
CHUNKS = (
    Chunk(name="one", kind="conv", out_lanes=8, in_lanes=4, drain_lanes=8, multiplier="dsp"),
    Chunk(name="two", kind="conv", out_lanes=4, in_lanes=4, drain_lanes=4, multiplier="dsp"),
)
ACCELERATOR = Accelerator(chunks=CHUNKS, allocation={"wide": "one", "narrow": "two", "pool": "one"})
BUSY = (
    36 * 1 + 36 * 2,
    36 * 2 * 2,
)  # the pool takes two words of channels; the narrow layer two blocks of two words


def test_each_factor_is_what_it_says() -> None:
    mapped = plan(NETWORK, size_buffers(NETWORK, ACCELERATOR))
    assert tuple(chunk.busy for chunk in mapped.chunks) == BUSY
    found = utilization(mapped, 160.0, "xc7", 30)
    limit = (
        30 * (WIDE + NARROW) / (WIDE / 2 + NARROW / 4)
    )  # two products of 8 x 8 bits in a block, four of 4 x 4
    assert found.limit == pytest.approx(limit) == most_macs(NETWORK, 30, "xc7")
    assert found.provision == pytest.approx((32 + 16) / limit)
    assert found.balance == pytest.approx((32 * BUSY[0] + 16 * BUSY[1]) / (48 * max(BUSY)))
    assert found.fill == pytest.approx((WIDE + NARROW) / (32 * BUSY[0] + 16 * BUSY[1]))
    assert found.pace == pytest.approx(max(BUSY) / 160)
    assert found.of_built == pytest.approx((WIDE + NARROW) / (48 * 160))
    assert found.overall == pytest.approx((WIDE + NARROW) / (limit * 160))


def test_idle_multipliers_are_an_imbalance_and_a_slow_run_is_a_stall() -> None:
    mapped = plan(NETWORK, size_buffers(NETWORK, ACCELERATOR))
    larger = replace(ACCELERATOR, chunks=(replace(CHUNKS[0], in_lanes=8), CHUNKS[1]))
    one = utilization(mapped, 160.0, "xc7", 30)
    other = utilization(plan(NETWORK, size_buffers(NETWORK, larger)), 160.0, "xc7", 30)
    assert other.provision > one.provision
    assert other.balance < one.balance
    assert other.overall == pytest.approx(one.overall)  # the same work in the same time
    slow = utilization(mapped, 320.0, "xc7", 30)
    assert (slow.pace, slow.fill) == (one.pace / 2, one.fill)
