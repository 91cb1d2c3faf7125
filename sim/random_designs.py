"""Random networks, weights and accelerators, drawn over the whole space that the generator
accepts.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import gcd
from pathlib import Path

import numpy as np

from autonba.accelerator import (
    MAX_COLUMNS,
    MAX_TAPS,
    STREAM_BITS,
    Accelerator,
    Buffer,
    Chunk,
    Kind,
    Loops,
    Multiplier,
)
from autonba.arithmetic import (
    LOGIT_BITS,
    MAX_SHIFT,
    MULTIPLIER_BITS,
    RESIDUAL_MULTIPLIER_BITS,
    IntArray,
    Requantization,
    value_range,
)
from autonba.boards import BOARDS
from autonba.bundle import Bundle, Design, Target, write_bundle
from autonba.cost.buffers import size_buffers
from autonba.cost.schedule import simulate
from autonba.errors import AutonbaError, DeadlockError, SpecError
from autonba.golden import LayerWeights, Weights, accumulate, check_weights, evaluate
from autonba.mapping import plan, required_buffers
from autonba.network import (
    INPUT,
    POOLS,
    Layer,
    Network,
    Op,
    Tensor,
    effective_groups,
    shuffle_order,
    sources,
)

# Draws an accelerator for a network, of at most so many chunks and about so many multipliers.
Draw = Callable[[random.Random, Network, int, int], Accelerator]

PROBED_IMAGES = 6  # images that an accelerator's buffers must carry without a halt
MAX_MULTIPLIERS = 192
MAX_WORK = 250_000  # microseconds of Icarus for the cycles of the first image, with
IDLE_WORK, LUT_WORK, DSP_WORK = (
    150,
    7,
    1.5,
)  # for each cycle, for each multiplier of LUTs in it, and for each in a DSP block
ATTEMPTS = 60  # accelerators drawn for a network before it is given up
_KERNELS = (1, 1, 1, 2, 3, 3, 3, 3, 4, 5, 7)
_MULTIPLIERS: tuple[Multiplier, ...] = ("lut", "dsp", "packed")
_STRIDES = (1, 1, 1, 2, 2, 3)


class IllegalDrawError(AutonbaError):
    """An accelerator that was drawn elsewhere as legal, and that no generator builds."""


def random_network(rng: random.Random) -> Network:
    """Three to eight layers of every kind, with branches; raises SpecError where the draw is
    illegal.
    """
    image = Tensor(
        name=INPUT,
        channels=rng.choice((1, 2, 3, 3, 4)),
        height=rng.randint(3, 10),
        width=rng.randint(3, 10),
        bits=rng.choice((1, 2, 4, 7, 8, 8)),
        signed=rng.random() < 0.2,
    )
    layers: list[Layer] = []
    tensors = {INPUT: image}

    def add(layer: Layer) -> None:
        layers.append(layer)
        if layer.op == "shuffle":  # no network ends with one
            tensors[layer.name] = replace(tensors[layer.input], name=layer.name)
        else:
            tensors.update(_network(image, layers, layer.out_channels).tensors)

    for number in range(rng.randint(3, 7)):
        # Mostly the newest tensor; else an older one, which then has two readers.
        name = rng.choice(list(tensors)) if rng.random() < 0.2 else list(tensors)[-1]
        add(_random_layer(rng, number, tensors[name], tensors))
    last = list(tensors.values())[-1]
    if rng.random() < 0.8:
        whole = rng.random() < 0.5 and last.height * last.width <= 12
        add(
            Layer(
                name="logits",
                op="conv",
                input=last.name,
                out_channels=rng.randint(1, 10),
                raw=True,
                bits=LOGIT_BITS,
                signed=True,
                weight_bits=rng.randint(2, 8),
                kernel=(last.height, last.width) if whole else (1, 1),
            )
        )
    elif layers[-1].op == "shuffle":
        raise SpecError("the last layer must not be a shuffle")
    return _network(image, layers, layers[-1].out_channels)


def _network(image: Tensor, layers: list[Layer], classes: int) -> Network:
    """A network of those layers that the last one needs."""
    wanted = {layers[-1].name}
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(sources(layer))
    return Network(
        input=image,
        layers=tuple(layer for layer in layers if layer.name in wanted),
        classes=tuple(f"c{i}" for i in range(classes)),
    )


def _random_layer(
    rng: random.Random, number: int, source: Tensor, tensors: dict[str, Tensor]
) -> Layer:
    """A layer that reads `source`."""
    kind = rng.choices(("conv", "depthwise", *POOLS, "shuffle"), (6, 3, 0.4, 1, 1.5, 1))[0]
    op: Op = "conv" if kind == "depthwise" else kind  # type: ignore[assignment]
    channels = source.channels
    kernel, stride, padding, groups, out, residual = (1, 1), (1, 1), (0, 0), 1, channels, None
    if op == "shuffle":
        groups = rng.choice([g for g in range(1, channels + 1) if channels % g == 0])
    elif op != "global_pool":
        kernel = rng.choice(_KERNELS), rng.choice(_KERNELS)
        if rng.random() < 0.5:
            kernel = kernel[0], kernel[0]
        if (
            rng.random() < 0.5
        ):  # the map keeps its size, so that a residual finds others of its shape
            kernel = kernel[0] | 1, kernel[1] | 1
            padding = kernel[0] // 2, kernel[1] // 2
        else:
            stride = rng.choice(_STRIDES), rng.choice(_STRIDES)
            padding = rng.randrange(kernel[0]), rng.randrange(kernel[1])
    if op == "conv":
        out = rng.randint(1, 12)
        if kind == "depthwise":
            groups, out = channels, channels * rng.choice((1, 1, 1, 2, 3))
        else:
            shape = tuple(
                (size + 2 * pad - k) // step + 1
                for size, pad, k, step in zip(
                    (source.height, source.width), padding, kernel, stride, strict=True
                )
            )
            like = [
                t
                for t in tensors.values()
                if (t.height, t.width) == shape and (t is not source or rng.random() < 0.2)
            ]
            if like and rng.random() < 0.7:
                other = rng.choice(like)
                residual, out = other.name, other.channels
            if rng.random() < 0.4:
                out += out % 2 if residual is None else 0
                common = gcd(channels, out)
                groups = rng.choice([g for g in range(1, common + 1) if common % g == 0])
    return Layer(
        name=f"{kind}{number}",
        op=op,
        input=source.name,
        residual=residual,
        out_channels=out,
        kernel=kernel,
        stride=stride,
        padding=padding,
        groups=groups,
        weight_bits=rng.randint(2, 8),
        bits=rng.randint(2, 8),
        signed=rng.random() < 0.4,
    )


def random_weights(
    network: Network, rng: np.random.Generator, images: IntArray
) -> tuple[Network, Weights]:
    """Weights of the full range, with shifts and multipliers that spread results over their bits
    and a little beyond.

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
            shape = (
                layer.out_channels,
                tensors[layer.input].channels // layer.groups,
                *layer.kernel,
            )
            own = {
                "weight": rng.integers(low, high + 1, shape),
                "bias": np.zeros(layer.out_channels, dtype=np.int64),
            }
        acc = accumulate(layer, LayerWeights(**own), x)
        spread = max(float(acc.std()), 1.0)
        if layer.op == "conv":
            own["bias"] = rng.integers(-int(spread) - 1, int(spread) + 2, layer.out_channels)
            acc = accumulate(layer, LayerWeights(**own), x)
        if not layer.raw:
            scale = (1 << layer.bits) / (2.5 * spread) * rng.uniform(0.5, 1.5, layer.out_channels)
            digits = int(rng.integers(3, MULTIPLIER_BITS))  # bits of the largest multiplier
            layer = replace(
                layer, shift=int(np.clip(digits - np.ceil(np.log2(scale.max())), 0, MAX_SHIFT))
            )
            own["m"] = np.clip(
                np.rint(scale * 2.0**layer.shift), 1, (1 << MULTIPLIER_BITS) - 1
            ).astype(np.int64)
            residual = None if layer.residual is None else values[layer.residual]
            if layer.residual is not None:
                share = rng.uniform(0.2, 1.0) * 2.0 ** (
                    layer.shift + layer.bits - tensors[layer.residual].bits
                )
                layer = replace(
                    layer,
                    residual_multiplier=int(np.clip(share, 1, (1 << RESIDUAL_MULTIPLIER_BITS) - 1)),
                )
            acc = Requantization(
                shift=layer.shift,
                residual_multiplier=layer.residual_multiplier,
                bits=layer.bits,
                signed=layer.signed,
            ).compute(acc, own["m"][None, :, None, None], residual)
        values[layer.name] = acc
        weights[layer.name] = LayerWeights(**own)
        layers.append(layer)
    network = replace(network, layers=tuple(layers))
    check_weights(network, weights)
    return network, weights


