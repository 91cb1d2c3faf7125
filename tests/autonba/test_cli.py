"""The command line: help with an example everywhere, and bad input answered in one sentence with
exit code 2.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from autonba.cli import cli
from autonba.search.settings import Settings
from autonba.sim.random_designs import random_bundle


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert len(result.output.strip().splitlines()) == 1, result.output
    for word in words:
        assert word in result.output


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_helps_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert f"autonba {command}" in result.output


def test_unknown_board() -> None:
    refused(run("search", "--board", "ulx9"), "ulx9", "ulx3s-85f", "pynq-z2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('colour = "red"\n', ("colour", "known keys")),
        ("sed = 1\n", ("'sed'", "did you mean 'seed'")),
        ("[constraints]\ndps = 3\n", ("constraints", "'dps'", "did you mean 'dsp'")),
        ("seed = -1\n", ("seed must be an integer from 0 to 9223372036854775807, not -1",)),
        ("seed = \n", ("TOML",)),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "search.toml"
    path.write_text(text)
    refused(
        run("search", "--config", str(path), "-o", str(tmp_path / "out")), "search.toml", *words
    )
    assert not (tmp_path / "out").exists()


def test_the_command_line_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr("autonba.search.run.run_search", lambda config, **_: asked.append(config))
    path = tmp_path / "search.toml"
    path.write_text(
        'seed = 3\nboard = "arty-a7-35t"\nbits = [4, 8]\n[constraints]\ndsp = 10\nlut = 2000\n'
    )
    assert run("search", "--config", str(path)).exit_code == 0
    assert (
        run(
            "search",
            "--config",
            str(path),
            "--seed",
            "5",
            "--bits",
            "6",
            "--max-dsp",
            "20",
            "--min-fps",
            "7",
        ).exit_code
        == 0
    )
    assert [(c.seed, c.board, c.bits, dict(c.constraints)) for c in asked] == [
        (3, "arty-a7-35t", [4, 8], {"dsp": 10, "lut": 2000}),
        (5, "arty-a7-35t", [6], {"dsp": 20.0, "lut": 2000, "min_fps": 7.0}),
    ]


def test_a_network_that_cannot_fit_names_resource_need_and_limit(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(
        run("search", "--max-dsp", "1", "--max-lut", "300", "-o", str(out), "--no-progress"),
        "lut",
        "300",
    )
    assert not (out / "design.json").exists()


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        folder = tmp_path / "train" / label
        folder.mkdir(parents=True)
        (folder / "0001.jpg").write_bytes(b"not a picture")
    refused(
        run("search", "--dataset", str(tmp_path), "-o", str(tmp_path / "out"), "--no-progress"),
        "0001.jpg",
    )


def test_unknown_target(tmp_path: Path) -> None:
    refused(run("flow", str(tmp_path), "--target", "ice40"), "ice40", "ecp5")


def test_missing_tools_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = random_bundle(tmp_path, 14, 1)
    assert run("gen-rtl", str(bundle.path)).exit_code == 0
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    refused(run("sim", str(bundle.path), "--simulator", "icarus", "--images", "1"), "iverilog")
