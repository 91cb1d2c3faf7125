"""Search spaces: what a network may be made of and what an accelerator may look like; read from
TOML.

Those shipped lie beside this file; `load` also takes the path of one's own. docs/search-spaces.md
explains the keys.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from autonba.errors import SpecError
from autonba.files import read_text
from autonba.network import INPUT, Layer, Network, Tensor
from autonba.toml import MOST_BYTES, parse_toml

SKIP = "skip"
BITS = range(2, 9)
SHIPPED = ("digits", "images", "cifar-small", "fbnet-cifar", "fbnet-imagenet")
Kind = Literal["mbconv", "fused", "basic", "conv", "skip"]
Augmentation = Literal["affine", "flip_crop", "cutout", "none"]
_KINDS: Mapping[str, Kind] = {"k": "mbconv", "f": "fused", "r": "basic", "c": "conv"}
_OPERATOR = re.compile(r"([kfrc])([1-9])(?:_e([1-9]))?(?:_g([2-9]))?")
MOST_BLOCKS = 500
MOST_NUMBER = 10**9


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What may stand in a block; blocks that keep the shape add their input (a residual).

    k3_e6, k5_e1_g2  MBConv (Sandler et al. 2018): 1x1 to `expansion` times the channels, depthwise
                     `kernel`, linear 1x1; groups with a channel shuffle as in FBNet (Wu et al.
                     2019)
    f3_e2            fused MBConv (Tan, Le 2021): `kernel` x `kernel` to `expansion` times the
                     channels, linear 1x1
    r3_e1            basic block (He et al. 2016): two convolutions, `expansion` times the output
                     channels between them
    c3               one convolution
    skip             identity, or a linear 1x1 where the shape changes (kernel 0)
    """

    name: str
    kind: Kind
    kernel: int
    expansion: int
    groups: int

    @classmethod
    def parse(cls, name: str) -> Operator:
        """From its name."""
        if name == SKIP:
            return cls(name=name, kind="skip", kernel=0, expansion=0, groups=1)
        match = _OPERATOR.fullmatch(name)
        if (
            match is None
            or int(match[2]) % 2 == 0
            or (match[4] and match[1] != "k")
            or (match[3] and match[1] == "c")
        ):
            raise SpecError(
                "network.operators must be 'skip' or like 'k3_e6', 'k5_e1_g2', 'f3_e2', 'r3_e1' or"
                f" 'c3' with an odd kernel, not {name!r}"
            )
        return cls(
            name=name,
            kind=_KINDS[match[1]],
            kernel=int(match[2]),
            expansion=int(match[3] or 1),
            groups=int(match[4] or 1),
        )


@dataclass(frozen=True, kw_only=True)
class Block:
    """A searched place of the network."""

    index: int
    in_channels: int
    out_channels: int
    stride: int
    allowed: tuple[int, ...]  # numbers of the operators that may stand here

    @property
    def identity(self) -> bool:
        """Whether input and output have the same shape: a skip is free, other operators get a
        residual.
        """
        return self.stride == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True, kw_only=True)
