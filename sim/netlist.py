"""Runs the network bench on a netlist of ECP5 cells, as synthesis left it: results and cycles, not
what chunks write.
"""

from __future__ import annotations

import re
import time
from importlib import resources
from pathlib import Path
from typing import Any

from autonba.bundle import Bundle
from autonba.cost.schedule import simulate as predict
from autonba.errors import BundleError, MismatchError
from autonba.files import Work, inside, read_bytes, working
from autonba.mapping import plan
from autonba.rtl import MOST_BYTES, Rtl

from .check import Comparison, compare_cycles, finish_cycles
from .run import SCHEMA_VERSION, Prepared, console, run_network, step
from .runner import build, find_toolchain
from .scratch import Scratch, scratch
from .testbench import TESTBENCH_PORTS, testbench_text

FLOW = "flow/ecp5"
NETLIST = "accelerator_netlist.v", "ecp5_cells.v"

# Strings, escaped identifiers, and comments without orders to a tool.
_HARMLESS = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\\\S+|//(?!\s*(?:verilator|synopsys))[^\n]*'
    r"|/\*(?!\s*(?:verilator|synopsys)).*?\*/",
    re.DOTALL,
)
_ACTION = re.compile(r"\$\w+|`\w+|//[^\n]*|/\*.*?\*/|\b(?:import|export|bind)\b", re.DOTALL)


def simulate_netlist(
    bundle: Bundle,
    netlist: Path | None = None,
    cells: Path | None = None,
    *,
    simulator: str = "verilator",
    images: int = 1,
    seed: int = 1,
    trust: bool = False,
) -> dict[str, Any]:
    """Simulate golden images on `netlist` with the cell models `cells` (both from the ECP5 flow)
    and write report/netlist.json; raises MismatchError where a result or a cycle is wrong.

    Unless `trust`, BundleError where the netlist could do more than describe cells.
    """
    again = f"run `autonba flow {bundle.path} --target ecp5`"
    netlist = netlist or inside(bundle.path, f"{FLOW}/accelerator_netlist.v")
    text = read_bytes(netlist, most=MOST_BYTES, advice=again)
    if not trust:
        refuse_actions(netlist, text.decode(errors="replace"))
    models = (cells or Path(str(resources.files("autonba.flows") / "ecp5_cells.v"))).read_bytes()
    rtl = Rtl(dict(zip(NETLIST, (text, models), strict=True)))
    with working(bundle.path) as work, scratch(work, rtl) as place:
        return _simulate(bundle, work, place, simulator, images, seed)


def run_netlist(
    bundle: Bundle,
    *,
    simulator: str = "verilator",
    images: int = 1,
    seed: int = 1,
    trust: bool = False,
) -> dict[str, Any]:
    """`simulate_netlist` of what the ECP5 flow synthesized, with progress and outcome printed."""
    with step(f"netlist with {simulator}"):
        report = simulate_netlist(
            bundle, simulator=simulator, images=images, seed=seed, trust=trust
        )
    console.print(
        f"{images} images right on the netlist, in the predicted cycles;"
        f" {bundle.path / 'report' / 'netlist.json'}",
        markup=False,
        soft_wrap=True,
    )
    return report


def refuse_actions(path: Path, text: str) -> None:
    """Raise BundleError where a netlist holds system tasks or directives.

    They can run programs, read files and hold C++; cells and wires need none.
    """
    plain = _HARMLESS.sub(" ", text)
    found = _ACTION.search(plain)
    if found is not None:
        raise BundleError(
            f"{path}: a netlist must hold cells and wires alone, and {found.group()!r} could do"
            " more; run `autonba flow` again, or, if somebody you trust wrote it, add --trust-rtl"
        )


def _simulate(
    bundle: Bundle, work: Work, place: Scratch, simulator: str, images: int, seed: int
) -> dict[str, Any]:
    images = min(images, len(bundle.golden["images"]))
    started = time.monotonic()
    tools = find_toolchain(simulator)
    folder = place.folder / f"netlist_{simulator}"
    folder.mkdir()
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    wrapper = folder / "testbench.v"
    wrapper.write_text(testbench_text(mapped, netlist=True))
    # A netlist is one huge module: compiling it fast matters more than running it fast.
    fast_build = ["-O1", "--output-split", "20000"] if simulator == "verilator" else []
    log = build(
        tools,
        sources=[*(place.rtl / name for name in NETLIST), wrapper],
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
    failures = found.notes + [place.told(text) for text in benches.values() if text]
    report = {
        "schema_version": SCHEMA_VERSION,
        "digest": bundle.digest,
        "simulator": simulator,
        "simulator_version": tools.version,
        "netlist": NETLIST[0],
        "images": images,
        "cycles": {"predicted": list(predicted), "simulated": list(simulated)},
        "passed": not failures,
        "seconds": {"build": round(built - started, 1), "run": round(time.monotonic() - built, 1)},
    }
    work.write_json("report/netlist.json", report)
    work.commit()
    if failures:
        raise MismatchError(
            "the netlist must give the golden results in the predicted cycles, and it does not: "
            f"{failures[0]} (logs in {folder})"
        )
    return report
