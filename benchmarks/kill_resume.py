"""`python -m benchmarks.kill_resume`: a search is killed (kill -9) at random moments; does the
resumed one write the same files?

Every run has its own process and folder; the moment is drawn evenly over the time that the
uninterrupted run took. Every file of the bundle is compared, byte by byte, except
report/search_seconds.json. Writes benchmarks/kill_resume.json; exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autonba.files import write_json

TIMES = "report/search_seconds.json"  # the one file that holds times
RESULT = Path(__file__).with_suffix(".json")


def command(out: Path, *more: str) -> list[str]:
    """The search that is run."""
    return [
        sys.executable,
        "-m",
        "autonba",
        "search",
        "--effort",
        "quick",
        "--no-progress",
        "-o",
        str(out),
        *more,
    ]


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    found = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    found.pop(TIMES, None)
    return found


def place(out: Path) -> str:
    """Where a killed run stood: its newest snapshot or finished phase."""
    kept = list((out / "search" / "checkpoints").glob("*.*"))
    if not kept:
        return (
            "before the first checkpoint"
            if not (out / "design.json").exists()
            else "after the last checkpoint"
        )
    return max(kept, key=lambda path: path.stat().st_mtime_ns).name


def killed(out: Path, moment: float) -> bool:
    """Start a search and kill it after `moment` seconds; whether it was still running."""
    process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL)
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def main() -> int:
    """Runs, kills, resumes, compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        subprocess.run(command(Path(folder) / "whole"), check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - begin
        whole = digests(Path(folder) / "whole")
        print(f"uninterrupted: {seconds:.0f} s, {len(whole)} files")
        for number in range(arguments.kills):
            out = Path(folder) / str(number)
            moment = moments.uniform(0.05, 1.0) * seconds
            stopped = killed(out, moment)
            where = place(out) if stopped else "it had ended"
            subprocess.run(command(out, "--resume"), check=True, stdout=subprocess.DEVNULL)
            found = digests(out)
            differing = sorted(
                name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name)
            )
            print(
                f"killed after {moment:5.1f} s ({where}): " + (", ".join(differing) or "equal"),
                flush=True,
            )
            rows.append({"place": where, "differing": differing})
    write_json(
        RESULT, {"schema_version": 1, "seed": arguments.seed, "files": len(whole), "kills": rows}
    )
    return int(any(row["differing"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