class Space:
    """Network space and limits with the weights of the search's loss."""

    name: str
    stem_channels: int
    stem_kernel: int
    stem_stride: int
    head_channels: int
    fixed_bits: int
    bits: tuple[int, ...]
    operators: tuple[Operator, ...]
    blocks: tuple[Block, ...]
    constraints: Mapping[str, float]
    accuracy_weight: float
    cycles_weight: float
    memory_weight: float
    augmentation: Augmentation

    @property
    def slots(self) -> tuple[str, ...]:
        """Places of layers whose chunk is searched."""
        inner = [
            f"b{b.index}_{part}" for b in self.blocks for part in ("expand", "depthwise", "project")
        ]
        return ("stem", *inner, "head", "pool", "classifier")

    @property
    def roles(self) -> tuple[int, ...]:
        """Numbers of what the slots hold: the same for like layers of different blocks."""
        return (0, *(1, 2, 3) * len(self.blocks), 0, 4, 0)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Operator and bitwidth of a block."""

    operator: str
    bits: int


def slot_of(layer: str) -> str:
    """The slot that `layer` fills."""
    return layer.removesuffix("_skip") + "_project" if layer.endswith("_skip") else layer


def load(name: str) -> Space:
    """One of SHIPPED, or the space in the file of that path (*.toml)."""
    if name in SHIPPED:
        return parse(
            name,
            resources.files("autonba.search.network")
            .joinpath(f"{name}.toml")
            .read_text(encoding="utf-8"),
        )
    path = Path(name)
    if path.suffix != ".toml":
        raise SpecError(
            f"space must be one of {', '.join(SHIPPED)}, or a file *.toml, not {name!r}"
        )
    text = read_text(path, most=MOST_BYTES, error=SpecError, advice="mend it or name another one")
    try:
        return parse(path.stem, text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


_KEYS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "": {"network": dict, "constraints": dict, "search": dict, "train": dict},
    "network": {
        "stem": dict,
        "head": int,
        "fixed_bits": int,
        "bits": list,
        "operators": list,
        "blocks": list,
        "stages": list,
    },
    "network.stem": {"channels": int, "kernel": int, "stride": int},
    "network.stages": {"channels": int, "blocks": int, "stride": int, "operators": list},
    "constraints": {
        "dsp": (int, float),
        "bram": (int, float),
        "lut": (int, float),
        "ff": (int, float),
    },
    "search": {
        "accuracy_weight": (int, float),
        "cycles_weight": (int, float),
        "memory_weight": (int, float),
    },
    "train": {"augmentation": str},
}
_OPTIONAL: Mapping[str, frozenset[str]] = {
    "": frozenset({"constraints", "train"}),
    "network": frozenset({"blocks", "operators"}),
    "network.stages": frozenset({"operators"}),
    "constraints": frozenset(_KEYS["constraints"]),
    "train": frozenset(_KEYS["train"]),
}


def _checked(document: Mapping[str, Any], where: str = "") -> Mapping[str, Any]:
    """`document`, every key of which is known and of the right type; raises SpecError."""
    known = _KEYS[where]
    prefix = f"{where}." if where else ""
    for key, value in document.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys are {', '.join(known)}"
            raise SpecError(f"unknown key {prefix}{key}; {hint}")
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise SpecError(f"{prefix}{key} must be {_TYPES[known[key]]}, not {value!r}")
        if isinstance(value, (int, float)) and not 0 <= value <= MOST_NUMBER:
            raise SpecError(
                f"{prefix}{key} must be a number from 0 to {MOST_NUMBER}, not {value!r}"
            )
        if isinstance(value, list) and len(value) > MOST_BLOCKS:
            raise SpecError(f"{prefix}{key} must hold at most {MOST_BLOCKS}, not {len(value)}")
    for key in known:
        if key not in document and key not in _OPTIONAL.get(where, ()):
            raise SpecError(f"{prefix}{key} must be given, and it is missing")
    return document


_TYPES: Mapping[Any, str] = {
    dict: "a table",
    list: "a list",
    int: "an integer",
    str: "a text",
    (int, float): "a number",
}


def parse(name: str, text: str) -> Space:
    """A space from TOML text; raises SpecError that names the key."""
    document = _checked(parse_toml(text))
    net = _checked(document["network"], "network")
    stem, weights = _checked(net["stem"], "network.stem"), _checked(document["search"], "search")
    train = _checked(document.get("train", {}), "train")
    augmentation = train.get("augmentation", "affine")
    if augmentation not in get_args(Augmentation):
        raise SpecError(
            f"train.augmentation must be one of {', '.join(get_args(Augmentation))}, not"
            f" {augmentation!r}"
        )
    for key, values in (("bits", net["bits"]), ("fixed_bits", [net["fixed_bits"]])):
        if (
            not values
            or any(isinstance(b, bool) or b not in BITS for b in values)
            or len(set(values)) < len(values)
        ):
            raise SpecError(f"network.{key} must be different integers from 2 to 8, not {values!r}")
    for key, kind, what in (
        ("stages", dict, "tables"),
        ("operators", str, "texts"),
        ("blocks", str, "texts"),
    ):
        if any(not isinstance(entry, kind) for entry in net.get(key, [])):
            raise SpecError(f"network.{key} must be a list of {what}, not {net[key]!r}")
    stages = [_checked(stage, "network.stages") for stage in net["stages"]]
    if not stages:
        raise SpecError("network.stages must hold at least one stage, and it is empty")
    if sum(stage["blocks"] for stage in stages) > MOST_BLOCKS:
        raise SpecError(f"network.stages must have at most {MOST_BLOCKS} blocks together")
    names = _operator_names(net, stages)
    blocks: list[Block] = []
    channels = stem["channels"]
    for stage in stages:
        for position in range(stage["blocks"]):
            own = stage.get("operators", net.get("operators", ()))
            if "blocks" in net:
                own = [net["blocks"][len(blocks)]] if len(blocks) < len(net["blocks"]) else []
            if not own:
                raise SpecError(
                    f"network: block {len(blocks)} must have at least one operator, and it has none"
                )
            blocks.append(
                Block(
                    index=len(blocks),
                    in_channels=channels,
                    out_channels=stage["channels"],
                    stride=stage["stride"] if position == 0 else 1,
                    allowed=tuple(names.index(o) for o in own),
                )
            )
            channels = stage["channels"]
    if len(net.get("blocks", blocks)) != len(blocks):
        raise SpecError(
            f"network.blocks must name {len(blocks)} operators, one a block, not"
            f" {len(net['blocks'])}"
        )
    return Space(
        name=name,
        stem_channels=stem["channels"],
        stem_kernel=stem["kernel"],
        stem_stride=stem["stride"],
        head_channels=net["head"],
        fixed_bits=net["fixed_bits"],
        bits=tuple(sorted(net["bits"])),
        operators=tuple(Operator.parse(o) for o in names),
        blocks=tuple(blocks),
        constraints=dict(_checked(document.get("constraints", {}), "constraints")),
        accuracy_weight=weights["accuracy_weight"],
        cycles_weight=weights["cycles_weight"],
        memory_weight=weights["memory_weight"],
        augmentation=augmentation,
    )


def _operator_names(net: Mapping[str, Any], stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every operator that occurs, in the order of the file."""
    lists = [
        net.get("operators", []),
        *(stage.get("operators", []) for stage in stages),
        net.get("blocks", []),
    ]
    return list(dict.fromkeys(name for names in lists for name in names))


