"""Exact schedule: the cycle in which every row task starts and ends, by the rules the hardware
follows.

A chunk's scheduler looks at its row tokens, registers which layers are ready, picks the next of
them in turn, claims its tokens and offers the task to the sequencer, which takes it when it is idle
or in the last cycle of the task before: back to back where a ready task was found in time. All
constants of that pipeline are named here; the simulation of the generated hardware must agree to
the cycle.

With images without end, the accelerator is a deterministic machine of finitely many states, so its
schedule becomes periodic, and two equal states prove the period. The long-run cycles an image are
therefore a ratio of whole numbers, not an average.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from autonba.accelerator import SINK, SOURCE
from autonba.errors import DeadlockError
from autonba.mapping import ChunkPlan, LayerPlan, Plan
from autonba.network import INPUT
from autonba.pipeline import ADDRESS_STAGES, GROUP_TO_WRITE
from autonba.weight_image import block_beats

from .fetch import STREAM_LATENCY, FetchModel
from .timing import OUTPUT_WORD

# from the cycle whose tokens are looked at to the cycle that offers the task to the sequencer
LOOK_TO_OFFER = 3
TOKEN_DELAY = 1  # a token pulse is seen by the counters' readers one cycle later
INPUT_COMMIT = 1  # from a row's last pixel to its write
LONGEST_RUN = 4096  # images among which a state must repeat
_NEVER = -(10**9)


def beat_to_commit(chunk: ChunkPlan, lp: LayerPlan) -> int:
    """Cycles from a task's last beat to its last write: address, read, multiply, sum, drain,
    requantize.
    """
    return ADDRESS_STAGES + chunk.array_stages - 1 + GROUP_TO_WRITE + lp.drain_cycles


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Cycles counted from the first accepted pixel, with pixels always offered and results always
    taken.

    `finish[i]` is the number of cycles until the last word of image i has left. `starts` gives each
    layer the cycle in which the sequencer takes each of its row tasks, `commits` the cycle of each
    of its commits, which is that of a row task's last write: task t of image i is number
    i * tasks + t.
    """

    finish: tuple[int, ...]
    starts: Mapping[str, Sequence[int]]
    commits: Mapping[str, Sequence[int]]

    @property
    def first_image(self) -> int:
        """Latency of the first image."""
        return self.finish[0]


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """The long run: after the first `settled` images, each `images` images take `cycles` cycles,
    for ever.

    `proven` says that a state was found to repeat. Where none did among LONGEST_RUN images, the
    figures are those of the last half of them, or `Machine.bound` where that is larger: an
    estimate, to be called so.
    """

    images: int
    cycles: int
    settled: int
    proven: bool

    @property
    def per_image(self) -> float:
        """Cycles from image to image."""
        return self.cycles / self.images

    def to_json(self) -> dict[str, int | float | bool]:
        """As reports hold it."""
        return {
            "per_image": self.per_image,
            "proven": self.proven,
            "period_images": self.images,
            "period_cycles": self.cycles,
            "settled_images": self.settled,
        }


