"""Writes the Verilog of a design bundle."""

from __future__ import annotations

import sys
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

from amaranth.hdl import UnusedElaboratable
from amaranth.lib import wiring

from autonba import __version__
from autonba.accelerator import SINK, SOURCE
from autonba.arithmetic import MULTIPLIER_BITS, ceil_div, clog2
from autonba.boards import Board, Family, find_board
from autonba.bundle import Bundle
from autonba.cost.ram import in_blocks
from autonba.cost.schedule import simulate
from autonba.errors import AutonbaError, CapacityError, SpecError
from autonba.files import working
from autonba.mapping import MemoryPlan, Plan, plan
from autonba.memory_image import hex_lines, parameter_bits, parameter_rom, weight_rom
from autonba.network import Tensor
from autonba.packing import PORT_BITS, chunk_packing
from autonba.weight_image import stream_image
from autonba.weight_load import LoadTarget, load_targets

from .fetcher import WeightFetcher
from .fronts import HostRegisters, ImageInput, ResultOutput
from .layout import ChunkLayout, index_bits, read_address_bits, token_bits, write_address_bits
from .loader import Loader
from .requantizer import Requantizer, RequantizerShape
from .scheduler import Scheduler
from .sequencer import Sequencer
from .uart import uart_front
from .verilog import banner, check_declarations, emit, template_environment
from .writer import Writer

# After an error or Ctrl-C, a user need not hear of the components that were not emitted any more.
warnings.filterwarnings("ignore", category=UnusedElaboratable)

BLOCK_BITS = 18 * 1024  # of a block RAM
PROBED_IMAGES = 3  # after which the row buffers have come round
MULTIPLIER_STYLES = {"lut": 0, "dsp": 1, "packed": 2}  # parameter of mac_array


def generate(bundle: Bundle) -> list[Path]:
    """Write rtl/*.v, rtl/*.hex, rtl/rtl.f and rtl/manifest.json of `bundle`; returns the files.

    All are written or none. Files that an earlier run wrote and this one does not are removed,
    others are left alone.
    """
    files = render(bundle)
    with working(bundle.path) as work:
        work.write_owned("rtl", {name: text.encode() for name, text in files.items()})
    return [bundle.path / "rtl" / name for name in sorted(files)]


def render(bundle: Bundle) -> dict[str, str]:
    """Every file of rtl/ by name."""
    design, weights = bundle.design, bundle.weights
    board = find_board(design.target.board)
    serial = _image_fits(design.network.input, board)
    mapped = plan(design.network, design.accelerator, weights)
    simulate(mapped, PROBED_IMAGES)  # refuses buffers that would bring the accelerator to a halt
    names = [edge.name for edge in mapped.edges]
    if len(set(names)) != len(names):
        raise SpecError(
            f"network: layer names must give distinct edges; rename a layer ({sorted(names)} has"
            " doubles)"
        )
    head = banner(__version__, bundle.digest)
    verilog = {
        path.name: path.read_text()
        for path in resources.files("autonba.rtl_templates").iterdir()
        if path.name.endswith(".v")
    }
    components: dict[str, wiring.Component] = {
        "host_registers": HostRegisters(
            bundle.digest,
            [chunk.chunk.name for chunk in mapped.chunks],
            index_bits(len(design.network.layers)),
            any(chunk.stream_words for chunk in mapped.chunks),
            len(_load_targets(mapped)),
        ),
        "image_input": ImageInput(mapped),
        "result_output": ResultOutput(mapped),
    }
    if serial:
        components["uart_front"] = uart_front(design, bundle.digest)
    if targets := _load_targets(mapped):
        components["loader"] = Loader(
            targets, design.accelerator.stream_bits, _load_address_bits(mapped)
        )
    hexes: dict[str, str] = {}
    environment = template_environment()
    family = board.family
    port_bits = PORT_BITS[family]
    for chunk in mapped.chunks:
        layout, name = ChunkLayout(mapped, chunk), chunk.chunk.name
        components |= {
            f"schedule_{name}": Scheduler(layout),
            f"sequence_{name}": Sequencer(layout),
            f"write_{name}": Writer(layout),
            f"requantize_{name}": Requantizer(RequantizerShape.of(chunk, port_bits)),
        }
        values = chunk_values(layout, family)
        verilog[f"chunk_{name}.v"] = environment.get_template("chunk.v.j2").render(values)
        if chunk.stream_words:
            components[f"fetch_{name}"] = WeightFetcher(layout)
        words, parameters = weight_rom(chunk, weights), parameter_rom(chunk, weights)
        if values["streams"] or values["loadable"]:
            hexes |= _slice_files(
                f"{name}_weights", words + [0] * (2 * chunk.stream_words), values["slices"]
            )
        else:
            hexes[f"{name}_weights.hex"] = hex_lines(words, values["weight_word_bits"])
        if values["loadable"]:
            hexes |= _slice_files(f"{name}_parameters", parameters, values["parameter_slices"])
        else:
            hexes[f"{name}_parameters.hex"] = hex_lines(parameters, values["parameter_word_bits"])
    verilog["accelerator.v"] = environment.get_template("accelerator.v.j2").render(
        accelerator_values(mapped, design.name, family)
    )
    check_declarations(verilog)
    verilog |= {f"{name}.v": text for name, text in emit(components).items()}
    listing = "".join(f"{name}\n" for name in sorted(verilog) if name != "uart_front.v")
    if any(chunk.stream_words for chunk in mapped.chunks):
        image = stream_image(mapped, weights)
        words = [int.from_bytes(image[i : i + 4], "little") for i in range(0, len(image), 4)]
        hexes["stream.hex"] = hex_lines(words, 32)  # for the DRAM, 32 bits a line
    return {name: head + text for name, text in verilog.items()} | hexes | {"rtl.f": listing}


