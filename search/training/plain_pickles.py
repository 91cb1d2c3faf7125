"""Pickles of plain values and NumPy arrays, as CIFAR is published in, read without running them.

A pickle is a program for a small machine. This one knows its instructions for plain values; of the
functions that a pickle may name it knows those that make arrays, and does itself what they would
do. So a file can neither run code nor ask for more memory than it has bytes.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_STEPS = 2_000_000  # CIFAR-100, the longest, takes 0.4 million
MOST_BYTES = 192 << 20  # of a file; CIFAR-100 has 155 MB
MOST_AXES = 32
_DTYPE = re.compile(r"([<>|=]?)([biuf][1248])")
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BYTEARRAY8"),
    *("FLOAT", "BINFLOAT"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()
_IGNORED = {"PROTO", "FRAME"}
_PARTS = ("numpy.core", "numpy._core")  # before and since NumPy 2
_RECONSTRUCT = {f"{part}.multiarray._reconstruct" for part in _PARTS}
_FROM_BUFFER = {f"{part}.numeric._frombuffer" for part in _PARTS}
_NO_BYTES = {"__builtin__.bytes", "builtins.bytes"}  # how old protocols write b""
_KNOWN = {*_RECONSTRUCT, *_FROM_BUFFER, *_NO_BYTES, "numpy.ndarray", "numpy.dtype"}
_KNOWN |= {"_codecs.encode"}


class _Named:
    """A name that the pickle asks for; nothing is imported."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Type:
    """A dtype in the making."""

    def __init__(self, name: str) -> None:
        self.name, self.order = name, "="

    def dtype(self) -> np.dtype[Any]:
        found = _DTYPE.fullmatch(self.name)
        if found is None:
            raise ValueError(f"an array is of type {self.name[:40]!r}")
        return np.dtype((found[1] or self.order) + found[2])


