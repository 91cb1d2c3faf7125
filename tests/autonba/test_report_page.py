"""The page in a browser: nothing is wider than the screen, on a desk and on a phone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonba.bundle import Bundle
from autonba.files import read_json, write_arrays, write_json
from autonba.report import write_report
from autonba.sim.random_designs import random_bundle
from tests.autonba.test_report_facts import documents

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
WIDTHS = (1280, 390)
# The page is measured in a frame, since a window of Chromium is never narrower than 500 pixels.
FRAME = """<!doctype html><body><iframe id="page" src="index.html"
 style="width: {width}px; height: 900px; border: 0"></iframe><script>
onload = () => {{
  const inner = document.getElementById("page").contentDocument;
  const widths = kind => [...inner.querySelectorAll(`figure.${{kind}} svg`)].map(
    s => s.getBoundingClientRect().width);
  const free = [...inner.querySelectorAll("table")].filter(
    t => getComputedStyle(t.parentElement).overflowX !== "auto").length;
  document.body.textContent = JSON.stringify({{
    width: inner.documentElement.scrollWidth,
    wide: widths("wide"), narrow: widths("narrow"), free: free}});
}};
</script></body>"""


def measure(page: Path, width: int) -> dict[str, Any]:
    """Widths of the page and its pictures on a screen `width` pixels wide, and the number of tables
    that do not scroll by themselves.
    """
    assert BROWSER is not None
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(width=width))
    shown = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            f"--user-data-dir={page.parent / 'browser'}",
            "--dump-dom",
            frame.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<body>(\{.*\})</body>", shown.stdout)
    assert found is not None, shown.stdout[-2000:] + shown.stderr[-2000:]
    measured: dict[str, Any] = json.loads(found.group(1))
    return measured


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a design with the figures of every stage and long names of classes."""
    bundle = random_bundle(tmp_path_factory.mktemp("bundle"), 14, 4)
    design = read_json(bundle.path / "design.json")
    names = design["network"]["classes"]
    design["network"]["classes"] = [f"unpronounceable class {n}" for n in range(len(names))]
    design["constraints"] = {"lut": 20000, "dsp": 40, "min_fps": 100, "max_latency_ms": 0.001}
    write_json(bundle.path / "design.json", design)
    bundle = Bundle(bundle.path)
    labels = np.arange(4) % len(names)
    write_arrays(bundle.path / "golden.npz", {**bundle.golden, "labels": labels})
    for name, facts in documents().items():
        write_json(bundle.path / "report" / f"{name}.json", facts)
    return write_report(Bundle(bundle.path))[1]


# Only a browser knows how wide a page is; CI may have none.
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(page: Path, width: int) -> None:
    found = measure(page, width)
    assert found["width"] <= width
    assert found["free"] == 0
    shown, hidden = (
        (found["narrow"], found["wide"]) if width < 640 else (found["wide"], found["narrow"])
    )
    assert shown
    assert all(0.75 * width < svg < width for svg in shown)
    assert not any(hidden)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")
@pytest.mark.parametrize(
    "planted", ['<div style="width: 2000px">x</div>', f"<p>{'x' * 400}</p>", "<table></table>"]
)
def test_what_is_too_wide_is_seen(page: Path, tmp_path: Path, planted: str) -> None:
    text = page.read_text().replace("overflow-wrap: break-word", "overflow-wrap: normal")
    copy = tmp_path / "index.html"
    copy.write_text(text.replace("</body>", f"{planted}</body>"))
    found = measure(copy, 390)
    assert found["width"] > 390 or found["free"]


def test_the_page_is_whole_and_made_for_phones(page: Path) -> None:
    text = page.read_text()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "<script" not in text
    assert "src=" not in text
    assert not re.findall(r"url\((?!#)", text)
    for heading in ("Resources and limits", "Schedule", "Chunks", "Accuracy"):
        assert f"<h2>{heading}</h2>" in text
    found = read_json(page.parent / "search.json")
    for split in ("accuracy", "validation_accuracy"):
        for name in ("float", "quantized", "integer"):
            assert f"{100 * found[split][name]:.2f} %" in text


def test_shares_are_of_the_board_and_of_the_limits(page: Path) -> None:
    """100 synthesized LUTs are half a percent of 20000; a limit that is broken has a bar to say."""
    text = re.sub(r"\s+", " ", page.read_text())
    assert re.search(r"LUT, synthesized, ecp5</td>.{,400}<span>0\.5 %</span>", text)
    assert 'class="over" style="width: 100.0%"' in text