def _image_fits(image: Tensor, board: Board) -> bool:
    """Whether the block RAM of `board` holds an image, as its serial front needs.

    Raises CapacityError where it does not and the board has nothing but a serial line.
    """
    need, limit = image.channels * image.height * image.width * 8, board.resources.bram * BLOCK_BITS
    if need > limit and board.pll is not None:
        raise CapacityError(
            f"network input: an image must fit the block RAM of {board.name!r}, whose serial line"
            f" brings it, {limit} bits, and it has {need}; use a board with a processor"
        )
    return need <= limit


def _slice_files(name: str, words: list[int], slices: list[dict[str, Any]]) -> dict[str, str]:
    """What the slices of a memory hold at first, by file name."""
    return {
        f"{name}_{i}.hex": hex_lines(
            [word >> part["low"] & ((1 << part["bits"]) - 1) for word in words], part["bits"]
        )
        for i, part in enumerate(slices)
    }


def _load_targets(mapped: Plan) -> tuple[LoadTarget, ...]:
    return load_targets(mapped) if mapped.accelerator.loadable else ()


def _load_address_bits(mapped: Plan) -> int:
    """Width of the loader's word address; a chunk takes the low bits that it needs."""
    return max(_chunk_load_bits(ChunkLayout(mapped, chunk))[0] for chunk in mapped.chunks)


def _chunk_load_bits(layout: ChunkLayout) -> tuple[int, int]:
    """Bits of a word and of a slice number in the chunk's memories that are loaded."""
    chunk, bits = layout.chunk, layout.plan.accelerator.stream_bits
    parameter_slices = ceil_div(chunk.chunk.drain_lanes * parameter_bits(chunk), bits)
    words, slices = [index_bits(chunk.parameter_words)], [index_bits(parameter_slices)]
    if chunk.weight_words:
        words.append(index_bits(layout.weight_depth))
        slices.append(index_bits(ceil_div(chunk.chunk.weights_per_cycle * chunk.weight_bits, bits)))
    return max(words), max(slices)


def _low(bits: int, of: int) -> str:
    """Selects the low `bits` bits of a vector of `of` bits."""
    return "" if bits == of else f"[{bits - 1}:0]"


