"""The weight fetcher delivers every word, in the cycles of its model, and the bench finds planted faults."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import pytest

from autonba.hwgen.fetcher import WeightFetcher
from autonba.hwgen.layout import index_bits
from autonba.hwgen.verilog import emit
from autonba.memory_image import hex_lines
from autonba.sim.runner import build, find_toolchain, run
from autonba.weight_image import ChunkStream, StreamedLayer

TOP = "fetch_testbench"
LATENCIES = (1, 2, 9, 60)
TASKS = 12


def stream(load_bits: int, word_bits: int, first_word: int, *layers: tuple[int, int, int] | None) -> ChunkStream:
    """A stream whose layers are (bytes since the last layer, blocks, words)."""
    beat, place, placed = load_bits // 8, 0, []
    for layer in layers:
        if layer is None:
            placed.append(None)
            continue
        gap, blocks, words = layer
        placed.append(StreamedLayer(offset=place + gap, blocks=blocks, words=words))
        place += gap + blocks * words * -(-word_bits // load_bits) * beat
    return ChunkStream(load_bits=load_bits, word_bits=word_bits, first_word=first_word,
                       half_words=max(words[2] for words in layers if words), layers=tuple(placed))


STREAMS = {
    "one_slice": stream(32, 32, 5, (0, 3, 40), None, (4, 5, 1), (4096 - 8, 2, 700)),
    "slices": stream(64, 200, 0, (0, 1, 33), (8 * 7, 4, 20), (0, 2, 140)),
    "wide": stream(512, 513, 3, None, (0, 3, 70), (64 * 5, 6, 2)),
    "single_words": stream(128, 100, 2, (0, 7, 1), (16, 3, 1)),
}


def sources(folder: Path, of: ChunkStream) -> list[Path]:
    """Verilog of the fetcher, the memory and the module that joins them."""
    folder.mkdir(parents=True)
    memory = resources.files("autonba.rtl_templates").joinpath("weight_memory.v").read_text()
    texts = {"weight_fetcher": emit(WeightFetcher(of), "weight_fetcher"), "weight_memory": memory, TOP: testbench(of)}
    for name, text in texts.items():
        (folder / f"{name}.v").write_text(text)
    return [folder / f"{name}.v" for name in texts]


def ports(of: ChunkStream) -> dict[str, tuple[str, int]]:
    """Ports of the testbench: direction and width."""
    return {
        "clk": ("input", 1), "rst": ("input", 1), "clear": ("input", 1), "base": ("input", 32), "task_offered": ("input", 1),
        "task_layer": ("input", index_bits(len(of.layers))), "block_done": ("input", 1), "loaded": ("output", 2),
        "error": ("output", 1), "m_axi_arid": ("output", 1), "m_axi_araddr": ("output", 32), "m_axi_arlen": ("output", 8),
        "m_axi_arsize": ("output", 3), "m_axi_arburst": ("output", 2), "m_axi_arlock": ("output", 1),
        "m_axi_arcache": ("output", 4), "m_axi_arprot": ("output", 3), "m_axi_arvalid": ("output", 1),
        "m_axi_arready": ("input", 1), "m_axi_rid": ("input", 1), "m_axi_rdata": ("input", of.load_bits),
        "m_axi_rresp": ("input", 2), "m_axi_rlast": ("input", 1), "m_axi_rvalid": ("input", 1), "m_axi_rready": ("output", 1),
        "read_address": ("input", index_bits(of.depth)), "read_data": ("output", of.word_bits),
    }


def testbench(of: ChunkStream) -> str:
    """The fetcher and its memory."""
    own = {"read_address", "read_data"}
    header = ",\n".join(f"    {direction} wire [{width - 1}:0] {name}" for name, (direction, width) in ports(of).items())
    joined = ", ".join(f".{name}({name})" for name in ports(of) if name not in own)
    address, slice_bits = index_bits(of.depth), index_bits(of.slices)
    return f"""`timescale 1ns / 1ps
module {TOP} (
{header}
);
    wire write_enable;
    wire [{address - 1}:0] write_address;
    wire [{slice_bits - 1}:0] write_slice;
    wire [{of.load_bits - 1}:0] write_data;
    weight_fetcher u_fetcher ({joined},
        .write_enable(write_enable), .write_address(write_address), .write_slice(write_slice), .write_data(write_data));
    weight_memory #(.WIDTH({of.word_bits}), .DEPTH({of.depth}), .ADDRESS_BITS({address}), .LOAD_BITS({of.load_bits}),
        .SLICE_BITS({slice_bits}), .FILE("words.hex")) u_memory (.clk(clk), .write_enable(write_enable),
        .write_address(write_address), .write_slice(write_slice), .write_data(write_data), .read_address(read_address),
        .read_data(read_data));
endmodule
"""


def simulate(of: ChunkStream, verilog: list[Path], simulator: str, tests: tuple[str, ...] = (), seed: int = 1) -> dict[str, str]:
    """Each test's failure, or an empty text."""
    folder = verilog[0].parent / "run"
    folder.mkdir()
    rng = random.Random(seed)
    chip = [rng.getrandbits(of.word_bits) for _ in range(of.first_word)]
    words = folder.parent / "words.hex"
    words.write_text(hex_lines([*chip, *[0] * (of.depth - of.first_word)], of.word_bits))
    tools = find_toolchain(simulator)
    build(tools, sources=verilog, top=TOP, folder=folder, ports=list(ports(of)), data=[words])
    settings = folder / "stream.json"
    settings.write_text(json.dumps({**asdict(of), "latencies": LATENCIES, "tasks": TASKS, "chip_words": chip}))
    verdicts = run(tools, top=TOP, module="autonba.sim.fetch_bench", folder=folder, seed=seed, tests=tests,
                   environment={"AUTONBA_BENCH": str(settings.resolve())})
    return {verdict.test.rpartition(".")[2]: verdict.failure for verdict in verdicts}


@pytest.mark.parametrize("name", STREAMS)
def test_words_and_cycles_are_right(name: str, tmp_path: Path, simulator: str) -> None:
    of = STREAMS[name]
    assert simulate(of, sources(tmp_path / "rtl", of), simulator) == {"words": "", "cycles": "", "clear": ""}
