"""The joint search: a supernet with operator logits alpha and bitwidth logits beta, beside the
accelerator's gamma.

Weights are updated on training images with one drawn path and soft bitwidths (one convolution
whatever their number); alpha and beta on validation images with the single path forward and
gradients to the K most likely operators, and hard bitwidths. The cost is that of the drawn network
on the best accelerator found for it so far, and every step moves gamma for the drawn network.
`Method` holds the variants of all that. Suffixes: J choices of bitwidth, N images, C chunks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonba.network import INPUT, Layer, Network, effective_kernel, shuffle_order
from autonba.network import Tensor as Map
from autonba.search.accelerator import candidates as cand
from autonba.search.accelerator.candidates import Candidates, NetworkTables
from autonba.search.accelerator.das import AcceleratorSearch, Target
from autonba.search.gumbel import Annealing
from autonba.search.settings import Bitwidths, Level
from autonba.search.training import datasets, distributed
from autonba.search.training.augmentation import Feed
from autonba.search.training.checkpoint import Resumable, Snapshot
from autonba.search.training.compute import Compute, convolve
from autonba.search.training.datasets import Dataset
from autonba.search.training.distributed import GlobalBatchNorm2d
from autonba.search.training.progress_log import Log
from autonba.search.training.quantizers import mixed_activation, mixed_weight, peak
from autonba.search.training.train import Tick

from . import sampling, spaces
from .corrections import Pull, corrected
from .spaces import Choice, Space

SMOOTH = 0.1  # width of the smooth maximum over chunks, as a fraction of the busiest
WARM_PATHS = (4, 3, 2)  # operators averaged in the thirds of the warm-up
RESIDUAL_GAIN = (
    0.2  # first gain of layers with a residual: operators start close to the identity, hence alike
)
REFRESH = 4  # architecture steps between two draws of accelerators
CLIP = 5.0  # norm of the weights' gradients
NEVER = -1e9  # logit of an operator that may not stand in a block
PRICED = (
    "cycles",
    "latency",
    "energy",
    "bram",
)  # metrics that a network's operators and bitwidths change


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a joint search goes about it.

    `bitwidths`    how bitwidths are sampled: see `sampling.sample_bits`
    `paths`        operators of a block that get gradients (K); with `offset` their logits are
                   shifted afterwards so that their log-sum-exp is unchanged
    `level`        bilevel: alpha and beta on validation images; one-level: with the weights, on
                   training images
    `price`        accelerator: cost of the drawn network on the best accelerator; macs:
                   multiply-accumulates times bits, as where the network is searched before the
                   accelerator; none
    `correction`   whether violated limits change the steps (HDX)
    """

    bitwidths: Bitwidths = "heterogeneous"
    paths: int = 2
    offset: bool = True
    temperature: Annealing = field(default_factory=Annealing)
    level: Level = "bilevel"
    price: Literal["accelerator", "macs", "none"] = "accelerator"
    correction: bool = True
    architecture: bool = True  # without, operators and bitwidths stay uniform
    warm_epochs: int = 18
    search_epochs: int = 25
    samples: int = 1024
    batch: int = 48
    rate: float = 1e-2
    architecture_rate: float = 0.06
    interval: int = 1  # weight steps for each architecture step


