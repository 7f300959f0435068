"""Constraints between factors, as a line of a sweep file says them: comparisons, arithmetic, `and`, `or`, `not`, `in`.

The line is read as Python reads it and worked out here, node by node; nothing else of Python can be said.
"""

from __future__ import annotations

import ast
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dlm.errors import SettingsError

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, several: one in several,
    ast.NotIn: lambda one, several: one not in several,
}
_OF_NUMBERS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "compares"),
    ast.LtE: ("<=", "compares"),
    ast.Gt: (">", "compares"),
    ast.GtE: (">=", "compares"),
    ast.Add: ("+", "reckons with"),
    ast.Sub: ("-", "reckons with"),
    ast.USub: ("-", "reckons with"),
    ast.Mult: ("*", "reckons with"),
    ast.Div: ("/", "reckons with"),
    ast.FloorDiv: ("//", "reckons with"),
    ast.Mod: ("%", "reckons with"),
}
"""Signs that numbers stand beside, and what each does with them."""
_WORDS = {"none": None, "null": None, "true": True, "false": False}
"""How a sweep file writes what Python writes otherwise."""


@dataclass(frozen=True)
class Constraint:
    """A condition on a combination of levels."""

    text: str
    names: frozenset[str]
    """Of the factors that it speaks of."""
    _tree: ast.expr

    def constants(self) -> Iterator[tuple[str, Any]]:
        """Yield each factor that is asked to be, or not to be, some value or one of several, with each value."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                for sign, pair in zip(node.ops, itertools.pairwise(sides), strict=True):
                    yield from _asked_to_be(sign, *pair)

    def reckonings(self) -> Iterator[tuple[str, str, str]]:
        """Yield each factor that stands beside a sign of numbers, with the sign and what it does with them."""
        for node in ast.walk(self._tree):
            for sign, side in _beside_signs(node):
                if type(sign) in _OF_NUMBERS and isinstance(side, ast.Name | ast.Attribute) and _names(side, ""):
                    yield (_dotted(side, ""), *_OF_NUMBERS[type(sign)])

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether it holds of a combination; one that lacks a factor it speaks of is not concerned.

        Raises:
            SettingsError: the values cannot be compared or reckoned with so.
        """
        if not self.names <= values.keys():
            return True
        try:
            return bool(_value(self._tree, values))
        except ZeroDivisionError as error:
            raise SettingsError(f"'{self.text}' divides by 0 with {_told(self.names, values)}") from error
        except TypeError as error:
            problem = f"'{self.text}' puts together what does not go together with {_told(self.names, values)}"
            raise SettingsError(f"{problem}; numbers go with numbers, names with names") from error


def _beside_signs(node: ast.AST) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Yield each sign of a node with each expression beside it."""
    if isinstance(node, ast.Compare):
        for sign, pair in zip(node.ops, itertools.pairwise([node.left, *node.comparators]), strict=True):
            yield from ((sign, side) for side in pair)
    elif isinstance(node, ast.BinOp):
        yield from ((node.op, side) for side in (node.left, node.right))
    elif isinstance(node, ast.UnaryOp):
        yield node.op, node.operand


def _asked_to_be(sign: ast.cmpop, left: ast.expr, right: ast.expr) -> Iterator[tuple[str, Any]]:
    if isinstance(sign, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
        both = ((left, right), (right, left)) if isinstance(sign, ast.Eq | ast.NotEq) else ((left, right),)
        for one, other in both:
            if isinstance(one, ast.Name | ast.Attribute) and (names := _names(one, "")) and not _names(other, ""):
                value = _value(other, {})
                yield from ((*names, each) for each in (value if isinstance(value, list) else [value]))


def read_constraint(text: str) -> Constraint:
    """Read one line.

    Raises:
        SettingsError: it is no expression of that kind.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise SettingsError(f"'{text}' is no condition; write one such as steps <= max_new_tokens") from error
    return Constraint(text, frozenset(_names(tree, text)), tree)


def _names(node: ast.AST, text: str) -> set[str]:
    """Return the factors that a tree names, refusing what cannot be worked out."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = _dotted(node, text)
        return set() if name.lower() in _WORDS else {name}
    if isinstance(node, ast.Constant):
        return set()
    parts: list[ast.AST]
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
        known = all(type(sign) in _OPERATORS for sign in node.ops)
    elif isinstance(node, ast.BinOp):
        parts, known = [node.left, node.right], type(node.op) in _OPERATORS
    elif isinstance(node, ast.BoolOp):
        parts, known = list(node.values), True
    elif isinstance(node, ast.UnaryOp):
        parts, known = [node.operand], isinstance(node.op, ast.Not | ast.USub)
    elif isinstance(node, ast.List | ast.Tuple):
        parts, known = list(node.elts), True
    else:
        parts, known = [], False
    if not known:
        raise SettingsError(f"'{text}': {ast.unparse(node)} has no place in a constraint; compare factors with values")
    return set().union(*(_names(part, text) for part in parts))


def _dotted(node: ast.AST, text: str) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, text)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise SettingsError(f"'{text}': {ast.unparse(node)} is no name of a factor")


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each, values) for each in node.elts]
    if isinstance(node, ast.BoolOp):
        parts = (_value(each, values) for each in node.values)
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand, values)
        return not inner if isinstance(node.op, ast.Not) else -inner
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.Compare):
        sides = [_value(each, values) for each in (node.left, *node.comparators)]
        return all(_OPERATORS[type(sign)](*sides[at : at + 2]) for at, sign in enumerate(node.ops))
    name = _dotted(node, "")
    return values[name] if name in values else _WORDS[name.lower()]


def _told(names: frozenset[str], values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {values[name]!r}" for name in sorted(names))
