"""The watchdog of generated RTL names the layer at which a broken accelerator stalls."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from autonba.bundle import Bundle
from autonba.registers import explain_stall
from tests.sim.conftest import plant

BENCH = """`timescale 1ns / 1ps
module bench;
    reg clk = 0, rst = 1, pixel_valid = 0, result_ready = %(ready)d, write = 0, read = 0;
    reg [11:0] address = 12'h030;
    wire pixel_ready, rvalid;
    wire [31:0] rdata;
    integer taken = 0;
    always #5 clk = ~clk;
    accelerator dut (
        .clk(clk), .rst(rst), .s_axis_tdata(8'd%(pixel)d), .s_axis_tvalid(pixel_valid),
        .s_axis_tready(pixel_ready),
        .s_axis_tlast(taken %% 16 == 15),
        .m_axis_tdata(), .m_axis_tvalid(), .m_axis_tready(result_ready), .m_axis_tlast(),
        .s_axil_awaddr(address), .s_axil_awprot(3'd0), .s_axil_awvalid(write),
        .s_axil_awready(), .s_axil_wdata(32'd500),
        .s_axil_wstrb(4'hf), .s_axil_wvalid(write), .s_axil_wready(), .s_axil_bresp(),
        .s_axil_bvalid(), .s_axil_bready(1'b1),
        .s_axil_araddr(12'h034), .s_axil_arprot(3'd0), .s_axil_arvalid(read), .s_axil_arready(),
        .s_axil_rdata(rdata),
        .s_axil_rresp(), .s_axil_rvalid(rvalid), .s_axil_rready(1'b1)
    );
    always @(posedge clk) if (pixel_valid && pixel_ready) begin
        taken <= taken + 1;
        if (taken + 1 == %(pixels)d) pixel_valid <= 0;
    end
    initial begin
        repeat (5) @(negedge clk);
        rst = 0;
        @(negedge clk) write = 1;
        @(negedge clk) write = 0;
        repeat (9) @(negedge clk);
        pixel_valid = 1;
        repeat (6000) @(negedge clk);
        read = 1;
        @(negedge clk) read = 0;
        wait (rvalid) $display("STALL %%h", rdata);
        $finish;
    end
endmodule
"""
IMAGES = 6


def _stall(bundle: Bundle, *, pixels: int = 16 * IMAGES, ready: bool = True) -> str:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog must be installed for this test, and it is not")
    rtl = bundle.path / "rtl"
    bench = bundle.path / "bench.v"
    bench.write_text(BENCH % {"pixels": pixels, "ready": ready, "pixel": 77})
    program = str(bundle.path / "bench.vvp")
    sources = [str(rtl / name) for name in (rtl / "rtl.f").read_text().split()]
    subprocess.run(
        ["iverilog", "-g2005", "-s", "bench", "-o", program, str(bench), *sources],
        check=True,
        capture_output=True,
    )
    out = subprocess.run(
        ["vvp", program], cwd=rtl, check=True, capture_output=True, text=True
    ).stdout
    value = int(out.partition("STALL ")[2].split()[0], 16)
    design = bundle.design
    return explain_stall(value, design.network, [chunk.name for chunk in design.accelerator.chunks])


def test_a_sound_accelerator_does_not_stall(spoilt_tiny: Bundle) -> None:
    assert _stall(spoilt_tiny) == "no stall"


def test_the_host_is_named_where_it_is_waited_for(spoilt_tiny: Bundle) -> None:
    assert "pixels stopped coming" in _stall(spoilt_tiny, pixels=9)
    assert "a result is offered and not taken" in _stall(spoilt_tiny, ready=False)


def test_the_layer_behind_which_rows_are_lost_is_named(spoilt_tiny: Bundle) -> None:
    text = (spoilt_tiny.path / "rtl" / "accelerator.v").read_text()
    old = text[text.index("u_tokens_stem_to_wide (") :].split(";")[0]
    head, _, tail = old.partition(".commit(")
    plant(spoilt_tiny, "accelerator.v", old, f"{head}.commit(1'd0 & {tail}")
    assert _stall(spoilt_tiny).startswith(
        "layer 'stem' (number 0) on chunk 'conv0' (number 0) has its input rows and no free "
    )


def test_the_layer_that_lost_its_input_is_named(spoilt_tiny: Bundle) -> None:
    text = (spoilt_tiny.path / "rtl" / "accelerator.v").read_text()
    old = text[text.index("u_tokens_wide_to_logits (") :].split(";")[0]
    head, _, tail = old.partition(".commit(")
    plant(spoilt_tiny, "accelerator.v", old, f"{head}.commit(first_done & {tail}")
    plant(
        spoilt_tiny,
        "accelerator.v",
        "    // Row tokens",
        "    reg first_done = 1'b0;\n"
        "    always @(posedge clk) if (wide_commit) first_done <= 1'b1;\n    // Row tokens",
    )
    assert _stall(spoilt_tiny, pixels=16).startswith(
        "layer 'logits' (number 2) on chunk 'conv0' (number 0) does not get"
    )
