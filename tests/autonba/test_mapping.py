"""Mapping of layers on chunks: loop nests, row patterns, buffers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autonba.accelerator import Accelerator, Buffer, Chunk, Loops, Multiplier
from autonba.arithmetic import signed_width, value_range
from autonba.cost.buffers import size_buffers
from autonba.cost.latency import layer_cycles
from autonba.cost.schedule import simulate
from autonba.errors import DeadlockError, SpecError
from autonba.mapping import LayerPlan, RowPattern, plan, required_buffers
from autonba.network import Layer, Network, Op, Tensor
from autonba.sim.random_designs import random_images, random_weights


def conv_chunk(
    name: str = "c", out_lanes: int = 4, in_lanes: int = 4, drain_lanes: int = 1
) -> Chunk:
    return Chunk(
        name=name,
        kind="conv",
        out_lanes=out_lanes,
        in_lanes=in_lanes,
        drain_lanes=drain_lanes,
        multiplier="lut",
    )


def depthwise_chunk(name: str = "d", lanes: int = 4) -> Chunk:
    return Chunk(
        name=name,
        kind="depthwise",
        out_lanes=lanes,
        in_lanes=lanes,
        drain_lanes=1,
        multiplier="lut",
    )


def shuffled_block(channels: int = 16) -> Network:
    """1x1 in two groups, shuffle, depthwise 3x3, 1x1 in two groups, residual, pool, classifier."""

    def conv(name: str, source: str, out: int, **more: object) -> Layer:
        return Layer(name=name, op="conv", input=source, out_channels=out, shift=8, **more)  # type: ignore[arg-type]

    layers = (
        conv("stem", "input", channels, kernel=(3, 3), padding=(1, 1)),
        conv("expand", "stem", channels, groups=2),
        Layer(name="mix", op="shuffle", input="expand", out_channels=channels, groups=2),
        conv("depthwise", "mix", channels, kernel=(3, 3), padding=(1, 1), groups=channels),
        conv(
            "project",
            "depthwise",
            channels,
            groups=2,
            residual="stem",
            residual_multiplier=200,
            signed=True,
        ),
        Layer(name="pool", op="global_pool", input="project", out_channels=channels, shift=8),
        Layer(
            name="classify", op="conv", input="pool", out_channels=3, raw=True, bits=32, signed=True
        ),
    )
    return Network(
        input=Tensor(name="input", channels=1, height=6, width=5, bits=8, signed=False),
        layers=layers,
        classes=("a", "b", "c"),
    )


def on(network: Network, *chunks: Chunk) -> Accelerator:
    """Depthwise layers on the depthwise chunk, if there is one, all else on the first."""
    special = next((c.name for c in chunks if c.kind == "depthwise"), chunks[0].name)
    return Accelerator(
        chunks=chunks,
        allocation={
            layer.name: special if layer.is_depthwise else chunks[0].name
            for layer in network.layers
            if layer.op != "shuffle"
        },
    )


def test_groups_cost_no_cycles_even_when_shuffled() -> None:
    network = shuffled_block()
    mapped = plan(
        network, size_buffers(network, on(network, conv_chunk(drain_lanes=4), depthwise_chunk()))
    )
    dense = 4 * 5 * 4  # blocks x columns x words
    assert mapped.layers["expand"].task_cycles == dense // 2
    assert mapped.layers["project"].task_cycles == dense // 2
    assert (
        mapped.layers["project"].nest.runs == 2
    )  # each half of the shuffled channels comes in two pieces
    assert (
        mapped.layers["depthwise"].output_order
        == mapped.layers["depthwise"].input_order
        != tuple(range(16))
    )


def test_a_group_across_words_reads_more_but_stays_legal() -> None:
    network = shuffled_block(channels=12)  # groups of 6 on lanes of 4
    mapped = plan(network, size_buffers(network, on(network, conv_chunk(), depthwise_chunk())))
    assert mapped.layers["expand"].nest.words == 3


def test_depthwise_on_a_conv_chunk_reads_its_own_words_only() -> None:
    network = shuffled_block()
    mapped = plan(network, size_buffers(network, on(network, conv_chunk(out_lanes=8, in_lanes=2))))
    assert mapped.layers["depthwise"].nest.words == 4
    assert mapped.layers["depthwise"].nest.blocks_per_group == 1


def test_columns_and_taps_divide_the_cycles() -> None:
    network = shuffled_block()
    wide = replace(conv_chunk(drain_lanes=4), columns=2, taps=3)
    mapped = plan(
        network, size_buffers(network, on(network, wide, replace(depthwise_chunk(), taps=2)))
    )
    stem, depthwise = mapped.layers["stem"], mapped.layers["depthwise"]
    assert stem.task_cycles == 3 * 4 * 3  # column sets of 2 in 5 columns, blocks, kernel rows
    assert depthwise.beats == 3 * 2  # kernel rows, steps of 2 taps in 3
    assert mapped.memory("input_to_c_main").banks == 4  # 2 columns of 3 taps
    assert mapped.memory("c_to_d_main").banks == 2


def test_row_blocks_are_made_of_whole_rows() -> None:
    network = shuffled_block()
    good = on(network, conv_chunk(), depthwise_chunk())
    blocked = replace(good, loops={"stem": Loops(order="block_outer", rows=3)})
    mapped = plan(network, size_buffers(network, blocked))
    assert mapped.layers["stem"].tasks == 2
    assert mapped.layers["stem"].busy == 2 * mapped.layers["stem"].task_cycles
    assert min(b.rows for b in mapped.buffers if b.tensor.name == "stem") >= 3
    with pytest.raises(SpecError, match=r"'stem': loops.rows must divide the 6 output rows, not 4"):
        required_buffers(network, replace(good, loops={"stem": Loops(rows=4)}))


def test_a_channel_multiplier_keeps_each_output_in_its_lane() -> None:
    def conv(name: str, source: str, out: int, **more: object) -> Layer:
        return Layer(name=name, op="conv", input=source, out_channels=out, shift=8, **more)  # type: ignore[arg-type]

    layers = (
        conv("stem", "input", 8),
        conv("wide", "stem", 24, kernel=(3, 3), padding=(1, 1), groups=8),
        conv("last", "wide", 2),
    )
    network = Network(
        input=Tensor(name="input", channels=1, height=4, width=4, bits=8, signed=False),
        layers=layers,
        classes=("a", "b"),
    )
    on_depthwise = Accelerator(
        chunks=(conv_chunk(), depthwise_chunk()), allocation={"stem": "c", "wide": "d", "last": "c"}
    )
    lp = plan(network, size_buffers(network, on_depthwise)).layers["wide"]
    assert lp.nest.words == 1
    for physical, channel in enumerate(lp.output_order):
        word, lane = lp.nest.of_block(physical // 4)[0], physical % 4
        assert lp.input_order[4 * word + lane] == channel // 3


def every_width(weight_bits: int, bits: int, signed: bool) -> Network:
    """Layers whose sums have as many products as a power of two, and a pool of each kind, on
    operands of these widths.
    """

    def conv(name: str, source: str, out: int, **more: object) -> Layer:
        return Layer(
            name=name,
            op="conv",
            input=source,
            out_channels=out,  # type: ignore[arg-type]
            **{
                "shift": 8,
                "bits": max(bits, 2),
                "signed": signed,
                "weight_bits": weight_bits,
                **more,
            },
        )

    def pool(name: str, op: Op, source: str) -> Layer:
        return Layer(
            name=name,
            op=op,
            input=source,
            out_channels=8,
            kernel=(2, 2) if op != "global_pool" else (1, 1),
            shift=8,
            bits=max(bits, 2),
            signed=signed,
        )

    layers = (
        conv("stem", "input", 8, kernel=(2, 2)),
        conv("depthwise", "stem", 8, kernel=(4, 4), groups=8),
        conv("grouped", "depthwise", 8, groups=2),
        conv("dense", "grouped", 8, kernel=(2, 2)),
        pool("average", "avg_pool", "dense"),
        pool("maximum", "max_pool", "average"),
        pool("whole", "global_pool", "maximum"),
        conv("classify", "whole", 2, raw=True, bits=32, signed=True, shift=0),
    )
    return Network(
        input=Tensor(name="input", channels=2, height=9, width=9, bits=bits, signed=signed),
        layers=layers,
        classes=("a", "b"),
    )


def with_ample_buffers(network: Network, bare: Accelerator) -> Accelerator:
    return replace(
        bare,
        buffers=tuple(
            Buffer(tensor=t, reader=r, port=p, rows=40)
            for t, r, p in required_buffers(network, bare)
        ),
    )


def needed_bits(lp: LayerPlan, weight_bits: int) -> int:
    """Bits of the accumulators for any weights, and for biases that reach as far as the products'
    sum.
    """
    inputs = value_range(lp.source.bits, lp.source.signed)
    if lp.layer.op == "max_pool":
        return signed_width(*inputs)
    terms = lp.kernel[0] * lp.kernel[1] * (lp.source.channels // lp.groups)
    weights, biases = ((1, 1), 1) if lp.layer.is_pool else (value_range(weight_bits, True), 2)
    reach = [biases * terms * w * x for w in weights for x in inputs]
    return signed_width(min(0, *reach), max(0, *reach))


@pytest.mark.parametrize(
    ("weight_bits", "bits", "signed"),
    [(2, 1, False), (3, 8, True), (8, 2, False), (8, 8, False), (5, 4, True)],
)
@pytest.mark.parametrize("multiplier", ["lut", "packed"])
def test_accumulators_hold_any_weights_and_biases(
    weight_bits: int, bits: int, signed: bool, multiplier: Multiplier
) -> None:
    network = every_width(weight_bits, bits, signed)
    layers = [layer.name for layer in network.layers]
    for alone in (
        layers
    ):  # each layer on a chunk of its own, so that no other's width hides that it is too narrow
        chunks = {
            "rest": replace(conv_chunk("rest"), multiplier=multiplier),
            "top": depthwise_chunk("top"),
            "own": replace(conv_chunk("own", out_lanes=2, in_lanes=1), multiplier=multiplier),
        }
        allocation = {
            name: "top" if name == "maximum" else "own" if name == alone else "rest"
            for name in layers
        }
        taken = tuple(chunks[name] for name in dict.fromkeys(allocation.values()))
        mapped = plan(
            network, with_ample_buffers(network, Accelerator(chunks=taken, allocation=allocation))
        )
        for chunk in mapped.chunks:
            for lp in chunk.layers:
                assert chunk.acc_bits >= needed_bits(lp, weight_bits), lp.layer.name


@pytest.mark.parametrize("bias", [0, 1 << 20, -(1 << 30)])
@pytest.mark.parametrize("seed", range(3))
def test_accumulators_hold_what_the_given_weights_reach(bias: int, seed: int) -> None:
    network = every_width(4, 6, seed == 1)
    noise = np.random.default_rng(seed)
    network, weights = random_weights(network, noise, random_images(network, noise, 2))
    accelerator = with_ample_buffers(
        network,
        Accelerator(
            chunks=(conv_chunk(), depthwise_chunk()),
            allocation={
                layer.name: "d" if layer.is_depthwise or layer.is_pool else "c"
                for layer in network.layers
            },
        ),
    )
    for layer in network.layers:
        if layer.op != "conv":
            continue
        own = weights[layer.name]
        assert own.weight is not None
        assert own.bias is not None
        biased = {**weights, layer.name: replace(own, bias=own.bias + bias)}
        mapped = plan(network, accelerator, biased)
        lp = mapped.layers[layer.name]
        low, high = value_range(lp.source.bits, lp.source.signed)
        flat, biases = own.weight.reshape(layer.out_channels, -1), own.bias + bias
        most = np.where(flat > 0, high, low)  # the inputs that drive each output up, and down
        least = np.where(flat > 0, low, high)
        reach = np.stack(
            [(flat * inputs).sum(axis=1) + b for inputs in (most, least) for b in (0, biases)]
        )
        acc_bits = next(chunk.acc_bits for chunk in mapped.chunks if chunk.chunk == lp.chunk)
        assert acc_bits >= signed_width(int(reach.min()), int(reach.max())), layer.name


def test_layer_cycles_is_what_the_plan_says() -> None:
    network = shuffled_block()
    accelerator = size_buffers(
        network, on(network, conv_chunk(), replace(depthwise_chunk(), columns=2, taps=3))
    )
    for lp in plan(network, accelerator).layers.values():
        assert layer_cycles(lp.layer, lp.source, lp.out, lp.chunk) == lp.busy


@pytest.mark.parametrize(
    ("rows", "kernel", "stride", "padding"),
    [(8, 3, 1, 1), (8, 5, 2, 2), (7, 1, 2, 0), (5, 5, 1, 0), (2, 5, 1, 2)],
)
def test_row_pattern_against_counting(rows: int, kernel: int, stride: int, padding: int) -> None:
    out = (rows + 2 * padding - kernel) // stride + 1
    for block in (n for n in range(1, out + 1) if out % n == 0):
        pattern = RowPattern(
            rows=rows,
            tasks=out // block,
            step=block * stride,
            span=(block - 1) * stride + kernel,
            padding=padding,
        )
        gone = 0
        for t in range(out // block):
            read = [
                y * stride - padding + ky
                for y in range(t * block, (t + 1) * block)
                for ky in range(kernel)
            ]
            present = [r for r in read if 0 <= r < rows]
            assert min(present) >= gone, "a row was given back before its last use"
            assert gone + pattern.need(t) > max(present), "a row is read before it is asked for"
            assert pattern.need(t) == max(max(present) + 1 - gone, pattern.release(t)), (
                "neither more nor fewer rows"
            )
            gone += pattern.release(t)
        assert gone == rows


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"allocation": {"stem": "d"}}, "conv chunk unless the layer is depthwise"),
        ({"allocation": {"stem": "nowhere"}}, "must be one of"),
        ({"allocation": {"mix": "c"}}, "must name conv and pool layers"),
    ],
)
def test_illegal_allocations_are_refused(change: dict[str, dict[str, str]], words: str) -> None:
    network = shuffled_block()
    good = on(network, conv_chunk(), depthwise_chunk())
    with pytest.raises(SpecError, match=words):
        required_buffers(
            network, replace(good, allocation={**good.allocation, **change["allocation"]})
        )


def test_buffers_below_the_window_are_refused_with_the_tensor_named() -> None:
    network = shuffled_block()
    good = size_buffers(network, on(network, conv_chunk(), depthwise_chunk()))
    small = tuple(replace(b, rows=2) if b.tensor == "expand" else b for b in good.buffers)
    with pytest.raises(SpecError, match=r"'expand'.*at least 3 rows, not 2"):
        plan(network, replace(good, buffers=small))


def test_a_residual_that_would_halt_is_named() -> None:
    network = shuffled_block()
    good = size_buffers(network, on(network, conv_chunk(), depthwise_chunk()))
    small = tuple(
        replace(b, rows=1) if (b.tensor, b.port) == ("stem", "residual") else b
        for b in good.buffers
    )
    with pytest.raises(DeadlockError, match="'stem'"):
        simulate(plan(network, replace(good, buffers=small)), 2)


def test_sized_buffers_keep_the_pace_of_ample_ones() -> None:
    network = shuffled_block()
    sized = size_buffers(network, on(network, conv_chunk(), depthwise_chunk()))
    ample = replace(
        sized,
        buffers=tuple(
            Buffer(tensor=b.tensor, reader=b.reader, port=b.port, rows=40) for b in sized.buffers
        ),
    )
    images = 30
    assert (
        simulate(plan(network, sized), images).finish[-1]
        <= 1.03 * simulate(plan(network, ample), images).finish[-1]
    )
    assert sum(b.rows for b in sized.buffers) < 60


def test_no_image_is_faster_than_the_busiest_chunk() -> None:
    network = shuffled_block()
    mapped = plan(network, size_buffers(network, on(network, conv_chunk(), depthwise_chunk())))
    finish = np.array(simulate(mapped, 40).finish)
    assert (finish[-1] - finish[0]) / 39 >= 0.97 * mapped.bottleneck
    assert finish[-1] >= 40 * mapped.bottleneck


def line(*layers: Layer, signed: bool = False) -> Network:
    """Layers on a map of 4 channels, 8 x 8."""
    return Network(
        input=Tensor(name="input", channels=4, height=8, width=8, bits=8, signed=signed),
        layers=layers,
        classes=tuple(f"c{n}" for n in range(layers[-1].out_channels)),
    )


def layer(name: str, source: str, kernel: int = 1, **more: object) -> Layer:
    pad = kernel // 2
    return Layer(
        name=name,
        op="conv",
        input=source,
        out_channels=4,
        kernel=(kernel, kernel),
        padding=(pad, pad),
        shift=8,
        **more,
    )  # type: ignore[arg-type]


def test_readers_of_a_chunk_share_a_buffer_for_the_one_that_needs_most() -> None:
    network = line(
        layer("a", "input"),
        layer("tall", "a", 5),
        layer("flat", "tall", 1, residual="a", residual_multiplier=1),
        layer("b", "a", 3),
        layer("sum", "b", residual="flat", residual_multiplier=1),
    )
    accelerator = Accelerator(
        chunks=(conv_chunk("c"), conv_chunk("e")),
        allocation={"a": "c", "tall": "e", "flat": "c", "b": "e", "sum": "c"},
    )
    assert required_buffers(network, accelerator)["a", "e", "main"] == 5


def test_columns_at_a_stride_lie_in_different_banks() -> None:
    network = line(layer("a", "input"), layer("b", "a", 1, stride=(2, 2)))
    pair = replace(conv_chunk(), columns=2)
    for columns, banks in ((2, 4), (3, 8)):
        accelerator = on(network, replace(pair, columns=columns))
        assert (
            plan(network, size_buffers(network, accelerator)).memory("c_to_c_main").banks == banks
        )


def test_a_memory_of_signed_and_unsigned_maps_holds_both() -> None:
    network = line(
        layer("a", "input", bits=6, signed=True),
        layer("b", "input", bits=6),
        layer("c", "a"),
        layer("d", "b", residual="c", residual_multiplier=1),
    )
    accelerator = Accelerator(
        chunks=(conv_chunk("one"), conv_chunk("two")),
        allocation={"a": "one", "b": "one", "c": "two", "d": "two"},
    )
    memory = plan(network, size_buffers(network, accelerator)).memory("one_to_two_main")
    assert (memory.lane_bits, memory.signed) == (7, True)
    assert plan(network, size_buffers(network, accelerator)).chunks[1].input_bits == 7
