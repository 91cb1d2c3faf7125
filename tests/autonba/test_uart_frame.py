"""Frames of the serial line: the published CRC, the identity's bytes, the divisor nearest to the
baud rate.
"""

from __future__ import annotations

import pytest

from autonba.errors import DataError, SpecError
from autonba.uart_frame import BAUD, IDENTITY_BYTES, MAX_BAUD_ERROR, Identity, crc8, divisor, frame


def test_the_crc_is_crc_8() -> None:
    assert crc8(b"123456789") == 0xF4  # the check value of CRC-8 with polynomial 07 and start 00
    assert crc8(b"6789", crc8(b"12345")) == 0xF4
    assert frame(0xA5, ord("Q"), b"\x01") == bytes([0xA5, ord("Q"), 1, crc8(b"Q\x01")])


def test_the_identity_is_little_endian_in_a_fixed_order() -> None:
    own = Identity(digest=bytes(range(8)), height=0x0102, width=0x0304, channels=5, classes=6)
    payload = own.pack()
    assert payload == bytes([1, *range(8), 0x02, 0x01, 0x04, 0x03, 5, 0, 6, 0])
    assert len(payload) == IDENTITY_BYTES
    assert Identity.parse(payload) == own
    assert own.image_bytes == 0x0102 * 0x0304 * 5
    with pytest.raises(DataError, match="protocol version must be 1, not 2"):
        Identity.parse(b"\x02" + payload[1:])


@pytest.mark.parametrize(
    ("clock", "baud", "cycles"),
    [
        (50.0, BAUD, 50),
        (24.6, 300_000, 82),
        (24.8, 300_000, 83),
        (25.0, 115_200, 217),
        (100.0, 115_200, 868),
    ],
)
def test_the_divisor_is_the_nearest(clock: float, baud: int, cycles: int) -> None:
    assert divisor(clock, baud) == cycles
    errors = [abs(clock * 1e6 / n / baud - 1) for n in (cycles - 1, cycles, cycles + 1)]
    assert errors[1] == min(errors) <= MAX_BAUD_ERROR


@pytest.mark.parametrize(("clock", "baud"), [(3.0, BAUD), (4.4, BAUD), (0.1, BAUD)])
def test_clocks_that_cannot_make_the_rate_are_refused(clock: float, baud: int) -> None:
    with pytest.raises(SpecError, match="clock_mhz must be at least 4 and near a whole number"):
        divisor(clock, baud)
