"""A quantized integer network as a graph of layers, in the order in which they are evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from autonba.arithmetic import LOGIT_BITS, MAX_SHIFT, RESIDUAL_MULTIPLIER_BITS
from autonba.errors import SpecError
from autonba.names import check_name

INPUT = "input"  # name of the tensor that holds the image
RESERVED = (INPUT, "output")  # names of the accelerator's ends
GOLDEN = ("images", "labels")  # members of golden.npz beside the layers
MOST_CHANNELS = 65536
MOST_SIDE = 4096  # pixels of a map, and of a kernel
MOST_LAYERS = 2000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

Op = Literal["conv", "global_pool", "avg_pool", "max_pool", "shuffle"]
POOLS = ("global_pool", "avg_pool", "max_pool")


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Shape and number format of a feature map; `bits` counts the sign bit where `signed`."""

    name: str
    channels: int
    height: int
    width: int
    bits: int
    signed: bool


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operation; its output tensor bears its name.

    conv         convolution of any kernel, stride, padding and groups (a fully connected layer is a
                 1x1 kernel on a 1x1 map), requantized with `shift`, multipliers m[c] and, with a
                 residual, `residual_multiplier`
    global_pool  sum over the map, requantized (the 1/(HW) lies in m)
    avg_pool     sum over a window, requantized; padding counts as zeros
    max_pool     maximum over a window, requantized; padding does not count
    shuffle      channel c of the output is channel (c % g) * (C / g) + c // g of the input, g =
                 groups
    `raw` layers leave their accumulators as they are (logits).
    """

    name: str
    op: Op
    input: str
    residual: str | None = None
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    weight_bits: int = 8
    bits: int = 8
    signed: bool = False
    shift: int = 0
    residual_multiplier: int = 0
    raw: bool = False

    def __post_init__(self) -> None:
        def rule(ok: bool, field: str, value: object, must: str) -> None:
            if not ok:
                raise SpecError(f"layer {self.name!r}: {field} must be {must}, not {value!r}")

        rule(
            bool(_NAME.fullmatch(self.name)) and self.name not in (*RESERVED, *GOLDEN),
            "name",
            self.name[:80],
            "a letter followed by letters, digits or underscores, and none of"
            f" {', '.join((*RESERVED, *GOLDEN))}",
        )
        check_name(f"layer {self.name[:80]!r}", self.name)
        rule(
            self.op in ("conv", *POOLS, "shuffle"),
            "op",
            self.op,
            f"one of conv, {', '.join(POOLS)} and shuffle",
        )
        rule(
            1 <= self.out_channels <= MOST_CHANNELS,
            "out_channels",
            self.out_channels,
            f"from 1 to {MOST_CHANNELS}",
        )
        rule(
            self.groups >= 1 and self.out_channels % self.groups == 0,
            "groups",
            self.groups,
            f"a divisor of out_channels = {self.out_channels}",
        )
        for field, sizes in (("kernel", self.kernel), ("stride", self.stride)):
            rule(
                min(sizes) >= 1 and max(sizes) <= MOST_SIDE,
                field,
                list(sizes),
                f"from 1 to {MOST_SIDE} in each direction",
            )
        rule(
            0 <= self.padding[0] < self.kernel[0] and 0 <= self.padding[1] < self.kernel[1],
            "padding",
            list(self.padding),
            f"at least 0 and below the kernel {list(self.kernel)}",
        )
        rule(2 <= self.weight_bits <= 8, "weight_bits", self.weight_bits, "2 to 8")
        if self.raw:
            rule(
                self.bits == LOGIT_BITS and self.signed,
                "bits",
                self.bits,
                f"{LOGIT_BITS} and signed in a raw layer",
            )
            rule(self.residual is None, "residual", self.residual, "absent in a raw layer")
        else:
            rule(2 <= self.bits <= 8, "bits", self.bits, "2 to 8")
        rule(0 <= self.shift <= MAX_SHIFT, "shift", self.shift, f"0 to {MAX_SHIFT}")
        rule(
            0 <= self.residual_multiplier < 1 << RESIDUAL_MULTIPLIER_BITS,
            "residual_multiplier",
            self.residual_multiplier,
            f"0 to 2^{RESIDUAL_MULTIPLIER_BITS} - 1",
        )
        if self.op != "conv":
            rule(self.residual is None, "residual", self.residual, "absent except in a conv layer")
            rule(not self.raw, "raw", self.raw, "false except in a conv layer")

    @property
    def is_pool(self) -> bool:
        """Whether the layer has no weights but a window."""
        return self.op in POOLS

    @property
    def is_depthwise(self) -> bool:
        """Whether each output channel depends on the one input channel of the same number."""
        return self.is_pool or (
            self.op == "conv" and self.groups == self.out_channels and self.groups > 1
        )


@dataclass(frozen=True, kw_only=True)
class Network:
    """Layers in evaluation order; the last one's output is the result and `classes` names its
    channels.
    """

    input: Tensor
    layers: tuple[Layer, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.input.name != INPUT:
            raise SpecError(f"network input: name must be {INPUT!r}, not {self.input.name!r}")
        for field, most in (
            ("channels", MOST_CHANNELS),
            ("height", MOST_SIDE),
            ("width", MOST_SIDE),
        ):
            if not 1 <= getattr(self.input, field) <= most:
                raise SpecError(
                    f"network input: {field} must be from 1 to {most}, not"
                    f" {getattr(self.input, field)}"
                )
        if not 1 <= self.input.bits <= 8:
            raise SpecError(f"network input: bits must be 1 to 8, not {self.input.bits}")
        if not 1 <= len(self.layers) <= MOST_LAYERS:
            raise SpecError(
                f"network: layers must hold from 1 to {MOST_LAYERS} layers, not {len(self.layers)}"
            )
        if self.layers[-1].op == "shuffle":
            raise SpecError(
                f"layer {self.layers[-1].name!r}: op of the last layer must not be 'shuffle'"
            )
        tensors = self.tensors  # checks every shape
        if len(self.classes) != tensors[self.layers[-1].name].channels:
            raise SpecError(
                f"network: classes must name each of the {tensors[self.layers[-1].name].channels}"
                f" channels of the last layer {self.layers[-1].name!r}, not {len(self.classes)}"
            )
        odd = [name for name in self.classes if not (0 < len(name) <= 100 and name.isprintable())]
        if odd:
            raise SpecError(
                "network: classes must be names of 1 to 100 printable characters, not"
                f" {odd[0][:100]!r}"
            )
        unread = {layer.name for layer in self.layers[:-1]} - {
            t for lay in self.layers for t in sources(lay)
        }
        if unread:
            raise SpecError(
                f"layer {min(unread)!r}: its output must be read by a later layer, and none does"
            )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, the input first."""
        known = {INPUT: self.input}
        for layer in self.layers:
            if layer.name in known:
                raise SpecError(f"layer {layer.name!r}: name must be unique, and it is taken")
            for source in sources(layer):
                if source not in known:
                    raise SpecError(
                        f"layer {layer.name!r}: input must be {INPUT!r} or an earlier layer, not"
                        f" {source!r}"
                    )
            known[layer.name] = _output(layer, known)
        return known

    @property
    def output(self) -> Tensor:
        """The result tensor."""
        return self.tensors[self.layers[-1].name]

    def layer(self, name: str) -> Layer:
        """The layer called `name`."""
        return next(layer for layer in self.layers if layer.name == name)


