"""The design factors of an accelerator, and the values that each may take.

This is the one list of what a search chooses; `space` says which combinations are legal, `chunks`,
`memories` and `evaluation` what they cost. Every value is one that the generator builds.
"""

from __future__ import annotations

from autonba.accelerator import STREAM_BITS, Kind, Loops, Multiplier

KINDS: tuple[Kind, ...] = ("conv", "depthwise")
CONV, DEPTHWISE = range(len(KINDS))
MULTIPLIERS: tuple[Multiplier, ...] = ("lut", "dsp", "packed")
SOFT, HARD, PACKED = range(len(MULTIPLIERS))
OUT_LANES = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64)
IN_LANES = (1, 2, 4, 8, 16, 32, 64)  # of a conv chunk; of a depthwise chunk also its out lanes
DRAIN_LANES = (1, 2, 4, 8, 16, 32)
TAPS = (1, 2, 3, 5, 7)
COLUMNS = (1, 2, 3, 4, 8)

# Loops of a layer but for the rows of its tasks; the last one reads its weights from DRAM.
LOOPS = (Loops(), Loops(order="block_outer"), Loops(order="block_outer", weights="stream"))
STREAMED = len(LOOPS) - 1
WHOLE = 0  # rows of a task that is the whole map
ROWS = (1, 2, 4, 8, WHOLE)  # of a task, where they divide the map's; else the next that does

OF_CHUNK = {
    "kind": KINDS,
    "out": OUT_LANES,
    "into": IN_LANES,
    "drain": DRAIN_LANES,
    "taps": TAPS,
    "columns": COLUMNS,
    "multiplier": MULTIPLIERS,
}
OF_LAYER = {"loops": LOOPS, "rows": ROWS}  # beside the chunk that runs it
PORTS = STREAM_BITS  # bits of the AXI4 ports through which weights are streamed
MOST_CHUNKS = 16
