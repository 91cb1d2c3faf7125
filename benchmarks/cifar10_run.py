"""`python -m benchmarks.cifar10_run --data FOLDER`: the committed CIFAR-10 design, whole, from one
run.

Search and training (benchmarks/cifar10/search.toml), Verilog, simulation; then the bundle, its
golden images cut to a few of every class, takes the place of benchmarks/cifar10/design, and the
figures that documents quote that of run.json beside it. The real weights stay in the output folder.
FOLDER holds train/<class>/* and perhaps test/<class>/*; without these, the last 500 images of every
class, by name, are the test images. `--check` only says whether the committed files belong
together.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from autonba.bundle import Bundle
from autonba.bundle import smallest_dtype as narrowest
from autonba.errors import BundleError, DataError
from autonba.files import read_json, write_arrays, write_json
from autonba.golden import evaluate
from autonba.hwgen.generate import generate
from autonba.network import macs
from autonba.search.run import run_search
from autonba.search.settings import Settings, load
from autonba.sim.run import simulate

FOLDER = Path(__file__).parent / "cifar10"
TEST_IMAGES = 500  # of every class, where the data set has no test images of its own
KEPT = (
    "design.json",
    "weights.npz",
    "report/search.json",
    "report/simulation.json",
    "search/log.jsonl",
)


def split(source: Path, target: Path) -> Path:
    """`source` with test images: itself, or `target`, a folder of links in which each class's last
    images are for testing.
    """
    if not (source / "train").is_dir() or (source / "test").is_dir():
        return source
    for folder in sorted(path for path in (source / "train").iterdir() if path.is_dir()):
        files = sorted(folder.iterdir())
        if len(files) <= TEST_IMAGES:
            raise DataError(
                f"{folder}: the folder must hold more than the {TEST_IMAGES} images to test with,"
                f" not {len(files)}"
            )
        for number, file in enumerate(files):
            link = (
                target
                / ("train" if number < len(files) - TEST_IMAGES else "test")
                / folder.name
                / file.name
            )
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(file.resolve())
    return target


def commit(bundle: Bundle, target: Path, images: int) -> Bundle:
    """Replace folder `target` by `bundle` without real weights and Verilog, and with its first
    `images` golden images.

    The search writes them with the classes in turn, so the first ones are of all classes.
    """
    golden = bundle.golden
    if len(golden["labels"]) < images:
        raise BundleError(
            f"{bundle.path}/golden.npz: the file must hold at least {images} images, not"
            f" {len(golden['labels'])}"
        )
    shutil.rmtree(target, ignore_errors=True)
    for name in KEPT:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / name, target / name)
    write_arrays(
        target / "golden.npz", {n: v[:images].astype(narrowest(v)) for n, v in golden.items()}
    )
    return Bundle(target)


def check(bundle: Bundle) -> None:
    """Raise BundleError unless the files of a committed bundle are of one run and show all classes
    alike.
    """
    where, network = bundle.path, bundle.design.network
    search, simulation = (
        read_json(where / "report" / f"{name}.json") for name in ("search", "simulation")
    )
    for name, facts in (("search", search), ("simulation", simulation)):
        if facts.get("digest") != bundle.digest:
            raise BundleError(
                f"{where}/report/{name}.json: digest must be {bundle.digest}, not"
                f" {facts.get('digest')}"
            )
    if tuple(search["classes"]) != network.classes:
        raise BundleError(
            f"{where}/report/search.json: classes must be those of design.json,"
            f" {list(network.classes)}, not {search['classes']}"
        )
    if not simulation["passed"]:
        raise BundleError(
            f"{where}/report/simulation.json: the simulation must have passed, and it has not"
        )
    counts = np.bincount(bundle.golden["labels"], minlength=len(network.classes))
    if counts.max() - counts.min() > 1:
        raise BundleError(
            f"{where}/golden.npz: the images must be shared alike by all classes, not"
            f" {counts.tolist()}"
        )
    for name, values in evaluate(network, bundle.weights, bundle.golden["images"]).items():
        if name in bundle.golden and not np.array_equal(values, bundle.golden[name]):
            raise BundleError(
                f"{where}/golden.npz: {name!r} must hold what design.json and weights.npz give, and"
                " it does not"
            )


def figures(bundle: Bundle) -> dict[str, Any]:
    """What documents quote, of a committed bundle."""
    search, simulation = (
        read_json(bundle.path / "report" / f"{name}.json") for name in ("search", "simulation")
    )
    compared: Mapping[str, Any] = search["integer_against_quantized"]
    return {
        "schema_version": 1,
        "digest": bundle.digest,
        "images": search["images"],
        "accuracy": search["accuracy"],
        "integer_against_quantized": {
            name: value for name, value in compared.items() if name != "by_cause"
        },
        "macs": macs(bundle.design.network),
        "clock_mhz": search["clock_mhz"],
        "limits": search["limits"],
        "multipliers": search["accelerator"]["multipliers"],
        "resources_predicted": search["accelerator"]["resources"],
        "cycles": simulation["cycles"],
        "images_simulated": simulation["rtl_check"]["images"],
        "images_golden": len(bundle.golden["labels"]),
    }


def main() -> int:
    """All stages; a stage whose results are there is not run again with --resume."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the images")
    parser.add_argument(
        "--resume", action="store_true", help="go on where an interrupted run stopped"
    )
    parser.add_argument(
        "--simulated", type=int, default=20, help="golden images to simulate (default: 20)"
    )
    parser.add_argument(
        "--golden", type=int, default=20, help="golden images to commit (default: 20)"
    )
    parser.add_argument(
        "--check", action="store_true", help="check the committed files and run nothing"
    )
    asked = parser.parse_args()
    if asked.check:
        check(Bundle(FOLDER / "design"))
        return 0
    if asked.data is None:
        parser.error("--data must name the folder of the images")
    settings = Settings(**load(FOLDER / "search.toml"))
    out = Path(settings.out)
    data = split(asked.data, out.with_name(f"{out.name}_data") / "cifar10")
    if not (asked.resume and (out / "report" / "search.json").is_file()):
        run_search(replace(settings, dataset=str(data)), resume=asked.resume)
    bundle = Bundle(out)
    generate(bundle)
    simulate(bundle, images=asked.simulated)
    committed = commit(bundle, FOLDER / "design", asked.golden)
    check(committed)
    write_json(FOLDER / "run.json", figures(committed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
