"""How much of the multiplications that a limit of DSP blocks allows an accelerator does, and
where the rest goes.

In the long run an image takes T cycles. Its convolutions have `macs` multiply-accumulates, those
with padding zeros included; what pools add is not counted as work. `limit` multiply-accumulates a
cycle is what all DSP blocks of the limit could do on this network, each with as many products as
its layer's operands let be packed into it:

    limit     = DSPs * macs / (sum over convolutions of macs / products)

Chunk c has M[c] multipliers and is busy for B[c] cycles an image; B is the largest B[c]. Then

    provision = sum of M / limit                  built multipliers; above 1 with some of LUTs
    balance   = sum of M * B[c] / (sum of M * B)  a chunk waits while the busiest one works
    fill      = macs / sum of M * B[c]            work in a busy cycle; else padding and pools
    pace      = B / T                             what is left of the time are stalls
    overall   = provision * balance * fill * pace = macs / (limit * T)

"Of the multipliers that are built" is balance * fill * pace, `of_built`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from autonba.boards import Family
from autonba.mapping import Plan
from autonba.network import Layer, Network, layer_macs
from autonba.packing import PORT_BITS, pack, pack_columns


@dataclass(frozen=True, kw_only=True)
class Utilization:
    """Fractions as defined above; `dsp_limit` DSP blocks could do `limit` multiply-accumulates a
    cycle.
    """

    dsp_limit: float
    limit: float
    provision: float
    balance: float
    fill: float
    pace: float

    @property
    def of_built(self) -> float:
        """Work over multipliers x cycles."""
        return self.balance * self.fill * self.pace

    @property
    def overall(self) -> float:
        """Work over what the limit could do."""
        return self.provision * self.of_built

    def to_json(self) -> dict[str, float]:
        """As reports hold it."""
        return {
            "dsp_limit": self.dsp_limit,
            "limit_macs_per_cycle": self.limit,
            "provision": self.provision,
            "balance": self.balance,
            "fill": self.fill,
            "pace": self.pace,
            "of_built": self.of_built,
            "overall": self.overall,
        }


def _convolutions(network: Network) -> list[Layer]:
    return [layer for layer in network.layers if layer.op == "conv"]


def most_macs(network: Network, dsps: float, family: Family) -> float:
    """Multiply-accumulates a cycle that `dsps` DSP blocks could do on the convolutions of
    `network`.
    """
    work, blocks = 0, Fraction(0)  # blocks: those that would do it all in a cycle
    for layer in _convolutions(network):
        bits, port = (layer.weight_bits, network.tensors[layer.input].bits), PORT_BITS[family]
        work += layer_macs(network, layer)
        blocks += Fraction(
            layer_macs(network, layer),
            max(pack(*bits, port).fields, pack_columns(*bits, port).fields, 1),
        )
    return float(Fraction(dsps) * work / blocks)


def utilization(mapped: Plan, per_image: float, family: Family, dsps: float) -> Utilization:
    """Utilization of an accelerator whose images take `per_image` cycles in the long run, against
    `dsps` DSP blocks.
    """
    work = sum(layer_macs(mapped.network, layer) for layer in _convolutions(mapped.network))
    limit, built = most_macs(mapped.network, dsps, family), mapped.accelerator.multipliers
    busy = sum(chunk.chunk.multipliers * chunk.busy for chunk in mapped.chunks)
    return Utilization(
        dsp_limit=dsps,
        limit=limit,
        provision=built / limit,
        balance=busy / (built * mapped.bottleneck),
        fill=work / busy,
        pace=mapped.bottleneck / per_image,
    )
