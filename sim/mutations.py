"""Faults planted in the generated Verilog, one at a time: the comparison with golden model and
schedule must find each.

    python -m autonba.sim.mutations

A mutation is a replacement of text. Text that is not there any more is an error, so that the list
cannot rot.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autonba.bundle import Bundle
from autonba.errors import AutonbaError, SpecError

from . import fuzz, quick_bench
from .example_designs import SEED, chip_design, stream_design

DESIGNS = {"chip": chip_design, "stream": stream_design}


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """The first match of the regular expression `old` in `file` becomes `new`."""

    fault: str
    design: str = "chip"
    file: str
    old: str
    new: str

    def plant(self, text: str) -> str:
        """The text with the fault; raises SpecError where there is nothing to replace."""
        spoilt, count = re.subn(self.old, self.new, text, count=1)
        if not count or spoilt == text:
            raise SpecError(
                f"mutation {self.fault!r}: {self.file} of design {self.design!r} must have text"
                f" that matches {self.old!r}, and has none"
            )
        return spoilt


_VALUE = r"\\\$\S+ "  # a value without a name in emitted Verilog
MUTATIONS = (
    # Requantizer
    Mutation(
        fault="rounds towards minus infinity",
        file="requantize_packs.v",
        old=r"\$signed\(\{ 1'h0, half \}\) \+ ",
        new="",
    ),
    Mutation(
        fault="residual is not added",
        file="requantize_packs.v",
        old=r" \+ \$signed\(residual_product\)",
        new="",
    ),
    Mutation(
        fault="stale residual",
        file="chunk_packs.v",
        old=r"always @\(posedge clk\) residuals <= (\w+);",
        new=r"reg [11:0] late; always @(posedge clk) begin late <= \1; residuals <= late; end",
    ),
    Mutation(
        fault="no upper clamp",
        file="requantize_packs.v",
        old=_VALUE + r" \? high_held : unclamped",
        new="unclamped",
    ),
    Mutation(
        fault="no lower clamp", file="requantize_packs.v", old=_VALUE + r" \? low_held : ", new=""
    ),
    Mutation(
        fault="wrong shift", file="requantize_packs.v", old=r">>> fine_shift", new=">>> ~fine_shift"
    ),
    Mutation(
        fault="shift without sign",
        file="requantize_packs.v",
        old=r"\$signed\(coarse\) >>>",
        new="coarse >>",
    ),
    Mutation(
        fault="bias is not added",
        file="requantize_blocks.v",
        old=r" \+ \$signed\(bias_held\)",
        new="",
    ),
    # Array
    Mutation(
        fault="offset of packed weights is not taken off",
        file="mac_pack.v",
        old=r"total - carried - offset",
        new="total - carried",
    ),
    Mutation(
        fault="carries of packed products are not taken off",
        file="mac_pack.v",
        old=r"total - carried;",
        new="total;",
    ),
    Mutation(
        fault="wrong carry of packed products",
        file="multiply_packed.v",
        old=r"p\[0\] \^ low0",
        new="p[0]",
    ),
    Mutation(
        fault="packed weights are not raised",
        file="mac_array.v",
        old=r"\? 1'b0 : 1'b1;",
        new="? 1'b0 : 1'b0;",
    ),
    Mutation(
        fault="columns share inputs",
        file="mac_array.v",
        old=r"\.factors\(inputs_held\[c\*COLUMN_BITS",
        new=".factors(inputs_held[0",
    ),
    Mutation(
        fault="accumulators are not cleared",
        file="mac_array.v",
        old=r"clear <= rst \| last\[PIPELINE-2\]",
        new="clear <= rst",
    ),
    Mutation(
        fault="last value instead of the maximum",
        file="mac_array.v",
        old=r"\$signed\(wide\) > \$signed\(own\) \? wide : own",
        new="wide",
    ),
    Mutation(
        fault="maximum begins with zero",
        file="mac_array.v",
        old=r"first\[PIPELINE-1\] \|\| ",
        new="",
    ),
    Mutation(
        fault="wrong drain order",
        file="mac_array.v",
        old=r"finished\[DRAIN_LANES\*ACC_BITS-1:0\]",
        new="finished[LANES*ACC_BITS-1 -: DRAIN_LANES*ACC_BITS]",
    ),
    Mutation(
        fault="sum without sign extension",
        file="adder_tree.v",
        old=r"SIGNED == 1 \? low\[HALF_BITS-1\] : 1'b0",
        new="1'b0",
    ),
    Mutation(
        fault="sign bit of a weight adds",
        file="multiply_slice.v",
        old=r"minus = number\[2\*i\+2\];",
        new="minus = (i < DIGITS - 1) & number[2*i+2];",
    ),
    Mutation(
        fault="taps in wrong order", file="chunk_wide.v", old=r"under\[\(k\*", new="under[((1 - k)*"
    ),
    # Memories and addresses
    Mutation(
        fault="wrong rotation of the banks",
        file="column_rotate.v",
        old=r"first\[s\] \?",
        new="first[0] ?",
    ),
    Mutation(
        fault="wrong bank reads the next word",
        file="column_buffer.v",
        old=r"NUMBER < read_column",
        new="NUMBER <= read_column",
    ),
    Mutation(
        fault="buffer wraps a row late",
        file="sequence_blocks.v",
        old=rf"(= row_pointer \+ row_size;\n.*\n  assign {_VALUE} = {_VALUE}) >= ",
        new=r"\1 > ",
    ),
    Mutation(
        fault="row below the map is read",
        file="sequence_packs.v",
        old=r" < ([^<]*;\n *assign y_inside)",
        new=r" <= \1",
    ),
    Mutation(
        fault="columns beyond the map are written",
        file="write_packs.v",
        old=rf"(assign in_map = {_VALUE}) & {_VALUE};",
        new=r"\1;",
    ),
    Mutation(
        fault="padding of a maximum is zero",
        file="chunk_peaks.v",
        old=r"maximum \? \S+ : zero",
        new="zero",
    ),
    Mutation(
        fault="wrong weight address",
        file="chunk_blocks.v",
        old=r"\.address\(weight_address\)",
        new=".address(weight_address ^ 1'b1)",
    ),
    Mutation(
        fault="parameters of the first layer for all",
        file="write_packs.v",
        old=r"(assign parameter_address = group) \+ \S+;",
        new=r"\1;",
    ),
    Mutation(
        fault="image channels swapped",
        file="accelerator.v",
        old=r"(\{8'd0), pixel\}",
        new=r"\1, pixel[23:16], pixel[7:0], pixel[15:8]}",
    ),
    Mutation(
        fault="a layer writes into another's buffer",
        file="write_packs.v",
        old=r"(assign out0_enable = write_valid) & \S+;",
        new=r"\1;",
    ),
    # Control
    Mutation(
        fault="one block of channels only",
        file="sequence_blocks.v",
        old=r"assign block_at_end = [^;]+;",
        new="assign block_at_end = 1'b1;",
    ),
    Mutation(
        fault="lost token",
        file="accelerator.v",
        old=r"\.commit\(stem_commit \? \d+'d\d+ : (\d+'d0)\)",
        new=r".commit(\1)",
    ),
    Mutation(
        fault="too few rows given back",
        file="sequence_blocks.v",
        old=r"gives0 \? \S+ : (\d+)'h0",
        new=r"gives0 ? \1'h1 : \1'h0",
    ),
    Mutation(
        fault="early commit",
        file="write_packs.v",
        old=r"(stem_commit = task_done_at_)\d+",
        new=r"\g<1>5",
    ),
    Mutation(fault="rows are taken twice", file="row_tokens.v", old=" - claim_read", new=""),
    Mutation(
        fault="wrong reset of the free rows",
        file="row_tokens.v",
        old=r"free <= ROWS\[COUNT_BITS-1:0\]",
        new="free <= {COUNT_BITS{1'b0}}",
    ),
    Mutation(
        fault="rows given back a cycle late",
        file="accelerator.v",  # every image ends when it should
        old=(
            r"(row_tokens #\(\.ROWS\(\d+\), \.COUNT_BITS\((\d+)\)\) u_tokens_stem_to_depth"
            r" [^;]*release_read\()(\w+)"
        ),
        new=r"reg [\2-1:0] late = 0; always @(posedge clk) late <= \3; \1late",
    ),
    Mutation(
        fault="always the first layer that is ready",
        design="stream",
        file="schedule_streams.v",
        old=r"later_then <= [^;]+;",
        new="later_then <= 0;",
    ),
    Mutation(
        fault="stuck state of the scheduler",
        file="schedule_packs.v",
        old=r"fsm_state <= [^;]+;",
        new="fsm_state <= 2'h3 & fsm_state;",
    ),
    # Streamed weights
    Mutation(
        fault="both halves are the same",
        design="stream",
        file="fetch_streams.v",
        old=r"= half \? (\S+) : (\S+);",
        new=r"= \2;",
    ),
    Mutation(
        fault="layer offset in DRAM is lost",
        design="stream",
        file="fetch_streams.v",
        old=r"= base \+ offset;",
        new="= base;",
    ),
    Mutation(
        fault="bursts of a beat too many",
        design="stream",
        file="fetch_streams.v",
        old=r"(\[8:0\]) - 1'h1;",
        new=r"\1;",
    ),
    Mutation(
        fault="a full memory is overwritten",
        design="stream",
        file="fetch_streams.v",
        old=r"= held != 2'h2;",
        new="= 1'b1;",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a fault was found: bits, cycles, halt; empty if it was not."""

    mutation: Mutation
    kind: str
    finding: str


