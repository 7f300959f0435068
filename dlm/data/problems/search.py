"""The simplest expression that reaches a target with given numbers, found by exhaustive search.

Expressions are built from the expressions of sub-multisets; of those with equal value and outermost operation only the
simplest is kept. Simpler is, in this order: no fraction on the way, fewer ``*`` and ``/``, fewer parentheses, fewer
``/``, no negative number on the way, larger numbers first, ``+`` before ``-`` before ``*`` before ``/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import NamedTuple

OPERATORS = "+-*/"
FRACTION, MULTIPLICATION, PARENTHESES, DIVISION, NEGATIVE = 10**8, 10**6, 10**4, 10**2, 1
_ATOM, _PRODUCT, _SUM = 0, 1, 2
_CACHED_NUMBERS = 3

Number = int | Fraction


class Found(NamedTuple):
    """An expression; the smaller of two is the simpler."""

    cost: int
    order: tuple[int, ...]
    text: str


Table = dict[tuple[Number, int], Found]
"""The simplest expression of each (value, outermost operation)."""


def simplest(numbers: tuple[int, ...], target: int, operators: str = OPERATORS) -> str | None:
    """Return the simplest expression that uses each of ``numbers`` once and equals ``target``, or None.

    The order of ``numbers`` does not matter. Four numbers take milliseconds, five a quarter of a second, six some ten
    seconds.
    """
    memo: dict[tuple[int, ...], Table] = {}
    table: Table = {}
    numbers = tuple(sorted(numbers, reverse=True))
    for left, right in _splits(numbers):
        first, second = _table(left, operators, memo), _table(right, operators, memo)
        for (value, level), operator in product(first, operators):
            for other, other_level in _partners(value, operator, target, second):
                _add(table, operator, (value, level), (other, other_level), first, second)
    if len(numbers) == 1:
        table = _table(numbers, operators, memo)
    best = min((found for (value, _), found in table.items() if value == target), default=None)
    return best.text if best else None


def reachable(numbers: tuple[int, ...], operators: str = OPERATORS) -> list[int]:
    """Return, in rising order, the integers that ``numbers`` reach without a fraction on the way."""
    table = _table(tuple(sorted(numbers, reverse=True)), operators, {})
    return sorted({int(value) for (value, _), found in table.items() if found.cost < FRACTION})


def _partners(value: Number, operator: str, target: int, second: Table) -> Iterator[tuple[Number, int]]:
    """Yield the entries of ``second`` that ``value`` and ``operator`` turn into ``target``."""
    if operator == "*" and value == 0:
        yield from second if target == 0 else ()
        return
    if operator == "/" and target == 0:
        yield from second if value == 0 else ()
        return
    partner = _solve(value, operator, target)
    yield from ((partner, level) for level in (_ATOM, _PRODUCT, _SUM) if (partner, level) in second)


def _solve(value: Number, operator: str, target: int) -> Number:
    """Return x with ``value operator x == target``."""
    if operator == "+":
        return target - value
    if operator == "-":
        return value - target
    return _divide(target, value) if operator == "*" else _divide(value, target)


def _divide(a: Number, b: Number) -> Number:
    """Return a / b, as an integer if it is one."""
    quotient = Fraction(a) / b
    return int(quotient) if quotient.denominator == 1 else quotient


def _table(numbers: tuple[int, ...], operators: str, memo: dict[tuple[int, ...], Table]) -> Table:
    """Return the table of ``numbers`` (falling); small ones are kept for later calls, large ones in ``memo``."""
    if len(numbers) <= _CACHED_NUMBERS:
        return _small_table(numbers, operators)
    if numbers not in memo:
        memo[numbers] = _build(numbers, operators, memo)
    return memo[numbers]


@lru_cache(maxsize=512)
def _small_table(numbers: tuple[int, ...], operators: str) -> Table:
    return _build(numbers, operators, {})


def _build(numbers: tuple[int, ...], operators: str, memo: dict[tuple[int, ...], Table]) -> Table:
    if len(numbers) == 1:
        return {(numbers[0], _ATOM): Found(0, (-numbers[0],), str(numbers[0]))}
    table: Table = {}
    for left, right in _splits(numbers):
        first, second = _table(left, operators, memo), _table(right, operators, memo)
        for a, b, operator in product(first, second, operators):
            _add(table, operator, a, b, first, second)
    return table


def _splits(numbers: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield each way to part ``numbers`` into an ordered pair of non-empty tuples, once."""
    seen = set()
    for mask in range(1, 2 ** len(numbers) - 1):
        left = tuple(number for place, number in enumerate(numbers) if mask >> place & 1)
        if left not in seen:
            seen.add(left)
            yield left, tuple(number for place, number in enumerate(numbers) if not mask >> place & 1)


def _add(
    table: Table, operator: str, a: tuple[Number, int], b: tuple[Number, int], first: Table, second: Table
) -> None:
    """Put ``a operator b`` into ``table`` if it is the simplest of its value and outermost operation."""
    if operator == "/" and b[0] == 0:
        return
    level = _SUM if operator in "+-" else _PRODUCT
    if b[1] == level and operator in "+*":
        return  # a + (b + c) is (a + b) + c, which another split gives
    value = _value(a[0], operator, b[0])
    left, right = first[a], second[b]
    wrap_left = a[1] > level
    wrap_right = b[1] > level or (b[1] == level and operator in "-/")
    cost = left.cost + right.cost + _price(operator, value) + PARENTHESES * (wrap_left + wrap_right)
    known = table.get((value, level))
    if known is not None and known.cost < cost:
        return
    order = (*left.order, OPERATORS.index(operator), *right.order)
    found = Found(cost, order, f"{_wrapped(left, wrap_left)} {operator} {_wrapped(right, wrap_right)}")
    if known is None or found < known:
        table[value, level] = found


def _value(a: Number, operator: str, b: Number) -> Number:
    if operator == "/":
        return _divide(a, b)
    value = a + b if operator == "+" else a - b if operator == "-" else a * b
    return int(value) if value.denominator == 1 else value


def _price(operator: str, value: Number) -> int:
    multiplication = MULTIPLICATION * (operator in "*/") + DIVISION * (operator == "/")
    return multiplication + FRACTION * (value.denominator != 1) + NEGATIVE * (value < 0)


def _wrapped(found: Found, wrap: bool) -> str:
    return f"({found.text})" if wrap else found.text
