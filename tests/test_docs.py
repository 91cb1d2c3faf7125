"""`make docs` of a small tree, configured as the project: sound pages pass, faults do not."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    "docs/index.md": "# Small\n\n```{toctree}\n../README\npage\napi/autonba\n```\n",
    "docs/page.md": "# Page\n\n## A heading\n\n[Readme](../README.md), [code](../Makefile).\n",
    "README.md": "# Readme\n\nSee [page](docs/page.md) and [part](docs/page.md#a-heading).\n",
    "autonba/__init__.py": '"""A package."""\n\n__version__ = "1.2.3"\n',
    "autonba/part.py": '"""A module."""\n\n\nclass Some:\n    """A class.\n\n    name    its use\n'
    '    other   of n * m\n    """\n\n    def method(self) -> None:\n        """Does it."""\n',
}


@pytest.fixture
def to_rst() -> Callable[[list[str]], list[str]]:
    spec = importlib.util.spec_from_file_location("_docstrings", ROOT / "docs" / "_docstrings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.to_rst


def test_aligned_tables_are_shown_as_written(to_rst: Callable[[list[str]], list[str]]) -> None:
    table = ["one    is *this*", "       and more", "other  is `that`"]
    assert to_rst(["Prose.", "", *table, "", "More."]) == (
        ["Prose.", "", "", "::", ""] + [f"    {line}" for line in table] + ["", "", "More.", ""]
    )


def test_prose_and_lists_stay_and_mean_nothing_else(
    to_rst: Callable[[list[str]], list[str]],
) -> None:
    lines = ["n * m of `a*b`, name_ and |x|", "", "* first, of *.toml", "  goes on", "* second"]
    assert to_rst(lines) == [
        r"n \* m of `a*b`, name\_ and \|x\|",
        "",
        r"* first, of \*.toml",
        "  goes on",
        "* second",
        "",
    ]


def test_headings_are_bold(to_rst: Callable[[list[str]], list[str]]) -> None:
    assert to_rst(["Ports", "-----", "clk : the clock"]) == (
        ["", "**Ports**", "", "", "::", "", "    clk : the clock", ""]
    )


def build(tree: Path, changes: dict[str, tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """`make docs` of the small tree in which each file's first text is replaced by the second."""
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    shutil.copytree(ROOT / "docs" / "_templates", tree / "docs" / "_templates")
    for name in ("Makefile", "pyproject.toml", "docs/conf.py", "docs/_docstrings.py"):
        shutil.copy(ROOT / name, tree / name)
    for name, text in FILES.items():
        old, new = changes.get(name, ("", ""))
        assert old in text
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(text.replace(old, new, 1) if old else text)
    stamp = f"{sys.prefix}/.stamp"  # what runs this is the environment: nothing to install
    return subprocess.run(
        ["make", "docs", "-o", stamp, f"VENV={sys.prefix}"],
        cwd=tree,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_sound_pages_become_a_site(tmp_path: Path) -> None:
    run = build(tmp_path, {})
    assert run.returncode == 0, run.stdout + run.stderr
    assert "docs/index.html" in (tmp_path / "site" / "index.html").read_text()
    page = (tmp_path / "site" / "docs" / "api" / "autonba.part.html").read_text()
    assert "Does it." in page
    assert "other   of n * m" in page
    assert "autonba 1.2.3" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("README.md", "docs/page.md)", "docs/pages.md)", "docs/pages.md"),
        ("README.md", "#a-heading", "#another-heading", "another-heading"),
        ("docs/page.md", "../Makefile", "../Makefiles", "Makefiles"),
        ("docs/page.md", "[code](../Makefile)", "![drawing](missing.png)", "missing.png"),
        ("docs/index.md", "\npage\n", "\n", "toctree"),
        ("autonba/part.py", '\n        """Does it."""', "\n        return", "D102"),
        ("autonba/part.py", '"""A module."""', "", "D100"),
        ("autonba/__init__.py", '"""A package."""', "", "D104"),
        ("autonba/part.py", "\n\n\nclass", "\n\n\ndef f() -> None: ...\n\n\nclass", "D103"),
    ],
)
def test_a_fault_in_documents_ends_the_build(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    run = build(tmp_path, {file: (old, new)})
    assert run.returncode != 0
    assert message in run.stdout + run.stderr
