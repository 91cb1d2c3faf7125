"""What an interrupted run needs to go on with the same bytes: finished phases, and snapshots within
a phase.

A phase keeps JSON facts and plain arrays; a snapshot keeps tensors, optimizer states and random
generators, in torch's own format without code. Files are replaced whole: a kill at any moment
leaves the one before or the new one.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from autonba.errors import BundleError
from autonba.files import Owned, array_bytes, json_bytes, read_arrays, read_json

from . import distributed

SECONDS = 20.0  # between two snapshots of a phase, beside those that the phase asks for


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Phases of a run in `folder`. A phase is only taken up again by a run with the same
    `settings`.
    """

    folder: Path
    settings: Mapping[str, Any]
    resume: bool

    def load(
        self, phase: str, *, always: bool = False
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
        """Facts and arrays of a finished phase, or None where it must be run; with `always`, also
        of a phase of this run.
        """
        return distributed.from_main(lambda: self._load(phase, always))

    def _load(
        self, phase: str, always: bool
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]] | None:
        path = self.folder / f"{phase}.json"
        if not (self.resume or always) or not path.is_file():
            return None
        try:
            document = read_json(path)
            arrays = read_arrays(self.folder / f"{phase}.npz")
        except BundleError:
            return None
        return (
            (document["facts"], arrays) if document.get("settings") == dict(self.settings) else None
        )

    def save(
        self,
        phase: str,
        facts: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Keep a finished phase; the arrays are written before the file that declares the phase
        finished.
        """
        if not distributed.is_main():
            return
        own = Owned(self.folder)
        plain = {k: np.asarray(v) for k, v in (arrays or {}).items()}
        own.write(f"{phase}.npz", array_bytes(plain))
        document = {"settings": dict(self.settings), "facts": dict(facts)}
        own.write(f"{phase}.json", json_bytes(document))
        self.within(phase).clear()

    def within(self, phase: str) -> Resumable:
        """Snapshots of an unfinished phase."""
        return Resumable(self.folder / f"{phase}.pt", self.settings, resume=self.resume)

    def clear(self) -> None:
        """Remove every phase."""
        if distributed.is_main():
            Owned(self.folder).clear()


class Resumable:
    """The latest snapshot of a phase: nested dicts and lists of tensors, numbers and texts. `path`
    None keeps nothing.
    """

    def __init__(
        self,
        path: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        *,
        resume: bool = False,
        seconds: float = SECONDS,
    ) -> None:
        self.path, self.settings, self.resume, self.seconds = (
            path,
            dict(settings or {}),
            resume,
            seconds,
        )
        self._saved = time.monotonic()

    def restore(self) -> dict[str, Any] | None:
        """The latest snapshot of a run with the same settings; None where the phase starts
        afresh.
        """
        return distributed.from_main(self._restore)

    def _restore(self) -> dict[str, Any] | None:
        if self.path is None or not self.resume or not self.path.is_file():
            return None
        try:
            document = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # a damaged file raises many kinds; the phase then starts afresh
            return None
        if not isinstance(document, dict) or document.get("settings") != self.settings:
            return None
        state: dict[str, Any] = document["state"]
        return state

    def due(self) -> bool:
        """Whether a snapshot is worth its time now: `seconds` have passed. What the run computes
        must not depend on it.
        """
        return (
            self.path is not None
            and distributed.is_main()
            and time.monotonic() - self._saved >= self.seconds
        )

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the snapshot, whole or not at all. TypeError where it holds what could not be
        read back.
        """
        if self.path is None or not distributed.is_main():
            return
        _check(state, "snapshot")
        out = io.BytesIO()
        torch.save({"settings": self.settings, "state": dict(state)}, out)
        Owned(self.path.parent).write(self.path.name, out.getvalue())
        self._saved = time.monotonic()

    def clear(self) -> None:
        """Forget the snapshot, once the phase's result is kept."""
        if self.path is not None and distributed.is_main():
            Owned(self.path.parent).remove(self.path.name)


class Snapshot:
    """Takes and puts back the state of named parts: torch generators, and whatever has `state_dict`
    and `load_state_dict`.

        parts = Snapshot(model=model, optimizer=optimizer, schedule=schedule, generator=generator)
        resumable.save(parts.take(epoch=3, losses=[0.5]))
        plain = parts.put_back(resumable.restore())       # {'epoch': 3, 'losses': [0.5]}

    The global torch generator is always one of the parts.
    """

    def __init__(self, **parts: Any) -> None:
        self.parts = parts

    def take(self, **plain: Any) -> dict[str, Any]:
        """The parts' present state beside `plain` values (numbers, texts, tensors, lists and dicts
        of them).
        """
        states = {
            n: p.get_state() if isinstance(p, torch.Generator) else p.state_dict()
            for n, p in self.parts.items()
        }
        return {"parts": states, "generator": torch.get_rng_state(), "plain": plain}

    def put_back(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Give the parts the state that `take` took; returns the plain values."""
        torch.set_rng_state(state["generator"])
        for name, part in self.parts.items():
            if isinstance(part, torch.Generator):
                part.set_state(state["parts"][name])
            else:
                part.load_state_dict(state["parts"][name])
        plain: dict[str, Any] = state["plain"]
        return plain


class Numbers:
    """A NumPy generator as a part of a `Snapshot`."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator

    def state_dict(self) -> dict[str, Any]:
        """Its state, integers as texts, since they are longer than 64 bits."""
        return {"state": json.dumps(self.generator.bit_generator.state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.generator.bit_generator.state = json.loads(state["state"])


def _check(value: object, place: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check(item, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            _check(item, f"{place}[{number}]")
    elif not (
        value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor)
    ):
        raise TypeError(
            f"{place} must be a tensor, number or text, or lists and dicts of them, not"
            f" {type(value).__name__}"
        )
