"""What a search is asked for is checked where it is written down."""

import pytest

from autonba.errors import SpecError
from autonba.search.settings import Settings


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("strategy", "joint, sequential, random, evolutionary"),
        ("bitwidths", "heterogeneous, hard, soft, random-hard"),
        ("level", "bilevel, one-level"),
    ],
)
def test_an_unknown_choice_is_refused_with_those_that_are_known(name, known):
    with pytest.raises(SpecError, match=f"{name} must be one of {known}, not 'grid'"):
        Settings(**{name: "grid"})
