from __future__ import annotations

from fractions import Fraction

import pytest

from autonba.errors import SpecError
from autonba.pll import EHXPLLL, MMCME2, ehxplll, mmcme2


@pytest.mark.parametrize("clock", [12.5, 25, 40, 46.875, 50, 60, 62.5, 75, 87.5, 100, 125, 200])
def test_ecp5_dividers_make_the_clock_within_limits(clock: float) -> None:
    d = ehxplll(25.0, clock)
    assert Fraction(25) * d.feedback_divider / d.input_divider == Fraction(clock)
    assert d.vco_mhz == Fraction(clock) * d.output_divider
    assert EHXPLLL.vco[0] <= d.vco_mhz <= EHXPLLL.vco[1]
    assert 25 / d.input_divider >= EHXPLLL.pfd[0]


def test_ecp5_known_dividers() -> None:
    d = ehxplll(25.0, 50.0)  # ecppll -i 25 -o 50 says the same
    assert (d.input_divider, d.feedback_divider, d.output_divider) == (1, 2, 12)


@pytest.mark.parametrize("clock", [25, 50, 62.5, 80, 100, 125, 200, 500])
def test_7_series_dividers_make_the_clock_within_limits(clock: float) -> None:
    d = mmcme2(100.0, clock)
    assert d.vco_mhz == Fraction(100) * d.feedback_divider / d.input_divider
    assert d.vco_mhz / d.output_divider == Fraction(clock)
    assert MMCME2.vco[0] <= d.vco_mhz <= MMCME2.vco[1]


@pytest.mark.parametrize(
    ("clock", "nearest"),
    [(51.3, "50"), (51.5625, "50"), (1000.0, "400"), (0.5, "3.125"), (-5.0, "3.125")],
)
def test_impossible_clock_is_refused_with_the_nearest(clock: float, nearest: str) -> None:
    with pytest.raises(SpecError, match=rf"not {clock:g}; the nearest is {nearest}\b"):
        ehxplll(25.0, clock)
