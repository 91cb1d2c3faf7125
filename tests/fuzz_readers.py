"""Random damage to every sort of file that is read: nothing but the project's own errors.

    python -m tests.fuzz_readers [--minutes 2] [--seed 1]

Bytes are changed at random; in JSON also whole values, so that the damage gets past the parser.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autonba import uart_frame
from autonba.bundle import Bundle, network_from_json
from autonba.errors import AutonbaError
from autonba.files import read_json
from autonba.flows.host import Board
from autonba.mapping import plan
from autonba.report_facts import check_facts
from autonba.search import settings
from autonba.search.network import spaces
from autonba.search.training import datasets
from autonba.uart_frame import Identity
from tests.bad_inputs import make_folder

CIFAR = Path(__file__).parents[1] / "benchmarks" / "cifar10" / "design"
SLOW = 10.0  # seconds that reading one input may take
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 8, 9, 64, 255, 4096, 65537, 10**9, 1 << 62, -(1 << 63),
    0.5, 1e300, "", "a", "input", "output", "packs", "\n", "\0", "x" * 500, "é", [], [0], {},
)  # fmt: skip
TOKENS = (
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"=",
    b"\n",
    b"\0",
    b"\xff",
    b"-",
    b"nan",
    b"1e999",
    b"9" * 400,
)


def damaged(data: bytes, noise: np.random.Generator) -> bytes:
    """`data` with a few changes."""
    out = bytearray(data)
    for _ in range(int(noise.integers(1, 6))):
        place = int(noise.integers(0, len(out) + 1))
        length = int(noise.integers(1, 1 + min(64, max(1, len(out) // 4))))
        match int(noise.integers(0, 6)):
            case 0:
                out[place : place + length] = b""
            case 1:
                out[place:place] = noise.bytes(length)
            case 2 if place < len(out):
                out[place] ^= 1 << int(noise.integers(0, 8))
            case 3:
                out[place:place] = TOKENS[int(noise.integers(len(TOKENS)))]
            case 4:
                out[place:place] = out[place : place + length]
            case _:
                del out[place + length :]
    return bytes(out)


def damaged_json(data: bytes, noise: np.random.Generator) -> bytes:
    """A JSON text with some values replaced, removed or moved; one time in four as `damaged`."""
    if noise.integers(4) == 0:
        return damaged(data, noise)
    document = json.loads(data)
    for _ in range(int(noise.integers(1, 4))):
        holder: Any = document
        while True:
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            if not keys:
                break
            key = keys[int(noise.integers(len(keys)))]
            inner = holder[key]
            if isinstance(inner, (dict, list)) and inner and noise.integers(5):
                holder = inner
                continue
            match int(noise.integers(0, 5)):
                case 0:
                    del holder[key]
                case 1 if isinstance(holder, dict):
                    holder[f"{key}x"] = inner
                case 2 if isinstance(holder, list):
                    holder.append(inner)
                case _:
                    holder[key] = ODD[int(noise.integers(len(ODD)))]
            break
    return json.dumps(document).encode()


class Line:
    """A serial line that sends what it was given."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int = 1) -> bytes:
        """The next bytes."""
        part, self.data = self.data[:size], self.data[size:]
        return part

    def write(self, data: bytes) -> object:
        """Nobody listens."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A file of `folder`, its damage, and what reads it."""

    file: str
    read: Callable[[Path], object]
    damage: Callable[[bytes, np.random.Generator], bytes] = damaged


def _design(folder: Path) -> None:
    design = Bundle(folder / "build").design
    plan(design.network, design.accelerator)


def _serial(folder: Path) -> None:
    Board(Line((folder / "serial").read_bytes())).run(np.zeros((1, 3, 4, 5), dtype=np.int64))


def _report(folder: Path) -> None:
    path = folder / "search.json"
    facts = read_json(path)
    if isinstance(facts, dict):
        check_facts(path, facts)


