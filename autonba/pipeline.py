"""Pipeline depths that the hardware and the schedule share."""

from __future__ import annotations

from autonba.accelerator import Multiplier
from autonba.arithmetic import ceil_div, clog2

ADDRESS_STAGES = 3  # the cycle that counts a beat to the memories' data
GROUP_TO_WRITE = 6  # a drained group's parameter address to its write: ROM, then the requantizer
MULTIPLY_STAGES: dict[Multiplier, int] = {"lut": 1, "dsp": 1, "packed": 1}


def tree_stages(terms: int) -> int:
    """Registers in the adder tree of `terms` terms: one for every two levels."""
    return ceil_div(clog2(terms), 2)
