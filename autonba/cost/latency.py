"""Cycles that a layer keeps a chunk busy, without a whole accelerator around it."""

from __future__ import annotations

from autonba.accelerator import Chunk
from autonba.mapping import word_nest
from autonba.network import Layer, Tensor, effective_kernel

from . import timing


def layer_cycles(layer: Layer, source: Tensor, out: Tensor, chunk: Chunk) -> int:
    """Busy cycles an image of `layer` on `chunk`, channels stored in natural order.

    out.height * ceil(out.width / columns) * blocks * max(kh * ceil(kw / taps) * words, columns *
    out_lanes / drain_lanes). A shuffle costs nothing. Raises SpecError if the chunk cannot run the
    layer.
    """
    if layer.op == "shuffle":
        return 0
    kh, kw = effective_kernel(layer, source)
    nest = word_nest(
        layer, source, chunk, tuple(range(source.channels)), tuple(range(out.channels))
    )
    beats = timing.beats(kh, kw, chunk.taps, nest.words)
    drain = timing.drain_cycles(chunk.columns, chunk.out_lanes, chunk.drain_lanes)
    return int(
        timing.visits(out.height, out.width, chunk.columns, nest.blocks)
        * timing.period(beats, drain)
    )
