"""What is committed of the CIFAR-10 run: files of one run, golden images of every class."""

import json

import numpy as np
import pytest

from autonba.bundle import Bundle
from autonba.errors import BundleError, DataError
from autonba.files import read_arrays, write_arrays, write_json
from autonba.sim.random_designs import random_bundle
from benchmarks import cifar10_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A bundle as the stages leave it."""
    bundle = random_bundle(tmp_path_factory.mktemp("whole"), 14, 12)
    classes = len(bundle.design.network.classes)
    golden = read_arrays(bundle.path / "golden.npz")
    write_arrays(
        bundle.path / "golden.npz", golden | {"labels": (np.arange(12) % classes).astype(np.int8)}
    )
    search = {
        "digest": bundle.digest,
        "classes": list(bundle.design.network.classes),
        "images": {"test": 12},
        "clock_mhz": 50.0,
        "accuracy": {"integer": 0.5},
        "integer_against_quantized": {"images": 12, "by_cause": {}},
        "limits": {},
        "accelerator": {"multipliers": 4, "resources": {"lut": 7}},
    }
    write_json(bundle.path / "report" / "search.json", search)
    cycles = {"first_image": 9, "per_image": 5.0}
    simulation = {
        "digest": bundle.digest,
        "passed": True,
        "rtl_check": {"images": 12},
        "cycles": {"simulated": cycles},
    }
    write_json(bundle.path / "report" / "simulation.json", simulation)
    (bundle.path / "search").mkdir()
    (bundle.path / "search" / "log.jsonl").write_text("{}\n")
    (bundle.path / "search" / "model.npz").write_bytes(b"real weights")
    return Bundle(bundle.path)


def test_what_is_committed_is_the_bundle_with_fewer_images_of_every_class(whole, tmp_path):
    (tmp_path / "design" / "rtl").mkdir(parents=True)  # of an earlier run
    count = 2 * len(whole.design.network.classes)
    committed = cifar10_run.commit(whole, tmp_path / "design", count)
    assert np.bincount(committed.golden["labels"]).tolist() == [2] * len(
        whole.design.network.classes
    )
    assert committed.digest == whole.digest
    assert sorted(p.name for p in committed.path.rglob("*") if p.is_file()) == [
        "design.json",
        "golden.npz",
        "log.jsonl",
        "search.json",
        "simulation.json",
        "weights.npz",
    ]
    assert not (committed.path / "rtl").exists()
    cifar10_run.check(committed)
    found = cifar10_run.figures(committed)
    assert (found["images_simulated"], found["images_golden"]) == (12, count)
    with pytest.raises(BundleError, match="at least 13 images"):
        cifar10_run.commit(whole, tmp_path / "design", 13)


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("search", "classes", ["0", "1"], "classes must be those of design.json"),
        ("search", "digest", "0" * 64, "search.json: digest must be"),
        ("simulation", "digest", "0" * 64, "simulation.json: digest must be"),
        ("simulation", "passed", False, "must have passed"),
    ],
)
def test_files_that_do_not_belong_together_are_told(whole, tmp_path, name, key, value, message):
    committed = cifar10_run.commit(
        whole, tmp_path / "design", 2 * len(whole.design.network.classes)
    )
    path = committed.path / "report" / f"{name}.json"
    write_json(path, {**json.loads(path.read_text()), key: value})
    with pytest.raises(BundleError, match=message):
        cifar10_run.check(committed)


def test_images_of_one_class_and_wrong_vectors_are_told(whole, tmp_path):
    cifar10_run.commit(whole, tmp_path / "design", 2 * len(whole.design.network.classes))
    path = tmp_path / "design" / "golden.npz"
    golden = read_arrays(path)
    for change, message in (
        ({"labels": golden["labels"] * 0}, "shared alike by all classes"),
        ({"images": golden["images"][::-1]}, "must hold what design.json and weights.npz give"),
    ):
        write_arrays(path, golden | change)
        with pytest.raises(BundleError, match=message):
            cifar10_run.check(Bundle(tmp_path / "design"))


def test_the_last_images_of_every_class_are_for_testing(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar10_run, "TEST_IMAGES", 2)
    for name in ("cat", "dog"):
        (tmp_path / "own" / "train" / name).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "own" / "train" / name / f"{number}.jpg").write_text(f"{name}{number}")
    for _ in range(2):  # an interrupted run left links
        found = cifar10_run.split(tmp_path / "own", tmp_path / "links" / "cifar10")
    texts = {
        part: sorted(p.read_text() for p in (found / part).rglob("*.jpg"))
        for part in ("train", "test")
    }
    assert texts["test"] == ["cat3", "cat4", "dog3", "dog4"]
    assert len(texts["train"]) == 6
    assert cifar10_run.split(found, tmp_path / "other") == found
    monkeypatch.setattr(cifar10_run, "TEST_IMAGES", 5)
    with pytest.raises(DataError, match="more than the 5 images"):
        cifar10_run.split(tmp_path / "own", tmp_path / "other")


def test_the_committed_design_is_whole():
    cifar10_run.check(Bundle(cifar10_run.FOLDER / "design"))
