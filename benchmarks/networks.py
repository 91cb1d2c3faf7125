"""Networks of the benchmarks, with random integers for weights, and bundles of them.

* The 22-block network that Auto-NBA's authors publish with their cost model, for 32x32 and 224x224
  images. Blocks, bits and sizes are theirs (github.com/GATECH-EIC/Auto-NBA,
  analytical_model/analytical_prediction.py): as in that model, a block's stride lies in its first
  1x1 convolution, and both operands of a block's convolutions have the block's bits.
* A MobileNetV2 (Sandler et al. 2018, table 2) of half width with the strides for 32x32 images.
* ResNet-8 of MLPerf Tiny.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from autonba.accelerator import Accelerator
from autonba.arithmetic import LOGIT_BITS
from autonba.bundle import Bundle, Design, Target, write_bundle
from autonba.golden import Weights, evaluate
from autonba.network import INPUT, Layer, Network, Tensor, layer_macs
from autonba.sim.random_designs import random_images, random_weights

PAPER_BLOCKS = (
    "k5_e6",
    "k5_e6",
    "k3_e1",
    "k5_e3",
    "k5_e3",
    "k5_e6",
    "k5_e1_g2",
    "k5_e1",
    "k5_e6",
    "k5_e6",
    "k5_e3",
    "k5_e6",
    "k5_e1_g2",
    "k3_e6",
    "k5_e6",
    "k3_e3",
    "k5_e6",
    "k5_e6",
    "k5_e3",
    "k5_e6",
    "k5_e3",
    "k5_e6",
)
PAPER_BITS = (6, 8, 6, 6, 4, 8, 6, 6, 6, 8, 6, 8, 8, 8, 6, 6, 6, 6, 6, 6, 6, 6)
PAPER_CHANNELS = (16, *(24,) * 4, *(32,) * 4, *(64,) * 4, *(112,) * 4, *(192,) * 4, 352)
PAPER_STEM = 16
PAPER_STRIDED = {32: (5, 9, 17), 224: (1, 5, 9, 17)}  # by image size, the blocks of stride 2
MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _Chain:
    """Layers in the making; `last` is the newest tensor, `inner` the layers of bottlenecks."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.inner: list[str] = []
        self.last = INPUT

    def conv(
        self,
        name: str,
        channels: int,
        kernel: int,
        bits: tuple[int, int],
        *,
        source: str | None = None,
        stride: int = 1,
        groups: int = 1,
        signed: bool = False,
        residual: str | None = None,
    ) -> str:
        """A convolution that keeps the map's size but for the stride; `bits` of its weights and of
        its output.
        """
        return self.add(
            Layer(
                name=name,
                op="conv",
                input=source or self.last,
                residual=residual,
                out_channels=channels,
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=(kernel // 2, kernel // 2),
                groups=groups,
                weight_bits=bits[0],
                bits=bits[1],
                signed=signed,
            )
        )

    def bottleneck(
        self,
        name: str,
        inside: int,
        channels: int,
        kernel: int,
        bits: tuple[int, int],
        *,
        groups: int = 1,
        strides: tuple[int, int] = (1, 1),
        residual: bool,
    ) -> None:
        """1x1 expansion, channel shuffle of grouped convolutions, depthwise, linear 1x1; `strides`
        of the first two.
        """
        source, own, before = self.last, (bits[0], bits[0]), len(self.layers)
        if inside:
            self.conv(f"{name}_expand", inside, 1, own, stride=strides[0], groups=groups)
        width = inside or PAPER_STEM
        if groups > 1:
            self.add(
                Layer(
                    name=f"{name}_shuffle",
                    op="shuffle",
                    input=self.last,
                    out_channels=width,
                    groups=groups,
                )
            )
        self.conv(f"{name}_depthwise", width, kernel, own, stride=strides[1], groups=width)
        self.conv(
            f"{name}_project",
            channels,
            1,
            bits,
            groups=groups,
            signed=True,
            residual=source if residual else None,
        )
        self.inner += [layer.name for layer in self.layers[before:]]

    def classify(self, channels: int, classes: int, bits: int) -> None:
        """Mean over the map and a fully connected layer."""
        self.add(
            Layer(
                name="pool",
                op="global_pool",
                input=self.last,
                out_channels=channels,
                bits=bits,
                signed=self.layers[-1].signed,
            )
        )
        self.add(
            Layer(
                name="classifier",
                op="conv",
                input="pool",
                out_channels=classes,
                weight_bits=bits,
                bits=LOGIT_BITS,
                signed=True,
                raw=True,
            )
        )

    def add(self, layer: Layer) -> str:
        self.layers.append(layer)
        self.last = layer.name
        return layer.name

    def network(self, size: int, classes: int) -> Network:
        return Network(
            input=Tensor(name=INPUT, channels=3, height=size, width=size, bits=8, signed=False),
            layers=tuple(self.layers),
            classes=tuple(f"class{i}" for i in range(classes)),
        )


def paper_network(size: int = 32) -> Network:
    """The authors' 22 blocks for images of `size` 32 or 224, between a stem, a mean over the map
    and a classifier.

    Their cost model counts the blocks alone; stem and classifier are what a network needs beside
    them.
    """
    return _paper(size).network(size, 10 if size == 32 else 1000)


def paper_inner() -> list[str]:
    """Layers of the authors' blocks, without stem, mean and classifier."""
    return _paper(32).inner


def _paper(size: int) -> _Chain:
    chain = _Chain()
    chain.conv("stem", PAPER_STEM, 3, (8, PAPER_BITS[0]), stride=1 if size == 32 else 2)
    channels = PAPER_STEM
    for index, (block, bits, out) in enumerate(
        zip(PAPER_BLOCKS, PAPER_BITS, PAPER_CHANNELS, strict=True)
    ):
        stride = 2 if index in PAPER_STRIDED[size] else 1
        chain.bottleneck(
            f"b{index}",
            channels * int(block[4]),
            out,
            int(block[1]),
            (bits, PAPER_BITS[min(index + 1, len(PAPER_BITS) - 1)]),
            groups=2 if block.endswith("_g2") else 1,
            strides=(stride, 1),
            residual=stride == 1 and channels == out,
        )
        channels = out
    chain.classify(channels, 10 if size == 32 else 1000, 8)
    return chain


def mobilenet_v2() -> Network:
    """MobileNetV2 of half width with 8 bits, stride 1 in the stem and in the first two stages, as
    is usual for 32x32 images.
    """
    chain, eight = _Chain(), (8, 8)
    chain.conv("stem", PAPER_STEM, 3, eight)
    channels, index = PAPER_STEM, 0
    for expansion, full, blocks, first in MOBILENET_STAGES:
        out = full // 2
        for position in range(blocks):
            stride = first if position == 0 else 1
            chain.bottleneck(
                f"b{index}",
                channels * expansion if expansion > 1 else 0,
                out,
                3,
                eight,
                strides=(1, stride),
                residual=stride == 1 and channels == out,
            )
            channels, index = out, index + 1
    chain.conv("head", 640, 1, eight)
    chain.classify(640, 10, 8)
    return chain.network(32, 10)


def resnet8() -> Network:
    """ResNet-8 of MLPerf Tiny (CIFAR-10) with 8 bits: three stages of one residual block."""
    chain, eight = _Chain(), (8, 8)
    chain.conv("stem", 16, 3, eight)
    for stage, channels in enumerate((16, 32, 64)):
        source, stride = chain.last, 1 if stage == 0 else 2
        chain.conv(f"s{stage}_first", channels, 3, eight, stride=stride)
        first = chain.last
        skip = (
            source
            if stage == 0
            else chain.conv(
                f"s{stage}_skip", channels, 1, eight, source=source, stride=2, signed=True
            )
        )
        chain.conv(f"s{stage}_second", channels, 3, eight, source=first, residual=skip)
    chain.classify(64, 10, 8)
    return chain.network(32, 10)


def digits() -> Network:
    """A network for the 8x8 grey images of `autonba search`: three inverted bottlenecks of 6
    bits.
    """
    chain, six = _Chain(), (6, 6)
    chain.conv("stem", PAPER_STEM, 3, (8, 6))
    for index, (inside, channels, kernel, stride) in enumerate(
        ((48, 16, 3, 1), (96, 24, 5, 2), (144, 24, 3, 1))
    ):
        chain.bottleneck(
            f"b{index}", inside, channels, kernel, six, strides=(1, stride), residual=stride == 1
        )
    chain.conv("head", 64, 1, six)
    chain.classify(64, 10, 8)
    three = chain.network(8, 10)
    return replace(three, input=replace(three.input, channels=1))


NETWORKS = {"paper": paper_network, "mobilenet": mobilenet_v2, "resnet8": resnet8}


def multiplications(network: Network, layers: Sequence[str] | None = None) -> int:
    """Multiply-accumulates of one image in convolutions (padding included, pools not), of all
    layers or of `layers`.
    """
    return sum(
        layer_macs(network, layer)
        for layer in network.layers
        if layer.op == "conv" and (layers is None or layer.name in layers)
    )


def weight_bits(network: Network) -> dict[str, int]:
    """Bits of each convolution's weights."""
    tensors = network.tensors
    return {
        layer.name: (
            layer.weight_bits
            * layer.out_channels
            * layer.kernel[0]
            * layer.kernel[1]
            * (tensors[layer.input].channels // layer.groups)
        )
        for layer in network.layers
        if layer.op == "conv"
    }


def with_weights(
    network: Network, images: int = 2, seed: int = 1
) -> tuple[Network, Weights, dict[str, np.ndarray]]:
    """Random weights, the network with the shifts that suit them, and golden.npz's arrays for noise
    images.
    """
    rng = np.random.default_rng(seed)
    pictures = random_images(network, rng, images)
    network, weights = random_weights(network, rng, pictures)
    golden = {"images": pictures, "labels": np.zeros(images, dtype=np.int64)}
    return (
        network,
        weights,
        golden | {k: v for k, v in evaluate(network, weights, pictures).items() if k != INPUT},
    )


def write_design(
    path: Path,
    name: str,
    network: Network,
    weights: Weights,
    golden: dict[str, np.ndarray],
    accelerator: Accelerator,
    *,
    board: str = "zc706",
    clock_mhz: float = 200.0,
) -> Bundle:
    """Write the bundle of a benchmark."""
    design = Design(
        name=name,
        network=network,
        accelerator=accelerator,
        target=Target(board=board, clock_mhz=clock_mhz),
        constraints={},
    )
    return write_bundle(path, design, weights, golden)
