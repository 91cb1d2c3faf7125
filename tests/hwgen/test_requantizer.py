"""The requantizer's hardware against the integer arithmetic, value by value and with the next value close behind."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from autonba.arithmetic import MULTIPLIER_BITS, Requantization, value_range
from autonba.hwgen.requantizer import Requantizer, RequantizerShape

LATENCY = 5


def run(shape: RequantizerShape, constants: list[Requantization], acc: list[int], bias: list[int], m: list[int],
        residual: list[int]) -> list[int]:
    """Results of one value a cycle, every constant applied at its own stage."""
    lane = Requantizer(shape)
    results: list[int] = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(len(acc) + LATENCY):
            def at(stage: int, cycle: int = cycle) -> int | None:
                return cycle - stage if 0 <= cycle - stage < len(acc) else None

            if (i := at(0)) is not None:
                ctx.set(lane.acc, acc[i])
                ctx.set(lane.bias, bias[i])
                ctx.set(lane.multiplier, m[i])
            if (i := at(1)) is not None:
                ctx.set(lane.residual, residual[i])
                ctx.set(lane.residual_multiplier, constants[i].residual_multiplier)
            if (i := at(2)) is not None:
                ctx.set(lane.half, constants[i].half)
            if (i := at(3)) is not None:
                ctx.set(lane.shift, constants[i].shift - shape.shifts[0])
            if (i := at(4)) is not None:
                low, high = value_range(constants[i].bits, constants[i].signed)
                ctx.set(lane.low, low)
                ctx.set(lane.high, high)
            if cycle >= LATENCY:
                results.append(ctx.get(lane.result))
            await ctx.tick()

    simulator = Simulator(lane)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_arithmetic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = RequantizerShape(acc_bits=22, residual_bits=9, residual_multiplier_bits=12, shifts=(3, 19), write_bits=9, raw=False,
                             requantizes=True)
    n = 300
    constants = [Requantization(shift=int(rng.integers(3, 20)), residual_multiplier=int(rng.integers(0, 1 << 12)),
                                bits=int(rng.integers(2, 9)), signed=bool(rng.integers(2))) for _ in range(n)]
    bias = rng.integers(-1000, 1000, n)
    acc = rng.integers(-(1 << 21) + 1000, (1 << 21) - 1000, n) >> rng.integers(0, 21, n)
    m = rng.integers(1, 1 << MULTIPLIER_BITS, n) >> rng.integers(0, 15, n)
    residual = rng.integers(-256, 256, n)
    got = run(shape, constants, acc.tolist(), bias.tolist(), m.tolist(), residual.tolist())
    wanted = [int(c.compute(np.array(a + b), np.array(k), np.array(r)))
              for c, a, b, k, r in zip(constants, acc, bias, m, residual, strict=True)]
    assert got == wanted
