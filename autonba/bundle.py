"""The design bundle: a folder that every stage reads and writes, with deterministic, checked
files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from autonba.accelerator import Accelerator, Buffer, Chunk, Loops
from autonba.arithmetic import IntArray
from autonba.errors import BundleError, SpecError
from autonba.golden import LayerWeights, Weights, check_weights
from autonba.network import Layer, Network, Tensor

SCHEMA_VERSION = 1
_EPOCH = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # zip entries carry a date; a fixed one keeps the file's bytes a function of its content


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the design runs: a board's name and the clock in MHz."""

    board: str
    clock_mhz: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """Content of design.json. `constraints` maps 'dsp', 'bram', 'lut', 'ff', 'clock_mhz',
    'min_fps', 'max_latency_ms' and 'max_energy_uj' to limits."""

    name: str
    network: Network
    accelerator: Accelerator
    target: Target
    constraints: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        network = asdict(self.network)
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "network": network,
            "accelerator": asdict(self.accelerator),
            "target": asdict(self.target),
            "constraints": dict(self.constraints),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any], place: str = "design.json") -> Design:
        """Parse and check; unknown keys and broken rules are refused with the place named."""
        check_schema(document, "design", place)
        try:
            net, acc = document["network"], document["accelerator"]
            return cls(
                name=document["name"],
                network=_network(net),
                accelerator=accelerator_from_json(acc),
                target=Target(**document["target"]),
                constraints=dict(document["constraints"]),
            )
        except SpecError as error:
            raise SpecError(f"{place}: {error}") from None


def accelerator_from_json(document: dict[str, Any]) -> Accelerator:
    """The accelerator of checked JSON values."""
    return Accelerator(
        chunks=tuple(Chunk(**chunk) for chunk in document["chunks"]),
        allocation=dict(document["allocation"]),
        buffers=tuple(Buffer(**buffer) for buffer in document["buffers"]),
        loops={layer: Loops(**loops) for layer, loops in document["loops"].items()},
        stream_bits=document["stream_bits"],
        loadable=document["loadable"],
    )


def network_from_json(document: Any, place: str = "network.json") -> tuple[str, Network]:
    """Name and network of a network document (docs/bundle-format.md, section 1.3)."""
    check_schema(document, "network", place)
    try:
        return document.get("name", "network"), _network(document["network"])
    except SpecError as error:
        raise SpecError(f"{place}: {error}") from None


def _network(document: dict[str, Any]) -> Network:
    return Network(
        input=Tensor(**document["input"]),
        layers=tuple(_layer(layer) for layer in document["layers"]),
        classes=tuple(document["classes"]),
    )


def _layer(document: dict[str, Any]) -> Layer:
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in document.items()
    }
    return Layer(**fields)


def check_schema(document: object, schema: str, place: str) -> None:
    """Raise SpecError where `document` breaks `autonba/schemas/<schema>.schema.json`, naming the
    place in it.
    """
    rules = json.loads(
        resources.files("autonba.schemas").joinpath(f"{schema}.schema.json").read_text()
    )
    validator = jsonschema.Draft202012Validator(rules)
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        where = "".join(
            f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path
        ).lstrip(".")
        raise SpecError(f"{place}: {where or 'the document'}: {error.message}")


def read_json(path: Path) -> Any:
    """Parse a JSON file; a missing file, bad syntax and duplicate keys are refused with the place
    named.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise BundleError(
                    f"{path}: key {key!r} must occur once, and it occurs {keys.count(key)} times"
                )
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique)
    except FileNotFoundError:
        raise BundleError(
            f"{path}: the file must exist, and it does not; run the stage that writes it"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise BundleError(
            f"{path}: the file must be readable JSON ({error}); write it again"
        ) from None


def write_json(path: Path, document: object) -> None:
    """Write sorted, indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all; an equal file is left untouched."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write an .npz whose bytes depend on the arrays alone."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(
                member, np.ascontiguousarray(arrays[name]), allow_pickle=False
            )
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, member.getvalue())
    write_bytes(path, out.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read an .npz of plain arrays; nothing in it can run code."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise BundleError(
            f"{path}: the file must exist, and it does not; run `autonba search` again"
        ) from None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise BundleError(
            f"{path}: the file must be an undamaged .npz of integers ({error}); write it again"
        ) from None