def random_accelerator(rng: random.Random, network: Network, count: int) -> Accelerator:
    """Any accelerator of up to `count` chunks, with any array and loops; raises SpecError where the
    draw is illegal.
    """
    layers = [layer for layer in network.layers if layer.op != "shuffle"]
    tensors = network.tensors
    chunks = [
        _random_chunk(
            rng, f"{rng.choice('abcdefgh')}{i}", "conv" if rng.random() < 0.6 else "depthwise"
        )
        for i in range(count)
    ]
    streams = rng.random() < 0.3
    free = chunks.copy()  # with one chunk a layer, none is taken twice
    allocation: dict[str, str] = {}
    for layer in rng.sample(layers, len(layers)):
        depthwise = (
            layer.is_pool
            or effective_groups(layer, tensors[layer.input]) == tensors[layer.input].channels > 1
        )
        kinds = (
            {"depthwise"}
            if layer.op == "max_pool"
            else {"conv", "depthwise"}
            if depthwise
            else {"conv"}
        )
        able = [chunk for chunk in free if chunk.kind in kinds]
        # A depthwise layer lies on a depthwise chunk more often than not, and at times on a conv
        # chunk.
        fitting = [chunk for chunk in able if depthwise == (chunk.kind == "depthwise")]
        if not able:
            raise SpecError(f"layer {layer.name!r} finds no chunk")
        chosen = rng.choice(fitting if fitting and rng.random() < 0.7 else able)
        allocation[layer.name] = chosen.name
        if count == len(layers):
            free.remove(chosen)
    bare = Accelerator(
        chunks=tuple(chunk for chunk in chunks if chunk.name in allocation.values()),
        allocation={layer.name: allocation[layer.name] for layer in layers},
        loops={
            layer.name: _random_loops(rng, tensors[layer.name].height, streams)
            for layer in layers
            if rng.random() < 0.5
        },
        stream_bits=rng.choice(STREAM_BITS),
    )
    _check_size(bare)
    return _random_buffers(rng, network, bare)


