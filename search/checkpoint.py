"""Finished phases of a search on disk, as JSON and plain arrays, so that an interrupted run can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autonba.bundle import read_arrays, read_json, write_arrays, write_json
from autonba.errors import BundleError


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Phases of a run in `folder`. A phase is only taken up again by a run with the same `settings`."""

    folder: Path
    settings: Mapping[str, Any]
    resume: bool

    def load(self, phase: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
        """Facts and arrays of a finished phase, or None where it must be run."""
        path = self.folder / f"{phase}.json"
        if not self.resume or not path.is_file():
            return None
        document = read_json(path)
        if document.get("settings") != dict(self.settings):
            return None
        try:
            arrays = read_arrays(self.folder / f"{phase}.npz")
        except BundleError:
            return None
        return document["facts"], arrays

    def save(self, phase: str, facts: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]] | None = None) -> None:
        """Keep a finished phase; the arrays are written before the file that declares the phase finished."""
        write_arrays(self.folder / f"{phase}.npz", {k: np.asarray(v) for k, v in (arrays or {}).items()})
        write_json(self.folder / f"{phase}.json", {"settings": dict(self.settings), "facts": dict(facts)})

    def clear(self) -> None:
        """Remove every phase."""
        if self.folder.is_dir():
            for path in [*self.folder.glob("*.json"), *self.folder.glob("*.npz")]:
                path.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
