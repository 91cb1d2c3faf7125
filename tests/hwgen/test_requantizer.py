"""The requantizer's hardware against the integer arithmetic, value by value and with the next value
close behind.
"""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from autonba.arithmetic import MULTIPLIER_BITS, Requantization, value_range
from autonba.hwgen.requantizer import INPUT_STAGE, Requantizer, RequantizerShape
from autonba.pipeline import REQUANTIZE_STAGES


def run(
    shape: RequantizerShape,
    constants: list[Requantization],
    acc: list[int],
    bias: list[int],
    m: list[int],
    residual: list[int],
    raw: list[int],
) -> list[int]:
    """Results of one value a cycle, every constant applied at its own stage."""
    lane = Requantizer(shape)
    results: list[int] = []
    inputs = []
    for i, c in enumerate(constants):
        low, high = value_range(c.bits, c.signed)
        values = {
            "acc": acc[i],
            "bias": bias[i],
            "multiplier": m[i],
            "residual": residual[i],
            "residual_multiplier": c.residual_multiplier,
            "half": c.half,
            "shift": c.shift - shape.shifts[0],
            "low": low,
            "high": high,
            "raw": raw[i],
        }
        inputs.append({name: value for name, value in values.items() if hasattr(lane, name)})

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


@pytest.mark.parametrize("acc_bits", [10, 17, 18, 19, 24, 35, 36])
@pytest.mark.parametrize(
    ("residual_bits", "shifts", "raw"),
    [
        (9, (3, 19), False),
        (0, (7, 7), False),
        (5, (8, 9), False),
        (9, (1, 30), True),
        (0, (20, 23), True),
    ],
)
def test_equals_the_arithmetic(
    acc_bits: int, residual_bits: int, shifts: tuple[int, int], raw: bool
) -> None:
    rng = np.random.default_rng(acc_bits)
    shape = RequantizerShape(
        acc_bits=acc_bits,
        residual_bits=residual_bits,
        residual_multiplier_bits=12,
        shifts=shifts,
        write_bits=acc_bits if raw else 9,
        raw=raw,
        requantizes=True,
    )
    n = 200
    constants = [
        Requantization(
            shift=int(rng.integers(shifts[0], shifts[1] + 1)),
            residual_multiplier=int(rng.integers(0, 1 << 12)) if residual_bits else 0,
            bits=int(rng.integers(2, 9)),
            signed=bool(rng.integers(2)),
        )
        for _ in range(n)
    ]
    reach = (1 << (acc_bits - 1)) - 100
    bias = rng.integers(-100, 100, n)
    acc = rng.integers(-reach, reach, n) >> rng.integers(0, acc_bits, n)
    m = rng.integers(1, 1 << MULTIPLIER_BITS, n) >> rng.integers(0, 15, n)
    half = 1 << residual_bits >> 1
    residual = rng.integers(-half, half, n) if residual_bits else np.zeros(n, dtype=int)
    leaves = rng.integers(0, 2, n) if raw else np.zeros(n, dtype=int)
    got = run(
        shape,
        constants,
        acc.tolist(),
        bias.tolist(),
        m.tolist(),
        residual.tolist(),
        leaves.tolist(),
    )
    wanted = [
        int(a + b) if whole else int(c.compute(np.array(a + b), np.array(k), np.array(r)))
        for c, a, b, k, r, whole in zip(constants, acc, bias, m, residual, leaves, strict=True)
    ]
    assert got == wanted


def test_a_chunk_of_raw_layers_only_adds_the_bias() -> None:
    shape = RequantizerShape(
        acc_bits=20,
        residual_bits=0,
        residual_multiplier_bits=1,
        shifts=(0, 0),
        write_bits=20,
        raw=True,
        requantizes=False,
    )
    zero = [Requantization(shift=1, residual_multiplier=0, bits=8, signed=True)] * 3
    assert run(shape, zero, [5, -7, 1000], [1, 2, -3], [0] * 3, [0] * 3, [1] * 3) == [6, -5, 997]