def _slices(word_bits: int, stream_bits: int) -> list[dict[str, Any]]:
    """The parts of a word that beats of `stream_bits` bits fill."""
    widths = [min(stream_bits, word_bits - low) for low in range(0, word_bits, stream_bits)]
    return [
        {
            "low": i * stream_bits,
            "bits": width,
            "part": "" if width == stream_bits else f"[{width - 1}:0]",
        }
        for i, width in enumerate(widths)
    ]


def chunk_values(layout: ChunkLayout, family: Family) -> dict[str, Any]:
    """Values of chunk.v.j2 for a part of `family`."""
    port_bits = PORT_BITS[family]
    chunk, spec = layout.chunk, layout.chunk.chunk
    shape = RequantizerShape.of(chunk)
    signals: list[tuple[str, int]] = []
    if shape.residual_bits:
        signals.append(("residual_multiplier", shape.residual_multiplier_bits))
    if shape.requantizes:
        width = shape.out_shape.width
        signals += [
            ("half", shape.half_bits),
            ("shift", shape.shift_bits),
            ("low", width),
            ("high", width),
        ]
        if shape.raw:
            signals.append(("raw", 1))
    weight_word = spec.weights_per_cycle * chunk.weight_bits
    packing = chunk_packing(spec, chunk.weight_bits, chunk.input_bits, port_bits)
    packed = spec.multiplier == "packed"
    parameter_word = spec.drain_lanes * parameter_bits(chunk)
    stream_bits = layout.plan.accelerator.stream_bits
    address_bits, parameter_address_bits = (
        index_bits(layout.weight_depth),
        index_bits(chunk.parameter_words),
    )
    slice_bits, parameter_slice_bits = (
        index_bits(ceil_div(bits, stream_bits)) for bits in (weight_word, parameter_word)
    )
    load_address_bits, load_slice_bits = _chunk_load_bits(layout)
    return {
        "loadable": layout.plan.accelerator.loadable,
        "load_address_bits": load_address_bits,
        "load_slice_bits": load_slice_bits,
        "load_weights_address": _low(address_bits, load_address_bits),
        "load_weights_slice": _low(slice_bits, load_slice_bits),
        "load_parameters_address": _low(parameter_address_bits, load_address_bits),
        "load_parameters_slice": _low(parameter_slice_bits, load_slice_bits),
        "parameter_slices": _slices(parameter_word, stream_bits),
        "parameter_slice_bits": parameter_slice_bits,
        "name": spec.name,
        "kind": spec.kind,
        "out_lanes": spec.out_lanes,
        "in_lanes": spec.in_lanes,
        "taps": spec.taps,
        "columns": spec.columns,
        "terms": spec.terms,
        "drain_lanes": spec.drain_lanes,
        "multiplier": spec.multiplier,
        "multiplier_style": MULTIPLIER_STYLES[spec.multiplier],
        "fields": packing.fields if packed else 1,
        "spacing": packing.spacing if packed else 1,
        "banks": layout.banks,
        "bank_bits": layout.bank_bits,
        "unused_columns": layout.unused_columns,
        "strides": layout.strides,
        "stride_bits": index_bits(len(layout.strides)),
        "maximum": chunk.maximum,
        "operand_bits": layout.banks * spec.in_lanes * chunk.input_bits,
        "array_input_bits": spec.columns * spec.taps * spec.in_lanes * chunk.input_bits,
        "lowest": _constant_text(1 << (chunk.input_bits - 1), chunk.input_bits),
        "weight_bits": chunk.weight_bits,
        "input_bits": chunk.input_bits,
        "acc_bits": chunk.acc_bits,
        "write_bits": chunk.write_bits,
        "residual_operand_bits": chunk.residual_bits,
        "multiplier_bits": MULTIPLIER_BITS,
        "parameter_bits": parameter_bits(chunk),
        "requantizes": shape.requantizes,
        "layers": [lp.layer.name for lp in chunk.layers],
        "layer_bits": layout.layer_bits,
        "task_bits": layout.task.size,
        "write_task_bits": layout.write_task.size,
        "source_bits": index_bits(len(layout.main_memories)),
        "read_bits": layout.read_bits,
        "residual_source_bits": index_bits(len(layout.residual_memories)),
        "residual_bits": layout.residual_bits,
        "network_layer_bits": index_bits(len(layout.plan.network.layers)),
        "streams": chunk.stream_words > 0,
        "stream_bits": stream_bits,
        "slices": _slices(weight_word, stream_bits),
        "slice_bits": slice_bits,
        "weight_depth": layout.weight_depth,
        "weight_word_bits": weight_word,
        "weight_words": chunk.weight_words,
        "weight_address_bits": address_bits,
        "weight_style": _rom_style(weight_word, layout.weight_depth, family),
        "parameter_word_bits": parameter_word,
        "parameter_words": chunk.parameter_words,
        "parameter_address_bits": parameter_address_bits,
        "parameter_style": _rom_style(parameter_word, chunk.parameter_words, family),
        "main_memories": [
            _read_values(m, layout.read_bits, chunk.input_bits, packed)
            for m in layout.main_memories
        ],
        "residual_memories": [
            _read_values(m, layout.residual_bits, chunk.residual_bits, False)
            for m in layout.residual_memories
        ],
        "output_memories": [
            {
                "name": m.name,
                "banks": m.banks,
                "column_bits": clog2(m.banks),
                "lane_bits": m.lane_bits,
                "write_address_bits": write_address_bits(m),
                "write_data_bits": m.write_lanes * m.lane_bits,
                "narrower": m.lane_bits != chunk.write_bits,
            }
            for m in layout.output_memories
        ],
        "input_edges": [
            {
                "name": e.name,
                "bits": layout.edge_bits(e),
                "port": e.port,
                "consumer": e.consumer,
                "tensor": e.producer,
            }
            for _, e in layout.input_edges
        ],
        "output_edges": [
            {"name": e.name, "bits": layout.edge_bits(e)}
            for lp in chunk.layers
            for e in layout.outgoing(lp)
        ],
        "requantizer_signals": [
            {"name": name, "range": f"[{bits - 1}:0] " if bits > 1 else ""}
            for name, bits in signals
        ],
    }