def fix(
    space: Space, *, bits: Sequence[int] | None = None, operators: Sequence[str] | None = None
) -> Space:
    """`space` with the bitwidths to choose from replaced, or the operator of every block given (a
    search for bits alone).

    With one bitwidth, this is DNA's search (Zhang et al. 2020).
    """
    if bits is not None:
        if not bits or any(b not in BITS for b in bits) or len(set(bits)) < len(bits):
            raise SpecError(f"bits must be different integers from 2 to 8, not {list(bits)!r}")
        space = replace(space, bits=tuple(sorted(bits)))
    if operators is not None:
        if len(operators) != len(space.blocks):
            raise SpecError(
                f"operators must name {len(space.blocks)} operators, one a block, not"
                f" {len(operators)}"
            )
        names = list(dict.fromkeys([*(o.name for o in space.operators), *operators]))
        space = replace(
            space,
            operators=tuple(Operator.parse(o) for o in names),
            blocks=tuple(
                replace(b, allowed=(names.index(o),))
                for b, o in zip(space.blocks, operators, strict=True)
            ),
        )
    return space


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A network of a space, and the number of the block that each layer inside one stands in."""

    network: Network
    block_of: Mapping[str, int]


def network(
    space: Space, choices: Sequence[Choice], shape: tuple[int, int, int], classes: Sequence[str]
) -> Network:
    """The network that `choices` (one a block) name, with shifts and multipliers still 0; `shape`
    is (C, H, W).
    """
    return place(space, choices, shape, classes).network


def place(
    space: Space, choices: Sequence[Choice], shape: tuple[int, int, int], classes: Sequence[str]
) -> Placed:
    """`network`, and where its layers stand."""
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
    source, block_of = "stem", dict[str, int]()
    for block, choice in zip(space.blocks, choices, strict=True):
        own = block_layers(block, operators[choice.operator], choice.bits, source)
        block_of |= {layer.name: block.index for layer in own}
        layers += own
        source = layers[-1].name
    layers.append(
        Layer(
            name="head",
            op="conv",
            input=source,
            out_channels=space.head_channels,
            weight_bits=fixed,
            bits=fixed,
        )
    )
    layers.append(
        Layer(
            name="pool",
            op="global_pool",
            input="head",
            out_channels=space.head_channels,
            bits=fixed,
        )
    )
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
    return Placed(
        network=Network(
            input=Tensor(name=INPUT, channels=c, height=h, width=w, bits=8, signed=False),
            layers=tuple(layers),
            classes=tuple(classes),
        ),
        block_of=block_of,
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

    def conv(
        part: str,
        source: str,
        channels: int,
        kernel: int,
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> Layer:
        return Layer(
            name=f"{name}_{part}",
            op="conv",
            input=source,
            out_channels=channels,
            groups=groups,
            kernel=(kernel, kernel),
            stride=stride,
            padding=(kernel // 2, kernel // 2),
            weight_bits=bits,
            bits=bits,
        )

    middle, residual = block.in_channels * operator.expansion, source if block.identity else None
    if operator.kind == "conv":
        return [
            replace(
                conv("project", source, block.out_channels, operator.kernel, stride),
                residual=residual,
            )
        ]
    if operator.kind == "basic":
        first = conv(
            "expand", source, block.out_channels * operator.expansion, operator.kernel, stride
        )
        return [
            first,
            replace(
                conv("project", first.name, block.out_channels, operator.kernel), residual=residual
            ),
        ]
    if operator.kind == "fused":
        first = conv("expand", source, middle, operator.kernel, stride)
        return [
            first,
            replace(
                conv("project", first.name, block.out_channels, 1), residual=residual, signed=True
            ),
        ]
    layers = [conv("expand", source, middle, 1, groups=operator.groups)]
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
        conv("depthwise", layers[-1].name, middle, operator.kernel, stride, groups=middle)
    )
    last = conv("project", layers[-1].name, block.out_channels, 1, groups=operator.groups)
    return [*layers, replace(last, residual=residual, signed=True)]
