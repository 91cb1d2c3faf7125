"""Boards: the part on them, what it holds, and the clock the design is built for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from autonba.errors import SpecError
from autonba.pll import PllDividers, ehxplll, mmcme2

Family = Literal["ecp5", "xc7", "xcup"]

# The fastest clock tree: Lattice FPGA-DS-02012 table 3.19 (PLL), AMD DS181 and DS925 (BUFG).
MAX_CLOCK_MHZ: dict[Family, float] = {"ecp5": 400.0, "xc7": 464.0, "xcup": 667.0}
MIN_CLOCK_MHZ = 1.0


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Amounts of a part's or a design's resources.

    `dsp` counts MULT18X18D (ECP5), DSP48E1 (7-series) or DSP48E2 (UltraScale+); `bram` counts
    blocks of 18 Kbit.
    """

    lut: int
    ff: int
    dsp: int
    bram: int


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board. `clock_mhz` is the design's clock, `oscillator_mhz` what the board supplies.

    `pll` finds what makes one of the other; a board without has a processor that does.
    """

    name: str
    family: Family
    part: str
    resources: Resources
    oscillator_mhz: float
    clock_mhz: float
    pll: Callable[[float, float], PllDividers] | None = field(default=None, repr=False)


# Lattice FPGA-DS-02012 table 1.1; AMD DS190 and DS891 product tables (a 36 Kbit block counts as two
# of 18 Kbit).
BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ulx3s-85f",
            family="ecp5",
            part="LFE5U-85F-6BG381C",
            oscillator_mhz=25.0,
            pll=ehxplll,
            clock_mhz=50.0,
            resources=Resources(lut=83640, ff=83640, dsp=156, bram=208),
        ),
        Board(
            name="arty-a7-35t",
            family="xc7",
            part="xc7a35ticsg324-1L",
            oscillator_mhz=100.0,
            pll=mmcme2,
            clock_mhz=100.0,
            resources=Resources(lut=20800, ff=41600, dsp=90, bram=100),
        ),
        Board(
            name="pynq-z2",
            family="xc7",
            part="xc7z020clg400-1",
            oscillator_mhz=125.0,
            clock_mhz=100.0,
            resources=Resources(lut=53200, ff=106400, dsp=220, bram=280),
        ),
        Board(
            name="zc706",
            family="xc7",
            part="xc7z045ffg900-2",
            oscillator_mhz=200.0,
            clock_mhz=200.0,
            resources=Resources(lut=218600, ff=437200, dsp=900, bram=1090),
        ),
        Board(
            name="ultra96-v2",
            family="xcup",
            part="xczu3eg-sbva484-1-i",
            oscillator_mhz=100.0,
            clock_mhz=200.0,
            resources=Resources(lut=70560, ff=141120, dsp=360, bram=432),
        ),
    )
}


def find_board(name: str) -> Board:
    """The board called `name`."""
    if name not in BOARDS:
        raise SpecError(
            f"board must be one of {', '.join(sorted(BOARDS))}, not {name!r}; `autonba boards`"
            " describes them"
        )
    return BOARDS[name]


def check_clock(board: Board, clock_mhz: float) -> None:
    """Raise SpecError where the board cannot make that clock."""
    check_clock_range(board, clock_mhz)
    if board.pll is not None:
        board.pll(board.oscillator_mhz, clock_mhz)


def check_clock_range(board: Board, clock_mhz: float) -> None:
    """Raise SpecError where the clock is too slow or too fast for the board's part."""
    if not MIN_CLOCK_MHZ <= clock_mhz <= MAX_CLOCK_MHZ[board.family]:
        raise SpecError(
            f"clock_mhz must be from {MIN_CLOCK_MHZ:g} to {MAX_CLOCK_MHZ[board.family]:g} on board"
            f" {board.name!r}, not {clock_mhz:g}"
        )