def sources(layer: Layer) -> tuple[str, ...]:
    """Names of the tensors that `layer` reads."""
    return (layer.input,) if layer.residual is None else (layer.input, layer.residual)


def effective_kernel(layer: Layer, source: Tensor) -> tuple[int, int]:
    """Kernel of `layer`; a global pool covers the whole map."""
    return (source.height, source.width) if layer.op == "global_pool" else layer.kernel


def effective_stride(layer: Layer) -> tuple[int, int]:
    """Stride of `layer`; a global pool has one position."""
    return (1, 1) if layer.op == "global_pool" else layer.stride


def effective_padding(layer: Layer) -> tuple[int, int]:
    """Padding of `layer`; a global pool has none."""
    return (0, 0) if layer.op == "global_pool" else layer.padding


def effective_groups(layer: Layer, source: Tensor) -> int:
    """Groups of `layer`; a pool treats each channel alone."""
    return source.channels if layer.is_pool else layer.groups


def layer_macs(network: Network, layer: Layer) -> int:
    """Multiply-accumulates of one image in a layer that is no shuffle, padding included."""
    source, out = network.tensors[layer.input], network.tensors[layer.name]
    kh, kw = effective_kernel(layer, source)
    per_output = kh * kw * (source.channels // effective_groups(layer, source))
    return out.channels * out.height * out.width * per_output


def macs(network: Network) -> int:
    """Multiply-accumulates of one image (weights times positions; pooling and padding included)."""
    return sum(layer_macs(network, layer) for layer in network.layers if layer.op != "shuffle")


def _output(layer: Layer, known: dict[str, Tensor]) -> Tensor:
    source = known[layer.input]
    if layer.op != "conv" and layer.out_channels != source.channels:
        raise SpecError(
            f"layer {layer.name!r}: out_channels must equal the {source.channels} channels of"
            f" {layer.input!r}, not {layer.out_channels}"
        )
    if source.channels % layer.groups:
        raise SpecError(
            f"layer {layer.name!r}: groups must divide the {source.channels} channels of"
            f" {layer.input!r}, not {layer.groups}"
        )
    if layer.op == "shuffle":
        return Tensor(
            name=layer.name,
            channels=source.channels,
            height=source.height,
            width=source.width,
            bits=source.bits,
            signed=source.signed,
        )
    if layer.op == "global_pool":
        height = width = 1
    else:
        height, width = (
            (size + 2 * pad - k) // step + 1
            for size, pad, k, step in zip(
                (source.height, source.width),
                layer.padding,
                layer.kernel,
                layer.stride,
                strict=True,
            )
        )
    if height < 1 or width < 1:
        raise SpecError(
            f"layer {layer.name!r}: kernel {list(layer.kernel)} must fit the padded"
            f" {source.height}x{source.width} map of {layer.input!r}"
        )
    out = Tensor(
        name=layer.name,
        channels=layer.out_channels,
        height=height,
        width=width,
        bits=layer.bits,
        signed=layer.signed,
    )
    if layer.residual is not None:
        other = known[layer.residual]
        if (other.channels, other.height, other.width) != (out.channels, out.height, out.width):
            raise SpecError(
                f"layer {layer.name!r}: residual {layer.residual!r} must have the shape"
                f" {[out.channels, out.height, out.width]}, not"
                f" {[other.channels, other.height, other.width]}"
            )
    return out


def shuffle_order(channels: int, groups: int) -> Sequence[int]:
    """Input channel of each output channel of a channel shuffle (ShuffleNet, Zhang et al. 2018)."""
    return [(c % groups) * (channels // groups) + c // groups for c in range(channels)]
