"""The structure check passes generated RTL and names what is planted in it."""

from __future__ import annotations

import re

import pytest

from autonba.bundle import Bundle
from autonba.errors import BundleError
from autonba.sim.structure import check
from tests.sim.conftest import plant


def test_generated_rtl_is_as_planned(small: Bundle) -> None:
    report = check(small)
    assert report.problems == []
    assert report.facts > 200
    assert report.instances > 100


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "finding"),
    [
        (
            "accelerator.v",
            r"wire \[(\d+):0\] (\w+_write_data);",
            r"wire [\g<1>9:0] \2;",
            r"connects \d+ bits to port \w*write_data",
        ),
        (
            "accelerator.v",
            r"output wire \[31:0\] m_axis_tdata",
            "output wire [30:0] m_axis_tdata",
            r"port accelerator.m_axis_tdata must be output of 32 bits, not output of 31 bits",
        ),
        (
            "accelerator.v",
            r"\.LANE_BITS\((\d+)\)",
            r".LANE_BITS(1\1)",
            r"LANE_BITS of u_mem_\w+ must be \d+, not 1\d+",
        ),
        ("accelerator.v", r"\.DEPTH\((\d+)\)", r".DEPTH(1\1)", r"DEPTH of u_mem_\w+ must be"),
        ("accelerator.v", r"\.ROWS\((\d+)\)", r".ROWS(1\1)", r"ROWS of u_tokens_\w+ must be"),
        ("accelerator.v", r"\.run\(run\), ", "", r"leaves port run unconnected"),
        (
            "accelerator.v",
            r"\.clk\(clk\), \.rst\(rst\),\n",
            ".clk(clk), .clk(clk), .rst(rst),\n",
            r"connects port clk twice",
        ),
        (
            "accelerator.v",
            r"    host_registers u_registers",
            "    host_registrars u_registers",
            r"no file defines it",
        ),
        (
            "chunk_*.v",
            r"\.ACC_BITS\((\d+)\)",
            r".ACC_BITS(1\1)",
            r"connects \d+ bits to port|parameters of chunk_\w+.u_array",
        ),
        (
            "chunk_*.v",
            r"rom_\w+ #\(\s*\.WIDTH\((\d+)\), \.DEPTH\((\d+)\)",
            r"rom_block #(.WIDTH(\1), .DEPTH(1\2)",
            r"WIDTH, DEPTH and FILE",
        ),
        (
            "chunk_*.v",
            r"d < (\d+); d = d \+ 1\) begin : lane",
            r"d < \1 + 1; d = d + 1) begin : lane",
            r"requantizers of chunk_",
        ),
        (
            "requantize_*.v",
            r"input \[(\d+):0\] acc;\s+wire \[\d+:0\] acc;",
            r"input [1\1:0] acc;\n  wire [1\1:0] acc;",
            r"connects \d+ bits to port acc, which has 1\d+",
        ),
        (
            "ram_distributed.v",
            r"words \[0:DEPTH-1\]",
            "words [0:DEPTH]",
            r"bits of u_mem_\w+ must be",
        ),
        ("*_weights.hex", r"^\w+\n", "", r"words of \w+_weights.hex must be"),
        ("*_weights.hex", r"^", "f", r"too wide"),
    ],
)
def test_planted_fault_is_found(
    spoilt: Bundle, file: str, pattern: str, replacement: str, finding: str
) -> None:
    files = sorted((spoilt.path / "rtl").glob(file))
    planted = 0
    for path in files:
        text, count = re.subn(pattern, replacement, path.read_text(), count=1)
        path.write_text(text)
        planted += count
    assert planted, "the fault must be in the text"
    problems = check(spoilt).problems
    assert any(re.search(finding, problem) for problem in problems), problems


def test_what_cannot_be_read_is_refused(spoilt: Bundle) -> None:
    plant(spoilt, "accelerator.v", "endmodule", "endmodul")
    with pytest.raises(
        BundleError, match=r"accelerator.v: pyverilog must be able to read the file"
    ):
        check(spoilt)
