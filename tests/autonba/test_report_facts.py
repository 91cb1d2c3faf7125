"""What the report cannot show is refused in one sentence, with file, field, rule and value."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autonba.bundle import Bundle
from autonba.errors import AutonbaError, BundleError
from autonba.report import write_report
from autonba.report_facts import check_facts, check_front
from autonba.sim.random_designs import random_bundle

REPORT = Path(__file__).parents[2] / "benchmarks" / "cifar10" / "design" / "report"
STRANGE = (math.nan, math.inf, -1, 1e300, 10**400, None, True, "x", "<b>", [], {}, [[]])
FLOW = {
    "resources": {"lut": 100, "ff": 90, "dsp": 8, "bram": 7},
    "fmax_mhz": 61.5,
    "clock_mhz": 50.0,
    "met": True,
    "bitstream": "flow/ecp5/x.bit",
    "board": "ulx3s-85f",
    "part": "LFE5U-85F-6BG381C",
}


def documents() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {"flow_ecp5": dict(FLOW)}
    for name in ("search", "simulation"):
        found[name] = json.loads((REPORT / f"{name}.json").read_text())
        del found[name]["digest"]  # the bundle of the test is another design
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of each value of a document, of lists the first element's."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, inner in items if isinstance(value, dict | list) else ():
        yield from (
            places(inner, (*path, key)) if isinstance(inner, dict | list) else [(*path, key)]
        )


def put(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A document with another value in one place, the rest of it shared."""
    if not place:
        return value
    changed = copy.copy(document)
    changed[place[0]] = put(document[place[0]], place[1:], value)
    return changed


def taken() -> list[tuple[str, tuple[Any, ...], Any]]:
    """Strange values that no rule refuses: (file, place, value)."""
    found = []
    for name, document in documents().items():
        for place in places(document):
            for value in STRANGE:
                with contextlib.suppress(BundleError):
                    check_facts(Path(f"{name}.json"), put(document, place, value))
                    found.append((name, place, value))
    return found


@pytest.mark.parametrize("name", ["search", "simulation", "flow_ecp5"])
def test_what_the_stages_write_is_taken(name: str) -> None:
    check_facts(Path(f"{name}.json"), documents()[name])


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("search", ("accuracy", "integer"), math.nan, "accuracy.integer must be a number from 0"),
        ("search", ("accuracy", "images"), 2.5, "accuracy.images must be a whole number"),
        ("search", ("joint_search", "train_loss", 1), math.nan, r"train_loss\[1\] must be a fin"),
        ("search", ("joint_search", "train_loss", 2), math.inf, r"train_loss\[2\] must be a fin"),
        ("search", ("joint_search", "beta", 0, 1, 2), "x", r"joint_search.beta\[0\]\[1\]\[2\]"),
        ("search", ("joint_search", "alpha"), [[1.0]], r"alpha must be probabilities of shape"),
        ("search", ("network", "blocks", 1, "operator"), "none", r"blocks\[1\].operator must be"),
        ("search", ("accelerator", "random", "median_cycles"), None, "median_cycles must be"),
        ("search", ("integer_against_quantized", "elements"), 0, "elements must be a whole number"),
        ("search", ("joint_search",), [], "joint_search must be an object"),
        ("simulation", ("cycles", "simulated", "first_image"), -1, "simulated.first_image must"),
        ("simulation", ("rtl_check",), None, "rtl_check must be an object, not None"),
        ("simulation", ("rtl_check", "mismatches"), "0", "not '0'; run `autonba sim` again"),
        ("flow_ecp5", ("fmax_mhz",), 0, "fmax_mhz must be a number above 0"),
        ("flow_ecp5", ("resources", "lut"), True, "flow --target ecp5` again"),
    ],
)
def test_field_rule_value_and_way_out_are_named(
    name: str, place: tuple[Any, ...], value: Any, said: str
) -> None:
    with pytest.raises(BundleError, match=rf"^{name}\.json: .*{said}"):
        check_facts(Path(f"{name}.json"), put(documents()[name], place, value))


def test_points_of_a_sweep_are_checked() -> None:
    good = {"bundle": "a", "val_accuracy": 0.9, "fps": 1000.0, "best": True}
    path = Path("front.json")
    assert check_front(path, {"points": [good, {"refused": "too slow"}]}) == [good]
    for front, said in (
        ({}, "points must be a list"),
        ({"points": [3]}, r"points\[0\] must be an object"),
        ({"points": [good, {**good, "fps": math.nan}]}, r"points\[1\].fps must be a number above"),
    ):
        with pytest.raises(BundleError, match=said):
            check_front(path, front)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return random_bundle(tmp_path_factory.mktemp("bundle"), 14, 4)


def outcome(bundle: Bundle, name: str, place: tuple[Any, ...], value: Any) -> str:
    """Page or error that a strange value leads to."""
    for other, document in documents().items():
        document = put(document, place, value) if other == name else document
        (bundle.path / "report").mkdir(exist_ok=True)
        # with NaN and infinity, which the writers of this package refuse
        (bundle.path / "report" / f"{other}.json").write_text(json.dumps(document))
    try:
        return write_report(bundle)[1].read_text()
    except AutonbaError as error:
        return f"refused: {error}"


def is_readable(page: str) -> bool:
    """Whether every number is one, and no text of a file has become markup."""
    return (
        "<b>" not in page.replace('<div class="card"><b>', "")
        and ">None<" not in page
        and not re.search(r"(?i)(?<![a-z])(nan|inf|infinity)(?![a-z])", page)
    )


def test_strange_values_that_are_taken_do_not_reach_the_page(bundle: Bundle) -> None:
    for case in random.Random(1).sample(taken(), 4):
        page = outcome(bundle, *case)
        assert "as the stages write them" not in page, case
        assert page.startswith("refused: ") or is_readable(page), case
