"""Streamed weights: the fetcher against cocotbext-axi's memory, streamed designs as a whole, and
their DRAM image.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autonba.accelerator import Loops
from autonba.arithmetic import clog2
from autonba.bundle import Bundle, write_bundle
from autonba.cost.buffers import size_buffers
from autonba.cost.fetch import bursts
from autonba.hwgen.fetcher import WeightFetcher
from autonba.hwgen.generate import generate
from autonba.hwgen.layout import ChunkLayout
from autonba.hwgen.verilog import emit
from autonba.mapping import Plan, plan
from autonba.memory_image import weight_words
from autonba.sim.run import prepare, simulate_network
from autonba.sim.runner import build, find_toolchain, run
from autonba.weight_image import block_bursts, checksum, stream_image, stream_layout, word_beats
from tests.sim.conftest import plant

BASE = 0x40000 + 4096 - 64  # so that bursts meet the boundary of a page
TASKS = 25


@pytest.fixture(scope="module", params=[32, 128])
def streamed(
    request: pytest.FixtureRequest, tiny: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """`tiny` with every convolution's weights in DRAM."""
    design = tiny.design
    bare = replace(
        design.accelerator,
        stream_bits=request.param,
        loops={
            "stem": Loops(order="block_outer", rows=2, weights="stream"),
            "wide": Loops(order="block_outer", weights="stream"),
            "logits": Loops(order="block_outer", weights="stream"),
        },
    )
    design = replace(design, accelerator=size_buffers(design.network, bare))
    bundle = write_bundle(tmp_path_factory.mktemp("streamed"), design, tiny.weights, tiny.golden)
    generate(bundle)
    return bundle


def mapped_of(bundle: Bundle) -> Plan:
    return plan(bundle.design.network, bundle.design.accelerator, bundle.weights)


def bench(
    bundle: Bundle,
    folder: Path,
    simulator: str,
    fault: tuple[str, str] | None = None,
    seed: int = 1,
) -> str:
    """Run the fetcher of the first chunk; returns the failure, or an empty text."""
    mapped = mapped_of(bundle)
    chunk, bits = mapped.chunks[0], mapped.accelerator.stream_bits
    slices = word_beats(chunk, bits)
    rng = random.Random(seed)
    tasks = [rng.choice([lp for lp in chunk.layers if lp.streams]) for _ in range(TASKS)]
    writes, half = [], 0
    for lp in tasks:
        words = weight_words(chunk, lp, bundle.weights)
        for block in range(lp.nest.blocks):
            for i, word in enumerate(words[block * lp.beats : (block + 1) * lp.beats]):
                address = chunk.weight_words + half * chunk.stream_words + i
                writes += [
                    (address, s, word >> s * bits & ((1 << bits) - 1)) for s in range(slices)
                ]
            half ^= 1
    text = emit({"fetcher": WeightFetcher(ChunkLayout(mapped, chunk))})["fetcher"]
    if fault is not None:
        assert fault[0] in text, f"the fetcher has no {fault[0]!r} to spoil"
        text = text.replace(*fault, 1)
    inputs = {
        "clk": 1,
        "rst": 1,
        "task_offered": 1,
        "task_layer": max(clog2(len(chunk.layers)), 1),
        "block_done": 1,
        "base": 32,
        "m_axi_arready": 1,
        "m_axi_rid": 1,
        "m_axi_rdata": bits,
        "m_axi_rresp": 2,
        "m_axi_rlast": 1,
        "m_axi_rvalid": 1,
    }
    outputs = {
        "loaded": 2,
        "write_enable": 1,
        "write_address": max(clog2(chunk.weight_words + 2 * chunk.stream_words), 1),
        "write_slice": max(clog2(slices), 1),
        "write_data": bits,
        "error": 1,
        "m_axi_arid": 1,
        "m_axi_araddr": 32,
        "m_axi_arlen": 8,
        "m_axi_arsize": 3,
        "m_axi_arburst": 2,
        "m_axi_arvalid": 1,
        "m_axi_rready": 1,
    }
    declared = ", ".join(
        [f"input wire [{n - 1}:0] {port}" for port, n in inputs.items()]
        + [f"output wire [{n - 1}:0] {port}" for port, n in outputs.items()]
    )
    joined = ", ".join(
        f".{port}({port})"
        for port in (*inputs, *outputs)
        if port not in ("m_axi_arid", "m_axi_rid")
    )
    top = (
        f"module top ({declared});\n    assign m_axi_arid = 1'b0;\n    fetcher u"
        f" ({joined});\nendmodule\n"
    )
    settings = {
        "seed": seed,
        "base": BASE,
        "image": stream_image(mapped, bundle.weights).hex(),
        "pace": rng.choice((0.05, 0.5)),
        "tasks": [{"layer": lp.index, "blocks": lp.nest.blocks} for lp in tasks],
        "blocks": sum(lp.nest.blocks for lp in tasks),
        "writes": writes,
    }
    for name, content in (
        ("fetcher.v", text),
        ("top.v", top),
        ("bench.json", json.dumps(settings)),
    ):
        (folder / name).write_text(content)
    tools = find_toolchain(simulator)
    build(
        tools,
        sources=[folder / "fetcher.v", folder / "top.v"],
        top="top",
        folder=folder,
        ports=[*inputs, *outputs],
    )
    verdicts = run(
        tools,
        top="top",
        module="autonba.sim.streaming_bench",
        folder=folder,
        environment={"AUTONBA_BENCH": str(folder / "bench.json")},
        seed=seed,
    )
    return "".join(verdict.failure for verdict in verdicts)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_slice_lands_right_under_random_latency(
    streamed: Bundle, tmp_path: Path, simulator: str, seed: int
) -> None:
    assert bench(streamed, tmp_path, simulator, seed=seed) == ""


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("assign write_data = m_axi_rdata", "assign write_data = ~m_axi_rdata", "write 0 must be"),
        ("half <= ", "half <= 1'h0 & ", "must be"),
        ("m_axi_arlen <= ", "m_axi_arlen <= 8'h1 + ", "4096"),
    ],
)
def test_a_fault_in_the_fetcher_is_found(
    streamed: Bundle, tmp_path: Path, simulator: str, old: str, new: str, finding: str
) -> None:
    assert finding in bench(streamed, tmp_path, simulator, (old, new))


