"""Packed products: how many fit a port, and that the arithmetic of `multiply_packed.v` is exact for
every operand.
"""

from __future__ import annotations

import numpy as np
import pytest

from autonba.packing import PORT_BITS, Packing, pack, pack_columns

# weight and input bits: products of a 25-, 27- and 18-bit port
PORT_LIMITS = {
    (2, 2): (12, 13, 9),
    (3, 3): (8, 9, 6),
    (4, 4): (4, 4, 3),
    (5, 5): (3, 3, 2),
    (6, 6): (2, 3, 2),
    (8, 8): (2, 2, 1),
    (4, 8): (3, 3, 2),
    (8, 4): (2, 2, 2),
}


def test_ports_are_filled() -> None:
    for (weight_bits, input_bits), limits in PORT_LIMITS.items():
        got = tuple(pack(weight_bits, input_bits, port).fields for port in (25, 27, 18))
        assert got == limits, f"weights of {weight_bits} and inputs of {input_bits} bits"


@pytest.mark.parametrize("port", sorted(PORT_BITS.values()))
def test_packings_fit_their_port(port: int) -> None:
    for weight_bits in range(2, 9):
        for input_bits in range(1, 9):
            for packing, field_bits in (
                (pack(weight_bits, input_bits, port), weight_bits),
                (pack_columns(weight_bits, input_bits, port), input_bits + 1),
            ):
                assert packing.fields >= 1
                assert (
                    packing.fields - 1
                ) * packing.spacing + field_bits <= port or packing.fields == 1
                assert packing.overlap <= min(weight_bits, input_bits)
                assert packing.spacing + packing.overlap == weight_bits + input_bits


def unpack(packing: Packing, fields: np.ndarray, factor: np.ndarray, signed: bool) -> np.ndarray:
    """Products of `fields` (field, sample) and `factor` as `multiply_packed.v` finds them;
    `signed`: the factor is.
    """
    s, v, count = packing.spacing, packing.overlap, len(fields)
    product = sum(fields[i] << (s * i) for i in range(count)) * factor
    carries = [np.zeros_like(factor)]
    for i in range(1, count):
        r = ((product >> (s * i)) - fields[i] * factor) & ((1 << v) - 1)  # low bits alone
        carries.append(r - ((r >> (v - 1)) << v) if signed else r)
    totals = [
        (product >> (s * i) & ((1 << s) - 1)) + (carries[i + 1] << s) for i in range(count - 1)
    ]
    totals.append(product >> (s * (count - 1)))
    return np.array(totals) - np.array(carries)


@pytest.mark.parametrize("port", sorted(PORT_BITS.values()))
@pytest.mark.parametrize("columns", [False, True])
def test_every_product_is_exact(port: int, columns: bool) -> None:
    noise = np.random.default_rng(port)
    for weight_bits in range(2, 9):
        for input_bits in range(1, 9):
            packing = (pack_columns if columns else pack)(weight_bits, input_bits, port)
            half = 1 << (weight_bits - 1)
            weights, inputs = np.arange(-half, half), np.arange(1 << input_bits)
            # Each value of one field with each factor, the others random or extreme; every field in
            # turn.
            values, factor = (
                a.ravel()
                for a in np.meshgrid(*((inputs, weights) if columns else (weights, inputs)))
            )
            for place in range(packing.fields):
                for others in ("random", "low", "high"):
                    pool = {
                        "random": values,
                        "low": values.min(keepdims=True),
                        "high": values.max(keepdims=True),
                    }[others]
                    fields = noise.choice(pool, (packing.fields, len(values)))
                    fields[place] = values
                    raised = fields.copy()
                    if not columns:
                        raised[:-1] += half
                    got = unpack(packing, raised, factor, columns)
                    if not columns:
                        got[:-1] -= half * factor
                    assert np.array_equal(got, fields * factor), (
                        weight_bits,
                        input_bits,
                        packing,
                        place,
                        others,
                    )
