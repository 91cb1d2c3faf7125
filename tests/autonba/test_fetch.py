"""When streamed blocks arrive, against a memory that is stepped cycle by cycle."""

from __future__ import annotations

import random
from collections import deque

import pytest

from autonba.cost.fetch import BURST_BEATS, FetchModel, bursts


def arrivals(blocks: list[list[int]], offers: list[int | None], holds: list[int], latency: int) -> list[int]:
    """First cycle in which each block counts as loaded: a block is held for `holds` cycles, and two fit.

    An address a cycle; each is answered `latency` cycles later, in order, a beat a cycle.
    """
    loaded, released, free_from = [], [], 0
    for number, (lengths, offer) in enumerate(zip(blocks, offers, strict=True)):
        begin = free_from
        if offer is not None:
            begin = max(begin, offer + 1) + 1
        if number >= 2:
            begin = max(begin, released[number - 2] + 1)
        waiting: deque[tuple[int, int]] = deque()  # first cycle of its data, beats
        for n, length in enumerate(lengths):
            waiting.append((begin + 2 + n + latency, length))
        cycle = begin
        while waiting:
            first, left = waiting[0]
            if cycle >= first:
                waiting[0] = first, left - 1
                if left == 1:
                    waiting.popleft()
            cycle += 1
        free_from = cycle
        loaded.append(cycle)
        released.append(max(loaded[number], released[-1] if released else 0) + holds[number])
    return loaded


@pytest.mark.parametrize("latency", [2, 7, 40])
@pytest.mark.parametrize("hold", [1, 30, 300])
def test_blocks_arrive_as_from_a_stepped_memory(latency: int, hold: int) -> None:
    drawn = random.Random(latency * hold)
    blocks = [[drawn.randint(1, 30) for _ in range(drawn.randint(1, 4))] for _ in range(40)]
    offers = [drawn.choice((None, 50 * number)) for number in range(40)]
    model, found, released = FetchModel(latency), [], 0
    for lengths, offer in zip(blocks, offers, strict=True):
        found.append(model.load(lengths, offer))
        released = max(found[-1], released) + hold
        model.release(released)
    assert found == arrivals(blocks, offers, [hold] * 40, latency)


def test_bursts_are_as_long_as_they_may_be() -> None:
    assert bursts(0, 600, 4) == [BURST_BEATS, BURST_BEATS, 88]
    assert bursts(4096 - 8, 5, 4) == [2, 3]
    assert bursts(0, 130, 64) == [64, 64, 2]
