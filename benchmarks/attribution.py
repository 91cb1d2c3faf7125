"""Which part of a design each cell of a flat netlist belongs to.

Registers, DSP blocks and memories are known by the hierarchical names of the nets that they drive,
or else by their source line.
LUTs, multiplexers and carry chains have no name of their own after synthesis: each belongs to the
part that most of what it drives belongs to.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

LUTS = {
    "LUT4": 1,
    "CCU2C": 2,
    "TRELLIS_DPR16X4": 4,
    **{f"LUT{n}": 1 for n in range(1, 7)},
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "SRL16E": 1,
    "SRLC32E": 1,
}
FFS = {"TRELLIS_FF": 1, "FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1}
DSPS = {"MULT18X18D": 1, "DSP48E1": 1, "DSP48E2": 1}
BRAMS = {"DP16KD": 1, "RAMB18E1": 1, "RAMB36E1": 2, "RAMB18E2": 1, "RAMB36E2": 2}
FREE = {"PFUMX", "L6MUX21", "MUXF7", "MUXF8", "MUXF9", "INV", "CARRY4", "CARRY8", "BUFG"}
FOLLOWING = {
    "LUT4",
    "PFUMX",
    "L6MUX21",
    "MUXF7",
    "MUXF8",
    "MUXF9",
    "INV",
    "CARRY4",
    "CARRY8",
    "CCU2C",
    *(f"LUT{n}" for n in range(1, 7)),
}
KINDS = {"lut": LUTS, "ff": FFS, "dsp": DSPS, "bram": BRAMS}
Part = dict[str, dict[str, int]]  # amounts of a design by part, "chunk/kind" or "kind"

# A part by the hierarchical name of a net, and by the file of a source line.
_IN_CHUNK = (
    ("u_schedule", "schedule"),
    ("u_sequence", "sequence"),
    ("u_write", "write"),
    ("u_fetch", "fetch"),
    ("u_array", "array"),
    ("u_weights", "weights"),
    ("u_parameters", "weights"),
    ("lane[", "requantize"),
)
_IN_TOP = (("u_mem_", "memory"), ("u_tokens_", "tokens"), ("u_loader", "load"))
_BY_FILE = (
    ("schedule_", "schedule"),
    ("sequence_", "sequence"),
    ("write_", "write"),
    ("fetch_", "fetch"),
    ("chunk_", "operands"),
    ("requantize_", "requantize"),
    ("mac_", "array"),
    ("multiply_", "array"),
    ("adder_", "array"),
    ("rom_", "weights"),
    ("weight_slice", "weights"),
    ("loader", "load"),
    ("row_tokens", "tokens"),
    ("row_buffer", "memory"),
    ("column_buffer", "memory"),
    ("ram_", "memory"),
)
_TOP_KINDS = ("load", "tokens", "memory")


def kind_of_cell(cell_type: str) -> str | None:
    """The amount that a cell counts in; None where it is free."""
    return next((kind for kind, known in KINDS.items() if cell_type in known), None)


def amounts(module: dict[str, Any], chunks: list[str], top_chunk: str | None = None) -> Part:
    """LUT, FF, DSP and BRAM of each part of a flat netlist (a module of Yosys' JSON); raises
    ValueError for an unknown cell.

    `chunks` are the chunks' names; `top_chunk` is the one that the netlist is of, where it is not
    of a whole accelerator.
    """
    cells = {
        name: cell for name, cell in module["cells"].items() if not cell["type"].startswith("$")
    }
    for cell in cells.values():
        if kind_of_cell(cell["type"]) is None and cell["type"] not in FREE:
            raise ValueError(f"unknown cell {cell['type']}")
    named = {
        bit: part
        for net, found in module["netnames"].items()
        if not found.get("hide_name")
        if (part := part_of_name(net, chunks, top_chunk)) is not None
        for bit in found["bits"]
        if isinstance(bit, int)
    }
    readers: dict[int, list[str]] = defaultdict(list)
    driven: dict[str, list[int]] = {}
    for name, cell in cells.items():
        directions = cell["port_directions"]
        driven[name] = [
            bit
            for port, bits in cell["connections"].items()
            if directions.get(port) == "output"
            for bit in bits
            if isinstance(bit, int)
        ]
        for port, bits in cell["connections"].items():
            if directions.get(port) == "input":
                for bit in bits:
                    if isinstance(bit, int):
                        readers[bit].append(name)
    owner: dict[str, str] = {}
    for name, cell in cells.items():
        if cell["type"] not in FOLLOWING:
            owner[name] = _fixed(name, cell, driven[name], named, chunks, top_chunk)
    for name in cells:
        if name not in owner:
            _follow(name, driven, readers, named, owner)
    parts: Part = defaultdict(lambda: dict.fromkeys(KINDS, 0))
    for name, cell in cells.items():
        kind = kind_of_cell(cell["type"])
        if kind is not None:
            parts[owner[name]][kind] += KINDS[kind][cell["type"]]
    return {name: dict(part) for name, part in sorted(parts.items())}


def part_of_name(net: str, chunks: list[str], top_chunk: str | None) -> str | None:
    """Part that a net with a hierarchical name belongs to; None for what names no part."""
    if top_chunk is None:
        head, dot, rest = net.partition(".")
        for prefix, part in _IN_TOP:
            if head.startswith(prefix):
                return part
        chunk = head.removeprefix("u_")
        if not dot or chunk not in chunks:
            return "front" if dot and head.startswith("u_") else None
    else:
        chunk, rest = top_chunk, net
    for prefix, kind in _IN_CHUNK:
        if rest.startswith(prefix):
            return f"{chunk}/{kind}"
    return f"{chunk}/operands"


def _fixed(
    name: str,
    cell: dict[str, Any],
    driven: list[int],
    named: dict[int, str],
    chunks: list[str],
    top_chunk: str | None,
) -> str:
    """Part of a register, DSP block or memory: by its source line where that tells a module of a
    chunk, whose ports have other names too; else by the names of the nets that it drives."""
    votes = Counter(named[bit] for bit in driven if bit in named)
    found = (
        max(sorted(votes), key=lambda part: (not part.endswith("/operands"), votes[part]))
        if votes
        else None
    )
    if found is None:
        found = part_of_name(re.sub(r"^\$\w*\$?\\?", "", name), chunks, top_chunk)
    chunk = (found or "").partition("/")[0]
    for source in cell["attributes"].get("src", "").split("|"):
        stem = source.split(":")[0].removesuffix(".v")
        for prefix, kind in _BY_FILE:
            if stem.startswith(prefix):
                own = stem.split("_", 1)[-1]
                chunk = own if own in chunks else chunk
                return f"{chunk}/{kind}" if chunk in chunks and kind not in _TOP_KINDS else kind
    return found or "front"


def _follow(
    name: str,
    driven: dict[str, list[int]],
    readers: dict[int, list[str]],
    named: dict[int, str],
    owner: dict[str, str],
) -> None:
    stack = [name]
    while stack:
        top = stack[-1]
        if top in owner:
            stack.pop()
            continue
        after = [reader for bit in driven[top] for reader in readers[bit]]
        missing = [reader for reader in after if reader not in owner and reader != top]
        if missing:
            owner.setdefault(top, "")  # a loop through it, were there one, ends here
            del owner[top]
            stack += missing
            continue
        votes = Counter(owner[reader] for reader in after if reader in owner)
        own = Counter(named[bit] for bit in driven[top] if bit in named)
        owner[top] = (
            max(sorted(votes or own), key=lambda part: (votes or own)[part])
            if votes or own
            else "front"
        )
        stack.pop()
