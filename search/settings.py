"""Settings of a search: from a TOML file, the command line, or both (the command line wins).

This module needs no PyTorch: a mistake is told at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from autonba.errors import SpecError
from autonba.toml import read_toml

Effort = Literal["quick", "full"]
Strategy = Literal["joint", "sequential", "random", "evolutionary"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
Bitwidths = Literal["heterogeneous", "hard", "soft", "random-hard"]
BITWIDTHS: tuple[Bitwidths, ...] = get_args(Bitwidths)
Level = Literal["bilevel", "one-level"]
LEVELS: tuple[Level, ...] = get_args(Level)
CONSTRAINTS = ("min_fps", "max_latency_ms", "max_energy_uj")  # beside the resources
LIMITS = ("dsp", "bram", "lut", "ff", *CONSTRAINTS)  # what a constraint may limit
COUNTS = (
    "warm_epochs",
    "search_epochs",
    "float_epochs",
    "quantized_epochs",
)  # take the place of the effort's
RANGES = {
    "warm_epochs": (0, 100_000),
    "search_epochs": (0, 100_000),
    "float_epochs": (1, 100_000),
    "quantized_epochs": (1, 100_000),
    "paths": (1, 1000),
    "search_images": (1, 10**9),
    "batch": (1, 65536),
    "threads": (1, 1024),
}
MOST_SEED = 2**63 - 1
MOST_TEXT = 4096  # characters of a setting
TEXTS = (
    "dataset",
    "board",
    "out",
    "space",
    "objective",
    "strategy",
    "bitwidths",
    "level",
    "device",
    "precision",
    "tensorboard",
    "augmentation",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `autonba search` is asked for. None leaves a setting to the board, the data set's space
    or the effort.

    `constraints` take the place of the space's; resources cannot exceed the board's. What each
    setting means: docs/search.md. Boards, spaces, objectives, augmentations and devices are checked
    where they are looked up, before the images are read.
    """

    dataset: str = "digits"
    board: str = "ulx3s-85f"
    out: str = "build"
    clock_mhz: float | None = None
    seed: int = 1
    effort: Effort = "full"
    constraints: Mapping[str, float] = field(default_factory=dict)
    space: str | None = None
    bits: Sequence[int] | None = None
    objective: str = "throughput"
    strategy: Strategy = "joint"
    bitwidths: Bitwidths = "heterogeneous"
    paths: int = 2
    level: Level = "bilevel"
    offset: bool = True
    correction: bool = True
    warm_epochs: int | None = None
    search_epochs: int | None = None
    float_epochs: int | None = None
    quantized_epochs: int | None = None
    search_images: int | None = None
    batch: int | None = None
    augmentation: str | None = None
    val_size: float | None = None
    test_size: float | None = None
    device: str = "cpu"
    precision: str = "float32"
    threads: int = 1
    tensorboard: str | None = None

    def __post_init__(self) -> None:
        for name in TEXTS:
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, str) or not 0 < len(value) <= MOST_TEXT or "\0" in value:
                raise SpecError(
                    f"{name} must be a text of 1 to {MOST_TEXT} characters, not"
                    f" {str(value)[:100]!r}"
                )
        if self.clock_mhz is not None and not (_number(self.clock_mhz) and self.clock_mhz > 0):
            raise SpecError(f"clock_mhz must be a number above 0, not {self.clock_mhz!r}")
        if not _integer(self.seed) or not 0 <= self.seed <= MOST_SEED:
            raise SpecError(f"seed must be an integer from 0 to {MOST_SEED}, not {self.seed!r}")
        if self.effort not in get_args(Effort):
            raise SpecError(f"effort must be 'quick' or 'full', not {self.effort!r}")
        for name, known in (
            ("strategy", STRATEGIES),
            ("bitwidths", BITWIDTHS),
            ("level", LEVELS),
        ):
            if getattr(self, name) not in known:
                raise SpecError(
                    f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}"
                )
        for name in (*COUNTS, "paths", "search_images", "batch", "threads"):
            value, (least, most) = getattr(self, name), RANGES[name]
            if value is not None and (not _integer(value) or not least <= value <= most):
                raise SpecError(f"{name} must be an integer from {least} to {most}, not {value!r}")
        for name in ("val_size", "test_size"):
            value = getattr(self, name)
            if value is not None and not (_number(value) and value > 0):
                raise SpecError(f"{name} must be a fraction or a number of images, not {value!r}")
        for name in ("offset", "correction"):
            if not isinstance(getattr(self, name), bool):
                raise SpecError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.bits is not None and (
            not isinstance(self.bits, (list, tuple)) or not all(_integer(b) for b in self.bits)
        ):
            raise SpecError(f"bits must be a list of integers from 2 to 8, not {self.bits!r}")
        if not isinstance(self.constraints, Mapping):
            raise SpecError(f"constraints must be a table, not {self.constraints!r}")
        for name, limit in self.constraints.items():
            if name not in LIMITS:
                raise SpecError(f"constraints: unknown key {name!r}; {_nearest(name, LIMITS)}")
            if not _number(limit) or limit < 0:
                raise SpecError(f"constraints.{name} must be a number from 0 on, not {limit!r}")


def load(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, checked; an unknown key is refused with the place named."""
    settings = read_toml(path)
    known = tuple(f.name for f in fields(Settings))
    for name in settings:
        if name not in known:
            raise SpecError(f"{path}: unknown key {name!r}; {_nearest(name, known)}")
    try:
        Settings(**settings)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    return settings


def integers(name: str, text: str) -> list[int]:
    """Numbers of a text such as '4,6,8'; raises SpecError."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SpecError(f"{name} must be integers such as 4,6,8, not {text[:100]!r}") from None


def limit_values(text: str) -> tuple[str, list[float]]:
    """Limit and values of a text such as 'min-fps=1000,2000'; raises SpecError."""
    key, _, values = text.partition("=")
    name = (
        key.replace("-", "_").removeprefix("max_")
        if key.startswith("max") and "_" not in key
        else key.replace("-", "_")
    )
    name = f"max_{name}" if f"max_{name}" in LIMITS else name
    if name not in LIMITS:
        known = ", ".join(n.replace("_", "-") if "_" in n else f"max-{n}" for n in LIMITS)
        raise SpecError(f"sweep must name one of {known}, not {key!r}")
    try:
        numbers = [float(v) for v in values.split(",")]
    except ValueError:
        raise SpecError(f"sweep must be like min-fps=1000,2000,4000, not {text!r}") from None
    if len(set(numbers)) < 2:
        raise SpecError(f"sweep must hold at least two different values, not {text!r}")
    return name, numbers


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and value == value
        and abs(value) != float("inf")
    )


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys are {', '.join(known)}"
