"""Generated RTL is lint-clean with the waivers, and the waivers hide no more than they say."""

from __future__ import annotations

import pytest

from autonba.bundle import Bundle
from autonba.errors import ToolError
from autonba.sim.lint import lint
from autonba.sim.runner import find_toolchain
from tests.sim.conftest import plant


@pytest.fixture(autouse=True)
def _verilator() -> None:
    try:
        find_toolchain("verilator")
    except ToolError as error:
        pytest.skip(str(error))


def test_generated_rtl_is_clean(small: Bundle) -> None:
    assert lint(small) == []


@pytest.mark.parametrize(("file", "old", "new", "rule"), [
    ("mac_lane.v", "endmodule", "    wire forgotten;\n    assign forgotten = clk;\nendmodule", "UNUSEDSIGNAL"),
    ("row_tokens.v", "free <= free + release_read", "free <= {free, release_read}", "WIDTHTRUNC"),
    ("accelerator.v", ".run(run), ", "", "PINMISSING"),
    ("result_output.v", "endmodule", "  reg latch;\n  always @* if (clk) latch = rst;\nendmodule", "LATCH"),
])
def test_planted_fault_is_found(spoilt: Bundle, file: str, old: str, new: str, rule: str) -> None:
    plant(spoilt, file, old, new)
    assert any(rule in line and file in line for line in lint(spoilt))