def _rom_style(width: int, depth: int, family: Family) -> str:
    return "block" if in_blocks(width, depth, family) else "logic"


def _read_values(
    memory: MemoryPlan, address_bits: int, operand_bits: int, packed: bool
) -> dict[str, Any]:
    """A memory at a read port, and how lane `n` of it becomes an operand."""
    own = read_address_bits(memory)
    bits, extra = memory.lane_bits, operand_bits - memory.lane_bits
    data = f"{memory.name}_read_data"
    lane, top, low = (
        f"{data}[n*{bits} +: {bits}]",
        f"{data}[n*{bits} + {bits - 1}]",
        f"{data}[n*{bits} +: {bits - 1}]",
    )
    if packed and memory.signed:  # a sign bit that is inverted adds the offset
        parts = [
            f"~{top}",
            *([f"{{{extra}{{{top}}}}}"] if extra else []),
            *([low] if bits > 1 else []),
        ]
    elif extra:
        parts = [f"{{{extra}{{{top}}}}}" if memory.signed else f"{extra}'d0", lane]
    else:
        parts = [lane]
    return {
        "name": memory.name,
        "read_address_bits": own,
        "read_data_bits": memory.banks * memory.read_lanes * bits,
        "read_slice": "" if own == address_bits else f"[{own - 1}:0]",
        "banks": memory.banks,
        "operand": f"{{{', '.join(parts)}}}" if len(parts) > 1 else parts[0],
        "zero": _constant_text(
            1 << (operand_bits - 1) if packed and memory.signed else 0, operand_bits
        ),
    }


def _constant_text(value: int, bits: int) -> str:
    return f"{bits}'d{value}"


