"""What a chunk costs, row buffers left out: the rules of `autonba.cost` for arrays of chunks.

Whoever weighs chunks does it here: thousands of candidates at once, every array shape for one set
of layers, or every stage on every shape. `Arrays`, `Needs` and `Words` hold arrays that broadcast
with each other; N stands for their common shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from autonba.arithmetic import MULTIPLIER_BITS
from autonba.boards import Family
from autonba.cost import dsp, logic, ram, timing, widths
from autonba.cost.arrays import Truth, Whole, divided_up, log2_up
from autonba.cost.energy import Datapath
from autonba.pipeline import MULTIPLY_STAGES

from .factors import MULTIPLIERS, PACKED


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Multiplier arrays (N): lanes, taps, columns; `multiplier` is a number of MULTIPLIERS."""

    depthwise: Truth
    out: Whole
    into: Whole
    drain: Whole
    taps: Whole
    columns: Whole
    multiplier: Whole

    @property
    def terms(self) -> Whole:
        """Products that an accumulator takes in a cycle."""
        return self.taps * np.where(self.depthwise, 1, self.into)

    @property
    def multipliers(self) -> Whole:
        """Multiply-accumulates a cycle."""
        return self.columns * self.out * self.terms


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the layers of a chunk ask of it (N): numbers of layers and memories, and the widest of
    their bits.
    """

    layers: Whole
    streamed: Whole  # layers whose weights come from DRAM
    addresses: Whole  # bits that number the elements of the layers' rows
    tables: Whole  # bits of the schedulers' tables of rows
    weight_bits: Whole
    input_bits: Whole  # an operand's where multipliers are not packed
    packed_bits: Whole  # and where they are
    residual_bits: Whole  # signed; 0 without residuals
    residual_factor: Whole  # bits of the widest r
    sum_bits: Whole
    write_bits: Whole
    requantizes: Whole
    has_raw: Whole
    shift_low: Whole
    shift_range: Whole
    mains: Whole  # memories read at the main port
    residuals: Whole
    strides: Whole  # different horizontal ones
    stride: Whole  # the largest
    maximum: Whole


@dataclass(frozen=True, kw_only=True)
class Words:
    """Depths of a chunk's memories (N): of weights, two streamed blocks included, and of
    parameters; `port` bits a cycle are streamed in.
    """

    weights: Whole
    parameters: Whole
    port: Whole


@dataclass(frozen=True, kw_only=True)
class ChunkCosts:
    """Resources (N) of chunks without their row buffers, and the datapath that energies follow
    from. Control is a share that `autonba.cost.logic` fits to whole designs.
    """

    dsp: Whole
    bram: Whole
    lut: Any
    ff: Any
    path: Datapath


def operand_bits(arrays: Arrays, needs: Needs) -> Whole:
    """Bits of an input that meets a weight (N)."""
    return np.where(arrays.multiplier == PACKED, needs.packed_bits, needs.input_bits)


def costs(arrays: Arrays, needs: Needs, words: Words, family: Family) -> ChunkCosts:
    """Resources of chunks on a family of parts."""
    terms, weight_bits = arrays.terms, needs.weight_bits
    inputs = operand_bits(arrays, needs)
    acc = widths.accumulator(widths.beat_sum(weight_bits, inputs, terms), needs.sum_bits)
    word = arrays.out * terms * weight_bits
    parameter_word = arrays.drain * (acc + MULTIPLIER_BITS * needs.requantizes)
    streamed = np.asarray(needs.streamed) > 0
    weights_in_blocks = ram.in_blocks(word, words.weights, family)
    blocks = _by_multiplier(
        lambda name, own: dsp.array(
            name,
            own["depthwise"],
            own["out"],
            own["terms"],
            own["columns"],
            own["weight_bits"],
            own["inputs"],
            family,
        ),
        arrays.multiplier,
        depthwise=arrays.depthwise,
        out=arrays.out,
        terms=terms,
        columns=arrays.columns,
        weight_bits=weight_bits,
        inputs=inputs,
    )
    requantizer = dsp.requantizer(acc, needs.residual_bits, needs.residual_factor, family)
    stored = ram.blocks(word, words.weights, family, rom=True)
    if streamed.any():
        stored = np.where(
            streamed, ram.sliced_blocks(word, words.weights, words.port, family), stored
        )
    parameters = ram.in_blocks(parameter_word, words.parameters, family) * ram.blocks(
        parameter_word, words.parameters, family, rom=True
    )
    path = Datapath(
        multipliers=arrays.multipliers,
        drain_lanes=arrays.drain,
        weight_bits=weight_bits,
        input_bits=inputs,
        acc_bits=acc,
        residual_bits=needs.residual_bits,
        residual_factor_bits=needs.residual_factor,
        weight_word=word,
        weight_words=words.weights,
        parameter_word=parameter_word,
        parameter_words=words.parameters,
    )
    weight_slices = ram.depth_slices(word, words.weights, family, rom=True)
    if streamed.any():
        weight_slices = np.where(
            streamed, ram.depth_slices(word, words.weights, family), weight_slices
        )
    slices = (
        weight_slices,
        ram.depth_slices(parameter_word, words.parameters, family, rom=True),
    )
    lut, ff = (
        _logic(kind, arrays, needs, words, path, slices, ~weights_in_blocks, family)
        for kind in logic.KINDS
    )
    return ChunkCosts(
        dsp=blocks + arrays.drain * needs.requantizes * requantizer,
        bram=weights_in_blocks * stored + parameters,
        lut=lut,
        ff=ff,
        path=path,
    )


def _by_multiplier(
    amount: Callable[[Any, dict[str, Any]], Any], multiplier: Whole, **parts: Any
) -> Any:
    """`amount` of each multiplier's own part of the last axis, put together."""
    styles = np.asarray(multiplier)
    shape = np.broadcast_shapes(styles.shape, *(np.shape(part) for part in parts.values()))
    found = np.zeros(shape)
    for number, name in enumerate(MULTIPLIERS):
        own = styles == number
        if styles.ndim == 0:
            if own:
                return found + amount(name, parts)
            continue
        if own.any():
            found[..., own] = amount(
                name,
                {
                    key: part[..., own] if np.ndim(part) and np.shape(part)[-1] > 1 else part
                    for key, part in parts.items()
                },
            )
    return found