READERS = {
    "design.json": Reader(file="build/design.json", read=_design, damage=damaged_json),
    "network.json": Reader(
        file="network.json",
        read=lambda folder: network_from_json(read_json(folder / "network.json")),
        damage=damaged_json,
    ),
    "weights.npz": Reader(
        file="build/weights.npz", read=lambda folder: Bundle(folder / "build").weights
    ),
    "golden.npz": Reader(
        file="build/golden.npz", read=lambda folder: Bundle(folder / "build").golden
    ),
    "data.npz": Reader(
        file="data.npz", read=lambda folder: datasets.load(str(folder / "data.npz"))
    ),
    "search.toml": Reader(
        file="search.toml", read=lambda folder: settings.load(folder / "search.toml")
    ),
    "space.toml": Reader(
        file="space.toml", read=lambda folder: spaces.load(str(folder / "space.toml"))
    ),
    "PNG": Reader(
        file="pictures/cat/00.png", read=lambda folder: datasets.load(str(folder / "pictures"))
    ),
    "JPEG": Reader(
        file="photos/cat/00.jpg", read=lambda folder: datasets.load(str(folder / "photos"))
    ),
    "serial frames": Reader(file="serial", read=_serial),
    "report": Reader(file="search.json", read=_report, damage=damaged_json),
}


def prepare(folder: Path) -> None:
    """Files that are right."""
    make_folder(folder)
    text = "".join(
        f"{line}\n"
        for line in (
            'dataset = "digits"', 'board = "ulx3s-85f"', "seed = 3", "bits = [4, 8]", "paths = 2",
            "[constraints]", "dsp = 40", "min_fps = 100.0",
        )
    )  # fmt: skip
    (folder / "search.toml").write_text(text)
    noise = np.random.default_rng(1)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(6):
            pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number:02}.jpg")
    design = Bundle(folder / "build").design
    identity = Identity.of(design, "00" * 32)
    classes = len(design.network.classes)
    replies = ((uart_frame.IDENTIFY, identity.pack()), (uart_frame.IMAGE, bytes(4 * classes)))
    frames = [uart_frame.frame(uart_frame.REPLY, letter, payload) for letter, payload in replies]
    (folder / "serial").write_bytes(b"".join(frames))
    (folder / "search.json").write_bytes((CIFAR / "report" / "search.json").read_bytes())


@dataclass
class Tally:
    """Inputs of a reader: how many, how many were taken, and what went wrong."""

    inputs: int = 0
    taken: int = 0
    wrong: list[str] = field(default_factory=list)


def fuzz(folder: Path, seconds: float, seed: int) -> dict[str, Tally]:
    """Damage each reader's file for its share of the time; the files of `folder` stay right."""
    found = {}
    for number, (name, reader) in enumerate(READERS.items()):
        noise, tally = np.random.default_rng([seed, number]), Tally()
        path = folder / reader.file
        right = path.read_bytes()
        end = time.monotonic() + seconds / len(READERS)
        while time.monotonic() < end:
            data = reader.damage(right, noise)
            path.write_bytes(data)
            began = time.monotonic()
            tally.inputs += 1
            try:
                reader.read(folder)
                tally.taken += 1
            except AutonbaError as error:
                if not str(error).strip():
                    tally.wrong.append(f"an empty sentence for {data[:200]!r}")
            except Exception:  # any other is what is looked for
                tally.wrong.append(f"{traceback.format_exc()}for {data[:2000]!r}")
            if time.monotonic() - began > SLOW:
                tally.wrong.append(f"{time.monotonic() - began:.0f} s for {data[:200]!r}")
        path.write_bytes(right)
        reader.read(folder)  # what is right is read
        found[name] = tally
    return found


def main() -> int:
    """Print a line for each reader; 1 where anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autonba-readers-") as name:
        folder = Path(name)
        prepare(folder)
        found = fuzz(folder, 60 * options.minutes, options.seed)
    for reader, tally in found.items():
        print(
            f"{reader:14} {tally.inputs:7} inputs, {tally.taken:6} taken, {len(tally.wrong)} wrong"
        )
        for text in tally.wrong[:3]:
            print(text)
    return 1 if any(tally.wrong for tally in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
