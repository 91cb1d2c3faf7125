"""Zynq boards in Vivado: the accelerator out of context, and joined to the board's processing
system in a block design.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autonba.boards import Board
from autonba.bundle import Bundle
from autonba.errors import SpecError
from autonba.rtl import Rtl

from . import plan

DMA_BITS = (8, 16, 32, 64, 128, 256, 512, 1024)  # widths of the DMA's pixel stream (AMD PG021)
DMA_MEMORY_BITS = 32  # the DMA's narrowest memory port; at least as wide as its stream
MAX_MASTERS = 16  # of a SmartConnect (AMD PG247)


@dataclass(frozen=True, kw_only=True)
class Processor:
    """The processing system of a Zynq family, in the names of its Vivado IP.

    `settings` switch on one clock with its reset, one AXI master and one slave that reaches the
    DRAM; all other AXI masters are off, as a port without a clock is an error. `frequency` is the
    setting of that clock in MHz. `preset` configures the IP from the board's files.
    """

    ip: str
    preset: str
    settings: tuple[tuple[str, int], ...]
    frequency: str
    clock: str
    reset_n: str
    control: str
    control_clock: str
    memory: str
    memory_clock: str


ZYNQ_7000 = Processor(
    ip="processing_system7",
    preset='make_external "FIXED_IO, DDR" apply_board_preset 1 Master Disable Slave Disable',
    settings=(
        ("PCW_FPGA_FCLK0_ENABLE", 1),
        ("PCW_EN_CLK0_PORT", 1),
        ("PCW_EN_RST0_PORT", 1),
        ("PCW_USE_M_AXI_GP0", 1),
        ("PCW_USE_M_AXI_GP1", 0),
        ("PCW_USE_S_AXI_HP0", 1),
    ),
    frequency="PCW_FPGA0_PERIPHERAL_FREQMHZ",
    clock="FCLK_CLK0",
    reset_n="FCLK_RESET0_N",
    control="M_AXI_GP0",
    control_clock="M_AXI_GP0_ACLK",
    memory="S_AXI_HP0",
    memory_clock="S_AXI_HP0_ACLK",
)

ZYNQ_ULTRASCALE_PLUS = Processor(
    ip="zynq_ultra_ps_e",
    preset="apply_board_preset 1",
    settings=(
        ("PSU__FPGA_PL0_ENABLE", 1),
        ("PSU__USE__M_AXI_GP0", 1),
        ("PSU__USE__M_AXI_GP1", 0),
        ("PSU__USE__M_AXI_GP2", 0),
        ("PSU__USE__S_AXI_GP2", 1),
    ),  # slave port 2 of the programmable logic is HP0
    frequency="PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ",
    clock="pl_clk0",
    reset_n="pl_resetn0",
    control="M_AXI_HPM0_FPD",
    control_clock="maxihpm0_fpd_aclk",
    memory="S_AXI_HP0_FPD",
    memory_clock="saxihp0_fpd_aclk",
)

# Board: its processing system, and the pattern of its board files in Vivado
# (vendor:board:part0:version).
ZYNQ = {
    "pynq-z2": (ZYNQ_7000, "*:pynq-z2:*"),
    "zc706": (ZYNQ_7000, "*:zc706:*"),
    "ultra96-v2": (ZYNQ_ULTRASCALE_PLUS, "*:ultra96v2:*"),
}


def zynq_files(bundle: Bundle, board: Board, _: Rtl, common: dict[str, Any]) -> dict[str, str]:
    """Scripts by name: build.tcl (out of context), package_ip.tcl and system.tcl (with the
    processing system).
    """
    processor, board_files = ZYNQ[board.name]
    streams = [f"m_axi_{name}" for name in plan.streaming_chunks(bundle)]
    masters = ["dma/M_AXI_MM2S", "dma/M_AXI_S2MM", *(f"accelerator/{stream}" for stream in streams)]
    if len(masters) > MAX_MASTERS:
        raise SpecError(
            f"accelerator: chunks that stream weights must be at most {MAX_MASTERS - 2} on board"
            f" {board.name!r}, as they share one port to its DRAM, not {len(streams)}; use rtl/ in"
            " a project of your own"
        )
    pixel_bits = 8 * bundle.design.network.input.channels
    stream_bits = dma_bits(pixel_bits)
    return {
        "accelerator.xdc": plan.render("accelerator.xdc.j2", **common),
        "build.tcl": plan.render("vivado_out_of_context.tcl.j2", **common),
        "package_ip.tcl": plan.render(
            "vivado_ip.tcl.j2", buses=["s_axis", "m_axis", "s_axil", *streams], **common
        ),
        "system.tcl": plan.render(
            "vivado_system.tcl.j2",
            ps=processor,
            board_files=board_files,
            masters=masters,
            pixel_bits=pixel_bits,
            dma_bits=stream_bits,
            dma_memory_bits=max(stream_bits, DMA_MEMORY_BITS),
            **common,
        ),
    }


def dma_bits(pixel_bits: int) -> int:
    """The narrowest stream of the DMA that holds a pixel."""
    fitting = [bits for bits in DMA_BITS if bits >= pixel_bits]
    if not fitting:
        raise SpecError(
            f"network: input.channels must be at most {DMA_BITS[-1] // 8}, as a pixel passes the"
            f" DMA in a beat, not {pixel_bits // 8}; use rtl/ in a project of your own"
        )
    return fitting[0]
