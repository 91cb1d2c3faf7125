"""ROM contents against the layers they were made of, read back the way the hardware reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autonba.mapping import LayerPlan, plan
from autonba.memory_image import hex_lines, pack, weight_lanes
from autonba.sim.random_designs import random_bundle


def reconstruct(lp: LayerPlan, lanes: np.ndarray) -> np.ndarray:
    """Dense (O, I, KH, KW) weights in logical channels from ROM words."""
    kh, kw = lp.kernel
    chunk, depthwise = lp.chunk, lp.chunk.kind == "depthwise"
    dense = np.zeros((lp.out.channels, lp.source.channels, kh, kw), dtype=np.int64)
    words = iter(lanes)
    for block in range(lp.nest.blocks):
        for ky in range(kh):
            for step in range(0, kw, chunk.taps):
                for word in lp.nest.of_block(block):
                    value = next(words).reshape(chunk.out_lanes, chunk.taps, -1)
                    for o, tap, i in np.ndindex(chunk.out_lanes, chunk.taps, chunk.in_lanes):
                        out, source = block * chunk.out_lanes + o, word * chunk.in_lanes + i
                        if depthwise and o != i:
                            continue
                        weight = value[o, tap, 0 if depthwise else i]
                        if out < lp.out.channels and source < lp.source.channels and step + tap < kw:
                            dense[lp.output_order[out], lp.input_order[source], ky, step + tap] += weight
                        else:
                            assert weight == 0
    assert next(words, None) is None
    return dense


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_words_hold_every_weight_once(seed: int, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path, seed, 1)
    for lp in plan(bundle.design.network, bundle.design.accelerator).layers.values():
        dense = reconstruct(lp, weight_lanes(lp, bundle.weights[lp.layer.name]))
        groups = lp.groups
        ins, outs = lp.source.channels // groups, lp.out.channels // groups
        wanted = np.zeros_like(dense)
        for g in range(groups):
            part = bundle.weights[lp.layer.name].weight
            rows = slice(g * outs, (g + 1) * outs)
            wanted[rows, g * ins : (g + 1) * ins] = 1 if part is None else part[rows]
        np.testing.assert_array_equal(dense, wanted, err_msg=lp.layer.name)


def test_words_are_twos_complement_lowest_first() -> None:
    assert pack([-1, 1, -2], 4) == 0xE1F
    assert hex_lines([0x1F, 0xE1F], 12) == "01f\ne1f\n"
