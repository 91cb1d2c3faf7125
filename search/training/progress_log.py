"""Scalars of a run, a line each epoch or step: JSONL always, TensorBoard beside it where it is
asked for.

A line holds no time, so that the same run writes the same bytes. A run that goes on from a
checkpoint first rewinds the phase to the checkpoint's step, so no step is held twice.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autonba.files import write_bytes

FIGURES = 6  # significant figures of a logged value


class Log:
    """Appends to `path` (None: nothing is kept) and to TensorBoard files in `tensorboard`/<phase>.

    Only the main process of a distributed run is given paths. Raises ModuleNotFoundError where
    TensorBoard is asked for and is not installed.
    """

    def __init__(self, path: Path | None = None, tensorboard: Path | None = None) -> None:
        self.path, self.tensorboard = path, tensorboard
        self._writers: dict[str, Any] = {}
        if tensorboard is not None:
            importlib.import_module("tensorboard")  # a missing package is told before hours of work

    def clear(self) -> None:
        """Forget the lines of an earlier run in the same place."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def rewind(self, phase: str, step: int = 0) -> None:
        """Forget the lines of `phase` after `step` (0: all), those of later phases with them, and a
        line cut short by a kill.

        Called where a phase begins or goes on.
        """
        kept: list[str] = []
        if self.path is not None and self.path.is_file():
            for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines(
                keepends=True
            ):
                entry = _entry(line)
                if entry is None or (entry["phase"] == phase and entry["step"] > step):
                    break
                kept.append(line)
        if self.path is not None:
            write_bytes(self.path, "".join(kept).encode())
        if self.tensorboard is not None:
            if phase in self._writers:
                self._writers.pop(phase).close()
            self._open(phase, step + 1 if step else 0)

    def scalars(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """One line {"phase", "step", ...values}; `step` rises within a phase."""
        rounded = {name: float(f"{value:.{FIGURES}g}") for name, value in values.items()}
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"phase": phase, "step": step, **rounded}) + "\n")
        if self.tensorboard is not None:
            self._tensorboard(phase, step, rounded)

    def close(self) -> None:
        """Flush and close the TensorBoard files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _tensorboard(self, phase: str, step: int, values: Mapping[str, Any]) -> None:
        if phase not in self._writers:
            self._open(phase, step)
        for name, value in values.items():
            if name not in ("phase", "step"):
                self._writers[phase].add_scalar(name, value, step)

    def _open(self, phase: str, step: int) -> None:
        """Begin a file whose steps, from `step` on, take the place of those in earlier files."""
        from torch.utils.tensorboard import SummaryWriter

        assert self.tensorboard is not None
        folder = str(self.tensorboard / phase)
        self._writers[phase] = SummaryWriter(folder, purge_step=step)


def _entry(line: str) -> dict[str, Any] | None:
    """The line's values, or None where it is damaged."""
    try:
        entry = json.loads(line) if line.endswith("\n") else None
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) and "phase" in entry and "step" in entry else None
