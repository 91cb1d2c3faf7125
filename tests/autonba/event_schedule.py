"""The rules of the schedule once more, written as the hardware is described and not for speed: an
oracle for the tests.

It shares constants and plans with `autonba.cost.schedule`, and no code.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from autonba.accelerator import SINK, SOURCE
from autonba.cost.fetch import STREAM_LATENCY
from autonba.cost.schedule import (
    INPUT_COMMIT,
    LOOK_TO_OFFER,
    TOKEN_DELAY,
    beat_to_commit,
)
from autonba.cost.timing import OUTPUT_WORD
from autonba.mapping import LayerPlan, Plan
from autonba.network import INPUT
from autonba.weight_image import block_bursts


class SteppedMemory:
    """A fetcher and its memory, stepped: an address a cycle, each answered `latency` cycles later,
    in order, a beat a cycle.

    The fetcher holds two blocks.
    """

    def __init__(self, latency: int) -> None:
        self.latency = latency
        self.free_from = 0
        self.released: list[int] = []

    def load(self, lengths: Sequence[int], offered: int | None) -> int:
        """The first cycle in which the next block counts as loaded; `offered` is that of a task
        whose first block it is.
        """
        begin, number = self.free_from, len(self.released)
        if offered is not None:
            begin = max(begin, offered + 1) + 1
        if number >= 2:
            begin = max(begin, self.released[number - 2] + 1)
        waiting: deque[tuple[int, int]] = deque()  # first cycle of its data, beats
        for n, length in enumerate(lengths):
            waiting.append((begin + 2 + n + self.latency, length))
        cycle = begin
        while waiting:
            first, left = waiting[0]
            if cycle >= first:
                waiting[0] = first, left - 1
                if left == 1:
                    waiting.popleft()
            cycle += 1
        self.free_from = cycle
        return cycle

    def release(self, cycle: int) -> None:
        """The oldest block is given back in `cycle`."""
        self.released.append(cycle)


class EventSchedule:
    """One run. Agents are 'input', the chunks and 'output'; counters are per edge."""

    def __init__(self, mapped: Plan, images: int, stream_latency: int = STREAM_LATENCY) -> None:
        self.plan = mapped
        self.images = images
        edges = mapped.edges
        self.available = [0] * len(edges)
        self.credit = [mapped.buffers[e.buffer].rows for e in edges]
        names = [INPUT, *mapped.layers, SINK]
        self.inputs = {
            name: [i for i, e in enumerate(edges) if e.consumer == name] for name in names
        }
        self.outputs = {
            name: [i for i, e in enumerate(edges) if e.producer == name] for name in names
        }
        agent = {name: lp.chunk.name for name, lp in mapped.layers.items()} | {
            INPUT: SOURCE,
            SINK: SINK,
        }
        self.edge_reader = [agent[e.consumer] for e in edges]
        self.edge_writer = [agent[e.producer] for e in edges]
        self.need = [[e.pattern.need(t) for t in range(e.pattern.tasks)] for e in edges]
        self.release = [[e.pattern.release(t) for t in range(e.pattern.tasks)] for e in edges]
        self.produced = [e.produced for e in edges]
        self.row = dict.fromkeys(names, 0)
        self.by_chunk = {c.chunk.name: c.layers for c in mapped.chunks}
        self.chosen = dict.fromkeys(self.by_chunk, 0)  # the last layer that each chunk picked
        self.to_commit = {
            lp.layer.name: beat_to_commit(c, lp) for c in mapped.chunks for lp in c.layers
        }
        self.fetch = {c.chunk.name: SteppedMemory(stream_latency) for c in mapped.chunks}
        self.bursts = block_bursts(mapped)
        self.waiting: dict[str, int] = {}  # agent -> first cycle at which it looks
        self.last_beat = dict.fromkeys(self.by_chunk, -(10**9))
        self.events: list[
            tuple[int, int, int, str, int]
        ] = []  # cycle, look after update, edge, counter or agent, amount
        self.rows_in = 0
        self.finish: list[int] = []
        self.starts: dict[str, list[int]] = {name: [] for name in mapped.layers}
        self.commits: dict[str, list[int]] = {name: [] for name in mapped.layers}

    def run(self) -> EventSchedule:
        """Let it run to its end, or to a halt."""
        for agent in (SOURCE, *self.by_chunk, SINK):
            self.look_from(agent, -1)
        while self.events:
            cycle, kind, edge, name, amount = heapq.heappop(self.events)
            if kind == 0:
                self.update(cycle, edge, name, amount)
            elif self.waiting.get(name, cycle + 1) <= cycle:
                self.look(name, cycle)
        return self

    def look_from(self, agent: str, cycle: int) -> None:
        self.waiting[agent] = cycle
        heapq.heappush(self.events, (cycle, 1, 0, agent, 0))

    def post(self, cycle: int, edge: int, counter: str, amount: int) -> None:
        heapq.heappush(self.events, (cycle + TOKEN_DELAY, 0, edge, counter, amount))

    def update(self, cycle: int, edge: int, counter: str, amount: int) -> None:
        if counter == "available":
            self.available[edge] += amount
            agent = self.edge_reader[edge]
        else:
            self.credit[edge] += amount
            agent = self.edge_writer[edge]
        if self.waiting.get(agent, cycle + 1) <= cycle:
            heapq.heappush(self.events, (cycle, 1, 0, agent, 0))

    def look(self, agent: str, cycle: int) -> None:
        if agent == SOURCE:
            self.look_input(cycle)
        elif agent == SINK:
            self.look_output(cycle)
        else:
            own, after = self.by_chunk[agent], self.chosen[agent] + 1
            for lp in own[after:] + own[:after]:
                if self.ready(lp.layer.name):
                    self.chosen[agent] = lp.index
                    self.start(agent, lp, cycle)
                    return
            self.chosen[agent] = 0

    def ready(self, name: str) -> bool:
        row = self.row[name]
        return all(self.available[e] >= self.need[e][row] for e in self.inputs[name]) and all(
            self.credit[e] >= self.produced[e] for e in self.outputs[name]
        )

    def claim(self, name: str) -> list[int]:
        """Take tokens for the next row of `name`; returns the amount each input edge gives back
        later.
        """
        row = self.row[name]
        freed = [self.release[e][row] for e in self.inputs[name]]
        for e, amount in zip(self.inputs[name], freed, strict=True):
            self.available[e] -= amount
        for e in self.outputs[name] if name != SINK else ():
            self.credit[e] -= self.produced[e]
        rows = (
            len(self.need[self.inputs[name][0]])
            if name != INPUT
            else self.plan.network.input.height
        )
        self.row[name] = (row + 1) % rows
        return freed

    def start(self, agent: str, lp: LayerPlan, cycle: int) -> None:
        name = lp.layer.name
        freed = self.claim(name)
        taken = max(cycle + LOOK_TO_OFFER, self.last_beat[agent])
        last_beat = (
            self.stream(lp, cycle + LOOK_TO_OFFER, taken) if lp.streams else taken + lp.task_cycles
        )
        self.last_beat[agent] = last_beat
        written = last_beat + self.to_commit[name]
        self.starts[name].append(taken)
        self.commits[name].append(written)
        for e, amount in zip(self.inputs[name], freed, strict=True):
            if amount:
                self.post(
                    last_beat if self.plan.edges[e].port == "main" else written, e, "credit", amount
                )
        for e in self.outputs[name]:
            self.post(written, e, "available", self.produced[e])
        self.look_from(agent, taken + 1)

    def stream(self, lp: LayerPlan, offered: int, taken: int) -> int:
        """Last beat of a task whose blocks wait for their weights."""
        fetch, end = self.fetch[lp.chunk.name], taken
        for number, lengths in enumerate(self.bursts[lp.layer.name]):
            loaded = fetch.load(lengths, None if number else offered)
            end = max(end + 1, loaded) + lp.visits_per_block * lp.period
            fetch.release(end)
        return end

    def look_input(self, cycle: int) -> None:
        if self.rows_in == self.images * self.plan.network.input.height or not self.ready(INPUT):
            return
        self.claim(INPUT)
        self.rows_in += 1
        last = cycle + self.plan.network.input.width
        for e in self.outputs[INPUT]:
            self.post(last + INPUT_COMMIT, e, "available", 1)
        self.look_from(SOURCE, last)

    def look_output(self, cycle: int) -> None:
        if not self.ready(SINK):
            return
        row = self.row[SINK]
        freed = self.claim(SINK)
        out = self.plan.network.output
        sent = cycle + OUTPUT_WORD * out.width * out.channels
        for e, amount in zip(self.inputs[SINK], freed, strict=True):
            self.post(sent, e, "credit", amount)
        if row == out.height - 1:
            self.finish.append(sent + 1)
        self.look_from(SINK, sent + 1)
