"""The accelerator: chunks, the layers they run, and the row buffers between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from autonba.errors import SpecError
from autonba.names import check_name

MAX_LANES = 64
MAX_TAPS = MAX_COLUMNS = 8
STREAM_BITS = (32, 64, 128, 256, 512)
MOST_ROWS = 16384  # of a row buffer, of a task
MOST_CHUNKS = 256
SOURCE = "input"  # the agent that writes the image
SINK = "output"  # the agent that reads the result

Kind = Literal["conv", "depthwise"]
Multiplier = Literal["lut", "dsp", "packed"]
Port = Literal["main", "residual"]
Order = Literal["pixel_outer", "block_outer"]
WeightSource = Literal["chip", "stream"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One sub-accelerator.

    conv       each cycle, `in_lanes` input channels of `taps` neighbouring kernel taps meet
               `out_lanes` output channels at `columns` neighbouring output columns
    depthwise  each cycle, `out_lanes` (= `in_lanes`) channels, each with `taps` kernel taps, at
               `columns` columns
    `drain_lanes` requantizers take the finished accumulators, that many a cycle. `multiplier` says
    what the array's multipliers are built of; packed: several in one DSP block, which share an
    activation (output channels of a conv chunk) or a weight (columns of a depthwise chunk).
    """

    name: str
    kind: Kind
    out_lanes: int
    in_lanes: int
    taps: int = 1
    columns: int = 1
    drain_lanes: int
    multiplier: Multiplier

    def __post_init__(self) -> None:
        where = f"chunk {self.name[:80]!r}"
        if not _NAME.fullmatch(self.name) or self.name in (SOURCE, SINK):
            raise SpecError(
                f"{where}: name must be lower-case letters, digits and underscores and neither "
                f"{SOURCE!r} nor {SINK!r}"
            )
        check_name(where, self.name)
        if self.kind not in ("conv", "depthwise"):
            raise SpecError(f"{where}: kind must be 'conv' or 'depthwise', not {self.kind!r}")
        if self.multiplier not in ("lut", "dsp", "packed"):
            raise SpecError(
                f"{where}: multiplier must be 'lut', 'dsp' or 'packed', not {self.multiplier!r}"
            )
        for name in ("in_lanes", "drain_lanes"):
            value = getattr(self, name)
            if not 1 <= value <= MAX_LANES or value & (value - 1):
                raise SpecError(
                    f"{where}: {name} must be a power of two from 1 to {MAX_LANES}, not {value!r}"
                )
        if not 1 <= self.out_lanes <= MAX_LANES:
            raise SpecError(
                f"{where}: out_lanes must be from 1 to {MAX_LANES}, not {self.out_lanes!r}"
            )
        if self.out_lanes % self.drain_lanes:
            raise SpecError(
                f"{where}: drain_lanes must divide out_lanes = {self.out_lanes}, not"
                f" {self.drain_lanes}"
            )
        for name, most in (("taps", MAX_TAPS), ("columns", MAX_COLUMNS)):
            if not 1 <= getattr(self, name) <= most:
                raise SpecError(
                    f"{where}: {name} must be from 1 to {most}, not {getattr(self, name)!r}"
                )
        if self.kind == "depthwise" and self.in_lanes != self.out_lanes:
            raise SpecError(
                f"{where}: in_lanes must equal out_lanes = {self.out_lanes} in a depthwise chunk, "
                f"not {self.in_lanes}"
            )
        if self.kind == "depthwise" and self.multiplier == "packed" and self.columns == 1:
            raise SpecError(
                f"{where}: columns must be at least 2 where a depthwise chunk packs its"
                " multipliers, not 1"
            )

    @property
    def terms(self) -> int:
        """Products that each accumulator takes in a cycle."""
        return self.taps * (self.in_lanes if self.kind == "conv" else 1)

    @property
    def weights_per_cycle(self) -> int:
        """Weights of a word of the weight memory."""
        return self.out_lanes * self.terms

    @property
    def multipliers(self) -> int:
        """Multiply-accumulates a cycle."""
        return self.columns * self.weights_per_cycle