class _Array:
    """An array in the making."""

    value: np.ndarray[Any, np.dtype[Any]] | None = None

    def fill(self, shape: Any, kind: Any, fortran: bool, raw: Any) -> None:
        if not isinstance(kind, _Type) or not isinstance(raw, bytes):
            raise ValueError("an array has no plain type or values")
        dtype = kind.dtype()
        if not (
            isinstance(shape, tuple)
            and len(shape) <= MOST_AXES
            and all(type(n) is int and 0 <= n < 2**63 for n in shape)
        ):
            raise ValueError("an array has no shape")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array of shape {str(shape)[:80]} has {len(raw)} bytes")
        flat = np.frombuffer(raw, dtype=dtype)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def loads(data: bytes) -> Any:
    """The value in a pickle: None, truth values, numbers, texts, bytes, tuples, lists, arrays, and
    dictionaries with texts or bytes as keys. Python 2's texts come as bytes.

    Raises some Exception, mostly ValueError, for anything else.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES >> 20} MiB")
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    budget = len(data)  # bytes that may be made out of texts

    def marked() -> list[Any]:
        last = next(n for n in range(len(stack) - 1, -1, -1) if stack[n] is _MARK)
        values = stack[last + 1 :]
        del stack[last:]
        return values

    def call(function: Any, values: Any) -> Any:
        nonlocal budget
        name = function.name if isinstance(function, _Named) else "a value"
        if name == "_codecs.encode":
            text, codec = values
            budget -= len(text)
            if budget < 0 or codec not in ("latin1", "latin-1", b"latin1"):
                raise ValueError("it encodes its texts in another way")
            return (text.decode("latin1") if isinstance(text, bytes) else text).encode("latin1")
        if name in _NO_BYTES and values == ():
            return b""
        if name == "numpy.dtype":
            return _Type(_text(values[0]))
        if name in _RECONSTRUCT:
            return _Array()
        if name in _FROM_BUFFER:
            raw, kind, shape, order = values
            array = _Array()
            array.fill(shape, kind, _text(order) == "F", raw)
            return array
        raise ValueError(f"it calls {name}, which a data set has no need of")

    def build(thing: Any, state: Any) -> None:
        if isinstance(thing, _Type):
            thing.order = _text(state[1])
        elif isinstance(thing, _Array):
            _, shape, kind, fortran, raw = state
            thing.fill(shape, kind, bool(fortran), raw)
        else:
            raise ValueError("it changes what is no array")

    def named(module: str, name: str) -> _Named:
        whole = f"{module}.{name}"
        if whole not in _KNOWN:
            raise ValueError(f"it names {whole[:80]}, which a data set has no need of")
        return _Named(whole)

    def add(pairs: list[Any]) -> None:
        target = stack[-1]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(target, dict) or not isinstance(key, (str, bytes)):
                raise ValueError("a key is no text")
            target[key] = value

    def extend(values: list[Any]) -> None:
        if not isinstance(stack[-1], list):
            raise ValueError("it adds to what is no list")
        stack[-1].extend(values)

    def last(count: int) -> list[Any]:
        if len(stack) < count:
            raise ValueError("it takes what is not there")
        values = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return values

    def put(values: list[Any]) -> None:
        stack.append({})
        add(values)

    def memoize(index: int) -> None:
        memo[index] = stack[-1]

    steps: dict[str, Callable[[Any], Any]] = {
        "MARK": lambda _: stack.append(_MARK),
        "POP": lambda _: stack.pop(),
        "POP_MARK": lambda _: marked(),
        "EMPTY_LIST": lambda _: stack.append([]),
        "EMPTY_DICT": lambda _: stack.append({}),
        "EMPTY_TUPLE": lambda _: stack.append(()),
        "LIST": lambda _: stack.append(marked()),
        "TUPLE": lambda _: stack.append(tuple(marked())),
        "TUPLE1": lambda _: stack.append(tuple(last(1))),
        "TUPLE2": lambda _: stack.append(tuple(last(2))),
        "TUPLE3": lambda _: stack.append(tuple(last(3))),
        "DICT": lambda _: put(marked()),
        "APPEND": lambda _: extend(last(1)),
        "APPENDS": lambda _: extend(marked()),
        "SETITEM": lambda _: add(last(2)),
        "SETITEMS": lambda _: add(marked()),
        "PUT": memoize,
        "BINPUT": memoize,
        "LONG_BINPUT": memoize,
        "MEMOIZE": lambda _: memoize(len(memo)),
        "GET": lambda index: stack.append(memo[index]),
        "BINGET": lambda index: stack.append(memo[index]),
        "LONG_BINGET": lambda index: stack.append(memo[index]),
        "GLOBAL": lambda both: stack.append(named(*both.split(" ", 1))),
        "STACK_GLOBAL": lambda _: stack.append(named(*map(_text, last(2)))),
        "REDUCE": lambda _: stack.append(call(*last(2))),
        "BUILD": lambda _: build(stack[-2], last(1)[0]),
    }
    value: Any
    for step, (code, value, _) in enumerate(pickletools.genops(data)):
        name = code.name
        if name in _VALUES:
            if "BYTEARRAY" in name:
                value = bytes(value)
            elif "STRING" in name:
                value = value.encode("latin1")
            stack.append(value)
        elif name in steps:
            steps[name](value)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "STOP":
            break
        elif name not in _IGNORED:
            raise ValueError(f"it uses the instruction {name}, which a data set has no need of")
        if step > MOST_STEPS:
            raise ValueError(f"it has more than {MOST_STEPS:,} steps")
    (document,) = stack
    return _finished(document)


def _finished(value: Any) -> Any:
    """Arrays in the place of what became one; a data set holds them in a dictionary."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: own.value if isinstance(own, _Array) else own for key, own in value.items()}
    return value


def _text(value: Any) -> str:
    text = value.decode("latin1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise ValueError("a name is no text")
    return text
