"""Reading of TOML: settings of a search, and search spaces."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from autonba.errors import SpecError
from autonba.files import read_text

MOST_BYTES = 1 << 20  # of a file


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; raises SpecError."""
    text = read_text(path, most=MOST_BYTES, error=SpecError, advice="mend it or name another one")
    try:
        return parse_toml(text)
    except SpecError as error:
        raise SpecError(f"{path}: {error}; mend it") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text; raises SpecError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"the file must be TOML ({error})") from None
    except (RecursionError, ValueError, OverflowError) as error:
        raise SpecError(
            f"the file must be TOML of fewer levels and digits ({str(error)[:100]})"
        ) from None
