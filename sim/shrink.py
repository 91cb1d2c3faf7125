"""Makes a failing design small while it goes on failing in the same way, and keeps it as a file
that a test replays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autonba.accelerator import Accelerator, Buffer, Chunk, Loops
from autonba.bundle import Bundle, Design, Target
from autonba.cost.buffers import size_buffers
from autonba.cost.schedule import simulate
from autonba.errors import DeadlockError, SpecError
from autonba.files import read_json, write_json
from autonba.mapping import plan, required_buffers
from autonba.network import INPUT, Layer, Network, Tensor, sources

from .random_designs import weighted_bundle

SCHEMA_VERSION = 1
PROBED_IMAGES = 4


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A design, and the seed of its weights, images and stalls."""

    network: Network
    accelerator: Accelerator
    target: Target
    seed: int

    def write(self, path: Path, images: int) -> Bundle:
        """Write it as a bundle."""
        return weighted_bundle(path, self.network, self.accelerator, self.target, self.seed, images)


def save(path: Path, subject: Subject, failure: str) -> None:
    """Write a case: the design, the seed, and what was wrong with it."""
    design = Design(
        name=f"case_{subject.seed}",
        network=subject.network,
        accelerator=subject.accelerator,
        target=subject.target,
        constraints={},
    )
    write_json(
        path,
        {
            "schema_version": SCHEMA_VERSION,
            "seed": subject.seed,
            "failure": failure,
            "design": design.to_json(),
        },
    )


def load(path: Path) -> Subject:
    """Read what `save` wrote."""
    document: dict[str, Any] = read_json(path)
    design = Design.from_json(document["design"], str(path))
    return Subject(
        network=design.network,
        accelerator=design.accelerator,
        target=design.target,
        seed=document["seed"],
    )


def shrink(subject: Subject, fails: Callable[[Subject], bool], seconds: float) -> Subject:
    """The smallest design found in about that time for which `fails` holds, as it must for
    `subject`.
    """
    end = time.monotonic() + seconds
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(subject):
            if time.monotonic() > end:
                return subject
            if fails(smaller):
                subject, progress = smaller, True
                break
    return subject


def _smaller(subject: Subject) -> Iterator[Subject]:
    """Legal designs that are a step smaller, large steps first."""
    network, accelerator = subject.network, subject.accelerator
    for candidate in _networks(network):
        names = {layer.name for layer in candidate.layers if layer.op != "shuffle"}
        allocation = {
            layer: chunk for layer, chunk in accelerator.allocation.items() if layer in names
        }
        loops = {layer: own for layer, own in accelerator.loops.items() if layer in names}
        chunks = tuple(chunk for chunk in accelerator.chunks if chunk.name in allocation.values())
        yield from _legal(
            subject, candidate, {"chunks": chunks, "allocation": allocation, "loops": loops}
        )
    for changes in _accelerators(accelerator):
        yield from _legal(subject, network, changes)


def _legal(subject: Subject, network: Network, changes: dict[str, Any]) -> Iterator[Subject]:
    """The changed design with buffers of the old sizes where they do, else with sized ones; nothing
    where it is illegal.
    """
    given = {
        (b.tensor, b.reader, b.port): b.rows
        for b in changes.get("buffers", subject.accelerator.buffers)
    }
    try:
        bare = replace(subject.accelerator, **{**changes, "buffers": ()})
        buffers = tuple(
            Buffer(tensor=t, reader=r, port=p, rows=max(least, given.get((t, r, p), least)))
            for (t, r, p), least in required_buffers(network, bare).items()
        )
        accelerator = replace(bare, buffers=buffers)
        try:
            simulate(plan(network, accelerator), PROBED_IMAGES)
        except DeadlockError:
            accelerator = size_buffers(network, bare)
    except SpecError:
        return
    found = replace(subject, network=network, accelerator=accelerator)
    if found != subject:
        yield found