def _check_size(bare: Accelerator) -> None:
    if bare.multipliers > MAX_MULTIPLIERS:
        raise SpecError(
            f"accelerator: multipliers must be at most {MAX_MULTIPLIERS}, not {bare.multipliers}"
        )


def _random_chunk(rng: random.Random, name: str, kind: Kind) -> Chunk:
    drain_lanes = 1 << rng.choice((0, 0, 1, 1, 2, 3))
    if kind == "depthwise":
        out_lanes = in_lanes = drain_lanes << rng.choice((0, 1, 1, 2))
    else:
        out_lanes, in_lanes = (
            drain_lanes * rng.choice((1, 2, 3, 4, 5, 7)),
            1 << rng.choice((0, 1, 1, 2, 2, 3, 4)),
        )
    multiplier: Multiplier = rng.choice(_MULTIPLIERS)
    taps, columns = (
        rng.choice((1, 1, 2, 3, rng.randint(1, most))) for most in (MAX_TAPS, MAX_COLUMNS)
    )
    if kind == "depthwise" and multiplier == "packed":
        columns = max(columns, 2)
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


def _random_loops(rng: random.Random, height: int, streams: bool) -> Loops:
    rows = rng.choice([n for n in range(1, height + 1) if height % n == 0])
    if streams and rng.random() < 0.6:
        return Loops(order="block_outer", rows=rows, weights="stream")
    return Loops(order=rng.choice(("pixel_outer", "block_outer")), rows=rows)


def _random_buffers(rng: random.Random, network: Network, bare: Accelerator) -> Accelerator:
    """Buffers from the fewest rows that work, or the sized ones, or ample ones."""
    least = required_buffers(network, bare)
    smallest = replace(
        bare,
        buffers=tuple(
            Buffer(tensor=t, reader=r, port=p, rows=rows) for (t, r, p), rows in least.items()
        ),
    )
    if plan(network, smallest).bottleneck * _work(bare) > MAX_WORK:
        raise SpecError("accelerator: it takes too long to simulate")
    style = rng.choice(("least", "least", "sized", "ample"))
    if style == "sized":
        return size_buffers(network, bare)
    rows = {
        key: count + (rng.randint(0, 4) if style == "ample" else 0) for key, count in least.items()
    }
    while True:
        accelerator = replace(
            bare,
            buffers=tuple(
                Buffer(tensor=tensor, reader=reader, port=port, rows=count)
                for (tensor, reader, port), count in rows.items()
            ),
        )
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


def random_design(seed: int, draw: Draw | None = None) -> tuple[Network, Accelerator, str]:
    """Network, accelerator and board that `seed` stands for; draws until they are legal and small
    enough to simulate. `draw` is asked for the accelerator in place of `random_accelerator`; what
    it gives has to be legal, or this raises IllegalDrawError.
    """
    rng = random.Random(seed)
    while True:
        try:
            network = random_network(rng)
            mapped = sum(layer.op != "shuffle" for layer in network.layers)
            count = rng.choice((1, 2, 3, 4, mapped, rng.randint(1, mapped)))
            for _ in range(ATTEMPTS):
                try:
                    accelerator = (
                        random_accelerator(rng, network, min(count, mapped))
                        if draw is None
                        else _drawn(rng, network, count, draw)
                    )
                except SpecError:
                    continue
                if (
                    simulate(plan(network, accelerator), 1).first_image * _work(accelerator)
                    <= MAX_WORK
                ):
                    board = rng.choice(sorted(BOARDS))
                    return network, replace(accelerator, loadable=rng.random() < 0.15), board
        except SpecError:
            continue


