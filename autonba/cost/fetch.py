"""When streamed weights arrive: the timing of the fetcher of `autonba.hwgen.fetcher` with a memory
of fixed latency.
"""

from __future__ import annotations

import numpy as np

from autonba.cost.arrays import Whole

STREAM_LATENCY = 40  # modelled cycles from a read address's handshake to its first data beat
BURST_BEATS = 256  # AXI4, A3.4.1
BOUNDARY = 4096  # bytes; no burst crosses a multiple of it (AXI4, A3.4.1)
_NEVER = -(10**9)


def bursts(address: int, beats: int, beat_bytes: int) -> list[int]:
    """Lengths of the bursts that read `beats` beats from byte `address` on."""
    lengths = []
    while beats:
        length = min(beats, BURST_BEATS, (BOUNDARY - address % BOUNDARY) // beat_bytes)
        lengths.append(length)
        address, beats = address + length * beat_bytes, beats - length
    return lengths


def block_cycles(visits: Whole, beats: Whole) -> Whole:
    """Cycles from block to block of a streamed layer in the long run, where each has `beats` beats
    of weights and keeps the chunk busy for `visits` cycles: the longer of the two, since a block is
    fetched while the one before it runs (`FetchModel`).
    """
    return np.maximum(visits + 1, beats + STREAM_LATENCY + 2)


class FetchModel:
    """One chunk's fetcher. The memory answers each address with its first beat `latency` cycles
    later, then a beat a cycle.

    The address of a block's n-th burst is out n cycles after that of its first, before the data of
    the bursts between them have come, so however a block is cut into bursts, its beats arrive
    without a gap.
    """

    def __init__(self, latency: int) -> None:
        self._latency = latency
        self._last_data = -1
        self._released, self._released_before = (
            _NEVER,
            _NEVER,
        )  # cycles in which the last two blocks were given back

    def task(self, offered: int, taken: int, blocks: int, beats: int, visits: int) -> int:
        """Last beat of a task that was offered and taken in these cycles.

        Each of its `blocks` has `beats` beats of weights and then keeps the chunk busy for `visits`
        cycles. It begins at the earliest in the cycle after its weights count as loaded, and its
        memory is free when it ends; two blocks have one.
        """
        end, fetched = (
            taken,
            max(self._last_data, offered) + 2,
        )  # `fetched`: the block is begun; its address is out 2 later
        released, released_before = self._released, self._released_before
        for _ in range(blocks):
            last_data = max(fetched, released_before + 1) + 1 + self._latency + beats
            end = max(end, last_data) + 1 + visits
            released, released_before = end, released
            fetched = last_data + 1
        self._last_data, self._released, self._released_before = (
            fetched - 1,
            released,
            released_before,
        )
        return end

    def state(self, now: int) -> tuple[int, int, int]:
        """All that decides about tasks offered after cycle `now`, relative to it; what lies before
        it is the same to them.
        """
        return (
            max(self._last_data - now, 0),
            max(self._released - now, 0),
            max(self._released_before - now, 0),
        )
