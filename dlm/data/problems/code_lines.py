"""One line of code: write the expression of x that gives the values shown.

A key is the power of x, its factor and what is added, such as ``1:2+3`` for 2 * x + 3. A factor and an offset are found
from the first values; the values that a test asks for go beyond those shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from random import Random

from dlm.data.chance import choose, pick
from dlm.data.problems.base import Problem
from dlm.settings.data import CodeLines

POWERS = (1, 2)
SHOWN = (0, 1, 2)
"""For which x the value is shown."""
TESTED = (0, 1, 2, 3, 5)
"""For which x the answer is tried."""
LARGEST = 99
"""Largest value that a problem shows; none shown is negative."""


class CodeLineKind:
    """Expressions at the difficulty of ``settings``."""

    name = "code_lines"
    enlarge = "problems.code_lines.max_factor or .max_offset"

    def __init__(self, settings: CodeLines) -> None:
        self.settings = settings

    def draw(self, random: Random) -> str:
        """Return a random expression, each as likely as the others."""
        return choose(random, self._every)

    def keys(self) -> Iterator[str]:
        """Yield every expression."""
        return iter(self._every)

    def build(self, key: str, random: Random) -> Problem:
        """Return the problem of ``key``."""
        power, factor, offset = _read(key)
        first, second = (_value(key, x) for x in SHOWN[:2])
        values = ", ".join(f"f({x}) = {_value(key, x)}" for x in SHOWN)
        return Problem(
            kind=self.name,
            key=key,
            question=f"{values}. Write f(x).",
            reasoning=f"{second} - {first} = {factor}, f(0) = {offset}",
            answer=_expression(power, factor, offset),
            statement=f"f(x) = {_expression(power, factor, offset)}: {values}",
            fields={"tests": [[x, _value(key, x)] for x in TESTED]},
        )

    def covers(self, key: str) -> Iterator[str]:
        """Yield the expression itself: no other has the same values."""
        yield key

    def request(self, key: str, random: Random) -> tuple[str, str]:
        """Ask for a value of the expression."""
        x = SHOWN[pick(random, len(SHOWN))]
        return f"What is {_expression(*_read(key))} for x = {x}?", str(_value(key, x))

    @cached_property
    def _every(self) -> tuple[str, ...]:
        keys = (
            f"{power}:{factor}+{offset}"
            for power in POWERS
            for factor in range(1, self.settings.max_factor + 1)
            for offset in range(self.settings.max_offset + 1)
        )
        return tuple(key for key in keys if max(_value(key, x) for x in SHOWN) <= LARGEST)


def _read(key: str) -> tuple[int, int, int]:
    power, factor, offset = (int(part) for part in re.findall("[0-9]+", key))
    return power, factor, offset


def _value(key: str, x: int) -> int:
    power, factor, offset = _read(key)
    return int(factor * x**power + offset)


def _expression(power: int, factor: int, offset: int) -> str:
    parts = ([str(factor)] if factor > 1 else []) + ["x"] * power
    return " * ".join(parts) + (f" + {offset}" if offset else "")
