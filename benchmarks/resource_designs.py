"""The designs behind the LUT and FF model: random ones to fit it to, and whole ones, never fitted
to, to judge it by.

Drawn to fit to are designs of up to 600 multipliers on networks of up to 14 layers, with every kind
of chunk, multiplier and memory, streamed and loadable weights among them. Held out are designs as
people build them. A design is the same for all families but for its board.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autonba.accelerator import Accelerator, Buffer, Chunk, Kind, Loops, Multiplier
from autonba.boards import Family
from autonba.bundle import Bundle, Design, Target, accelerator_from_json, write_bundle
from autonba.cost.schedule import simulate
from autonba.errors import DeadlockError, SpecError
from autonba.files import read_json
from autonba.golden import Weights, evaluate
from autonba.mapping import plan, required_buffers
from autonba.network import INPUT, Layer, Network, Tensor
from autonba.sim.random_designs import random_design, random_images, weighted_bundle
from benchmarks.networks import paper_network, resnet8, with_weights

BOARD: Mapping[Family, str] = {"ecp5": "ulx3s-85f", "xc7": "pynq-z2", "xcup": "ultra96-v2"}
HERE = Path(__file__).parent
SMALL_SEEDS = (
    8  # training designs up to this seed are small ones with every feature of the generator
)
TRAINING_SEEDS = (2, 4, 7, 9, 10, 12, 14, 15, 18, 20, 21, 22, 24, 26, 28, 31)
_STYLES: tuple[Multiplier, ...] = ("lut", "packed", "lut", "packed", "dsp")
_MOST_MULTIPLIERS = 600


@dataclass(frozen=True, kw_only=True)
class Held:
    """A held-out design; of `module`, where only that part of it is synthesized."""

    network: Network
    accelerator: Accelerator
    weights: Weights | None = None  # random ones where there are none
    module: str = "accelerator"
    families: tuple[Family, ...] = ("ecp5", "xc7", "xcup")


# Designs to fit to


def training_bundle(path: Path, seed: int, family: Family) -> Bundle:
    """The training design of `seed`."""
    if seed <= SMALL_SEEDS:
        network, accelerator, _ = random_design(1000 + seed)
    else:
        network, accelerator = _large_design(random.Random(f"resources {seed}"))
    return weighted_bundle(
        path, network, accelerator, Target(board=BOARD[family], clock_mhz=50.0), seed, 1
    )


def _large_design(rng: random.Random) -> tuple[Network, Accelerator]:
    while True:
        try:
            network = _convolutional(rng)
            accelerator = with_buffers(
                network, _accelerator(rng, network), spare=rng.choice((1, 2, 4))
            )
            simulate(plan(network, accelerator), 4)
        except (SpecError, DeadlockError):
            continue
        return network, accelerator


def _convolutional(rng: random.Random) -> Network:
    """A residual network of dense and depthwise convolutions, of the widths and bitwidths that a
    search draws from.
    """
    size = rng.choice((8, 16, 24, 32))
    layers: list[Layer] = []
    bits = rng.choice(((8,), (4,), (6,), (4, 6, 8), (2, 3, 4), (5, 7, 8)))
    channels = rng.choice((8, 12, 16, 24))
    last = INPUT

    def add(
        name: str,
        out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        signed: bool = False,
        residual: str | None = None,
    ) -> None:
        nonlocal last
        layers.append(
            Layer(
                name=name,
                op="conv",
                input=last,
                out_channels=out,
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=(kernel // 2, kernel // 2),
                groups=groups,
                residual=residual,
                signed=signed,
                weight_bits=rng.choice(bits),
                bits=rng.choice(bits),
            )
        )
        last = name

    add("stem", channels, 3, rng.choice((1, 2)))
    for block in range(rng.randint(1, 4)):
        stride = rng.choice((1, 1, 2))
        out = channels if stride == 1 and rng.random() < 0.6 else rng.choice((16, 24, 32, 48, 64))
        source = last if out == channels and stride == 1 else None
        if rng.random() < 0.4:
            inside = channels * rng.choice((1, 2, 3))
            add(f"b{block}_expand", inside, 1)
            add(f"b{block}_depthwise", inside, rng.choice((3, 3, 5)), stride, groups=inside)
            add(f"b{block}_project", out, 1, signed=True, residual=source)
        else:
            add(f"b{block}_first", rng.choice((channels, out)), rng.choice((1, 3)), stride)
            add(f"b{block}_second", out, 3, residual=source)
        channels = out
    layers.append(
        Layer(
            name="pool",
            op="global_pool",
            input=last,
            out_channels=channels,
            bits=8,
            signed=layers[-1].signed,
        )
    )
    layers.append(
        Layer(
            name="classifier",
            op="conv",
            input="pool",
            out_channels=10,
            weight_bits=rng.choice(bits),
            bits=32,
            signed=True,
            raw=True,
        )
    )
    return Network(
        input=Tensor(
            name=INPUT, channels=rng.choice((1, 3)), height=size, width=size, bits=8, signed=False
        ),
        layers=tuple(layers),
        classes=tuple(f"class{i}" for i in range(10)),
    )


def _accelerator(rng: random.Random, network: Network) -> Accelerator:
    conv = [_chunk(rng, f"conv{i}", "conv") for i in range(rng.randint(1, 3))]
    deep = [_chunk(rng, f"depthwise{i}", "depthwise") for i in range(rng.randint(0, 2))]
    streams, loadable = rng.random() < 0.3, rng.random() < 0.25
    allocation, loops = {}, {}
    tensors = network.tensors
    for layer in network.layers:
        narrow = layer.is_depthwise or layer.is_pool
        allocation[layer.name] = rng.choice(deep if narrow and deep else conv).name
        rows = rng.choice([n for n in (1, 1, 1, 2) if tensors[layer.name].height % n == 0])
        if streams and not narrow and rng.random() < 0.6:
            loops[layer.name] = Loops(order="block_outer", rows=rows, weights="stream")
        elif rng.random() < 0.3:
            loops[layer.name] = Loops(order=rng.choice(("pixel_outer", "block_outer")), rows=rows)
    found = Accelerator(
        chunks=tuple(c for c in (*conv, *deep) if c.name in allocation.values()),
        allocation=allocation,
        loops=loops,
        stream_bits=rng.choice((32, 64, 128)),
        loadable=loadable,
    )
    if found.multipliers > _MOST_MULTIPLIERS:
        raise SpecError("too large")
    return found


def _chunk(rng: random.Random, name: str, kind: Kind) -> Chunk:
    multiplier = rng.choice(_STYLES)
    if kind == "depthwise":
        out_lanes = in_lanes = rng.choice((2, 4, 8, 16))
        taps, columns = (
            rng.choice((1, 3, 5)),
            rng.choice((1, 2, 4) if multiplier != "packed" else (2, 4)),
        )
    else:
        out_lanes, in_lanes = rng.choice((4, 8, 12, 16, 24, 32)), rng.choice((2, 4, 8, 16, 32))
        taps, columns = rng.choice((1, 1, 1, 3)), rng.choice((1, 1, 2, 4))
    drain_lanes = rng.choice([n for n in (1, 1, 2, 4, 8) if out_lanes % n == 0])
    return Chunk(
        name=name,
        kind=kind,
        out_lanes=out_lanes,
        in_lanes=in_lanes,
        taps=taps,
        columns=columns,
        drain_lanes=drain_lanes,
        multiplier=multiplier,
    )


def with_buffers(network: Network, bare: Accelerator, spare: int = 1) -> Accelerator:
    """`bare` with buffers of a few rows more than its layers need at least."""
    least = required_buffers(network, bare)
    tensors = network.tensors
    return replace(
        bare,
        buffers=tuple(
            Buffer(
                tensor=t,
                reader=r,
                port=p,
                rows=tensors[t].height + 2 if p == "residual" else rows + spare,
            )
            for (t, r, p), rows in least.items()
        ),
    )


# Designs held out


def _single(bits: int, chunk: Chunk) -> Callable[[], Held]:
    """A stem, a wide convolution and a classifier on one chunk."""

    def make() -> Held:
        network = Network(
            input=Tensor(name=INPUT, channels=16, height=16, width=16, bits=8, signed=False),
            layers=(
                Layer(
                    name="stem",
                    op="conv",
                    input=INPUT,
                    out_channels=64,
                    kernel=(3, 3),
                    padding=(1, 1),
                    weight_bits=bits,
                    bits=bits,
                ),
                Layer(
                    name="wide",
                    op="conv",
                    input="stem",
                    out_channels=64,
                    kernel=(3, 3),
                    padding=(1, 1),
                    weight_bits=bits,
                    bits=bits,
                ),
                Layer(name="pool", op="global_pool", input="wide", out_channels=64, bits=bits),
                Layer(
                    name="classifier",
                    op="conv",
                    input="pool",
                    out_channels=10,
                    weight_bits=bits,
                    bits=32,
                    signed=True,
                    raw=True,
                ),
            ),
            classes=tuple(f"class{i}" for i in range(10)),
        )
        if bits != 8:
            network = replace(network, input=replace(network.input, bits=bits))
        bare = Accelerator(
            chunks=(chunk,), allocation={layer.name: chunk.name for layer in network.layers}
        )
        return Held(network=network, accelerator=with_buffers(network, bare))

    return make


def _square(multiplier: Multiplier, drain_lanes: int = 4) -> Chunk:
    return Chunk(
        name="conv0",
        kind="conv",
        out_lanes=16,
        in_lanes=16,
        drain_lanes=drain_lanes,
        multiplier=multiplier,
    )


def _bundled(name: str) -> Callable[[], Held]:
    """A design that is kept as a bundle."""

    def make() -> Held:
        bundle = Bundle(HERE / name)
        return Held(
            network=bundle.design.network,
            accelerator=bundle.design.accelerator,
            weights=bundle.weights,
        )

    return make


def _resnet8(loadable: bool) -> Callable[[], Held]:
    """ResNet-8 on chunks for its three stages, 280 or 288 multipliers."""

    def make() -> Held:
        network = resnet8()
        style: Multiplier = "packed" if loadable else "lut"
        chunks = (
            Chunk(
                name="conv0",
                kind="conv",
                out_lanes=8,
                in_lanes=8,
                columns=2,
                drain_lanes=2,
                multiplier="packed",
            ),
            Chunk(
                name="conv1",
                kind="conv",
                out_lanes=8 if loadable else 16,
                in_lanes=16 if loadable else 8,
                drain_lanes=2,
                multiplier=style,
            ),
            Chunk(
                name="depthwise0",
                kind="depthwise",
                out_lanes=8,
                in_lanes=8,
                taps=4 if loadable else 3,
                drain_lanes=1,
                multiplier="dsp",
            ),
        )
        allocation = {
            layer.name: (
                "depthwise0"
                if layer.is_pool
                else "conv0"
                if layer.name.startswith(("stem", "s0"))
                else "conv1"
            )
            for layer in network.layers
        }
        bare = Accelerator(chunks=chunks, allocation=allocation, loadable=loadable)
        return Held(network=network, accelerator=with_buffers(network, bare))

    return make


def _streaming_chunk() -> Held:
    """The chunk of 128 multipliers of the authors' network whose weights come from DRAM."""
    accelerator = accelerator_from_json(read_json(HERE / "paper_accelerator.json")["accelerator"])
    return Held(network=paper_network(), accelerator=accelerator, module="chunk_conv8")


