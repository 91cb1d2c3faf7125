"""A small network with everything a stage can hold: residual, channel shuffle, depthwise layers,
both kinds of pools.
"""

from __future__ import annotations

from autonba.network import INPUT, Layer, Network, Tensor


def staged_network() -> Network:
    """12x12 images; groups of two with a shuffle, then a maximum, then a strided depthwise
    layer.
    """
    six = {"weight_bits": 6, "bits": 6}
    return Network(
        input=Tensor(name=INPUT, channels=3, height=12, width=12, bits=8, signed=False),
        layers=(
            Layer(
                name="stem",
                op="conv",
                input=INPUT,
                out_channels=16,
                kernel=(3, 3),
                padding=(1, 1),
                shift=9,
                **six,
            ),
            Layer(
                name="expand", op="conv", input="stem", out_channels=24, groups=2, shift=8, **six
            ),
            Layer(name="mixed", op="shuffle", input="expand", out_channels=24, groups=2),
            Layer(
                name="depthwise",
                op="conv",
                input="mixed",
                out_channels=24,
                groups=24,
                kernel=(3, 3),
                padding=(1, 1),
                shift=7,
                **six,
            ),
            Layer(
                name="project",
                op="conv",
                input="depthwise",
                out_channels=16,
                signed=True,
                residual="stem",
                residual_multiplier=300,
                shift=10,
                **six,
            ),
            Layer(
                name="maximum",
                op="max_pool",
                input="project",
                out_channels=16,
                kernel=(2, 2),
                stride=(2, 2),
                bits=6,
                signed=True,
            ),
            Layer(
                name="strided",
                op="conv",
                input="maximum",
                out_channels=16,
                groups=16,
                kernel=(5, 5),
                stride=(2, 2),
                padding=(2, 2),
                weight_bits=4,
                bits=8,
                shift=6,
            ),
            Layer(
                name="head",
                op="conv",
                input="strided",
                out_channels=40,
                weight_bits=8,
                bits=8,
                shift=9,
            ),
            Layer(name="pool", op="global_pool", input="head", out_channels=40, bits=8),
            Layer(
                name="logits",
                op="conv",
                input="pool",
                out_channels=10,
                weight_bits=8,
                bits=32,
                signed=True,
                raw=True,
            ),
        ),
        classes=tuple("abcdefghij"),
    )
