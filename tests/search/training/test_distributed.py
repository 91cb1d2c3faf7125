"""Two processes on the CPU take the step that one takes on the whole batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autonba.bundle import Bundle
from autonba.errors import SpecError
from autonba.search.network import spaces
from autonba.search.network.spaces import Choice
from autonba.search.network.supernet import Supernet
from autonba.search.training import distributed, train
from autonba.search.training.augmentation import Feed
from autonba.search.training.compute import Compute
from autonba.search.training.datasets import Split

ROOT = Path(__file__).parents[3]


def split() -> Split:
    rng = np.random.default_rng(0)
    return Split(
        images=rng.integers(0, 256, (24, 1, 8, 8), dtype=np.uint8), labels=np.arange(24) % 3
    )


def space():
    return spaces.load("digits")


def training_step(folder: Path) -> dict[str, torch.Tensor]:
    """Gradients, batch statistics, first scales and loss of one step of training, in float and
    quantized.

    In float64: else the last bit of a sum, which depends on its order, now and then tips a value to
    the next integer.
    """
    found = {}
    for quantized in (False, True):
        torch.manual_seed(1)
        generator = torch.Generator().manual_seed(1)
        choices = [Choice(operator="k3_e3", bits=4)] * len(space().blocks)
        model = train.Model(spaces.network(space(), choices, (1, 8, 8), ("a", "b", "c"))).double()
        feed = Feed(split(), "flip_crop")
        x, labels = feed(feed.order(generator), generator)
        loss = F.cross_entropy(model(x.double(), quantized), labels)
        Compute().step(loss, torch.optim.SGD(model.parameters(), lr=0.1), clip=1.0)
        own = {name: p.grad for name, p in model.named_parameters() if p.grad is not None} | dict(
            model.named_buffers()
        )
        own |= {f"value {name}": p.detach() for name, p in model.named_parameters()} | {
            "loss": distributed.mean(loss.detach())
        }
        found |= {f"{quantized} {name}": value for name, value in own.items()}
    return found


def training_history(folder: Path) -> dict[str, torch.Tensor]:
    """What `fit` tells of two epochs in float."""
    torch.manual_seed(1)
    choices = [Choice(operator="k3_e3", bits=4)] * len(space().blocks)
    model = train.Model(spaces.network(space(), choices, (1, 8, 8), ("a", "b", "c")))
    recipe = train.Recipe(epochs=2, batch=12, rate=1e-3, augmentation="affine")
    history = train.fit(model, split(), recipe, seed=1, quantized=False, val=split())
    return {name: torch.tensor([facts[name] for facts in history]) for name in history[0]}


def supernet_step(folder: Path) -> dict[str, torch.Tensor]:
    """Gradients of weights, alpha and beta of one draw, and the extents it leaves."""
    torch.manual_seed(2)
    generator = torch.Generator().manual_seed(2)
    feed, net = Feed(split(), "affine"), Supernet(space(), (1, 8, 8), ("a", "b", "c")).double()
    x, labels = feed(feed.order(generator), generator)
    draw = net.draw(
        paths=2, how="heterogeneous", for_weights=False, temperature=1.0, generator=generator
    )
    loss = F.cross_entropy(net(x.double(), draw), labels)
    Compute().step(loss, torch.optim.SGD(net.parameters(), lr=0.1))
    found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    return found | {name: value for name, value in net.named_buffers() if "extent" in name}


def norm(folder: Path) -> dict[str, torch.Tensor]:
    """Output, gradients and statistics of a batch norm whose batch is far from centred, also of a
    second batch.
    """
    layer = distributed.GlobalBatchNorm2d(3)
    x = torch.randn(8, 3, 4, 5, generator=torch.Generator().manual_seed(1)) * 2 + 40
    own = distributed.shard(x).clone().requires_grad_()
    weight = distributed.shard(torch.randn(x.shape, generator=torch.Generator().manual_seed(3)))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.5, -2.0]))
    layer(own)
    y = layer(own)
    (y * weight).mean().backward()
    distributed.average_gradients(layer.parameters())
    parts = {"y": y.detach(), "dx": own.grad / distributed.world()}
    whole = {name: part.new_zeros(x.shape) for name, part in parts.items()}
    for name, part in parts.items():
        whole[name][distributed.rank() * len(part) :][: len(part)] = part
    gathered = {name: distributed.total(part) for name, part in whole.items()}
    return gathered | {n: p.grad for n, p in layer.named_parameters()} | dict(layer.named_buffers())


def messages(folder: Path) -> dict[str, torch.Tensor]:
    """What the main process alone does reaches all; its errors too."""
    value = distributed.from_main(lambda: {"rank": distributed.rank(), "x": [1.5]})
    try:
        distributed.from_main(lambda: (_ for _ in ()).throw(SpecError("told by one")))
    except SpecError as error:
        value["error"] = str(error)
    (folder / f"{distributed.rank()} of {distributed.world()}").write_text(str(value))
    return {"largest": distributed.largest(torch.tensor([distributed.rank(), -distributed.rank()]))}


CASES = (training_step, training_history, supernet_step, norm, messages)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed.session():
        for case in CASES:
            found = case(folder)
            if distributed.is_main():
                torch.save(found, folder / f"{case.__name__}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folder with what two processes found."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pathlib import Path\n"
        + f"from tests.search.training.test_distributed import main; main(Path({str(folder)!r}))"
    )
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    both = [
        subprocess.Popen([sys.executable, "-c", program], env={**common, "RANK": str(rank)})
        for rank in (0, 1)
    ]
    try:
        assert [process.wait(900) for process in both] == [0, 0]
    finally:
        for process in both:
            process.kill()
    return folder


@pytest.mark.parametrize("case", CASES[:4])
def test_two_processes_take_the_step_of_one(two, case, tmp_path):
    ours = torch.load(two / f"{case.__name__}.pt", weights_only=True)
    alone = case(tmp_path)
    assert ours.keys() == alone.keys()
    largest = max(float(v.abs().max()) for n, v in alone.items() if v.is_floating_point())
    for name, value in alone.items():
        assert torch.allclose(
            ours[name].double(), value.double(), rtol=1e-5, atol=1e-6 * largest
        ), name
    assert len(alone) > 2


def test_the_main_process_tells_and_shares(two):
    told = "{'rank': 0, 'x': [1.5], 'error': 'told by one'}"
    assert [(two / f"{rank} of 2").read_text() for rank in (0, 1)] == [told, told]
    assert torch.load(two / "messages.pt", weights_only=True)["largest"].tolist() == [1, 0]


def test_uneven_batches_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 3)
    with pytest.raises(SpecError, match="multiple of the number of processes, 3, not 8"):
        distributed.shard(torch.zeros(8))


@pytest.mark.slow
def test_torchrun_searches_and_one_process_writes(tmp_path):
    """The whole command under torchrun: a sound bundle, and the first figures are those of one
    process.
    """
    plan = [
        "--warm-epochs",
        "1",
        "--search-epochs",
        "1",
        "--float-epochs",
        "1",
        "--quantized-epochs",
        "2",
    ]
    search = ["autonba", "search", "--effort", "quick", "--no-progress", *plan]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
    ]
    for name, start in (("two", torchrun), ("one", [sys.executable, "-m"])):
        done = subprocess.run(
            [*start, *search, "-o", str(tmp_path / name)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("design bundle") == 1
    two, one = (Bundle(tmp_path / name) for name in ("two", "one"))
    assert len(two.golden["labels"]) == len(one.golden["labels"])
    assert {p.relative_to(two.path) for p in two.path.rglob("*")} == {
        p.relative_to(one.path) for p in one.path.rglob("*")
    }
    first = [
        json.loads((b.path / "search" / "log.jsonl").read_text().splitlines()[0])
        for b in (two, one)
    ]
    assert first[0].keys() == first[1].keys()
    assert first[0]["train_loss"] == pytest.approx(first[1]["train_loss"], rel=0.02)
