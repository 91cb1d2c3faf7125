"""The energy model: its figures against their source, and its counts against counts by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autonba.accelerator import Accelerator, Chunk, Loops
from autonba.cost.buffers import size_buffers
from autonba.cost.energy import Energy, EnergyModel, energy_per_image, layer_energy
from autonba.mapping import Plan, plan
from autonba.network import INPUT, Layer, Network, Tensor

NETWORK = Network(
    input=Tensor(name=INPUT, channels=1, height=6, width=4, bits=8, signed=False),
    layers=(
        Layer(
            name="first",
            op="conv",
            input=INPUT,
            out_channels=4,
            kernel=(3, 3),
            padding=(1, 1),
            weight_bits=4,
            bits=4,
            shift=8,
        ),
        Layer(
            name="logits",
            op="conv",
            input="first",
            out_channels=2,
            kernel=(6, 4),
            weight_bits=4,
            bits=32,
            signed=True,
            raw=True,
        ),
    ),
    classes=("a", "b"),
)
CHUNK = Chunk(name="c0", kind="conv", out_lanes=2, in_lanes=2, drain_lanes=1, multiplier="dsp")
NOTHING = EnergyModel(add_bit=0, multiply_bit_pair=0, memory_bit=0, dram_bit=0)


def planned(*, columns: int = 1, streams: bool = False) -> Plan:
    loops = {"first": Loops(order="block_outer", weights="stream")} if streams else {}
    bare = Accelerator(
        chunks=(replace(CHUNK, columns=columns),),
        allocation={"first": "c0", "logits": "c0"},
        loops=loops,
    )
    return plan(NETWORK, size_buffers(NETWORK, bare))


@pytest.mark.parametrize(("bits", "source"), [(8, 0.2), (32, 3.1)])
def test_multiplication_is_near_its_source(bits: int, source: float) -> None:
    assert EnergyModel().multiply(bits, bits) == pytest.approx(source, rel=0.05)


@pytest.mark.parametrize(("kib", "source"), [(8, 10), (32, 20), (1024, 100)])
def test_memory_is_near_its_source(kib: int, source: float) -> None:
    assert EnergyModel().access(64, kib * 8192) == pytest.approx(source, rel=0.15)


def test_dram_is_within_its_source() -> None:
    assert 1300 <= EnergyModel().dram_bit * 64 <= 2600


def test_multiplications_are_counted() -> None:
    mapped = planned()
    chunk = mapped.chunks[0]
    pairs = chunk.weight_bits * chunk.input_bits
    energy = layer_energy(
        mapped, chunk, mapped.layers["first"], replace(NOTHING, multiply_bit_pair=1.0)
    )
    # 24 pixels, 2 blocks of 2 channels, 9 taps of 1 word, 4 multipliers
    assert energy.macs == 24 * 2 * 9 * 4 * pairs
    assert energy.weight_reads == energy.buffer_reads == energy.dram == 0


def test_writes_are_counted() -> None:
    mapped = planned()
    flat = replace(NOTHING, memory_bit=1.0)
    lp, (memory,) = (
        mapped.layers["first"],
        [m for m in mapped.memories if m.writer == "c0" and m.reader == "c0"],
    )
    one = flat.access(memory.lane_bits, memory.depth * memory.lane_bits)
    assert layer_energy(mapped, mapped.chunks[0], lp, flat).buffer_writes == pytest.approx(
        24 * 4 * one
    )


def test_only_streamed_weights_come_from_dram() -> None:
    assert energy_per_image(planned()).dram == 0
    mapped = planned(streams=True)
    energy = energy_per_image(mapped, replace(NOTHING, dram_bit=1.0))
    # 6 row tasks read 2 blocks of 9 words each, a word in one beat
    assert energy.total == energy.dram == 6 * 2 * 9 * mapped.accelerator.stream_bits


def test_columns_share_weights() -> None:
    one, two = (
        [layer_energy(mapped, mapped.chunks[0], lp) for lp in mapped.layers.values()]
        for mapped in (planned(), planned(columns=2))
    )
    assert two[0].weight_reads == pytest.approx(one[0].weight_reads / 2)
    assert two[0].macs == one[0].macs
    assert two[1].macs == 2 * one[1].macs  # the only pixel leaves the second column idle


def test_image_is_the_sum_of_layers_and_ends() -> None:
    mapped = planned()
    layers = sum(
        (layer_energy(mapped, mapped.chunks[0], lp) for lp in mapped.layers.values()), Energy()
    )
    whole = energy_per_image(mapped)
    assert whole.macs == pytest.approx(layers.macs)
    assert whole.buffer_writes > layers.buffer_writes
    assert whole.total == pytest.approx(
        sum(
            (
                whole.macs,
                whole.requantization,
                whole.weight_reads,
                whole.parameter_reads,
                whole.buffer_reads,
                whole.buffer_writes,
                whole.dram,
            )
        )
    )


def test_weights_are_read_from_the_whole_memory() -> None:
    """Wires grow with it: a word of weights costs what its place among all of them does."""
    mapped, flat = planned(), replace(NOTHING, memory_bit=1.0)
    chunk, lp = mapped.chunks[0], mapped.layers["first"]
    word = chunk.chunk.weights_per_cycle * chunk.weight_bits
    beats, one = 24 * 2 * 9, flat.access(word, word * chunk.weight_words)
    assert layer_energy(mapped, chunk, lp, flat).weight_reads == pytest.approx(beats * one)
    assert chunk.weight_words > lp.weight_words


def test_maxima_compare_and_do_not_multiply() -> None:
    layers = (
        Layer(
            name="pool",
            op="max_pool",
            input=INPUT,
            out_channels=2,
            kernel=(2, 2),
            stride=(2, 2),
            shift=1,
        ),
    )
    network = Network(
        input=Tensor(name=INPUT, channels=2, height=4, width=4, bits=8, signed=False),
        layers=layers,
        classes=("a", "b"),
    )
    chunk = Chunk(
        name="d", kind="depthwise", out_lanes=2, in_lanes=2, drain_lanes=1, multiplier="lut"
    )
    mapped = plan(
        network, size_buffers(network, Accelerator(chunks=(chunk,), allocation={"pool": "d"}))
    )
    products = layer_energy(
        mapped, mapped.chunks[0], mapped.layers["pool"], replace(NOTHING, multiply_bit_pair=1.0)
    ).macs
    sums = layer_energy(
        mapped, mapped.chunks[0], mapped.layers["pool"], replace(NOTHING, add_bit=1.0)
    ).macs
    assert products == 0
    assert sums > 0
