"""Reads plain Verilog with pyverilog and elaborates it: parameters, widths, generate loops,
instances, memories.

Independent of whatever wrote the Verilog. Only what bears on structure is looked at: behaviour is
for simulation.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pyverilog.vparser import ast
from pyverilog.vparser.parser import ParseError, VerilogParser

from autonba.errors import BundleError

Scope = dict[str, int | str]

_SIZED = re.compile(r"(\d+)'s?([bodh])([0-9a-fxz_]+)", re.IGNORECASE)
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}


@cache
def _parser() -> Any:
    """The parser, whose tables take a second to compute; it leaves them in a folder that is thrown
    away.
    """
    with tempfile.TemporaryDirectory() as folder:
        return VerilogParser(outputdir=folder, debug=False)


class _UnknownError(Exception):
    """An expression without a constant value."""


@dataclass(frozen=True)
class Port:
    """Direction ('input' or 'output') and width of a port."""

    direction: str
    width: int


@dataclass
class Instance:
    """An elaborated instance. `connections` gives the width of each connected expression; None: any
    width fits.
    """

    name: str
    of: Module
    connections: dict[str, int | None] = field(default_factory=dict)


@dataclass
class Module:
    """A module elaborated with certain parameters. `memories` maps a name to (width, depth); `nets`
    to widths.
    """

    name: str
    parameters: dict[str, int | str]
    ports: dict[str, Port] = field(default_factory=dict)
    nets: dict[str, int] = field(default_factory=dict)
    memories: dict[str, tuple[int, int]] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)

    def memory_bits(self) -> int:
        """Bits of all memories at and below this module."""
        return sum(w * d for w, d in self.memories.values()) + sum(
            i.of.memory_bits() for i in self.instances
        )

    def count(self, module: str) -> int:
        """Instances of `module` at and below this module."""
        return sum((i.of.name == module) + i.of.count(module) for i in self.instances)


@dataclass
class Reader:
    """Modules as parsed, and the problems met in elaborating them."""

    definitions: dict[str, Any]
    problems: list[str] = field(default_factory=list)
    _done: dict[tuple[str, tuple[tuple[str, int | str], ...]], Module] = field(default_factory=dict)

    @classmethod
    def of_files(cls, paths: Iterable[Path]) -> Reader:
        """Parse files; raises BundleError where pyverilog cannot."""
        definitions: dict[str, Any] = {}
        problems: list[str] = []
        for path in paths:
            try:
                tree = _parser().parse(path.read_text())
            except ParseError as error:
                raise BundleError(
                    f"{path}: pyverilog must be able to read the file, and it cannot ({error}); "
                    "generate it again"
                ) from None
            for definition in tree.description.definitions:
                if isinstance(definition, ast.ModuleDef):
                    if definition.name in definitions:
                        problems.append(f"module {definition.name} is defined twice")
                    definitions[definition.name] = definition
        return cls(definitions, problems)

    def elaborate(self, name: str, overrides: Mapping[str, int | str] | None = None) -> Module:
        """The module with these parameters and all below it."""
        overrides = dict(overrides or {})
        key = (name, tuple(sorted(overrides.items())))
        if key not in self._done:
            self._done[key] = _Elaboration(self, name, overrides).module
        return self._done[key]


class _Elaboration:
    def __init__(self, reader: Reader, name: str, overrides: Scope) -> None:
        self.reader = reader
        definition = reader.definitions[name]
        self.scope: Scope = {}
        self.module = Module(name, {})
        names = set()
        for item in (
            *(definition.paramlist.params if definition.paramlist else ()),
            *definition.items,
        ):
            for part in item.list if isinstance(item, ast.Decl) else [item]:
                if isinstance(part, ast.Parameter):
                    self._parameter(part, overrides)
                    names.add(part.name)
        for unknown in set(overrides) - names:
            self._problem(f"has no parameter {unknown}, and an instance sets it")
        for port in definition.portlist.ports if definition.portlist else ():
            if isinstance(port, ast.Ioport):
                self._declare(port.first)
                if port.second is not None:
                    self._declare(port.second)
        listed = [port.name for port in definition.portlist.ports if isinstance(port, ast.Port)]
        for item in definition.items:
            self._declarations(item)
        for name_ in listed:
            if name_ not in self.module.ports:
                self._problem(f"lists port {name_} and gives it no direction")
        for item in definition.items:
            self._item(item)

    def _problem(self, text: str) -> None:
        problem = f"{self.module.name} {text}"
        if problem not in self.reader.problems:
            self.reader.problems.append(problem)

    def _parameter(self, part: Any, overrides: Scope) -> None:
        if not isinstance(part, ast.Localparam) and part.name in overrides:
            value: int | str = overrides[part.name]
        else:
            value = self._value(part.value.var)
        self.scope[part.name] = value
        if not isinstance(part, ast.Localparam):
            self.module.parameters[part.name] = value

    def _declarations(self, item: Any) -> None:
        if isinstance(item, ast.Decl):
            for part in item.list:
                if isinstance(part, ast.Localparam):  # of a generate block
                    self.scope[part.name] = self._value(part.value.var)
                else:
                    self._declare(part)

    def _declare(self, part: Any) -> None:
        if not isinstance(part, ast.Input | ast.Output | ast.Wire | ast.Reg):
            return
        width = (
            1
            if part.width is None
            else abs(self._int(part.width.msb) - self._int(part.width.lsb)) + 1
        )
        if isinstance(part, ast.Input | ast.Output):
            direction = "input" if isinstance(part, ast.Input) else "output"
            self.module.ports[part.name] = Port(direction, width)
        dimensions = getattr(part, "dimensions", None)
        if dimensions is not None:
            length = dimensions.lengths[0]
            self.module.memories[part.name] = (
                width,
                abs(self._int(length.msb) - self._int(length.lsb)) + 1,
            )
        elif self.module.nets.setdefault(part.name, width) != width and part.width is not None:
            self._problem(
                f"declares {part.name} with {self.module.nets[part.name]} and with {width} bits"
            )

    def _item(self, item: Any) -> None:
        if isinstance(item, ast.InstanceList):
            for instance in item.instances:
                self._instance(instance)
        elif isinstance(item, ast.GenerateStatement):
            for inner in item.items:
                self._item(inner)
        elif isinstance(item, ast.Block):
            for inner in item.statements or ():
                self._declarations(inner)
            for inner in item.statements or ():
                self._item(inner)
        elif isinstance(item, ast.IfStatement):
            chosen = item.true_statement if self._int(item.cond) else item.false_statement
            if chosen is not None:
                self._item(chosen)
        elif isinstance(item, ast.ForStatement):
            variable = item.pre.left.var.name
            self.scope[variable] = self._value(item.pre.right.var)
            outer = dict(self.module.nets)
            while self._int(item.cond):
                self.module.nets = dict(outer)
                self._item(item.statement)
                self.scope[variable] = self._value(item.post.right.var)
            self.module.nets = outer

    def _instance(self, instance: Any) -> None:
        if instance.module not in self.reader.definitions:
            self._problem(f"instantiates {instance.module}, and no file defines it")
            return
        overrides = {
            arg.paramname: self._value(arg.argname) for arg in instance.parameterlist or ()
        }
        child = Instance(instance.name, self.reader.elaborate(instance.module, overrides))
        self.module.instances.append(child)
        where = f"instance {instance.name}"
        for arg in instance.portlist or ():
            if arg.portname is None:
                self._problem(f"{where} must connect ports by name")
            elif arg.portname in child.connections:
                self._problem(f"{where} connects port {arg.portname} twice")
            elif arg.portname not in child.of.ports:
                self._problem(
                    f"{where} connects port {arg.portname}, and {instance.module} has none of that"
                    " name"
                )
            else:
                wanted = child.of.ports[arg.portname].width
                width = None if arg.argname is None else self._width(arg.argname)
                if arg.argname is None:
                    self._problem(f"{where} leaves port {arg.portname} open")
                elif width is not None and width != wanted:
                    self._problem(
                        f"{where} connects {width} bits to port {arg.portname}, which has {wanted}"
                    )
                child.connections[arg.portname] = width
        for port in child.of.ports.keys() - child.connections.keys():
            self._problem(f"{where} leaves port {port} unconnected")

    def _int(self, node: Any) -> int:
        value = self._value(node)
        if isinstance(value, str):
            raise _UnknownError
        return value

    def _value(self, node: Any) -> int | str:
        """Constant value of an expression."""
        if isinstance(node, ast.StringConst):
            return str(node.value)
        if isinstance(node, ast.IntConst):
            sized = _SIZED.fullmatch(node.value)
            return (
                int(sized[3].replace("_", ""), _BASES[sized[2].lower()])
                if sized
                else int(node.value.replace("_", ""))
            )
        if isinstance(node, ast.Rvalue):
            return self._value(node.var)
        if isinstance(node, ast.Identifier):
            if node.name not in self.scope:
                raise _UnknownError(node.name)
            return self.scope[node.name]
        if isinstance(node, ast.Cond):
            return self._value(node.true_value if self._int(node.cond) else node.false_value)
        if isinstance(node, ast.Uminus):
            return -self._int(node.right)
        if isinstance(node, ast.Operator) and type(node) in _OPERATORS:
            return int(_OPERATORS[type(node)](self._int(node.left), self._int(node.right)))
        raise _UnknownError(type(node).__name__)

    def _width(self, node: Any) -> int | None:
        """Width of an expression in bits; None for an unsized constant."""
        if isinstance(node, ast.IntConst):
            sized = _SIZED.fullmatch(node.value)
            return int(sized[1]) if sized else None
        if isinstance(node, ast.Identifier):
            if node.name in self.module.nets:
                return self.module.nets[node.name]
            if node.name not in self.scope:
                self._problem(f"uses {node.name} and does not declare it")
            return None
        if isinstance(node, ast.Partselect):
            # pyverilog gives a[b +: w] as (b, b + w) and a[b -: w] as (b, b - w), with one and the
            # same node b
            if isinstance(node.lsb, ast.Plus | ast.Minus) and node.lsb.left is node.msb:
                return self._int(node.lsb.right)
            return abs(self._int(node.msb) - self._int(node.lsb)) + 1
        if isinstance(node, ast.Pointer):
            name = node.var.name
            return self.module.memories[name][0] if name in self.module.memories else 1
        if isinstance(node, ast.Concat):
            widths = [self._width(part) for part in node.list]
            return None if None in widths else sum(w for w in widths if w is not None)
        if isinstance(node, ast.Repeat):
            width = self._width(node.value)
            return None if width is None else width * self._int(node.times)
        if isinstance(node, ast.Cond):
            return self._widest(node.true_value, node.false_value)
        if isinstance(node, _ONE_BIT):
            return 1
        if isinstance(node, ast.Unot | ast.Uminus | ast.Uplus):
            return self._width(node.right)
        if isinstance(node, ast.Sll | ast.Srl | ast.Sla | ast.Sra):
            return self._width(node.left)
        if isinstance(node, ast.Operator):
            return self._widest(node.left, node.right)
        return None

    def _widest(self, *nodes: Any) -> int | None:
        widths = [width for width in (self._width(node) for node in nodes) if width is not None]
        return max(widths, default=None)


_ONE_BIT = (
    ast.Eq,
    ast.NotEq,
    ast.Eql,
    ast.NotEql,
    ast.LessThan,
    ast.GreaterThan,
    ast.LessEq,
    ast.GreaterEq,
    ast.Land,
    ast.Lor,
    ast.Ulnot,
    ast.Uand,
    ast.Uor,
    ast.Uxor,
    ast.Unand,
    ast.Unor,
    ast.Uxnor,
)
_OPERATORS = {
    ast.Plus: lambda a, b: a + b,
    ast.Minus: lambda a, b: a - b,
    ast.Times: lambda a, b: a * b,
    ast.Divide: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Sll: lambda a, b: a << b,
    ast.Srl: lambda a, b: a >> b,
    ast.Sla: lambda a, b: a << b,
    ast.Sra: lambda a, b: a >> b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.LessThan: lambda a, b: a < b,
    ast.GreaterThan: lambda a, b: a > b,
    ast.LessEq: lambda a, b: a <= b,
    ast.GreaterEq: lambda a, b: a >= b,
    ast.Land: lambda a, b: bool(a and b),
    ast.Lor: lambda a, b: bool(a or b),
    ast.Power: lambda a, b: a**b,
}
