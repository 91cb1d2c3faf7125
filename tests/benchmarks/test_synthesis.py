"""What synthesis counted is kept with a digest of the Verilog: figures of other Verilog are never
used.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from autonba.files import read_json, write_json
from benchmarks import fit_resources
from benchmarks.attribution import amounts

SEED = "2"  # a small training design


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the kept results in a folder of its own."""
    kept = tmp_path / "resources_xc7.json"
    kept.write_bytes(fit_resources.rows_file("xc7").read_bytes())
    monkeypatch.setattr(fit_resources, "rows_file", lambda family: kept)
    monkeypatch.setattr(fit_resources, "BUILD", tmp_path / "build")
    return kept


def test_a_small_design_is_synthesized_as_was_kept(rows: Path) -> None:
    """Yosys anew, in full, on the Verilog as it is generated now."""
    bundle, module = fit_resources.make(SEED, False, "xc7")
    row = next(row for row in read_json(rows)["designs"] if row["name"] == SEED)
    counted = fit_resources.synthesize_bundle(bundle, "xc7", module)
    total, kept = (
        {kind: sum(part[kind] for part in parts.values()) for kind in ("lut", "ff", "dsp", "bram")}
        for parts in (counted, row["counted"])
    )
    assert total == kept
    sample = fit_resources.Sample(row, bundle, "xc7")
    assert sample.exact == {kind: total[kind] for kind in ("dsp", "bram")}


def test_figures_of_other_verilog_are_recomputed(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    figures = {"front": {"lut": 1, "ff": 2, "dsp": 0, "bram": 0}}

    def synthesize_bundle(bundle: object, family: str, module: str) -> dict[str, dict[str, int]]:
        calls.append(module)
        return figures

    monkeypatch.setattr(fit_resources, "synthesize_bundle", synthesize_bundle)
    arguments = ["synthesize", "--family", "xc7", "--only", SEED]
    assert CliRunner().invoke(fit_resources.main, arguments).exit_code == 0
    assert calls == []  # nothing has changed
    document = read_json(rows)
    for row in document["designs"]:
        row["verilog"] = row["verilog"] if row["name"] != SEED else "0" * 64
    write_json(rows, document)
    with pytest.raises(Exception, match="other Verilog"):
        fit_resources.samples("xc7")
    assert CliRunner().invoke(fit_resources.main, arguments).exit_code == 0
    assert calls == ["accelerator"]
    assert (
        next(row for row in read_json(rows)["designs"] if row["name"] == SEED)["counted"] == figures
    )


def test_carry_chains_belong_to_what_they_drive() -> None:
    """A carry chain whose nets have lost their names, as after technology mapping, counts for the
    register behind it.
    """

    def cell(
        kind: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]]
    ) -> dict[str, object]:
        return {
            "type": kind,
            "attributes": {},
            "connections": {**inputs, **outputs},
            "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
        }

    module = {
        "cells": {
            "$abc$1": cell("LUT2", {"I0": [2], "I1": [3]}, {"O": [4]}),
            "$auto$2": cell("CARRY4", {"S": [4], "DI": [2]}, {"O": [5], "CO": [6]}),
            "$auto$3": cell("CARRY4", {"CI": [6]}, {"O": [7]}),
            "$auto$4": cell("FDRE", {"D": [5]}, {"Q": [8]}),
            "$auto$5": cell("FDRE", {"D": [7]}, {"Q": [9]}),
        },
        "netnames": {"u_conv0.u_array.sum": {"bits": [8, 9]}},
    }
    assert amounts(module, ["conv0"]) == {"conv0/array": {"lut": 1, "ff": 2, "dsp": 0, "bram": 0}}
