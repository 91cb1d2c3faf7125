"""The benchmarks' networks have the published sizes."""

from __future__ import annotations

import pytest

from autonba.network import Network
from benchmarks.networks import (
    NETWORKS,
    multiplications,
    paper_inner,
    paper_network,
    weight_bits,
    with_weights,
)


def inner(network: Network) -> list[str]:
    """Convolutions of the blocks, without stem and classifier."""
    own = paper_inner()
    return [layer.name for layer in network.layers if layer.op == "conv" and layer.name in own]


def test_paper_network_is_the_authors() -> None:
    """As their cost model counts it: 70 convolutions, each group of a grouped one by itself, and
    100.3 M MAC.
    """
    network = paper_network()
    own = inner(network)
    assert (
        sum(
            1 if layer.groups == layer.out_channels else layer.groups
            for layer in network.layers
            if layer.name in own and layer.op == "conv"
        )
        == 70
    )
    assert multiplications(network, own) == 100_283_904
    tensors = network.tensors
    assert [tensors[f"b{i}_project"].height for i in range(22)] == [32] * 5 + [16] * 4 + [8] * 8 + [
        4
    ] * 5


def test_paper_network_at_224() -> None:
    tensors = paper_network(224).tensors
    assert [tensors[f"b{i}_project"].height for i in range(22)] == [112] + [56] * 4 + [28] * 4 + [
        14
    ] * 8 + [7] * 5


def test_paper_blocks_multiply_operands_of_their_own_bits() -> None:
    network = paper_network()
    tensors = network.tensors
    assert all(
        tensors[layer.input].bits == layer.weight_bits
        for layer in network.layers
        if layer.name in inner(network)
    )


def test_other_sizes() -> None:
    assert multiplications(NETWORKS["resnet8"]()) == 12_501_632  # MLPerf Tiny: 12.5 M
    assert sum(weight_bits(NETWORKS["resnet8"]()).values()) / 8 == 77_360
    assert round(multiplications(NETWORKS["mobilenet"]()) / 1e6, 1) == 23.7


@pytest.mark.parametrize("name", ["resnet8", "mobilenet"])
def test_random_weights_use_the_range(name: str) -> None:
    network, _, golden = with_weights(NETWORKS[name](), images=2)
    last = network.layers[-1].name
    assert golden[last].std() > 0
    assert all(
        values.std() > 0.5 for name, values in golden.items() if name not in ("labels", last)
    )
