"""Checks the structure of generated Verilog against the bundle, with what `autonba.mapping` says it
must be.

Modules, ports and widths, parameters, connections, sizes of memories and of their contents. The
reading is pyverilog's, the expected values are computed here, and neither shares a line with the
generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autonba.arithmetic import LOGIT_BITS, MULTIPLIER_BITS, ceil_div, clog2
from autonba.boards import find_board
from autonba.bundle import Bundle
from autonba.cost import dsp
from autonba.files import read_text
from autonba.mapping import ChunkPlan, MemoryPlan, Plan, plan
from autonba.network import Network
from autonba.packing import PORT_BITS, chunk_packing
from autonba.rtl import LISTING

from .verilog_reader import Instance, Module, Port, Reader

_AXI_LITE = {
    "awaddr": ("input", 12),
    "awprot": ("input", 3),
    "awvalid": ("input", 1),
    "awready": ("output", 1),
    "wdata": ("input", 32),
    "wstrb": ("input", 4),
    "wvalid": ("input", 1),
    "wready": ("output", 1),
    "bresp": ("output", 2),
    "bvalid": ("output", 1),
    "bready": ("input", 1),
    "araddr": ("input", 12),
    "arprot": ("input", 3),
    "arvalid": ("input", 1),
    "arready": ("output", 1),
    "rdata": ("output", 32),
    "rresp": ("output", 2),
    "rvalid": ("output", 1),
    "rready": ("input", 1),
}


@dataclass
class StructureReport:
    """What was checked, and everything that is wrong, each in one sentence."""

    modules: int = 0
    instances: int = 0
    facts: int = 0  # ports, parameters and sizes compared with the plan
    problems: list[str] = field(default_factory=list)

    def equal(self, what: str, got: object, wanted: object) -> None:
        """Compare one fact."""
        self.facts += 1
        if got != wanted:
            self.problems.append(f"{what} must be {wanted}, not {got}")


def check(bundle: Bundle, rtl: Path | None = None) -> StructureReport:
    """Read the Verilog in `rtl`, by default the bundle's, and compare it with the bundle; raises
    BundleError where it cannot be read.
    """
    rtl = rtl or bundle.path / "rtl"
    paths = [rtl / name for name in read_text(rtl / LISTING, advice="generate it again").split()]
    reader = Reader.of_files(paths)
    mapped = plan(bundle.design.network, bundle.design.accelerator, bundle.weights)
    report = StructureReport(modules=len(reader.definitions))
    if "accelerator" not in reader.definitions:
        report.problems.append("module accelerator must be defined, and it is not")
        return report
    top = reader.elaborate("accelerator")
    report.instances = _count(top)
    report.problems += reader.problems
    wanted_ports = accelerator_ports(bundle.design.network)
    for chunk in mapped.chunks:
        if chunk.stream_words:
            wanted_ports |= {
                f"m_axi_{chunk.chunk.name}_{port}": Port(direction, width)
                for port, (direction, width) in _axi_read(mapped.accelerator.stream_bits).items()
            }
    _compare_ports(report, top, wanted_ports)
    inside = _by_name(report, top)
    wanted = {
        f"u_mem_{memory.name}": "column_buffer" if memory.banks > 1 else "row_buffer"
        for memory in mapped.memories
    }
    wanted |= {f"u_tokens_{edge.name}": "row_tokens" for edge in mapped.edges}
    wanted |= {f"u_{chunk.chunk.name}": f"chunk_{chunk.chunk.name}" for chunk in mapped.chunks}
    if mapped.accelerator.loadable:
        wanted["u_loader"] = "loader"
    wanted |= {
        "u_registers": "host_registers",
        "u_input": "image_input",
        "u_output": "result_output",
    }
    report.equal("instances of accelerator", sorted(inside), sorted(wanted))
    for name in inside.keys() & wanted.keys():
        report.equal(f"module of instance {name}", inside[name].of.name, wanted[name])
    for memory in mapped.memories:
        if (instance := inside.get(f"u_mem_{memory.name}")) is not None:
            _compare_memory(report, instance, memory)
    for edge in mapped.edges:
        if (instance := inside.get(f"u_tokens_{edge.name}")) is not None:
            rows = mapped.buffers[edge.buffer].rows
            report.equal(f"ROWS of u_tokens_{edge.name}", instance.of.parameters.get("ROWS"), rows)
            report.equal(
                f"width of u_tokens_{edge.name}.available",
                instance.of.ports["available"].width,
                rows.bit_length(),
            )
    for chunk in mapped.chunks:
        if (instance := inside.get(f"u_{chunk.chunk.name}")) is not None:
            port_bits = PORT_BITS[find_board(bundle.design.target.board).family]
            _compare_chunk(report, instance.of, chunk, mapped, bundle.path / "rtl", port_bits)
    return report


def accelerator_ports(network: Network) -> dict[str, Port]:
    """Ports of the top module."""
    ports = {"clk": Port("input", 1), "rst": Port("input", 1)}
    for side, width, forward, back in (
        ("s", 8 * network.input.channels, "input", "output"),
        ("m", LOGIT_BITS, "output", "input"),
    ):
        ports |= {
            f"{side}_axis_tdata": Port(forward, width),
            f"{side}_axis_tvalid": Port(forward, 1),
            f"{side}_axis_tready": Port(back, 1),
            f"{side}_axis_tlast": Port(forward, 1),
        }
    return ports | {
        f"s_axil_{name}": Port(direction, width) for name, (direction, width) in _AXI_LITE.items()
    }


def _compare_ports(report: StructureReport, module: Module, wanted: Mapping[str, Port]) -> None:
    report.equal(f"ports of {module.name}", sorted(module.ports), sorted(wanted))
    for name, port in wanted.items():
        if name in module.ports:
            got = module.ports[name]
            report.equal(
                f"port {module.name}.{name}",
                f"{got.direction} of {got.width} bits",
                f"{port.direction} of {port.width} bits",
            )


def _compare_memory(report: StructureReport, instance: Instance, memory: MemoryPlan) -> None:
    got = instance.of.parameters
    for name, value in (
        ("LANE_BITS", memory.lane_bits),
        ("LANES", memory.lanes),
        ("WRITE_LANES", memory.write_lanes),
        ("READ_LANES", memory.read_lanes),
        ("DEPTH", memory.depth),
    ):
        report.equal(f"{name} of {instance.name}", got.get(name), value)
    report.equal(
        f"bits of {instance.name}",
        instance.of.memory_bits(),
        memory.lane_bits * memory.lanes * memory.depth * memory.banks,
    )
    for name, port in _memory_ports(memory, "").items():
        if name != "write_enable":
            report.equal(
                f"width of {instance.name}.{name}", instance.of.ports[name].width, port.width
            )


def _memory_ports(memory: MemoryPlan, prefix: str) -> dict[str, Port]:
    """Ports of a memory as its users drive them."""
    word = max(clog2(memory.depth), 1)  # a memory of one word has an address all the same
    read_bits, column_bits = word + clog2(memory.lanes // memory.read_lanes), clog2(memory.banks)
    ports = {
        f"{prefix}write_enable": Port("output", 1),
        f"{prefix}write_address": Port("output", word + clog2(memory.lanes // memory.write_lanes)),
        f"{prefix}write_data": Port("output", memory.write_lanes * memory.lane_bits),
        f"{prefix}read_address": Port("output", read_bits),
        f"{prefix}read_data": Port("input", memory.banks * memory.read_lanes * memory.lane_bits),
    }
    if memory.banks > 1:
        ports |= {
            f"{prefix}write_column": Port("output", column_bits),
            f"{prefix}read_column": Port("output", column_bits),
            f"{prefix}read_next": Port("output", read_bits),
        }
    return ports


def _chunk_ports(chunk: ChunkPlan, mapped: Plan) -> dict[str, Port]:
    name, layers = chunk.chunk.name, {lp.layer.name for lp in chunk.layers}
    ports = {"clk": Port("input", 1), "rst": Port("input", 1)}
    for memory in mapped.memories:
        of_memory = _memory_ports(memory, f"{memory.name}_")
        if memory.reader == name:
            ports |= {
                port: of_memory[port]
                for port in of_memory
                if "_read_" in port.removeprefix(memory.name)
            }
        if memory.writer == name:
            ports |= {
                port: of_memory[port]
                for port in of_memory
                if "_write_" in port.removeprefix(memory.name)
            }
    for edge in mapped.edges:
        bits = mapped.buffers[edge.buffer].rows.bit_length()
        if edge.consumer in layers:
            ports |= {
                f"{edge.name}_available": Port("input", bits),
                f"{edge.name}_claim": Port("output", bits),
                f"{edge.name}_release": Port("output", bits),
            }
        if edge.producer in layers:
            ports[f"{edge.name}_free"] = Port("input", bits)
    for layer in layers:
        ports |= {f"{layer}_claim": Port("output", 1), f"{layer}_commit": Port("output", 1)}
    layer_bits = max(clog2(len(mapped.network.layers)), 1)
    if mapped.accelerator.loadable:
        bits = mapped.accelerator.stream_bits
        memories = _weight_memories(chunk, mapped)
        if not chunk.weight_words:
            del memories["weights"]
        ports |= {f"load_{kind}": Port("input", 1) for kind in memories} | {
            "load_data": Port("input", bits)
        }
        loaded = memories.values()
        ports |= {
            "load_address": Port("input", max(max(clog2(depth), 1) for _, depth, _ in loaded)),
            "load_slice": Port(
                "input", max(max(clog2(ceil_div(width, bits)), 1) for width, _, _ in loaded)
            ),
        }
    if chunk.stream_words:
        bits = mapped.accelerator.stream_bits
        ports |= {"stream_base": Port("input", 32), "stream_error": Port("output", 1)}
        ports |= {
            f"m_axi_{port}": Port(direction, width)
            for port, (direction, width) in _axi_read(bits).items()
        }
    return ports | {
        "busy": Port("output", 1),
        "waiting": Port("output", 1),
        "waiting_room": Port("output", 1),
        "waiting_layer": Port("output", layer_bits),
    }


def _compare_chunk(
    report: StructureReport,
    module: Module,
    chunk: ChunkPlan,
    mapped: Plan,
    rtl: Path,
    port_bits: int,
) -> None:
    spec, name = chunk.chunk, chunk.chunk.name
    _compare_ports(report, module, _chunk_ports(chunk, mapped))
    report.equal(
        f"width of {module.name}.write_data",
        module.nets.get("write_data"),
        spec.drain_lanes * chunk.write_bits,
    )
    report.equal(
        f"width of {module.name}.write_layer",
        module.nets.get("write_layer"),
        max(clog2(len(chunk.layers)), 1),
    )
    lanes = sum(instance.of.name == f"requantize_{name}" for instance in module.instances)
    report.equal(f"requantizers of {module.name}", lanes, spec.drain_lanes)
    inside = {
        instance.name: instance for instance in module.instances if instance.name != "u_rotate"
    }
    rotates = sum(instance.of.name == "column_rotate" for instance in module.instances)
    report.equal(
        f"column rotators of {module.name}",
        rotates,
        int(any(m.banks > 1 for m in mapped.memories if m.reader == name)),
    )
    wanted = {
        "u_schedule": f"schedule_{name}",
        "u_sequence": f"sequence_{name}",
        "u_array": "mac_array",
        "u_write": f"write_{name}",
        "u_requantize": f"requantize_{name}",
    }
    if chunk.stream_words:
        wanted["u_fetch"] = f"fetch_{name}"
    for instance, of in wanted.items():
        report.equal(
            f"module of {module.name}.{instance}",
            inside[instance].of.name if instance in inside else None,
            of,
        )
    roms: dict[str, tuple[int, int, str]] = {}
    for kind, (width, depth, written) in _weight_memories(chunk, mapped).items():
        if not written:
            roms[f"u_{kind}"] = (width, depth, f"{name}_{kind}.hex")
            continue
        bits = mapped.accelerator.stream_bits
        roms |= {
            f"u_{kind}_{i}": (min(bits, width - low), depth, f"{name}_{kind}_{i}.hex")
            for i, low in enumerate(range(0, width, bits))
        }
    report.equal(f"instances of {module.name}", sorted(inside), sorted([*wanted, *roms]))
    for rom, (width, depth, file) in roms.items():
        if rom not in inside:
            continue
        got = inside[rom].of
        where = f"{module.name}.{rom}"
        report.equal(
            f"WIDTH, DEPTH and FILE of {where}",
            tuple(got.parameters.get(key) for key in ("WIDTH", "DEPTH", "FILE")),
            (width, depth, file),
        )
        report.equal(f"bits of {where}", got.memory_bits(), width * depth)
        lines = (rtl / file).read_text().split() if (rtl / file).is_file() else []
        report.equal(f"words of {file}", len(lines), depth)
        report.equal(
            f"words of {file} too wide for {width} bits",
            sum(int(line, 16) >> width > 0 for line in lines),
            0,
        )
    if "u_array" in inside:
        _compare_array(report, inside["u_array"].of, chunk, port_bits, f"{module.name}.u_array")


def _weight_memories(chunk: ChunkPlan, mapped: Plan) -> dict[str, tuple[int, int, bool]]:
    """Width and depth of the memories of weights and parameters, and whether they are written,
    slice by slice.
    """
    spec, loadable = chunk.chunk, mapped.accelerator.loadable
    parameter_bits = chunk.acc_bits + (MULTIPLIER_BITS if chunk.requantizes else 0)
    return {
        "weights": (
            spec.weights_per_cycle * chunk.weight_bits,
            chunk.weight_words + 2 * chunk.stream_words,
            loadable or chunk.stream_words > 0,
        ),
        "parameters": (spec.drain_lanes * parameter_bits, chunk.parameter_words, loadable),
    }


def _axi_read(bits: int) -> dict[str, tuple[str, int]]:
    """Direction and width of the read channels of an AXI4 master."""
    return {
        "araddr": ("output", 32),
        "arlen": ("output", 8),
        "arsize": ("output", 3),
        "arburst": ("output", 2),
        "arvalid": ("output", 1),
        "arready": ("input", 1),
        "rdata": ("input", bits),
        "rresp": ("input", 2),
        "rlast": ("input", 1),
        "rvalid": ("input", 1),
        "rready": ("output", 1),
    }


def _compare_array(
    report: StructureReport, array: Module, chunk: ChunkPlan, port_bits: int, where: str
) -> None:
    spec = chunk.chunk
    conv, packed = spec.kind == "conv", spec.multiplier == "packed"
    packing = chunk_packing(spec, chunk.weight_bits, chunk.input_bits, port_bits)
    wanted = {
        "OUT_LANES": spec.out_lanes,
        "TERMS": spec.terms,
        "COLUMNS": spec.columns,
        "SHARED": int(conv),
        "DRAIN_LANES": spec.drain_lanes,
        "WEIGHT_BITS": chunk.weight_bits,
        "INPUT_BITS": chunk.input_bits,
        "ACC_BITS": chunk.acc_bits,
        "MULTIPLIER": ("lut", "dsp", "packed").index(spec.multiplier),
        "FIELDS": packing.fields if packed else 1,
        "SPACING": packing.spacing if packed else 1,
        "MAXIMUM": int(chunk.maximum),
    }
    report.equal(f"parameters of {where}", array.parameters, wanted)
    inputs = spec.columns * spec.taps * spec.in_lanes * chunk.input_bits
    for port, width in (
        ("weights", spec.weights_per_cycle * chunk.weight_bits),
        ("inputs", inputs),
        ("drain", spec.drain_lanes * chunk.acc_bits),
    ):
        report.equal(
            f"width of {where}.{port}",
            array.ports[port].width if port in array.ports else None,
            width,
        )
    counts = {
        "lut": spec.multipliers,
        "dsp": spec.multipliers,
        "packed": int(
            dsp.packs(not conv, spec.out_lanes, spec.terms, spec.columns, packing.fields)
        ),
    }
    for kind, count in counts.items():
        report.equal(
            f"instances of multiply_{kind} in {where}",
            array.count(f"multiply_{kind}"),
            count if spec.multiplier == kind else 0,
        )


def _by_name(report: StructureReport, module: Module) -> dict[str, Instance]:
    names = [instance.name for instance in module.instances]
    for name in sorted({name for name in names if names.count(name) > 1}):
        report.problems.append(f"{module.name} has {names.count(name)} instances called {name}")
    return {instance.name: instance for instance in module.instances}


def _count(module: Module) -> int:
    return sum(1 + _count(instance.of) for instance in module.instances)
