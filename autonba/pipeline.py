"""Pipeline depths that the hardware and the schedule share."""

from __future__ import annotations

from autonba.accelerator import Multiplier
from autonba.arithmetic import clog2

ADDRESS_STAGES = 3  # the cycle that counts a beat to the memories' data
REQUANTIZE_STAGES = 9  # an accumulator to its result
# The cycle, counted from its accumulator's, in which the requantizer takes each input that belongs
# to it.
REQUANTIZER_INPUT_STAGE = {
    "acc": 0,
    "bias": 0,
    "multiplier": 0,
    "residual": 1,
    "residual_multiplier": 1,
    "half": 3,
    "shift": 5,
    "low": 7,
    "high": 7,
    "raw": 8,
}
GROUP_TO_WRITE = (
    1 + REQUANTIZE_STAGES
)  # a drained group's parameter address to its write: ROM, then the requantizer
MULTIPLY_STAGES: dict[Multiplier, int] = {
    "lut": 2,
    "dsp": 2,
    "packed": 3,
}  # operands to product; packed: and its correction


def tree_stages(terms: int) -> int:
    """Registers in the adder tree of `terms` terms: one for every level."""
    return clog2(terms)
