"""Elaboration of parameters, widths and generate loops."""

from __future__ import annotations

from pathlib import Path

from autonba.sim.verilog_reader import Reader

LEAF = """
module leaf #(parameter W = 4, parameter D = 2, parameter N = "a") (input wire clk,
    input wire [W-1:0] a, output wire b);
    localparam HALF = W / 2;
    reg [HALF-1:0] words [0:D-1];
endmodule
"""
TOP = """
module top (input wire clk, input wire [11:0] x, output wire [2:0] y);
    wire [3:0] low = x[3:0];
    genvar i;
    generate
        for (i = 0; i < 3; i = i + 1) begin : each
            wire [3:0] part;
            assign part = x[4*i +: 4];
            leaf #(.W(4), .D(i + 1)) u_leaf (.clk(clk), .a({ARGUMENT}), .b(y[i]));
        end
    endgenerate
endmodule
"""


def read(tmp_path: Path, argument: str, leaf: str = LEAF) -> Reader:
    (tmp_path / "leaf.v").write_text(leaf)
    (tmp_path / "top.v").write_text(TOP.replace("{ARGUMENT}", argument))
    return Reader.of_files([tmp_path / "leaf.v", tmp_path / "top.v"])


def test_loops_parameters_and_memories(tmp_path: Path) -> None:
    reader = read(tmp_path, "part")
    top = reader.elaborate("top")
    assert reader.problems == []
    assert [instance.of.parameters["D"] for instance in top.instances] == [1, 2, 3]
    assert top.memory_bits() == 2 * (1 + 2 + 3)
    assert top.count("leaf") == 3


def test_widths_of_expressions(tmp_path: Path) -> None:
    for right in (
        "x[4*i +: 4]",
        "x[i+3 -: 4]",
        "x[7:4]",
        "{x[0], part[2:0]}",
        "{4{x[0]}}",
        "4'd3",
        "part & ~part",
        "part + 4'd1",
        "x[0] ? part : 4'd0",
        "part << 2",
        "7",
    ):
        reader = read(tmp_path, right)
        reader.elaborate("top")
        assert reader.problems == [], right
    for wrong, bits in (
        ("x[4*i +: 3]", 3),
        ("x", 12),
        ("{part, part}", 8),
        ("part == 4'd1", 1),
        ("x[i]", 1),
        ("&part", 1),
    ):
        reader = read(tmp_path, wrong)
        reader.elaborate("top")
        assert reader.problems == [
            f"top instance u_leaf connects {bits} bits to port a, which has 4"
        ], wrong


def test_unknown_names_are_problems(tmp_path: Path) -> None:
    reader = read(tmp_path, "nobody")
    reader.elaborate("top")
    assert reader.problems == ["top uses nobody and does not declare it"]
    reader = read(
        tmp_path,
        "part",
        LEAF.replace("parameter D = 2, ", "parameter E = 2, ").replace("D-1", "E-1"),
    )
    reader.elaborate("top")
    assert any("has no parameter D" in problem for problem in reader.problems)
