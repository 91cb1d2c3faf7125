"""Names that become identifiers."""

from __future__ import annotations

import pytest

from autonba.errors import SpecError
from autonba.hwgen.verilog import check_declarations
from autonba.names import check_name


@pytest.mark.parametrize("name", ["module", "Signal", "LOGIC", "x" * 65])
def test_reserved_and_long_names_are_refused(name: str) -> None:
    with pytest.raises(SpecError, match="layer 'a': name must"):
        check_name("layer 'a'", name)


def test_other_names_are_taken() -> None:
    for name in ("conv0", "modules", "x" * 64):
        check_name("layer", name)


TEXT = """module a (
    input  wire clk,
    input  wire [3:0] x
);
    wire y;
    block u_block (.x(x));
    generate
        if (1) begin : inner
            wire y;
        end
    endgenerate
{}endmodule
"""


@pytest.mark.parametrize(
    "line", ["    wire [1:0] y;\n", "    reg x;\n", "    other u_block (.x(x));\n"]
)
def test_names_that_meet_are_told(line: str) -> None:
    check_declarations({"a.v": TEXT.format("")})
    with pytest.raises(SpecError, match=r"occurs 2 times in a\.v; rename"):
        check_declarations({"a.v": TEXT.format(line)})
