"""Register STALL in words: code, chunk and layer each from their own bits."""

from __future__ import annotations

import pytest

from autonba.errors import SpecError
from autonba.network import Layer, Network, Tensor
from autonba.registers import Register, Stall, explain_stall

LAYERS = tuple(
    Layer(name=name, op="conv", input=source, out_channels=2, shift=1)
    for name, source in (("stem", "input"), ("wide", "stem"), ("last", "wide"))
)
NETWORK = Network(
    input=Tensor(name="input", channels=1, height=2, width=2, bits=8, signed=False),
    layers=LAYERS,
    classes=("a", "b"),
)
CHUNKS = ["one", "two"]


def value(code: int, chunk: int = 0, layer: int = 0) -> int:
    return code | chunk << 8 | layer << 16


def test_layer_and_chunk_are_told_apart() -> None:
    assert explain_stall(value(Stall.OUTPUT_ROWS, 1, 2), NETWORK, CHUNKS).startswith(
        "layer 'last' (number 2) on chunk 'two' (number 1) has its input rows and no free output"
        " rows"
    )
    assert explain_stall(value(Stall.INPUT_ROWS, 0, 1), NETWORK, CHUNKS).startswith(
        "layer 'wide' (number 1) on chunk 'one' (number 0) does not get"
    )


def test_every_code_has_words_of_its_own() -> None:
    assert len({explain_stall(value(code), NETWORK, CHUNKS) for code in Stall}) == len(Stall)


@pytest.mark.parametrize("bad", [value(7), value(1, 2), value(1, 0, 3), 1 << 32])
def test_what_the_register_cannot_hold_is_refused(bad: int) -> None:
    with pytest.raises(
        SpecError, match="STALL must be a value that this design's register can have"
    ):
        explain_stall(bad, NETWORK, CHUNKS)


def test_registers_do_not_overlap() -> None:
    assert len(set(Register)) == len(Register.__members__)
    assert all(register % 4 == 0 for register in Register)
