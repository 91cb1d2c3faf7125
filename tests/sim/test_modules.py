"""Module benches pass generated RTL and fail on planted faults."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from autonba.bundle import Bundle
from autonba.packing import PORT_BITS, pack, pack_columns
from autonba.sim.modules import Device, run_all, run_devices
from autonba.sim.runner import find_toolchain
from autonba.sim.verilog_reader import Reader
from tests.sim.conftest import plant

ALL = ("module row_buffer", "module row_tokens", "module mac_array", "module requantizer")
ARRAY_FILES = (
    "adder_tree",
    "mac_array",
    "mac_lane",
    "mac_pack",
    "multiply_dsp",
    "multiply_lut",
    "multiply_packed",
    "multiply_slice",
)


def test_modules_equal_their_twins(small: Bundle, simulator: str, tmp_path: Path) -> None:
    assert run_all(small, small.path / "rtl", tmp_path, simulator, seed=3) == dict.fromkeys(ALL, "")


def test_every_bench_finds_its_fault(spoilt: Bundle, simulator: str) -> None:
    plant(spoilt, "row_buffer.v", "assign read_data = word;", "assign read_data = word ^ 1'b1;")
    plant(
        spoilt,
        "row_tokens.v",
        "free <= free + release_read - claim_write;",
        "free <= free - claim_write;",
    )
    plant(spoilt, "mac_array.v", "own + addend", "own - addend")
    for chunk in spoilt.design.accelerator.chunks:
        plant(spoilt, f"requantize_{chunk.name}.v", "$signed(acc_held)", "$signed(~acc_held)")
    failures = run_all(spoilt, spoilt.path / "rtl", spoilt.path / "sim", simulator, seed=3)
    assert {name for name, text in failures.items() if "must" in text} == set(ALL)


def array(weight_bits: int, input_bits: int, **others: int) -> dict[str, int]:
    """Parameters of an array; the accumulators hold every block of the bench."""
    parameters = {
        "WEIGHT_BITS": weight_bits,
        "INPUT_BITS": input_bits,
        "COLUMNS": 1,
        "SHARED": 1,
        "DRAIN_LANES": 2,
    }
    parameters |= {"ACC_BITS": weight_bits + input_bits + 12} | others
    if port := parameters.pop("port", 0):
        packing = (pack if parameters["SHARED"] else pack_columns)(weight_bits, input_bits, port)
        parameters |= {"MULTIPLIER": 2, "FIELDS": packing.fields, "SPACING": packing.spacing}
    return parameters


# All that an array can be: terms that are no power of two, columns, packs with fewer lanes than
# fit, one lane in a pack.
ARRAYS = (
    array(8, 9, MULTIPLIER=1, OUT_LANES=4, TERMS=4),
    array(4, 5, MULTIPLIER=0, OUT_LANES=6, TERMS=3, COLUMNS=2),
    array(2, 3, MULTIPLIER=0, OUT_LANES=2, TERMS=1),
    array(7, 9, MULTIPLIER=0, OUT_LANES=2, TERMS=2),
    array(8, 9, MULTIPLIER=1, OUT_LANES=2, TERMS=40, ACC_BITS=20),
    array(8, 9, MULTIPLIER=1, OUT_LANES=4, TERMS=1, SHARED=0, COLUMNS=2, MAXIMUM=1),
    array(5, 6, MULTIPLIER=0, OUT_LANES=3, TERMS=1, SHARED=0, DRAIN_LANES=1, MAXIMUM=1),
    array(8, 8, port=25, OUT_LANES=5, TERMS=3, COLUMNS=2, DRAIN_LANES=1),
    array(8, 8, port=18, OUT_LANES=3, TERMS=2, DRAIN_LANES=3),
    array(4, 4, port=25, OUT_LANES=6, TERMS=5),
    array(2, 2, port=18, OUT_LANES=12, TERMS=7, DRAIN_LANES=4),
    array(3, 3, port=27, OUT_LANES=9, TERMS=1, DRAIN_LANES=9),
    array(6, 6, port=27, OUT_LANES=4, TERMS=6, DRAIN_LANES=4),
    array(8, 8, port=25, OUT_LANES=2, TERMS=1, SHARED=0, COLUMNS=3, DRAIN_LANES=1, MAXIMUM=1),
    array(4, 4, port=25, OUT_LANES=2, TERMS=3, SHARED=0, COLUMNS=5),
    array(3, 3, port=25, OUT_LANES=2, TERMS=2, SHARED=0, COLUMNS=8),
)


def compare_arrays(
    arrays: tuple[dict[str, int], ...], library: Path, folder: Path, simulator: str
) -> str:
    """The bench's failure, or an empty text."""
    sources = [library / f"{name}.v" for name in ARRAY_FILES]
    reader = Reader.of_files(sources)
    devices = [
        Device(f"array{i}", reader.elaborate("mac_array", parameters), {})
        for i, parameters in enumerate(arrays)
    ]
    assert not reader.problems
    verdicts = run_devices(devices, sources, folder, simulator, seed=5)
    return verdicts["module mac_array"]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of the array's Verilog."""
    folder = tmp_path / "library"
    folder.mkdir()
    for name in ARRAY_FILES:
        with resources.as_file(resources.files("autonba.rtl_templates") / f"{name}.v") as path:
            shutil.copyfile(path, folder / path.name)
    return folder


