"""Loader: writes weight and parameter memories from the host's registers while the accelerator is
stopped.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.registers import LOAD_REGISTERS, Register
from autonba.weight_load import LoadTarget

from .layout import index_bits
from .tables import constant_table

POLYNOMIAL = 0xEDB88320  # CRC-32 of IEEE 802.3, bits reversed


class Loader(wiring.Component):
    """Collects 32-bit writes to slices of `slice_bits` bits and counts slices and words up.

    LOAD_TARGET chooses a memory and its word 0, LOAD_ADDRESS another word. Each LOAD_DATA brings
    the next 32 bits, the lowest of a word first, its last slice padded. Data beyond a memory's end
    are not written. LOAD_CHECKSUM is the CRC-32 of all data since it was written last. Data are
    taken only while `stopped`.
    Latency: a slice is written in the cycle after its last 32 bits. Throughput: 32 bits a cycle.
    Back-pressure: none.
    Twin: `autonba.weight_load.load_writes`.

    Ports
    -----
    write, data : for each of LOAD_REGISTERS, `data` is written to it in this cycle
    target, address, checksum : what the registers read
    enable      : for each memory, a slice is written
    write_*     : the slice; `write_data` is right-aligned in a memory whose last slice is shorter
    """

    def __init__(self, targets: Sequence[LoadTarget], slice_bits: int, address_bits: int) -> None:
        self._targets, self._slice_bits = targets, slice_bits
        most = max(target.slices(slice_bits) for target in targets)
        super().__init__(
            {
                "stopped": In(1),
                "write": In(len(LOAD_REGISTERS)),
                "data": In(32),
                "target": Out(32),
                "address": Out(32),
                "checksum": Out(32),
                "enable": Out(len(targets)),
                "write_address": Out(address_bits),
                "write_slice": Out(index_bits(most)),
                "write_data": Out(slice_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Commands of the registers, slices out of words, and the checksum."""
        m = Module()
        parts = self._slice_bits // 32
        writes = {register: self.write[i] for i, register in enumerate(LOAD_REGISTERS)}
        target, address = (
            Signal(index_bits(len(self._targets)), name="target_number"),
            Signal(32, name="word"),
        )
        place, part = Signal.like(self.write_slice), Signal(index_bits(parts))
        collected = Signal(self._slice_bits)
        taken, slice_end, word_end = Signal(), Signal(), Signal()
        last_slice = constant_table(
            m, target, [t.slices(self._slice_bits) - 1 for t in self._targets], "last_slice"
        )
        words = constant_table(m, target, [t.words for t in self._targets], "words")
        m.d.comb += [
            taken.eq(writes[Register.LOAD_DATA] & self.stopped),
            slice_end.eq(taken & (part == parts - 1)),
            word_end.eq(slice_end & (place == last_slice)),
            self.target.eq(target),
            self.address.eq(address),
        ]
        with m.If(taken):
            m.d.sync += [
                part.eq(Mux(slice_end, 0, part + 1)),
                collected.eq(Cat(collected[32:], self.data)),
            ]
        with m.If(slice_end):
            m.d.sync += place.eq(place + 1)
        with m.If(word_end):
            m.d.sync += [place.eq(0), address.eq(address + 1)]
        with m.If(writes[Register.LOAD_TARGET]):
            m.d.sync += [target.eq(self.data), address.eq(0)]
        with m.If(writes[Register.LOAD_ADDRESS]):
            m.d.sync += address.eq(self.data)
        with m.If(writes[Register.LOAD_TARGET] | writes[Register.LOAD_ADDRESS]):
            m.d.sync += [place.eq(0), part.eq(0)]

        m.d.comb += self.write_data.eq(collected)
        m.d.sync += [self.write_address.eq(address), self.write_slice.eq(place)]
        for number in range(len(self._targets)):
            m.d.sync += self.enable[number].eq(slice_end & (address < words) & (target == number))

        state = Signal(32, name="crc", init=0xFFFFFFFF)
        m.d.comb += self.checksum.eq(~state)
        with m.If(taken):
            m.d.sync += state.eq(crc32_after(state, self.data))
        with m.If(writes[Register.LOAD_CHECKSUM]):
            m.d.sync += state.eq(0xFFFFFFFF)
        return m


def crc32_after(state: Value, data: Value) -> Value:
    """State of the CRC-32 after 32 more bits, the lowest first: each bit the exclusive or of some
    bits of state and data.
    """
    bits: list[set[tuple[int, int]]] = [{(0, i)} for i in range(32)]
    for i in range(32):
        out = bits[0] ^ {(1, i)}
        bits = [
            own ^ out if POLYNOMIAL >> j & 1 else own for j, own in enumerate([*bits[1:], set()])
        ]
    sources = (state, data)
    return Cat(Cat(sources[which][i] for which, i in sorted(terms)).xor() for terms in bits)
