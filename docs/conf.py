"""Sphinx: the documents of this repository, and the reference of every public name.

The source folder is the repository, so that a link between documents is the same path in the site,
in a checkout and on the pages of a host. `make docs` treats warnings as errors: a link to a page, a
heading or a file that is not there ends it.
"""

from __future__ import annotations

import pkgutil
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
API = ROOT / "docs" / "api"
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # of this tree, whatever is installed

# From the tree whose path was put first above.
import _docstrings  # noqa: E402

import autonba  # noqa: E402

project = "autonba"
author = "The autonba developers"
project_copyright = author
release = version = autonba.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/*.md", "docs/**"]
exclude_patterns = ["docs/_*"]
templates_path = ["_templates"]

myst_heading_anchors = 4
highlight_language = "text"  # blocks that name no language are commands and tables
default_role = "code"  # docstrings have single backticks

autodoc_default_options = {
    "members": True,
    "undoc-members": True,  # fields and constants; the rest has docstrings (ruff's D1 rules)
    "no-value": True,
    "member-order": "bysource",
}
autodoc_inherit_docstrings = False  # those of other packages are written otherwise
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"autonba {release}"
html_additional_pages = {"index": "start.html"}
html_copy_source = False
html_last_updated_fmt = None


def module_names() -> list[str]:
    """Every public module of the package, a package before what it holds."""
    found = pkgutil.walk_packages(autonba.__path__, "autonba.")
    public = (m.name for m in found if not re.search(r"\._", m.name))
    return ["autonba", *sorted(public)]


def write_api() -> None:
    """docs/api/<module>.rst for each module; files of modules that went are removed."""
    names = module_names()
    pages = {}
    for name in names:
        page = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n"
        held = [n for n in names if n.rpartition(".")[0] == name]
        if held:
            page += "\n.. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {n}\n" for n in held)
        pages[f"{name}.rst"] = page
    API.mkdir(exist_ok=True)
    for path in API.iterdir():
        if path.name not in pages:
            path.unlink()
    for file, page in pages.items():
        path = API / file
        if not path.exists() or path.read_text() != page:
            path.write_text(page)


def convert(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Replaces a docstring's lines."""
    lines[:] = _docstrings.to_rst(lines)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    write_api()
    app.connect("autodoc-process-docstring", convert)
