"""Constants that depend on a small index, as combinational logic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Shape, Signal, Value

from autonba.arithmetic import signed_width


def constant_table(m: Module, index: Value, values: Sequence[int], name: str, shape: Shape | None = None) -> Signal:
    """Signal called `name` that equals `values[index]`; the most frequent value also answers indices out of range."""
    if shape is None:
        low, high = min(values), max(values)
        shape = Shape(signed_width(low, high), signed=True) if low < 0 else Shape(max(high.bit_length(), 1))
    default = Counter(values).most_common(1)[0][0]
    out = Signal(shape, name=name)
    m.d.comb += out.eq(default)
    exceptions = [(i, v) for i, v in enumerate(values) if v != default]
    if exceptions:
        with m.Switch(index):
            for i, v in exceptions:
                with m.Case(i):
                    m.d.comb += out.eq(v)
    return out


def advance(pointer: Value, step: int | Value, base: int | Value, size: int | Value) -> Value:
    """`pointer + step`, wrapped to the circular range `base .. base + size - 1`; needs `step < size`."""
    moved = pointer + step
    return Mux(moved >= base + size, moved - size, moved)
