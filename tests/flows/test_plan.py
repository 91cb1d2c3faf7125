"""Plans: golden folders (AUTONBA_BLESS=1 rewrites them), determinism, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import small_design

from autonba import __version__, cli
from autonba.boards import BOARDS
from autonba.bundle import Bundle
from autonba.errors import BundleError, SpecError
from autonba.flows.ecp5 import device_arguments
from autonba.flows.run import TARGETS, execute, prepare
from autonba.flows.zynq import ZYNQ, dma_bits

GOLDEN = Path(__file__).parent / "golden"
SCRIPTED = [(target, board) for target, flow in TARGETS.items() for board in flow.boards]
LEFT_OUT = {"ecp5_cells.v", "manifest.json"}  # a copy from the package, and digests


def neutral(text: str, digest: str) -> str:
    """`text` without what changes with the version or with the design's number formats."""
    return (
        text.replace(digest, "DIGEST")
        .replace(digest[:16], "DIGEST")
        .replace(__version__, "VERSION")
    )


def written(folder: Path, digest: str) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): neutral(path.read_text(), digest)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in LEFT_OUT
    }


@pytest.mark.parametrize(("target", "board"), SCRIPTED)
def test_scripts_equal_the_golden_folder(tmp_path: Path, target: str, board: str) -> None:
    bundle = small_design.placeholder(tmp_path, board)
    got = written(prepare(bundle, target), bundle.digest)
    golden = GOLDEN / target / board
    if os.environ.get("AUTONBA_BLESS") == "1":
        shutil.rmtree(golden, ignore_errors=True)
        for name, text in got.items():
            (golden / name).parent.mkdir(parents=True, exist_ok=True)
            (golden / name).write_text(text)
    assert got == written(golden, "no digest in them")


def test_every_golden_folder_is_compared() -> None:
    assert {(path.parent.name, path.name) for path in GOLDEN.glob("*/*")} == set(SCRIPTED)


@pytest.mark.parametrize(("target", "board"), SCRIPTED)
def test_scripts_depend_on_the_design_alone(tmp_path: Path, target: str, board: str) -> None:
    bundle, other = (
        small_design.placeholder(tmp_path / name, board) for name in ("build", "elsewhere/deep")
    )
    first, second = prepare(bundle, target), prepare(other, target)
    assert written(first, bundle.digest) == written(second, other.digest)
    for name, text in written(first, bundle.digest).items():
        assert str(tmp_path) not in text, name
        assert (
            name.endswith((".json", ".sh", ".tcl"))
            or "autonba VERSION from design DIGEST" in text.splitlines()[0]
        ), name


def named_parts(text: str) -> set[str]:
    """Every part number in `text`: 7-series and Zynq, UltraScale+, ECP5."""
    return set(
        re.findall(r"xc7[a-z]\d+\w+-\w+|xc[zkv]u\w+-[a-z]+\d+-[\w-]+|LFE5\w+-\d+F-\w+", text)
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("board", sorted(BOARDS))
def test_a_plan_is_for_the_designs_own_board_or_refused(
    tmp_path: Path, target: str, board: str
) -> None:
    """No part but the board's own is named anywhere; without scripts for the board nothing is
    written.
    """
    bundle, part = small_design.placeholder(tmp_path, board), BOARDS[board].part
    assert all(named_parts(b.part) == {b.part} for b in BOARDS.values())
    if (target, board) not in SCRIPTED:
        with pytest.raises(SpecError) as refusal:
            execute(bundle, target)
        for name in (board, *TARGETS[target].boards, "search again with --board"):
            assert name in str(refusal.value)
        assert not (bundle.path / "flow").exists()
        assert not (bundle.path / "report").exists()
        return
    texts = written(prepare(bundle, target), bundle.digest)
    assert named_parts("".join(texts.values())) == {part}
    for name, text in texts.items():
        if name.endswith(".tcl") or name in ("plan.json", "run.sh"):
            assert part in text, name
    assert json.loads(texts["plan.json"])["board"] == board


def test_every_board_has_scripts_for_one_target() -> None:
    assert sorted(board for _, board in SCRIPTED) == sorted(BOARDS)
    assert list(TARGETS) == list(cli.target_names)


def test_a_board_without_scripts_is_sent_to_its_rtl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = dataclasses.replace(BOARDS["pynq-z2"], name="new-board", part="xc7z020clg484-1")
    monkeypatch.setitem(BOARDS, board.name, board)
    bundle = small_design.placeholder(tmp_path, board.name)
    for target in TARGETS:
        with pytest.raises(
            SpecError,
            match=(
                r"not 'new-board'; use rtl/ in a project of your own, or search again with --board"
            ),
        ):
            prepare(bundle, target)
    assert not (bundle.path / "flow").exists()


def test_place_and_route_is_told_the_part() -> None:
    assert device_arguments("LFE5U-85F-6BG381C") == (
        "--85k",
        "--package",
        "CABGA381",
        "--speed",
        "6",
    )
    assert device_arguments("LFE5U-45F-8BG256I") == (
        "--45k",
        "--package",
        "CABGA256",
        "--speed",
        "8",
    )
    with pytest.raises(SpecError, match="part must be an LFE5U"):
        device_arguments("xc7z020clg400-1")


def test_scripts_of_another_board_do_not_stay(tmp_path: Path) -> None:
    """A folder that held a Zynq board's project holds nothing of it when the design is for another
    board.
    """
    first = small_design.placeholder(tmp_path / "build", "zc706")
    second = small_design.placeholder(tmp_path / "new", "arty-a7-35t")
    folder = prepare(first, "vivado")
    (folder / "out").mkdir()
    (folder / "out" / "timing.rpt").write_text("hours of work")
    shutil.copytree(second.path, first.path, dirs_exist_ok=True)
    assert prepare(Bundle(first.path), "vivado") == folder
    assert {path.name for path in folder.iterdir()} - {"out"} == {
        path.name for path in prepare(second, "vivado").iterdir()
    }
    assert (folder / "out" / "timing.rpt").exists()


def test_unchanged_files_are_left_untouched(placeholder: Bundle) -> None:
    folder = prepare(placeholder, "ecp5")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    prepare(placeholder, "ecp5")
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_missing_rtl_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"rtl\.f: the file must exist.*run `autonba gen-rtl"):
        prepare(small_design.write(tmp_path), "ecp5")


