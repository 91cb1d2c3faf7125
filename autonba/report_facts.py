"""What the stages wrote for the report, checked: a value that the report cannot show is refused
with file, field, rule and value named.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonba.errors import BundleError

_LARGEST = 2**63


@dataclass(frozen=True)
class Rule:
    """What a value must be, in words and as a test."""

    text: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and abs(value) < _LARGEST  # NaN is not below anything


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


NUMBER = Rule("a finite number", _is_number)
POSITIVE = Rule("a number above 0", lambda v: _is_number(v) and v > 0)
NOT_NEGATIVE = Rule("a number of at least 0", lambda v: _is_number(v) and v >= 0)
FRACTION = Rule("a number from 0 to 1", lambda v: _is_number(v) and 0 <= v <= 1)
COUNT = Rule("a whole number of at least 0", _is_count)
SOME = Rule("a whole number of at least 1", lambda v: _is_count(v) and v > 0)
TEXT = Rule("a text", lambda v: isinstance(v, str))
FLAG = Rule("true or false", lambda v: isinstance(v, bool))
_OBJECT = Rule("an object", lambda v: isinstance(v, dict))
_LIST = Rule("a list", lambda v: isinstance(v, list))

# Keys are written as in docs/bundle-format.md: `.` goes into an object, `[]` into each element of a
# list; one that ends in `?` may be null or absent.
Rules = Mapping[str, Rule]
_SEARCH: Rules = {
    **{
        f"{split}?.{key}?": COUNT if key == "images" else FRACTION
        for split in ("accuracy", "validation_accuracy")
        for key in ("float", "quantized", "integer", "images")
    },
    **{
        f"integer_against_quantized?{cause}.{key}": SOME if key == "elements" else COUNT
        for cause in ("", ".by_cause.rounded_biases", ".by_cause.rounded_multipliers")
        for key in (
            "images",
            "differing_predictions",
            "elements",
            "differing_elements",
            "largest_difference",
        )
    },
    "plan?.warm_epochs?": COUNT,
    "network?.operators?[]": TEXT,
    "network?.bits?[]": COUNT,
    "network?.blocks?[].operator": TEXT,
    "network?.blocks?[].bits": COUNT,
    "joint_search.train_loss[]": NUMBER,
    **{
        f"joint_search.{curve}?[]": NUMBER
        for curve in ("val_loss", "cycles", "alpha_entropy", "beta_entropy", "gamma_entropy")
    },
    **{
        f"joint_search.need_{limit}?[]": NOT_NEGATIVE
        for limit in ("cycles", "latency", "energy", "dsp", "bram", "lut", "ff", "multipliers")
    },
    "joint_search.alpha?[][]": FRACTION,
    "joint_search.beta?[][][]": FRACTION,
    "accelerator.random.count": COUNT,
    "accelerator.random.designs[].cycles": POSITIVE,
    "accelerator.random.median_cycles?": POSITIVE,
    "accelerator.random.best_cycles?": POSITIVE,
}
_SIMULATION: Rules = {
    "cycles.simulated.first_image": SOME,
    "cycles.simulated.distances[]": COUNT,
    "cycles.simulated.images": COUNT,
    "cycles.simulated.differing": COUNT,
    "rtl_check.images": COUNT,
    "rtl_check.elements": COUNT,
    "rtl_check.mismatches": COUNT,
}
_FLOW: Rules = {
    "board": TEXT,
    "part?": TEXT,
    "clock_mhz": POSITIVE,
    "fmax_mhz?": POSITIVE,
    "met?": FLAG,
    "bitstream?": TEXT,
    **{f"resources?.{kind}": COUNT for kind in ("lut", "ff", "dsp", "bram")},
}
_POINT: Rules = {
    "strategy?": TEXT,
    "bundle": TEXT,
    "fps": POSITIVE,
    "val_accuracy": FRACTION,
    "best": FLAG,
}


def check_facts(path: Path, facts: dict[str, Any]) -> None:
    """Raise BundleError where `facts`, read from `path`, hold what the report cannot show; files of
    stages that it does not know may hold anything.
    """
    if path.stem == "search":
        _check(path, facts, _SEARCH, "run `autonba search` again")
        _check_choices(path, facts)
    elif path.stem == "simulation":
        _check(path, facts, _SIMULATION, "run `autonba sim` again")
    elif path.stem.startswith("flow_"):
        target = path.stem.removeprefix("flow_")
        _check(path, facts, _FLOW, f"run `autonba flow --target {target}` again")


def check_front(path: Path, front: Any) -> list[dict[str, Any]]:
    """The points of front.json that were not refused, checked."""
    way_out = "run the sweep again"
    points = front.get("points") if isinstance(front, dict) else None
    if not isinstance(points, list):
        raise _broken(path, "points", _LIST, points, way_out)
    found = []
    for n, point in enumerate(points):
        if not isinstance(point, dict):
            raise _broken(path, f"points[{n}]", _OBJECT, point, way_out)
        if "refused" not in point:
            _check(path, point, _POINT, way_out, f"points[{n}].")
            found.append(point)
    return found


def _broken(path: Path, where: str, rule: Rule, value: Any, way_out: str) -> BundleError:
    return BundleError(f"{path}: {where} must be {rule.text}, not {reprlib.repr(value)}; {way_out}")


def _check(path: Path, facts: dict[str, Any], rules: Rules, way_out: str, prefix: str = "") -> None:
    def visit(value: Any, keys: list[str], rule: Rule, where: str) -> None:
        if not keys:
            if not rule.holds(value):
                raise _broken(path, where, rule, value, way_out)
            return
        if not isinstance(value, dict):
            raise _broken(path, where, _OBJECT, value, way_out)
        key, lists = keys[0].replace("[]", ""), keys[0].count("[]")
        inner, place = value.get(key.rstrip("?")), f"{where}.{key.rstrip('?')}".lstrip(".")
        if inner is None and key.endswith("?"):
            return
        elements(inner, lists, keys[1:], rule, place)

    def elements(value: Any, lists: int, keys: list[str], rule: Rule, where: str) -> None:
        if not lists:
            visit(value, keys, rule, where)
            return
        if not isinstance(value, list):
            raise _broken(path, where, _LIST, value, way_out)
        for n, inner in enumerate(value):
            elements(inner, lists - 1, keys, rule, f"{where}[{n}]")

    for name, rule in rules.items():
        visit(facts, name.split("."), rule, prefix.rstrip("."))


def _check_choices(path: Path, search: dict[str, Any]) -> None:
    """The parts of search.json that are shown together fit one another."""
    way_out = "run `autonba search` again"
    network, curves = search.get("network") or {}, search["joint_search"]
    operators, bits, blocks = (network.get(key) for key in ("operators", "bits", "blocks"))
    if curves.get("alpha") is not None and operators is not None:
        for key, value in (("network.bits", bits), ("network.blocks", blocks)):
            if value is None:
                raise _broken(path, key, _LIST, value, way_out)
        for n, block in enumerate(blocks or ()):
            for key, allowed in (("operator", operators), ("bits", bits)):
                if block[key] not in (allowed or ()):
                    rule = Rule(f"one of {allowed}", lambda v: False)
                    raise _broken(path, f"network.blocks[{n}].{key}", rule, block[key], way_out)
        shape = [len(blocks or ()), len(operators)]
        for name, wanted in (("alpha", shape), ("beta", [*shape, len(bits or ())])):
            found = curves.get(name)
            if not _has_shape(found, wanted):
                rule = Rule(f"probabilities of shape {wanted}", lambda v: False)
                raise _broken(path, f"joint_search.{name}", rule, found, way_out)
    random = search["accelerator"]["random"]
    for key in ("median_cycles", "best_cycles"):
        if random["count"] and random.get(key) is None:
            raise _broken(path, f"accelerator.random.{key}", POSITIVE, None, way_out)


def _has_shape(value: Any, shape: list[int]) -> bool:
    if not shape:
        return True
    return (
        isinstance(value, list)
        and len(value) == shape[0]
        and all(_has_shape(inner, shape[1:]) for inner in value)
    )
