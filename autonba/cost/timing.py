"""Cycles of a layer on a chunk, and the columns that are read at once: the rules, over arrays.

A visit takes a beat for each kernel row, each step of `taps` kernel columns and each word of input
channels; visits follow each other every period, since the accumulators of the visit before leave
meanwhile.
"""

from __future__ import annotations

import numpy as np

from .arrays import Whole, divided_up, log2_up

OUTPUT_WORD = 3  # cycles of a result word: address, read, send


def beats(kernel_rows: Whole, kernel_columns: Whole, taps: Whole, words: Whole) -> Whole:
    """Multiply cycles of a visit."""
    return kernel_rows * divided_up(kernel_columns, taps) * words


def drain_cycles(columns: Whole, out_lanes: Whole, drain_lanes: Whole) -> Whole:
    """Cycles in which a visit's accumulators leave."""
    return columns * (out_lanes // drain_lanes)


def period(beats: Whole, drain_cycles: Whole) -> Whole:
    """Cycles from visit to visit."""
    return np.maximum(beats, drain_cycles)


def column_sets(width: Whole, columns: Whole) -> Whole:
    """Sets of neighbouring output columns in a row."""
    return divided_up(width, columns)


def visits(height: Whole, width: Whole, columns: Whole, blocks: Whole) -> Whole:
    """Visits of an image."""
    return height * column_sets(width, columns) * blocks


def banks(columns: Whole, stride: Whole, taps: Whole) -> Whole:
    """Column banks, a power of two, from which all columns under `taps` taps of `columns` output
    columns are read at once.
    """
    return 1 << log2_up((columns - 1) * stride + taps)
