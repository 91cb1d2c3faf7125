"""Runs the network bench on a netlist of ECP5 cells, as synthesis left it: results and cycles, not
what chunks write.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from autonba.bundle import Bundle, write_json
from autonba.cost.schedule import simulate as predict
from autonba.errors import BundleError
from autonba.mapping import plan
from autonba.sim.check import Comparison, compare_cycles, finish_cycles
from autonba.sim.run import SCHEMA_VERSION, MismatchError, Prepared, run_network
from autonba.sim.runner import build, find_toolchain
from autonba.sim.testbench import TESTBENCH_PORTS, testbench_text

FLOW = Path("flow") / "ecp5"


def simulate_netlist(
    bundle: Bundle,
    netlist: Path | None = None,
    cells: Path | None = None,
    *,
    simulator: str = "verilator",
    images: int = 1,
    seed: int = 1,
) -> dict[str, Any]:
    """Simulate golden images on `netlist` with the cell models `cells` (both from the ECP5 flow)
    and write report/netlist.json; raises MismatchError where a result or a cycle is wrong."""
    netlist = netlist or bundle.path / FLOW / "accelerator_netlist.v"
    cells = cells or bundle.path / FLOW / "ecp5_cells.v"
    for path in (netlist, cells):
        if not path.is_file():
            raise BundleError(
                f"{path}: the file must exist, and it does not; run `autonba flow {bundle.path}"
                " --target ecp5`"
            )
    images = min(images, len(bundle.golden["images"]))
    started = time.monotonic()
    tools = find_toolchain(simulator)
    folder = bundle.path / "sim" / f"netlist_{simulator}"
    folder.mkdir(parents=True, exist_ok=True)
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    wrapper = folder / "testbench.v"
    wrapper.write_text(testbench_text(mapped, netlist=True))
    # A netlist is one huge module: compiling it fast matters more than running it fast.
    fast_build = ["-O1", "--output-split", "20000"] if simulator == "verilator" else []
    log = build(
        tools,
        sources=[netlist, cells, wrapper],
        top="testbench",
        folder=folder,
        ports=TESTBENCH_PORTS,
        arguments=fast_build,
        optimize="-O0" if images < 10 else "-O1",
    )
    prepared = Prepared(bundle, tools, folder, mapped, {}, log)
    built = time.monotonic()
    benches = run_network(prepared, ("back_to_back",), (images,), 0, seed)
    found = Comparison(images=images)
    predicted, simulated = predict(mapped, images).finish, finish_cycles(folder, 1)
    compare_cycles(found, 1, predicted, simulated)
    failures = found.notes + [text for text in benches.values() if text]
    report = {
        "schema_version": SCHEMA_VERSION,
        "digest": bundle.digest,
        "simulator": simulator,
        "simulator_version": tools.version,
        "netlist": str(netlist.name),
        "images": images,
        "cycles": {"predicted": list(predicted), "simulated": list(simulated)},
        "passed": not failures,
        "seconds": {"build": round(built - started, 1), "run": round(time.monotonic() - built, 1)},
    }
    write_json(bundle.path / "report" / "netlist.json", report)
    if failures:
        raise MismatchError(
            "the netlist must give the golden results in the predicted cycles, and it does not: "
            f"{failures[0]} (logs in {folder})"
        )
    return report
