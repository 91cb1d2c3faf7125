"""The accelerator: chunks, the layers they run, and the row buffers between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from autonba.errors import SpecError

MAX_LANES = 64
SOURCE = "input"  # the agent that writes the image
SINK = "output"  # the agent that reads the result

Kind = Literal["conv", "depthwise"]
Multiplier = Literal["lut", "dsp"]
Port = Literal["main", "residual"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One sub-accelerator.

    conv       `out_lanes` x `in_lanes` multipliers: each cycle, `in_lanes` input channels of one kernel tap meet
               `out_lanes` output channels
    depthwise  `out_lanes` (= `in_lanes`) multipliers: each cycle, one kernel tap of that many channels
    `drain_lanes` requantizers take the finished accumulators, that many a cycle.
    `multiplier` says what the array's multipliers are built of.
    """

    name: str
    kind: Kind
    out_lanes: int
    in_lanes: int
    drain_lanes: int
    multiplier: Multiplier

    def __post_init__(self) -> None:
        where = f"chunk {self.name!r}"
        if not _NAME.fullmatch(self.name) or self.name in (SOURCE, SINK):
            raise SpecError(f"{where}: name must be lower-case letters, digits and underscores and neither "
                            f"{SOURCE!r} nor {SINK!r}")
        if self.kind not in ("conv", "depthwise"):
            raise SpecError(f"{where}: kind must be 'conv' or 'depthwise', not {self.kind!r}")
        if self.multiplier not in ("lut", "dsp"):
            raise SpecError(f"{where}: multiplier must be 'lut' or 'dsp', not {self.multiplier!r}")
        for field in ("out_lanes", "in_lanes", "drain_lanes"):
            value = getattr(self, field)
            if not 1 <= value <= MAX_LANES or value & (value - 1):
                raise SpecError(f"{where}: {field} must be a power of two from 1 to {MAX_LANES}, not {value!r}")
        if self.drain_lanes > self.out_lanes:
            raise SpecError(f"{where}: drain_lanes must be at most out_lanes = {self.out_lanes}, not {self.drain_lanes}")
        if self.kind == "depthwise" and self.in_lanes != self.out_lanes:
            raise SpecError(f"{where}: in_lanes must equal out_lanes = {self.out_lanes} in a depthwise chunk, "
                            f"not {self.in_lanes}")

    @property
    def multipliers(self) -> int:
        """Multipliers in the array."""
        return self.out_lanes * (self.in_lanes if self.kind == "conv" else 1)


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """Circular buffer of `rows` rows of `tensor`, read by `reader` (a chunk, or 'output') at `port`."""

    tensor: str
    reader: str
    port: Port
    rows: int

    def __post_init__(self) -> None:
        if self.port not in ("main", "residual"):
            raise SpecError(f"buffer of {self.tensor!r}: port must be 'main' or 'residual', not {self.port!r}")
        if self.rows < 1:
            raise SpecError(f"buffer of {self.tensor!r}: rows must be at least 1, not {self.rows}")


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """Chunks, the chunk of each layer (by layer name; a shuffle runs nowhere), and every buffer."""

    chunks: tuple[Chunk, ...]
    allocation: Mapping[str, str]
    buffers: tuple[Buffer, ...] = ()

    def __post_init__(self) -> None:
        names = [chunk.name for chunk in self.chunks]
        if not names:
            raise SpecError("accelerator: chunks must hold at least one chunk, not none")
        if len(set(names)) != len(names):
            raise SpecError(f"accelerator: chunks must have different names, not {names}")
        for layer, chunk in self.allocation.items():
            if chunk not in names:
                raise SpecError(f"accelerator: allocation of layer {layer!r} must be one of {names}, not {chunk!r}")
        idle = set(names) - set(self.allocation.values())
        if idle:
            raise SpecError(f"accelerator: chunk {min(idle)!r} must run at least one layer; remove it or allocate one")
        keys = [(b.tensor, b.reader, b.port) for b in self.buffers]
        if len(set(keys)) != len(keys):
            double = next(k for k in keys if keys.count(k) > 1)
            raise SpecError(f"accelerator: buffers must be unique per tensor, reader and port; {double} occurs twice")

    @property
    def multipliers(self) -> int:
        """Multipliers of all arrays."""
        return sum(chunk.multipliers for chunk in self.chunks)

    def chunk(self, name: str) -> Chunk:
        """The chunk called `name`."""
        return next(chunk for chunk in self.chunks if chunk.name == name)