class Machine:
    """A plan's tasks and tokens as numbers, shared by runs with different buffers.

    Agents are the image input (number 0), the chunks, and the result output (the last); nodes are
    'input', the layers, 'output'.
    Each edge has two token counters: number i of edge i for rows that its consumer may take, and
    further on, in the same order, one for rows that its producer may claim. A task waits for its
    node's counters, takes from them and gives to others.
    """

    def __init__(self, mapped: Plan, stream_latency: int = STREAM_LATENCY) -> None:
        names, edges, network = [INPUT, *mapped.layers, SINK], mapped.edges, mapped.network
        number = {name: i for i, name in enumerate(names)}
        agents = [SOURCE, *(chunk.chunk.name for chunk in mapped.chunks), SINK]
        layers, chunks = (
            list(mapped.layers.values()),
            {chunk.chunk.name: chunk for chunk in mapped.chunks},
        )
        self.plan, self.stream_latency = mapped, stream_latency
        self.agent = [
            0,
            *(agents.index(lp.chunk.name) for lp in layers),
            len(agents) - 1,
        ]  # of each node
        self.nodes: list[list[int]] = [[] for _ in agents]  # of each agent
        self.bit = []  # of a node among its agent's
        for i, agent in enumerate(self.agent):
            self.bit.append(1 << len(self.nodes[agent]))
            self.nodes[agent].append(i)
        self.tasks = [network.input.height, *(lp.tasks for lp in layers), network.output.height]
        self.cycles = [
            network.input.width,
            *(lp.task_cycles for lp in layers),
            OUTPUT_WORD * network.output.width * network.output.channels,
        ]
        self.commit = [
            INPUT_COMMIT,
            *(beat_to_commit(chunks[lp.chunk.name], lp) for lp in layers),
            0,
        ]
        self.stream: list[tuple[int, int, int] | None] = [None] * len(
            names
        )  # blocks of a task, each one's beats and busy cycles
        for i, lp in enumerate(layers, 1):
            if lp.streams:
                beats = block_beats(chunks[lp.chunk.name], lp, mapped.accelerator.stream_bits)
                self.stream[i] = lp.nest.blocks, beats, lp.visits_per_block * lp.period
        released = [[e.pattern.release(t) for t in range(e.pattern.tasks)] for e in edges]
        # An event is one number, the earliest the smallest: cycle, whether an agent looks (after
        # the cycle's tokens), then that agent, or a counter and how many rows it gains.
        self.amount_bits = max(
            *(e.produced for e in edges), *(max(rows) for rows in released)
        ).bit_length()
        self.look_bit = self.amount_bits + max(2 * len(edges), len(agents)).bit_length()
        self.owner = [number[e.consumer] for e in edges] + [
            number[e.producer] for e in edges
        ]  # node that waits for a counter
        self.first_need = [e.pattern.need(0) for e in edges] + [e.produced for e in edges]
        self.takes: list[list[list[tuple[int, int]]]] = [
            [[] for _ in range(tasks)] for tasks in self.tasks
        ]
        self.gives: list[list[list[tuple[bool, int]]]] = [
            [[] for _ in range(tasks)] for tasks in self.tasks
        ]
        for i, e in enumerate(edges):
            need = [e.pattern.need(t) for t in range(e.pattern.tasks)]
            reads, writes, credit = number[e.consumer], number[e.producer], len(edges) + i
            for t, rows in enumerate(
                released[i]
            ):  # what the next task lacks if this one lacked nothing
                self.takes[reads][t].append((i, rows + need[(t + 1) % len(need)] - need[t]))
                if rows:  # main input rows with the last beat, residual ones with the last write
                    self.gives[reads][t].append(
                        (e.port != "main", (credit << self.amount_bits) + rows)
                    )
            for t in range(self.tasks[writes]):
                self.takes[writes][t].append((credit, e.produced))
                self.gives[writes][t].append((True, (i << self.amount_bits) + e.produced))

    @property
    def bound(self) -> int:
        """Cycles an image that no buffers can beat: those of the busiest agent if it never has to
        wait for rows.
        """
        spent = [0] * len(self.nodes)
        for n, agent in enumerate(self.agent):
            least = self.cycles[n]
            if agent == len(self.nodes) - 1:
                least += 1  # the output looks again one cycle later
            elif agent:
                blocks, _, visits = self.stream[n] or (0, 0, 0)
                least = max(least, LOOK_TO_OFFER + 1, blocks * (visits + 1))
            spent[agent] += self.tasks[n] * least
        return max(spent)

    def steady_state(self, rows: Sequence[int], longest: int = LONGEST_RUN) -> SteadyState:
        """The long run with `rows` of each buffer, looked for among `longest` images; raises
        DeadlockError on a halt.
        """
        run = Run(self, rows)
        finish: list[int] = []
        seen: dict[bytes, int] = {}
        for image, cycles in enumerate(run.finishes()):
            finish.append(cycles)
            before = seen.setdefault(run.state, image)
            if before < image:
                return SteadyState(
                    images=image - before,
                    cycles=cycles - finish[before],
                    settled=before + 1,
                    proven=True,
                )
            if image + 1 == longest:
                half = longest // 2
                return SteadyState(
                    images=half,
                    cycles=max(cycles - finish[-1 - half], half * self.bound),
                    settled=longest - half,
                    proven=False,
                )
        raise run.halt()


