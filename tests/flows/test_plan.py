"""Plans: golden folders (AUTONBA_BLESS=1 rewrites them), determinism, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import small_design

from autonba import __version__
from autonba.bundle import Bundle
from autonba.errors import BundleError, SpecError
from autonba.flows.run import prepare

GOLDEN = Path(__file__).parent / "golden"
LONG = {"ecp5_cells.v"}  # copied from the package as it is


def neutral(text: str, digest: str) -> str:
    """`text` without what changes with the version or with the design's number formats."""
    return text.replace(digest, "DIGEST").replace(digest[:16], "DIGEST").replace(__version__, "VERSION")


def written(folder: Path, digest: str) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): neutral(path.read_text(), digest)
            for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in LONG}


@pytest.mark.parametrize("target", ["ecp5", "vivado"])
def test_scripts_equal_the_golden_folder(placeholder: Bundle, target: str) -> None:
    got = written(prepare(placeholder, target), placeholder.digest)
    golden = GOLDEN / target
    if os.environ.get("AUTONBA_BLESS") == "1":
        shutil.rmtree(golden, ignore_errors=True)
        for name, text in got.items():
            (golden / name).parent.mkdir(parents=True, exist_ok=True)
            (golden / name).write_text(text)
    assert got == written(golden, "no digest in them")


@pytest.mark.parametrize("target", ["ecp5", "vivado"])
def test_scripts_depend_on_the_design_alone(placeholder: Bundle, tmp_path: Path, target: str) -> None:
    other = small_design.write(tmp_path / "elsewhere" / "deep")
    small_design.write_placeholder_rtl(other)
    first, second = prepare(placeholder, target), prepare(other, target)
    assert written(first, placeholder.digest) == written(second, other.digest)
    for name, text in written(first, placeholder.digest).items():
        assert str(tmp_path) not in text, name
        assert name.endswith((".json", ".sh", ".tcl")) or "autonba VERSION from design DIGEST" in text.splitlines()[0], name


def test_unchanged_files_are_left_untouched(placeholder: Bundle) -> None:
    folder = prepare(placeholder, "ecp5")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    prepare(placeholder, "ecp5")
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_missing_rtl_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"rtl\.f: the file must exist.*run `autonba gen-rtl"):
        prepare(small_design.write(tmp_path), "ecp5")


def test_rtl_of_another_design_is_refused(placeholder: Bundle) -> None:
    (placeholder.path / "rtl" / "row_buffer.v").write_text("// Generated from design 0123456789abcdef.\n")
    with pytest.raises(BundleError, match=r"row_buffer\.v: it must be of design"):
        prepare(placeholder, "ecp5")


def test_listing_cannot_leave_the_folder(placeholder: Bundle) -> None:
    (placeholder.path / "rtl" / "rtl.f").write_text("../design.json\n")
    with pytest.raises(BundleError, match="plain file name"):
        prepare(placeholder, "ecp5")


def test_board_of_another_family_is_refused(tmp_path: Path) -> None:
    bundle = small_design.write(tmp_path, board="pynq-z2", clock_mhz=100.0)
    small_design.write_placeholder_rtl(bundle)
    with pytest.raises(SpecError, match="board must be 'ulx3s-85f', not 'pynq-z2'"):
        prepare(bundle, "ecp5")


def test_unknown_target(placeholder: Bundle) -> None:
    with pytest.raises(SpecError, match="target must be one of ecp5, vivado, not 'asic'"):
        prepare(placeholder, "asic")


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")
@pytest.mark.parametrize("script", ["arty/build.tcl", "ultra96/build.tcl", "ultra96/package_ip.tcl", "ultra96/system.tcl"])
def test_tcl_runs_in_a_stand_in_for_vivado(placeholder: Bundle, tmp_path: Path, script: str) -> None:
    """Every command runs against a stand-in that accepts any Vivado command and checks that files named exist."""
    folder = prepare(placeholder, "vivado")
    harness = tmp_path / "harness.tcl"
    harness.write_text(r"""
proc unknown {name args} {
    set vivado {create_project read_verilog read_mem read_xdc synth_design write_checkpoint opt_design place_design
        phys_opt_design route_design report_utilization report_timing_summary report_drc write_bitstream get_cells
        add_files set_property current_fileset update_compile_order ipx::package_project ipx::current_core
        ipx::infer_bus_interface ipx::add_bus_parameter ipx::get_bus_interfaces ipx::get_bus_parameters
        ipx::associate_bus_interfaces ipx::create_xgui_files ipx::update_checksums ipx::save_core close_project
        current_project update_ip_catalog create_bd_design create_bd_cell get_board_parts get_bd_cells get_bd_pins
        get_bd_intf_pins connect_bd_net connect_bd_intf_net apply_bd_automation assign_bd_address validate_bd_design
        save_bd_design make_wrapper get_files launch_runs wait_on_run open_run}
    if {[lsearch -exact $vivado $name] < 0} { error "no such command: $name" }
    if {$name in {read_verilog read_mem read_xdc add_files} && ![file exists [lindex $args end]]} {
        error "no such file: [lindex $args end]"
    }
    puts "RAN $name"
    return $name
}
source [lindex $argv 0]
puts DONE
""")
    done = subprocess.run(["tclsh", harness, folder / script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("DONE")
    assert len(re.findall("RAN", done.stdout)) > 10


def test_streamed_weights_are_refused(placeholder: Bundle, tmp_path: Path) -> None:
    shutil.copytree(placeholder.path, tmp_path / "bundle")
    path = tmp_path / "bundle" / "design.json"
    design = json.loads(path.read_text())
    design["accelerator"]["loops"] = {"stem": {"order": "block_outer", "rows": 1, "weights": "stream"}}
    path.write_text(json.dumps(design))
    with pytest.raises(SpecError, match=r"'stem': loops.weights must be 'chip' for target 'ecp5'.*not 'stream'"):
        prepare(Bundle(tmp_path / "bundle"), "ecp5")
