"""The loader fills memories as the host's writes say, and its checksum is that of zlib."""

from __future__ import annotations

import random
import zlib

import pytest
from amaranth.sim import Simulator

from autonba.hwgen.loader import Loader
from autonba.registers import LOAD_REGISTERS, Register
from autonba.weight_load import LoadTarget

TARGETS = (
    LoadTarget(chunk="a", kind="weights", words=5, word_bits=200),
    LoadTarget(chunk="a", kind="parameters", words=9, word_bits=32),
    LoadTarget(chunk="b", kind="parameters", words=3, word_bits=65),
)
ADDRESS_BITS = 6


def run(
    slice_bits: int, writes: list[tuple[int, int]], running: range = range(0)
) -> tuple[dict[tuple[int, int, int], int], int]:
    """Slices (memory, word, slice) as they stand after one write a cycle, and the checksum; not
    stopped in cycles `running`.
    """
    loader = Loader(TARGETS, slice_bits, ADDRESS_BITS)
    found: dict[tuple[int, int, int], int] = {}

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle, (register, value) in enumerate([*writes, (0, 0)]):
            ctx.set(loader.stopped, int(cycle not in running))
            ctx.set(
                loader.write, sum(1 << i for i, of in enumerate(LOAD_REGISTERS) if of == register)
            )
            ctx.set(loader.data, value)
            await ctx.tick()
            for number in range(len(TARGETS)):
                if ctx.get(loader.enable) >> number & 1:
                    place = number, ctx.get(loader.write_address), ctx.get(loader.write_slice)
                    found[place] = ctx.get(loader.write_data)
        found[-1, 0, 0] = ctx.get(loader.checksum)

    simulator = Simulator(loader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, found.pop((-1, 0, 0))


@pytest.mark.parametrize("slice_bits", [32, 64, 128, 512])
def test_every_slice_is_written_and_summed(slice_bits: int) -> None:
    rng = random.Random(slice_bits)
    writes: list[tuple[int, int]] = [(Register.LOAD_CHECKSUM, 0)]
    wanted, data = {}, b""
    for number, target in enumerate(TARGETS):
        writes.append((Register.LOAD_TARGET, number))
        for word in range(target.words):
            for part in range(target.slices(slice_bits)):
                value = rng.getrandbits(slice_bits)
                wanted[number, word, part] = value
                data += value.to_bytes(slice_bits // 8, "little")
                writes += [
                    (Register.LOAD_DATA, value >> i & 0xFFFFFFFF) for i in range(0, slice_bits, 32)
                ]
    assert run(slice_bits, writes) == (wanted, zlib.crc32(data))


def test_an_address_begins_a_word_and_nothing_is_written_behind_the_end() -> None:
    writes = [
        (Register.LOAD_TARGET, 2),
        (Register.LOAD_DATA, 1),
        (Register.LOAD_ADDRESS, 2),
        *((Register.LOAD_DATA, value) for value in range(10, 16)),
    ]
    found, _ = run(32, writes)
    assert found == {(2, 0, 0): 1, (2, 2, 0): 10, (2, 2, 1): 11, (2, 2, 2): 12}


def test_data_of_a_running_accelerator_are_refused() -> None:
    writes = [(Register.LOAD_TARGET, 1), *((Register.LOAD_DATA, value) for value in (7, 8, 9))]
    found, checksum = run(32, writes, running=range(2, 3))
    assert found == {(1, 0, 0): 7, (1, 1, 0): 9}
    assert checksum == zlib.crc32((7).to_bytes(4, "little") + (9).to_bytes(4, "little"))
