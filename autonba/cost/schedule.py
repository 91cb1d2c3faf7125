"""Exact schedule: the cycle in which every row task starts and ends, by the rules the hardware follows.

A chunk's scheduler looks at its row tokens, registers which layers are ready, picks the next of them in turn, claims its
tokens and offers the task to the sequencer, which takes it when it is idle or in the last cycle of the task before:
back to back where a ready task was found in time. All constants of that pipeline are named here; the simulation of the
generated hardware must agree to the cycle.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autonba.accelerator import SINK, SOURCE, Accelerator, Buffer, Port
from autonba.cost.fetch import STREAM_LATENCY, FetchModel
from autonba.errors import DeadlockError
from autonba.mapping import ChunkPlan, LayerPlan, Plan, plan, required_buffers
from autonba.network import INPUT, Network
from autonba.pipeline import ADDRESS_STAGES, GROUP_TO_WRITE
from autonba.weight_image import block_bursts

LOOK_TO_OFFER = 3  # from the cycle whose tokens are looked at to the cycle that offers the task to the sequencer
TOKEN_DELAY = 1  # a token pulse is seen by the counters' readers one cycle later
INPUT_COMMIT = 1  # from a row's last pixel to its write
OUTPUT_WORD = 3  # cycles of a result word: address, read, send
WARM_UP, MEASURED, FOLLOWING = 6, 16, 6  # images before, while and after the steady state is measured


def beat_to_commit(chunk: ChunkPlan, lp: LayerPlan) -> int:
    """Cycles from a task's last beat to its last write: address, read, multiply, sum, drain, requantize."""
    return ADDRESS_STAGES + chunk.array_stages - 1 + GROUP_TO_WRITE + lp.drain_cycles


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Cycles counted from the first accepted pixel, with pixels always offered and results always taken.

    `finish[i]` is the number of cycles until the last word of image i has left. `busy` gives each chunk's busy cycles of
    one image; `peak_rows` the most rows each buffer (index as in Plan.buffers) held, claimed ones included. `commits` gives
    each layer the cycle of each of its commits, which is that of a row task's last write: task t of image i is number
    i * tasks + t.
    """

    finish: tuple[int, ...]
    busy: Mapping[str, int]
    peak_rows: tuple[int, ...]
    commits: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def first_image(self) -> int:
        """Latency of the first image."""
        return self.finish[0]

    @property
    def per_image(self) -> float:
        """Cycles from image to image, over the middle half: the first and last images meet an empty accelerator."""
        margin = len(self.finish) // 4
        first, last = margin, len(self.finish) - 1 - margin
        return (self.finish[last] - self.finish[first]) / (last - first) if last > first else float(self.finish[0])


class _Simulation:
    """State of one run. Agents are 'input', the chunks and 'output'; counters are per edge."""

    def __init__(self, mapped: Plan, images: int, stream_latency: int) -> None:
        self.plan = mapped
        self.images = images
        edges = mapped.edges
        self.available = [0] * len(edges)
        self.credit = [mapped.buffers[e.buffer].rows for e in edges]
        names = [INPUT, *mapped.layers, SINK]
        self.inputs = {name: [i for i, e in enumerate(edges) if e.consumer == name] for name in names}
        self.outputs = {name: [i for i, e in enumerate(edges) if e.producer == name] for name in names}
        agent = {name: lp.chunk.name for name, lp in mapped.layers.items()} | {INPUT: SOURCE, SINK: SINK}
        self.edge_reader = [agent[e.consumer] for e in edges]
        self.edge_writer = [agent[e.producer] for e in edges]
        self.need = [[e.pattern.need(t) for t in range(e.pattern.tasks)] for e in edges]
        self.release = [[e.pattern.release(t) for t in range(e.pattern.tasks)] for e in edges]
        self.produced = [e.produced for e in edges]
        self.row = dict.fromkeys(names, 0)
        self.by_chunk = {c.chunk.name: c.layers for c in mapped.chunks}
        self.chosen = dict.fromkeys(self.by_chunk, 0)  # the last layer that each chunk picked
        self.to_commit = {lp.layer.name: beat_to_commit(c, lp) for c in mapped.chunks for lp in c.layers}
        self.fetch = {c.chunk.name: FetchModel(stream_latency) for c in mapped.chunks if c.stream_words}
        self.bursts = block_bursts(mapped)
        self.waiting: dict[str, int] = {}  # agent -> first cycle at which it looks
        self.last_beat = dict.fromkeys(self.by_chunk, -(10**9))
        self.events: list[tuple[int, int, int, str, int]] = []  # cycle, look after update, edge, counter or agent, amount
        self.rows_in = 0
        self.finish: list[int] = []
        self.commits: dict[str, list[int]] = {name: [] for name in mapped.layers}
        self.held = [0] * len(edges)
        self.peak = [0] * len(mapped.buffers)

    def run(self) -> Schedule:
        for agent in (SOURCE, *self.by_chunk, SINK):
            self.look_from(agent, -1)
        while self.events:
            cycle, kind, edge, name, amount = heapq.heappop(self.events)
            if kind == 0:
                self.update(cycle, edge, name, amount)
            elif self.waiting.get(name, cycle + 1) <= cycle:
                self.look(name, cycle)
        if len(self.finish) < self.images:
            self.report_deadlock()
        busy = {c.chunk.name: c.busy for c in self.plan.chunks}
        return Schedule(finish=tuple(self.finish), busy=busy, peak_rows=tuple(self.peak), commits=self.commits)

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
            self.held[edge] -= amount
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
        """Take tokens for the next row of `name`; returns the amount each input edge gives back later."""
        row = self.row[name]
        freed = [self.release[e][row] for e in self.inputs[name]]
        for e, amount in zip(self.inputs[name], freed, strict=True):
            self.available[e] -= amount
        for e in self.outputs[name] if name != SINK else ():
            self.credit[e] -= self.produced[e]
            self.held[e] += self.produced[e]
            buffer = self.plan.edges[e].buffer
            self.peak[buffer] = max(self.peak[buffer], self.held[e])
        rows = len(self.need[self.inputs[name][0]]) if name != INPUT else self.plan.network.input.height
        self.row[name] = (row + 1) % rows
        return freed

    def start(self, agent: str, lp: LayerPlan, cycle: int) -> None:
        name = lp.layer.name
        freed = self.claim(name)
        taken = max(cycle + LOOK_TO_OFFER, self.last_beat[agent])
        last_beat = self.stream(lp, cycle + LOOK_TO_OFFER, taken) if lp.streams else taken + lp.task_cycles
        self.last_beat[agent] = last_beat
        written = last_beat + self.to_commit[name]
        self.commits[name].append(written)
        for e, amount in zip(self.inputs[name], freed, strict=True):
            if amount:
                self.post(last_beat if self.plan.edges[e].port == "main" else written, e, "credit", amount)
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

    def report_deadlock(self) -> None:
        full = [e for i, e in enumerate(self.plan.edges) if self.credit[i] < e.produced]
        stuck = next((e for e in full if e.port == "residual"), full[0] if full else self.plan.edges[0])
        buffer = self.plan.buffers[stuck.buffer]
        raise DeadlockError(
            f"accelerator: buffer of tensor {buffer.tensor.name!r} for {buffer.reader!r} must have more than {buffer.rows} "
            "rows, else the accelerator comes to a halt; `autonba search` sizes buffers"
        )


def simulate(mapped: Plan, images: int, stream_latency: int = STREAM_LATENCY) -> Schedule:
    """Schedule `images` images back to back; raises DeadlockError naming the tensor whose buffer is too small.

    `stream_latency` is that of the DRAM that holds streamed weights, in cycles (`autonba.cost.fetch`).
    """
    return _Simulation(mapped, images, stream_latency).run()


def size_buffers(network: Network, accelerator: Accelerator) -> Accelerator:
    """Smallest buffers that lose no throughput against unlimited ones; `accelerator.buffers` is ignored.

    Each buffer in turn, the largest first, is made as small as the steady state allows.
    """
    least = required_buffers(network, accelerator)
    tensors = network.tensors
    rows = {key: 2 * tensors[key[0]].height + 2 for key in least}

    def sized(of: Mapping[tuple[str, str, Port], int]) -> Accelerator:
        return replace(accelerator, buffers=tuple(
            Buffer(tensor=t, reader=r, port=p, rows=of[t, r, p]) for t, r, p in least))

    def pace(of: Mapping[tuple[str, str, Port], int]) -> tuple[float, Plan, Schedule]:
        mapped = plan(network, sized(of))
        try:
            result = simulate(mapped, WARM_UP + MEASURED + FOLLOWING)
        except DeadlockError:
            return float("inf"), mapped, Schedule(finish=(0,), busy={}, peak_rows=())
        return (result.finish[WARM_UP + MEASURED - 1] - result.finish[WARM_UP - 1]) / MEASURED, mapped, result

    best, mapped, result = pace(rows)
    peaks = dict(zip(((b.tensor.name, b.reader, b.port) for b in mapped.buffers), result.peak_rows, strict=True))
    rows = {key: min(rows[key], max(least[key], peaks[key])) for key in least}
    for key in sorted(least, key=lambda k: (-rows[k] * tensors[k[0]].channels * tensors[k[0]].width, k)):
        low, high = least[key], rows[key]
        while low < high:
            middle = (low + high) // 2
            if pace({**rows, key: middle})[0] <= best:
                high = middle
            else:
                low = middle + 1
        rows[key] = high
    return sized(rows)
