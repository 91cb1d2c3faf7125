"""Weights that are loaded at run time: the whole accelerator computes with them, and planted faults
are found.
"""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from autonba.accelerator import Loops
from autonba.arithmetic import value_range
from autonba.bundle import Bundle, write_bundle
from autonba.cost.buffers import size_buffers
from autonba.cost.schedule import simulate as predict
from autonba.errors import SpecError
from autonba.golden import LayerWeights, Weights, evaluate
from autonba.hwgen.generate import generate
from autonba.mapping import plan
from autonba.network import INPUT
from autonba.registers import Register
from autonba.sim.lint import lint
from autonba.sim.network_bench import BenchSettings
from autonba.sim.run import prepare
from autonba.sim.runner import run
from autonba.sim.structure import check
from autonba.weight_load import load_images, load_targets, load_writes
from tests.sim.conftest import plant


def other_weights(weights: Weights) -> dict[str, LayerWeights]:
    """The same numbers for other channels: they keep every range."""
    return {
        name: LayerWeights(
            **{
                f.name: None if (v := getattr(own, f.name)) is None else np.roll(v, 1, axis=0)
                for f in fields(LayerWeights)
            }
        )
        for name, own in weights.items()
    }


@pytest.fixture(scope="module", params=[(32, False), (64, True)], ids=["chip", "partly streamed"])
def pair(
    request: pytest.FixtureRequest, tiny: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Bundle]:
    """A loadable bundle with RTL, and one with other weights, golden values of its own and no
    RTL.
    """
    bits, streamed = request.param
    loops = {"logits": Loops(order="block_outer", weights="stream")} if streamed else {}
    accelerator = replace(tiny.design.accelerator, loadable=True, stream_bits=bits, loops=loops)
    design = replace(tiny.design, accelerator=size_buffers(tiny.design.network, accelerator))
    folder = tmp_path_factory.mktemp("loaded")
    built = write_bundle(folder / "built", design, tiny.weights, tiny.golden)
    generate(built)
    weights = other_weights(tiny.weights)
    if streamed:  # what the DRAM holds is not loaded
        weights["logits"] = tiny.weights["logits"]
    images = tiny.golden["images"]
    golden = {"images": images, "labels": tiny.golden["labels"]}
    golden |= {
        name: values
        for name, values in evaluate(design.network, weights, images).items()
        if name != INPUT
    }
    assert any(
        (golden[layer.name] != tiny.golden[layer.name]).any() for layer in design.network.layers
    )
    return built, write_bundle(folder / "other", design, weights, golden)


def load(built: Bundle, other: Bundle, folder: Path, simulator: str) -> str:
    """Load the weights of `other` into the RTL of `built`; returns the bench's failure, or an empty
    text.
    """
    prepared = prepare(built, simulator, folder=folder)
    settings = folder / "load.json"
    BenchSettings(
        bundle=str(other.path.resolve()),
        runs=(),
        stalled_images=0,
        image_cycles=predict(prepared.plan, 1).first_image,
        seed=1,
    ).write(settings)
    verdicts = run(
        prepared.tools,
        top="testbench",
        module="autonba.sim.load_bench",
        folder=folder,
        environment={"AUTONBA_BENCH": str(settings.resolve())},
    )
    return verdicts[0].failure


def test_results_are_those_of_the_loaded_weights(
    pair: tuple[Bundle, Bundle], tmp_path: Path, simulator: str
) -> None:
    assert load(*pair, tmp_path, simulator) == ""


