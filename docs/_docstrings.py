"""The docstrings of this repository as reStructuredText: prose, lists, and tables that are aligned
by hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LIST = re.compile(r"([*-]|\d+\.) ")
_ROW = re.compile(r"\S(.*?[^\s.:;,])?(\s{2,}| +: )\S")  # name, then its meaning in another column
_CODE = re.compile(r"(`[^`]*`)")


def to_rst(lines: Sequence[str]) -> list[str]:
    """Lines in which aligned tables and indented blocks are shown as they are written, a heading is
    bold, and nothing outside backticks means anything.
    """
    out: list[str] = []
    shown = listed = False  # the line before is shown as it is; is of a list
    for n, line in enumerate(lines):
        following = lines[n + 1] if n + 1 < len(lines) else ""
        if not line.strip():
            listed = False
            out.append("")
        elif not listed and (line[0] == " " or (_ROW.match(line) and not _LIST.match(line))):
            if not shown:
                out += ["", "::", ""]
            shown = True
            out.append("    " + line)
        elif re.fullmatch("-{3,}", line):
            out.append("")
        else:
            if shown:
                out.append("")
            shown, listed = False, listed or bool(_LIST.match(line))
            text = _plain(line) if not _LIST.match(line) else line[:2] + _plain(line[2:])
            heading = re.fullmatch("-{3,}", following)
            out += ["", f"**{text}**"] if heading else [text]
    return [*out, ""]


def _plain(line: str) -> str:
    """`line`, with the characters that reStructuredText gives a meaning escaped outside code."""
    parts = _CODE.split(line)
    parts[::2] = [re.sub(r"[\\*|]|_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)
