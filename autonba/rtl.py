"""The Verilog of a bundle, as tools are given it.

A bundle may come from anybody, and Verilog can run programs (`$system`) and read files. So tools
are given what the generator writes for the bundle's own design and weights, and what lies in rtl/
must be just that; only on demand (`--trust-rtl`) what lies there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from autonba.bundle import Bundle
from autonba.errors import BundleError
from autonba.files import inside, manifest, read_bytes, read_text

LISTING = "rtl.f"
MOST_BYTES = 1 << 30
_FILE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\.(v|hex)")


@dataclass(frozen=True)
class Rtl:
    """Files of rtl/ by name."""

    files: Mapping[str, bytes]

    @property
    def sources(self) -> list[str]:
        """Names of the Verilog files that make up the accelerator."""
        return self.files[LISTING].decode().split()

    @property
    def memories(self) -> list[str]:
        """Names of the files that say what memories hold at first; stream.hex is the DRAM's."""
        return sorted(name for name in self.files if name.endswith(".hex"))


def generated(bundle: Bundle, rendered: Mapping[str, str]) -> Rtl:
    """`rendered`, the generator's files for `bundle`; BundleError unless rtl/ holds the same."""
    again = f"run `autonba gen-rtl {bundle.path}`"
    files = {name: text.encode() for name, text in rendered.items()}
    for name, wanted in sorted(files.items(), key=lambda item: (item[0] != LISTING, item[0])):
        path = inside(bundle.path, f"rtl/{name}")
        if read_bytes(path, most=MOST_BYTES, advice=again) != wanted:
            raise BundleError(
                f"{path}: the file must be as this version of the generator writes it for"
                f" design.json and weights.npz, and it is not; {again}, or, if the Verilog was"
                " changed by somebody you trust, add --trust-rtl"
            )
    return Rtl(files)


def trusted(bundle: Bundle) -> Rtl:
    """What rtl/ holds, whoever wrote it. BundleError where a file is missing or lies outside."""
    again = f"run `autonba gen-rtl {bundle.path}`"
    listing = inside(bundle.path, f"rtl/{LISTING}")
    names = read_text(listing, advice=again).split()
    folder = listing.parent
    for name in names:
        if not _FILE.fullmatch(name):
            raise BundleError(
                f"{listing}: each line must be a plain file name such as accelerator.v, not"
                f" {name!r}; {again}"
            )
    for name in names:
        head = read_bytes(inside(folder, name), most=MOST_BYTES, advice=again)[:200]
        if name.endswith(".v") and bundle.digest[:16].encode() not in head:
            raise BundleError(
                f"{folder / name}: it must be of design {bundle.digest[:16]}, and it is of another;"
                f" {again}"
            )
    memories = {path.name for path in folder.glob("*.hex")} | {
        name for name in manifest(folder) if name.endswith(".hex")
    }
    front = {"uart_front.v"} if (folder / "uart_front.v").is_file() else set()
    return Rtl(
        {
            name: read_bytes(inside(folder, name), most=MOST_BYTES, advice=again)
            for name in (LISTING, *dict.fromkeys(names), *sorted(memories | front))
        }
    )
