"""Benches of single modules: one testbench holds every differently parameterized one of a bundle's
RTL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonba.bundle import Bundle
from autonba.mapping import ChunkPlan, Plan, plan

from .runner import build, find_toolchain, run
from .verilog_reader import Module, Reader

TOP = "module_testbench"
BENCHED = ("row_buffer", "row_tokens", "mac_array")  # and each chunk's requantizer
MOST = 6  # of one kind, the ones whose parameters differ first


@dataclass(frozen=True)
class Device:
    """A module under test: its name in the testbench, what it is, and what its twin in Python must
    know.
    """

    name: str
    module: Module
    facts: dict[str, Any]


def run_all(bundle: Bundle, rtl: Path, folder: Path, simulator: str, seed: int) -> dict[str, str]:
    """Run the module benches on the RTL of a bundle, in a folder below `folder`; returns each
    test's failure, or an empty text.
    """
    sources = [rtl / name for name in (rtl / "rtl.f").read_text().split()]
    devices = find_devices(
        Reader.of_files(sources),
        plan(bundle.design.network, bundle.design.accelerator, bundle.weights),
    )
    return run_devices(devices, sources, folder / f"modules_{simulator}", simulator, seed)


def run_devices(
    devices: list[Device], sources: list[Path], folder: Path, simulator: str, seed: int
) -> dict[str, str]:
    """Build one testbench around `devices` and run every module bench."""
    tools = find_toolchain(simulator)
    folder.mkdir(parents=True, exist_ok=True)
    used = {device.module.name for device in devices} | {
        name for device in devices for name in _below(device.module)
    }
    wrapper = folder / f"{TOP}.v"
    wrapper.write_text(testbench(devices))
    ports = [
        "clk",
        "rst",
        *(
            f"{d.name}_{port}"
            for d in devices
            for port in d.module.ports
            if port not in ("clk", "rst")
        ),
    ]
    build(
        tools,
        sources=[*(path for path in sources if path.stem in used), wrapper],
        top=TOP,
        folder=folder,
        ports=ports,
    )
    settings = folder / "devices.json"
    settings.write_text(
        json.dumps(
            [
                {
                    "name": d.name,
                    "module": d.module.name,
                    "parameters": d.module.parameters,
                    "facts": d.facts,
                    "inputs": [
                        name for name, port in d.module.ports.items() if port.direction == "input"
                    ],
                }
                for d in devices
            ],
            indent=2,
        )
    )
    verdicts = run(
        tools,
        top=TOP,
        module="autonba.sim.module_bench",
        folder=folder,
        seed=seed,
        environment={"AUTONBA_BENCH": str(settings.resolve())},
    )
    return {f"module {verdict.test.rpartition('.')[2]}": verdict.failure for verdict in verdicts}


def find_devices(reader: Reader, mapped: Plan) -> list[Device]:
    """Every benched module of the accelerator, each set of parameters once."""
    top = reader.elaborate("accelerator")
    found: dict[str, list[Module]] = {name: [] for name in BENCHED}
    for module in _modules(top):
        if module.name in found and all(
            module.parameters != other.parameters for other in found[module.name]
        ):
            found[module.name].append(module)
    devices = [
        Device(f"{name}{i}", module, {})
        for name, modules in found.items()
        for i, module in enumerate(modules[:MOST])
    ]
    for chunk in mapped.chunks:
        name = f"requantize_{chunk.chunk.name}"
        devices.append(Device(name, reader.elaborate(name), _requantizer_facts(chunk)))
    return devices


def _requantizer_facts(chunk: ChunkPlan) -> dict[str, Any]:
    return {
        "acc_bits": chunk.acc_bits,
        "write_bits": chunk.write_bits,
        "residual_bits": chunk.residual_bits,
        "least_shift": chunk.shifts[0],
        "layers": [
            {
                "raw": lp.layer.raw,
                "shift": lp.layer.shift,
                "bits": lp.layer.bits,
                "signed": lp.layer.signed,
                "residual_multiplier": lp.layer.residual_multiplier,
            }
            for lp in chunk.layers
        ],
    }


def testbench(devices: list[Device]) -> str:
    """Verilog of the module that holds all devices side by side; ports bear the device's name as a
    prefix.
    """
    ports, bodies = ["    input wire clk", "    input wire rst"], []
    for device in devices:
        lines = []
        for name, port in device.module.ports.items():
            outer = name if name in ("clk", "rst") else f"{device.name}_{name}"
            lines.append(f"        .{name}({outer})")
            if outer != name:
                width = f"[{port.width - 1}:0] " if port.width > 1 else ""
                ports.append(f"    {port.direction} wire {width}{outer}")
        parameters = ", ".join(
            f".{name}({value})" for name, value in device.module.parameters.items()
        )
        overrides = f" #({parameters})" if parameters else ""
        bodies.append(
            f"    {device.module.name}{overrides} u_{device.name} (\n"
            + ",\n".join(lines)
            + "\n    );\n"
        )
    return (
        "`timescale 1ns / 1ps\nmodule "
        + TOP
        + " (\n"
        + ",\n".join(ports)
        + "\n);\n"
        + "".join(bodies)
        + "endmodule\n"
    )


def _modules(top: Module) -> Iterator[Module]:
    yield top
    for instance in top.instances:
        yield from _modules(instance.of)


def _below(module: Module) -> set[str]:
    return {inner.name for inner in _modules(module)}
