"""The requantizer's hardware against the integer arithmetic, value by value and with the next value close behind."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from autonba.arithmetic import MULTIPLIER_BITS, Requantization, value_range
from autonba.hwgen.requantizer import INPUT_STAGE, Requantizer, RequantizerShape
from autonba.pipeline import REQUANTIZE_STAGES


def run(shape: RequantizerShape, constants: list[Requantization], acc: list[int], bias: list[int], m: list[int],
        residual: list[int]) -> list[int]:
    """Results of one value a cycle, every constant applied at its own stage."""
    lane = Requantizer(shape)
    results: list[int] = []
    inputs = []
    for i, c in enumerate(constants):
        low, high = value_range(c.bits, c.signed)
        inputs.append({"acc": acc[i], "bias": bias[i], "multiplier": m[i], "residual": residual[i],
                       "residual_multiplier": c.residual_multiplier, "half": c.half, "shift": c.shift - shape.shifts[0],
                       "low": low, "high": high})

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(len(acc) + REQUANTIZE_STAGES):
            for port, stage in INPUT_STAGE.items():
                i = cycle - stage
                if 0 <= i < len(acc) and port in inputs[i]:
                    ctx.set(getattr(lane, port), inputs[i][port])
            if cycle >= REQUANTIZE_STAGES:
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
