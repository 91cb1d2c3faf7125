"""Constants that depend on a small index, as combinational logic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value

from autonba.arithmetic import signed_width


def constant_table(
    m: Module, index: Value, values: Sequence[int], name: str, shape: Shape | None = None
) -> Signal:
    """Signal called `name` that equals `values[index]`; the most frequent value also answers
    indices out of range.
    """
    out = Signal(table_shape(values) if shape is None else shape, name=name)
    fill_table(m, out, index, values)
    return out


def table_shape(values: Sequence[int]) -> Shape:
    """The narrowest shape that holds all `values`."""
    low, high = min(values), max(values)
    return (
        Shape(signed_width(low, high), signed=True) if low < 0 else Shape(max(high.bit_length(), 1))
    )


def fill_table(m: Module, out: Signal, index: Value, values: Sequence[int]) -> None:
    """Drive `out` with `values[index]`; the most frequent value also answers indices out of
    range.
    """
    default = Counter(values).most_common(1)[0][0]
    m.d.comb += out.eq(default)
    exceptions = [(i, v) for i, v in enumerate(values) if v != default]
    if exceptions:
        with m.Switch(index):
            for i, v in exceptions:
                with m.Case(i):
                    m.d.comb += out.eq(v)


def advance(pointer: Value, step: int | Value, base: int | Value, size: int | Value) -> Value:
    """`pointer + step`, wrapped to the circular range `base .. base + size - 1`; needs `step <
    size`.
    """
    moved = pointer + step
    return Mux(moved >= base + size, moved - size, moved)


class LayerConstants:
    """Constants of the layer that is being worked on, in registers which `load` sets from those of
    layer `coming`.

    They may be asked for anywhere in an `elaborate`, which calls `finish` at its end, outside all
    conditions.
    """

    def __init__(self, load: Value, coming: Value) -> None:
        self._load, self._coming = load, coming
        self._tables: dict[tuple[int, ...], Signal] = {}
        self._registers: dict[tuple[int, ...], Signal] = {}

    def __call__(self, values: Sequence[int], name: str) -> Value:
        """The current layer's value; a plain constant where all layers have the same."""
        key = tuple(values)
        if len(set(key)) == 1:
            return Const(key[0])
        if key not in self._registers:
            coming = self.coming(key, name)
            self._registers[key] = Signal(coming.shape(), name=name)
        return self._registers[key]

    def coming(self, values: Sequence[int], name: str) -> Value:
        """The coming layer's value."""
        key = tuple(values)
        if len(set(key)) == 1:
            return Const(key[0])
        if key not in self._tables:
            self._tables[key] = Signal(table_shape(key), name=f"{name}_coming")
        return self._tables[key]

    def finish(self, m: Module) -> None:
        """Add the tables and the registers to `m`."""
        for values, out in self._tables.items():
            fill_table(m, out, self._coming, values)
        with m.If(self._load):
            m.d.sync += [
                register.eq(self._tables[values]) for values, register in self._registers.items()
            ]
