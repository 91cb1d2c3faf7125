"""Bundles: same content, same bytes; anything damaged is refused in one sentence with the place
named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from autonba.accelerator import Loops
from autonba.bundle import Bundle, Design, smallest_dtype, write_bundle
from autonba.cli import cli
from autonba.errors import BundleError, SpecError
from autonba.files import read_arrays, write_arrays
from autonba.sim.random_designs import random_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return random_bundle(tmp_path / "bundle", 14, 2)


def test_round_trip(bundle: Bundle, tmp_path: Path) -> None:
    again = write_bundle(tmp_path / "again", bundle.design, bundle.weights, bundle.golden)
    for name in ("design.json", "weights.npz", "golden.npz"):
        assert (bundle.path / name).read_bytes() == (again.path / name).read_bytes()
    assert Bundle(again.path).design == bundle.design
    assert Bundle(again.path).digest == bundle.digest


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from autonba.sim.random_designs import random_bundle\n"
        "b = random_bundle(pathlib.Path(sys.argv[1]), 14, 2); print(b.digest)"
    )
    digests = set()
    for seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        digests.add(out.stdout)
    assert len(digests) == 1
    for name in ("design.json", "weights.npz", "golden.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_one_changed_weight_changes_the_digest(bundle: Bundle) -> None:
    before = bundle.digest
    arrays = read_arrays(bundle.path / "weights.npz")
    name = next(n for n in sorted(arrays) if n.endswith(".weight"))
    arrays[name].flat[0] ^= 1
    write_arrays(bundle.path / "weights.npz", arrays)
    assert Bundle(bundle.path).digest != before


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 127, np.int8),
        (-128, 0, np.int8),
        (-129, 0, np.int16),
        (0, 128, np.int16),
        (-32769, 5, np.int32),
        (-(1 << 40), 0, np.int64),
    ],
)
def test_the_smallest_type_holds_both_ends(low: int, high: int, wanted: type) -> None:
    assert smallest_dtype(np.array([low, high])) == wanted


def test_the_order_of_arrays_does_not_change_the_bytes(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3), "a": np.arange(4)}
    write_arrays(tmp_path / "one.npz", arrays)
    write_arrays(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("key", ["order", "rows", "weights"])
def test_an_entry_of_loops_is_whole(bundle: Bundle, key: str) -> None:
    document = json.loads((bundle.path / "design.json").read_text())
    layer = min(document["accelerator"]["allocation"])
    entry = {"order": "pixel_outer", "rows": 1, "weights": "chip"}
    document["accelerator"]["loops"] = {layer: entry}
    assert Design.from_json(document).accelerator.loops_of(layer) == Loops()
    del entry[key]
    with pytest.raises(
        SpecError, match=rf"accelerator\.loops\.{layer}: '{key}' is a required property"
    ):
        Design.from_json(document)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(BundleError, match="undamaged"):
        read_arrays(tmp_path / "weights.npz")


def _edit(change: Callable[[dict], None]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def apply(path: Path) -> None:
        document = json.loads((path / "design.json").read_text())
        change(document)
        (path / "design.json").write_text(json.dumps(document))

    return apply


def _truncate(name: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        data = (path / name).read_bytes()
        (path / name).write_bytes(data[: len(data) // 2])

    return apply


def _flip(path: Path) -> None:
    data = bytearray((path / "weights.npz").read_bytes())
    with zipfile.ZipFile(path / "weights.npz") as archive:
        member = max(archive.infolist(), key=lambda info: info.compress_size)
    name, extra = (
        int.from_bytes(data[member.header_offset + at : member.header_offset + at + 2], "little")
        for at in (26, 28)
    )
    data[member.header_offset + 30 + name + extra + member.compress_size // 2] ^= 0xFF
    (path / "weights.npz").write_bytes(bytes(data))


def _double_key(path: Path) -> None:
    text = (path / "design.json").read_text()
    (path / "design.json").write_text(text.replace('"name":', '"name": "x", "name":', 1))


def _other_shape(path: Path) -> None:
    arrays = read_arrays(path / "weights.npz")
    name = next(n for n in sorted(arrays) if n.endswith(".bias"))
    arrays[name] = arrays[name][:-1]
    write_arrays(path / "weights.npz", arrays)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_edit(lambda d: d.update(colour=1)), ("design.json", "colour")),
        (
            _edit(lambda d: d["network"]["layers"][0].update(kernal=[1, 1])),
            ("network.layers[0]", "kernal"),
        ),
        (
            _edit(lambda d: d["accelerator"]["chunks"][0].update(in_lanes=3)),
            ("in_lanes must be a power of two", "3"),
        ),
        (_edit(lambda d: d["accelerator"]["buffers"].pop()), ("buffers must hold one for tensor",)),
        (_edit(lambda d: d.update(schema_version=2)), ("schema_version",)),
        (_truncate("design.json"), ("design.json", "JSON")),
        (_truncate("weights.npz"), ("weights.npz", "undamaged")),
        (_flip, ("weights.npz",)),
        (_double_key, ("'name'", "once")),
        (_other_shape, ("weights.npz", "must have shape", "design.json")),
        (lambda path: (path / "weights.npz").unlink(), ("weights.npz", "must be present")),
    ],
)
def test_damage_is_one_sentence_and_exit_code_2(
    bundle: Bundle, damage: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    damage(bundle.path)
    result = CliRunner().invoke(cli, ["gen-rtl", str(bundle.path)])
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0]
    assert not (bundle.path / "rtl").exists()
