"""Pictures of a search hold what the search found."""

import copy

import pytest

from autonba.report_pictures import pictures

SEARCH = {
    "plan": {"warm_epochs": 1},
    "network": {
        "operators": ["c3", "skip"],
        "bits": [4, 8],
        "blocks": [{"operator": "skip", "bits": 8}, {"operator": "c3", "bits": 4}],
    },
    "joint_search": {
        "train_loss": [2.0, 1.5, 1.2],
        "val_loss": [1.6, 1.3],
        "cycles": [900.0, 700.0],
        "alpha_entropy": [0.7, 0.5, 0.3],
        "beta_entropy": [0.7, 0.6, 0.5],
        "gamma_entropy": [1.5, 1.2, 0.9],
        "need_cycles": [1.3, 0.9],
        "need_dsp": [0.5, 0.6],
        "alpha": [[0.09, 0.91], [0.72, 0.28]],
        "beta": [[[0.5, 0.5], [0.36, 0.64]], [[0.83, 0.17], [0.5, 0.5]]],
    },
    "accelerator": {
        "random": {
            "count": 2,
            "designs": [{"cycles": 5000}, {"cycles": 7000}],
            "median_cycles": 6000,
        }
    },
}
FRONT = {
    "points": [
        {"strategy": "joint", "bundle": "a", "val_accuracy": 0.9, "fps": 1000.0, "best": True},
        {"strategy": "random", "bundle": "b", "val_accuracy": 0.8, "fps": 900.0, "best": False},
        {"strategy": "joint", "refused": "min-fps must be at most 2000"},
    ]
}


@pytest.fixture
def drawn(monkeypatch):
    """Texts stay texts in the SVG, so that they can be looked for."""
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    return {picture["title"]: str(picture["svg"]) for picture in pictures(SEARCH, FRONT, "a", 4000)}


def test_every_picture_is_there(drawn):
    assert list(drawn) == [
        "Search",
        "Operators and bits of each block",
        "Accuracy against images a second",
        "Random designs",
    ]
    assert all(svg.startswith("<svg") for svg in drawn.values())


def test_limits_entropies_and_strategies_are_named(drawn):
    for text in ("alpha", "beta", "gamma", "time between images", "DSP", "warm-up shaded"):
        assert text in drawn["Search"]
    for text in ("joint", "random", "Pareto front", "this design"):
        assert text in drawn["Accuracy against images a second"]


def test_probabilities_of_the_built_operators_and_their_bits_are_written(drawn):
    svg = drawn["Operators and bits of each block"]
    for text in ("0.91", "0.72", "0.64", "0.83", "skip", "8 bits"):
        assert text in svg


def test_older_searches_and_those_without_random_designs_give_fewer_pictures():
    old = copy.deepcopy(SEARCH)
    del old["joint_search"]["alpha"], old["plan"]
    old["accelerator"]["random"] = {"count": 0, "designs": []}
    assert [p["title"] for p in pictures(old, None, "a", 4000)] == ["Search"]


def test_the_same_search_gives_the_same_bytes():
    first, second = (pictures(SEARCH, FRONT, "a", 4000) for _ in range(2))
    assert first == second
