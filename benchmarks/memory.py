"""Peak memory of a weight update of the supernet as the number of bitwidths grows, beside the naive
way.

    python -m benchmarks.memory

Auto-NBA mixes the quantized tensors, so that one convolution runs whatever the number of bitwidths
(Fu et al. 2021, section 3.2). The naive way runs one for each and adds up the results. Memory is
what the update's tensors hold at most at one time, counted by PyTorch's profiler, above what is
held before it. Exits with 1 where it grows by more than 10 % from 1 to 5 bitwidths.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from autonba.files import write_json
from autonba.search.network import spaces
from autonba.search.network.supernet import MixedLayer, Supernet
from autonba.search.training.quantizers import mixed_activation, mixed_weight

BITS = ((8,), (4, 8), (4, 6, 8), (2, 3, 4, 6, 8))
WANTED = 0.10


def naive(self: MixedLayer, x: Tensor, residual: Tensor | None, b_J: Tensor) -> Tensor:
    """As MixedLayer.forward, with inputs and weights of each bitwidth convolved on their own."""
    layer = self.layer
    if layer.op == "global_pool":
        return x.mean(dim=(2, 3), keepdim=True)
    one, parts = torch.ones(1), []
    for bits, b in zip(self.bits, b_J, strict=True):
        rounded = mixed_activation(x, x.detach().abs().amax().clamp(min=1e-4), (bits,), True, one)
        w = mixed_weight(self.conv.weight, (bits,), one, layer.raw)
        parts.append(
            b
            * nn.functional.conv2d(
                rounded, w, self.conv.bias, layer.stride, layer.padding, groups=layer.groups
            )
        )
    y = torch.stack(parts).sum(0)
    if layer.raw:
        return y
    y = self.norm(y)
    if residual is not None:
        y = y + residual
    return y if layer.signed else nn.functional.relu(y)


def peak_bytes(bits: tuple[int, ...], operator: str, batch: int) -> int:
    """Largest sum of live allocations during the weight update of a path of one operator."""
    torch.manual_seed(0)
    space = spaces.fix(spaces.load("cifar-small"), bits=bits, operators=[operator] * 5)
    net = Supernet(space, (3, 32, 32), [str(n) for n in range(10)])
    generator = torch.Generator().manual_seed(0)
    images, labels = (
        torch.rand(batch, 3, 32, 32, generator=generator),
        torch.randint(10, (batch,), generator=generator),
    )

    def update() -> None:
        draw = net.draw(
            paths=1, how="soft", for_weights=True, temperature=5.0, generator=generator
        ).detach()
        torch.autograd.backward([nn.functional.cross_entropy(net(images, draw), labels)])

    update()  # gradients exist from here on
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        update()
    live = most = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            most = max(most, live)
    return most


@click.command()
@click.option("--operator", default="k3_e3", show_default=True)
@click.option("--batch", default=64, show_default=True)
def main(operator: str, batch: int) -> None:
    """Measure both ways and print a table."""
    torch.set_num_threads(1)
    ours = MixedLayer.forward
    rows = []
    for bits in BITS:
        row = {"bitwidths": len(bits), "mixed": peak_bytes(bits, operator, batch)}
        MixedLayer.forward = naive  # type: ignore[method-assign]
        row["naive"] = peak_bytes(bits, operator, batch)
        MixedLayer.forward = ours  # type: ignore[method-assign]
        rows.append(row)
        click.echo(
            f"{len(bits)} bitwidths: {row['mixed'] / 2**20:7.1f} MiB mixed"
            f" ({row['mixed'] / rows[0]['mixed']:.3f} times one), {row['naive'] / 2**20:7.1f} MiB"
            f" naive ({row['naive'] / rows[0]['naive']:.3f})"
        )
    growth = rows[-1]["mixed"] / rows[0]["mixed"] - 1
    met = growth <= WANTED
    verdict = "met" if met else "MISSED"
    click.echo(
        f"from 1 to {len(BITS[-1])} bitwidths: {100 * growth:+.1f} %, wanted at most"
        f" {100 * WANTED:.0f} %: {verdict}"
    )
    write_json(
        Path(__file__).with_suffix(".json"), {"operator": operator, "batch": batch, "rows": rows}
    )
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
