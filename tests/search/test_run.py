"""The whole stage on a tiny image folder: files, determinism, resumption, interruption."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from autonba.bundle import Bundle
from autonba.errors import BundleError, CapacityError, DataError, SpecError
from autonba.mapping import plan
from autonba.report import write_report
from autonba.search import budget, run
from autonba.search.budget import Budget
from autonba.search.network import spaces, strategies
from autonba.search.network.spaces import Choice
from autonba.search.settings import Settings
from autonba.search.training import datasets
from autonba.search.training.datasets import Dataset, Split
from autonba.search.training.evaluate import evaluate

TINY = Budget(warm_epochs=1, search_epochs=1, samples=128, float_epochs=2, quantized_epochs=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Vertical or horizontal stripes, 8x8, colour."""
    root = tmp_path_factory.mktemp("stripes")
    rng = np.random.default_rng(0)
    for name in ("across", "down"):
        (root / name).mkdir()
        for n in range(60):
            stripes = np.tile((np.arange(8) // 2 % 2 * 180)[:, None], (1, 8))
            pixels = np.clip(
                (stripes if name == "across" else stripes.T)[..., None]
                + rng.integers(0, 60, (8, 8, 3)),
                0,
                255,
            )
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{n:02}.png")
    return root


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(budget.EFFORTS, "quick", TINY)
    monkeypatch.setattr(run, "RANDOM_DESIGNS", 10)


def start(folder, out, *, resume=False, **more):
    asked = Settings(
        **{
            "dataset": str(folder),
            "board": "ulx3s-85f",
            "out": str(out),
            "effort": "quick",
            "seed": 2,
        }
        | more
    )
    return run.run_search(asked, progress=False, resume=resume)


def digests(out: Path):
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name != "search_seconds.json"
    }


@pytest.fixture(scope="module")
def bundle(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(budget.EFFORTS, "quick", TINY)
        patch.setattr(run, "RANDOM_DESIGNS", 10)
        return start(folder, tmp_path_factory.mktemp("bundle"))


def test_bundle_is_whole_and_legal(bundle):
    again = Bundle(bundle.path)
    assert again.golden["labels"].tolist() == [0, 1] * 12
    mapped = plan(again.design.network, again.design.accelerator, again.weights)
    report = json.loads((bundle.path / "report" / "search.json").read_text())
    assert report["digest"] == again.digest
    assert tuple(report["classes"]) == again.design.network.classes == ("across", "down")
    assert report["images"] == {"train": 77, "val": 19, "test": 24, "held": 2}
    assert (report["accuracy"]["images"], report["validation_accuracy"]["images"]) == (24, 2)
    found = report["integer_against_quantized"]
    assert found["images"] == 24
    assert 0 < found["differing_elements"] < 0.2 * found["elements"]
    assert set(found["by_cause"]) == {"rounded_biases", "rounded_multipliers"}
    assert report["accelerator"]["cycles_bound"] == mapped.bottleneck
    assert report["accelerator"]["random"]["count"] == 10
    assert all(
        report["accelerator"]["resources"][n] <= limit
        for n, limit in again.design.constraints.items()
    )
    assert not (bundle.path / "search" / "checkpoints").exists()
    assert set(digests(bundle.path)) == {
        "design.json",
        "weights.npz",
        "golden.npz",
        "search/model.npz",
        "report/search.json",
        "search/log.jsonl",
    }


def leaves(value, path=""):
    """Keys of a JSON document with points, and [] for elements of lists of objects."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path


def test_documents_name_every_key_of_the_report(bundle):
    """Section 9.1 of docs/bundle-format.md names every key of search.json, and no other."""
    page = (Path(__file__).parents[2] / "docs" / "bundle-format.md").read_text()
    table = page.partition("\n### 9.1 search.json\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    named = [name for cells in rows for name in re.findall(r"`([^`]+)`", cells[0])]
    assert len(named) == len(set(named)) > 40
    patterns = {name: re.sub(r"<\w+>", r"[a-z_]+", re.escape(name)) for name in named}
    found = set(leaves(json.loads((bundle.path / "report" / "search.json").read_text())))
    assert (
        sorted(key for key in found if not any(re.fullmatch(p, key) for p in patterns.values()))
        == []
    )
    unused = [
        name for name, p in patterns.items() if not any(re.fullmatch(p, key) for key in found)
    ]
    assert unused == ["joint_search.looked_at"]  # of strategies that look at networks one by one


def test_evaluate_agrees_with_the_report(bundle, folder):
    report = json.loads((bundle.path / "report" / "search.json").read_text())
    differing = report["integer_against_quantized"]["differing_predictions"]
    assert evaluate(Bundle(bundle.path), str(folder)) == {
        **report["accuracy"],
        "differing_predictions": differing,
    }


def test_the_report_shows_what_rounding_changed(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "copy")
    page = write_report(Bundle(tmp_path / "copy"))[1].read_text()
    counted = json.loads((bundle.path / "report" / "search.json").read_text())[
        "integer_against_quantized"
    ]
    row = page[page.index("<td>biases alone</td>") :].split("</tr>")[0]
    assert f"{counted['by_cause']['rounded_biases']['elements']:,}" in row
    path = tmp_path / "copy" / "report" / "search.json"
    path.write_text(path.read_text().replace('"digest": "', '"digest": "0'))
    assert (
        "biases alone" not in write_report(Bundle(tmp_path / "copy"))[1].read_text()
    )  # figures of another design


def test_every_training_logs_the_validation_images_held_back(bundle):
    lines = [
        json.loads(line) for line in (bundle.path / "search" / "log.jsonl").read_text().splitlines()
    ]
    trained = [line for line in lines if line["phase"] in ("float", "quantized")]
    assert len(trained) == 5
    assert all(
        abs(line["val_accuracy"] * 2 - round(line["val_accuracy"] * 2)) < 1e-6 for line in trained
    )


@pytest.mark.parametrize("large", [False, True])
def test_training_sees_no_test_image_and_is_measured_on_none_it_sees(
    folder, tmp_path, monkeypatch, large
):
    """Large data sets have a budget of their own, and the same splits."""
    monkeypatch.setattr(budget, "LARGE", 10 if large else 10**6)
    monkeypatch.setitem(budget.LARGE_EFFORTS, "quick", TINY)
    monkeypatch.setattr(run.Run, "check_possible", lambda self: None)
    choices = [Choice(operator="skip", bits=4)] * 5
    monkeypatch.setattr(run.Run, "joint", lambda self: (choices, {}))
    monkeypatch.setattr(
        run.Run,
        "fitting",
        lambda self, own: (own, spaces.network(self.space, own, (3, 8, 8), ("a", "b"))),
    )
    seen = []

    def fit(model, split, recipe, *, val, **more):
        seen.append([{image.tobytes() for image in own.images} for own in (split, val)])
        raise KeyboardInterrupt

    monkeypatch.setattr(run.train, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        start(folder, tmp_path)
    test = {image.tobytes() for image in datasets.load(str(folder)).test.images}
    trained, measured = seen[0]
    assert trained
    assert measured
    assert not trained & measured
    assert not (trained | measured) & test


def test_evaluate_names_what_is_wrong(bundle, folder, tmp_path):
    with pytest.raises(DataError, match="shape"):
        evaluate(bundle, "digits")
    for name in ("design.json", "weights.npz"):
        (tmp_path / name).write_bytes((bundle.path / name).read_bytes())
    assert set(evaluate(Bundle(tmp_path), str(folder))) == {"integer", "images"}
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "model.npz").write_bytes(b"damaged")
    with pytest.raises(BundleError, match=r"model\.npz"):
        evaluate(Bundle(tmp_path), str(folder))


def test_same_seed_same_bytes_also_after_an_interruption(bundle, folder, tmp_path, monkeypatch):
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "compare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            start(folder, tmp_path)
    assert not (tmp_path / "design.json").exists()

    def never(*args, **kwargs):
        raise AssertionError("a finished phase was run again")

    monkeypatch.setattr(strategies, "find_network", never)
    start(folder, tmp_path, resume=True)
    assert digests(tmp_path) == digests(bundle.path)


def test_same_seed_same_bytes_from_scratch(bundle, folder, tmp_path):
    start(folder, tmp_path)
    assert digests(tmp_path) == digests(bundle.path)


def test_impossible_limits_are_named_before_training(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        strategies, "find_network", lambda *a, **k: pytest.fail("searched where nothing can fit")
    )
    with pytest.raises(CapacityError, match=r"--max-lut 500 cannot be met"):
        start(folder, tmp_path, constraints={"lut": 500})


def test_unknown_constraint_is_refused(folder, tmp_path):
    with pytest.raises(SpecError, match="power"):
        start(folder, tmp_path, constraints={"power": 3})


def settings_of(folder, monkeypatch, **more):
    """What a run with these arguments would keep its checkpoints under."""
    kept = []

    class StopError(Exception):
        pass

    def checkpoints(*, settings, **_):
        kept.append(json.dumps(settings, sort_keys=True))
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(run, "Checkpoints", checkpoints)
        with pytest.raises(StopError):
            start(folder, Path("nowhere"), **more)
    return kept[0]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 3},
        {"board": "arty-a7-35t"},
        {"clock_mhz": 30.0},
        {"constraints": {"dsp": 20}},
        {"constraints": {"min_fps": 10.0}},
        {"constraints": {"max_latency_ms": 100.0}},
        {"constraints": {"max_energy_uj": 1e6}},
        {"space": "cifar-small"},
        {"bits": [4, 8]},
        {"objective": "energy"},
        {"strategy": "random"},
        {"bitwidths": "hard"},
        {"paths": 1},
        {"level": "one-level"},
        {"offset": False},
        {"correction": False},
        {"augmentation": "none"},
        {"val_size": 0.5},
        {"test_size": 0.5},
        {"float_epochs": 1},
        {"batch": 7},
        {"search_images": 9},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_a_checkpoint_is_of_a_run_with_the_same_arguments(folder, monkeypatch, change):
    """Whatever changes the result keeps the phases of another run from being taken up."""
    assert settings_of(folder, monkeypatch) == settings_of(folder, monkeypatch)
    assert settings_of(folder, monkeypatch, **change) != settings_of(folder, monkeypatch)


def test_images_of_the_search_are_of_every_class():
    """Class-sorted images are drawn, not taken from the front; another seed draws others."""
    images = np.arange(400, dtype=np.uint8).reshape(400, 1, 1, 1)
    split = Split(images=images, labels=np.arange(400) // 100)
    whole = Dataset(name="sorted", classes=tuple("abcd"), train=split, val=split, test=split)

    def searched(count, seed):
        return run.Run.searched(
            SimpleNamespace(budget=SimpleNamespace(search_images=count), data=whole, seed=seed)
        ).train

    found = searched(80, 1)
    assert len(found) == 80
    assert all(8 <= count <= 35 for count in np.bincount(found.labels, minlength=4))
    assert not np.array_equal(found.images, searched(80, 2).images)
    assert searched(None, 1) is searched(400, 1) is split


def test_a_finished_search_is_resumed_only_by_other_settings(bundle, folder, tmp_path, monkeypatch):
    shutil.copytree(bundle.path, tmp_path / "bundle")
    before = digests(tmp_path / "bundle")

    def begun(*_):
        raise InterruptedError("begun")

    monkeypatch.setattr(run.Run, "all", begun)
    assert start(folder, tmp_path / "bundle", resume=True).digest == bundle.digest
    for changes in ({"seed": 7}, {"resume": False}, {"constraints": {"dsp": 60}}):
        with pytest.raises(InterruptedError):
            start(folder, tmp_path / "bundle", **{"resume": True, **changes})
    assert digests(tmp_path / "bundle") == before
    (tmp_path / "bundle" / "weights.npz").unlink()
    with pytest.raises(InterruptedError):
        start(folder, tmp_path / "bundle", resume=True)
