"""What candidates of the accelerator space cost: the one evaluation that every engine and every
search goes by.

Cycles, DSP and block RAM are those of `plan` and `estimate` for the same accelerator; LUT and FF
differ in the control, of which only shares are known without a plan. Weights count as unknown.
Suffixes: B candidates, C chunks, L layers, E readings; N chunks of all candidates in a row, M their
memories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autonba.boards import Family
from autonba.cost import fetch, logic, timing
from autonba.cost.arrays import bit_length, divided_up
from autonba.cost.energy import HOROWITZ_45NM, Datapath
from autonba.cost.timing import OUTPUT_WORD
from autonba.mapping import ends as ends_of

from . import chunks
from .chunks import Arrays, Needs, Words
from .factors import (
    COLUMNS,
    DEPTHWISE,
    DRAIN_LANES,
    IN_LANES,
    OUT_LANES,
    PORTS,
    STREAMED,
    TAPS,
)
from .layers import Ints, Layers
from .memories import Memories, assumed_rows
from .space import Candidates

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Costs of candidates, float64: `cycles` an image of the busiest chunk, `latency` of the first
    image (an estimate), `energy` in pJ, `dram` bits streamed in a cycle, resources (B,); cycles
    (B, C) of each chunk; cycles, latency and energy (B, L) of each layer.
    """

    cycles: Floats
    latency: Floats
    energy: Floats
    dram: Floats
    dsp: Floats
    bram: Floats
    lut: Floats
    ff: Floats
    multipliers: Floats
    busy: Floats
    layer_cycles: Floats
    layer_fill: Floats
    layer_energy: Floats


def evaluate(layers: Layers, c: Candidates, family: Family) -> Evaluation:
    """Costs of every candidate for the network of `layers` on a family of parts."""
    return _Evaluation(layers, c, family).costs()


