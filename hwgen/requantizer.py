"""Requantizer: one lane of y = clamp((acc * m + residual * r + half) >> s), pipelined."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.arithmetic import MULTIPLIER_BITS, IntArray, Requantization
from autonba.mapping import ChunkPlan
from autonba.pipeline import REQUANTIZER_INPUT_STAGE

INPUT_STAGE = REQUANTIZER_INPUT_STAGE


@dataclass(frozen=True, kw_only=True)
class RequantizerShape:
    """Widths of a chunk's requantizers; `residual_bits` is 0 where no layer has a residual."""

    acc_bits: int
    residual_bits: int
    residual_multiplier_bits: int
    shifts: tuple[int, int]
    write_bits: int
    raw: bool
    requantizes: bool

    @classmethod
    def of(cls, chunk: ChunkPlan) -> RequantizerShape:
        """The shape that `chunk` asks for."""
        return cls(acc_bits=chunk.acc_bits, residual_bits=chunk.residual_bits,
                   residual_multiplier_bits=max(chunk.residual_multiplier_bits, 1), shifts=chunk.shifts,
                   write_bits=chunk.write_bits, raw=chunk.has_raw, requantizes=chunk.requantizes)

    @property
    def half_bits(self) -> int:
        """Width of 2^(s-1)."""
        return max(self.shifts[1], 1)

    @property
    def shift_bits(self) -> int:
        """Width of the shift beyond the smallest one."""
        return max((self.shifts[1] - self.shifts[0]).bit_length(), 1)

    @property
    def out_shape(self) -> Shape:
        """Shape of a requantized value: at most 8 bits and a sign."""
        return signed(min(self.write_bits, 9))

    def compute(self, acc: IntArray, m: IntArray, constants: Requantization, residual: IntArray | None = None) -> IntArray:
        """What a lane computes for `acc` with its bias added."""
        return constants.compute(acc, m, residual)


class Requantizer(wiring.Component):
    """One lane.

    Latency: `acc` and `bias` to `result` REQUANTIZE_STAGES cycles; each other input is sampled at its INPUT_STAGE.
    Throughput: a value a cycle. No back-pressure. Twin: `RequantizerShape.compute`.
    """

    def __init__(self, shape: RequantizerShape) -> None:
        self._shape = shape
        ports: dict[str, In | Out] = {"acc": In(signed(shape.acc_bits)), "bias": In(signed(shape.acc_bits)),
                                      "result": Out(signed(shape.write_bits))}
        if shape.requantizes:
            ports |= {"multiplier": In(unsigned(MULTIPLIER_BITS)), "half": In(shape.half_bits),
                      "shift": In(shape.shift_bits), "low": In(shape.out_shape), "high": In(shape.out_shape)}
        if shape.residual_bits:
            ports |= {"residual": In(signed(shape.residual_bits)),
                      "residual_multiplier": In(shape.residual_multiplier_bits)}
        if shape.raw and shape.requantizes:
            ports["raw"] = In(1)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shape = self._shape
        biased = Signal(signed(shape.acc_bits))
        m.d.sync += biased.eq(self.acc + self.bias)
        if shape.raw:
            raw = biased
            for stage in range(3):
                register = Signal.like(biased, name=f"biased_{stage}")
                m.d.sync += register.eq(raw)
                raw = register
        if not shape.requantizes:
            m.d.sync += self.result.eq(raw)
            return m

        multiplier = Signal(MULTIPLIER_BITS)
        product = Signal(signed(shape.acc_bits + MULTIPLIER_BITS + 1))
        m.d.sync += [multiplier.eq(self.multiplier), product.eq(biased * multiplier)]
        terms = product + self.half
        if shape.residual_bits:
            residual = Signal(signed(shape.residual_bits + shape.residual_multiplier_bits + 1))
            m.d.sync += residual.eq(self.residual * self.residual_multiplier)
            terms = terms + residual
        total = Signal(terms.shape())
        shifted = Signal(signed(max(len(total) - shape.shifts[0], 2)))
        m.d.sync += [total.eq(terms), shifted.eq((total >> shape.shifts[0]) >> self.shift)]
        clamped = Signal(shape.out_shape)
        m.d.comb += clamped.eq(Mux(shifted < self.low, self.low, Mux(shifted > self.high, self.high, shifted)))
        m.d.sync += self.result.eq(Mux(self.raw, raw, clamped) if shape.raw else clamped)
        return m
