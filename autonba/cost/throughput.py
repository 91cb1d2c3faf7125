"""Steady-state cycles an image under given buffers, for the search and for sizing buffers.

The rules are those of `autonba.cost.schedule`, and without streamed weights the cycles are the same; streamed blocks are taken to
arrive in time. Readiness is kept in bit masks and every quantity in lists, so that a run costs a tenth of the exact schedule's.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autonba.accelerator import SINK, SOURCE, Accelerator, Buffer, Port
from autonba.cost.schedule import INPUT_COMMIT, LOOK_TO_OFFER, OUTPUT_WORD, TOKEN_DELAY, beat_to_commit
from autonba.errors import DeadlockError
from autonba.mapping import Plan, plan, required_buffers
from autonba.network import INPUT, Network

Rows = Mapping[tuple[str, str, Port], int]  # rows by tensor, reader and port
IMAGES = 70  # of a run: small maps let dozens of images into the accelerator, and it takes as many until the pace is steady
BEGIN, END = 36, 62  # images between which the pace is measured
RESIDUAL_ROWS = 9  # rows of a residual's buffer to begin with: those that are in work between the residual's tap and its use
GROWTHS = 6  # attempts at larger buffers
_NEVER = -(10**9)


class Throughput:
    """A plan's tasks and edges as numbers; `run` may be called with other buffers each time."""

    def __init__(self, mapped: Plan) -> None:
        names, edges, network = [INPUT, *mapped.layers, SINK], mapped.edges, mapped.network
        number = {name: i for i, name in enumerate(names)}
        agents = [SOURCE, *(chunk.chunk.name for chunk in mapped.chunks), SINK]
        self._inputs = [[i for i, e in enumerate(edges) if e.consumer == name] for name in names]
        self._outputs = [[i for i, e in enumerate(edges) if e.producer == name] for name in names]
        self._consumer, self._producer = [number[e.consumer] for e in edges], [number[e.producer] for e in edges]
        self._need = [[e.pattern.need(t) for t in range(e.pattern.tasks)] for e in edges]
        self._release = [[e.pattern.release(t) for t in range(e.pattern.tasks)] for e in edges]
        self._produced, self._buffer = [e.produced for e in edges], [e.buffer for e in edges]
        self._main = [e.port == "main" for e in edges]
        layers = list(mapped.layers.values())
        self._agent = [0, *(agents.index(lp.chunk.name) for lp in layers), len(agents) - 1]
        self._layers: list[list[int]] = [[] for _ in agents]
        self._bit = []
        for i, agent in enumerate(self._agent):
            self._bit.append(1 << len(self._layers[agent]))
            self._layers[agent].append(i)
        to_commit = {lp.layer.name: beat_to_commit(chunk, lp) for chunk in mapped.chunks for lp in chunk.layers}
        self._tasks = [network.input.height, *(lp.tasks for lp in layers), network.output.height]
        self._cycles = [network.input.width, *(lp.task_cycles for lp in layers),
                        OUTPUT_WORD * network.output.width * network.output.channels]
        self._commit = [INPUT_COMMIT, *(to_commit[lp.layer.name] for lp in layers), 0]

    def run(self, rows: Sequence[int], images: int = IMAGES) -> list[int]:
        """Cycles in which the images finish, with `rows` of each buffer as in Plan.buffers; fewer than `images` on a halt."""
        need, release, produced, inputs, outputs = self._need, self._release, self._produced, self._inputs, self._outputs
        agent, bit, sink = self._agent, self._bit, len(self._agent) - 1
        available, credit = [0] * len(need), [rows[b] for b in self._buffer]
        task, ready = [0] * len(agent), [0] * len(self._layers)
        free_at, look_at, chosen = [_NEVER] * len(ready), [-1] * len(ready), [1] * len(ready)
        events: list[tuple[int, int, int, int]] = [(-1, 1, a, 0) for a in range(len(ready))]  # cycle, look, edge or agent, amount
        finish: list[int] = []
        rows_left = images * self._tasks[0]

        def check(n: int) -> None:
            t = task[n]
            for e in inputs[n]:
                if available[e] < need[e][t]:
                    ready[agent[n]] &= ~bit[n]
                    return
            for e in outputs[n]:
                if credit[e] < produced[e]:
                    ready[agent[n]] &= ~bit[n]
                    return
            ready[agent[n]] |= bit[n]

        for n in range(len(agent)):
            check(n)
        while events:
            now, look, x, amount = heapq.heappop(events)
            if not look:
                if x >= 0:
                    available[x] += amount
                    n = self._consumer[x]
                else:
                    credit[~x] += amount
                    n = self._producer[~x]
                a = agent[n]
                if not ready[a] & bit[n]:
                    check(n)
                    if ready[a] & bit[n] and look_at[a] <= now:
                        heapq.heappush(events, (now, 1, a, 0))
                continue
            a, waiting = x, ready[x]
            if look_at[a] > now:
                continue
            if not waiting:
                chosen[a] = 1
                continue
            waiting = waiting & -(chosen[a] << 1) or waiting  # those after the last one, if any
            chosen[a] = waiting & -waiting
            n = self._layers[a][chosen[a].bit_length() - 1]
            t = task[n]
            if n == 0:
                if not rows_left:
                    ready[a] = 0
                    continue
                rows_left -= 1
                look_at[a] = end = now + self._cycles[n]
            elif n == sink:
                end = now + self._cycles[n]
                look_at[a] = end + 1
                if t == self._tasks[n] - 1:
                    finish.append(end + 1)
            else:
                start = max(now + LOOK_TO_OFFER, free_at[a])
                free_at[a] = end = start + self._cycles[n]
                look_at[a] = start + 1
            written = end + self._commit[n]
            for e in inputs[n]:
                amount = release[e][t]
                available[e] -= amount
                if amount:
                    heapq.heappush(events, ((end if self._main[e] else written) + TOKEN_DELAY, 0, ~e, amount))
            for e in outputs[n]:
                credit[e] -= produced[e]
                heapq.heappush(events, (written + TOKEN_DELAY, 0, e, produced[e]))
            task[n] = (t + 1) % self._tasks[n]
            check(n)
            heapq.heappush(events, (look_at[a], 1, a, 0))
        return finish

    def pace(self, rows: Sequence[int]) -> float:
        """Cycles an image in the steady state; infinite on a halt."""
        finish = self.run(rows)
        return (finish[END] - finish[BEGIN]) / (END - BEGIN) if len(finish) == IMAGES else float("inf")


