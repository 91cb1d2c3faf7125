"""A small design for the flow tests: two-channel 6 x 5 images, five layers on a conv and a
depthwise chunk, three classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autonba.accelerator import Accelerator, Chunk
from autonba.bundle import Bundle, Design, Target, write_bundle
from autonba.cost.buffers import size_buffers
from autonba.golden import LayerWeights, evaluate
from autonba.network import Layer, Network, Tensor


def network() -> Network:
    """Stem, depthwise, pointwise with residual, pool, classifier."""
    return Network(
        input=Tensor(name="input", channels=2, height=6, width=5, bits=8, signed=False),
        layers=(
            Layer(
                name="stem",
                op="conv",
                input="input",
                out_channels=8,
                kernel=(3, 3),
                padding=(1, 1),
                shift=14,
            ),
            Layer(
                name="depth",
                op="conv",
                input="stem",
                out_channels=8,
                kernel=(3, 3),
                padding=(1, 1),
                groups=8,
                shift=14,
            ),
            Layer(
                name="point",
                op="conv",
                input="depth",
                residual="stem",
                out_channels=8,
                signed=True,
                shift=15,
                residual_multiplier=1 << 14,
            ),
            Layer(
                name="pool", op="global_pool", input="point", out_channels=8, signed=True, shift=12
            ),
            Layer(
                name="classify",
                op="conv",
                input="pool",
                out_channels=3,
                bits=32,
                signed=True,
                raw=True,
            ),
        ),
        classes=("a", "b", "c"),
    )


def write(path: Path, board: str = "ulx3s-85f", clock_mhz: float = 50.0, images: int = 3) -> Bundle:
    """The design's bundle in `path`, without RTL."""
    net = network()
    accelerator = size_buffers(
        net,
        Accelerator(
            chunks=(
                Chunk(
                    name="c0", kind="conv", out_lanes=4, in_lanes=2, drain_lanes=2, multiplier="dsp"
                ),
                Chunk(
                    name="d0",
                    kind="depthwise",
                    out_lanes=2,
                    in_lanes=2,
                    drain_lanes=1,
                    multiplier="lut",
                ),
            ),
            allocation={"stem": "c0", "depth": "d0", "point": "c0", "pool": "d0", "classify": "c0"},
        ),
    )
    rng = np.random.default_rng(7)
    weights = {}
    for layer in net.layers:
        source = net.tensors[layer.input]
        if layer.op == "conv":
            shape = (layer.out_channels, source.channels // layer.groups, *layer.kernel)
            weights[layer.name] = LayerWeights(
                weight=rng.integers(-128, 128, shape),
                bias=rng.integers(-500, 500, layer.out_channels),
                m=None if layer.raw else rng.integers(100, 400, layer.out_channels),
            )
        else:
            weights[layer.name] = LayerWeights(m=rng.integers(100, 200, layer.out_channels))
    x = rng.integers(0, 256, (images, 2, 6, 5))
    golden = evaluate(net, weights, x)
    design = Design(
        name="small",
        network=net,
        accelerator=accelerator,
        target=Target(board=board, clock_mhz=clock_mhz),
        constraints={},
    )
    arrays = {name: values for name, values in golden.items() if name != "input"}
    return write_bundle(
        path, design, weights, arrays | {"images": x, "labels": np.zeros(images, dtype=np.int64)}
    )


def placeholder(path: Path, board: str) -> Bundle:
    """The design's bundle for `board`, with RTL that is only there by name."""
    bundle = write(path, board)
    write_placeholder_rtl(bundle)
    return bundle


def write_placeholder_rtl(bundle: Bundle) -> None:
    """Files that look like generated ones, for tests of plans only."""
    rtl = bundle.path / "rtl"
    rtl.mkdir()
    for name in ("accelerator.v", "row_buffer.v", "uart_front.v"):
        (rtl / name).write_text(
            f"// design {bundle.digest[:16]}\nmodule {name[:-2]} ();\nendmodule\n"
        )
    (rtl / "rtl.f").write_text("accelerator.v\nrow_buffer.v\n")
    (rtl / "c0_weights.hex").write_text("00\n")
