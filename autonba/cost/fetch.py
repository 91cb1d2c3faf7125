"""When streamed weights arrive: the timing of the fetcher of `autonba.hwgen.fetcher` with a memory of fixed latency."""

from __future__ import annotations

from collections.abc import Sequence

STREAM_LATENCY = 40  # modelled cycles from a read address's handshake to its first data beat
BURST_BEATS = 256  # AXI4, A3.4.1
BOUNDARY = 4096  # bytes; no burst crosses a multiple of it (AXI4, A3.4.1)


def bursts(address: int, beats: int, beat_bytes: int) -> list[int]:
    """Lengths of the bursts that read `beats` beats from byte `address` on."""
    lengths = []
    while beats:
        length = min(beats, BURST_BEATS, (BOUNDARY - address % BOUNDARY) // beat_bytes)
        lengths.append(length)
        address, beats = address + length * beat_bytes, beats - length
    return lengths


class FetchModel:
    """One chunk's fetcher. The memory answers each address with its first beat `latency` cycles later, then a beat a cycle."""

    def __init__(self, latency: int) -> None:
        self._latency = latency
        self._last_data = -1
        self._releases: list[int] = []
        self._blocks = 0

    def load(self, lengths: Sequence[int], offered: int | None) -> int:
        """Fetch the next block; `offered` is the cycle in which its task was offered, for a task's first block.

        Returns the first cycle in which the block counts as loaded.
        """
        start = self._last_data + 1  # the cycle in which the block is begun; two later its first address is out
        if offered is not None:
            start = max(start, offered + 1) + 1
        if self._blocks >= 2:
            start = max(start, self._releases[self._blocks - 2] + 1)
        self._blocks += 1
        end = start
        for number, length in enumerate(lengths):
            end = max(start + 2 + number + self._latency, end + 1) + length - 1
        self._last_data = end
        return end + 1

    def release(self, cycle: int) -> None:
        """The oldest block is given back in `cycle`."""
        self._releases.append(cycle)
