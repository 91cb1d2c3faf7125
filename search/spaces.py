"""Search spaces: what a network may be made of and what an accelerator may look like; read from TOML beside this file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from autonba.accelerator import MAX_LANES
from autonba.errors import SpecError
from autonba.network import INPUT, Layer, Network, Tensor

SKIP = "skip"
_OPERATOR = re.compile(r"k([1-9])_e([1-9])(?:_g([2-9]))?")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """MBConv: 1x1 expansion by `expansion`, depthwise `kernel`, linear 1x1; or `skip` (kernel 0)."""

    name: str
    kernel: int
    expansion: int
    groups: int

    @classmethod
    def parse(cls, name: str) -> Operator:
        """From names such as 'k3_e6', 'k5_e1_g2' or 'skip'."""
        if name == SKIP:
            return cls(name=name, kernel=0, expansion=0, groups=1)
        match = _OPERATOR.fullmatch(name)
        if match is None or int(match[1]) % 2 == 0:
            raise SpecError(
                f"network.operators must be 'skip' or like 'k3_e6' or 'k5_e1_g2' with an odd kernel, not {name!r}"
            )
        return cls(name=name, kernel=int(match[1]), expansion=int(match[2]), groups=int(match[3] or 1))


@dataclass(frozen=True, kw_only=True)
class Block:
    """A searched place of the network."""

    index: int
    in_channels: int
    out_channels: int
    stride: int

    @property
    def identity(self) -> bool:
        """Whether input and output have the same shape: a skip is free, other operators get a residual."""
        return self.stride == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True, kw_only=True)
class HardwareSpace:
    """Design factors of the accelerator: `chunks` at most, lanes to choose from, `multipliers` at most."""

    chunks: int
    lanes: tuple[int, ...]
    multipliers: int

    def __post_init__(self) -> None:
        if not 1 <= self.chunks <= 8:
            raise SpecError(f"hardware.chunks must be 1 to 8, not {self.chunks!r}")
        if not self.lanes or any(not 1 <= n <= MAX_LANES or n & (n - 1) for n in self.lanes) or 1 not in self.lanes:
            raise SpecError(
                f"hardware.lanes must be powers of two up to {MAX_LANES}, 1 among them, not {list(self.lanes)}"
            )
        if self.multipliers < 1:
            raise SpecError(f"hardware.multipliers must be at least 1, not {self.multipliers!r}")


@dataclass(frozen=True, kw_only=True)
class Space:
    """Network and hardware space with the weights of the search's loss."""

    name: str
    stem_channels: int
    stem_kernel: int
    stem_stride: int
    head_channels: int
    fixed_bits: int
    bits: tuple[int, ...]
    operators: tuple[Operator, ...]
    blocks: tuple[Block, ...]
    hardware: HardwareSpace
    constraints: Mapping[str, float]
    accuracy_weight: float
    cycles_weight: float
    memory_weight: float

    @property
    def slots(self) -> tuple[str, ...]:
        """Places of layers whose chunk is searched."""
        inner = [f"b{b.index}_{part}" for b in self.blocks for part in ("expand", "depthwise", "project")]
        return ("stem", *inner, "head", "pool", "classifier")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Operator and bitwidth of a block."""

    operator: str
    bits: int


def slot_of(layer: str) -> str:
    """The slot that `layer` fills."""
    return layer.removesuffix("_skip") + "_project" if layer.endswith("_skip") else layer


def load(name: str) -> Space:
    """The space `name`.toml of this package."""
    return parse(name, resources.files("autonba.search").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Space:
    """A space from TOML text."""
    document = tomllib.loads(text)
    net, hardware, weights = document["network"], document["hardware"], document["search"]
    blocks: list[Block] = []
    channels = net["stem"]["channels"]
    for stage in net["stages"]:
        for position in range(stage["blocks"]):
            blocks.append(
                Block(
                    index=len(blocks),
                    in_channels=channels,
                    out_channels=stage["channels"],
                    stride=stage["stride"] if position == 0 else 1,
                )
            )
            channels = stage["channels"]
    return Space(
        name=name,
        stem_channels=net["stem"]["channels"],
        stem_kernel=net["stem"]["kernel"],
        stem_stride=net["stem"]["stride"],
        head_channels=net["head"],
        fixed_bits=net["fixed_bits"],
        bits=tuple(net["bits"]),
        operators=tuple(Operator.parse(o) for o in net["operators"]),
        blocks=tuple(blocks),
        hardware=HardwareSpace(
            chunks=hardware["chunks"], lanes=tuple(hardware["lanes"]), multipliers=hardware["multipliers"]
        ),
        constraints=document.get("constraints", {}),
        accuracy_weight=weights["accuracy_weight"],
        cycles_weight=weights["cycles_weight"],
        memory_weight=weights["memory_weight"],
    )


def network(space: Space, choices: Sequence[Choice], shape: tuple[int, int, int], classes: Sequence[str]) -> Network:
    """The network that `choices` (one a block) name, with shifts and multipliers still 0; `shape` is (C, H, W)."""
    operators = {o.name: o for o in space.operators}
    fixed = space.fixed_bits
    pad = space.stem_kernel // 2
    layers = [
        Layer(
            name="stem",
            op="conv",
            input=INPUT,
            out_channels=space.stem_channels,
            kernel=(space.stem_kernel,) * 2,
            stride=(space.stem_stride,) * 2,
            padding=(pad, pad),
            weight_bits=fixed,
            bits=fixed,
        )
    ]
    source = "stem"
    for block, choice in zip(space.blocks, choices, strict=True):
        layers += block_layers(block, operators[choice.operator], choice.bits, source)
        source = layers[-1].name
    layers.append(
        Layer(name="head", op="conv", input=source, out_channels=space.head_channels, weight_bits=fixed, bits=fixed)
    )
    layers.append(Layer(name="pool", op="global_pool", input="head", out_channels=space.head_channels, bits=fixed))
    layers.append(
        Layer(
            name="classifier",
            op="conv",
            input="pool",
            out_channels=len(classes),
            weight_bits=fixed,
            bits=32,
            signed=True,
            raw=True,
        )
    )
    c, h, w = shape
    return Network(
        input=Tensor(name=INPUT, channels=c, height=h, width=w, bits=8, signed=False),
        layers=tuple(layers),
        classes=tuple(classes),
    )


def block_layers(block: Block, operator: Operator, bits: int, source: str) -> list[Layer]:
    """Layers of one block; none for an identity skip."""
    name, stride = f"b{block.index}", (block.stride, block.stride)
    if operator.name == SKIP:
        if block.identity:
            return []
        return [
            Layer(
                name=f"{name}_skip",
                op="conv",
                input=source,
                out_channels=block.out_channels,
                stride=stride,
                weight_bits=bits,
                bits=bits,
                signed=True,
            )
        ]
    middle, pad = block.in_channels * operator.expansion, operator.kernel // 2
    layers = [
        Layer(
            name=f"{name}_expand",
            op="conv",
            input=source,
            out_channels=middle,
            groups=operator.groups,
            weight_bits=bits,
            bits=bits,
        )
    ]
    if operator.groups > 1:
        layers.append(
            Layer(
                name=f"{name}_shuffle",
                op="shuffle",
                input=f"{name}_expand",
                out_channels=middle,
                groups=operator.groups,
            )
        )
    layers.append(
        Layer(
            name=f"{name}_depthwise",
            op="conv",
            input=layers[-1].name,
            out_channels=middle,
            groups=middle,
            kernel=(operator.kernel,) * 2,
            stride=stride,
            padding=(pad, pad),
            weight_bits=bits,
            bits=bits,
        )
    )
    layers.append(
        Layer(
            name=f"{name}_project",
            op="conv",
            input=f"{name}_depthwise",
            out_channels=block.out_channels,
            groups=operator.groups,
            residual=source if block.identity else None,
            weight_bits=bits,
            bits=bits,
            signed=True,
        )
    )
    return layers
