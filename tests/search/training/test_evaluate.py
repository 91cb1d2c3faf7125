"""Evaluation takes the test split that the search drew."""

import pytest

from autonba.files import write_json
from autonba.search.training import datasets
from autonba.search.training.evaluate import evaluate
from autonba.sim.random_designs import random_bundle


@pytest.mark.parametrize(
    ("report", "wanted"),
    [
        ({"dataset": "digits", "split": {"val": 0.3, "test": 0.4}}, 0.4),
        ({"dataset": "digits", "split": {"val": None, "test": None}}, None),
        ({"dataset": "letters", "split": {"test": 0.4}}, None),
        (None, None),
    ],
    ids=str,
)
def test_the_split_is_of_the_search_s_size(tmp_path, monkeypatch, report, wanted):
    class StopError(Exception):
        pass

    def load(*arguments, **sizes):
        raise StopError(sizes)

    bundle = random_bundle(tmp_path, 14, 1)
    if report is not None:
        write_json(tmp_path / "report" / "search.json", report)
    monkeypatch.setattr(datasets, "load", load)
    with pytest.raises(StopError) as caught:
        evaluate(bundle, "digits")
    assert caught.value.args[0] == {"test": wanted}