def _networks(network: Network) -> Iterator[Network]:
    """Networks with fewer layers, then with smaller ones, then on smaller images."""
    layers = network.layers
    for index, layer in enumerate(layers[:-1]):  # the network ends here
        if layer.op != "shuffle":
            yield from _network(network.input, layers[: index + 1])
    for index, layer in enumerate(layers[:-1]):  # the network begins behind this layer
        out = network.tensors[layer.name]
        later = tuple(_renamed(other, layer.name, INPUT) for other in layers[index + 1 :])
        if 1 <= out.bits <= 8:
            yield from _network(replace(out, name=INPUT), later)
    for index, layer in enumerate(layers):  # this layer is left out
        others = (
            *layers[:index],
            *(_renamed(other, layer.name, layer.input) for other in layers[index + 1 :]),
        )
        if others:
            yield from _network(network.input, others)
    for index, layer in enumerate(layers):
        for smaller in _layers(layer):
            yield from _network(network.input, (*layers[:index], smaller, *layers[index + 1 :]))
    for field in ("height", "width", "channels"):
        size = getattr(network.input, field)
        for less in sorted({1, size // 2, size - 1} - {0, size}):
            yield from _network(replace(network.input, **{field: less}), layers)


def _network(image: Tensor, layers: tuple[Layer, ...]) -> Iterator[Network]:
    """The network of what the last layer needs, if it is legal; pools have as many channels as what
    they read.
    """
    wanted = {layers[-1].name}
    for layer in reversed(layers):
        if layer.name in wanted:
            wanted.update(sources(layer))
    channels, kept = {INPUT: image.channels}, []
    try:
        for layer in layers:
            if layer.name in wanted:
                kept.append(
                    layer
                    if layer.op == "conv"
                    else replace(layer, out_channels=channels[layer.input])
                )
                channels[layer.name] = kept[-1].out_channels
        yield Network(
            input=image,
            layers=tuple(kept),
            classes=tuple(f"c{i}" for i in range(kept[-1].out_channels)),
        )
    except SpecError:
        return


def _renamed(layer: Layer, old: str, new: str) -> Layer:
    """The layer reading tensor `new` in place of `old`."""
    return replace(
        layer,
        input=new if layer.input == old else layer.input,
        residual=new if layer.residual == old else layer.residual,
    )


def _layers(layer: Layer) -> Iterator[Layer]:
    """Simpler layers."""
    changes: list[dict[str, Any]] = []
    if layer.residual is not None:
        changes.append({"residual": None})
    if layer.groups > 1 and layer.op != "shuffle":
        changes.append({"groups": 1})
    for axis in (0, 1):

        def one(field: str, value: int, axis: int = axis) -> tuple[int, int]:
            old = getattr(layer, field)
            return (value, old[1]) if axis == 0 else (old[0], value)

        size, pad = layer.kernel[axis], layer.padding[axis]
        changes += [
            {"kernel": one("kernel", k), "padding": one("padding", min(pad, k - 1))}
            for k in sorted({1, size - 1})
            if 0 < k < size
        ]
        if layer.stride[axis] > 1:
            changes.append({"stride": one("stride", 1)})
        if pad:
            changes.append({"padding": one("padding", 0)})
    out = layer.out_channels
    changes += [{"out_channels": n} for n in sorted({1, out // 2, out - 1}) if 0 < n < out]
    for change in changes:
        try:
            yield replace(layer, **change)
        except SpecError:
            continue


def _accelerators(accelerator: Accelerator) -> Iterator[dict[str, Any]]:
    """Changes that make an accelerator simpler."""
    for gone in accelerator.chunks:
        for heir in accelerator.chunks:
            if heir is not gone:
                chunks = tuple(chunk for chunk in accelerator.chunks if chunk is not gone)
                yield {
                    "chunks": chunks,
                    "allocation": {
                        layer: heir.name if chunk == gone.name else chunk
                        for layer, chunk in accelerator.allocation.items()
                    },
                }
    for layer, loops in accelerator.loops.items():
        for simpler in (Loops(), replace(loops, rows=1), replace(loops, weights="chip")):
            if simpler != loops:
                yield {"loops": {**accelerator.loops, layer: simpler}}
    for chunk in accelerator.chunks:
        for smaller in _chunks(chunk):
            yield {"chunks": tuple(smaller if c is chunk else c for c in accelerator.chunks)}
    yield {"buffers": ()}
    yield {"stream_bits": 64}
    yield {"loadable": False}


def _chunks(chunk: Chunk) -> Iterator[Chunk]:
    """Smaller chunks."""
    for fields in _smaller_fields(chunk):
        try:
            yield replace(chunk, **fields)
        except SpecError:
            continue


def _smaller_fields(chunk: Chunk) -> Iterator[dict[str, Any]]:
    for field in ("taps", "columns"):
        size = getattr(chunk, field)
        yield from ({field: less} for less in sorted({1, size // 2, size - 1}) if 0 < less < size)
    if chunk.kind == "depthwise":
        if chunk.out_lanes > 1:
            half = chunk.out_lanes // 2
            yield {"out_lanes": half, "in_lanes": half, "drain_lanes": min(chunk.drain_lanes, half)}
    else:
        if chunk.in_lanes > 1:
            yield {"in_lanes": chunk.in_lanes // 2}
        if chunk.out_lanes > chunk.drain_lanes:
            yield {"out_lanes": chunk.drain_lanes}
            yield {"out_lanes": chunk.out_lanes - chunk.drain_lanes}
        elif chunk.drain_lanes > 1:
            yield {"out_lanes": chunk.drain_lanes // 2, "drain_lanes": chunk.drain_lanes // 2}
    if chunk.drain_lanes > 1:
        yield {"drain_lanes": chunk.drain_lanes // 2}
    if chunk.multiplier != "dsp":
        yield {"multiplier": "dsp"}
