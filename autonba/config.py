"""Settings of a search: from a TOML file, the command line, or both (the command line wins)."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from autonba.errors import SpecError

Effort = Literal["quick", "full"]
LIMITS = ("dsp", "bram", "lut", "ff")  # what a constraint may limit


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What `autonba search` is asked for. `clock_mhz` None means the board's own; `constraints` tighten the board's limits."""

    dataset: str = "digits"
    board: str = "ulx3s-85f"
    out: str = "build"
    clock_mhz: float | None = None
    seed: int = 1
    effort: Effort = "full"
    constraints: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("dataset", "board", "out"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise SpecError(f"{name} must be a text, not {value!r}")
        if self.clock_mhz is not None and not (_number(self.clock_mhz) and self.clock_mhz > 0):
            raise SpecError(f"clock_mhz must be a number above 0, not {self.clock_mhz!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise SpecError(f"seed must be an integer from 0 on, not {self.seed!r}")
        if self.effort not in get_args(Effort):
            raise SpecError(f"effort must be 'quick' or 'full', not {self.effort!r}")
        if not isinstance(self.constraints, Mapping):
            raise SpecError(f"constraints must be a table, not {self.constraints!r}")
        for name, limit in self.constraints.items():
            if name not in LIMITS:
                raise SpecError(f"constraints: unknown key {name!r}; {_nearest(name, LIMITS)}")
            if not _number(limit) or limit < 0:
                raise SpecError(f"constraints.{name} must be a number from 0 on, not {limit!r}")


def load(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, checked; an unknown key is refused with the place named."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: the configuration must be a readable file ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: the configuration must be TOML ({error})") from None
    known = tuple(f.name for f in fields(SearchConfig))
    for name in settings:
        if name not in known:
            raise SpecError(f"{path}: unknown key {name!r}; {_nearest(name, known)}")
    try:
        SearchConfig(**settings)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None
    return settings


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) != float("inf")


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys are {', '.join(known)}"
