"""The whole stage on a tiny image folder: files, determinism, resumption, interruption."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autonba.boards import find_board
from autonba.bundle import Bundle
from autonba.errors import BundleError, CapacityError, DataError, SpecError
from autonba.mapping import plan
from autonba.report import write_report
from autonba.search import datasets, run, spaces, strategies
from autonba.search.evaluate import evaluate
from autonba.search.spaces import Choice

BOARD = find_board("ulx3s-85f")
TINY = run.Plan(warm_epochs=1, search_epochs=1, das_samples=128, das_steps=5, float_epochs=2, quantized_epochs=3)


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
                (stripes if name == "across" else stripes.T)[..., None] + rng.integers(0, 60, (8, 8, 3)), 0, 255
            )
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{n:02}.png")
    return root


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(run.EFFORTS, "quick", TINY)
    monkeypatch.setattr(run, "RANDOM_DESIGNS", 10)


def start(folder, out, **more):
    return run.search(
        **{"dataset": str(folder), "board": BOARD, "out": out, "effort": "quick", "progress": False, "seed": 2} | more
    )


def digests(out: Path):
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name != "search_seconds.json"
    }


@pytest.fixture(scope="module")
def bundle(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run.EFFORTS, "quick", TINY)
        patch.setattr(run, "RANDOM_DESIGNS", 10)
        return start(folder, tmp_path_factory.mktemp("bundle"))


def test_bundle_is_whole_and_legal(bundle):
    again = Bundle(bundle.path)
    assert again.golden["labels"].tolist() == [0, 1] * 12
    mapped = plan(again.design.network, again.design.accelerator, again.weights)
    report = json.loads((bundle.path / "report" / "search.json").read_text())
    assert report["digest"] == again.digest
    assert tuple(report["classes"]) == again.design.network.classes == ("across", "down")
    assert report["images"] == {"train": 77, "val": 19, "test": 24, "held": 5}
    assert (report["accuracy"]["images"], report["validation_accuracy"]["images"]) == (24, 5)
    found = report["integer_against_quantized"]
    assert found["images"] == 24
    assert 0 < found["differing_elements"] < 0.2 * found["elements"]
    assert set(found["by_cause"]) == {"rounded_biases", "rounded_multipliers"}
    assert report["accelerator"]["cycles_bound"] == mapped.bottleneck
    assert report["accelerator"]["random"]["count"] == 10
    assert all(report["accelerator"]["resources"][n] <= limit for n, limit in again.design.constraints.items())
    assert not (bundle.path / "search" / "checkpoints").exists()
    assert set(digests(bundle.path)) == {
        "design.json",
        "weights.npz",
        "golden.npz",
        "search/model.npz",
        "report/search.json",
        "search/log.jsonl",
    }


def test_evaluate_agrees_with_the_report(bundle, folder):
    report = json.loads((bundle.path / "report" / "search.json").read_text())
    differing = report["integer_against_quantized"]["differing_predictions"]
    assert evaluate(Bundle(bundle.path), str(folder)) == {**report["accuracy"], "differing_predictions": differing}


def test_the_report_shows_what_rounding_changed(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "copy")
    page = write_report(Bundle(tmp_path / "copy"))[1].read_text()
    counted = json.loads((bundle.path / "report" / "search.json").read_text())["integer_against_quantized"]
    row = page[page.index("<td>biases alone</td>") :].split("</tr>")[0]
    assert f"{counted['by_cause']['rounded_biases']['elements']:,}" in row
    path = tmp_path / "copy" / "report" / "search.json"
    path.write_text(path.read_text().replace('"digest": "', '"digest": "0'))
    assert "biases alone" not in write_report(Bundle(tmp_path / "copy"))[1].read_text()  # figures of another design


def test_every_training_logs_the_validation_images_held_back(bundle):
    lines = [json.loads(line) for line in (bundle.path / "search" / "log.jsonl").read_text().splitlines()]
    trained = [line for line in lines if line["phase"] in ("float", "quantized")]
    assert len(trained) == 5
    assert all(abs(line["val_accuracy"] * 5 - round(line["val_accuracy"] * 5)) < 1e-6 for line in trained)


@pytest.mark.parametrize("large", [False, True])
def test_training_sees_no_test_image_and_is_measured_on_none_it_sees(folder, tmp_path, monkeypatch, large):
    """Large data sets have a plan of their own, and the same splits."""
    monkeypatch.setattr(run, "LARGE", 10 if large else 10**6)
    monkeypatch.setitem(run.LARGE_EFFORTS, "quick", TINY)
    monkeypatch.setattr(run.Run, "check_possible", lambda self: None)
    choices = [Choice(operator="skip", bits=4)] * 5
    monkeypatch.setattr(run.Run, "joint", lambda self: (choices, {}))
    monkeypatch.setattr(run.Run, "fitting", lambda self, own: (own, spaces.network(self.space, own, (3, 8, 8), ("a", "b"))))
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

    monkeypatch.setattr(strategies, "search", never)
    start(folder, tmp_path, resume=True)
    assert digests(tmp_path) == digests(bundle.path)


def test_same_seed_same_bytes_from_scratch(bundle, folder, tmp_path):
    start(folder, tmp_path)
    assert digests(tmp_path) == digests(bundle.path)


def test_impossible_limits_are_named_before_training(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(strategies, "search", lambda *a, **k: pytest.fail("searched where nothing can fit"))
    with pytest.raises(CapacityError, match=r"lut on ulx3s-85f, and the limit is 500"):
        start(folder, tmp_path, constraints={"lut": 500})


def test_unknown_constraint_is_refused(folder, tmp_path):
    with pytest.raises(SpecError, match="power"):
        start(folder, tmp_path, constraints={"power": 3})
