"""Resources and clock of the multiplier array, beside published arrays measured with the same
tools.

    # 16x16 packed arrays on two AMD families, all widths; writes benchmarks/array.json
    python -m benchmarks.array
    python -m benchmarks.array --quick     # two of them, nothing written
    python -m benchmarks.array --fmax      # place and route on ECP5 as well

Where the lanes that share a DSP block do not divide 16, a second array has as many lanes more as
fill the last block. A LUT is any LUT1 to LUT6, inverter or shift register of the netlist; FF is any
flip-flop. The array is `mac_array` alone with 16 lanes of 16 products, four or half of the lanes
drained a cycle, packed as `autonba.packing` says. Yosys maps only the multiplier of a DSP48E2,
which makes FF pessimistic there.
"""

from __future__ import annotations

import subprocess
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

import click

from autonba.arithmetic import ceil_div
from autonba.boards import Family
from autonba.files import read_json, write_json
from autonba.flows.ecp5 import clock_fmax, read_statistics
from autonba.flows.tools import find_tool
from autonba.packing import PORT_BITS, pack

RESULTS = Path(__file__).parent / "array.json"
FILES = (
    "adder_tree",
    "mac_array",
    "mac_lane",
    "mac_pack",
    "multiply_dsp",
    "multiply_lut",
    "multiply_packed",
    "multiply_slice",
)
SIDE = 16  # lanes, and products of each
WIDTHS = ((8, 8), (6, 6), (5, 5), (4, 4), (4, 8), (2, 2))  # weight and unsigned input bits
QUICK = ((8, 8), (4, 4))
FAMILIES: tuple[Family, ...] = ("xc7", "xcup")
# FINN's matrix-vector unit, 16x16, same Yosys: (family, weight bits, input bits) ->
# multiply-accumulates per DSP, LUT per MAC.
FINN = {("xc7", 4, 4): (4.0, 28.4), ("xcup", 4, 4): (4.0, 29.1), ("xc7", 8, 8): (2.0, 40.7)}
# Name, lanes, products, weight bits, input bits, multiplier. An 85k part has 156 multipliers: 16x16
# of 8 bits do not fit.
CLOCKED = (
    ("8x8, 8 bits", 8, 8, 8, 9, 1),
    ("16x8, 8 bits", 16, 8, 8, 9, 1),
    ("16x16, 4 bits packed", 16, 16, 4, 4, 2),
)
PEERS_MHZ = {"FINN 8x8, 4 bits": 74.3, "Gemmini 8x8, 8 bits": 72.2}  # same place and route
ASKED_MHZ = 150
SEED = 1

# Registers at the array's ports, and few pins: operands come in bit by bit, results leave folded
# into one.
WRAPPER = """\
module top (input wire clk, input wire rst, input wire in, input wire load, output reg out);
    localparam WEIGHTS = {weights}, INPUTS = {inputs}, ALL = WEIGHTS + INPUTS + 3, DRAIN = {drain};
    reg [ALL-1:0] coming, operands;
    wire [DRAIN-1:0] drain;
    wire block_done;
    reg [DRAIN:0] folded;
    mac_array #({parameters}) u_array (
        .clk(clk), .rst(rst), .weights(operands[0 +: WEIGHTS]),
        .inputs(operands[WEIGHTS +: INPUTS]),
        .beat_valid(operands[ALL-3]), .beat_first(operands[ALL-2]), .beat_last(operands[ALL-1]),
        .beat_maximum(1'b0),
        .block_done(block_done), .drain(drain));
    always @(posedge clk) begin
        coming <= {{coming[ALL-2:0], in}};
        if (load) operands <= coming;
        folded <= {{folded[DRAIN-1:0], folded[DRAIN] ^ block_done}} ^ {{1'b0, drain}};
        out <= folded[DRAIN];
    end
endmodule
"""


def array_parameters(
    lanes: int,
    terms: int,
    weight_bits: int,
    input_bits: int,
    multiplier: int,
    drain_lanes: int,
    port_bits: int,
) -> dict[str, int]:
    """Parameters of a convolution array of one column."""
    packing = pack(weight_bits, input_bits, port_bits)
    return {
        "OUT_LANES": lanes,
        "TERMS": terms,
        "COLUMNS": 1,
        "SHARED": 1,
        "DRAIN_LANES": drain_lanes,
        "WEIGHT_BITS": weight_bits,
        "INPUT_BITS": input_bits,
        "ACC_BITS": weight_bits + input_bits + 8,
        "MULTIPLIER": multiplier,
        "FIELDS": packing.fields,
        "SPACING": packing.spacing,
        "MAXIMUM": 0,
    }


def run_tool(tool: str, folder: Path, *arguments: str) -> None:
    """Run a tool in `folder`."""
    subprocess.run([find_tool(tool), *arguments], cwd=folder, check=True, capture_output=True)