def accelerator_values(mapped: Plan, name: str, family: Family) -> dict[str, Any]:
    """Values of accelerator.v.j2."""
    layouts = [ChunkLayout(mapped, chunk) for chunk in mapped.chunks]
    image = mapped.network.input
    load_bits = [_chunk_load_bits(layout) for layout in layouts]
    address_bits, slice_bits = (max(bits) for bits in zip(*load_bits, strict=True))
    targets = _load_targets(mapped)
    return {
        "load": (
            {"targets": len(targets), "address_bits": address_bits, "slice_bits": slice_bits}
            if targets
            else None
        ),
        "design": name,
        "stream_bits": mapped.accelerator.stream_bits,
        "streams": any(c.stream_words for c in mapped.chunks),
        "network_layer_bits": index_bits(len(mapped.network.layers)),
        "multipliers": mapped.accelerator.multipliers,
        "pixel_bits": 8 * image.channels,
        "image_bits": image.channels * image.bits,
        "edges": [
            {
                "name": e.name,
                "producer": e.producer,
                "rows": mapped.buffers[e.buffer].rows,
                "bits": token_bits(mapped.buffers[e.buffer].rows),
                "produced": e.produced,
            }
            for e in mapped.edges
        ],
        "producers": ["input", *mapped.layers],
        "memories": [_memory_values(m, family) for m in mapped.memories],
        "input_memories": [
            {"name": m.name, "banks": m.banks, "pixel": _pixel(m, image.channels)}
            for m in mapped.memories
            if m.writer == SOURCE
        ],
        "chunks": [
            {
                "name": lay.chunk.chunk.name,
                "streams": lay.chunk.stream_words > 0,
                "load_targets": [
                    (t.kind, number)
                    for number, t in enumerate(targets)
                    if t.chunk == lay.chunk.chunk.name
                ],
                "load_address": _low(own_address, address_bits),
                "load_slice": _low(own_slice, slice_bits),
                "read_memories": [
                    {"name": m.name, "banks": m.banks}
                    for m in lay.main_memories + lay.residual_memories
                ],
                "write_memories": [{"name": m.name, "banks": m.banks} for m in lay.output_memories],
                "input_edges": [e.name for _, e in lay.input_edges],
                "output_edges": [e.name for lp in lay.chunk.layers for e in lay.outgoing(lp)],
                "layers": [lp.layer.name for lp in lay.chunk.layers],
            }
            for lay, (own_address, own_slice) in zip(layouts, load_bits, strict=True)
        ],
        "output_memory": next(m.name for m in mapped.memories if m.reader == SINK),
        "output_edge": next(e.name for e in mapped.edges if e.consumer == SINK),
    }


def _memory_values(memory: MemoryPlan, family: Family) -> dict[str, Any]:
    bank_bits, select_bits = (
        clog2(memory.lanes // memory.write_lanes),
        clog2(memory.lanes // memory.read_lanes),
    )
    word_bits = index_bits(memory.depth)
    return {
        "name": memory.name,
        "lane_bits": memory.lane_bits,
        "lanes": memory.lanes,
        "write_lanes": memory.write_lanes,
        "read_lanes": memory.read_lanes,
        "banks": memory.banks,
        "column_bits": clog2(memory.banks),
        "depth": memory.depth,
        "word_bits": word_bits,
        "bank_bits": bank_bits,
        "select_bits": select_bits,
        "write_address_bits": write_address_bits(memory),
        "read_address_bits": read_address_bits(memory),
        "write_data_bits": memory.write_lanes * memory.lane_bits,
        "read_data_bits": memory.banks * memory.read_lanes * memory.lane_bits,
        "block": int(in_blocks(memory.write_lanes * memory.lane_bits, memory.depth, family)),
        "tensors": ", ".join(f"{b.tensor.name} {b.rows} rows" for b in memory.buffers),
    }


def _pixel(memory: MemoryPlan, channels: int) -> str:
    """A pixel's channels on the lanes of the memory; lanes without a channel are zero."""
    spare = (memory.write_lanes - channels) * memory.lane_bits
    return f"{{{spare}'d0, pixel}}" if spare else "pixel"


if __name__ == "__main__":
    try:
        for path in generate(Bundle(Path(sys.argv[1]))):
            print(path)
    except AutonbaError as error:
        sys.exit(f"error: {error}")
