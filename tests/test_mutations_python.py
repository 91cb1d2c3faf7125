"""Faults in the Python code: all can be planted, and the harness tells a catch from a survivor and
from an error of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from autonba.errors import SpecError
from tests import mutations_python
from tests.mutations_python import ROOT, judge, line, run
from tests.python_faults import MUTATIONS, Mutation

LEAST = 60  # faults


def test_every_fault_can_be_planted() -> None:
    assert len({mutation.fault for mutation in MUTATIONS}) == len(MUTATIONS) >= LEAST
    for mutation in MUTATIONS:
        spoilt = mutation.plant((ROOT / mutation.file).read_text(encoding="utf-8"))
        compile(spoilt, mutation.file, "exec")
        assert mutation.tests
        for test in mutation.tests:
            path, _, name = test.partition("::")
            text = (ROOT / path).read_text(encoding="utf-8")
            assert not name or f"def {name.partition('[')[0]}(" in text, (
                f"{test} must be a test, for {mutation.fault!r}"
            )


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a = 1\na = 1\n", 2)])
def test_a_fault_whose_text_is_not_there_once_is_an_error(text: str, count: int) -> None:
    stale = Mutation(
        fault="old", file="x.py", old="a = 1\n", new="", breaks="", tests=("tests/test_x.py",)
    )
    with pytest.raises(
        SpecError,
        match=(
            rf"fault 'old' is stale: x\.py must hold 'a = 1\\n' once, and it holds it {count} times"
        ),
    ):
        stale.plant(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with one function and one test of it."""
    root = tmp_path / "root"
    (root / "tests").mkdir(parents=True)
    (root / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: slow\n")
    (root / "double.py").write_text("def double(x):\n    return 2 * x\n\n\nUNTESTED = 1\n")
    (root / "tests" / "test_double.py").write_text(
        "from double import double\n\n\ndef test_double():\n    assert double(3) == 6\n"
    )
    return root


def fault(old: str, new: str, test: str = "tests/test_double.py") -> Mutation:
    return Mutation(
        fault="a fault", file="double.py", old=old, new=new, breaks="everything", tests=(test,)
    )


@pytest.mark.parametrize(
    ("mutation", "word", "finding"),
    [
        (fault("2 * x", "3 * x"), "caught", "FAILED tests/test_double.py::test_double"),
        (fault("UNTESTED = 1", "UNTESTED = 2"), "NOTHING", "1 passed"),
        (fault("def double", "def triple"), "ERROR", "ERROR tests/test_double.py"),
        (fault("2 * x", "3 * x", "tests/test_double.py::test_gone"), "ERROR", "ERROR: not found"),
    ],
    ids=["caught", "survives", "cannot be imported", "no such test"],
)
def test_verdicts(tree: Path, mutation: Mutation, word: str, finding: str) -> None:
    verdict = judge(tree, mutation, mutation.tests)
    assert verdict.word == word
    assert finding in verdict.finding
    assert word in line(verdict)
    assert mutation.old in (tree / "double.py").read_text(), "the tree itself is never touched"


def test_tests_that_fail_without_a_fault_are_refused(tree: Path) -> None:
    (tree / "double.py").write_text("def double(x):\n    return x\n")
    with pytest.raises(
        SpecError, match="the tests named must pass without a fault, and pytest ends with 1: FAILED"
    ):
        list(run([fault("return x", "return -x")], root=tree))


def test_a_stale_fault_is_told_before_any_test_runs(tree: Path) -> None:
    with pytest.raises(SpecError, match="is stale"):
        list(run([fault("2 * x", "3 * x"), fault("gone", "")], root=tree))


def test_survivors_and_errors_have_an_exit_code(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    caught, survives = fault("2 * x", "3 * x"), fault("UNTESTED = 1", "UNTESTED = 2")
    monkeypatch.setattr(mutations_python, "ROOT", tree)
    for mutations, code in (
        ((caught,), 0),
        ((caught, survives), 1),
        ((caught, fault("def double", "def triple")), 2),
    ):
        monkeypatch.setattr(mutations_python, "MUTATIONS", mutations)
        assert mutations_python.main([]) == code
        assert f"1 of {len(mutations)} planted faults caught" in capsys.readouterr().out
    assert mutations_python.main(["no such word"]) == 2
    assert "words must occur" in capsys.readouterr().err


@pytest.mark.slow
def test_every_fault_is_caught() -> None:
    assert mutations_python.main([]) == 0
