"""What a search says when it is done."""

from typing import Any

import pytest

from autonba.search.summary import lines


def report(**changes: Any) -> dict[str, Any]:
    return {
        "accuracy": {"float": 0.9, "quantized": 0.89, "integer": 0.88, "images": 400},
        "accelerator": {
            "cycles_per_image": 2000.0,
            "cycles_first_image": 3000,
            "resources": {"dsp": 5, "bram": 7, "lut": 100, "ff": 90},
        },
        "limits": {"dsp": 6.0, "bram": 8.0, "lut": 200.0},
        "clock_mhz": 50.0,
        "chance": 0.5,
        **changes,
    }


def test_accuracy_speed_and_resources() -> None:
    told = lines(report())
    assert len(told) == 3
    assert "integer 88.00 % of 400 test images" in told[0]
    assert "25000 images/s at 50 MHz (2000 cycles an image), first result after 60.0 us" in told[1]
    assert "5 of 6 dsp, 7 of 8 bram, 100 of 200 lut, 90 ff" in told[2]


@pytest.mark.parametrize(("integer", "warned"), [(0.3, True), (0.549, True), (0.551, False)])
def test_a_result_at_chance_level_is_remarked_on(integer: float, warned: bool) -> None:
    accuracy = {"float": 0.9, "quantized": 0.89, "integer": integer, "images": 400}
    told = lines(report(accuracy=accuracy))
    assert (len(told) == 4 and "no better than" in told[-1]) == warned
