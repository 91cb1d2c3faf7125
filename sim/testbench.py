"""The generated Verilog around the accelerator, and what it logs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

from autonba.cost.fetch import STREAM_LATENCY
from autonba.errors import ToolError
from autonba.mapping import Plan
from autonba.weight_image import stream_layout

Bytes = npt.NDArray[np.uint8]

_AXIS = ("tdata", "tvalid", "tready", "tlast")
_AXIL = (
    "awaddr",
    "awprot",
    "awvalid",
    "awready",
    "wdata",
    "wstrb",
    "wvalid",
    "wready",
    "bresp",
    "bvalid",
    "bready",
    "araddr",
    "arprot",
    "arvalid",
    "arready",
    "rdata",
    "rresp",
    "rvalid",
    "rready",
)
PORTS = (
    "clk",
    "rst",
    *(f"{side}_axis_{name}" for side in "sm" for name in _AXIS),
    *(f"s_axil_{name}" for name in _AXIL),
)
TESTBENCH_PORTS = (*PORTS, "log_run", "stall_memory")
_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, dtype=np.uint8)
for _value, _digit in enumerate("0123456789abcdef"):
    _DIGITS[ord(_digit)] = _DIGITS[ord(_digit.upper())] = _value


def testbench_text(mapped: Plan, *, netlist: bool) -> str:
    """Verilog of module `testbench`; it looks into the chunks, except in a netlist, which has no
    hierarchy.
    """
    text = resources.files("autonba.sim").joinpath("testbench.v.j2").read_text()
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.from_string(text).render(
        pixel_bits=8 * mapped.network.input.channels,
        ports=PORTS,
        chunks=(
            []
            if netlist
            else [
                {"name": chunk.chunk.name, "layers": [lp.layer.name for lp in chunk.layers]}
                for chunk in mapped.chunks
            ]
        ),
        streaming=[chunk.chunk.name for chunk in mapped.chunks if chunk.stream_words],
        stream_bits=mapped.accelerator.stream_bits,
        stream_words=stream_layout(mapped).size // 4,
        stream_latency=STREAM_LATENCY,
    )


@dataclass(frozen=True)
class Trace:
    """A log file as its columns of hexadecimal digits, most significant digit first; `columns[i]`
    is (lines, digits).
    """

    path: Path
    columns: tuple[Bytes, ...]

    @property
    def lines(self) -> int:
        """Lines of the log."""
        return len(self.columns[0])

    @property
    def runs(self) -> npt.NDArray[np.int64]:
        """The number of the run, a line."""
        return self.numbers(0)

    @property
    def cycles(self) -> npt.NDArray[np.int64]:
        """The clock cycle, a line."""
        return self.numbers(1)

    def numbers(self, column: int) -> npt.NDArray[np.int64]:
        """An unsigned column of at most 15 digits; unknown digits give -1."""
        digits = self.columns[column]
        known = (digits != _NO_DIGIT).all(axis=1)
        value = np.zeros(len(digits), dtype=np.int64)
        for place in range(digits.shape[1]):
            value = value * 16 + digits[:, place]
        return np.where(known, value, -1)

    def lanes(
        self, column: int, lanes: int, bits: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """(values, known), each (lines, lanes): the column as two's complement fields, lane 0 in
        the lowest bits.
        """
        digits = self.columns[column][:, ::-1]
        if not len(digits):
            return np.zeros((0, lanes), dtype=np.int64), np.zeros((0, lanes), dtype=np.bool_)
        places = np.arange(lanes * bits)
        known = (digits[:, places // 4] != _NO_DIGIT).reshape(-1, lanes, bits).all(axis=2)
        field = ((digits[:, places // 4] >> (places % 4).astype(np.uint8)) & 1).reshape(
            -1, lanes, bits
        )
        weights = np.left_shift(np.int64(1), np.arange(bits))
        weights[-1] = -weights[-1]
        return field.astype(np.int64) @ weights, known

    def of_run(self, run: int) -> Trace:
        """Only the lines of that run."""
        mine = self.runs == run
        return Trace(self.path, tuple(column[mine] for column in self.columns))


def read_trace(path: Path, columns: int) -> Trace:
    """Read a log whose lines all have the same length."""
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if not data.size:
        return Trace(path, tuple(np.zeros((0, 1), dtype=np.uint8) for _ in range(columns)))
    length = int(np.argmax(data == ord("\n"))) + 1
    if data.size % length:
        raise ToolError(
            f"{path}: the simulator must write whole lines of {length} characters, and it did not;"
            " run it again"
        )
    table = data.reshape(-1, length)
    gaps = [-1, *np.flatnonzero(table[0] == ord(" ")).tolist(), length - 1]
    if len(gaps) != columns + 1:
        raise ToolError(
            f"{path}: a line must have {columns} columns, not {len(gaps) - 1}; run the simulation"
            " again"
        )
    return Trace(path, tuple(_DIGITS[table[:, a + 1 : b]] for a, b in pairwise(gaps)))
