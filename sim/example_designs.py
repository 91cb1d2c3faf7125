"""Small designs that use every part of the generator, always the same ones: for planted faults,
proofs and tests.
"""

from __future__ import annotations

from autonba.accelerator import Accelerator, Chunk, Loops
from autonba.bundle import Target
from autonba.cost.buffers import size_buffers
from autonba.network import INPUT, Layer, Network, Tensor

from .shrink import Subject

SEED = 1


def _subject(network: Network, accelerator: Accelerator) -> Subject:
    return Subject(
        network=network,
        accelerator=size_buffers(network, accelerator),
        target=Target(board="ulx3s-85f", clock_mhz=50.0),
        seed=SEED,
    )


def chip_design() -> Subject:
    """Packed conv chunk of taps and columns, depthwise chunk with maxima and a packed one, blocks
    outside, a residual.
    """
    network = Network(
        input=Tensor(name=INPUT, channels=3, height=4, width=5, bits=8, signed=False),
        layers=(
            Layer(
                name="stem",
                op="conv",
                input=INPUT,
                out_channels=6,
                kernel=(3, 3),
                padding=(1, 1),
                weight_bits=5,
                bits=6,
                signed=True,
            ),
            Layer(
                name="depth",
                op="conv",
                input="stem",
                out_channels=6,
                kernel=(3, 3),
                padding=(1, 1),
                groups=6,
                weight_bits=4,
                bits=7,
                signed=True,
            ),
            Layer(
                name="top",
                op="max_pool",
                input="depth",
                out_channels=6,
                kernel=(3, 3),
                padding=(1, 1),
                bits=5,
                signed=True,
            ),
            Layer(
                name="mix",
                op="conv",
                input="top",
                residual="stem",
                out_channels=6,
                weight_bits=4,
                bits=5,
                signed=True,
            ),
            Layer(
                name="down",
                op="conv",
                input="mix",
                out_channels=5,
                kernel=(3, 3),
                padding=(1, 0),
                stride=(2, 2),
                weight_bits=3,
                bits=4,
            ),
            Layer(
                name="logits",
                op="conv",
                input="down",
                out_channels=3,
                kernel=(2, 2),
                raw=True,
                bits=32,
                signed=True,
                weight_bits=4,
            ),
        ),
        classes=("a", "b", "c"),
    )
    chunks = (
        Chunk(
            name="packs",
            kind="conv",
            out_lanes=6,
            in_lanes=2,
            taps=2,
            columns=2,
            drain_lanes=2,
            multiplier="packed",
        ),
        Chunk(
            name="wide",
            kind="depthwise",
            out_lanes=2,
            in_lanes=2,
            taps=2,
            columns=3,
            drain_lanes=1,
            multiplier="packed",
        ),
        Chunk(
            name="peaks",
            kind="depthwise",
            out_lanes=2,
            in_lanes=2,
            columns=2,
            drain_lanes=1,
            multiplier="dsp",
        ),
        Chunk(name="blocks", kind="conv", out_lanes=2, in_lanes=4, drain_lanes=1, multiplier="lut"),
    )
    return _subject(
        network,
        Accelerator(
            chunks=chunks,
            allocation={
                "stem": "packs",
                "depth": "wide",
                "top": "peaks",
                "mix": "packs",
                "down": "blocks",
                "logits": "blocks",
            },
            loops={"down": Loops(order="block_outer", rows=2), "mix": Loops(rows=2)},
        ),
    )


def stream_design() -> Subject:
    """Weights of several blocks from DRAM."""
    network = Network(
        input=Tensor(name=INPUT, channels=2, height=4, width=8, bits=8, signed=False),
        layers=(
            Layer(
                name="stem",
                op="conv",
                input=INPUT,
                out_channels=8,
                kernel=(3, 3),
                padding=(1, 1),
                weight_bits=5,
                bits=6,
            ),
            Layer(
                name="logits",
                op="conv",
                input="stem",
                out_channels=6,
                kernel=(4, 8),
                raw=True,
                bits=32,
                signed=True,
                weight_bits=6,
            ),
        ),
        classes=("a", "b", "c", "d", "e", "f"),
    )
    chunk = Chunk(
        name="streams", kind="conv", out_lanes=2, in_lanes=4, drain_lanes=1, multiplier="dsp"
    )
    return _subject(
        network,
        Accelerator(
            chunks=(chunk,),
            allocation={"stem": "streams", "logits": "streams"},
            stream_bits=32,
            loops={
                name: Loops(order="block_outer", weights="stream") for name in ("stem", "logits")
            },
        ),
    )