def first_rows(network: Network, least: Rows) -> dict[tuple[str, str, Port], int]:
    """Rows to begin with: one more than the fewest, two maps where a task takes a whole one, and a margin for residuals."""
    tensors, rows = network.tensors, {}
    for key, few in least.items():
        height = tensors[key[0]].height
        if few >= height:
            rows[key] = 2 * height
        else:
            rows[key] = few + (min(RESIDUAL_ROWS, height) if key[2] == "residual" else 1)
    return rows


def fit_buffers(network: Network, accelerator: Accelerator, tolerance: float = 0.01) -> Accelerator:
    """Small buffers with which an image takes at most 1 + `tolerance` times as long as the busiest chunk works on it.

    From `first_rows` on, all grow together until that holds or growing stops to help; then each, the largest first, shrinks as
    long as nothing is lost. For networks of many layers: `autonba.cost.schedule.size_buffers` allows no loss, and takes a
    hundred times as long. Raises DeadlockError where no buffers will do.
    """
    least, tensors = required_buffers(network, accelerator), network.tensors
    keys = list(least)

    def sized(of: Rows) -> Accelerator:
        return replace(accelerator, buffers=tuple(
            Buffer(tensor=tensor, reader=reader, port=port, rows=of[tensor, reader, port]) for tensor, reader, port in keys))

    mapped = plan(network, sized(least))
    engine = Throughput(mapped)

    def pace(of: Rows) -> float:
        return engine.pace([of[key] for key in keys])

    rows = best = first_rows(network, least)
    wanted, reached = mapped.bottleneck * (1 + tolerance), pace(rows)
    for _ in range(GROWTHS):
        if reached <= wanted:
            break
        rows = {key: min(rows[key] + max(1, rows[key] // 4), 2 * tensors[key[0]].height + least[key]) for key in keys}
        if (grown := pace(rows)) < reached:
            best, reached = rows, grown
    if reached == float("inf"):
        raise DeadlockError("accelerator: larger buffers must let every layer run, and they do not")
    wanted = max(wanted, reached)
    rows = dict(best)
    for key in sorted(keys, key=lambda k: (-rows[k] * tensors[k[0]].channels * tensors[k[0]].width, k)):
        step = max((rows[key] - least[key] + 1) // 2, 1)
        while rows[key] - step >= least[key] and pace({**rows, key: rows[key] - step}) <= wanted:
            rows[key] -= step
    return sized(rows)