class MixedLayer(nn.Module):
    """Convolution, batch norm, residual, ReLU, with weights and output in a mixture of
    bitwidths.
    """

    def __init__(self, layer: Layer, source: Map, bits: Sequence[int]) -> None:
        super().__init__()
        self.layer, self.bits = layer, tuple(bits)
        if layer.op == "conv":
            self.conv = nn.Conv2d(
                source.channels,
                layer.out_channels,
                layer.kernel,
                layer.stride,
                layer.padding,
                groups=layer.groups,
                bias=layer.raw,
            )
            fan_out = layer.kernel[0] * layer.kernel[1] * layer.out_channels // layer.groups
            nn.init.normal_(
                self.conv.weight, 0.0, (2.0 / fan_out) ** 0.5 if not layer.raw else 0.05
            )
            if not layer.raw:
                self.norm = GlobalBatchNorm2d(layer.out_channels)
                if layer.residual is not None:
                    nn.init.constant_(self.norm.weight, RESIDUAL_GAIN)
        self.extent: Tensor
        self.register_buffer(
            "extent", torch.tensor(0.0)
        )  # running size of the output: mean of the batches' largest

    def forward(self, x: Tensor, residual: Tensor | None, b_J: Tensor) -> Tensor:
        """Output map: sigma(sum_j b_j A_j) convolved with sum_j b_j W_j, by quantizing where a map
        is made.
        """
        layer = self.layer
        if layer.op == "global_pool":
            y = x.mean(dim=(2, 3), keepdim=True)
        else:
            w = mixed_weight(self.conv.weight, self.bits, b_J, layer.raw)
            y = convolve(x, w, self.conv.bias, layer)
            if layer.raw:
                return y
            y = self.norm(y)
        if residual is not None:
            y = y + residual
        if self.training:
            largest = distributed.largest(peak(y, layer.signed))
            self.extent.copy_(
                torch.where(self.extent == 0, largest, 0.9 * self.extent + 0.1 * largest)
            )
        return mixed_activation(y, self.extent.clamp(min=1e-4), self.bits, layer.signed, b_J)