@dataclass(frozen=True, kw_only=True)
class Loops:
    """How a layer runs on its chunk.

    `order`   pixel_outer: for row, for column, for block of output channels. block_outer: for
              block, for row, for column
    `rows`    output rows of a task; they become available together
    `weights` chip: in the chunk's memory for good. stream: read from DRAM for each task, a block
              at a time
    """

    order: Order = "pixel_outer"
    rows: int = 1
    weights: WeightSource = "chip"

    def __post_init__(self) -> None:
        if self.order not in ("pixel_outer", "block_outer"):
            raise SpecError(
                f"loops: order must be 'pixel_outer' or 'block_outer', not {self.order!r}"
            )
        if self.weights not in ("chip", "stream"):
            raise SpecError(f"loops: weights must be 'chip' or 'stream', not {self.weights!r}")
        if not 1 <= self.rows <= MOST_ROWS:
            raise SpecError(f"loops: rows must be from 1 to {MOST_ROWS}, not {self.rows!r}")
        if self.weights == "stream" and self.order != "block_outer":
            raise SpecError(
                "loops: order must be 'block_outer' where weights are streamed, not 'pixel_outer'"
            )


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Circular buffer of `rows` rows of `tensor`, read by `reader` (a chunk, or 'output') at
    `port`.
    """

    tensor: str
    reader: str
    port: Port
    rows: int

    def __post_init__(self) -> None:
        if self.port not in ("main", "residual"):
            raise SpecError(
                f"buffer of {self.tensor!r}: port must be 'main' or 'residual', not {self.port!r}"
            )
        if not 1 <= self.rows <= MOST_ROWS:
            raise SpecError(
                f"buffer of {self.tensor!r}: rows must be from 1 to {MOST_ROWS}, not {self.rows}"
            )


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """Chunks, the chunk of each layer (by layer name; a shuffle runs nowhere), every buffer, and
    the layers' loops.

    Layers that `loops` does not name run with the defaults of `Loops`. `stream_bits` is the width
    of the AXI4 ports through which weights are streamed. `loadable`: a host can write weights,
    biases and multipliers through the registers.
    """

    chunks: tuple[Chunk, ...]
    allocation: Mapping[str, str]
    buffers: tuple[Buffer, ...] = ()
    loops: Mapping[str, Loops] = field(default_factory=dict)
    stream_bits: int = 64
    loadable: bool = False

    def __post_init__(self) -> None:
        names = [chunk.name for chunk in self.chunks]
        if not 1 <= len(names) <= MOST_CHUNKS:
            raise SpecError(
                f"accelerator: chunks must hold from 1 to {MOST_CHUNKS} chunks, not {len(names)}"
            )
        if len(set(names)) != len(names):
            raise SpecError(f"accelerator: chunks must have different names, not {names}")
        for layer, chunk in self.allocation.items():
            if chunk not in names:
                raise SpecError(
                    f"accelerator: allocation of layer {layer!r} must be one of {names}, not"
                    f" {chunk!r}"
                )
        if self.stream_bits not in STREAM_BITS:
            raise SpecError(
                f"accelerator: stream_bits must be one of {STREAM_BITS}, not {self.stream_bits!r}"
            )
        for layer in self.loops:
            if layer not in self.allocation:
                raise SpecError(f"accelerator: loops must name allocated layers, not {layer!r}")
        idle = set(names) - set(self.allocation.values())
        if idle:
            raise SpecError(
                f"accelerator: chunk {min(idle)!r} must run at least one layer; remove it or"
                " allocate one"
            )
        keys = [(b.tensor, b.reader, b.port) for b in self.buffers]
        if len(set(keys)) != len(keys):
            double = next(k for k in keys if keys.count(k) > 1)
            raise SpecError(
                f"accelerator: buffers must be unique per tensor, reader and port; {double} occurs"
                " twice"
            )

    @property
    def multipliers(self) -> int:
        """Multiply-accumulates a cycle of all chunks."""
        return sum(chunk.multipliers for chunk in self.chunks)

    @property
    def style(self) -> Multiplier:
        """What most of its multipliers are built of."""
        amounts: dict[Multiplier, int] = {"lut": 0, "dsp": 0, "packed": 0}
        for chunk in self.chunks:
            amounts[chunk.multiplier] += chunk.multipliers
        return max(amounts, key=lambda style: amounts[style])

    def chunk(self, name: str) -> Chunk:
        """The chunk called `name`."""
        return next(chunk for chunk in self.chunks if chunk.name == name)

    def loops_of(self, layer: str) -> Loops:
        """The loops of `layer`."""
        return self.loops.get(layer, Loops())