HELD_OUT: Mapping[str, Callable[[], Held]] = {
    "cifar10": _bundled("held_out/cifar10_packed"),
    "cifar10, soft": _bundled(
        "held_out/cifar10_soft"
    ),  # 386 multipliers in LUTs, which an earlier model took for cheap
    "demo": _bundled("held_out/demo"),
    "paper, streaming chunk": _streaming_chunk,
    "16x16 packed, 8 bits": lambda: replace(
        _single(8, _square("packed"))(), families=("xc7", "xcup")
    ),
    "16x16 packed, 4 bits": _single(4, _square("packed")),
    "16x16 soft, 8 bits": _single(8, _square("lut")),
    "16x16 soft, 5 bits": _single(5, _square("lut", 16)),
    "resnet8": _resnet8(loadable=False),
    "resnet8 loadable": _resnet8(loadable=True),
}


def held_out_bundle(path: Path, name: str, family: Family) -> tuple[Bundle, str] | None:
    """The held-out design `name` and the module to synthesize; None where it is not for that
    family.
    """
    held = HELD_OUT[name]()
    if family not in held.families:
        return None
    target = Target(board=BOARD[family], clock_mhz=50.0)
    network, weights = (
        (held.network, held.weights)
        if held.weights is not None
        else with_weights(held.network, images=1)[:2]
    )
    images = random_images(network, np.random.default_rng(1), 1)
    golden = {"images": images, "labels": np.zeros(1, dtype=np.int64)}
    golden |= {
        name: values for name, values in evaluate(network, weights, images).items() if name != INPUT
    }
    design = Design(
        name="held_out",
        network=network,
        accelerator=held.accelerator,
        target=target,
        constraints={},
    )
    return write_bundle(path, design, weights, golden), held.module