class MixedPath(nn.Module):
    """A chain of layers with shuffles and residuals: an operator of a block, the stem, or the
    head.
    """

    def __init__(
        self, layers: Sequence[Layer], source: Map, maps: dict[str, Map], bits: Sequence[int]
    ) -> None:
        super().__init__()
        self.chain, self.source = tuple(layers), source.name
        known = {**maps, source.name: source}
        self.own = nn.ModuleDict(
            {
                layer.name: MixedLayer(layer, known[layer.input], bits)
                for layer in layers
                if layer.op != "shuffle"
            }
        )

    def forward(self, x: Tensor, b_J: Tensor) -> Tensor:
        """Output of the last layer; `x` itself for an identity."""
        tensors = {self.source: x}
        for layer in self.chain:
            x = tensors[layer.input]
            if layer.op == "shuffle":
                tensors[layer.name] = x[:, list(shuffle_order(layer.out_channels, layer.groups))]
            else:
                residual = None if layer.residual is None else tensors[layer.residual]
                tensors[layer.name] = cast(Tensor, self.own[layer.name](x, residual, b_J))
        return tensors[self.chain[-1].name] if self.chain else x


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One draw of a network: paths of each block, and bitwidth weights (J,) of each of its
    paths.
    """

    paths: tuple[sampling.Paths, ...]
    bits: tuple[tuple[Tensor, ...], ...]

    def detach(self) -> Draw:
        """The same draw, through which no gradient reaches alpha or beta."""
        paths = tuple(sampling.Paths(index=p.index, weight=p.weight.detach()) for p in self.paths)
        return Draw(paths=paths, bits=tuple(tuple(b.detach() for b in own) for own in self.bits))

    def choices(self, space: Space) -> list[Choice]:
        """Operator and (most weighted) bitwidth of each block on the drawn path."""
        return [
            Choice(operator=space.operators[p.index[0]].name, bits=space.bits[int(b[0].argmax())])
            for p, b in zip(self.paths, self.bits, strict=True)
        ]


class Supernet(nn.Module):
    """All operators of all blocks, with alpha (blocks, operators) and beta (blocks, operators,
    bitwidths).
    """

    def __init__(self, space: Space, shape: tuple[int, int, int], classes: Sequence[str]) -> None:
        super().__init__()
        self.space, self.shape, self.classes = space, shape, tuple(classes)
        self.uniform = [
            self.network([Choice(operator=o.name, bits=space.bits[-1])] * len(space.blocks))
            for o in space.operators
        ]
        maps = self.uniform[0].tensors
        layers = {layer.name: layer for layer in self.uniform[0].layers}
        self.stem = MixedPath([layers["stem"]], maps[INPUT], maps, [space.fixed_bits])
        self.blocks = nn.ModuleList()
        for block in space.blocks:
            options = nn.ModuleList()
            for number, network in enumerate(self.uniform):
                if number not in block.allowed:
                    options.append(nn.Identity())
                    continue
                own = [
                    layer for layer in network.layers if layer.name.startswith(f"b{block.index}_")
                ]
                tensors = network.tensors
                source = tensors[own[0].input] if own else next(iter(tensors.values()))
                options.append(MixedPath(own, source, tensors, space.bits))
            self.blocks.append(options)
        tail = [layers[name] for name in ("head", "pool", "classifier")]
        self.tail = MixedPath(tail, maps[tail[0].input], maps, [space.fixed_bits])
        mask = torch.full((len(space.blocks), len(space.operators)), NEVER)
        for block in space.blocks:
            mask[block.index, list(block.allowed)] = 0.0
        self.alpha = nn.Parameter(mask)
        self.beta = nn.Parameter(
            torch.zeros(len(space.blocks), len(space.operators), len(space.bits))
        )

    def network(self, choices: Sequence[Choice]) -> Network:
        """The network that `choices` name."""
        return spaces.network(self.space, choices, self.shape, self.classes)

    @property
    def weights(self) -> list[nn.Parameter]:
        """Every parameter but alpha and beta."""
        return [p for name, p in self.named_parameters() if name not in ("alpha", "beta")]

    def draw(
        self,
        *,
        paths: int,
        how: Bitwidths,
        for_weights: bool,
        temperature: float,
        generator: torch.Generator,
    ) -> Draw:
        """Draw operators (hard, with `paths` of them getting gradients) and their bitwidths."""
        drawn = tuple(
            sampling.draw_paths(a, min(paths, len(block.allowed)), temperature, generator)
            for a, block in zip(self.alpha, self.space.blocks, strict=True)
        )
        bits = tuple(
            tuple(
                sampling.sample_bits(
                    self.beta[n, i],
                    how,
                    for_weights=for_weights,
                    temperature=temperature,
                    generator=generator,
                )
                for i in p.index
            )
            for n, p in enumerate(drawn)
        )
        return Draw(paths=drawn, bits=bits)

    def fixed(self, choices: Sequence[Choice]) -> Draw:
        """The draw that stands for one network."""
        names = [o.name for o in self.space.operators]
        eye = torch.eye(len(self.space.bits))
        return Draw(
            paths=tuple(
                sampling.Paths(index=(names.index(c.operator),), weight=torch.ones(1))
                for c in choices
            ),
            bits=tuple((eye[self.space.bits.index(c.bits)],) for c in choices),
        )

    def average(self, x_NCHW: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Logits with the mean of `count` random operators in each block, at the widest bits: warms
        up the weights.

        Operators that share a step get the same gradient, so that their outputs become alike and
        single paths can be drawn.
        """
        one, widest = torch.ones(1), torch.eye(len(self.space.bits))[-1]
        x = self.stem(x_NCHW, one)
        for options, block in zip(self.blocks, self.space.blocks, strict=True):
            paths = cast(nn.ModuleList, options)
            order = torch.randperm(len(block.allowed), generator=generator)[:count].tolist()
            x = sum((paths[block.allowed[i]](x, widest) for i in order), torch.zeros(())) / len(
                order
            )
        return cast(Tensor, self.tail(x, one)).flatten(1)

    def forward(self, x_NCHW: Tensor, draw: Draw) -> Tensor:
        """Logits of the drawn path; the other paths of `draw` are computed only for the gradient of
        their weight.
        """
        one = torch.ones(1)
        x = self.stem(x_NCHW, one)
        for options, paths, bits in zip(self.blocks, draw.paths, draw.bits, strict=True):
            outputs = [cast(nn.ModuleList, options)[paths.index[0]](x, bits[0])]
            with torch.no_grad():
                outputs += [
                    cast(nn.ModuleList, options)[i](x, b)
                    for i, b in zip(paths.index[1:], bits[1:], strict=True)
                ]
            if len(outputs) == 1:
                x = outputs[0]
            else:
                x = sum(
                    (w * y for w, y in zip(paths.weight, outputs, strict=True)), torch.zeros(())
                )
        return cast(Tensor, self.tail(x, one)).flatten(1)

    def derive(self) -> list[Choice]:
        """The most likely operator of each block and its most likely bitwidth."""
        best = self.alpha.argmax(dim=1).tolist()
        return [
            Choice(
                operator=self.space.operators[i].name,
                bits=self.space.bits[int(self.beta[n, i].argmax())],
            )
            for n, i in enumerate(best)
        ]