def _drawn(rng: random.Random, network: Network, count: int, draw: Draw) -> Accelerator:
    """What `draw` gives, with its own rows of buffer, if they let it run, or others; raises
    SpecError where it is too large, or the network one that no accelerator runs.
    """
    drawn = draw(rng, network, count, MAX_MULTIPLIERS)
    try:
        mapped = plan(network, drawn)
    except SpecError as error:
        raise IllegalDrawError(str(error)) from None
    _check_size(drawn)
    if rng.random() < 0.5:
        with suppress(DeadlockError):
            simulate(mapped, PROBED_IMAGES)
            return drawn
    return _random_buffers(rng, network, replace(drawn, buffers=()))


def _work(accelerator: Accelerator) -> float:
    return IDLE_WORK + sum(
        (LUT_WORK if c.multiplier == "lut" else DSP_WORK) * c.multipliers
        for c in accelerator.chunks
    )


def random_bundle(path: Path, seed: int, images: int, draw: Draw | None = None) -> Bundle:
    """Write the bundle that `seed` stands for, its accelerator drawn by `draw`."""
    network, accelerator, board = random_design(seed, draw)
    return weighted_bundle(
        path,
        network,
        accelerator,
        Target(board=board, clock_mhz=BOARDS[board].clock_mhz),
        seed,
        images,
    )


def weighted_bundle(
    path: Path, network: Network, accelerator: Accelerator, target: Target, seed: int, images: int
) -> Bundle:
    """Write a bundle with the weights and images that `seed` stands for."""
    noise = np.random.default_rng(seed)
    pictures = random_images(network, noise, images)
    network, weights = random_weights(network, noise, pictures)
    golden = {"images": pictures, "labels": np.zeros(images, dtype=np.int64)}
    golden |= {
        name: values
        for name, values in evaluate(network, weights, pictures).items()
        if name != INPUT
    }
    design = Design(
        name=f"random_{seed}",
        network=network,
        accelerator=accelerator,
        target=target,
        constraints={},
    )
    return write_bundle(path, design, weights, golden)


def features(network: Network, accelerator: Accelerator, board: str) -> set[str]:
    """What a design exercises, in words."""
    tensors = network.tensors
    reads = Counter(name for layer in network.layers for name in sources(layer))
    found = {
        f"board {board}",
        f"chunks {min(len(accelerator.chunks), 5)}{'+' * (len(accelerator.chunks) > 4)}",
    }
    for chunk in accelerator.chunks:
        found |= {
            f"{chunk.kind} chunk",
            f"{chunk.multiplier} {chunk.kind}",
            f"taps {chunk.taps}",
            f"columns {chunk.columns}",
        }
        if chunk.out_lanes & (chunk.out_lanes - 1):
            found.add("out_lanes no power of two")
        if chunk.out_lanes > chunk.drain_lanes:
            found.add("drains in several cycles")
    for layer in network.layers:
        source = tensors[layer.input]
        groups = effective_groups(layer, source)
        found.add(layer.op)
        if layer.op == "shuffle":
            continue
        kind, loops = (
            accelerator.chunk(accelerator.allocation[layer.name]).kind,
            accelerator.loops_of(layer.name),
        )
        found |= {f"order {loops.order}", "raw" if layer.raw else f"bits {layer.bits}"}
        if layer.op == "conv":
            found.add(f"weight bits {layer.weight_bits}")
            if groups == source.channels > 1:
                multiplied = " with multiplier" if layer.out_channels > groups else ""
                found.add(f"depthwise layer{multiplied} on {kind} chunk")
            elif groups > 1:
                found.add("groups")
        elif layer.op != "max_pool":
            found.add(f"{layer.op} on {kind} chunk")
        checks = {
            "residual": layer.residual is not None,
            "residual of its own input": layer.residual == layer.input,
            "residual of the image": layer.residual == INPUT,
            "tasks of several rows": loops.rows > 1,
            "weights streamed": loops.weights == "stream",
            "stride 2 or 3": max(layer.stride) > 1,
            "padding": max(layer.padding) > 0,
            "even kernel": any(k % 2 == 0 for k in layer.kernel),
            "kernel not square": layer.kernel[0] != layer.kernel[1],
            "signed input": source.signed,
            "signed result": layer.signed and not layer.raw,
        }
        found.update(name for name, there in checks.items() if there)
    others = {
        "weights loadable": accelerator.loadable,
        "image not square": network.input.height != network.input.width,
        "image signed": network.input.signed,
        "several readers": max(reads.values()) > 1,
        "result is a map": network.output.height * network.output.width > 1,
        "result requantized": not network.layers[-1].raw,
    }
    return found | {name for name, there in others.items() if there}
