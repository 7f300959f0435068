"""Arithmetic progressions: which of four numbers comes next.

A key is the start, the step and the number of terms shown, such as ``3+3x4`` for 3 6 9 12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from random import Random

from dlm.data.chance import choose, pick, shuffled
from dlm.data.problems.base import Problem
from dlm.settings.data import NumberChoice

CHOICES = 4
LENGTHS = range(3, 7)
"""How many terms may be shown."""


class NumberChoiceKind:
    """Progressions at the difficulty of ``settings``, rising and falling; all terms are from 1 to max_number."""

    name = "number_choice"
    enlarge = "problems.number_choice.max_number or .max_step"

    def __init__(self, settings: NumberChoice) -> None:
        self.settings = settings

    def draw(self, random: Random) -> str:
        """Return a random progression, each as likely as the others."""
        return choose(random, self._every)

    def keys(self) -> Iterator[str]:
        """Yield every progression."""
        return iter(self._every)

    def build(self, key: str, random: Random) -> Problem:
        """Return the problem of ``key``; the right choice is at a uniformly random place."""
        start, step, length = _read(key)
        last, following = start + step * (length - 1), start + step * length
        shown = " ".join(map(str, range(start, following, step)))
        gold = pick(random, CHOICES)
        choices = shuffled(random, _distractors(last, step))[: CHOICES - 1]
        choices.insert(gold, following)
        return Problem(
            kind=self.name,
            key=key,
            question=f"What comes next? {shown}",
            reasoning=f"{last} {'+' if step > 0 else '-'} {abs(step)} = {following}",
            answer=str(following),
            statement=f"{shown} {following}",
            fields={"sequence": shown, "choices": [str(choice) for choice in choices], "gold": gold},
        )

    def covers(self, key: str) -> Iterator[str]:
        """Yield the progressions that lie within that of ``key``, its continuation included."""
        start, step, length = _read(key)
        for shorter in LENGTHS:
            for skipped in range(length - shorter + 1):
                yield f"{start + skipped * step}{step:+d}x{shorter}"

    def request(self, key: str, random: Random) -> tuple[str, str]:
        """Ask to count in steps, or for the larger or smaller of two numbers."""
        start, step, length = _read(key)
        last = start + step * (length - 1)
        if pick(random, 2):
            order = choose(random, ("larger", "smaller"))
            a, b = shuffled(random, (start, last))
            return f"Which is {order}, {a} or {b}?", str(max(a, b) if order == "larger" else min(a, b))
        counted = " ".join(map(str, range(start, last + step, step)))
        return f"Count from {start} to {last} in steps of {abs(step)}.", counted

    @cached_property
    def _every(self) -> tuple[str, ...]:
        largest = self.settings.max_number
        return tuple(
            f"{start}{step:+d}x{length}"
            for length in LENGTHS
            for size in range(1, self.settings.max_step + 1)
            for step in (size, -size)
            for start in range(1, largest + 1)
            if 1 <= start + step * length <= largest
        )


def _read(key: str) -> tuple[int, int, int]:
    start, step, length = (int(part) for part in re.findall(r"[+-]?[0-9]+", key))
    return start, step, length


def _distractors(last: int, step: int) -> list[int]:
    """Return plausible wrong continuations: one off, a step too many or none, the wrong direction, ten off."""
    right = last + step
    wrong = (right + 1, right - 1, right + step, last, last - step, right + 2, right - 2, right + 10, right - 10)
    return [number for number in dict.fromkeys(wrong) if number >= 0]