def smallest_dtype(values: IntArray) -> np.dtype[Any]:
    """The narrowest signed integer type that holds `values`."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return next(
        np.dtype(t)
        for t in (np.int8, np.int16, np.int32, np.int64)
        if np.iinfo(t).min <= low and high <= np.iinfo(t).max
    )


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder. Reading is checked: what it returns is consistent or an error was
    raised.
    """

    path: Path

    @cached_property
    def design(self) -> Design:
        """design.json."""
        return Design.from_json(
            read_json(self.path / "design.json"), str(self.path / "design.json")
        )

    @cached_property
    def weights(self) -> Weights:
        """weights.npz: members `<layer>.weight`, `<layer>.bias`, `<layer>.m`."""
        path = self.path / "weights.npz"
        by_layer: dict[str, dict[str, IntArray]] = {}
        for name, values in read_arrays(path).items():
            layer, _, field = name.rpartition(".")
            if field not in {f.name for f in fields(LayerWeights)} or not np.issubdtype(
                values.dtype, np.integer
            ):
                raise BundleError(
                    f"{path}: member {name!r} must be integers named <layer>.weight, .bias or .m"
                )
            by_layer.setdefault(layer, {})[field] = values.astype(np.int64)
        weights = {layer: LayerWeights(**arrays) for layer, arrays in by_layer.items()}
        try:
            check_weights(self.design.network, weights)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
        return weights

    @cached_property
    def golden(self) -> dict[str, IntArray]:
        """golden.npz: `images` (N, C, H, W), `labels` (N,), and `<layer>` (N, C, H, W) for every
        layer.
        """
        path = self.path / "golden.npz"
        arrays = {name: values.astype(np.int64) for name, values in read_arrays(path).items()}
        tensors = self.design.network.tensors
        wanted = {"images", "labels", *(layer.name for layer in self.design.network.layers)}
        if set(arrays) != wanted:
            odd = min(set(arrays) ^ wanted)
            raise BundleError(
                f"{path}: members must be images, labels and each layer; {odd!r} is missing or not"
                " wanted"
            )
        n = len(arrays["labels"])
        for name, values in arrays.items():
            if name == "labels":
                continue
            t = tensors["input" if name == "images" else name]
            if values.shape != (n, t.channels, t.height, t.width):
                raise BundleError(
                    f"{path}: {name!r} must have shape {[n, t.channels, t.height, t.width]}, "
                    f"not {list(values.shape)}"
                )
        return arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 over design.json and weights.npz, in hexadecimal."""
        digest = hashlib.sha256()
        digest.update(
            json.dumps(self.design.to_json(), sort_keys=True, separators=(",", ":")).encode()
        )
        for layer, own in sorted(self.weights.items()):
            for field in ("bias", "m", "weight"):
                values = getattr(own, field)
                if values is not None:
                    digest.update(
                        f"{layer}.{field}{values.shape}".encode() + values.astype("<i8").tobytes()
                    )
        return digest.hexdigest()


def write_bundle(
    path: Path, design: Design, weights: Weights, golden: Mapping[str, IntArray]
) -> Bundle:
    """Write design.json, weights.npz and golden.npz; everything is checked before the first byte is
    written.
    """
    check_weights(design.network, weights)
    document = json.loads(json.dumps(design.to_json()))
    Design.from_json(document)
    arrays = {
        f"{layer}.{field.name}": getattr(own, field.name)
        for layer, own in weights.items()
        for field in fields(LayerWeights)
        if getattr(own, field.name) is not None
    }
    write_arrays(path / "weights.npz", {k: v.astype(smallest_dtype(v)) for k, v in arrays.items()})
    write_arrays(path / "golden.npz", {k: v.astype(smallest_dtype(v)) for k, v in golden.items()})
    write_json(path / "design.json", document)
    return Bundle(path)
