"""Faults planted in the Python code, one at a time, in copies of the tree: the quick tests must
catch each.

    python -m tests.mutations_python [WORD ...] [--all-tests] [--workers N]

As `autonba.sim.mutations` for the Verilog. `tests/python_faults.py` lists the faults, and with each
the quick tests that must catch it. A fault is caught where pytest ends with 1, some test having
failed; it is not where pytest ends with 0. Any other end (nothing collected, a file that cannot be
imported, a test that does not exist) is an error and no catch, as is a fault whose text is not
there any more, so that the list cannot rot. The named tests are first run on the tree as it is, and
must pass.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from autonba.errors import AutonbaError, SpecError
from tests.python_faults import MUTATIONS, Mutation

ROOT = Path(__file__).parents[1]
QUICK = ("-m", "not slow")
SECONDS = 900  # that the tests of one fault may take


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How pytest ended on the tree with a fault, and what it said first: a failed test, or why it
    could not run them.
    """

    mutation: Mutation
    code: int
    finding: str

    @property
    def word(self) -> str:
        """caught, NOTHING or ERROR."""
        return {0: "NOTHING", 1: "caught"}.get(self.code, "ERROR")


def plant(mutation: Mutation, tree: Path) -> None:
    """Write the fault into `tree`; raises SpecError where its text does not occur exactly once."""
    path = tree / mutation.file
    path.write_text(
        mutation.plant(path.read_text(encoding="utf-8") if path.is_file() else ""), encoding="utf-8"
    )


def copy(root: Path, tree: Path) -> None:
    """The source tree at `root`, without repositories, virtual environments, builds and caches."""

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [
            name
            for name in names
            if name in (".git", "__pycache__", "sim_build")
            or name.endswith((".egg-info", "_cache"))
            or (name.startswith("build") and Path(folder) == root)
            or Path(folder, name, "pyvenv.cfg").is_file()
        ]

    shutil.copytree(root, tree, symlinks=True, ignore=left_out)


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """How pytest ends in `tree` with the first of the quick `tests` that fails, and what it says of
    it.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTEST_ADDOPTS", "AUTONBA_BLESS")
    }
    environment |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-rfE",
        "--tb=short",
        "-p",
        "no:cacheprovider",
        *QUICK,
        *tests,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 2, f"the tests took longer than {SECONDS} s"
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = (
        [line for line in lines if line.startswith(("FAILED ", "ERROR"))]
        or lines[-1:]
        or ["it said nothing"]
    )
    return done.returncode, told[0]


def judge(root: Path, mutation: Mutation, tests: Sequence[str]) -> Verdict:
    """Run `tests` on a copy of `root` with the fault."""
    with tempfile.TemporaryDirectory(prefix="autonba-fault-") as name:
        tree = Path(name) / "tree"
        copy(root, tree)
        plant(mutation, tree)
        code, finding = run_tests(tree, tests)
    return Verdict(mutation=mutation, code=code, finding=finding)


def run(
    mutations: Sequence[Mutation], *, root: Path, every: bool = False, workers: int = 2
) -> Iterator[Verdict]:
    """Every mutation's verdict, by its own tests or, with `every`, by all quick tests.

    Raises SpecError, before anything is planted, where a fault's text is not there or its tests
    fail without it.
    """
    named = (
        ("tests",)
        if every
        else tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    )
    with tempfile.TemporaryDirectory(prefix="autonba-clean-") as name:
        tree = Path(name) / "tree"
        copy(root, tree)
        for mutation in mutations:
            path = tree / mutation.file
            mutation.plant(path.read_text(encoding="utf-8") if path.is_file() else "")
        code, finding = run_tests(tree, named)
    if code:
        raise SpecError(
            f"the tests named must pass without a fault, and pytest ends with {code}: {finding}"
        )
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(
            lambda mutation: judge(root, mutation, ("tests",) if every else mutation.tests),
            mutations,
        )


def line(verdict: Verdict) -> str:
    """One line of the table."""
    return (
        f"{verdict.mutation.fault:64} {verdict.mutation.file:32} {verdict.word:8}"
        f" {verdict.finding[:160]}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a fault was not caught, 2 where one could not be planted or its
    tests not be run.
    """
    parser = argparse.ArgumentParser(
        prog="tests.mutations_python", description="Faults planted in the Python code."
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only faults in whose name or file one of the words occurs",
    )
    parser.add_argument(
        "--all-tests",
        action="store_true",
        help="run all quick tests instead of those that the fault names",
    )
    parser.add_argument("--workers", type=int, default=2, help="faults tried at the same time (2)")
    options = parser.parse_args(arguments)
    chosen = [
        m
        for m in MUTATIONS
        if not options.words or any(word in f"{m.fault} {m.file}" for word in options.words)
    ]
    verdicts: list[Verdict] = []
    try:
        if not chosen:
            raise SpecError(f"words must occur in the name or file of a fault, not {options.words}")
        for verdict in run(chosen, root=ROOT, every=options.all_tests, workers=options.workers):
            verdicts.append(verdict)
            print(line(verdict), flush=True)
    except AutonbaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    caught = sum(v.code == 1 for v in verdicts)
    print(f"{caught} of {len(verdicts)} planted faults caught")
    return 2 if any(v.code not in (0, 1) for v in verdicts) else int(caught < len(verdicts))


if __name__ == "__main__":
    sys.exit(main())
