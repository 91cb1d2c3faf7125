"""The picture of the report in the README: the top of a bundle's page, as Chromium shows it.

    make demo && python -m benchmarks.report_picture build

Writes docs/report.png.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = "1120,1500"


@click.command(help=__doc__)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(bundle: Path) -> None:
    """Write docs/report.png."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"one of {', '.join(BROWSERS)} must be installed")
    page = (bundle / "report" / "index.html").resolve().as_uri()
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                f"--window-size={SIZE}",
                f"--screenshot={PICTURE}",
                page,
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