def prepare(root: Path) -> None:
    """Write the designs with their Verilog, and check that they are right without a fault."""
    for name, make in DESIGNS.items():
        bundle = make().write(root / name, fuzz.IMAGES)
        finding = fuzz.check_bundle(bundle, SEED)
        if finding:
            raise SpecError(
                f"design {name!r} must be right without a fault, and it is not: {finding}"
            )


def judge(root: Path, index: int) -> Verdict:
    """Simulate the design of mutation `index` with its fault."""
    mutation = MUTATIONS[index]
    folder = root / f"fault{index}"
    shutil.copytree(root / mutation.design, folder, ignore=shutil.ignore_patterns("sim"))
    path = folder / "rtl" / mutation.file
    path.write_text(mutation.plant(path.read_text()))
    finding = "; ".join(quick_bench.simulate(Bundle(folder), SEED).notes)
    shutil.rmtree(folder)
    return Verdict(mutation=mutation, kind=fuzz.kind(finding), finding=finding)


def run(indices: Sequence[int] = range(len(MUTATIONS))) -> list[Verdict]:
    """Every mutation's verdict."""
    with (
        tempfile.TemporaryDirectory(prefix="autonba-mutations-") as name,
        ProcessPoolExecutor() as pool,
    ):
        prepare(Path(name))
        return list(pool.map(judge, [Path(name)] * len(indices), indices))


def table(verdicts: Sequence[Verdict]) -> str:
    """One line a fault."""
    lines = [f"{'fault':48} {'file':20} {'found by':8}  first finding"]
    lines += [
        f"{v.mutation.fault:48} {v.mutation.file:20} {v.kind or 'NOTHING':8} "
        f" {v.finding.partition(';')[0]}"
        for v in verdicts
    ]
    found = sum(bool(v.kind) for v in verdicts)
    return "\n".join([*lines, f"{found} of {len(verdicts)} planted faults found"])


def main() -> int:
    """Print the table; 1 where a fault was not found, 2 where one could not be planted."""
    try:
        verdicts = run()
    except AutonbaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(verdicts))
    return 0 if all(v.kind for v in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
