"""Arithmetic expressions from untrusted text: parsed, bounded and evaluated exactly, never run.

Grammar, with blanks allowed between tokens::

    sum     = product { ("+" | "-") product }
    product = factor { ("*" | "/") factor }
    factor  = { "+" | "-" } ( integer | "(" sum ")" )

``**`` and ``//`` do not exist here, and neither do decimals, names or digits other than 0 to 9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH = 200
"""Longest expression, in characters."""
MAX_DEPTH = 20
"""Deepest nesting of parentheses and signs."""
MAX_DIGITS = 12
"""Most digits of an integer."""

_TOKEN = re.compile(r"[ \t]*([0-9]+|[-+*/()])")


class ExpressionError(ValueError):
    """The text is not an arithmetic expression, or has no value."""


@dataclass(frozen=True)
class Evaluation:
    """What an expression is worth and how it is worked out."""

    value: Fraction
    """Exact value."""
    integers: tuple[int, ...]
    """The integers written in it, from left to right."""
    steps: tuple[str, ...]
    """Each operation in the order of evaluation, as `3 + 5 = 8`."""


def evaluate(text: str) -> Evaluation:
    """Evaluate ``text`` exactly.

    Raises:
        ExpressionError: not an expression of the grammar above, too long, too deep, or a division by zero.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH} characters")
    parser = _Parser(_tokens(text))
    value = parser.sum()
    if parser.next is not None:
        raise ExpressionError(f"unexpected '{parser.next}'")
    return Evaluation(value, tuple(parser.integers), tuple(parser.steps))


def _tokens(text: str) -> list[str]:
    text = text.rstrip(" \t")
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"unexpected character {text[position : position + 1]!r}")
        tokens.append(match[1])
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over a list of tokens; one instance serves one expression."""

    def __init__(self, tokens: list[str]) -> None:
        self.integers: list[int] = []
        self.steps: list[str] = []
        self._tokens = iter(tokens)
        self._depth = 0
        self.next: str | None = next(self._tokens, None)

    def _take(self) -> str | None:
        token, self.next = self.next, next(self._tokens, None)
        return token

    def sum(self) -> Fraction:
        value = self._product()
        while self.next in ("+", "-"):
            operator = self._take()
            value = self._apply(value, str(operator), self._product())
        return value

    def _product(self) -> Fraction:
        value = self._factor()
        while self.next in ("*", "/"):
            operator = self._take()
            value = self._apply(value, str(operator), self._factor())
        return value

    def _factor(self) -> Fraction:
        token = self._take()
        if token is None:
            raise ExpressionError("the expression ends too early")
        if token.isdigit():
            return self._integer(token)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        value = self._nested(token)
        self._depth -= 1
        return value

    def _nested(self, token: str) -> Fraction:
        if token in ("+", "-"):
            value = self._factor()
            return -value if token == "-" else value
        if token != "(":
            raise ExpressionError(f"unexpected '{token}'")
        value = self.sum()
        if self._take() != ")":
            raise ExpressionError("a parenthesis is never closed")
        return value

    def _integer(self, digits: str) -> Fraction:
        if len(digits) > MAX_DIGITS:
            raise ExpressionError(f"an integer of more than {MAX_DIGITS} digits")
        if digits[0] == "0" and digits != "0":
            raise ExpressionError(f"'{digits}' begins with a zero")
        self.integers.append(int(digits))
        return Fraction(int(digits))

    def _apply(self, left: Fraction, operator: str, right: Fraction) -> Fraction:
        value = combine(left, operator, right)
        self.steps.append(f"{left} {operator} {right} = {value}")
        return value


def combine(left: Fraction, operator: str, right: Fraction) -> Fraction:
    """Return ``left operator right``; raises ExpressionError for a division by zero."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        raise ExpressionError("division by zero")
    return left / right
