"""Bundles with generated RTL for the simulation tests, made once, and copies of them to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from autonba.accelerator import Accelerator, Chunk
from autonba.bundle import Bundle, Design, Target, write_bundle
from autonba.cost.buffers import size_buffers
from autonba.golden import evaluate
from autonba.hwgen.generate import generate
from autonba.network import INPUT, Layer, Network, Tensor
from autonba.sim.example_designs import chip_design
from autonba.sim.random_designs import random_images, random_weights

IMAGES = 3


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small design with RTL; not to be changed."""
    bundle = chip_design().write(tmp_path_factory.mktemp("small") / "bundle", IMAGES)
    generate(bundle)
    return bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Three layers on two chunks, for what takes long: many images, and synthesis; not to be
    changed.
    """
    network = Network(
        input=Tensor(name=INPUT, channels=1, height=4, width=4, bits=8, signed=False),
        layers=(
            Layer(
                name="stem",
                op="conv",
                input=INPUT,
                out_channels=4,
                kernel=(3, 3),
                padding=(1, 1),
                weight_bits=4,
                bits=4,
                shift=12,
            ),
            Layer(
                name="wide",
                op="conv",
                input="stem",
                out_channels=4,
                kernel=(3, 3),
                padding=(1, 1),
                groups=4,
                weight_bits=4,
                bits=4,
                shift=12,
            ),
            Layer(
                name="logits",
                op="conv",
                input="wide",
                out_channels=2,
                kernel=(4, 4),
                raw=True,
                bits=32,
                signed=True,
                weight_bits=4,
            ),
        ),
        classes=("a", "b"),
    )
    chunks = (
        Chunk(name="conv0", kind="conv", out_lanes=2, in_lanes=2, drain_lanes=1, multiplier="dsp"),
        Chunk(
            name="depthwise0",
            kind="depthwise",
            out_lanes=2,
            in_lanes=2,
            drain_lanes=1,
            multiplier="lut",
        ),
    )
    accelerator = size_buffers(
        network,
        Accelerator(
            chunks=chunks, allocation={"stem": "conv0", "wide": "depthwise0", "logits": "conv0"}
        ),
    )
    noise = np.random.default_rng(1)
    images = random_images(network, noise, 5)
    network, weights = random_weights(network, noise, images)
    golden = {"images": images, "labels": np.zeros(5, dtype=np.int64)}
    golden |= {
        name: values for name, values in evaluate(network, weights, images).items() if name != INPUT
    }
    design = Design(
        name="tiny",
        network=network,
        accelerator=accelerator,
        target=Target(board="ulx3s-85f", clock_mhz=25.0),
        constraints={},
    )
    bundle = write_bundle(tmp_path_factory.mktemp("tiny"), design, weights, golden)
    generate(bundle)
    return bundle


@pytest.fixture
def spoilt(small: Bundle, tmp_path: Path) -> Bundle:
    """A copy of `small` for a fault to be planted in."""
    shutil.copytree(small.path, tmp_path / "bundle", ignore=shutil.ignore_patterns("sim", "report"))
    return Bundle(tmp_path / "bundle")


@pytest.fixture
def spoilt_tiny(tiny: Bundle, tmp_path: Path) -> Bundle:
    """A copy of `tiny` for a fault to be planted in."""
    shutil.copytree(tiny.path, tmp_path / "bundle", ignore=shutil.ignore_patterns("sim", "report"))
    return Bundle(tmp_path / "bundle")


@pytest.fixture(scope="session")
def simulator() -> str:
    """Icarus where it is installed, which is quicker on small designs, else Verilator."""
    return "icarus" if shutil.which("iverilog") else "verilator"


def plant(bundle: Bundle, file: str, old: str, new: str) -> None:
    """Replace the first `old` in a file of rtl/; it must be there."""
    path = bundle.path / "rtl" / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r} to spoil"
    path.write_text(text.replace(old, new, 1))
