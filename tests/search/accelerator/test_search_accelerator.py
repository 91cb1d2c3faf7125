"""`autonba search-accel`: what it returns keeps every limit with exact figures, and what it refuses
it refuses by name.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from autonba.boards import BOARDS
from autonba.bundle import Design, network_from_json
from autonba.cli import cli
from autonba.cost.resources import estimate
from autonba.cost.schedule import simulate, steady_state
from autonba.errors import CapacityError, SpecError
from autonba.files import read_json
from autonba.mapping import plan
from autonba.search.accelerator import random_designs as random_of
from autonba.search.accelerator import search_accelerator as accel
from autonba.search.accelerator.objectives import Goal, goal
from autonba.search.accelerator.realize import Realized
from autonba.search.accelerator.search_accelerator import report, search_accelerator
from benchmarks.networks import resnet8
from tests.search.accelerator.stages.staged_network import staged_network

BOARD = BOARDS["arty-a7-35t"]
NETWORK = staged_network()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "network.json"
    path.write_text(json.dumps({"schema_version": 1, "name": "small", "network": asdict(NETWORK)}))
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["search-accel", *arguments])


def test_every_limit_is_kept_by_exact_figures() -> None:
    wanted = goal(
        BOARD, 100.0, min_fps=8_000, max_energy_uj=3.0, resources={"dsp": 40, "lut": 12_000}
    )
    outcome = search_accelerator(NETWORK, BOARD, wanted)
    mapped = plan(NETWORK, outcome.accelerator)
    exact = estimate(mapped, BOARD.family)
    assert exact.dsp <= 40
    assert exact.lut <= 12_000
    assert (
        steady_state(mapped).per_image
        == outcome.realized.figures["cycles"]
        <= wanted.limits["cycles"]
    )
    assert simulate(mapped, 1).first_image == outcome.realized.figures["latency"]
    assert not wanted.excess(outcome.realized.figures)
    assert report(outcome, BOARD, 100.0)["exact"]["fps"] >= 8_000


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"dsp": 1.0}, ("--max-dsp 1", "at least")),
        ({"cycles": 100.0}, ("--min-fps 1e+06", "at most")),
        ({"energy": 1e3}, ("--max-energy-uj 0.001", "at least")),
    ],
)
def test_what_no_accelerator_can_meet_is_refused_by_name(
    limits: dict[str, float], words: tuple[str, ...]
) -> None:
    wanted = Goal(weights={"cycles": 1.0}, limits=goal(BOARD, 100.0).limits | limits)
    with pytest.raises(CapacityError) as refused:
        search_accelerator(NETWORK, BOARD, wanted)
    for word in words:
        assert word in str(refused.value)


def test_limits_that_exclude_each_other_are_refused_with_the_closest() -> None:
    wanted = goal(BOARD, 100.0, min_fps=60_000, resources={"lut": 6_000})
    with pytest.raises(
        CapacityError,
        match=r"cannot be met with the other limits kept: the closest accelerator found has .*",
    ):
        search_accelerator(NETWORK, BOARD, wanted)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(
        SpecError,
        match="engine must be one of auto, das, random, evolutionary, annealing, exact",
    ):
        search_accelerator(NETWORK, BOARD, goal(BOARD, 100.0), engine="magic")


def test_command_writes_a_design_document(document: Path, tmp_path: Path) -> None:
    out = tmp_path / "accelerator.json"
    result = run(str(document), "--board", "arty-a7-35t", "--max-dsp", "30", "-o", str(out))
    assert result.exit_code == 0, result.output
    for word in ("conv0", "exact", "predicted", "limit", "fps", "written to"):
        assert word in result.output
    design = Design.from_json(read_json(out))
    assert design.network == NETWORK
    assert estimate(plan(NETWORK, design.accelerator), BOARD.family).dsp <= 30
    again = run(
        str(out), "--board", "arty-a7-35t", "--max-dsp", "30", "--json"
    )  # a design document is a network document, too
    assert again.exit_code == 0, again.output
    assert json.loads(again.output)["exact"]["dsp"] <= 30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--board", "ulx9"), ("ulx9", "arty-a7-35t")),
        (
            ("--board", "arty-a7-35t", "--objective", "speed"),
            ("objective must be one of", "'speed'"),
        ),
        (("--board", "arty-a7-35t", "--engine", "magic"), ("engine must be one of", "'magic'")),
        (("--board", "arty-a7-35t", "--max-dsp", "-1"), ("max_dsp", "-1")),
        (("--board", "arty-a7-35t", "--min-fps", "0"), ("min_fps", "0")),
        (("--board", "arty-a7-35t", "--clock-mhz", "nan"), ("clock-mhz", "nan")),
    ],
)
def test_bad_options_are_answered_in_one_sentence(
    document: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    result = run(str(document), *arguments)
    assert result.exit_code == 2, result.output
    assert len(result.output.strip().splitlines()) == 1
    for word in words:
        assert word in result.output


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "readable JSON"),
        ("[]", "is not of type"),
        ('{"schema_version": 1}', "network"),
        ('{"schema_version": 1, "network": {"input": 3, "layers": [], "classes": []}}', "network"),
    ],
)
def test_bad_network_documents_are_refused_with_the_place(
    tmp_path: Path, text: str, word: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    result = run(str(path), "--board", "arty-a7-35t")
    assert result.exit_code == 2, result.output
    assert "bad.json" in result.output
    assert word in result.output


def test_network_and_design_documents_have_the_same_network() -> None:
    schemas = Path(accel.__file__).parents[2] / "autonba" / "schemas"
    if not schemas.is_dir():
        schemas = Path(accel.__file__).parents[2] / "schemas"
    network, design = (
        json.loads((schemas / f"{name}.schema.json").read_text()) for name in ("network", "design")
    )
    assert network["properties"]["network"] == design["properties"]["network"]
    assert network_from_json(
        json.loads(json.dumps({"schema_version": 1, "network": asdict(NETWORK)}))
    ) == ("network", NETWORK)


def test_an_estimate_that_is_too_low_is_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a design takes more than the search took it for, it searches again with that known."""
    wanted = goal(BOARD, 100.0)
    calls: list[Realized] = []

    def dearer(exact: Any) -> Any:
        def called(*given: Any, **named: Any) -> Realized:
            found: Realized = exact(*given, **named)
            lut = round(found.resources.lut * 1.5)
            calls.append(replace(found, resources=replace(found.resources, lut=lut)))
            return calls[-1]

        return called

    for name in ("realize", "exact"):
        monkeypatch.setattr(accel, name, dearer(getattr(accel, name)))
    outcome = search_accelerator(NETWORK, BOARD, wanted)
    assert wanted.excess(calls[0].figures)
    assert not wanted.excess(outcome.realized.figures)
    assert outcome.attempts > 1


