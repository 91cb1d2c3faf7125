"""Register map of the accelerator's AXI4-Lite port, as docs/registers.md describes it, and the
meaning of register STALL.
"""

from __future__ import annotations

from enum import IntEnum

from autonba.errors import SpecError
from autonba.network import Network

ADDRESS_BITS = 12
IDENTITY = 0x414E4241  # "ANBA"
VERSION = 2
WATCHDOG_CYCLES = 65_536  # WATCHDOG after a reset
MAX_CHUNKS = 256


class Register(IntEnum):
    """Offsets. CHUNK_BUSY is the first chunk's; the next chunk's comes 4 bytes later, and so on."""

    ID = 0x00
    DIGEST = 0x04
    VERSION = 0x08
    CONTROL = 0x0C
    STATUS = 0x10
    ERROR = 0x14
    CYCLES = 0x18
    IMAGES_IN = 0x1C
    IMAGES_OUT = 0x20
    STALL_IN = 0x24
    STALL_OUT = 0x28
    CHUNKS = 0x2C
    WATCHDOG = 0x30
    STALL = 0x34
    STREAM_BASE = 0x38
    LOAD_TARGETS = 0x80
    LOAD_TARGET = 0x84
    LOAD_ADDRESS = 0x88
    LOAD_DATA = 0x8C
    LOAD_CHECKSUM = 0x90
    CHUNK_BUSY = 0x100


LOAD_REGISTERS = (
    Register.LOAD_TARGET,
    Register.LOAD_ADDRESS,
    Register.LOAD_DATA,
    Register.LOAD_CHECKSUM,
)  # what a host writes


class Stall(IntEnum):
    """What an accelerator with an image in flight waits for: bits 2 to 0 of register STALL."""

    NONE = 0
    HOST_INPUT = 1  # the rest of the only image in flight
    HOST_OUTPUT = 2  # a result word is offered and not taken
    INPUT_ROWS = (
        3  # a layer has begun an image, or has some of its rows, and does not get the others
    )
    OUTPUT_ROWS = 4  # a layer has its input rows, and no room for its output rows
    TASK = 5  # no layer waits for rows, so a chunk has stopped within a task


def explain_stall(value: int, network: Network, chunks: list[str]) -> str:
    """The content of register STALL in words. Raises SpecError where the accelerator cannot have
    given it.
    """
    code, chunk, layer = value & 7, value >> 8 & 0xFF, value >> 16
    if (
        value >> 32
        or code not in tuple(Stall)
        or chunk >= len(chunks)
        or layer >= len(network.layers)
    ):
        raise SpecError(
            f"STALL must be a value that this design's register can have, not {value:#010x}"
        )
    where = (
        f"layer {network.layers[layer].name!r} (number {layer}) on chunk {chunks[chunk]!r} (number"
        f" {chunk})"
    )
    return {
        Stall.NONE: "no stall",
        Stall.HOST_INPUT: (
            "the accelerator waits for the host: an image was begun and its pixels stopped coming"
        ),
        Stall.HOST_OUTPUT: "the accelerator waits for the host: a result is offered and not taken",
        Stall.INPUT_ROWS: f"{where} does not get its next input rows",
        Stall.OUTPUT_ROWS: (
            f"{where} has its input rows and no free output rows: its readers do not give rows back"
        ),
        Stall.TASK: "no layer waits for rows: a chunk has stopped within a task",
    }[Stall(code)]
