"""A synthesized netlist passes the network bench, and a spoilt one does not."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from autonba.bundle import Bundle
from autonba.errors import BundleError
from autonba.sim.netlist import simulate_netlist
from autonba.sim.run import MismatchError


def test_a_missing_netlist_says_what_to_run(tmp_path: Path, small: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"accelerator_netlist.v: the file must exist, .* --target ecp5"
    ):
        simulate_netlist(small)


@pytest.mark.slow
def test_netlist_gives_the_golden_results(tiny: Bundle, simulator: str, tmp_path: Path) -> None:
    run = pytest.importorskip("autonba.flows.run")
    tools = pytest.importorskip("autonba.flows.tools")
    folder = run.prepare(tiny, "ecp5")
    tools.run_step(
        tools.Step(name="synthesis_accelerator", tool="yosys", arguments=("-s", "accelerator.ys")),
        folder,
    )
    report = simulate_netlist(tiny, simulator=simulator, images=2)
    assert report["passed"]
    assert report["cycles"]["predicted"] == report["cycles"]["simulated"]

    text = (folder / "accelerator_netlist.v").read_text()
    tables = list(re.finditer(r"\.INIT\(16'h([0-9a-f]{4})\)", text))
    spoilt, rng = list(text), random.Random(1)
    for table in rng.sample(tables, len(tables) // 20):  # one look-up table in twenty inverted
        spoilt[table.start(1) : table.end(1)] = list(f"{int(table[1], 16) ^ 0xFFFF:04x}")
    broken = tmp_path / "spoilt.v"
    broken.write_text("".join(spoilt))
    with pytest.raises(MismatchError, match="the netlist must give the golden results"):
        simulate_netlist(tiny, broken, simulator=simulator)