def read_library(folder: Path) -> str:
    """Put the array's Verilog into `folder`; returns the Yosys command that reads it."""
    for name in FILES:
        (folder / f"{name}.v").write_text(
            (resources.files("autonba.rtl_templates") / f"{name}.v").read_text()
        )
    return f"read_verilog -defer {' '.join(f'{name}.v' for name in FILES)}"


def synthesize(family: Family, lanes: int, weight_bits: int, input_bits: int) -> dict[str, Any]:
    """Synthesize a packed array with 16 products a lane; returns its counts."""
    parameters = array_parameters(
        lanes, SIDE, weight_bits, input_bits, 2, lanes // 2 if lanes % 4 else 4, PORT_BITS[family]
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = " ".join(f"-set {name} {value}" for name, value in parameters.items())
        run_tool(
            "yosys",
            folder,
            "-q",
            "-p",
            f"{read_library(folder)}; chparam {settings} mac_array; synth_xilinx -family {family}"
            " -flatten -noiopad -noclkbuf -top mac_array; tee -q -o stat.json stat -json",
        )
        cells = read_statistics(folder / "stat.json")
    macs = lanes * SIDE
    lut = sum(
        count
        for name, count in cells.items()
        if name.startswith("LUT") or name in ("INV", "SRL16E", "SRLC32E")
    )
    dsp = sum(count for name, count in cells.items() if name.startswith("DSP"))
    ff = sum(count for name, count in cells.items() if name.startswith("FD"))
    return {
        "family": family,
        "lanes": lanes,
        "weight_bits": weight_bits,
        "input_bits": input_bits,
        "fields": parameters["FIELDS"],
        "dsp": dsp,
        "lut": lut,
        "ff": ff,
        "mac_per_dsp": round(macs / dsp, 2),
        "lut_per_mac": round(lut / macs, 1),
    }


def clock(lanes: int, terms: int, weight_bits: int, input_bits: int, multiplier: int) -> float:
    """Highest frequency (MHz) of an array on the ECP5-85F, speed grade 6."""
    parameters = array_parameters(
        lanes, terms, weight_bits, input_bits, multiplier, 2, PORT_BITS["ecp5"]
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text(
            WRAPPER.format(
                weights=lanes * terms * weight_bits,
                inputs=terms * input_bits,
                drain=2 * parameters["ACC_BITS"],
                parameters=", ".join(f".{name}({value})" for name, value in parameters.items()),
            )
        )
        run_tool(
            "yosys",
            folder,
            "-q",
            "-p",
            f"{read_library(folder)} top.v; synth_ecp5 -top top -json top.json",
        )
        run_tool(
            "nextpnr-ecp5",
            folder,
            "--85k",
            "--package",
            "CABGA381",
            "--speed",
            "6",
            "--freq",
            str(ASKED_MHZ),
            "--seed",
            str(SEED),
            "--lpf-allow-unconstrained",
            "--timing-allow-fail",
            "--json",
            "top.json",
            "--report",
            "report.json",
        )
        return round(clock_fmax(read_json(folder / "report.json")), 1)


@click.command()
@click.option("--quick", is_flag=True, help="Two arrays, nothing written.")
@click.option("--fmax", is_flag=True, help="Place and route on ECP5 as well.")
def main(quick: bool, fmax: bool) -> None:
    """Measure the array."""
    document: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {"schema_version": 1}
    rows = []
    click.echo("family  lanes  w,a   DSP    LUT     FF   MAC/DSP  LUT/MAC   FINN: MAC/DSP  LUT/MAC")
    for family in FAMILIES[: 1 if quick else None]:
        for weight_bits, input_bits in QUICK if quick else WIDTHS:
            fields = pack(weight_bits, input_bits, PORT_BITS[family]).fields
            for lanes in sorted({SIDE, ceil_div(SIDE, fields) * fields}):
                row = synthesize(family, lanes, weight_bits, input_bits)
                rows.append(row)
                finn = FINN.get((family, weight_bits, input_bits))
                beside = f"{finn[0]:16.0f}  {finn[1]:7.1f}" if finn else ""
                click.echo(
                    f"{family:6}  {lanes:5}  {weight_bits},{input_bits}  {row['dsp']:4} "
                    f" {row['lut']:5}  {row['ff']:5}  {row['mac_per_dsp']:8.1f} "
                    f" {row['lut_per_mac']:7.1f}{beside}"
                )
    document["arrays"] = rows
    if fmax:
        document["fmax_mhz"] = {}
        for name, *array in CLOCKED[: 1 if quick else None]:
            document["fmax_mhz"][name] = found = clock(*array)
            click.echo(f"{name}: {found} MHz")
        click.echo(", ".join(f"{name}: {mhz} MHz" for name, mhz in PEERS_MHZ.items()))
    if not quick:
        write_json(RESULTS, document)


if __name__ == "__main__":
    main()