def test_rtl_of_another_design_is_refused(placeholder: Bundle) -> None:
    (placeholder.path / "rtl" / "row_buffer.v").write_text(
        "// Generated from design 0123456789abcdef.\n"
    )
    with pytest.raises(BundleError, match=r"row_buffer\.v: it must be of design"):
        prepare(placeholder, "ecp5")


def test_listing_cannot_leave_the_folder(placeholder: Bundle) -> None:
    (placeholder.path / "rtl" / "rtl.f").write_text("../design.json\n")
    with pytest.raises(BundleError, match="plain file name"):
        prepare(placeholder, "ecp5")


def test_unknown_target(placeholder: Bundle) -> None:
    with pytest.raises(SpecError, match="target must be one of ecp5, vivado, not 'asic'"):
        prepare(placeholder, "asic")


SCRIPTS = [
    (board, script)
    for board in TARGETS["vivado"].boards
    for script in (
        ("build.tcl",) if board == "arty-a7-35t" else ("build.tcl", "package_ip.tcl", "system.tcl")
    )
]


def in_stand_in(
    bundle: Bundle,
    tmp_path: Path,
    script: str,
    *,
    board_files: str = "vendor:board:part0:1.0",
    part: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a script of target vivado against a stand-in that accepts its commands and checks that
    files named exist.

    `board_files` is what the stand-in finds installed, `part` the part that they are for (the
    design's, if none is given).
    """
    folder = prepare(bundle, "vivado")
    harness = tmp_path / "harness.tcl"
    harness.write_text(r"""
proc unknown {name args} {
    set vivado {create_project read_verilog read_mem read_xdc synth_design write_checkpoint
    opt_design place_design
        phys_opt_design route_design report_utilization report_timing_summary report_drc
        write_bitstream get_cells
        add_files set_property current_fileset update_compile_order ipx::package_project
        ipx::current_core
        ipx::infer_bus_interface ipx::add_bus_parameter ipx::get_bus_interfaces
        ipx::get_bus_parameters
        ipx::associate_bus_interfaces ipx::create_xgui_files ipx::update_checksums
        ipx::save_core close_project
        current_project update_ip_catalog create_bd_design create_bd_cell get_board_parts
        get_bd_cells get_bd_pins
        get_bd_intf_pins connect_bd_net connect_bd_intf_net apply_bd_automation
        assign_bd_address validate_bd_design
        save_bd_design make_wrapper get_files launch_runs wait_on_run open_run}
    if {$name eq "get_board_parts"} { return $::board_files }
    if {$name eq "get_property"} { return $::part }
    if {[lsearch -exact $vivado $name] < 0} { error "no such command: $name" }
    if {$name in {read_verilog read_mem read_xdc add_files} && ![file exists [lindex $args end]]} {
        error "no such file: [lindex $args end]"
    }
    puts "RAN $name"
    return $name
}
lassign $argv script board_files part
source $script
puts DONE
""")
    part = part or BOARDS[bundle.design.target.board].part
    return subprocess.run(
        ["tclsh", harness, folder / script, board_files, part],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")
@pytest.mark.parametrize(("board", "script"), SCRIPTS)
def test_tcl_runs_in_a_stand_in_for_vivado(tmp_path: Path, board: str, script: str) -> None:
    done = in_stand_in(small_design.placeholder(tmp_path / "build", board), tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("DONE")
    assert len(re.findall("RAN", done.stdout)) > 10


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")
@pytest.mark.parametrize("board", ZYNQ)
def test_a_system_needs_the_boards_own_files(tmp_path: Path, board: str) -> None:
    """Without them, or with those of another part, no block design is begun."""
    bundle = small_design.placeholder(tmp_path / "build", board)
    for done, message in (
        (
            in_stand_in(bundle, tmp_path, "system.tcl", board_files=""),
            "must be installed, and Vivado finds none",
        ),
        (
            in_stand_in(bundle, tmp_path, "system.tcl", part="xc7z010clg400-1"),
            f"must be for {BOARDS[board].part}",
        ),
    ):
        assert done.returncode != 0
        assert message in done.stderr
        assert "create_bd_design" not in done.stdout


@pytest.mark.parametrize("board", ZYNQ)
def test_a_systems_connections_are_complete(tmp_path: Path, board: str) -> None:
    """Each interface is connected once, each clock and reset input of a block has its net, for
    streamed weights too.
    """
    bundle = small_design.placeholder(tmp_path / "build", board)
    stream(bundle, "stem", "depth")
    texts = written(prepare(Bundle(bundle.path), "vivado"), bundle.digest)
    system = texts["system.tcl"].replace("\\\n", " ")
    interfaces = re.findall(r"get_bd_intf_pins ([\w/]+)", system)
    ps, files = ZYNQ[board]
    assert sorted(interfaces) == sorted(
        (
            f"ps/{ps.control}",
            "control/S00_AXI",
            "control/M00_AXI",
            "accelerator/s_axil",
            "control/M01_AXI",
            "dma/S_AXI_LITE",
            "dma/M_AXI_MM2S",
            "memory/S00_AXI",
            "dma/M_AXI_S2MM",
            "memory/S01_AXI",
            "accelerator/m_axi_c0",
            "memory/S02_AXI",
            "accelerator/m_axi_d0",
            "memory/S03_AXI",
            "memory/M00_AXI",
            f"ps/{ps.memory}",
            "dma/M_AXIS_MM2S",
            "accelerator/s_axis",
            "accelerator/m_axis",
            "dma/S_AXIS_S2MM",
        )
    )
    assert "CONFIG.NUM_SI 4" in system
    pins = re.findall(r"get_bd_pins ([\w/]+)", system)
    assert sorted(pins) == sorted(
        (
            f"ps/{ps.clock}",
            "accelerator/clk",
            "reset/slowest_sync_clk",
            f"ps/{ps.control_clock}",
            f"ps/{ps.memory_clock}",
            "dma/s_axi_lite_aclk",
            "dma/m_axi_mm2s_aclk",
            "dma/m_axi_s2mm_aclk",
            "control/aclk",
            "memory/aclk",
            f"ps/{ps.reset_n}",
            "reset/ext_reset_in",
            "reset/peripheral_reset",
            "accelerator/rst",
            "reset/peripheral_aresetn",
            "dma/axi_resetn",
            "control/aresetn",
            "memory/aresetn",
        )
    )
    assert f"CONFIG.{ps.frequency} 50]" in system
    assert f"get_board_parts -quiet {files}" in system
    assert "[list s_axis m_axis s_axil m_axi_c0 m_axi_d0]" in texts["package_ip.tcl"]
    assert "stream.hex" not in "".join(texts.values())  # it is for the DRAM


@pytest.mark.parametrize(
    ("channels", "bits"), [(1, 8), (2, 16), (3, 32), (8, 64), (17, 256), (128, 1024)]
)
def test_a_pixel_passes_the_dma_in_a_beat(channels: int, bits: int) -> None:
    assert dma_bits(8 * channels) == bits


def test_a_pixel_wider_than_the_dma_is_refused() -> None:
    with pytest.raises(SpecError, match=r"input\.channels must be at most 128, .* not 129"):
        dma_bits(8 * 129)


def stream(bundle: Bundle, *layers: str) -> None:
    """Changes the bundle's design: `layers` stream their weights. The RTL keeps its name."""
    path = bundle.path / "design.json"
    design = json.loads(path.read_text())
    for layer in layers:
        design["accelerator"]["loops"][layer] = {
            "order": "block_outer",
            "rows": 1,
            "weights": "stream",
        }
    path.write_text(json.dumps(design))
    shutil.rmtree(bundle.path / "rtl")
    small_design.write_placeholder_rtl(Bundle(bundle.path))
    (bundle.path / "rtl" / "stream.hex").write_text("00000000\n")


@pytest.mark.parametrize(("target", "board"), [("ecp5", "ulx3s-85f"), ("vivado", "arty-a7-35t")])
def test_streamed_weights_need_a_board_with_a_processor(
    tmp_path: Path, target: str, board: str
) -> None:
    bundle = small_design.placeholder(tmp_path, board)
    stream(bundle, "stem")
    with pytest.raises(
        SpecError, match=rf"'stem': loops.weights must be 'chip' for board '{board}'.*not 'stream'"
    ):
        prepare(Bundle(tmp_path), target)
    assert not (tmp_path / "flow").exists()
