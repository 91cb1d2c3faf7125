"""Snapshots: whole or not at all, and nothing lost of what a run's bytes depend on."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from autonba.search.network import spaces
from autonba.search.network.spaces import Choice
from autonba.search.training import checkpoint, datasets, train
from autonba.search.training.checkpoint import Checkpoints, Resumable, Snapshot
from autonba.search.training.compute import Compute
from autonba.search.training.progress_log import Log


def small_model():
    space = spaces.load("digits")
    choices = [Choice(operator="k3_e1", bits=4)] + [Choice(operator="skip", bits=4)] * (
        len(space.blocks) - 1
    )
    torch.manual_seed(3)
    return train.Model(spaces.network(space, choices, (1, 8, 8), ("a", "b", "c")))


def small_split(n=60):
    rng = np.random.default_rng(0)
    return datasets.Split(
        images=rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8), labels=np.arange(n) % 3
    )


RECIPE = train.Recipe(epochs=4, float_epochs=1, batch=20, ema=0.9)


def fit(
    folder: Path, *, resume: bool, seconds: float = 0.0, tick=lambda done: None, recipe=RECIPE
) -> str:
    """Digest of the weights, the history and the log of a tiny training that keeps a snapshot after
    every step.
    """
    model, split = small_model(), small_split()
    resumable = Resumable(folder / "training.pt", {"seed": 1}, resume=resume, seconds=seconds)
    log = Log(folder / "log.jsonl")
    history = train.fit(
        model, split, recipe, seed=1, val=split, resumable=resumable, log=log, tick=tick
    )
    state = b"".join(v.numpy().tobytes() for v in model.state_dict().values())
    text = json.dumps(history).encode() + (folder / "log.jsonl").read_bytes()
    return hashlib.sha256(state + text).hexdigest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"), resume=False)


class StopError(Exception):
    pass


@pytest.mark.parametrize("steps", [1, 4, 6, 11])
def test_a_run_stopped_at_any_step_goes_on_with_the_same_bytes(whole, steps, tmp_path, monkeypatch):
    taken = []
    step = Compute.step

    def stopping(self, *args, **kwargs):
        taken.append(1)
        if len(taken) > steps:
            raise StopError
        step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Compute, "step", stopping)
        with pytest.raises(StopError):
            fit(tmp_path, resume=False)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"phase": "training", "st')  # a line cut short
    assert fit(tmp_path, resume=True) == whole


def test_snapshots_do_not_change_the_result(whole, tmp_path):
    assert fit(tmp_path, resume=False, seconds=1e9) == whole


def test_a_snapshot_of_other_settings_is_not_taken_up(whole, tmp_path):
    resumable = Resumable(tmp_path / "training.pt", {"seed": 2})
    resumable.save({"epoch": 3})
    assert fit(tmp_path, resume=True) == whole


def test_a_damaged_snapshot_is_not_taken_up_and_a_torn_write_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    Resumable(path).save({"step": 1, "x": torch.ones(3)})
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(StopError))
    with pytest.raises(StopError):
        Resumable(path).save({"step": 2})
    assert Resumable(path, resume=True).restore()["step"] == 1
    assert Resumable(path, resume=False).restore() is None
    path.write_bytes(path.read_bytes()[:-200])
    assert Resumable(path, resume=True).restore() is None


def test_a_snapshot_holds_every_part_and_runs_no_code(tmp_path):
    generator, numbers = torch.Generator().manual_seed(5), np.random.default_rng(6)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    parts = Snapshot(generator=generator, optimizer=optimizer, numbers=checkpoint.Numbers(numbers))

    def draws():
        optimizer.zero_grad()
        (weight.sum() * torch.rand((), generator=generator)).backward()
        optimizer.step()
        return [
            torch.rand(2, generator=generator),
            torch.rand(2),
            torch.as_tensor(numbers.random(2)),
            weight.grad.clone(),
        ]

    draws()
    Resumable(tmp_path / "a.pt").save(parts.take(step=7, nested={"curve": [1.5, None, "x"]}))
    first = draws()
    plain = parts.put_back(Resumable(tmp_path / "a.pt", resume=True).restore())
    assert plain == {"step": 7, "nested": {"curve": [1.5, None, "x"]}}
    assert all(torch.equal(a, b) for a, b in zip(first, draws(), strict=True))
    with pytest.raises(TypeError, match=r"\[.path.\]\[0\] must be"):
        Resumable(tmp_path / "b.pt").save({"path": [tmp_path]})


def test_a_finished_phase_forgets_its_snapshot(tmp_path):
    kept = Checkpoints(folder=tmp_path / "c", settings={"a": 1}, resume=True)
    kept.within("joint").save({"step": 1})
    kept.save("joint", {"fact": 2}, {"x": np.arange(3)})
    assert kept.within("joint").restore() is None
    facts, arrays = kept.load("joint")
    assert (facts, arrays["x"].tolist()) == ({"fact": 2}, [0, 1, 2])
    assert Checkpoints(folder=tmp_path / "c", settings={"a": 2}, resume=True).load("joint") is None
    kept.clear()
    assert not (tmp_path / "c").exists()


def test_files_of_others_among_the_checkpoints_stay(tmp_path):
    kept = Checkpoints(folder=tmp_path, settings={}, resume=True)
    kept.save("joint", {"fact": 1})
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "joint.npz").write_bytes(b"mine, too")
    kept.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joint.npz", "notes.txt"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kill_9_at_a_random_moment(whole, seed, tmp_path):
    """A process is killed wherever it is; the next one goes on."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        + "from pathlib import Path\nfrom tests.search.training import test_checkpoint as t\nimport"
        " torch\ntorch.set_num_threads(1)\nprint('ready',"
        f" flush=True)\nt.fit(Path({str(tmp_path)!r}), resume=False, tick=lambda done:"
        " t.time.sleep(0.01))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(np.random.default_rng(seed).uniform(0.0, 0.4))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert fit(tmp_path, resume=True) == whole
