"""An independent reader and golden model, written from docs/bundle-format.md alone, against the
project's own.

Nothing of `autonba` takes part in the model: json, numpy.load and plain loops.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonba import golden
from autonba.bundle import Bundle
from autonba.sim.random_designs import random_bundle

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "bundle-format.md"
DEFAULTS: dict[str, Any] = {
    "residual": None,
    "kernel": [1, 1],
    "stride": [1, 1],
    "padding": [0, 0],
    "groups": 1,
    "weight_bits": 8,
    "bits": 8,
    "signed": False,
    "shift": 0,
    "residual_multiplier": 0,
    "raw": False,
}
Map = list[list[list[int]]]  # [channel][row][column]


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), "a key occurs twice"
    return dict(pairs)


def read_design(folder: Path) -> dict[str, Any]:
    """design.json with the defaults of section 1.1 filled in."""
    design: dict[str, Any] = json.loads(
        (folder / "design.json").read_text(encoding="utf-8"), object_pairs_hook=once
    )
    assert design["schema_version"] == 1
    design["network"]["layers"] = [DEFAULTS | layer for layer in design["network"]["layers"]]
    return design


def read_members(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name].astype(np.int64) for name in archive.files}


def convolution(layer: dict[str, Any], x: Map, weight: Any, bias: list[int]) -> Map:
    """Section 3, conv."""
    channels, height, width = len(x), len(x[0]), len(x[0][0])
    out_channels, groups = layer["out_channels"], layer["groups"]
    (ky_all, kx_all), (sy, sx), (py, px) = layer["kernel"], layer["stride"], layer["padding"]
    rows, columns = (height + 2 * py - ky_all) // sy + 1, (width + 2 * px - kx_all) // sx + 1
    inputs = channels // groups
    acc: Map = [[[bias[o]] * columns for _ in range(rows)] for o in range(out_channels)]
    for o, y, col in itertools.product(range(out_channels), range(rows), range(columns)):
        first = o // (out_channels // groups) * inputs
        for i, ky, kx in itertools.product(range(inputs), range(ky_all), range(kx_all)):
            row, column = y * sy + ky - py, col * sx + kx - px
            if 0 <= row < height and 0 <= column < width:
                acc[o][y][col] += weight[o][i][ky][kx] * x[first + i][row][column]
    return acc


def pooling(layer: dict[str, Any], x: Map) -> Map:
    """Section 3, avg_pool and max_pool."""
    height, width = len(x[0]), len(x[0][0])
    (ky_all, kx_all), (sy, sx), (py, px) = layer["kernel"], layer["stride"], layer["padding"]
    rows, columns = (height + 2 * py - ky_all) // sy + 1, (width + 2 * px - kx_all) // sx + 1
    take = max if layer["op"] == "max_pool" else sum

    def window(c: int, y: int, col: int) -> list[int]:
        places = itertools.product(
            range(y * sy - py, y * sy - py + ky_all), range(col * sx - px, col * sx - px + kx_all)
        )
        return [
            x[c][row][column] for row, column in places if 0 <= row < height and 0 <= column < width
        ]

    return [
        [[take(window(c, y, col)) for col in range(columns)] for y in range(rows)]
        for c in range(len(x))
    ]


def requantize(layer: dict[str, Any], acc: Map, m: list[int], residual: Map | None) -> Map:
    """Section 3, requantization."""
    s, r, bits = layer["shift"], layer["residual_multiplier"], layer["bits"]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if layer["signed"] else (0, 2**bits - 1)
    half = 2 ** (s - 1) if s else 0

    def value(c: int, y: int, x: int) -> int:
        total = acc[c][y][x] * m[c] + half
        if residual is not None:
            total += residual[c][y][x] * r
        return min(max(total // 2**s, low), high)  # // rounds towards minus infinity

    return [
        [[value(c, y, x) for x in range(len(row))] for y, row in enumerate(rows)]
        for c, rows in enumerate(acc)
    ]


def evaluate(design: dict[str, Any], weights: dict[str, Any], image: Map) -> dict[str, Map]:
    """Every tensor for one image."""
    tensors: dict[str, Map] = {"input": image}
    for layer in design["network"]["layers"]:
        name, x = layer["name"], tensors[layer["input"]]
        if layer["op"] == "shuffle":
            g = layer["groups"]
            tensors[name] = [x[c % g * (len(x) // g) + c // g] for c in range(len(x))]
            continue
        if layer["op"] == "global_pool":
            acc: Map = [[[sum(sum(row) for row in rows)]] for rows in x]
        elif layer["op"] in ("avg_pool", "max_pool"):
            acc = pooling(layer, x)
        else:
            acc = convolution(
                layer, x, weights[f"{name}.weight"].tolist(), weights[f"{name}.bias"].tolist()
            )
        if layer["raw"]:
            tensors[name] = acc
            continue
        residual = None if layer["residual"] is None else tensors[layer["residual"]]
        tensors[name] = requantize(layer, acc, weights[f"{name}.m"].tolist(), residual)
    return tensors


def digest(design: dict[str, Any], weights: dict[str, Any]) -> str:
    """Section 5."""
    text = hashlib.sha256(json.dumps(design, sort_keys=True, separators=(",", ":")).encode("ascii"))
    for layer in sorted({name.rpartition(".")[0] for name in weights}):
        for field in ("bias", "m", "weight"):
            values = weights.get(f"{layer}.{field}")
            if values is not None:
                text.update(
                    f"{layer}.{field}{values.shape}".encode("ascii")
                    + values.astype("<i8").tobytes()
                )
    return text.hexdigest()


@pytest.fixture(scope="module", params=range(1, 7))
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Random designs; opened from disk."""
    folder = tmp_path_factory.mktemp("bundle")
    random_bundle(folder, request.param, 2)
    return Bundle(folder)


