"""Inputs that no command may take: a list, and a runner.

    python -m tests.bad_inputs [WORD ...]     # those whose name holds a word; prints N of N
    python -m tests.bad_inputs --each 8       # one in so many

Each input is made in a copy of a folder with a small bundle, configurations and data sets. Every
command must refuse its own with one sentence and the right exit code, in at most SECONDS and BYTES,
and leave the folder as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autonba.bundle import Design
from autonba.files import json_bytes, read_arrays, read_json, write_arrays
from autonba.hwgen.generate import generate
from autonba.sim.example_designs import chip_design

SECONDS = 5.0
BYTES = 1 << 30
LIMIT = 60  # wall-clock seconds after which a command counts as hanging
IMAGES = 3

Spoil = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class BadInput:
    """`arguments` of `autonba`, run in the folder that `spoil` changed; the sentence must hold
    every one of `says`.
    """

    name: str
    arguments: Sequence[str]
    says: Sequence[str] = ()
    spoil: Spoil = lambda folder: None
    code: int = 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is wrong with the answer to an input, or an empty text."""

    case: BadInput
    wrong: str
    said: str


# The folder


def make_folder(folder: Path) -> None:
    """A bundle `build`, networks, configurations, a search space and data sets, all right."""
    bundle = chip_design().write(folder / "build", IMAGES)
    generate(bundle)
    design = bundle.design
    document = {"schema_version": 1, "name": "net", "network": design.to_json()["network"]}
    (folder / "network.json").write_bytes(json_bytes(document))
    (folder / "search.toml").write_text('dataset = "digits"\nboard = "ulx3s-85f"\n')
    space = Path(sys.modules["autonba.search.network"].__path__[0]) / "digits.toml"
    (folder / "space.toml").write_text(space.read_text())
    noise = np.random.default_rng(1)
    images = noise.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(folder / "data.npz", images=images, labels=np.arange(40) % 4)
    for name in ("cat", "dog"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(images[number]).save(folder / "pictures" / name / f"{number:02}.png")


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below `folder` with a digest, every link with its target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found


# The list

HUGE = "9" * 5000
BOARD = ("--board", "ulx3s-85f")
SEARCH = ("search", "--no-progress", "--effort", "quick", "-o", "out")
ACCEL = ("search-accel", "network.json", *BOARD)
READERS = (  # commands that read a bundle
    ("gen-rtl", "build"),
    ("sim", "build", "--simulator", "icarus"),
    ("flow", "build", "--prepare-only"),
    ("report", "build"),
    ("evaluate", "build"),
    ("run", "build", "--port", "nowhere"),
    ("stall", "build", "0x1"),
)


def _write(name: str, content: bytes | str) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def _remove(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def _instead(name: str, make: Callable[[Path], object]) -> Spoil:
    """Something else in the place of a file or folder."""

    def spoil(folder: Path) -> None:
        _remove(name)(folder)
        make(folder / name)

    return spoil


def _edited(name: str, change: Callable[[Any], object]) -> Spoil:
    """A JSON file changed in place."""

    def spoil(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))

    return spoil


def _changed(name: str, old: str, new: str) -> Spoil:
    """A text file with every match of the regular expression `old` replaced."""

    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert re.search(old, text), old
        (folder / name).write_text(re.sub(old, new, text))

    return spoil


def _design(change: Callable[[Any], object]) -> Spoil:
    return _edited("build/design.json", change)


def _arrays(name: str, change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        arrays = dict(read_arrays(folder / name))
        change(arrays)
        np.savez(folder / name, **arrays)

    return spoil


def _texts() -> Iterator[tuple[str, bytes | str]]:
    """Files that are no JSON that a document could be made of."""
    yield "empty", ""
    yield "half", '{"schema_version": 1, "name": '
    yield "binary", bytes(range(256))
    yield "not UTF-8", b'{"name": "\xff\xfe"}'
    yield "list", "[]"
    yield "number", "7"
    yield "text", '"design"'
    yield "null", "null"
    yield "deep list", "[" * 100_000
    yield "deep object", '{"a":' * 50_000
    yield "NaN", '{"schema_version": NaN}'
    yield "Infinity", '{"schema_version": -Infinity}'
    yield "1e999", '{"schema_version": 1e999}'
    yield "5000 digits", f'{{"schema_version": {HUGE}}}'
    yield "2^64", f'{{"schema_version": {1 << 64}}}'
    yield "key twice", '{"name": "a", "name": "b"}'
    yield "unknown keys", '{"a": 1, "b": 2}'
    yield "two documents", "{} {}"


def documents() -> Iterator[BadInput]:
    """JSON files that are damaged."""
    for name, text in _texts():
        yield BadInput(
            name=f"design.json: {name}",
            arguments=("gen-rtl", "build"),
            says=("design.json",),
            spoil=_write("build/design.json", text),
        )
        yield BadInput(
            name=f"network.json: {name}",
            arguments=ACCEL,
            says=("network.json",),
            spoil=_write("network.json", text),
        )
    for command in READERS:
        for name, spoil in (
            ("design.json is missing", _remove("build/design.json")),
            ("weights.npz is missing", _remove("build/weights.npz")),
            ("no bundle", _remove("build")),
            ("a file in place of the bundle", _instead("build", lambda p: p.write_text("x"))),
            ("a pipe as design.json", _instead("build/design.json", os.mkfifo)),
            ("a folder as weights.npz", _instead("build/weights.npz", Path.mkdir)),
            (
                "design.json is a link out of the bundle",
                _instead("build/design.json", lambda p: p.symlink_to("/etc/passwd")),
            ),
        ):
            yield BadInput(
                name=f"{command[0]}: {name}", arguments=command, says=("build",), spoil=spoil
            )


def designs() -> Iterator[BadInput]:
    """Rules of a design that are broken, one at a time."""

    def layer(document: Any, number: int = 0) -> Any:
        return document["network"]["layers"][number]

    def chunk(document: Any, number: int = 0) -> Any:
        return document["accelerator"]["chunks"][number]

    def renamed(document: Any, new: str) -> None:
        old = layer(document)["name"]
        text = json.dumps(document).replace(f'"{old}"', json.dumps(new))
        document.clear()
        document.update(json.loads(text))

    def rechunked(document: Any, new: str) -> None:
        old = chunk(document)["name"]
        text = json.dumps(document).replace(f'"{old}"', json.dumps(new))
        document.clear()
        document.update(json.loads(text))

    for field, values in (
        ("out_channels", (0, -1, 10**9, 10**18, 2.5, "6", None, True, 8.0, [6])),
        ("kernel", ([0, 3], [3], [3, 3, 3], [10**6, 1], "3x3", [3, 3.0])),
        ("stride", ([0, 1], [-1, 1], [10**9, 1])),
        ("padding", ([-1, 0], [3, 0], [10**9, 10**9])),
        ("groups", (0, 4, -3, 10**9)),
        ("weight_bits", (0, 1, 9, 64, -8)),
        ("bits", (0, 1, 9, 33)),
        ("shift", (-1, 10**6)),
        ("residual_multiplier", (-1, 10**9)),
        ("op", ("convolution", "", 3)),
        ("input", ("nowhere", "", 5, "top")),
        ("residual", ("nowhere", 7)),
        ("raw", (1, "yes")),
        ("colour", ("red",)),
    ):
        for value in values:
            yield BadInput(
                name=f"layer.{field} = {value!r}",
                arguments=("gen-rtl", "build"),
                says=("design.json",),
                spoil=_design(lambda d, f=field, v=value: layer(d).update({f: v})),  # type: ignore[misc]
            )
    for name in (
        "module",
        "wire",
        "signal",
        "Process",
        "logic",
        "images",
        "labels",
        "input",
        "output",
        "a" * 300,
        "d\n",
        "a b",
        "9lives",
        "../up",
        "é",
        "",
        "x;y",
        "a$b",
    ):
        yield BadInput(
            name=f"layer called {name[:20]!r}",
            arguments=("gen-rtl", "build"),
            says=("name",),
            spoil=_design(lambda d, n=name: renamed(d, n)),  # type: ignore[misc]
        )
        if name in ("images", "labels"):
            continue  # arrays of golden.npz beside the layers; a chunk has none
        yield BadInput(
            name=f"chunk called {name[:20]!r}",
            arguments=("gen-rtl", "build"),
            says=("name",),
            spoil=_design(lambda d, n=name: rechunked(d, n)),  # type: ignore[misc]
        )
    yield BadInput(
        name="chunk called registers",
        arguments=("gen-rtl", "build"),
        says=("u_registers", "rename"),
        spoil=_design(lambda d: rechunked(d, "registers")),
    )
    for field, values in (
        ("out_lanes", (0, -4, 10**9, 2.0, "4")),
        ("in_lanes", (0, 3, 128)),
        ("drain_lanes", (0, 5, 64)),
        ("taps", (0, 9, 10**12)),
        ("columns", (0, 99)),
        ("kind", ("dense", 1)),
        ("multiplier", ("gold", None)),
        ("extra", (1,)),
    ):
        for value in values:
            yield BadInput(
                name=f"chunk.{field} = {value!r}",
                arguments=("gen-rtl", "build"),
                says=("design.json",),
                spoil=_design(lambda d, f=field, v=value: chunk(d).update({f: v})),  # type: ignore[misc]
            )
    for name, change in (
        ("height 1e9", lambda d: d["network"]["input"].update(height=10**9)),
        ("width 0", lambda d: d["network"]["input"].update(width=0)),
        ("channels -1", lambda d: d["network"]["input"].update(channels=-1)),
        ("input bits 9", lambda d: d["network"]["input"].update(bits=9)),
        ("input name", lambda d: d["network"]["input"].update(name="picture")),
        ("no layers", lambda d: d["network"].update(layers=[])),
        ("layers twice", lambda d: d["network"]["layers"].append(layer(d))),
        ("a class too many", lambda d: d["network"]["classes"].append("more")),
        ("no classes", lambda d: d["network"].update(classes=[])),
        ("a class that is a number", lambda d: d["network"]["classes"].__setitem__(0, 5)),
        ("a class of 300 letters", lambda d: d["network"]["classes"].__setitem__(0, "x" * 300)),
        ("a class that rings", lambda d: d["network"]["classes"].__setitem__(0, "\a\x1b[2J")),
        ("rows 1e18", lambda d: d["accelerator"]["buffers"][0].update(rows=10**18)),
        ("rows 0", lambda d: d["accelerator"]["buffers"][0].update(rows=0)),
        ("rows 2.5", lambda d: d["accelerator"]["buffers"][0].update(rows=2.5)),
        ("buffer of nothing", lambda d: d["accelerator"]["buffers"][0].update(tensor="nowhere")),
        ("buffer of nobody", lambda d: d["accelerator"]["buffers"][0].update(reader="nobody")),
        ("port", lambda d: d["accelerator"]["buffers"][0].update(port="side")),
        (
            "a buffer twice",
            lambda d: d["accelerator"]["buffers"].append(d["accelerator"]["buffers"][0]),
        ),
        ("no buffers", lambda d: d["accelerator"].update(buffers=[])),
        ("no chunks", lambda d: d["accelerator"].update(chunks=[])),
        ("a chunk twice", lambda d: d["accelerator"]["chunks"].append(chunk(d))),
        (
            "a chunk without a layer",
            lambda d: d["accelerator"]["chunks"].append({**chunk(d), "name": "idle"}),
        ),
        ("no allocation", lambda d: d["accelerator"].update(allocation={})),
        ("allocation to nobody", lambda d: d["accelerator"]["allocation"].update(stem="nobody")),
        (
            "loops of nothing",
            lambda d: d["accelerator"]["loops"].update(
                nowhere={"order": "pixel_outer", "rows": 1, "weights": "chip"}
            ),
        ),
        ("stream_bits", lambda d: d["accelerator"].update(stream_bits=48)),
        ("loadable", lambda d: d["accelerator"].update(loadable="yes")),
        ("board", lambda d: d["target"].update(board="moon")),
        ("clock 0", lambda d: d["target"].update(clock_mhz=0)),
        ("clock text", lambda d: d["target"].update(clock_mhz="fast")),
        ("schema_version 99", lambda d: d.update(schema_version=99)),
        ("name with a slash", lambda d: d.update(name="../../up")),
        ("name with a line end", lambda d: d.update(name="d\n")),
        ("name of 300 letters", lambda d: d.update(name="d" * 300)),
        ("constraints of nothing", lambda d: d["constraints"].update(moon=1)),
        ("constraint NaN as text", lambda d: d["constraints"].update(dsp="NaN")),
        ("negative constraint", lambda d: d["constraints"].update(dsp=-1)),
    ):
        yield BadInput(
            name=f"design: {name}",
            arguments=("gen-rtl", "build"),
            says=("buffer",) if "buffer" in name else ("design.json",),
            spoil=_design(change),
        )
    yield BadInput(
        name="design: clock 1e9",
        arguments=("flow", "build", "--prepare-only"),
        says=("clock_mhz",),
        spoil=_design(lambda d: d["target"].update(clock_mhz=1e9)),
    )


def _header(path: Path, shape: str, descr: str = "'|u1'", data: bytes = b"\0" * 64) -> None:
    """An .npz with one member, whose header says what it likes."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy)


def _encrypted(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(sign)
        while place >= 0:
            data[place + offset] |= 1
            place = data.find(sign, place + 4)
    path.write_bytes(bytes(data))


def _method(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = data.find(sign)
        while place >= 0:
            data[place + offset : place + offset + 2] = struct.pack("<H", 97)
            place = data.find(sign, place + 4)
    path.write_bytes(bytes(data))


def _bomb(path: Path, size: int = 6 << 30) -> None:
    """A member that inflates to many GiB."""
    piece = b"\0" * (1 << 20)
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},), }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as member,
    ):
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        for _ in range(64):  # and lies about the rest
            member.write(piece)


def _objects(path: Path) -> None:
    np.savez(path, images=np.array([{"a": 1}], dtype=object), labels=np.zeros(1, dtype=int))


def _twice(path: Path) -> None:
    npy = io.BytesIO()
    np.save(npy, np.zeros(3))
    with zipfile.ZipFile(path, "a") as archive:
        name = archive.namelist()[0]
        archive.writestr(name, npy.getvalue())


ARCHIVES: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("empty", lambda p: p.write_bytes(b"")),
    ("text", lambda p: p.write_text("images")),
    ("half", lambda p: p.write_bytes(p.read_bytes()[: len(p.read_bytes()) // 2])),
    ("without its end", lambda p: p.write_bytes(p.read_bytes()[:-30])),
    (
        "a flipped byte",
        lambda p: p.write_bytes(
            p.read_bytes()[:90] + bytes([p.read_bytes()[90] ^ 255]) + p.read_bytes()[91:]
        ),
    ),
    ("no members", lambda p: zipfile.ZipFile(p, "w").close()),
    ("a bare .npy", lambda p: p.write_bytes(_npy(np.zeros(4)))),
    ("1e15 elements", lambda p: _header(p, "(1000000000000000,)")),
    ("2^70 elements", lambda p: _header(p, f"({1 << 70},)")),
    ("a negative shape", lambda p: _header(p, "(-4,)")),
    ("a shape that is a text", lambda p: _header(p, "'x'")),
    ("a header with code", lambda p: _header(p, "(__import__('os').system('touch out'),)")),
    ("objects", _objects),
    ("a type of its own", lambda p: _header(p, "(2,)", "[('a', '<i4'), ('b', '<f8')]")),
    ("encrypted", _encrypted),
    ("an unknown compression", _method),
    ("a member twice", _twice),
    ("a bomb", _bomb),
)


def _npy(values: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def archives() -> Iterator[BadInput]:
    """Archives of arrays that are damaged, hostile or of something else."""
    for name, make in ARCHIVES:
        for file, command in (
            ("build/weights.npz", ("gen-rtl", "build")),
            ("build/golden.npz", ("sim", "build", "--simulator", "icarus")),
            ("data.npz", (*SEARCH, "--dataset", "data.npz")),
        ):
            yield BadInput(
                name=f"{Path(file).name}: {name}",
                arguments=command,
                says=(Path(file).name,),
                spoil=lambda folder, f=file, m=make: m(folder / f),  # type: ignore[misc]
            )

    def key(arrays: dict[str, Any]) -> str:
        return next(name for name in sorted(arrays) if name.endswith(".weight"))

    def changed(values: Any, value: float) -> Any:
        values = values.astype(np.asarray(value).dtype if isinstance(value, float) else np.int64)
        values.flat[0] = value
        return values

    for name, change in (
        ("a float", lambda a: a.update({key(a): a[key(a)] * 1.0})),
        ("NaN", lambda a: a.update({key(a): changed(a[key(a)], float("nan"))})),
        ("out of range", lambda a: a.update({key(a): changed(a[key(a)], 1 << 20)})),
        ("another shape", lambda a: a.update({key(a): a[key(a)][:1]})),
        ("a member missing", lambda a: a.pop(key(a))),
        ("a member of nobody", lambda a: a.update({"nobody.weight": np.zeros(2, dtype=int)})),
        ("a member without a field", lambda a: a.update(stem=np.zeros(2, dtype=int))),
        ("truth values", lambda a: a.update({key(a): a[key(a)] > 0})),
        ("2^64 - 1", lambda a: a.update({key(a): a[key(a)].astype(np.uint64) * 0 + (2**64 - 1)})),
        ("texts", lambda a: a.update({key(a): a[key(a)].astype(str)})),
    ):
        yield BadInput(
            name=f"weights.npz: {name}",
            arguments=("gen-rtl", "build"),
            says=("weights.npz",),
            spoil=_arrays("build/weights.npz", change),
        )
    for name, change in (
        ("float images", lambda a: a.update(images=a["images"] / 2)),
        ("NaN images", lambda a: a.update(images=a["images"] * float("nan"))),
        ("pixels of 300", lambda a: a.update(images=a["images"].astype(int) * 0 + 300)),
        ("pixels below 0", lambda a: a.update(images=a["images"].astype(int) * 0 - 1)),
        ("images of another shape", lambda a: a.update(images=a["images"][:, :, 1:])),
        ("no images", lambda a: a.update({n: v[:0] for n, v in a.items()})),
        ("fewer labels", lambda a: a.update(labels=a["labels"][:1])),
        ("labels of 99", lambda a: a.update(labels=a["labels"] * 0 + 99)),
        ("labels of -1", lambda a: a.update(labels=a["labels"].astype(int) * 0 - 1)),
        ("labels as texts", lambda a: a.update(labels=a["labels"].astype(str))),
        ("labels as floats", lambda a: a.update(labels=a["labels"] * 1.0)),
        ("labels as a number", lambda a: a.update(labels=np.int64(3))),
        ("a layer missing", lambda a: a.pop("stem")),
        ("a layer of nobody", lambda a: a.update(nobody=a["stem"])),
        ("a layer that is another", lambda a: a.update(stem=a["stem"] ^ 1)),
        ("a layer as text", lambda a: a.update(stem=a["stem"].astype(str))),
    ):
        yield BadInput(
            name=f"golden.npz: {name}",
            arguments=("sim", "build", "--simulator", "icarus"),
            says=("golden.npz",),
            spoil=_arrays("build/golden.npz", change),
        )
    for name, change in (
        ("labels of 1e9", lambda a: a.update(labels=a["labels"] * 0 + 10**9)),
        ("labels of -1", lambda a: a.update(labels=a["labels"] * 0 - 1)),
        (
            "labels of 2^64 - 1",
            lambda a: a.update(labels=a["labels"].astype(np.uint64) * 0 + (2**64 - 1)),
        ),
        ("labels as texts", lambda a: a.update(labels=a["labels"].astype(str))),
        ("labels as floats", lambda a: a.update(labels=a["labels"] * 1.0)),
        ("fewer labels", lambda a: a.update(labels=a["labels"][:-1])),
        ("one class", lambda a: a.update(labels=a["labels"] * 0)),
        ("no labels", lambda a: a.pop("labels")),
        ("no images", lambda a: a.update(images=a["images"][:0], labels=a["labels"][:0])),
        ("float images", lambda a: a.update(images=a["images"] / 255)),
        ("wide images", lambda a: a.update(images=a["images"].astype(np.int64))),
        ("flat images", lambda a: a.update(images=a["images"].reshape(40, 64))),
        ("five axes", lambda a: a.update(images=a["images"][:, None, None])),
        ("images without a pixel", lambda a: a.update(images=a["images"][:, :0])),
        ("two images", lambda a: a.update(images=a["images"][:2], labels=np.arange(2))),
        ("class names that are too few", lambda a: a.update(classes=np.array(["a"]))),
        (
            "test images of another shape",
            lambda a: a.update(test_images=np.zeros((4, 9, 9), np.uint8), test_labels=np.arange(4)),
        ),
        (
            "test images without labels",
            lambda a: a.update(test_images=np.zeros((4, 8, 8), np.uint8)),
        ),
    ):
        yield BadInput(
            name=f"data.npz: {name}",
            arguments=(*SEARCH, "--dataset", "data.npz"),
            says=("data",),
            spoil=_arrays("data.npz", change),
        )


def pictures() -> Iterator[BadInput]:
    """Folders of images that no data set can be made of."""

    def put(make: Callable[[Path], object], name: str = "00.png") -> Spoil:
        return lambda folder: make(folder / "pictures" / "cat" / name)

    def huge(path: Path) -> None:
        Image.new("L", (5000, 5000)).save(path)

    def animated(path: Path) -> None:
        frames = [Image.new("L", (8, 8), shade) for shade in (0, 100)]
        frames[0].save(path, save_all=True, append_images=frames[1:])

    for name, spoil, says in (
        ("empty file", put(lambda p: p.write_bytes(b"")), "00.png"),
        ("text as an image", put(lambda p: p.write_text("hello")), "00.png"),
        ("half an image", put(lambda p: p.write_bytes(p.read_bytes()[:60])), "00.png"),
        ("notes among images", put(lambda p: p.write_text("x"), "notes.txt"), "notes.txt"),
        ("5000 x 5000", put(huge), "00.png"),
        (
            "float TIFF",
            put(
                lambda p: Image.fromarray(
                    np.random.default_rng(1).random((8, 8)).astype(np.float32)
                ).save(p),
                "00.tiff",
            ),
            "00.tiff",
        ),
        ("two frames", put(animated, "00.gif"), "00.gif"),
        ("a folder in a class", put(lambda p: p.mkdir(), "more"), "cat"),
        ("one class", _remove("pictures/dog"), "pictures"),
        ("an empty class", lambda f: (f / "pictures" / "eel").mkdir(), "eel"),
        ("a pipe", put(os.mkfifo, "pipe.png"), "pipe.png"),
        ("no folder", _remove("pictures"), "pictures"),
        ("nothing in it", _instead("pictures", Path.mkdir), "pictures"),
    ):
        yield BadInput(
            name=f"pictures: {name}",
            arguments=(*SEARCH, "--dataset", "pictures"),
            says=(says,),
            spoil=spoil,
        )


def options() -> Iterator[BadInput]:
    """Options of every command."""
    numbers = ("nan", "inf", "-inf", "-1", "x", "", "1e400", HUGE)
    for option in (
        "--clock-mhz",
        "--min-fps",
        "--max-latency-ms",
        "--max-energy-uj",
        "--max-dsp",
        "--max-bram",
        "--max-lut",
        "--max-ff",
        "--val-size",
        "--test-size",
    ):
        for value in numbers:
            yield BadInput(
                name=f"search {option} {value[:8]}",
                arguments=(*SEARCH, option, value),
                says=(option[2:].split("-")[-1],),
            )
    for option in (
        "--warm-epochs",
        "--search-epochs",
        "--float-epochs",
        "--quantized-epochs",
        "--search-images",
        "--paths",
        "--threads",
        "--seed",
    ):
        for value in ("-1", "1.5", "x", str(1 << 64), HUGE):
            yield BadInput(
                name=f"search {option} {value[:8]}",
                arguments=(*SEARCH, option, value),
                says=(option[2:].split("-")[0],),
            )
    for option, value in (
        ("--float-epochs", "0"),
        ("--quantized-epochs", "0"),
        ("--clock-mhz", "1e9"),
        ("--clock-mhz", "0"),
        ("--board", "moon"),
        ("--board", ""),
        ("--space", "moon"),
        ("--space", "moon.toml"),
        ("--bits", "1"),
        ("--bits", "9"),
        ("--bits", "x"),
        ("--bits", ""),
        ("--bits", "8,8"),
        ("--objective", "beauty"),
        ("--strategy", "luck"),
        ("--bitwidths", "all"),
        ("--level", "top"),
        ("--augmentation", "paint"),
        ("--device", "tpu"),
        ("--precision", "int1"),
        ("--effort", "none"),
        ("--dataset", "moon"),
        ("--dataset", ""),
        ("--dataset", "search.toml"),
        ("--sweep", "min-fps"),
        ("--sweep", "min-fps=1"),
        ("--sweep", "min-fps=1,1"),
        ("--sweep", "min-fps=1,x"),
        ("--sweep", "min-fps=1,nan"),
        ("--sweep", "beauty=1,2"),
        ("--sweep", "min-fps=1,-2"),
        ("--max-dsp", "0"),
        ("--min-fps", "1e12"),
        ("--config", "moon.toml"),
        ("--moon", "1"),
    ):
        yield BadInput(
            name=f"search {option} {value}",
            arguments=(*SEARCH, option, value),
            says=(),
        )
    yield BadInput(
        name="search -o of a file", arguments=(*SEARCH[:-1], "search.toml"), says=("search.toml",)
    )
    for option in ("--clock-mhz", "--seconds", "--min-fps", "--max-dsp"):
        for value in numbers:
            yield BadInput(
                name=f"search-accel {option} {value[:8]}",
                arguments=(*ACCEL, option, value),
                says=(option[2:].split("-")[-1],),
            )
    for arguments in (
        ("search-accel", "moon.json", *BOARD),
        ("search-accel", "network.json"),
        ("search-accel", "network.json", "--board", "moon"),
        (*ACCEL, "--engine", "steam"),
        (*ACCEL, "--objective", "beauty"),
        (*ACCEL, "--seed", str(1 << 64)),
        (*ACCEL, "--seed", "-1"),
        (*ACCEL, "--max-dsp", "0", "--max-lut", "1"),
        (*ACCEL, "--clock-mhz", "1e9"),
        (*ACCEL, "-o", "build"),
        (*ACCEL, "-o", "nowhere/\0"),
        ("sim", "build", "--simulator", "spice"),
        ("sim", "build", "--images", "0"),
        ("sim", "build", "--images", "x"),
        ("sim", "build", "--seed", "-1"),
        ("sim", "build", "--seed", str(1 << 64)),
        ("sim",),
        ("sim", "moon"),
        ("sim", "build", "--netlist"),
        ("flow", "build", "--target", "moon"),
        ("flow", "build", "--target", "vivado", "--prepare-only"),
        ("flow", "moon"),
        ("fuzz", "--count", "0"),
        ("fuzz", "--count", "x"),
        ("fuzz", "--minutes", "nan"),
        ("fuzz", "--minutes", "inf"),
        ("fuzz", "--minutes", "0"),
        ("fuzz", "--seed", str(1 << 64)),
        ("fuzz", "--seed", "-1"),
        ("fuzz", "--workers", "0"),
        ("evaluate", "build"),
        ("evaluate", "build", "--dataset", "moon"),
        ("evaluate", "build", "--dataset", "pictures"),
        ("evaluate", "build", "--dataset", "data.npz"),
        ("run", "build"),
        ("run", "build", "--port", "/dev/moon"),
        ("run", "build", "--port", "/dev/null"),
        ("run", "build", "--port", "nowhere", "--images", "0"),
        ("stall", "build", "x"),
        ("stall", "build", "-1"),
        ("stall", "build", str(1 << 64)),
        ("stall", "build", HUGE),
        ("moon",),
        ("--moon",),
        ("gen-rtl",),
        ("gen-rtl", "moon"),
        ("gen-rtl", "build", "build"),
        ("gen-rtl", "a" * 5000),
        ("report", "moon"),
        ("boards", "moon"),
    ):
        yield BadInput(name=f"autonba {' '.join(arguments)[:70]!r}", arguments=arguments)


def settings() -> Iterator[BadInput]:
    """Configurations and search spaces."""
    for name, text in (
        ("empty key", '"" = 1'),
        ("no TOML", "dataset = "),
        ("binary", bytes(range(256))),
        ("unknown key", "boart = 'ulx3s-85f'"),
        ("a number as text", "dataset = 5"),
        ("a text as number", "seed = 'one'"),
        ("a truth value as number", "seed = true"),
        ("NaN", "clock_mhz = nan"),
        ("infinity", "clock_mhz = inf"),
        ("5000 digits", f"seed = {HUGE}"),
        ("deep lists", "bits = " + "[" * 2000 + "]" * 2000),
        ("bits as text", "bits = '4,6'"),
        ("bits of texts", "bits = ['4']"),
        ("constraints as a list", "constraints = [1]"),
        ("constraint of nothing", "[constraints]\nmoon = 1"),
        ("constraint NaN", "[constraints]\ndsp = nan"),
        ("constraint below 0", "[constraints]\ndsp = -1"),
        ("offset as text", "offset = 'yes'"),
        ("a zero byte in a path", 'dataset = "\\u0000"'),
        ("key twice", "seed = 1\nseed = 2"),
        ("an endless text", f"dataset = '{'x' * 100_000}'"),
        ("batch 0", "batch = 0"),
        ("batch 1e9", "batch = 1000000000"),
        ("threads 1e9", "threads = 1000000000"),
    ):
        yield BadInput(
            name=f"search.toml: {name}",
            arguments=(*SEARCH, "--config", "search.toml"),
            says=("search.toml",),
            spoil=_write("search.toml", text),
        )
    for name, make in (
        ("a folder", _instead("search.toml", Path.mkdir)),
        ("a pipe", _instead("search.toml", os.mkfifo)),
        ("2 MiB", _write("search.toml", "#" * (2 << 20))),
    ):
        yield BadInput(
            name=f"search.toml: {name}",
            arguments=(*SEARCH, "--config", "search.toml"),
            says=("search.toml",),
            spoil=make,
        )

    def replaced(old: str, new: str) -> Spoil:
        def spoil(folder: Path) -> None:
            text = (folder / "space.toml").read_text()
            lines = [new if line.strip().startswith(old) else line for line in text.splitlines()]
            assert lines != text.splitlines(), old
            (folder / "space.toml").write_text("\n".join(lines))

        return spoil

    def without(key: str) -> Spoil:
        """The first line that gives `key` is gone."""
        return _changed("space.toml", rf"(?m)^{key} = .*\n", "")

    for key in (
        *("stem", "head", "fixed_bits", "bits", "operators"),
        *("channels", "blocks", "stride"),
        *("accuracy_weight", "cycles_weight", "memory_weight"),
    ):
        yield BadInput(
            name=f"space.toml: {key} left out",
            arguments=(*SEARCH, "--space", "space.toml"),
            says=("operator" if key == "operators" else f".{key} must be given",),
            spoil=without(key),
        )

    for name, spoil in (
        ("empty", _write("space.toml", "")),
        ("no TOML", _write("space.toml", "[[[")),
        ("binary", _write("space.toml", bytes(range(256)))),
        ("a pipe", _instead("space.toml", os.mkfifo)),
        ("unknown key", replaced("bits", "bits = [4]\nmoon = 1")),
        ("bits of 9", replaced("bits", "bits = [9]")),
        ("no bits", replaced("bits", "bits = []")),
        ("bits as text", replaced("bits", "bits = 'all'")),
        ("operators of nothing", replaced("operators", "operators = ['k2_e1']")),
        ("no operators", replaced("operators", "operators = []")),
        ("a table of the accelerator", replaced("bits", "bits = [4]\n[hardware]\nchunks = 4")),
        ("head of nothing", replaced("head", "head = -1")),
        ("head 1e12", replaced("head", "head = 1000000000000")),
        ("a billion blocks", _changed("space.toml", r"blocks = \d+", "blocks = 1000000000")),
    ):
        yield BadInput(
            name=f"space.toml: {name}",
            arguments=(*SEARCH, "--space", "space.toml"),
            says=("head",) if name.startswith("head") else ("space",),
            spoil=spoil,
        )


def verilog() -> Iterator[BadInput]:
    """rtl/ that is not what the generator writes."""

    def append(name: str, text: str) -> Spoil:
        def spoil(folder: Path) -> None:
            with (folder / "build" / "rtl" / name).open("a") as file:
                file.write(text)

        return spoil

    def linked(folder: Path) -> None:
        shutil.move(folder / "build" / "rtl", folder / "elsewhere")
        (folder / "build" / "rtl").symlink_to(folder / "elsewhere")

    for command in (("sim", "build", "--simulator", "icarus"), ("flow", "build", "--prepare-only")):
        for name, spoil in (
            ("no rtl", _remove("build/rtl")),
            ("no rtl.f", _remove("build/rtl/rtl.f")),
            ("a file missing", _remove("build/rtl/mac_lane.v")),
            ("a memory missing", _remove("build/rtl/packs_weights.hex")),
            ("$system", append("mac_lane.v", '\ninitial $system("touch out");\n')),
            ("a blank more", append("mac_lane.v", " ")),
            ("a memory changed", _write("build/rtl/packs_weights.hex", "00\n")),
            ("rtl.f leads out", append("rtl.f", "../../x.v\n")),
            ("rtl.f names a path", append("rtl.f", "/etc/passwd\n")),
            ("rtl.f has an order", append("rtl.f", "-Wl,-rpath=/x\n")),
            ("of another design", _design(lambda d: d.update(name="other"))),
            ("rtl is a link", linked),
            (
                "a file is a link",
                _instead("build/rtl/mac_lane.v", lambda p: p.symlink_to("/etc/passwd")),
            ),
            ("a pipe", _instead("build/rtl/mac_lane.v", os.mkfifo)),
        ):
            yield BadInput(
                name=f"{command[0]}: {name}", arguments=command, says=("rtl",), spoil=spoil
            )
    for name, spoil in (
        ("rtl.f names a path", append("rtl.f", "/etc/passwd\n")),
        ("rtl.f leads out", append("rtl.f", "../design.json\n")),
        ("of another design", _design(lambda d: d.update(name="other"))),
    ):
        yield BadInput(
            name=f"sim --trust-rtl: {name}",
            arguments=("sim", "build", "--trust-rtl"),
            says=("rtl",),
            spoil=spoil,
        )
    yield BadInput(
        name="gen-rtl: rtl is a link", arguments=("gen-rtl", "build"), says=("rtl",), spoil=linked
    )
    for place, command in (
        ("flow", ("flow", "build", "--prepare-only")),
        ("report", ("report", "build")),
        ("sim", ("sim", "build", "--simulator", "icarus")),
    ):
        yield BadInput(
            name=f"{command[0]}: {place} is a link",
            arguments=command,
            says=(place, "link"),
            spoil=lambda folder, p=place: _link_out(folder, p),  # type: ignore[misc]
        )
    netlist = "build/flow/ecp5/accelerator_netlist.v"
    for name, text in (
        ("$system", 'module accelerator; initial $system("touch out"); endmodule'),
        ("include", '`include "/etc/passwd"\nmodule accelerator; endmodule'),
        ("C++", "`systemc_header\nint x;\n`verilog\nmodule accelerator; endmodule"),
        ("an order", "module accelerator; /*verilator public*/ endmodule"),
        ("DPI", 'module accelerator; import "DPI-C" function int system(string s); endmodule'),
    ):
        yield BadInput(
            name=f"netlist: {name}",
            arguments=("sim", "build", "--netlist"),
            says=("accelerator_netlist.v",),
            spoil=lambda folder, t=text: (  # type: ignore[misc]
                (folder / netlist).parent.mkdir(parents=True),
                (folder / netlist).write_text(t),
            ),
        )


def _link_out(folder: Path, place: str) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "index.html").write_text("mine")
    (folder / "mine" / "simulation.json").write_text("mine")
    path = folder / "build" / place
    if path.is_dir():
        shutil.rmtree(path)
    path.symlink_to(folder / "mine")


def reports() -> Iterator[BadInput]:
    """Reports of stages, and trained parameters."""

    def report(text: str | bytes) -> Spoil:
        def spoil(folder: Path) -> None:
            (folder / "build" / "report").mkdir(exist_ok=True)
            _write("build/report/search.json", text)(folder)

        return spoil

    for name, text in _texts():
        if name not in ("unknown keys",):
            yield BadInput(
                name=f"report/search.json: {name}",
                arguments=("report", "build"),
                says=("search.json",),
                spoil=report(text),
            )
    for name, make in ARCHIVES:
        yield BadInput(
            name=f"model.npz: {name}",
            arguments=("evaluate", "build", "--dataset", "fitting.npz"),
            says=("model.npz",),
            spoil=lambda folder, m=make: _model(folder, m),  # type: ignore[misc]
        )


def _model(folder: Path, make: Callable[[Path], object]) -> None:
    design = Design.from_json(read_json(folder / "build" / "design.json"))
    t, classes = design.network.input, design.network.classes
    labels = np.arange(10 * len(classes)) % len(classes)
    images = np.zeros((len(labels), t.height, t.width, t.channels), dtype=np.uint8)
    np.savez(folder / "fitting.npz", images=images, labels=labels, classes=np.array(classes))
    path = folder / "build" / "search" / "model.npz"
    path.parent.mkdir(exist_ok=True)
    write_arrays(path, {"a": np.arange(200)})
    make(path)


def all_inputs() -> tuple[BadInput, ...]:
    """Every one."""
    groups = (
        documents,
        designs,
        archives,
        pictures,
        options,
        settings,
        verilog,
        reports,
    )
    return tuple(case for group in groups for case in group())


# The runner


def answer(case: BadInput, folder: Path) -> Verdict:
    """Run a command on its input, in a process of its own, and judge the answer."""
    case.spoil(folder)
    before = snapshot(folder)
    out, err = folder.parent / "stdout", folder.parent / "stderr"
    child = os.fork()
    if not child:
        _become(case, folder, out, err)
    began = time.monotonic()
    done = 0
    while not done and time.monotonic() - began < LIMIT:
        done, status, usage = os.wait4(child, os.WNOHANG)
        time.sleep(0.001)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
        return Verdict(case=case, wrong=f"it does not end within {LIMIT} s", said="")
    said = err.read_text(errors="replace")
    after = snapshot(folder)
    code = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    lines = said.strip().splitlines()
    faults = [
        (code != case.code, f"exit code {code}, not {case.code}"),
        ("Traceback" in said, "a traceback"),
        (len(lines) != 1, f"{len(lines)} lines, not one"),
        (len(said) > 2000, f"a sentence of {len(said)} characters"),
        (not said.startswith("autonba: "), "no sentence of autonba"),
        (not said.replace("\n", " ").isprintable(), "control characters"),
        (any(word not in said for word in case.says), f"it must say {list(case.says)}"),
        (after != before, f"changed: {sorted(set(after.items()) ^ set(before.items()))[:4]}"),
        (seconds > SECONDS, f"{seconds:.1f} s of CPU"),
        (usage.ru_maxrss * 1024 > BYTES, f"{usage.ru_maxrss / 2**20:.2f} GiB"),
    ]
    wrong = "; ".join(text for fault, text in faults if fault)
    return Verdict(case=case, wrong=wrong, said=said.strip())


def _become(case: BadInput, folder: Path, out: Path, err: Path) -> None:
    """The child: `autonba` itself."""
    code = 70
    try:
        for number, path in ((0, Path(os.devnull)), (1, out), (2, err)):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(path, flags), number)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["autonba", *case.arguments]
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(n, m) for n, m in ((0, "r"), (1, "w"), (2, "w"))
        )
        from autonba import cli

        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answers(cases: Sequence[BadInput]) -> Iterator[Verdict]:
    """Verdicts of those inputs, one after the other."""
    import autonba.search.front
    import autonba.sim.run  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="autonba-bad-") as name:
        whole = Path(name) / "whole"
        whole.mkdir()
        make_folder(whole)
        for case in cases:
            place = Path(name) / "case"
            place.mkdir()
            shutil.copytree(whole, place / "folder")
            yield answer(case, place / "folder")
            shutil.rmtree(place)


def main() -> int:
    """Print what is wrong, and N of N."""
    parser = argparse.ArgumentParser(description="Inputs that no command may take.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only those whose name holds one")
    parser.add_argument("--each", type=int, default=1, help="only one in so many")
    options = parser.parse_args()
    words = options.words
    cases = [c for c in all_inputs() if not words or any(word in c.name for word in words)]
    cases = cases[:: options.each]
    right = 0
    for verdict in answers(cases):
        right += not verdict.wrong
        if verdict.wrong or words:
            print(f"{verdict.case.name}: {verdict.wrong or 'right'}\n    {verdict.said[:400]}")
    print(f"bad inputs: {right} of {len(cases)} refused as they must be")
    return 0 if right == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
