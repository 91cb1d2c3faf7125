"""From a candidate to a design: row buffers, and exact figures in place of estimates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from autonba.accelerator import Accelerator
from autonba.boards import Board, Resources
from autonba.cost.buffers import LOSS, size_buffers
from autonba.cost.energy import energy_per_image
from autonba.cost.resources import estimate
from autonba.cost.schedule import simulate, steady_state
from autonba.errors import DeadlockError
from autonba.golden import Weights
from autonba.mapping import Plan, plan
from autonba.network import Network
from autonba.weight_image import block_beats

from .objectives import RESOURCES

SMALL_NETWORK = 40  # layers up to which buffers are sized without any loss of speed


@dataclass(frozen=True, kw_only=True)
class Realized:
    """An accelerator with its buffers: `cycles` an image in the long run and whether they are
    proven to be, the busiest chunk's (`bound`), those of the first image, pJ an image, `dram` bits
    a cycle.
    """

    accelerator: Accelerator
    cycles: float
    proven: bool
    bound: int
    first_image: int
    energy: float
    dram: float
    resources: Resources

    @property
    def figures(self) -> Mapping[str, float]:
        """Every metric that a limit may hold."""
        return {
            "cycles": self.cycles,
            "latency": float(self.first_image),
            "energy": self.energy,
            "multipliers": float(self.accelerator.multipliers),
            "dram": self.dram,
            **{name: float(getattr(self.resources, name)) for name in RESOURCES},
        }


def realize(
    network: Network, bare: Accelerator, board: Board, weights: Weights | None = None
) -> Realized:
    """The accelerator with fitted buffers, and its exact figures; DeadlockError where no buffers
    let it run.
    """
    tolerance = 0.0 if len(bare.allocation) <= SMALL_NETWORK else LOSS
    return exact(network, size_buffers(network, bare, tolerance), board, weights)


def exact(
    network: Network, whole: Accelerator, board: Board, weights: Weights | None = None
) -> Realized:
    """Exact figures of an accelerator with the buffers that it has."""
    mapped = plan(network, whole, weights)
    steady = steady_state(mapped)
    return _with_cycles(
        mapped, board, weights, steady.per_image, steady.proven, simulate(mapped, 1).first_image
    )


def unsized(network: Network, bare: Accelerator, board: Board, *, timed: bool = False) -> Realized:
    """Figures of an accelerator with the buffers that it has, its cycles those of the busiest
    chunk; those of the first image only where they are wanted (`timed`) and it runs.
    """
    mapped, first = plan(network, bare), 0
    if timed:
        with suppress(DeadlockError):
            first = simulate(mapped, 1).first_image
    return _with_cycles(mapped, board, None, float(mapped.pace), False, first)


def _with_cycles(
    mapped: Plan, board: Board, weights: Weights | None, cycles: float, proven: bool, first: int
) -> Realized:
    return Realized(
        accelerator=mapped.accelerator,
        cycles=cycles,
        proven=proven,
        bound=mapped.bottleneck,
        first_image=first,
        energy=energy_per_image(mapped).total,
        dram=_streamed_bits(mapped) / cycles,
        resources=estimate(mapped, board.family, weights),
    )


def _streamed_bits(mapped: Plan) -> int:
    """Bits that come from DRAM for an image."""
    bits = mapped.accelerator.stream_bits
    return sum(
        lp.tasks * lp.nest.blocks * block_beats(chunk, lp, bits) * bits
        for chunk in mapped.chunks
        for lp in chunk.layers
        if lp.streams
    )
