"""The design bundle: a folder that every stage reads and writes, with deterministic, checked
files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from autonba.accelerator import Accelerator, Buffer, Chunk, Loops
from autonba.arithmetic import IntArray, value_range
from autonba.boards import check_clock_range, find_board
from autonba.errors import BundleError, SpecError
from autonba.files import Work, inside, read_arrays, read_json, recover, working
from autonba.golden import LayerWeights, Weights, check_weights
from autonba.names import check_length
from autonba.network import Layer, Network, Tensor

SCHEMA_VERSION = 1
MOST_MESSAGE = 400  # characters of what a schema says


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
            check_length("design", document["name"])
            target = Target(**document["target"])
            check_clock_range(find_board(target.board), target.clock_mhz)
            return cls(
                name=document["name"],
                network=_network(net),
                accelerator=accelerator_from_json(acc),
                target=target,
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
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(document))
    if error is not None:
        where = "".join(
            f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path
        ).lstrip(".")
        message = error.message
        if len(message) > MOST_MESSAGE:
            message = f"{message[: MOST_MESSAGE // 2]} ... {message[-MOST_MESSAGE // 2 :]}"
        raise SpecError(f"{place}: {where or 'the document'}: {message}")


@cache
def _validator(schema: str) -> Any:
    """A validator whose integers are written as such, and whose `$` is the end of the text."""
    rules = json.loads(
        resources.files("autonba.schemas").joinpath(f"{schema}.schema.json").read_text()
    )
    base = jsonschema.Draft202012Validator
    types = base.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )

    def pattern(_: Any, wanted: str, value: object, __: Any) -> Iterator[Any]:
        if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), value):
            yield jsonschema.ValidationError(f"{value!r} does not match {wanted!r}")

    extend: Any = jsonschema.validators.extend
    return extend(base, {"pattern": pattern}, type_checker=types)(rules)


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
    """A bundle's folder. What it returns is consistent, or an error was raised."""

    path: Path

    @cached_property
    def design(self) -> Design:
        """design.json."""
        if not self.path.is_dir():
            raise BundleError(
                f"{self.path}: the bundle must be a folder, and there is none; run `autonba search"
                f" -o {self.path}`"
            )
        recover(self.path)
        path = inside(self.path, "design.json")
        return Design.from_json(read_json(path), str(path))

    @cached_property
    def weights(self) -> Weights:
        """weights.npz: members `<layer>.weight`, `<layer>.bias`, `<layer>.m`."""
        network = self.design.network
        path = inside(self.path, "weights.npz")
        by_layer: dict[str, dict[str, IntArray]] = {}
        for name, values in read_arrays(path).items():
            layer, _, field = name.rpartition(".")
            if field not in {f.name for f in fields(LayerWeights)}:
                raise BundleError(
                    f"{path}: member {name!r} must be named <layer>.weight, .bias or .m"
                )
            by_layer.setdefault(layer, {})[field] = _integers(path, name, values)
        weights = {layer: LayerWeights(**arrays) for layer, arrays in by_layer.items()}
        try:
            check_weights(network, weights)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
        return weights

    @cached_property
    def golden(self) -> dict[str, IntArray]:
        """golden.npz: `images` (N, C, H, W), `labels` (N,), and `<layer>` (N, C, H, W) for every
        layer.
        """
        network = self.design.network
        path = inside(self.path, "golden.npz")
        arrays = {name: _integers(path, name, values) for name, values in read_arrays(path).items()}
        tensors = network.tensors
        wanted = {"images", "labels", *(layer.name for layer in network.layers)}
        if set(arrays) != wanted:
            odd = min(set(arrays) ^ wanted)
            raise BundleError(
                f"{path}: members must be images, labels and each layer; {odd!r} is missing or not"
                " wanted"
            )
        labels = arrays["labels"]
        if labels.ndim != 1 or not len(labels):
            raise BundleError(
                f"{path}: labels must be a list of at least one image's class, not of shape"
                f" {list(labels.shape)}"
            )
        classes = len(network.classes)
        if labels.min() < 0 or labels.max() >= classes:
            raise BundleError(
                f"{path}: labels must be from 0 to {classes - 1}, as the network has {classes}"
                f" classes, not {labels.min()}..{labels.max()}"
            )
        for name, values in arrays.items():
            if name == "labels":
                continue
            t = tensors["input" if name == "images" else name]
            shape = [len(labels), t.channels, t.height, t.width]
            if list(values.shape) != shape:
                raise BundleError(
                    f"{path}: {name!r} must have shape {shape}, not {list(values.shape)}"
                )
            low, high = value_range(t.bits, t.signed)
            if values.min() < low or values.max() > high:
                raise BundleError(
                    f"{path}: {name!r} must lie in {low}..{high}, not"
                    f" {values.min()}..{values.max()}"
                )
        return arrays

    @cached_property
    def digest(self) -> str:
        """SHA-256 over design.json and weights.npz, in hexadecimal."""
        return digest_of(self.design, self.weights)


def digest_of(design: Design, weights: Weights) -> str:
    """SHA-256 over a design document and its weights, in hexadecimal."""
    digest = hashlib.sha256()
    digest.update(json.dumps(design.to_json(), sort_keys=True, separators=(",", ":")).encode())
    for layer, own in sorted(weights.items()):
        for field in ("bias", "m", "weight"):
            values = getattr(own, field)
            if values is not None:
                digest.update(
                    f"{layer}.{field}{values.shape}".encode() + values.astype("<i8").tobytes()
                )
    return digest.hexdigest()


def _integers(path: Path, name: str, values: np.ndarray[Any, Any]) -> IntArray:
    """Integers of at most 64 bits with a sign; BundleError."""
    if not np.issubdtype(values.dtype, np.integer):
        raise BundleError(f"{path}: member {name!r} must be integers, not {values.dtype}")
    if values.dtype == np.uint64 and values.size and values.max() >= 1 << 63:
        raise BundleError(f"{path}: member {name!r} must be below 2^63, not {values.max()}")
    return values.astype(np.int64)


def put_bundle(
    work: Work, design: Design, weights: Weights, golden: Mapping[str, IntArray]
) -> None:
    """Put design.json, weights.npz and golden.npz aside for `work`, once everything is checked."""
    check_weights(design.network, weights)
    document = json.loads(json.dumps(design.to_json()))
    Design.from_json(document)
    arrays = {
        f"{layer}.{field.name}": getattr(own, field.name)
        for layer, own in weights.items()
        for field in fields(LayerWeights)
        if getattr(own, field.name) is not None
    }
    work.write_arrays("weights.npz", {k: v.astype(smallest_dtype(v)) for k, v in arrays.items()})
    work.write_arrays("golden.npz", {k: v.astype(smallest_dtype(v)) for k, v in golden.items()})
    work.write_json("design.json", document)


def write_bundle(
    path: Path, design: Design, weights: Weights, golden: Mapping[str, IntArray]
) -> Bundle:
    """Write design.json, weights.npz and golden.npz, all or none."""
    with working(path) as work:
        put_bundle(work, design, weights, golden)
    return Bundle(path)