class HardwareCost:
    """What networks of the supernet cost on an accelerator, differentiable in probabilities of
    operators and bitwidths.
    """

    def __init__(self, net: Supernet, engine: AcceleratorSearch) -> None:
        self.net, self.engine, self.space = net, engine, net.space
        self.tables = [self.tabulate(network) for network in net.uniform]
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
                if layer.name.startswith("b"):
                    n = block_of(layer.name)
                    self.memory[n, i] += (
                        size + min(out.height, kh + 1) * out.width * layer.out_channels
                    )
                    self.macs[n, i] += size * out.height * out.width
                elif i == 0:
                    self.rest_macs += size * out.height * out.width
        self.width_J = torch.tensor([float(b) for b in net.space.bits])
        self.set_accelerator(engine.smallest())

    def tabulate(self, network: Network) -> NetworkTables:
        """Cost tables of a network for this search's hardware."""
        return cand.tabulate(network, self.space.hardware, self.space.slots, spaces.slot_of)

    def set_accelerator(self, best: Candidates) -> None:
        """Take the cycles and energies of every operator from accelerator `best`."""
        blocks, operators, chunks = (
            len(self.space.blocks),
            len(self.space.operators),
            self.space.hardware.chunks,
        )
        self.busy_BIC, self.rest_C = torch.zeros(blocks, operators, chunks), torch.zeros(chunks)
        self.fill_BI, self.energy_BI = (
            torch.zeros(blocks, operators),
            torch.zeros(blocks, operators),
        )
        self.rest_fill = self.rest_energy = 0.0
        brams: list[float] = []
        for i, tables in enumerate(self.tables):
            chunk_L = cand.allocate(tables, best)[0].tolist()
            found = self.engine.costs(tables, best)
            fill_L = (found.layer_cycles * tables.fill)[0]
            energy_L = found.layer_energy[0] * self.engine.correction["energy"]
            rows = zip(
                tables.names,
                chunk_L,
                found.layer_cycles[0].tolist(),
                fill_L.tolist(),
                energy_L.tolist(),
                strict=True,
            )
            for name, chunk, cycles, fill, energy in rows:
                if name.startswith("b"):
                    n = block_of(name)
                    self.busy_BIC[n, i, chunk] += cycles
                    self.fill_BI[n, i] += fill
                    self.energy_BI[n, i] += energy
                elif i == 0:
                    self.rest_C[chunk] += cycles
                    self.rest_fill += fill
                    self.rest_energy += energy
            brams.append(float(found.resources["bram"][0]))
        self.rest_bram = min(brams)  # the others' more is that of their blocks, by what each stores
        share_BI = self.memory / self.memory.sum(0).clamp(min=1.0)
        self.bram_BI = share_BI * (torch.tensor(brams) - self.rest_bram)

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
        share = width_BI / self.space.bits[-1]  # energies and block RAMs are those of the widest
        return {
            "cycles": cycles,
            "latency": (
                (cycles + (p_BI * self.fill_BI).sum() + self.rest_fill)
                * self.engine.correction["latency"]
            ),
            "energy": (p_BI * self.energy_BI * share).sum() + self.rest_energy,
            "bram": (p_BI * self.bram_BI * share).sum() + self.rest_bram,
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
        weights = self.engine.goal.weights
        total = self.space.memory_weight * torch.log(found["memory"])
        for name, weight in weights.items():
            if name in PRICED:
                total = total + self.space.cycles_weight * weight * torch.log(found[name])
        return total

    def excess(self, found: Mapping[str, float]) -> dict[str, float]:
        """need / limit of the limited metrics that the network changes."""
        limits = self.engine.goal.limits
        return {name: found[name] / max(limits[name], 1e-9) for name in PRICED if name in limits}


def block_of(layer: str) -> int:
    """Number of the block that a layer named `b<number>_<part>` belongs to."""
    return int(layer[1 : layer.index("_")])


class JointSearch:
    """A joint search with everything that it remembers; `run` carries it to the end."""

    def __init__(
        self,
        data: Dataset,
        space: Space,
        target: Target,
        method: Method,
        seed: int,
        compute: Compute | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.data, self.space, self.target, self.method = data, space, target, method
        self.compute = compute or Compute()
        self.generator = torch.Generator().manual_seed(seed)
        self.net = Supernet(space, data.shape, data.classes)
        self.engine = AcceleratorSearch(
            space=space.hardware, slots=space.slots, target=target, seed=seed
        )
        middle = self.net.network(self.net.derive())
        self.engine.calibrate(
            middle, cand.tabulate(middle, space.hardware, space.slots, spaces.slot_of)
        )
        self.cost = HardwareCost(self.net, self.engine)
        self.compute.place(self.net)
        for logits in (self.net.alpha, self.net.beta):  # draws and costs are made on the CPU
            logits.data = logits.data.cpu()
        self.pull = Pull()
        self.feed = Feed(data.train, space.augmentation, self.compute.target)
        self.val = Feed(data.val, device=self.compute.target)
        self.spread = torch.as_tensor(
            datasets.spread(data.val.labels, seed)
        )  # validation images, any beginning of all classes
        self.steps = max(1, len(self.feed) // method.batch)
        self.weights = torch.optim.AdamW(self.net.weights, lr=method.rate, weight_decay=0.01)
        self.decay = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.weights, max(1, self.epochs * self.steps), eta_min=method.rate / 10
        )
        self.architecture = torch.optim.Adam(
            [self.net.alpha, self.net.beta], lr=method.architecture_rate, betas=(0.5, 0.999)
        )
        self.epoch = self.step = self.number = 0
        self.order = torch.zeros(0, dtype=torch.int64)
        self.sums: dict[str, float] = {}
        self.curves: dict[str, list[float]] = {}

    @property
    def epochs(self) -> int:
        """All of them."""
        return self.method.warm_epochs + self.method.search_epochs

    @property
    def progress(self) -> float:
        """Finished part of the search itself, 0 during the warm-up."""
        return max(0, self.epoch - self.method.warm_epochs) / max(1, self.method.search_epochs)

    def adopt(self, other: JointSearch) -> None:
        """Take the warm weights of another search of the same space: supernets of a comparison are
        trained once.
        """
        own, shared = self.net.state_dict(), other.net.state_dict()
        self.net.load_state_dict(shared | {name: own[name] for name in ("alpha", "beta")})
        self.weights.load_state_dict(copy.deepcopy(other.weights.state_dict()))
        self.decay.load_state_dict(other.decay.state_dict())
        self.generator.set_state(other.generator.get_state())
        self.epoch = other.epoch

    def snapshot(self) -> Snapshot:
        """The parts that change from step to step."""
        return Snapshot(
            net=self.net,
            weights=self.weights,
            decay=self.decay,
            architecture=self.architecture,
            generator=self.generator,
            engine=self.engine,
            compute=self.compute,
        )

    def take(self) -> dict[str, Any]:
        """All that changes, for `Resumable.save`."""
        return self.snapshot().take(
            epoch=self.epoch,
            step=self.step,
            number=self.number,
            order=self.order,
            sums=dict(self.sums),
            curves={name: list(values) for name, values in self.curves.items()},
            pull=dict(self.pull.strength),
        )

    def put_back(self, state: Mapping[str, Any]) -> None:
        """Inverse of `take`."""
        plain = self.snapshot().put_back(state)
        self.epoch, self.step, self.number, self.order = (
            plain[n] for n in ("epoch", "step", "number", "order")
        )
        self.sums, self.curves, self.pull.strength = (
            dict(plain["sums"]),
            plain["curves"],
            dict(plain["pull"]),
        )
        if self.engine.best is not None:
            self.cost.set_accelerator(self.engine.best)

    def run(
        self,
        *,
        until: int | None = None,
        resumable: Resumable | None = None,
        log: Log | None = None,
        tick: Tick = lambda done: None,
    ) -> None:
        """Every epoch up to `until` (to the end by default)."""
        resumable, log = resumable or Resumable(), log or Log()
        if (state := resumable.restore()) is not None:
            self.put_back(state)
        log.rewind("joint", self.epoch)
        while self.epoch < (self.epochs if until is None else until):
            if self.step == 0:
                self.order, self.sums = self.feed.order(self.generator), {}
            self.net.train()
            while self.step < self.steps:
                self.one_step()
                self.step += 1
                if self.step % 20 == 0:
                    tick((self.epoch + self.step / self.steps) / self.epochs)
                if resumable.due():
                    resumable.save(self.take())
            self.epoch, self.step = self.epoch + 1, 0
            log.scalars("joint", self.epoch, self.note())
            resumable.save(self.take())
            tick(self.epoch / self.epochs)

    def one_step(self) -> None:
        """A weight step, and after the warm-up an architecture step."""
        method = self.method
        searching = self.epoch >= method.warm_epochs and method.architecture
        temperature = method.temperature.at(self.progress)
        x, labels = self.feed(
            self.order[self.step * method.batch : (self.step + 1) * method.batch], self.generator
        )
        found: dict[str, float] = {}
        if searching and method.level == "one-level":
            found = self.architecture_step(x, labels, temperature, weights=True)
        else:
            found["train_loss"] = self.weight_step(x, labels, temperature)
            if searching and self.step % method.interval == 0:
                index = torch.randint(len(self.val), (method.batch,), generator=self.generator)
                found |= self.architecture_step(*self.val.plain(index), temperature, weights=False)
        for name, value in found.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.sums[f"{name}_count"] = self.sums.get(f"{name}_count", 0.0) + 1

    def weight_step(self, x: Tensor, labels: Tensor, temperature: float) -> float:
        """One update of the weights; returns the loss."""
        net, method = self.net, self.method
        with self.compute.autocast():
            if self.epoch < method.warm_epochs:
                count = WARM_PATHS[self.epoch * len(WARM_PATHS) // method.warm_epochs]
                logits = net.average(x, count, self.generator)
            else:
                draw = net.draw(
                    paths=1,
                    how=method.bitwidths,
                    for_weights=True,
                    temperature=temperature,
                    generator=self.generator,
                )
                logits = net(x, draw.detach())
        loss = F.cross_entropy(logits.float(), labels)
        self.compute.step(loss, self.weights, clip=CLIP)
        self.decay.step()
        return float(distributed.mean(loss.detach()))

    def architecture_step(
        self, x: Tensor, labels: Tensor, temperature: float, *, weights: bool
    ) -> dict[str, float]:
        """One update of alpha, beta and gamma, and with `weights` of the weights (one-level);
        figures for the curves.
        """
        draw, price, cycles = self.drawn(temperature)
        with self.compute.autocast():
            logits = self.net(x, draw)
        loss = F.cross_entropy(logits.float(), labels)
        total = self.space.accuracy_weight * loss + price.to(loss.device)
        before = [p.detach().clone() for p in (self.net.alpha, self.net.beta)]
        if weights:
            self.compute.step(total, self.architecture, self.weights, clip=CLIP)
            self.decay.step()
        else:
            self.compute.step(total, self.architecture)
        self.finish_step(draw, before)
        return {
            "train_loss" if weights else "val_loss": float(distributed.mean(loss.detach())),
            "cycles": cycles,
        }

    def drawn(self, temperature: float) -> tuple[Draw, Tensor, float]:
        """A draw of a network, its price on the best accelerator so far, and its cycles there;
        moves gamma.
        """
        net, method = self.net, self.method
        draw = net.draw(
            paths=method.paths,
            how=method.bitwidths,
            for_weights=False,
            temperature=temperature,
            generator=self.generator,
        )
        if method.price == "accelerator" and (
            self.number % REFRESH == 0 or self.engine.best is None
        ):
            tables = self.cost.tabulate(net.network(draw.choices(self.space)))
            self.engine.step(tables, samples=method.samples, progress=self.progress)
            assert self.engine.best is not None
            self.cost.set_accelerator(self.engine.best)
        self.number += 1
        found = self.cost.of_draw(draw)
        return draw, self.cost.price(found, method.price), float(found["cycles"].detach())

    def finish_step(self, draw: Draw, before: Sequence[Tensor]) -> None:
        """Keep the mass of what was not sampled, and turn the step of alpha and beta away from
        violated limits.
        """
        net, method = self.net, self.method
        if method.offset:
            for n, paths in enumerate(draw.paths):
                sampling.keep_mass(net.alpha.data[n], before[0][n], paths.index)
        if method.correction and method.price == "accelerator":
            self.pull.update(self.cost.excess(self.cost.of_choices(net.derive())))
            if self.pull.strength:
                costs = {
                    name: torch.log(v.clamp(min=1e-6))
                    for name, v in self.cost.expected(net.alpha, net.beta).items()
                }
                corrected([net.alpha, net.beta], before, costs, self.pull)

    def note(self) -> dict[str, float]:
        """Figures of the epoch, which also go to the curves."""
        figures = {
            n: v / self.sums[f"{n}_count"] for n, v in self.sums.items() if not n.endswith("_count")
        }
        net, engine = self.net, self.engine
        for name, logits in (
            ("alpha", net.alpha),
            ("beta", net.beta),
            ("gamma", engine.gamma + engine.mask),
        ):
            figures[f"{name}_entropy"] = entropy(logits.detach())
        if engine.best is not None:
            tables = self.cost.tabulate(net.network(net.derive()))
            figures["accelerator_score"] = float(engine.score(tables, engine.best))
            costs = engine.costs(tables, engine.best)
            for name, limit in engine.goal.limits.items():
                figures[f"need_{name}"] = float(costs.metric(name)) / max(limit, 1e-9)
        for name, value in figures.items():
            self.curves.setdefault(name, []).append(round(value, 5))
        return figures

    def facts(self) -> dict[str, Any]:
        """Curves and final probabilities."""
        alpha, beta = (
            torch.softmax(self.net.alpha.detach(), 1),
            torch.softmax(self.net.beta.detach(), 2),
        )
        return {
            **self.curves,
            "alpha": [[round(v, 4) for v in row] for row in alpha.tolist()],
            "beta": [[[round(v, 4) for v in row] for row in block] for block in beta.tolist()],
        }

    @torch.no_grad()
    def loss(self, choices: Sequence[Choice], images: int, batch: int = 250) -> float:
        """Loss on so many validation images of all classes, with the supernet's weights; batch norm
        by each batch.
        """
        self.net.train()
        draw, kept = (
            self.net.fixed(choices),
            {name: value.clone() for name, value in self.net.named_buffers()},
        )
        looked_at = self.spread[:images]
        total = torch.tensor(0.0)
        for part in torch.split(looked_at, batch):
            x, labels = self.val.plain(part)
            with self.compute.autocast():
                logits = self.net(x, draw)
            total += distributed.total(
                F.cross_entropy(logits.float(), labels, reduction="sum").cpu()
            )
        for name, value in self.net.named_buffers():
            value.copy_(kept[name])
        return float(total) / len(looked_at)


def entropy(logits: Tensor) -> float:
    """Mean entropy, in nats, of the softmax along the last axis."""
    p = torch.softmax(logits, -1)
    return float(-(p * p.clamp(min=1e-12).log()).sum(-1).mean())
