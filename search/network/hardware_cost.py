"""What networks of the supernet cost on an accelerator. Suffixes: B blocks, I operators, J choices
of bitwidth, C chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autonba.network import Network, effective_kernel
from autonba.search.accelerator.objectives import Aim
from autonba.search.accelerator.pricing import Pricing

from .spaces import Choice, Space, slot_of
from .supernet import Draw, Supernet

SMOOTH = 0.1  # width of the smooth maximum over chunks, as a fraction of the busiest
SHARED = ("dsp", "bram", "lut", "ff")  # what blocks share by what they store
# metrics that a network's operators and bitwidths change, as far as limits on them steer a search
STEERED = ("cycles", "latency", "energy", "bram")
PRICED = ("cycles", "latency", "energy", *SHARED)


def pricing_of(space: Space, aim: Aim, seed: int, network: Network) -> Pricing:
    """What prices networks of `space`, of which `network` is one."""
    return Pricing(
        slots=space.slots,
        roles=space.roles,
        slot_of=slot_of,
        aim=aim,
        seed=seed,
        network=network,
    )


class HardwareCost:
    """What networks of the supernet cost on an accelerator, differentiable in probabilities of
    operators and bitwidths.
    """

    def __init__(self, net: Supernet, pricing: Pricing) -> None:
        self.net, self.pricing, self.space = net, pricing, net.space
        self.tables = [pricing.tabulate(network) for network in net.uniform]
        shape = len(net.space.blocks), len(net.space.operators)
        self.memory, self.macs = (
            torch.zeros(shape),
            torch.zeros(shape),
        )  # weights and map elements of each operator; products
        self.rest_macs = 0.0
        for i, network in enumerate(net.uniform):
            tensors = network.tensors
            for layer in network.layers:
                if layer.op != "conv":
                    continue
                kh, kw = effective_kernel(layer, tensors[layer.input])
                out = tensors[layer.name]
                size = layer.out_channels * tensors[layer.input].channels // layer.groups * kh * kw
                n = net.block_of.get(layer.name)
                if n is not None:
                    self.memory[n, i] += (
                        size + min(out.height, kh + 1) * out.width * layer.out_channels
                    )
                    self.macs[n, i] += size * out.height * out.width
                elif i == 0:
                    self.rest_macs += size * out.height * out.width
        self.width_J = torch.tensor([float(b) for b in net.space.bits])
        self.set_accelerator(pricing.smallest())

    def set_accelerator(self, best: Tensor) -> None:
        """Take the cycles and energies of every operator from accelerator `best`."""
        blocks, operators, chunks = (
            len(self.space.blocks),
            len(self.space.operators),
            self.pricing.space.chunks,
        )
        self.busy_BIC, self.rest_C = torch.zeros(blocks, operators, chunks), torch.zeros(chunks)
        self.fill_BI, self.energy_BI = (
            torch.zeros(blocks, operators),
            torch.zeros(blocks, operators),
        )
        self.rest_fill = self.rest_energy = 0.0
        taken: dict[str, list[float]] = {name: [] for name in SHARED}
        for i, tables in enumerate(self.tables):
            candidates, found = self.pricing.evaluated(tables, best)
            rows = zip(
                tables.names,
                candidates.chunk[0].tolist(),
                found.layer_cycles[0].tolist(),
                found.layer_fill[0].tolist(),
                found.layer_energy[0].tolist(),
                strict=True,
            )
            for name, chunk, cycles, fill, energy in rows:
                n = self.net.block_of.get(name)
                if n is not None:
                    self.busy_BIC[n, i, chunk] += cycles
                    self.fill_BI[n, i] += fill
                    self.energy_BI[n, i] += energy
                elif i == 0:
                    self.rest_C[chunk] += cycles
                    self.rest_fill += fill
                    self.rest_energy += energy
            if i == 0:  # the result's way out
                self.rest_fill += float((found.latency - found.cycles)[0] - found.layer_fill.sum())
            for name, amounts in taken.items():
                amounts.append(float(getattr(found, name)[0]))
        # the least is the others'; what is more is that of the blocks, by what each stores
        self.rest = {name: min(amounts) for name, amounts in taken.items()}
        share_BI = self.memory / self.memory.sum(0).clamp(min=1.0)
        self.shared_BI = {
            name: share_BI * (torch.tensor(amounts) - self.rest[name])
            for name, amounts in taken.items()
        }

    def metrics(self, p_BI: Tensor, width_BI: Tensor) -> dict[str, Tensor]:
        """PRICED metrics, and `memory` (bits) and `macs` (times bits), of operators with
        probability `p_BI` and mean width.

        Cycles are those of the busiest chunk, with the gradient of a smooth maximum.
        """
        busy_C = self.rest_C + (p_BI[:, :, None] * self.busy_BIC).sum((0, 1))
        busiest = busy_C.detach().max()
        smooth = torch.logsumexp(busy_C / (SMOOTH * busiest), 0) * SMOOTH * busiest
        cycles = smooth / smooth.detach() * busiest
        memory = (p_BI * self.memory * width_BI).sum() + 1000.0
        share = width_BI / self.space.bits[-1]  # energies and resources are those of the widest
        return {
            "cycles": cycles,
            "latency": (
                (cycles + (p_BI * self.fill_BI).sum() + self.rest_fill)
                * self.pricing.correction.get("latency", 1.0)
            ),
            "energy": (p_BI * self.energy_BI * share).sum() + self.rest_energy,
            **{n: (p_BI * self.shared_BI[n] * share).sum() + self.rest[n] for n in SHARED},
            "memory": memory,
            "macs": (p_BI * self.macs * width_BI).sum() + self.rest_macs * self.space.fixed_bits,
        }

    def of_draw(self, draw: Draw) -> dict[str, Tensor]:
        """Metrics of a drawn network, differentiable in the draw."""
        shape = len(self.space.blocks), len(self.space.operators)
        p_BI, width_BI = torch.zeros(shape), torch.zeros(shape)
        for n, (paths, bits) in enumerate(zip(draw.paths, draw.bits, strict=True)):
            index = torch.tensor([n]), torch.tensor(paths.index)
            p_BI = p_BI.index_put(index, paths.weight)
            width_BI = width_BI.index_put(
                index, torch.stack([(b * self.width_J).sum() for b in bits])
            )
        return self.metrics(p_BI, width_BI)

    def expected(self, alpha: Tensor, beta: Tensor) -> dict[str, Tensor]:
        """Metrics of the mean network, differentiable in the logits."""
        return self.metrics(torch.softmax(alpha, 1), torch.softmax(beta, 2) @ self.width_J)

    def of_choices(self, choices: Sequence[Choice]) -> dict[str, float]:
        """Metrics of one network."""
        return {
            name: float(value.detach())
            for name, value in self.of_draw(self.net.fixed(choices)).items()
        }

    def price(self, found: Mapping[str, Tensor], how: str) -> Tensor:
        """What is added to the loss: weighted logarithms of the objective and of the memory."""
        if how == "none":
            return torch.zeros(())
        if how == "macs":
            return self.space.cycles_weight * torch.log(found["macs"])
        weights = self.pricing.goal.weights
        total = self.space.memory_weight * torch.log(found["memory"])
        for name, weight in weights.items():
            if name in PRICED:
                total = total + self.space.cycles_weight * weight * torch.log(found[name])
        return total

    def excess(self, found: Mapping[str, float]) -> dict[str, float]:
        """need / limit of the limited metrics that the network changes."""
        limits = self.pricing.goal.limits
        return {name: found[name] / max(limits[name], 1e-9) for name in STEERED if name in limits}