def _logic(
    kind: logic.Logic,
    arrays: Arrays,
    needs: Needs,
    words: Words,
    path: Datapath,
    slices: tuple[Whole, Whole],
    soft_weights: Truth,
    family: Family,
) -> Any:
    """LUT or FF (N)."""

    def array(name: Any, own: dict[str, Any]) -> Any:
        amounts = logic.array(
            name,
            **own,
            stages=1 + MULTIPLY_STAGES[name] + log2_up(own["terms"]),
            family=family,
        )
        return logic.weigh("array", amounts, family, kind)

    total = _by_multiplier(
        array,
        arrays.multiplier,
        depthwise=arrays.depthwise,
        weight_bits=path.weight_bits,
        input_bits=path.input_bits,
        acc_bits=path.acc_bits,
        out_lanes=arrays.out,
        terms=arrays.terms,
        columns=arrays.columns,
        drain_lanes=arrays.drain,
        maximum=needs.maximum,
        weight_slices=slices[0],
        soft_weights=soft_weights,
    )
    streamed = np.asarray(needs.streamed) > 0
    loads = divided_up(path.weight_word, words.port)
    parts = {
        "operands": logic.operands(
            input_bits=path.input_bits,
            in_lanes=arrays.into,
            taps=arrays.taps,
            columns=arrays.columns,
            banks=timing.banks(arrays.columns, np.maximum(needs.stride, 1), arrays.taps),
            mains=needs.mains,
            strides=needs.strides,
            drain_lanes=arrays.drain,
            residual_bits=needs.residual_bits,
            residuals=needs.residuals,
        ),
        "requantize": logic.requantizers(
            drain_lanes=arrays.drain,
            acc_bits=path.acc_bits,
            residual_bits=needs.residual_bits,
            residual_factor_bits=needs.residual_factor,
            shift_low=needs.shift_low,
            shift_range=needs.shift_range,
            write_bits=needs.write_bits,
            has_raw=needs.has_raw,
            requantizes=needs.requantizes,
            family=family,
            parameter_slices=slices[1],
        ),
    }
    memories = (
        logic.weight_memory(
            path.weight_word, words.weights, family, written=streamed, slices=loads
        ),
        logic.weight_memory(path.parameter_word, words.parameters, family, written=False, slices=0),
    )
    total = total + sum(logic.weigh(part, own, family, kind) for part, own in parts.items())
    total = total + sum(logic.weigh("weights", own, family, kind) for own in memories)
    total = total + logic.control(needs.layers, needs.addresses, needs.tables, family, kind)
    if streamed.any():
        fetch = logic.weigh(
            "fetch",
            {
                "constant": 1,
                "layers": needs.streamed,
                "port": words.port,
                "addresses": log2_up(np.maximum(words.weights, 1)),
                "slices": loads,
            },
            family,
            kind,
        )
        total = total + streamed * fetch
    return total


def pick(parts: Any, index: Any) -> Any:
    """`Arrays`, `Needs` or `Words` of the chosen chunks."""
    return type(parts)(
        **{f.name: np.asarray(getattr(parts, f.name))[..., index] for f in fields(parts)}
    )
