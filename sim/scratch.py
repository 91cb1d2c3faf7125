"""A folder of its own for each simulation.

Simulators compile and run what lies in their folder, so nothing that came with a bundle may lie
there; and their makefiles stop at a space in a path. So the RTL is copied into a new folder of the
system's temporary files. What a user wants to read is copied back.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autonba.errors import AutonbaError, ToolError
from autonba.files import Work, inside, refuse_links
from autonba.rtl import Rtl

KEPT = ("*.log", "testbench.v", "*_bench.json", "results.xml")
MOST_LOG = 16 << 20  # bytes of a log that are kept
_PLAIN = re.compile(r"[A-Za-z0-9_/.+-]+")


@dataclass(frozen=True)
class Scratch:
    """A new folder with the RTL in `rtl`; the logs of its other folders are kept as `shown`."""

    folder: Path
    shown: Path

    @property
    def rtl(self) -> Path:
        """Folder of the RTL."""
        return self.folder / "rtl"

    def told(self, text: str) -> str:
        """A text with the names under which a user finds the files."""
        return text.replace(str(self.folder), str(self.shown))


def is_plain(path: Path) -> bool:
    """Whether makefiles take the path for one word."""
    return _PLAIN.fullmatch(str(path)) is not None


def plain_folder(prefix: str) -> Path:
    """A new folder without a space or another sign in its path that makefiles stumble over."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if is_plain(Path(place)) and Path(place).is_dir():
            try:
                return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
            except OSError:
                continue
    raise ToolError(
        "a folder for temporary files must be writable and have neither spaces nor quotes in its"
        " path; set TMPDIR to one"
    )


@contextmanager
def scratch(work: Work, rtl: Rtl) -> Iterator[Scratch]:
    """A folder with `rtl`; on the way out its logs go to sim/ of the bundle, and it is removed."""
    shown = inside(work.root, "sim")
    refuse_links(shown)
    own = Scratch(plain_folder("autonba-sim-"), shown)
    try:
        own.rtl.mkdir()
        for name, data in rtl.files.items():
            (own.rtl / name).write_bytes(data)
        yield own
    except AutonbaError as error:
        raise type(error)(own.told(str(error))) from None
    finally:
        try:
            _keep_logs(work, own)
        finally:
            shutil.rmtree(own.folder, ignore_errors=True)


def _keep_logs(work: Work, own: Scratch) -> None:
    for pattern in KEPT:
        for path in sorted(own.folder.rglob(pattern)):
            name = path.relative_to(own.folder)
            if name.parts[0] == "rtl" or not path.is_file():
                continue
            data = path.read_bytes()
            if len(data) > MOST_LOG:
                data = data[:MOST_LOG] + b"\n... cut here\n"
            work.write(f"sim/{name.as_posix()}", own.told(data.decode(errors="replace")).encode())
    work.commit()
