"""`tests.bad_inputs` in a short cut: every command and every file, some of the mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import bad_inputs
from tests.bad_inputs import BadInput, all_inputs, answers

EACH = 8  # the short cut takes one in so many


def test_there_are_enough_and_their_names_differ() -> None:
    names = [case.name for case in all_inputs()]
    assert len(names) >= 300
    assert len(set(names)) == len(names)


def refused(*options: str) -> None:
    """Run the list in a process of its own, whose memory is that of the commands alone."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bad_inputs", *options],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_some_bad_inputs_are_refused() -> None:
    refused("--each", str(EACH))


@pytest.mark.slow
def test_every_bad_input_is_refused() -> None:
    refused()


def test_the_runner_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a right input, one whose sentence is expected to name something else, a file left,
    a traceback, a hang and too much memory.
    """
    from autonba import cli

    def planted() -> None:
        import sys
        from pathlib import Path

        word = sys.argv[1]
        if word == "leave":
            Path("left").write_text("x")
        elif word == "crash":
            raise KeyError(word)
        elif word == "hang":
            import signal

            signal.pause()
        elif word == "fill":
            held = bytearray(1100 << 20)
            held[::4096] = bytes(len(held[::4096]))
        elif word == "talk":
            print("autonba: one\nautonba: two", file=sys.stderr)
            raise SystemExit(2)
        if word != "accept":
            print("autonba: refused", file=sys.stderr)
            raise SystemExit(2)

    monkeypatch.setattr(cli, "main", planted)
    monkeypatch.setattr(bad_inputs, "LIMIT", 2)
    cases = [
        BadInput(name=word, arguments=(word,), says=("refused",))
        for word in ("refuse", "accept", "leave", "crash", "hang", "fill", "talk")
    ]
    found = {verdict.case.name: verdict.wrong for verdict in answers(cases)}
    assert found["refuse"] == ""
    assert "exit code 0, not 2" in found["accept"]
    assert "changed" in found["leave"]
    assert "a traceback" in found["crash"]
    assert "does not end" in found["hang"]
    assert "GiB" in found["fill"]
    assert "2 lines, not one" in found["talk"]
