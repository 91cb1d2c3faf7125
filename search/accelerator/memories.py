"""What the row buffers between a writer and a port of a reader cost, and how many rows they hold:
the rules of `autonba.cost` for arrays of memories.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from autonba.boards import Family
from autonba.cost import energy, logic, ram
from autonba.cost.arrays import Truth, Whole
from autonba.cost.buffers import RESIDUAL_ROWS
from autonba.cost.energy import HOROWITZ_45NM
from autonba.mapping import RowPattern


@dataclass(frozen=True, kw_only=True)
class Memories:
    """Memories (M); of the lanes written, `kept_lanes` hold channels. `depth` is that of a bank."""

    write_lanes: Whole
    read_lanes: Whole
    kept_lanes: Whole
    lane_bits: Whole
    banks: Whole
    depth: Whole

    @property
    def lanes(self) -> Whole:
        """Channels of a word."""
        return np.maximum(self.write_lanes, self.read_lanes)

    def bram(self, family: Family) -> Whole:
        """Block RAMs of 18 Kbit."""
        blocks = ram.blocks(self.kept_lanes * self.lane_bits, self.depth, family)
        used = ram.in_blocks(self.write_lanes * self.lane_bits, self.depth, family)
        return used * self.banks * (self.lanes // self.write_lanes) * blocks

    def logic(self, kind: logic.Logic, family: Family) -> Any:
        """LUT or FF."""
        amounts = logic.memory(
            write_lanes=self.write_lanes,
            read_lanes=self.read_lanes,
            kept_lanes=self.kept_lanes,
            lane_bits=self.lane_bits,
            banks=self.banks,
            depth=self.depth,
            family=family,
        )
        return logic.weigh("memory", amounts, family, kind)

    @property
    def read_energy(self) -> Any:
        """Energy of a read in pJ."""
        return energy.read(HOROWITZ_45NM, self.banks, self.lanes * self.lane_bits, self.depth)

    @property
    def write_energy(self) -> Any:
        """Energy of a write in pJ."""
        return energy.write(
            HOROWITZ_45NM,
            self.write_lanes * self.lane_bits,
            self.lanes * self.lane_bits,
            self.depth,
        )


@cache
def most_rows_needed(pattern: RowPattern) -> int:
    """Rows that a reader's tasks have to find at once, at most."""
    return max(pattern.need(t) for t in range(pattern.tasks))


def assumed_rows(needed: Whole, written: Whole, height: Whole, residual: Truth) -> Whole:
    """Rows that a search assumes of a buffer whose readers need so many at once and whose writer
    gives `written` at a time: enough for both to work at once, mostly. Residuals wait longer.
    """
    least = np.maximum(needed, written)
    several = (written > 1) | (needed >= height)
    main = least + np.where(
        several, np.maximum(written, (needed + 1) // 2), np.where(least < 3, 1, 0)
    )
    waiting = np.maximum(np.minimum(RESIDUAL_ROWS, height + 2), least + written)
    return np.where(residual, waiting, main)
