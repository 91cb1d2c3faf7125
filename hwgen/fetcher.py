"""Fetcher of a chunk: brings streamed weights from DRAM into the chunk's weight memory, a block
ahead of their use.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from autonba.arithmetic import clog2
from autonba.cost.fetch import BOUNDARY, BURST_BEATS
from autonba.weight_image import block_beats, stream_layout, word_beats

from .layout import ChunkLayout, index_bits
from .tables import constant_table

INCREMENTING = 1  # AxBURST (AXI4, table A3-3)


class WeightFetcher(wiring.Component):
    """AXI4 read master with bursts, and the write side of the weight memory's two halves.

    For each task of a streamed layer it fetches the layer's blocks in order, each into the half
    that the one before did not take, as soon as a half is free and the task is known. Addresses run
    ahead of the data. A reset drops what is under way: beats that still come belong to nobody, and
    an address that is out stays out.
    Latency and throughput: `autonba.cost.fetch`. Back-pressure: none to the memory; data is taken
    whenever it comes.

    Ports
    -----
    task_offered, task_layer : the scheduler has claimed a task
    block_done   : the oldest loaded block has been used
    loaded       : blocks that are complete and not yet used
    base         : byte address of the DRAM image
    write_*      : a slice of `stream_bits` bits of a word of the weight memory
    m_axi_*      : AXI4 read address and read data channels
    error        : the memory answers with an error in this cycle
    """

    def __init__(self, layout: ChunkLayout) -> None:
        self._layout = layout
        self._bits = layout.plan.accelerator.stream_bits
        self._slices = word_beats(layout.chunk, self._bits)
        super().__init__(
            {
                "task_offered": In(1),
                "task_layer": In(layout.layer_bits),
                "block_done": In(1),
                "loaded": Out(2),
                "base": In(32),
                "write_enable": Out(1),
                "write_address": Out(index_bits(layout.weight_depth)),
                "write_slice": Out(index_bits(self._slices)),
                "write_data": Out(self._bits),
                "error": Out(1),
                "m_axi_araddr": Out(32),
                "m_axi_arlen": Out(8),
                "m_axi_arsize": Out(3),
                "m_axi_arburst": Out(2),
                "m_axi_arvalid": Out(1),
                "m_axi_arready": In(1),
                "m_axi_rdata": In(self._bits),
                "m_axi_rresp": In(2),
                "m_axi_rlast": In(1),
                "m_axi_rvalid": In(1),
                "m_axi_rready": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Tasks, bursts ahead of the data, and where each beat goes."""
        m = Module()
        layout, chunk, bits = self._layout, self._layout.chunk, self._bits
        layers = chunk.layers
        offsets = stream_layout(layout.plan).offsets
        block_sizes = [block_beats(chunk, lp, bits) if lp.streams else 1 for lp in layers]

        # Tasks: one that is fetched, one that waits.
        pending, active = Signal(), Signal()
        pending_layer, layer = Signal(layout.layer_bits), Signal(layout.layer_bits)
        blocks_left = Signal(range(max(lp.nest.blocks for lp in layers) + 1))
        task_ends = Signal()
        with m.If(self.task_offered):
            streamed = constant_table(
                m, self.task_layer, [int(lp.streams) for lp in layers], "streamed"
            )
            m.d.sync += [pending.eq(streamed), pending_layer.eq(self.task_layer)]
        next_address = Signal(32)
        with m.If(~active & pending):
            offset = constant_table(
                m, pending_layer, [offsets.get(lp.layer.name, 0) for lp in layers], "offset"
            )
            m.d.sync += [
                active.eq(1),
                pending.eq(0),
                layer.eq(pending_layer),
                next_address.eq(self.base + offset),
                blocks_left.eq(
                    constant_table(m, pending_layer, [lp.nest.blocks for lp in layers], "blocks")
                ),
            ]

        # Blocks: `held` halves are loaded or being loaded.
        held = Signal(2)
        fetching, half = Signal(), Signal()
        begins, ends = Signal(), Signal()
        m.d.comb += [
            begins.eq(active & ~fetching & (held != 2)),
            task_ends.eq(ends & (blocks_left == 1)),
        ]
        m.d.sync += [
            held.eq(held + begins - self.block_done),
            self.loaded.eq(self.loaded + ends - self.block_done),
        ]

        # Addresses.
        ask_left = Signal(range(max(block_sizes) + 1))
        to_boundary = Signal(range(BOUNDARY * 8 // bits + 1))
        length = Signal(range(BURST_BEATS + 1))
        beat_bits = clog2(bits // 8)
        size = constant_table(m, layer, block_sizes, "block_beats")
        m.d.comb += to_boundary.eq(BOUNDARY * 8 // bits - next_address[beat_bits : clog2(BOUNDARY)])
        most = Mux(to_boundary < BURST_BEATS, to_boundary, BURST_BEATS)
        m.d.comb += length.eq(Mux(ask_left < most, ask_left, most))
        valid = Signal(reset_less=True, name="address_valid")
        address = Signal(32, reset_less=True, name="address_held")
        beats = Signal(8, reset_less=True, name="beats_held")
        asks, accepted = Signal(), Signal()
        m.d.comb += [
            accepted.eq(valid & self.m_axi_arready),
            asks.eq(ask_left.any() & (~valid | accepted)),
            self.m_axi_arvalid.eq(valid),
            self.m_axi_araddr.eq(address),
            self.m_axi_arlen.eq(beats),
            self.m_axi_arsize.eq(beat_bits),
            self.m_axi_arburst.eq(INCREMENTING),
        ]
        with m.If(accepted):
            m.d.sync += valid.eq(0)
        with m.If(asks & ~ResetSignal()):
            m.d.sync += [valid.eq(1), address.eq(next_address), beats.eq(length - 1)]
        with m.If(asks):
            m.d.sync += [
                ask_left.eq(ask_left - length),
                next_address.eq(next_address + (length << beat_bits)),
            ]
        with m.If(begins):
            m.d.sync += [ask_left.eq(size), fetching.eq(1)]

        # Beats on their way, among them those that a reset has made stale; the address that is out
        # counts already.
        owed, stale = (
            Signal(24, reset_less=True, name="owed"),
            Signal(24, reset_less=True, name="stale"),
        )
        owed_after = Signal.like(owed)
        beat = Signal()
        m.d.comb += [
            self.m_axi_rready.eq(1),
            beat.eq(self.m_axi_rvalid & ~stale.any()),
            owed_after.eq(owed + Mux(asks & ~ResetSignal(), length, 0) - self.m_axi_rvalid),
        ]
        m.d.sync += owed.eq(owed_after)
        with m.If(ResetSignal()):
            m.d.sync += stale.eq(owed_after)
        with m.Elif(self.m_axi_rvalid & stale.any()):
            m.d.sync += stale.eq(stale - 1)

        # Data.
        word, part = Signal(range(max(chunk.stream_words, 2))), Signal(index_bits(self._slices))
        words = constant_table(
            m, layer, [lp.beats - 1 if lp.streams else 0 for lp in layers], "last_word"
        )
        part_ends = part == self._slices - 1
        m.d.comb += [
            self.error.eq(beat & self.m_axi_rresp.any()),
            ends.eq(beat & part_ends & (word == words)),
            self.write_enable.eq(beat),
            self.write_slice.eq(part),
            self.write_data.eq(self.m_axi_rdata),
            self.write_address.eq(
                Mux(half, chunk.weight_words + chunk.stream_words, chunk.weight_words) + word
            ),
        ]
        with m.If(beat):
            m.d.sync += part.eq(Mux(part_ends, 0, part + 1))
            with m.If(part_ends):
                m.d.sync += word.eq(word + 1)
        with m.If(ends):
            m.d.sync += [
                word.eq(0),
                half.eq(~half),
                fetching.eq(0),
                blocks_left.eq(blocks_left - 1),
            ]
        with m.If(task_ends):
            m.d.sync += active.eq(0)
        return m
