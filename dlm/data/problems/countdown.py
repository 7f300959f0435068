"""Countdown: reach a target with every given number used exactly once.

A key is the numbers in rising order and the target, such as ``2,3,7=23``. Any right expression answers the problem;
the one taught is always the simplest (`dlm.data.problems.search`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from math import comb
from random import Random

from dlm.data.chance import between, choose, pick, shuffled
from dlm.data.expression import evaluate
from dlm.data.problems.base import Problem
from dlm.data.problems.search import OPERATORS, reachable, simplest
from dlm.errors import DataError
from dlm.settings.data import Countdown

NAME = "countdown"
LISTABLE = 3_000
"""Most multisets of numbers whose targets are worth listing."""


class CountdownKind:
    """Countdown at the difficulty of ``settings``."""

    name = NAME
    enlarge = "problems.countdown.numbers, .max_number or .max_target"

    def __init__(self, settings: Countdown) -> None:
        self.settings = settings

    def draw(self, random: Random) -> str | None:
        """Combine random numbers at random; None if that leaves the non-negative integers or the range of targets."""
        numbers = [between(random, 1, self.settings.max_number) for _ in range(self.settings.numbers)]
        values = list(numbers)
        while len(values) > 1:
            right, left = (values.pop(pick(random, len(values))) for _ in range(2))
            result = _combined(left, choose(random, self.settings.operators), right)
            if result is None:
                return None
            values.append(result)
        return make_key(numbers, values[0]) if 1 <= values[0] <= self.settings.max_target else None

    def keys(self) -> Iterator[str] | None:
        """Yield every key whose target is reached without a fraction on the way; None if there are too many."""
        largest, count = self.settings.max_number, self.settings.numbers
        if comb(largest + count - 1, count) > LISTABLE or count > 4:
            return None
        return (
            make_key(numbers, target)
            for numbers in combinations_with_replacement(range(1, largest + 1), count)
            for target in reachable(numbers, self.settings.operators)
            if 1 <= target <= self.settings.max_target
        )

    def build(self, key: str, random: Random) -> Problem:
        """Return the problem of ``key`` with its numbers in random order."""
        numbers, target = read_key(key)
        return make_problem(shuffled(random, numbers), target, self.settings.operators, pick(random, 2) == 1)

    def covers(self, key: str) -> Iterator[str]:
        """Yield ``key``: no other problem is contained in it."""
        yield key

    def request(self, key: str, random: Random) -> tuple[str, str]:
        """Ask for the value of the expression, or of one step of it."""
        numbers, target = read_key(key)
        expression = _solved(numbers, target, self.settings.operators)
        if pick(random, 2):
            return f"What is {expression}?", str(target)
        step, result = choose(random, evaluate(expression).steps).split(" = ")
        return f"What is {step}?", result


def make_problem(numbers: Sequence[int], target: int, operators: str = OPERATORS, with_steps: bool = False) -> Problem:
    """Return the problem of reaching ``target`` with ``numbers``, shown in this order.

    ``with_steps`` puts the steps into the statement before the whole equation.

    Raises:
        DataError: no expression reaches the target.
    """
    expression = _solved(numbers, target, operators)
    steps = evaluate(expression).steps
    told, equation = f"{' '.join(map(str, numbers))} make {target}.", f"{expression} = {target}"
    return Problem(
        kind=NAME,
        key=make_key(numbers, target),
        question=f"Numbers: {' '.join(map(str, numbers))}. Target: {target}. Use each number once.",
        reasoning="\n".join(steps),
        answer=expression,
        statement="\n".join([told, *steps, equation] if with_steps else [told, equation]),
        fields={"numbers": list(numbers), "target": target},
    )


def make_key(numbers: Sequence[int], target: int) -> str:
    """Return the key of a problem: ``2,3,7=23``."""
    return f"{','.join(map(str, sorted(numbers)))}={target}"


def read_key(key: str) -> tuple[list[int], int]:
    """Return the numbers, rising, and the target of ``key``."""
    numbers, _, target = key.partition("=")
    return [int(number) for number in numbers.split(",")], int(target)


def _solved(numbers: Sequence[int], target: int, operators: str) -> str:
    expression = simplest(tuple(numbers), target, operators)
    if expression is None:
        raise DataError(f"countdown: {target} cannot be reached with {', '.join(map(str, numbers))} by {operators}")
    return expression


def _combined(left: int, operator: str, right: int) -> int | None:
    """Return ``left operator right`` if it is an integer of at least 0, else None."""
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right if left >= right else None
    if operator == "*":
        return left * right
    return left // right if right and left % right == 0 else None