class Run:
    """One run from reset on, with `rows` of each buffer as in Plan.buffers."""

    def __init__(self, machine: Machine, rows: Sequence[int]) -> None:
        self.machine, self.rows = machine, rows
        self.starts: list[list[int]] = [[] for _ in machine.tasks]  # by node, of a run that ends
        self.commits: list[list[int]] = [[] for _ in machine.tasks]  # as `starts`
        self.state = b""  # of a run without end, at the last image that finished
        credit = [rows[edge.buffer] for edge in machine.plan.edges]
        tokens = [0] * len(credit) + credit
        self.lack = [
            need - held for need, held in zip(machine.first_need, tokens, strict=True)
        ]  # tokens that a task still needs

    def finishes(self, images: int | None = None) -> Iterator[int]:
        """The number of cycles until each of `images` images has left, or of images without end;
        fewer come on a halt.
        """
        machine, lack, starts, commits = self.machine, self.lack, self.starts, self.commits
        agent, bit, nodes, owner, tasks = (
            machine.agent,
            machine.bit,
            machine.nodes,
            machine.owner,
            machine.tasks,
        )
        cycles, commit, stream, takes, gives = (
            machine.cycles,
            machine.commit,
            machine.stream,
            machine.takes,
            machine.gives,
        )
        amount_bits, amounts = machine.amount_bits, (1 << machine.amount_bits) - 1
        looks, cycle_bit, content = (
            1 << machine.look_bit,
            machine.look_bit + 1,
            (2 << machine.look_bit) - 1,
        )
        push, pop, sink = heapq.heappush, heapq.heappop, len(agent) - 1
        task, missing, ready = (
            [0] * len(agent),
            [0] * len(agent),
            [0] * len(nodes),
        )  # counters a node lacks; bits of ready nodes
        free_at, look_at, chosen = [_NEVER] * len(nodes), [-1] * len(nodes), [1] * len(nodes)
        fetch = [FetchModel(machine.stream_latency) for _ in nodes]
        events = [(-1 << cycle_bit) + looks + a for a in range(len(nodes))]
        rows_left = -1 if images is None else images * tasks[0]

        def state(now: int) -> bytes:
            """All that decides what follows, relative to `now`: what is past is the same to it,
            however long ago.
            """
            ahead = [max(cycle - now, 0) for cycle in (*look_at, *free_at)]
            loading = [value for model in fetch for value in model.state(now)]
            pending = sorted(event - (now << cycle_bit) for event in events)
            return array("q", [*lack, *task, *chosen, *ahead, *loading, *pending]).tobytes()

        for c, n in enumerate(owner):
            missing[n] += lack[c] > 0
        for n, count in enumerate(missing):
            if not count:
                ready[agent[n]] |= bit[n]
        while events:
            event = pop(events)
            now, event = event >> cycle_bit, event & content
            if event < looks:
                c = event >> amount_bits
                before = lack[c]
                lack[c] = after = before - (event & amounts)
                if after <= 0 < before:
                    n = owner[c]
                    missing[n] -= 1
                    if not missing[n]:
                        a = agent[n]
                        ready[a] |= bit[n]
                        if look_at[a] <= now:
                            push(events, (now << cycle_bit) + looks + a)
                continue
            a = event - looks
            if look_at[a] > now:
                continue
            waiting, taken = ready[a], now
            if not waiting:
                chosen[a] = 1
                continue
            waiting = waiting & -(chosen[a] << 1) or waiting  # those after the last one, if any
            chosen[a] = one = waiting & -waiting
            n = nodes[a][one.bit_length() - 1]
            t = task[n]
            if n == 0:
                if not rows_left:
                    ready[a] = 0
                    continue
                rows_left -= 1
                look_at[a] = end = now + cycles[n]
            elif n == sink:
                end = now + cycles[n]
                look_at[a] = end + 1
            else:
                offered = now + LOOK_TO_OFFER
                taken, blocks = max(offered, free_at[a]), stream[n]
                free_at[a] = end = (
                    taken + cycles[n] if blocks is None else fetch[a].task(offered, taken, *blocks)
                )
                look_at[a] = taken + 1
            push(events, (look_at[a] << cycle_bit) + looks + a)
            written = end + commit[n]
            for late, gained in gives[n][t]:
                push(events, ((written if late else end) + TOKEN_DELAY << cycle_bit) + gained)
            for c, more in takes[n][t]:
                lack[c] = after = lack[c] + more
                missing[n] += after > 0
            if missing[n]:
                ready[a] &= ~one
            task[n] = (t + 1) % tasks[n]
            if images is not None:
                starts[n].append(taken)
                commits[n].append(written)
            if n == sink and not task[n]:
                if images is None:
                    self.state = state(now)
                yield end + 1

    def halt(self) -> DeadlockError:
        """The error of a run that came to a halt."""
        plan = self.machine.plan
        full = [e for i, e in enumerate(plan.edges, len(plan.edges)) if self.lack[i] > 0]
        stuck = next((e for e in full if e.port == "residual"), full[0] if full else plan.edges[0])
        buffer = plan.buffers[stuck.buffer]
        return DeadlockError(
            f"accelerator: buffer of tensor {buffer.tensor.name!r} for {buffer.reader!r} must have"
            f" more than {self.rows[stuck.buffer]} rows, else the accelerator comes to a halt;"
            " `autonba search` sizes buffers"
        )


def simulate(mapped: Plan, images: int, stream_latency: int = STREAM_LATENCY) -> Schedule:
    """Schedule `images` images back to back; raises DeadlockError naming the tensor whose buffer is
    too small.

    `stream_latency` is that of the DRAM that holds streamed weights, in cycles
    (`autonba.cost.fetch`).
    """
    run = Run(Machine(mapped, stream_latency), [buffer.rows for buffer in mapped.buffers])
    finish = tuple(run.finishes(images))
    if len(finish) < images:
        raise run.halt()
    return Schedule(
        finish=finish,
        starts=dict(zip(mapped.layers, run.starts[1:-1], strict=True)),
        commits=dict(zip(mapped.layers, run.commits[1:-1], strict=True)),
    )


def steady_state(mapped: Plan, stream_latency: int = STREAM_LATENCY) -> SteadyState:
    """What images without end come to; raises DeadlockError as `simulate` does."""
    return Machine(mapped, stream_latency).steady_state([buffer.rows for buffer in mapped.buffers])
