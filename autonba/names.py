"""Names that become identifiers in Verilog and VHDL: of designs, chunks and layers."""

from __future__ import annotations

from autonba.errors import SpecError

MOST_CHARACTERS = 64

# Keywords of IEEE 1364-2005 and IEEE 1800-2023 (Verilog and SystemVerilog, annex B).
_VERILOG = """
accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before
begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class
clocking cmos config const constraint context continue cover covergroup coverpoint cross deassign
default defparam design disable dist do edge else end endcase endchecker endclass endclocking
endconfig endfunction endgenerate endgroup endinterface endmodule endpackage endprimitive endprogram
endproperty endsequence endspecify endtable endtask enum event eventually expect export extends
extern final first_match for force foreach forever fork forkjoin function generate genvar global
highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include
initial inout input inside instance int integer interconnect interface intersect join join_any
join_none large let liblist library local localparam logic longint macromodule matches medium
modport module nand negedge nettype new nexttime nmos nor noshowcancelled not notif0 notif1 null or
output package packed parameter pmos posedge primitive priority program property protected pull0
pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence
rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
showcancelled signed small soft solve specify specparam static string strong strong0 strong1 struct
super supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time
timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union
unique unique0 unsigned until until_with untyped use uwire var vectored virtual void wait wait_order
wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""

# Reserved words of IEEE 1076-2019 (VHDL, clause 15.10), which a user's own wrapper may be in.
_VHDL = """
abs access after alias all and architecture array assert assume assume_guarantee attribute begin
block body buffer bus case component configuration constant context cover default disconnect downto
else elsif end entity exit fairness file for force function generate generic group guarded if impure
in inertial inout is label library linkage literal loop map mod nand new next nor not null of on
open or others out package parameter port postponed private procedure process property protected
pure range record register reject release rem report restrict restrict_guarantee return rol ror
select sequence severity shared signal sla sll sra srl strong subtype then to transport type
unaffected units until use variable view vmode vprop vunit wait when while with xnor xor
"""

RESERVED = frozenset((*_VERILOG.split(), *_VHDL.split()))


def check_name(what: str, name: str) -> None:
    """Raise SpecError where `name` cannot stand in Verilog; `what` begins the sentence.

    Case does not count, as it does not in VHDL.
    """
    check_length(what, name)
    if name.lower() in RESERVED:
        raise SpecError(
            f"{what}: name must be no reserved word of SystemVerilog or VHDL, and {name!r} is one;"
            " rename it"
        )


def check_length(what: str, name: str) -> None:
    """Raise SpecError where `name` is longer than tools and file systems like."""
    if len(name) > MOST_CHARACTERS:
        raise SpecError(
            f"{what}: name must have at most {MOST_CHARACTERS} characters, not {len(name)};"
            " shorten it"
        )
