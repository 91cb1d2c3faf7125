"""When streamed blocks arrive, against a memory that is stepped cycle by cycle."""

from __future__ import annotations

import random

import pytest

from autonba.cost.fetch import BURST_BEATS, FetchModel, bursts
from tests.autonba.event_schedule import SteppedMemory


@pytest.mark.parametrize("latency", [2, 7, 40])
@pytest.mark.parametrize("visits", [1, 30, 300])
def test_blocks_arrive_as_from_a_stepped_memory(latency: int, visits: int) -> None:
    drawn = random.Random(latency * visits)
    model, memory, end, offered = FetchModel(latency), SteppedMemory(latency), 0, 0
    for _ in range(40):
        blocks, lengths = (
            drawn.randint(1, 5),
            [drawn.randint(1, 30) for _ in range(drawn.randint(1, 4))],
        )
        offered += drawn.randint(1, 200)
        taken = max(offered, end)
        found, end = model.task(offered, taken, blocks, sum(lengths), visits), taken
        for block in range(blocks):
            loaded = memory.load(lengths, None if block else offered)
            end = max(end + 1, loaded) + visits
            memory.release(end)
        assert found == end


def test_what_is_past_does_not_count() -> None:
    model = FetchModel(40)
    end = model.task(10, 10, 2, 8, 5)
    assert model.state(10**6) == (0, 0, 0)
    assert model.state(end - 1) == (0, 1, 0)


def test_bursts_are_as_long_as_they_may_be() -> None:
    assert bursts(0, 600, 4) == [BURST_BEATS, BURST_BEATS, 88]
    assert bursts(4096 - 8, 5, 4) == [2, 3]
    assert bursts(0, 130, 64) == [64, 64, 2]