def test_page_gives_the_golden_model(bundle: Bundle) -> None:
    design, weights = read_design(bundle.path), read_members(bundle.path / "weights.npz")
    vectors = read_members(bundle.path / "golden.npz")
    layers = [layer["name"] for layer in design["network"]["layers"]]
    assert set(vectors) == {"images", "labels", *layers}
    ours = golden.evaluate(bundle.design.network, bundle.weights, bundle.golden["images"])
    for number, image in enumerate(vectors["images"].tolist()):
        tensors = evaluate(design, weights, image)
        for name in layers:
            assert tensors[name] == vectors[name][number].tolist() == ours[name][number].tolist(), (
                name
            )


def test_page_gives_the_class(bundle: Bundle) -> None:
    design, weights = read_design(bundle.path), read_members(bundle.path / "weights.npz")
    images = read_members(bundle.path / "golden.npz")["images"]
    last = design["network"]["layers"][-1]["name"]
    found = []
    for image in images.tolist():
        flat = [v for rows in evaluate(design, weights, image)[last] for row in rows for v in row]
        found.append(flat.index(max(flat)))
    assert found == golden.predict(bundle.design.network, bundle.weights, images).tolist()


def test_page_gives_the_digest(bundle: Bundle) -> None:
    found = digest(read_design(bundle.path), read_members(bundle.path / "weights.npz"))
    assert found == bundle.digest


def test_digest_does_not_depend_on_absent_defaults(bundle: Bundle, tmp_path: Path) -> None:
    document = json.loads((bundle.path / "design.json").read_text())
    for layer in document["network"]["layers"]:
        for key, value in DEFAULTS.items():
            if layer[key] == value:
                del layer[key]
    (tmp_path / "design.json").write_text(json.dumps(document))
    (tmp_path / "weights.npz").write_bytes((bundle.path / "weights.npz").read_bytes())
    assert (
        Bundle(tmp_path).digest
        == bundle.digest
        == digest(read_design(tmp_path), read_members(tmp_path / "weights.npz"))
    )


def test_random_designs_hold_every_kind_of_layer(tmp_path: Path) -> None:
    layers: list[dict[str, Any]] = []
    for seed in range(1, 30):
        random_bundle(tmp_path / str(seed), seed, 1)
        layers += read_design(tmp_path / str(seed))["network"]["layers"]
    assert {layer["op"] for layer in layers} == {
        "conv",
        "global_pool",
        "avg_pool",
        "max_pool",
        "shuffle",
    }
    assert {layer["signed"] for layer in layers} == {True, False}
    assert any(layer["residual"] for layer in layers)
    assert any(layer["raw"] for layer in layers)
    assert any(
        1 < layer["groups"] < layer["out_channels"] for layer in layers if layer["op"] == "conv"
    )
    assert any(
        layer["groups"] == layer["out_channels"] > 1 for layer in layers if layer["op"] == "conv"
    )
    assert any(max(layer["stride"]) > 1 and max(layer["padding"]) > 0 for layer in layers)


def keys(schema: object) -> set[str]:
    """Every property name in a JSON schema, and every word of its enumerations."""
    if isinstance(schema, list):
        return set().union(*map(keys, schema))
    if not isinstance(schema, dict):
        return set()
    return {*schema.get("properties", {}), *map(str, schema.get("enum", ()))}.union(
        *map(keys, schema.values())
    )


def named_in_code(text: str) -> set[str]:
    """Words in back quotes."""
    return {
        word for quoted in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", quoted)
    }


@pytest.mark.parametrize("name", ["design", "summary"])
def test_page_names_every_key_of_the_schema(name: str) -> None:
    path = ROOT / "autonba" / "schemas" / f"{name}.schema.json"
    missing = keys(json.loads(path.read_text())) - named_in_code(PAGE.read_text(encoding="utf-8"))
    assert not missing, f"docs/bundle-format.md must name {sorted(missing)}"


def test_page_names_every_layer_default(bundle: Bundle) -> None:
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| [^|]+ \| ([^|]+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    for key, value in DEFAULTS.items():
        assert rows[key] == json.dumps(value), key
