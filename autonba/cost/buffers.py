"""Rows of the buffers: as few as keep the long-run speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autonba.accelerator import Accelerator, Buffer, Port
from autonba.errors import DeadlockError
from autonba.mapping import plan, required_buffers
from autonba.network import Network

from .schedule import Machine

Rows = Mapping[tuple[str, str, Port], int]  # rows by tensor, reader and port
LOSS = 0.01  # of the speed, where a network has many layers
# rows of a residual's buffer to begin with: those that are in work between the residual's tap and
# its use
RESIDUAL_ROWS = 9
GROWTHS = 6  # attempts at larger buffers before ample ones
# images of a run that tries a step: small maps let dozens of images in, and it takes as many until
# the pace is steady
TRIAL = 70
CHECK = 1024  # images among which the steady state of what is returned is looked for
_NEVER = float("inf")


def first_rows(network: Network, least: Rows) -> dict[tuple[str, str, Port], int]:
    """Rows to begin with: one more than the fewest, two maps where a task takes a whole one, and a
    margin for residuals.
    """
    tensors, rows = network.tensors, {}
    for key, few in least.items():
        height = tensors[key[0]].height
        if few >= height:
            rows[key] = 2 * height
        else:
            rows[key] = few + (min(RESIDUAL_ROWS, height) if key[2] == "residual" else 1)
    return rows


def size_buffers(network: Network, accelerator: Accelerator, tolerance: float = 0.0) -> Accelerator:
    """Small buffers that lose at most a fraction `tolerance` of the long-run speed;
    `accelerator.buffers` is ignored.

    What is lost is counted from the machine's bound, or from the best that larger buffers reach
    (ample ones hold two maps) where that is slower. From `first_rows` on, all grow together until
    nothing is lost or growing stops to help; then each, the largest first, is made as small as the
    speed allows. Steps are tried on runs of TRIAL images; what is returned has the speed in its
    steady state (sought among CHECK images), for which the last of the steps are taken back where
    the trials were too kind. Raises DeadlockError where no buffers will do.
    """
    least, tensors = required_buffers(network, accelerator), network.tensors
    keys = list(least)

    def sized(of: Rows) -> Accelerator:
        return replace(
            accelerator,
            buffers=tuple(Buffer(tensor=t, reader=r, port=p, rows=of[t, r, p]) for t, r, p in keys),
        )

    machine = Machine(plan(network, sized(least)))

    def pace(of: Rows, longest: int) -> float:
        try:
            return machine.steady_state([of[key] for key in keys], longest).per_image
        except DeadlockError:
            return _NEVER

    ample = {key: 2 * tensors[key[0]].height + few for key, few in least.items()}
    rows = best = first_rows(network, least)
    wanted, reached = machine.bound * (1 + tolerance), pace(rows, TRIAL)
    for growth in range(GROWTHS + 1):
        if reached <= wanted:
            break
        rows = {
            key: ample[key] if growth == GROWTHS else min(few + max(1, few // 4), ample[key])
            for key, few in rows.items()
        }
        if (grown := pace(rows, TRIAL)) < reached:
            best, reached = rows, grown
    reached = pace(best, CHECK)
    if reached == _NEVER:
        raise DeadlockError("accelerator: larger buffers must let every layer run, and they do not")
    wanted = max(wanted, reached)
    steps = [dict(best)]
    for key in sorted(
        keys, key=lambda k: (-best[k] * tensors[k[0]].channels * tensors[k[0]].width, k)
    ):
        low, high = least[key], steps[-1][key]
        while low < high:
            middle = low if low == least[key] else (low + high) // 2  # often the fewest will do
            if pace({**steps[-1], key: middle}, TRIAL) <= wanted:
                high = middle
            else:
                low = middle + 1
        if high < steps[-1][key]:
            steps.append({**steps[-1], key: high})
    good, bad = 0, len(steps)  # steps up to `good` are proven to keep the speed
    while bad - good > 1:
        middle = bad - 1 if bad == len(steps) else (good + bad) // 2
        if pace(steps[middle], CHECK) <= wanted:
            good = middle
        else:
            bad = middle
    return sized(steps[good])