class _Evaluation:
    def __init__(self, layers: Layers, c: Candidates, family: Family) -> None:
        self.layers, self.c, self.family = layers, c, family
        self.count, self.chunks = c.kind.shape
        self._chunks()
        self._nests()
        self._memories()

    # Chunks that are there, and sums over their layers

    def _chunks(self) -> None:
        c = self.c
        key = np.arange(self.count)[:, None] * self.chunks + c.chunk  # (B, L)
        used = np.zeros(self.count * self.chunks, dtype=bool)
        used[key.ravel()] = True
        self.place = np.flatnonzero(used)  # (N,)
        self.n_BL = (np.cumsum(used) - 1)[key]
        self.n_BC = (np.cumsum(used) - 1).reshape(self.count, self.chunks)
        self.candidate = self.place // self.chunks
        order = np.argsort(self.n_BL, axis=None, kind="stable")
        self._order = order
        self._starts = np.searchsorted(self.n_BL.ravel()[order], np.arange(len(self.place)))

        def of(name: str, values: tuple[int, ...]) -> Ints:
            number: Ints = getattr(c, name)
            return np.array(values)[number.ravel()[self.place]]

        self.arrays = Arrays(
            depthwise=c.kind.ravel()[self.place] == DEPTHWISE,
            out=of("out", OUT_LANES),
            into=of("into", IN_LANES),
            drain=of("drain", DRAIN_LANES),
            taps=of("taps", TAPS),
            columns=of("columns", COLUMNS),
            multiplier=c.multiplier.ravel()[self.place],
        )

    def _sum(self, values: Floats) -> Ints:
        """Sums over the layers of each chunk (N,) of whole numbers (L,) or (B, L)."""
        values = np.broadcast_to(values, self.n_BL.shape).ravel()[self._order]
        found: Ints = np.add.reduceat(values, self._starts)
        return found

    def _most(self, values: Floats) -> Ints:
        """Largest values of the layers of each chunk (N,)."""
        values = np.broadcast_to(values, self.n_BL.shape).ravel()[self._order]
        found: Ints = np.maximum.reduceat(values, self._starts)
        return found

    # Layers on their chunks

    def _nests(self) -> None:
        layers, c, a, n = self.layers, self.c, self.arrays, self.n_BL
        row = np.arange(len(layers))
        out, into = (np.take_along_axis(x, c.chunk, axis=1) for x in (c.out, c.into))
        words = np.where(
            a.depthwise[n],
            layers.depthwise_words[row, into],
            layers.conv_words[row, out, into],
        )
        lanes, columns, drain = a.out[n], a.columns[n], a.drain[n]
        self.blocks = divided_up(layers.channels, lanes)
        self.beats = timing.beats(layers.kernel_rows, layers.kernel_columns, a.taps[n], words)
        self.drains = timing.drain_cycles(columns, lanes, drain)
        self.period = timing.period(self.beats, self.drains)
        self.sets = timing.visits(layers.height, layers.width, columns, 1)
        self.rows = layers.rows[row, c.rows]
        self.streams = c.loops == STREAMED
        self.busy_BL = self.sets * self.blocks * self.period
        self.load_BL = np.zeros_like(self.busy_BL)  # beats of the port in an image
        self.port = np.array(PORTS)[c.port]
        if self.streams.any():
            weight_bits = self._most(layers.weight_bits)
            word = a.out * a.terms * weight_bits
            beats = self.beats * divided_up(word[n], self.port[:, None])
            tasks = layers.height // self.rows
            visits = self.sets // tasks * self.period
            waiting = tasks * self.blocks * fetch.block_cycles(visits, beats)
            self.busy_BL = np.where(self.streams, waiting, self.busy_BL)
            self.load_BL = np.where(self.streams, tasks * self.blocks * beats, 0)

    # Row buffers

    def _memories(self) -> None:
        layers, c = self.layers, self.c
        count, chunks = self.count, self.chunks
        ends = np.concatenate([c.chunk, np.full((count, 1), chunks)], axis=1)
        writer, reader = ends[:, layers.writer], ends[:, layers.reader]  # (B, E)
        some = np.concatenate([self.rows, np.ones((count, 1), dtype=np.int64)], axis=1)
        option = np.concatenate([c.rows, np.zeros((count, 1), dtype=np.int64)], axis=1)
        needed = layers.needs[np.arange(len(layers.reader)), option[:, layers.reader]]
        alive = np.ones(writer.shape, dtype=bool)
        for first, second in layers.twins:
            same = (reader[:, first] == reader[:, second]) & alive[:, first]
            needed[:, first] = np.where(
                same, np.maximum(needed[:, first], needed[:, second]), needed[:, first]
            )
            alive[:, second] &= ~same
        written = some[:, layers.writer]
        least = np.maximum(needed, written)
        held = assumed_rows(least, written, layers.tensor_height, layers.at_residual)

        port = np.broadcast_to(layers.at_residual, writer.shape)
        key = ((np.arange(count)[:, None] * (chunks + 1) + writer) * (chunks + 1) + reader) * 2
        unique, m_BE = np.unique(key + port, return_inverse=True)
        m_BE = m_BE.reshape(writer.shape)
        rest, is_residual = np.divmod(unique, 2)
        rest, to = np.divmod(rest, chunks + 1)
        self.m_candidate, source = np.divmod(rest, chunks + 1)
        self.m_BE = m_BE
        image, result = source == chunks, to == chunks
        from_n = self.n_BC[self.m_candidate, np.minimum(source, chunks - 1)]
        to_n = self.n_BC[self.m_candidate, np.minimum(to, chunks - 1)]
        a, residual = self.arrays, is_residual == 1
        self.stride = self._most(layers.stride)
        banks = timing.banks(a.columns, self.stride, a.taps)[to_n]
        write_lanes = np.where(image, layers.source_lanes, a.drain[from_n])
        read_lanes = np.where(result, 1, np.where(residual, a.drain[to_n], a.into[to_n]))
        kept = np.where(image, layers.source_channels, write_lanes)
        banks = np.where(result | residual, 1, banks)

        lanes = np.maximum(write_lanes, read_lanes)
        row_words = divided_up(layers.tensor_channels, lanes[m_BE]) * divided_up(
            layers.tensor_width, banks[m_BE]
        )
        depth = np.bincount(
            m_BE.ravel(), weights=(alive * held * row_words).ravel(), minlength=len(unique)
        ).astype(np.int64)
        signed = np.zeros(len(unique), dtype=bool)
        signed[m_BE[:, layers.tensor_signed].ravel()] = True
        bits = np.zeros(len(unique), dtype=np.int64)
        np.maximum.at(
            bits,
            m_BE.ravel(),
            (layers.tensor_bits + (signed[m_BE] & ~layers.tensor_signed)).ravel(),
        )
        self.memories = Memories(
            write_lanes=write_lanes,
            read_lanes=read_lanes,
            kept_lanes=kept,
            lane_bits=bits,
            banks=banks,
            depth=depth,
        )
        self.mains, self.residuals = (
            np.bincount(to_n[own], minlength=len(self.place))
            for own in (~result & ~residual, ~result & residual)
        )
        own = ~result
        plain, packed, waiting = np.zeros((3, len(self.place)), dtype=np.int64)
        operand = bits + ~signed
        np.maximum.at(plain, to_n[own & ~residual], operand[own & ~residual])
        np.maximum.at(packed, to_n[own & ~residual], bits[own & ~residual])
        np.maximum.at(waiting, to_n[own & residual], operand[own & residual])
        self.input_bits, self.packed_bits, self.residual_bits = plain, packed, waiting
        self.alive, self.image, self.result = alive, image, result

    # Costs

    def costs(self) -> Evaluation:
        layers, a = self.layers, self.arrays
        words = self.blocks * self.beats
        stream_words = self._most(np.where(self.streams, self.beats, 0))
        requantizes = self._most(~layers.raw)
        shift_high = self._most(np.where(layers.raw, 0, layers.shift))
        most = int(layers.shift.max(initial=0))
        shift_low = most - self._most(np.where(layers.raw, 0, most - layers.shift))
        shift_low = np.where(requantizes, shift_low, 0)
        needs = Needs(
            layers=self._sum(np.ones(len(layers), dtype=np.int64)),
            streamed=self._sum(self.streams),
            addresses=self._sum(layers.address_bits),
            tables=self._sum(layers.row_tables[np.arange(len(layers)), self.c.rows]),
            weight_bits=self._most(layers.weight_bits),
            input_bits=self.input_bits,
            packed_bits=self.packed_bits,
            residual_bits=self.residual_bits,
            residual_factor=self._most(layers.residual_factor),
            sum_bits=self._most(layers.sum_bits),
            write_bits=self._most(layers.write_bits),
            requantizes=requantizes.astype(np.int64),
            has_raw=self._most(layers.raw).astype(np.int64),
            shift_low=shift_low,
            shift_range=bit_length(np.maximum(shift_high - shift_low, 0)),
            mains=self.mains,
            residuals=self.residuals,
            strides=sum(
                self._most(layers.stride == stride).astype(np.int64)
                for stride in np.unique(layers.stride)
            ),
            stride=self.stride,
            maximum=self._most(layers.pooling).astype(np.int64),
        )
        depths = Words(
            weights=self._sum(np.where(self.streams, 0, words)) + 2 * stream_words,
            parameters=self._sum(self.blocks * (a.out // a.drain)[self.n_BL]),
            port=self.port[self.candidate],
        )
        found = chunks.costs(a, needs, depths, self.family)
        m = self.memories
        top = {
            kind: logic.top(
                np.bincount(self.candidate, minlength=self.count),
                len(layers),
                len(layers.reader),
                self.family,
                kind,
            )
            for kind in logic.KINDS
        }
        busy = np.zeros(self.count * self.chunks)
        busy[self.place] = self._sum(self.busy_BL)
        busy = busy.reshape(self.count, self.chunks)
        cycles = np.maximum(busy.max(axis=1), float(ends_of(layers.network)))
        energy_BL, ends = self._energy(found.path)
        fill_BL = self.busy_BL * np.minimum(layers.kernel_rows / layers.source_height, 1.0)
        streamed = (self.load_BL * self.port[:, None]).sum(axis=1)
        out = layers.network.output
        return Evaluation(
            cycles=cycles,
            latency=cycles + fill_BL.sum(axis=1) + OUTPUT_WORD * out.width * out.channels,
            energy=energy_BL.sum(axis=1) + ends,
            dram=streamed / cycles,
            dsp=self._of_chunks(found.dsp),
            bram=self._of_chunks(found.bram) + self._of_memories(m.bram(self.family)),
            lut=self._of_chunks(found.lut)
            + self._of_memories(m.logic("lut", self.family))
            + top["lut"],
            ff=self._of_chunks(found.ff)
            + self._of_memories(m.logic("ff", self.family))
            + top["ff"],
            multipliers=self._of_chunks(a.multipliers),
            busy=busy,
            layer_cycles=self.busy_BL.astype(float),
            layer_fill=fill_BL,
            layer_energy=energy_BL,
        )

    def _of_chunks(self, values: Floats) -> Floats:
        return np.bincount(self.candidate, weights=values, minlength=self.count)

    def _of_memories(self, values: Floats) -> Floats:
        return np.bincount(self.m_candidate, weights=values, minlength=self.count)

    def _energy(self, path: Datapath) -> tuple[Floats, Floats]:
        """Energy (B, L) of the layers and (B,) of the image's way in and the result's way out."""
        layers, n = self.layers, self.n_BL
        own = Datapath(
            **{
                name: np.broadcast_to(value, len(self.place))[n]
                for name, value in vars(path).items()
            }
        )
        visits = self.sets * self.blocks
        beats, groups = visits * self.beats, visits * self.drains
        total = sum(
            own.energy(
                HOROWITZ_45NM,
                beats=beats,
                multiplied=beats * ~layers.pooling,
                groups=groups,
                requantized=groups * ~layers.raw,
                residuals=groups * layers.residual,
            )
        )
        reading, writing = self.memories.read_energy, self.memories.write_energy
        bits = self.load_BL * self.port[:, None]
        total = total + bits * HOROWITZ_45NM.dram_bit
        total = total + HOROWITZ_45NM.access(bits, own.weight_word * own.weight_words)
        of_writer = layers.height * layers.width * divided_up(layers.channels, self.arrays.drain[n])
        image, out = layers.network.input, layers.network.output
        ends = np.zeros(self.count)
        for e, (writer, reader) in enumerate(zip(layers.writer, layers.reader, strict=True)):
            m = self.m_BE[:, e]
            if reader < len(layers):
                count = groups if layers.at_residual[e] else beats
                total[:, reader] += count[:, reader] * reading[m]
            else:
                ends += out.height * out.width * out.channels * reading[m]
            if writer < len(layers):
                total[:, writer] += self.alive[:, e] * of_writer[:, writer] * writing[m]
        ends += self._of_memories(self.image * writing) * image.height * image.width
        return total, ends
