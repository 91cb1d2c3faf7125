"""Random networks, weights and accelerators, drawn over the whole space that the generator accepts."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from autonba.accelerator import Accelerator, Buffer, Chunk, Kind
from autonba.arithmetic import (
    LOGIT_BITS,
    MAX_SHIFT,
    MULTIPLIER_BITS,
    RESIDUAL_MULTIPLIER_BITS,
    IntArray,
    Requantization,
    value_range,
)
from autonba.bundle import Bundle, Design, Target, write_bundle
from autonba.cost.schedule import simulate, size_buffers
from autonba.errors import DeadlockError, SpecError
from autonba.golden import LayerWeights, Weights, accumulate, check_weights, evaluate
from autonba.mapping import plan, required_buffers
from autonba.network import INPUT, Layer, Network, Tensor, shuffle_order

BOARD, CLOCK_MHZ = "ulx3s-85f", 50.0
PROBED_IMAGES = 6  # images that an accelerator's buffers must carry without a halt


class _Layers:
    """Layers of a network in the making, with random number formats."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.layers: list[Layer] = []

    def conv(self, source: str, channels: int, kernel: tuple[int, int] = (1, 1), *, stride: tuple[int, int] = (1, 1),
             padding: tuple[int, int] | None = None, groups: int = 1, signed: bool = False,
             residual: str | None = None) -> str:
        return self._add(Layer(
            name=f"conv{len(self.layers)}", op="conv", input=source, residual=residual, out_channels=channels,
            kernel=kernel, stride=stride, padding=padding or (kernel[0] // 2, kernel[1] // 2), groups=groups,
            weight_bits=self.rng.randint(2, 8), bits=self.rng.randint(2, 8), signed=signed))

    def depthwise(self, source: str, channels: int, kernel: int, stride: int = 1) -> str:
        return self.conv(source, channels, (kernel, kernel), stride=(stride, stride), groups=channels)

    def shuffle(self, source: str, channels: int, groups: int) -> str:
        return self._add(Layer(name=f"shuffle{len(self.layers)}", op="shuffle", input=source, out_channels=channels,
                               groups=groups))

    def pool(self, source: str, channels: int) -> str:
        return self._add(Layer(name="pool", op="global_pool", input=source, out_channels=channels,
                               bits=self.rng.randint(4, 8)))

    def logits(self, source: str, classes: int, kernel: tuple[int, int] = (1, 1)) -> str:
        return self._add(Layer(name="logits", op="conv", input=source, out_channels=classes, kernel=kernel, raw=True,
                               bits=LOGIT_BITS, signed=True, weight_bits=self.rng.randint(2, 8)))

    def _add(self, layer: Layer) -> str:
        self.layers.append(layer)
        return layer.name


def mobile_network(rng: random.Random) -> Network:
    """Inverted bottlenecks: k3 and k5, stride 2, residuals, groups with shuffle, signed bottlenecks, colour, not square."""
    image = Tensor(name=INPUT, channels=3, height=rng.randint(6, 10), width=rng.randint(5, 9), bits=8, signed=False)
    net = _Layers(rng)
    stem = net.conv(INPUT, rng.randint(4, 10), (3, 3), stride=(1, rng.randint(1, 2)))
    width, narrow, classes = 2 * rng.randint(3, 9), 2 * rng.randint(2, 6), rng.randint(2, 11)
    wide = net.depthwise(net.conv(stem, width), width, 5, 2)
    first = net.conv(wide, narrow, signed=True)
    width = 2 * rng.randint(4, 10)
    wide = net.depthwise(net.conv(first, width), width, 3)
    second = net.conv(wide, narrow, signed=True, residual=first)
    width = 4 * rng.randint(2, 5)
    groups = 2 if rng.random() < 0.6 else 4
    grouped = net.conv(second, width, groups=2)
    wide = net.depthwise(net.shuffle(grouped, width, groups), width, rng.choice((3, 5)))
    third = net.conv(wide, narrow, groups=2, signed=True, residual=second)
    head = net.conv(third, width := rng.randint(6, 20))
    net.logits(net.pool(head, width), classes)
    return Network(input=image, layers=tuple(net.layers), classes=tuple(f"c{i}" for i in range(classes)))


def residual_network(rng: random.Random) -> Network:
    """Residual blocks: odd channel counts, 5x3 and even kernels, 4 groups, two readers of one tensor, a result of a map."""
    image = Tensor(name=INPUT, channels=rng.choice((1, 1, 2)), height=rng.randint(7, 11), width=rng.randint(6, 9),
                   bits=rng.choice((4, 8)), signed=False)
    net = _Layers(rng)
    odd = 2 * rng.randint(2, 5) + 1
    first = net.conv(INPUT, rng.choice((5, 7)), (5, 3))
    down = net.conv(first, odd, (3, 3), stride=(2, 2))
    skip = net.conv(first, odd, stride=(2, 2), signed=True)
    second = net.conv(down, odd, (3, 3), residual=skip)
    grouped = net.conv(second, 4 * rng.randint(1, 4), (3, 1))
    channels = net.layers[-1].out_channels
    grouped = net.conv(grouped, 4 * rng.randint(1, 3), (3, 3), groups=4, signed=rng.random() < 0.5)
    third = net.conv(grouped, odd, (1, 3), residual=second)
    again = net.conv(third, channels, (2, 2), stride=(2, 1), padding=(0, 1))
    net.logits(again, classes := rng.randint(2, 5), (1, 2))
    return Network(input=image, layers=tuple(net.layers), classes=tuple(f"c{i}" for i in range(classes)))


def random_weights(network: Network, rng: np.random.Generator, images: IntArray) -> tuple[Network, Weights]:
    """Weights of the full range, with shifts and multipliers that spread results over their bits and a little beyond.

    Returns the network with its layers' shifts and residual multipliers.
    """
    layers: list[Layer] = []
    tensors, values, weights = network.tensors, {INPUT: images.astype(np.int64)}, {}
    for layer in network.layers:
        x = values[layer.input]
        if layer.op == "shuffle":
            values[layer.name] = x[:, shuffle_order(layer.out_channels, layer.groups)]
            layers.append(layer)
            continue
        own: dict[str, IntArray] = {}
        if layer.op == "conv":
            low, high = value_range(layer.weight_bits, True)
            shape = (layer.out_channels, tensors[layer.input].channels // layer.groups, *layer.kernel)
            own = {"weight": rng.integers(low, high + 1, shape), "bias": np.zeros(layer.out_channels, dtype=np.int64)}
        acc = accumulate(layer, LayerWeights(**own), x)
        spread = max(float(acc.std()), 1.0)
        if layer.op == "conv":
            own["bias"] = rng.integers(-int(spread) - 1, int(spread) + 2, layer.out_channels)
            acc = accumulate(layer, LayerWeights(**own), x)
        if not layer.raw:
            scale = (1 << layer.bits) / (2.5 * spread) * rng.uniform(0.5, 1.5, layer.out_channels)
            digits = int(rng.integers(3, MULTIPLIER_BITS))  # bits of the largest multiplier
            layer = replace(layer, shift=int(np.clip(digits - np.ceil(np.log2(scale.max())), 0, MAX_SHIFT)))
            own["m"] = np.clip(np.rint(scale * 2.0**layer.shift), 1, (1 << MULTIPLIER_BITS) - 1).astype(np.int64)
            residual = None if layer.residual is None else values[layer.residual]
            if layer.residual is not None:
                share = rng.uniform(0.2, 1.0) * 2.0 ** (layer.shift + layer.bits - tensors[layer.residual].bits)
                layer = replace(layer, residual_multiplier=int(np.clip(share, 1, (1 << RESIDUAL_MULTIPLIER_BITS) - 1)))
            acc = Requantization(shift=layer.shift, residual_multiplier=layer.residual_multiplier, bits=layer.bits,
                                 signed=layer.signed).compute(acc, own["m"][None, :, None, None], residual)
        values[layer.name] = acc
        weights[layer.name] = LayerWeights(**own)
        layers.append(layer)
    network = replace(network, layers=tuple(layers))
    check_weights(network, weights)
    return network, weights


def random_accelerator(rng: random.Random, network: Network) -> Accelerator:
    """Any legal accelerator: from one chunk to one a layer, every kind and lane count up to 16, small or ample buffers."""
    layers = [layer for layer in network.layers if layer.op != "shuffle"]
    count = rng.choice((1, 2, 3, 4, 5, len(layers))) if rng.random() < 0.8 else rng.randint(1, len(layers))
    while True:
        chunks = [_random_chunk(rng, f"{rng.choice('abcdefgh')}{i}", "conv" if i == 0 or rng.random() < 0.6 else "depthwise")
                  for i in range(count)]
        free = chunks.copy()  # with one chunk a layer, none is taken twice
        chosen: dict[str, Chunk] = {}
        for layer in rng.sample(layers, len(layers)):
            able = [chunk for chunk in free if layer.is_depthwise or chunk.kind == "conv"]
            if not able:
                break
            # A depthwise layer lies on a depthwise chunk more often than not, and at times on a conv chunk.
            fitting = [chunk for chunk in able if layer.is_depthwise == (chunk.kind == "depthwise")]
            chosen[layer.name] = rng.choice(fitting if fitting and rng.random() < 0.7 else able)
            if count == len(layers):
                free.remove(chosen[layer.name])
        if len(chosen) < len(layers):
            continue
        allocation = {layer.name: chosen[layer.name].name for layer in layers}
        used = tuple(chunk for chunk in chunks if chunk.name in allocation.values())
        bare = Accelerator(chunks=used, allocation=allocation)
        try:
            return _random_buffers(rng, network, bare)
        except SpecError:  # some layer cannot run where it was put
            continue


def _random_chunk(rng: random.Random, name: str, kind: Kind) -> Chunk:
    out_lanes = 1 << rng.randint(0, 4)
    return Chunk(
        name=name, kind=kind, out_lanes=out_lanes, in_lanes=1 << rng.randint(0, 4) if kind == "conv" else out_lanes,
        drain_lanes=1 << rng.randint(0, out_lanes.bit_length() - 1),
        multiplier="lut" if rng.random() < 0.5 else "dsp")


def _random_buffers(rng: random.Random, network: Network, bare: Accelerator) -> Accelerator:
    """Buffers from the fewest rows that work, or the sized ones, or ample ones."""
    least = required_buffers(network, bare)
    style = rng.choice(("least", "sized", "ample"))
    if style == "sized":
        return size_buffers(network, bare)
    rows = {key: count + (rng.randint(0, 4) if style == "ample" else 0) for key, count in least.items()}
    while True:
        accelerator = replace(bare, buffers=tuple(
            Buffer(tensor=tensor, reader=reader, port=port, rows=count) for (tensor, reader, port), count in rows.items()))
        try:
            simulate(plan(network, accelerator), PROBED_IMAGES)
            return accelerator
        except DeadlockError:
            rows[rng.choice(sorted(rows))] += 1


def random_images(network: Network, rng: np.random.Generator, count: int) -> IntArray:
    """Noise images over the input's whole range, the first one all at the upper end."""
    image = network.input
    low, high = value_range(image.bits, image.signed)
    images = rng.integers(low, high + 1, (count, image.channels, image.height, image.width))
    images[0] = high
    return images


def random_bundle(path: Path, seed: int, images: int) -> Bundle:
    """Write the bundle that `seed` stands for; odd seeds give mobile networks, even ones residual networks."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    network = (mobile_network if seed % 2 else residual_network)(rng)
    pictures = random_images(network, noise, images)
    network, weights = random_weights(network, noise, pictures)
    tensors = evaluate(network, weights, pictures)
    golden = {"images": pictures, "labels": np.zeros(images, dtype=np.int64)}
    golden |= {name: values for name, values in tensors.items() if name != INPUT}
    design = Design(name=f"random_{seed}", network=network, accelerator=random_accelerator(rng, network),
                    target=Target(board=BOARD, clock_mhz=CLOCK_MHZ), constraints={})
    return write_bundle(path, design, weights, golden)