def test_random_designs_keep_the_limits_with_their_exact_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unsized = random_of.unsized

    def dearer(*given: Any) -> Realized:
        found: Realized = unsized(*given)
        lut = round(found.resources.lut * 1.3)
        return replace(found, resources=replace(found.resources, lut=lut))

    monkeypatch.setattr(random_of, "unsized", dearer)
    wanted = goal(BOARD, 100.0, resources={"lut": 9_000, "bram": 40, "dsp": 40})
    designs = random_of.random_designs(NETWORK, BOARD, wanted, seed=1, count=60)
    assert len(designs) == 60
    for design in designs:
        assert design["lut"] * wanted.margins["lut"] <= 9_000
        assert design["bram"] <= 40
        assert design["dsp"] <= 40
    assert designs == random_of.random_designs(NETWORK, BOARD, wanted, seed=1, count=60)


def test_limits_leave_room_for_the_error_of_the_model() -> None:
    """A design's LUTs times the worst that the model was too low by are within the limit."""
    wanted = goal(BOARD, 100.0, resources={"lut": 9_000})
    assert wanted.margins["lut"] > 1
    outcome = search_accelerator(NETWORK, BOARD, wanted)
    assert outcome.realized.figures["lut"] * wanted.margins["lut"] <= 9_000


def test_streaming_lets_a_network_run_whose_weights_do_not_fit() -> None:
    """The weights of this network take more block RAM than there is; from DRAM they are read."""
    network = resnet8()
    small = goal(BOARD, 100.0, resources={"bram": 40})
    with pytest.raises(CapacityError, match="bram"):
        search_accelerator(network, BOARD, small)
    streaming = goal(BOARD, 100.0, resources={"bram": 40}, dram=64.0)
    outcome = search_accelerator(network, BOARD, streaming)
    assert 0 < outcome.realized.figures["dram"] <= 64.0
    assert any(loops.weights == "stream" for loops in outcome.accelerator.loops.values())
