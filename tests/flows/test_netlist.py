"""Real synthesis: netlists of ECP5 cells against the RTL they come from, and the whole flow to a
bit file.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import small_design

from autonba.bundle import Bundle
from autonba.flows import plan
from autonba.flows.run import execute, prepare
from autonba.flows.tools import Step, run_step
from autonba.hwgen.generate import generate
from autonba.rtl import trusted

pytestmark = pytest.mark.slow

CELLS = Path(plan.__file__).with_name("ecp5_cells.v")

BENCH = """`timescale 1ns / 1ps
module bench;
    reg clk = 0, rst = 1;
    always #5 clk = ~clk;
    reg [{bits}-1:0] pixels [0:{beats}-1];
    integer sent = 0, got = 0, cycle = 0;
    wire in_ready, out_valid, out_last;
    wire [31:0] out_data;
    wire in_valid = !rst && sent < {beats};
    accelerator dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(pixels[sent < {beats} ? sent : 0]), .s_axis_tvalid(in_valid),
        .s_axis_tready(in_ready),
        .s_axis_tlast(sent % {image} == {image} - 1),
        .m_axis_tdata(out_data), .m_axis_tvalid(out_valid), .m_axis_tready(1'b1),
        .m_axis_tlast(out_last),
        .s_axil_awaddr(12'd0), .s_axil_awprot(3'd0), .s_axil_awvalid(1'b0),
        .s_axil_wdata(32'd0), .s_axil_wstrb(4'd0),
        .s_axil_wvalid(1'b0), .s_axil_bready(1'b1), .s_axil_araddr(12'd0), .s_axil_arprot(3'd0),
        .s_axil_arvalid(1'b0),
        .s_axil_rready(1'b1)
    );
    initial $readmemh("pixels.hex", pixels);
    always @(posedge clk) begin
        cycle <= cycle + 1;
        rst <= cycle < 8;
        if (in_valid && in_ready) sent <= sent + 1;
        if (!rst && out_valid) begin
            $display("RESULT %0d %0d %0d", $signed(out_data), out_last, cycle);
            got <= got + 1;
            if (got == {results} - 1) $finish;
        end
        if (cycle == 200000) begin $display("TIMEOUT"); $finish; end
    end
endmodule
"""


def simulate(sources: list[Path], top: str, folder: Path) -> list[str]:
    """Lines that Icarus prints for `top`."""
    folder.mkdir(exist_ok=True)
    subprocess.run(
        ["iverilog", "-g2005-sv", "-s", top, "-o", folder / "sim.vvp", *sources], check=True
    )
    done = subprocess.run(
        ["vvp", "-n", "sim.vvp"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def run_images(
    bundle: Bundle, sources: list[Path], folder: Path, count: int
) -> tuple[np.ndarray, list[int]]:
    """Results (count, classes) and the cycle of each, of an `accelerator` made of `sources`."""
    network, images = bundle.design.network, bundle.golden["images"][:count]
    channels = network.input.channels
    beats = images.transpose(0, 2, 3, 1).reshape(-1, channels) & 0xFF
    folder.mkdir(exist_ok=True)
    (folder / "pixels.hex").write_text(
        "".join("".join(f"{v:02x}" for v in reversed(beat)) + "\n" for beat in beats)
    )
    for memory in (bundle.path / "rtl").glob("*.hex"):
        (folder / memory.name).write_text(memory.read_text())
    classes = len(network.classes)
    (folder / "bench.v").write_text(
        BENCH.format(
            bits=8 * channels, beats=len(beats), image=len(beats) // count, results=classes * count
        )
    )
    lines = [line.split() for line in simulate([folder / "bench.v", *sources], "bench", folder)]
    found = [line for line in lines if line[:1] == ["RESULT"]]
    assert [line[2] for line in found] == (["0"] * (classes - 1) + ["1"]) * count
    return np.array([int(line[1]) for line in found]).reshape(count, classes), [
        int(line[3]) for line in found
    ]


def rtl_sources(bundle: Bundle) -> list[Path]:
    return [bundle.path / "rtl" / name for name in trusted(bundle).sources]


def check_netlist(bundle: Bundle, folder: Path, count: int) -> None:
    """The netlist in `folder` gives the golden results at the RTL's cycles."""
    wanted = bundle.golden[bundle.design.network.layers[-1].name][:count].reshape(count, -1)
    netlist = [folder / "accelerator_netlist.v", folder / "ecp5_cells.v"]
    results, cycles = run_images(bundle, netlist, bundle.path / "sim_netlist", count)
    rtl_results, rtl_cycles = run_images(
        bundle, rtl_sources(bundle), bundle.path / "sim_rtl", count
    )
    assert np.array_equal(rtl_results, wanted)
    assert np.array_equal(results, wanted)
    assert cycles == rtl_cycles


def test_whole_flow_on_a_small_design(tmp_path: Path) -> None:
    bundle = small_design.write(tmp_path / "build")
    generate(bundle)
    report = execute(bundle, "ecp5", lambda line: None)
    assert report["met"]
    assert (bundle.path / report["bitstream"]).stat().st_size > 10_000
    assert report["resources"]["dsp"] >= 8
    check_netlist(bundle, bundle.path / "flow" / "ecp5", 3)


def test_a_fault_in_the_netlist_is_seen(tmp_path: Path) -> None:
    bundle = small_design.write(tmp_path / "build")
    generate(bundle)
    folder = prepare(bundle, "ecp5")
    run_step(
        Step(name="synthesis_accelerator", tool="yosys", arguments=("-s", "accelerator.ys")), folder
    )
    cells = folder / "ecp5_cells.v"
    cells.write_text(
        cells.read_text().replace("assign Z = C0 ? ALUT : BLUT;", "assign Z = C0 ? ALUT : ALUT;")
    )
    with pytest.raises(AssertionError):
        check_netlist(bundle, folder, 1)


SHAPES = (
    (1, 9000),
    (2, 8192),
    (3, 5000),
    (4, 4096),
    (9, 2048),
    (9, 3000),
    (18, 1024),
    (20, 512),
    (36, 512),
    (40, 700),
)


def memory_module(name: str, width: int, depth: int) -> str:
    a = (depth - 1).bit_length()
    return f"""module {name}(
    input wire clk, input wire we, input wire [{a}-1:0] wa, input wire [{width}-1:0] wd,
    input wire re, input wire [{a}-1:0] ra, output reg [{width}-1:0] rd);
    (* ram_style = "block" *) reg [{width}-1:0] words [0:{depth}-1];
    integer i;
    initial for (i = 0; i < {depth}; i = i + 1) words[i] = i * 7919;
    always @(posedge clk) begin
        if (we) words[wa] <= wd;
        if (re) rd <= words[ra];
    end
endmodule
"""


def product_module(name: str, a: int, b: int) -> str:
    return f"""module {name}(
    input wire clk, input wire signed [{a}-1:0] x, input wire signed [{b}-1:0] y,
    output reg signed [{a + b}-1:0] p);
    always @(posedge clk) p <= x * y;
endmodule
"""


def test_cell_models_equal_the_rtl(tmp_path: Path) -> None:
    """Block RAM at every width and products, random accesses, netlist beside RTL in one
    simulation.
    """
    products = ((9, 8), (18, 18), (24, 17))
    rtl, bench, script = [], [], []
    for w, d in SHAPES:
        name, a = f"ram_{w}_{d}", (d - 1).bit_length()
        rtl.append(memory_module(name, w, d))
        bench.append(
            f"wire [{w}-1:0] {name}_x, {name}_y;\n"
            + "".join(
                f"{name}{s} {name}_i{s}(.clk(clk), .we(r[0] & (r[10 +: {a}] % {d} != r[40 +: {a}] %"
                f" {d})), .wa(r[10 +: {a}] % {d}), .wd(r[60 +: {w}]), .re(r[1] | r[2]), .ra(r[40 +:"
                f" {a}] % {d}), .rd({name}_{o}));\n"
                for s, o in (("", "x"), ("_net", "y"))
            )
            + f"always @(negedge clk) if (checked && {name}_x !== {name}_y) begin "
            f'$display("WRONG {name} %h %h", {name}_x, {name}_y); $finish; end\n'
        )
    for a, b in products:
        name = f"product_{a}_{b}"
        rtl.append(product_module(name, a, b))
        bench.append(
            f"wire [{a + b}-1:0] {name}_x, {name}_y;\n"
            + "".join(
                f"{name}{s} {name}_i{s}(.clk(clk), .x(r[0 +: {a}]), .y(r[50 +: {b}]),"
                f" .p({name}_{o}));\n"
                for s, o in (("", "x"), ("_net", "y"))
            )
            + f'always @(negedge clk) if (checked && {name}_x !== {name}_y) begin $display("WRONG'
            f' {name}"); $finish; end\n'
        )
    names = [f"ram_{w}_{d}" for w, d in SHAPES] + [f"product_{a}_{b}" for a, b in products]
    (tmp_path / "rtl.v").write_text("".join(rtl))
    for name in names:
        script.append(
            f"design -reset; read_verilog rtl.v; synth_ecp5 -top {name}; rename {name} {name}_net; "
            f"write_verilog -noattr {name}_net.v"
        )
    (tmp_path / "all.ys").write_text("\n".join(script) + "\n")
    run_step(Step(name="cells", tool="yosys", arguments=("-q", "-s", "all.ys")), tmp_path)
    (tmp_path / "bench.v").write_text(f"""`timescale 1ns / 1ps
module bench;
reg clk = 0;
reg checked = 0;
always #5 clk = ~clk;
reg [127:0] r = 128'd0;
integer cycle = 0;
always @(negedge clk) begin
    r <= #1 {{$urandom(), $urandom(), $urandom(), $urandom()}};
    if (cycle == 3) r[2:0] <= #1 3'b010;
    cycle <= cycle + 1;
    checked <= cycle > 10;
    if (cycle == 3000) begin $display("DONE"); $finish; end
end
{"".join(bench)}
endmodule
""")
    lines = simulate(
        [
            tmp_path / "bench.v",
            tmp_path / "rtl.v",
            CELLS,
            *(tmp_path / f"{n}_net.v" for n in names),
        ],
        "bench",
        tmp_path,
    )
    assert lines[-1] == "DONE", lines[-1]
