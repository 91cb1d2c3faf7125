"""Requantizer: one lane of y = clamp((acc * m + residual * r + half) >> s), pipelined."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.arithmetic import MULTIPLIER_BITS, IntArray, Requantization
from autonba.mapping import ChunkPlan
from autonba.packing import PORT_BITS, cut
from autonba.pipeline import REQUANTIZE_STAGES, REQUANTIZER_INPUT_STAGE

INPUT_STAGE = REQUANTIZER_INPUT_STAGE


@dataclass(frozen=True, kw_only=True)
class RequantizerShape:
    """Widths of a chunk's requantizers; `residual_bits` is 0 where no layer has a residual.

    `port_bits` is the wide signed port of a multiplier: an accumulator that is wider takes several.
    """

    acc_bits: int
    residual_bits: int
    residual_multiplier_bits: int
    shifts: tuple[int, int]
    write_bits: int
    raw: bool
    requantizes: bool
    port_bits: int = PORT_BITS["ecp5"]

    @classmethod
    def of(cls, chunk: ChunkPlan, port_bits: int = PORT_BITS["ecp5"]) -> RequantizerShape:
        """The shape that `chunk` asks for on multipliers with a wide port of `port_bits`."""
        return cls(
            acc_bits=chunk.acc_bits,
            residual_bits=chunk.residual_bits,
            residual_multiplier_bits=max(chunk.residual_multiplier_bits, 1),
            shifts=chunk.shifts,
            write_bits=chunk.write_bits,
            raw=chunk.has_raw,
            requantizes=chunk.requantizes,
            port_bits=port_bits,
        )

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

    def compute(
        self,
        acc: IntArray,
        m: IntArray,
        constants: Requantization,
        residual: IntArray | None = None,
    ) -> IntArray:
        """What a lane computes for `acc` with its bias added."""
        return constants.compute(acc, m, residual)


class Requantizer(wiring.Component):
    """One lane.

    Latency: `acc` and `bias` to `result` REQUANTIZE_STAGES cycles; each other input is sampled at
    its INPUT_STAGE.
    Throughput: a value a cycle. No back-pressure. Twin: `RequantizerShape.compute`.
    """

    def __init__(self, shape: RequantizerShape) -> None:
        self._shape = shape
        ports: dict[str, In | Out] = {
            "acc": In(signed(shape.acc_bits)),
            "bias": In(signed(shape.acc_bits)),
            "result": Out(signed(shape.write_bits)),
        }
        if shape.requantizes:
            ports |= {
                "multiplier": In(unsigned(MULTIPLIER_BITS)),
                "half": In(shape.half_bits),
                "shift": In(shape.shift_bits),
                "low": In(shape.out_shape),
                "high": In(shape.out_shape),
            }
        if shape.residual_bits:
            ports |= {
                "residual": In(signed(shape.residual_bits)),
                "residual_multiplier": In(shape.residual_multiplier_bits),
            }
        if shape.raw and shape.requantizes:
            ports["raw"] = In(1)
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        """The pipeline, cycle by cycle."""
        m = Module()
        shape = self._shape

        def held(value: Value, name: str, cycles: int = 1) -> Value:
            for _ in range(cycles):
                register = Signal(value.shape(), name=name)
                m.d.sync += register.eq(value)
                value = register
            return value

        # Cycles 0 and 1: the bias, once the parameters have left their memory.
        biased = Signal(signed(shape.acc_bits))
        m.d.sync += biased.eq(held(self.acc, "acc_held") + held(self.bias, "bias_held"))
        raw = held(biased, "biased_held", REQUANTIZE_STAGES - 3) if shape.raw else biased
        if not shape.requantizes:
            m.d.sync += self.result.eq(raw)
            return m

        # Cycles 2 and 3: the product, a multiplier for each part of the accumulator, and beside it
        # what is added to it.
        factor = held(self.multiplier, "multiplier_held", 2)
        products = []
        for i, (low, high) in enumerate(pairwise(cut(shape.acc_bits, shape.port_bits))):
            part = biased[low:high].as_signed() if high == shape.acc_bits else biased[low:high]
            products.append(held(part * factor, f"product_{i}") << low)
        addend: Value = self.half
        if shape.residual_bits:
            scaled = held(self.residual, "residual_held") * held(
                self.residual_multiplier, "residual_multiplier_held"
            )
            addend = addend + held(scaled, "residual_product")
        product = held(sum(products[1:], products[0]), "product")

        # Cycle 4: the sum. Cycles 5 and 6: the shift, by multiples of 4 first.
        total = held(product + held(addend, "addend"), "total")
        coarse = held((total >> shape.shifts[0]) >> (self.shift[2:] << 2), "coarse")
        shifted = held(coarse >> held(self.shift[:2], "fine_shift"), "shifted")

        # Cycles 7 and 8: the clamp. Only what fits the result's shape is compared with the limits.
        width, sign = shape.out_shape.width, shifted[-1]
        inside, upper = shifted[:width].as_signed(), shifted[width - 1 :]
        fits, negative = held(~(upper.any() & ~upper.all()), "fits"), held(sign, "negative")
        below, above = held(inside < self.low, "below"), held(inside > self.high, "above")
        low, high, value = (
            held(self.low, "low_held"),
            held(self.high, "high_held"),
            held(inside, "unclamped"),
        )
        clamped = Mux(
            Mux(fits, below, negative), low, Mux(Mux(fits, above, ~negative), high, value)
        )
        m.d.sync += self.result.eq(Mux(self.raw, raw, clamped) if shape.raw else clamped)
        return m
