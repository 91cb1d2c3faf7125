"""Loading weights at run time: which memories a host can write through the registers, and the
writes that do it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from autonba.arithmetic import ceil_div
from autonba.errors import SpecError
from autonba.golden import Weights, check_weights
from autonba.mapping import Plan, plan
from autonba.memory_image import parameter_bits, parameter_rom, weight_rom
from autonba.registers import Register


@dataclass(frozen=True, kw_only=True)
class LoadTarget:
    """A memory that can be loaded: `words` words of `word_bits` bits. `kind` is 'weights' or
    'parameters'.
    """

    chunk: str
    kind: str
    words: int
    word_bits: int

    def slices(self, slice_bits: int) -> int:
        """Slices of a word; the last one is padded with zeros."""
        return ceil_div(self.word_bits, slice_bits)


def load_targets(mapped: Plan) -> tuple[LoadTarget, ...]:
    """The memories in the order of their numbers: of each chunk, the weights that stay on the chip,
    then the parameters.
    """
    targets = []
    for chunk in mapped.chunks:
        name, spec = chunk.chunk.name, chunk.chunk
        if chunk.weight_words:
            targets.append(
                LoadTarget(
                    chunk=name,
                    kind="weights",
                    words=chunk.weight_words,
                    word_bits=spec.weights_per_cycle * chunk.weight_bits,
                )
            )
        targets.append(
            LoadTarget(
                chunk=name,
                kind="parameters",
                words=chunk.parameter_words,
                word_bits=spec.drain_lanes * parameter_bits(chunk),
            )
        )
    return tuple(targets)


def load_images(mapped: Plan, weights: Weights) -> list[bytes]:
    """Content of each memory, its words padded to whole slices, little endian.

    `mapped` is the plan of the accelerator as it was built. Raises SpecError where its accumulators
    are too narrow for the biases of `weights`, and BundleError where `weights` do not fit the
    network.
    """
    check_weights(mapped.network, weights)
    wanted = plan(mapped.network, mapped.accelerator, weights)
    for built, new in zip(mapped.chunks, wanted.chunks, strict=True):
        if new.acc_bits > built.acc_bits:
            raise SpecError(
                f"weights: accumulators of chunk {built.chunk.name!r} must have {new.acc_bits} bits"
                f" for these biases, and were built with {built.acc_bits}; run `autonba gen-rtl`"
                " and synthesize again"
            )
    slice_bits = mapped.accelerator.stream_bits
    by_name = {chunk.chunk.name: chunk for chunk in mapped.chunks}
    images = []
    for target in load_targets(mapped):
        words = (weight_rom if target.kind == "weights" else parameter_rom)(
            by_name[target.chunk], weights
        )
        size = target.slices(slice_bits) * slice_bits // 8
        images.append(b"".join(word.to_bytes(size, "little") for word in words))
    return images


def load_writes(mapped: Plan, weights: Weights) -> tuple[list[tuple[int, int]], int]:
    """Register writes (offset, value) that load `weights`, and what register LOAD_CHECKSUM then
    reads.

    The accelerator must be stopped: `run` 0 and STATUS 0. Data that come at another time are
    dropped and miss in the checksum. Streamed weights are not among them; they are what the DRAM
    holds.
    """
    images = load_images(mapped, weights)
    writes: list[tuple[int, int]] = [(Register.LOAD_CHECKSUM, 0)]
    for number, image in enumerate(images):
        writes.append((Register.LOAD_TARGET, number))
        writes += [
            (Register.LOAD_DATA, int.from_bytes(image[i : i + 4], "little"))
            for i in range(0, len(image), 4)
        ]
    return writes, zlib.crc32(b"".join(images))