def test_streamed_designs_are_exact(streamed: Bundle, simulator: str) -> None:
    outcome = simulate_network(prepare(streamed, simulator), images=4, stalls=True, seed=1)
    assert outcome.failures == []
    assert outcome.found.mismatches == 0


def test_a_block_that_is_never_given_back_is_found(
    streamed: Bundle, tmp_path: Path, simulator: str
) -> None:
    copy = write_bundle(tmp_path / "bundle", streamed.design, streamed.weights, streamed.golden)
    generate(copy)
    plant(
        copy,
        "chunk_conv0.v",
        ".block_done(stream_done), .loaded(loaded), .base",
        ".block_done(1'b0), .loaded(loaded), .base",
    )
    outcome = simulate_network(prepare(copy, simulator), images=1, stalls=False, seed=1)
    assert outcome.failures


def test_bursts_stay_inside_their_pages() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        size = int(rng.choice((4, 8, 16, 64)))
        address, beats = int(rng.integers(0, 5000)) * size, int(rng.integers(1, 3000))
        start = address
        for length in bursts(address, beats, size):
            assert 1 <= length <= 256
            assert start // 4096 == (start + length * size - 1) // 4096
            start += length * size
        assert start == address + beats * size


def test_the_image_holds_every_word(streamed: Bundle) -> None:
    mapped = mapped_of(streamed)
    image, layout = stream_image(mapped, streamed.weights), stream_layout(mapped)
    assert len(image) == layout.size
    assert checksum(image) != checksum(image[::-1])
    beat_bytes = mapped.accelerator.stream_bits // 8
    for chunk in mapped.chunks:
        stride = word_beats(chunk, mapped.accelerator.stream_bits) * beat_bytes
        for lp in chunk.layers:
            words = weight_words(chunk, lp, streamed.weights)
            assert (
                sum(map(sum, block_bursts(mapped)[lp.layer.name])) * beat_bytes
                == len(words) * stride
            )
            for i, word in enumerate(words):
                at = layout.offsets[lp.layer.name] + i * stride
                assert int.from_bytes(image[at : at + stride], "little") == word
