"""Frames on the serial line between a host and a board: the only definition, for the host program
and for the hardware.

    request   A5  'Q'                    crc     identify
              A5  'I'  pixel bytes       crc     run one image: rows, columns, channels
    reply     5A  'Q'  identity bytes    crc
              5A  'I'  results           crc     32-bit little-endian two's complement, one a class
              5A  'C'                    crc     the request's crc was wrong: nothing was run
              5A  'T'                    crc     the request stopped in the middle: nothing was run

The crc is CRC-8 (polynomial 07, start 00) over the bytes from the letter on. The line is 8N1. A
host sends the next request after the reply. An unknown letter is dropped without a reply, and the
board looks for the next A5. A pause longer than the board's timeout ends a request, so a lost byte
costs one image and never the alignment.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from autonba.bundle import Design
from autonba.errors import DataError, SpecError

REQUEST, REPLY = 0xA5, 0x5A
IDENTIFY, IMAGE, BAD_CRC, TIMEOUT = b"QICT"
PROTOCOL_VERSION = 1
CRC_POLYNOMIAL = 0x07
BAUD = 1_000_000
MAX_BAUD_ERROR = (
    0.02  # 8N1 samples the last bit 9.5 bits after the start edge: 5 % in all, shared by both ends
)

_IDENTITY = struct.Struct("<B8sHHHH")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a board says of itself: the first eight bytes of the bundle digest and the sizes of
    image and result.
    """

    digest: bytes
    height: int
    width: int
    channels: int
    classes: int

    def __post_init__(self) -> None:
        if len(self.digest) != 8:
            raise SpecError(f"identity: digest must be 8 bytes, not {len(self.digest)}")
        for field in ("height", "width", "channels", "classes"):
            if not 1 <= getattr(self, field) < 1 << 16:
                raise SpecError(f"identity: {field} must be 1 to 65535, not {getattr(self, field)}")

    @classmethod
    def of(cls, design: Design, digest: str) -> Identity:
        """Identity of `design`, whose bundle has the hexadecimal `digest`."""
        image = design.network.input
        out = design.network.output
        return cls(
            digest=bytes.fromhex(digest[:16]),
            height=image.height,
            width=image.width,
            channels=image.channels,
            classes=out.channels * out.height * out.width,
        )

    @property
    def image_bytes(self) -> int:
        """Bytes of one image."""
        return self.height * self.width * self.channels

    def pack(self) -> bytes:
        """Payload of the reply to `IDENTIFY`."""
        return _IDENTITY.pack(
            PROTOCOL_VERSION, self.digest, self.height, self.width, self.channels, self.classes
        )

    @classmethod
    def parse(cls, payload: bytes) -> Identity:
        """The identity in a payload; raises DataError for another protocol."""
        if len(payload) != IDENTITY_BYTES or payload[0] != PROTOCOL_VERSION:
            raise DataError(
                f"board: its protocol version must be {PROTOCOL_VERSION}, not "
                f"{payload[0] if payload else 'nothing'}; load the bit file of this bundle again"
            )
        _, digest, height, width, channels, classes = _IDENTITY.unpack(payload)
        return cls(digest=digest, height=height, width=width, channels=channels, classes=classes)


IDENTITY_BYTES = _IDENTITY.size


def crc8(data: bytes, crc: int = 0) -> int:
    """CRC-8 of `data`, continuing from `crc`."""
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ (CRC_POLYNOMIAL if crc & 0x80 else 0)) & 0xFF
    return crc


def frame(start: int, letter: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    body = bytes([letter]) + payload
    return bytes([start]) + body + bytes([crc8(body)])


def divisor(clock_mhz: float, baud: int = BAUD) -> int:
    """Clock cycles a bit; raises SpecError where the clock cannot make the baud rate within
    MAX_BAUD_ERROR.
    """
    cycles = max(1, round(clock_mhz * 1e6 / baud))
    error = abs(clock_mhz * 1e6 / cycles / baud - 1)
    if cycles < 4 or error > MAX_BAUD_ERROR:
        raise SpecError(
            "target: clock_mhz must be at least 4 and near a whole number of cycles a bit at"
            f" {baud} baud, not {clock_mhz:g} ({100 * error:.1f} % off)"
        )
    return cycles
