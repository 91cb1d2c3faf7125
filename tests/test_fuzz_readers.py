"""`tests.fuzz_readers` for some seconds, and that it sees what it looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fuzz_readers
from tests.fuzz_readers import Reader, fuzz, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readers")
    prepare(place)
    return place


def test_damage_ends_in_the_projects_own_errors(folder: Path) -> None:
    found = fuzz(folder, 8.0, seed=5)
    assert [text for tally in found.values() for text in tally.wrong] == []
    assert all(tally.inputs > 5 for tally in found.values())


def test_another_error_and_a_slow_reader_are_seen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = (folder / "search.toml").read_bytes()

    def careless(folder: Path) -> None:
        if (folder / "search.toml").read_bytes() != right:
            raise KeyError("planted")

    monkeypatch.setattr(fuzz_readers, "READERS", {"x": Reader(file="search.toml", read=careless)})
    assert "KeyError: 'planted'" in fuzz(folder, 0.1, seed=1)["x"].wrong[0]
    slow = Reader(file="search.toml", read=lambda folder: None)
    monkeypatch.setattr(fuzz_readers, "READERS", {"x": slow})
    monkeypatch.setattr(fuzz_readers, "SLOW", -1.0)
    assert fuzz(folder, 0.1, seed=1)["x"].wrong