def test_arrays_of_every_kind_are_exact(library: Path, tmp_path: Path, simulator: str) -> None:
    assert compare_arrays(ARRAYS, library, tmp_path / "bench", simulator) == ""


@pytest.mark.parametrize("parameters", ARRAYS)
def test_arrays_of_every_kind_are_lint_clean(parameters: dict[str, int], library: Path) -> None:
    tools = find_toolchain("verilator")
    command = [
        "verilator",
        "--lint-only",
        "-Wall",
        "--top-module",
        "mac_array",
        *(f"{name}.v" for name in ARRAY_FILES),
    ]
    done = subprocess.run(
        [*command, *(f"-G{name}={value}" for name, value in parameters.items())],
        cwd=library,
        env={**os.environ, **tools.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("mac_pack", "total - carried - offset", "total - carried"),
        ("mac_pack", "sum <= total - carried;", "sum <= total;"),
        ("multiply_packed", "low0 & ~p[0]", "low0 & p[0]"),
        ("multiply_packed", "low1 ^ borrow0", "low1"),
        ("multiply_packed", "low2 ^ borrow1", "low2"),
        ("mac_array", "? 1'b0 : 1'b1", "? 1'b1 : 1'b0"),
        ("mac_array", "if (clear)", "if (rst)"),
        ("mac_array", "first[PIPELINE-1] ||", ""),
        ("adder_tree", "low_sign = SIGNED == 1 ?", "low_sign = SIGNED == 2 ?"),
        ("multiply_slice", "{2{sums[", "2'b0 & {2{sums["),
        ("multiply_lut", ".below(a[LOW-1])", ".below(1'b0)"),
    ],
)
def test_faults_of_an_array_are_found(
    file: str, old: str, new: str, library: Path, tmp_path: Path, simulator: str
) -> None:
    path = library / f"{file}.v"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert "must" in compare_arrays(ARRAYS, library, tmp_path / "bench", simulator)


EVERY_PRODUCT = """
module every_product #(parameter A_BITS = 2, parameter B_BITS = 2);
    reg clk = 0;
    reg signed [A_BITS-1:0] a;
    reg signed [B_BITS-1:0] b;
    reg signed [A_BITS+B_BITS-1:0] latest, wanted;
    wire signed [A_BITS+B_BITS-1:0] product;
    integer n;
    multiply_lut #(.A_BITS(A_BITS), .B_BITS(B_BITS)) u_multiply (.clk(clk), .a(a), .b(b),
        .product(product));
    initial for (n = 0; n <= 1 << (A_BITS + B_BITS); n = n + 1) begin
        a = n;
        b = n >> A_BITS;
        #1 clk = 1;
        wanted = latest;
        latest = a * b;
        #1 clk = 0;
        if (n > 0 && product !== wanted) $display("%0d x %0d bits must give %0d, not %0d",
            A_BITS, B_BITS, wanted, product);
    end
endmodule
module bench;
    genvar w, i;
    generate
        for (w = 2; w <= 8; w = w + 1) for (i = 2; i <= 9; i = i + 1) every_product #(w, i)
            u_every ();
    endgenerate
endmodule
"""


def every_product(library: Path) -> str:
    """What a bench that multiplies all pairs of numbers of all widths in LUTs has to say."""
    (library / "bench.v").write_text(EVERY_PRODUCT)
    sources = ["multiply_lut.v", "multiply_slice.v", "bench.v"]
    subprocess.run(
        ["iverilog", "-g2005", "-s", "bench", "-o", "bench.vvp", *sources], cwd=library, check=True
    )
    return subprocess.run(
        ["vvp", "-n", "bench.vvp"], cwd=library, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="the bench has delays, which only Icarus runs here"
)
def test_soft_multipliers_are_exact_for_all_numbers(library: Path) -> None:
    assert every_product(library) == ""
    text = (library / "multiply_slice.v").read_text()
    assert "minus ^ number" in text
    (library / "multiply_slice.v").write_text(text.replace("minus ^ number", "minus & number"))
    assert "must give" in every_product(library)


@pytest.mark.slow
@pytest.mark.parametrize("port", sorted(PORT_BITS.values()))
@pytest.mark.parametrize("shared", [1, 0])
def test_packed_arrays_of_every_width_are_exact(
    port: int, shared: int, library: Path, tmp_path: Path, simulator: str
) -> None:
    kind: dict[str, Any] = (
        {"OUT_LANES": 14, "DRAIN_LANES": 7}
        if shared
        else {"OUT_LANES": 1, "COLUMNS": 8, "DRAIN_LANES": 1}
    )
    arrays = tuple(
        array(w, a, port=port, SHARED=shared, TERMS=2, **kind)
        for w in range(2, 9)
        for a in range(2, 9)
    )
    assert compare_arrays(arrays, library, tmp_path / "bench", simulator) == ""