@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_any_weights_can_be_loaded(
    pair: tuple[Bundle, Bundle], tmp_path: Path, simulator: str, end: str
) -> None:
    """Weights at an end of their range, and biases as large as what the products reach, on an image
    at its upper end.
    """
    built, _ = pair
    network, images = built.design.network, built.golden["images"]
    assert images.max(axis=(1, 2, 3)).tolist()[0] == images[0].min() == 255
    weights = dict(built.weights)
    for layer in network.layers:
        if (
            built.design.accelerator.loops_of(layer.name).weights == "stream"
        ):  # what the DRAM holds is not loaded
            continue
        own, source = weights[layer.name], network.tensors[layer.input]
        assert own.weight is not None
        assert own.bias is not None
        weight = value_range(layer.weight_bits, True)[end == "highest"]
        products = weight * own.weight[0].size * value_range(source.bits, source.signed)[1]
        weights[layer.name] = replace(
            own, weight=np.full_like(own.weight, weight), bias=np.full_like(own.bias, products)
        )
    golden = {"images": images, "labels": built.golden["labels"]}
    golden |= {
        name: values for name, values in evaluate(network, weights, images).items() if name != INPUT
    }
    assert set(golden["stem"][0].ravel().tolist()) == {15 if end == "highest" else 0}
    other = write_bundle(tmp_path / "other", built.design, weights, golden)
    assert load(built, other, tmp_path / "bench", simulator) == ""


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("accelerator.v", ".load_parameters(load_enable[1])", ".load_parameters(load_enable[0])"),
        (
            "chunk_conv0.v",
            ".write_address(weight_write_address)",
            ".write_address(~weight_write_address)",
        ),
        (
            "chunk_depthwise0.v",
            "load_parameters & (load_slice == 1'd0)",
            "load_parameters & (load_slice != 1'd0)",
        ),
        ("host_registers.v", "assign stopped =", "assign stopped = 1'b1 |"),
        ("loader.v", "assign checksum = ~ crc", "assign checksum = crc"),
    ],
)
def test_faults_are_found(
    pair: tuple[Bundle, Bundle],
    tmp_path: Path,
    simulator: str,
    file: str,
    old: str,
    new: str,
) -> None:
    built, other = pair
    shutil.copytree(built.path, tmp_path / "built", ignore=shutil.ignore_patterns("sim"))
    spoilt = Bundle(tmp_path / "built")
    plant(spoilt, file, old, new)
    assert "must" in load(spoilt, other, tmp_path / "bench", simulator)


def test_loadable_rtl_is_lint_clean_and_built_as_planned(pair: tuple[Bundle, Bundle]) -> None:
    assert lint(pair[0]) == []
    assert check(pair[0]).problems == []


def test_writes_and_checksum_cover_every_memory(pair: tuple[Bundle, Bundle]) -> None:
    built, other = pair
    mapped = plan(built.design.network, built.design.accelerator, built.weights)
    bits = mapped.accelerator.stream_bits
    images = load_images(mapped, other.weights)
    for target, image in zip(load_targets(mapped), images, strict=True):
        assert len(image) == target.words * target.slices(bits) * bits // 8
    writes, checksum = load_writes(mapped, other.weights)
    assert len(writes) == 1 + len(images) + sum(map(len, images)) // 4
    data = b"".join(
        value.to_bytes(4, "little") for register, value in writes if register == Register.LOAD_DATA
    )
    assert data == b"".join(images)
    assert checksum == zlib.crc32(data)


def test_biases_that_the_accumulators_cannot_hold_are_refused(pair: tuple[Bundle, Bundle]) -> None:
    built, _ = pair
    mapped = plan(built.design.network, built.design.accelerator, built.weights)
    stem = built.weights["stem"]
    assert stem.bias is not None
    bits = mapped.chunks[0].acc_bits
    for bias in (
        1 << 28,
        1 << (bits - 1),
        -(1 << (bits - 1)) - 1,
    ):  # the last two are one bit too wide
        wide = {**built.weights, "stem": replace(stem, bias=np.full_like(stem.bias, bias))}
        with pytest.raises(SpecError, match="accumulators"):
            load_images(mapped, wide)


def test_a_bundle_says_whether_it_is_loadable(pair: tuple[Bundle, Bundle]) -> None:
    document = json.loads((pair[0].path / "design.json").read_text())
    assert document["accelerator"]["loadable"] is True
