"""The host's end of the serial line: sends images to a board and reads its results (frames of
autonba.uart_frame).
"""

from __future__ import annotations

import struct
import time
from typing import Protocol

import numpy as np

from autonba import uart_frame
from autonba.arithmetic import IntArray
from autonba.errors import DataError, ToolError
from autonba.uart_frame import Identity

_TRIES = 3
_REPLY_SECONDS = 5.0


class Line(Protocol):
    """What is needed of a serial port (pyserial's Serial has it)."""

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes, fewer where none arrive in time."""

    def write(self, data: bytes) -> object:
        """Send `data`."""


class LineError(DataError):
    """A reply was damaged or did not come."""


def run_images(port: str, images_NCHW: IntArray, digest: str | None = None) -> IntArray:
    """Results (N, classes) of a board at serial port `port` for integer images.

    Raises DataError where the board does not answer, is of another design than `digest`
    (hexadecimal), or takes images of another shape; ToolError where the port cannot be opened.
    """
    try:
        import serial
    except ImportError:
        raise ToolError(
            "pyserial must be installed to reach a board, and it is not; pip install"
            " 'autonba[board]'"
        ) from None
    try:
        line = serial.Serial(
            port, uart_frame.BAUD, timeout=_REPLY_SECONDS, write_timeout=_REPLY_SECONDS
        )
    except (serial.SerialException, OSError) as error:
        raise ToolError(
            f"serial port {port!r} must be there and free ({error}); plug the board in or name"
            " another one"
        ) from None
    with line:
        return Board(line).run(images_NCHW, digest)


class Board:
    """A board at the other end of `line`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._identity: Identity | None = None

    def identify(self) -> Identity:
        """What the board says of itself."""
        payload = self._ask(uart_frame.IDENTIFY, b"", uart_frame.IDENTITY_BYTES)
        self._identity = Identity.parse(payload)
        return self._identity

    def run(self, images_NCHW: IntArray, digest: str | None = None) -> IntArray:
        """Results (N, classes) of integer images, one after the other."""
        board = self.identify()
        if digest is not None and board.digest.hex() != digest[:16]:
            raise DataError(
                f"board: its design must be {digest[:16]}, the bundle's, not {board.digest.hex()};"
                " load the bundle's bit file"
            )
        shape = (board.channels, board.height, board.width)
        if images_NCHW.ndim != 4 or images_NCHW.shape[1:] != shape:
            raise DataError(
                f"images must have shape (N, {shape[0]}, {shape[1]}, {shape[2]}) for this board, "
                f"not {images_NCHW.shape}"
            )
        results = [self.result(pixel_bytes(image_CHW), board.classes) for image_CHW in images_NCHW]
        return np.array(results, dtype=np.int64).reshape(len(results), board.classes)

    def result(self, pixels: bytes, classes: int) -> tuple[int, ...]:
        """Results of one image."""
        return struct.unpack(f"<{classes}i", self._ask(uart_frame.IMAGE, pixels, 4 * classes))

    def _ask(self, letter: int, payload: bytes, reply_bytes: int) -> bytes:
        problem = ""
        for _ in range(_TRIES):
            self._line.write(uart_frame.frame(uart_frame.REQUEST, letter, payload))
            try:
                return self._reply(letter, reply_bytes)
            except LineError as error:
                problem = str(error)
        raise DataError(
            f"board: it must answer within {_REPLY_SECONDS:g} s, and {problem} {_TRIES} times;"
            " check the cable, the port and the bit file"
        )

    def _reply(self, letter: int, reply_bytes: int) -> bytes:
        deadline = time.monotonic() + _REPLY_SECONDS
        while self._read(1)[0] != uart_frame.REPLY:  # bytes of an earlier, abandoned reply
            if time.monotonic() > deadline:
                raise LineError("no reply began")
        status = self._read(1)[0]
        if status != letter:
            self._read(1)
            names = {
                uart_frame.BAD_CRC: "it said that the request was damaged",
                uart_frame.TIMEOUT: "it said that the request was cut short",
            }
            raise LineError(names.get(status, f"it sent the unknown letter {status:#04x}"))
        payload = self._read(reply_bytes)
        if self._read(1)[0] != uart_frame.crc8(bytes([status]) + payload):
            raise LineError("its reply was damaged")
        return payload

    def _read(self, size: int) -> bytes:
        data = self._line.read(size)
        if len(data) != size:
            raise LineError("nothing came back" if not data else "its reply was cut short")
        return data


def pixel_bytes(image_CHW: IntArray) -> bytes:
    """Bytes of an image in the order of the line: rows from the top, columns, channels; two's
    complement.
    """
    return (image_CHW.transpose(1, 2, 0) & 0xFF).astype(np.uint8).tobytes()
