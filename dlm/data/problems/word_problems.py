"""Stories about counts of things, solved by additions and subtractions.

A key is the calculation, such as ``3+5-2``, so a calculation seen in training is never tested in other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dlm.data.chance import between, choose, pick, shuffled
from dlm.data.expression import evaluate
from dlm.data.problems.base import Problem
from dlm.settings.data import WordProblems

LARGEST = 99
"""No intermediate result is above this."""
LISTABLE = 2_000_000
"""Most candidates of keys that are worth listing."""

NAMES = {
    **dict.fromkeys(("Ann", "Eva", "Ida", "Joy", "Mia", "Zoe"), "She"),
    **dict.fromkeys(("Bob", "Dan", "Leo", "Max", "Sam", "Tom"), "He"),
}
THINGS = ("apple", "book", "card", "coin", "cup", "egg", "pen", "toy")
GAINS = ("{who} finds {n} more.", "{who} gets {n} more.", "{who} buys {n} more.")
LOSSES = ("{who} loses {n}.", "{who} sells {n}.", "{who} gives away {n}.")


@dataclass(frozen=True)
class Story:
    """The sentences of a story; the first tells the first number, each other one an operation."""

    sentences: tuple[str, ...]
    ask: str
    end: str


class WordProblemKind:
    """Word problems at the difficulty of ``settings``."""

    name = "word_problems"
    enlarge = "problems.word_problems.max_number or .operations"

    def __init__(self, settings: WordProblems) -> None:
        self.settings = settings

    def draw(self, random: Random) -> str:
        """Return a random calculation whose results all lie between 0 and LARGEST."""
        value = between(random, 1, self.settings.max_number)
        key = str(value)
        for _ in range(between(random, 1, self.settings.operations)):
            sign = self._possible_sign(choose(random, "+-"), value)
            number = between(random, 1, self._most(sign, value))
            key += f"{sign}{number}"
            value += number if sign == "+" else -number
        return key

    def keys(self) -> Iterator[str] | None:
        """Yield every calculation, shorter ones first; None if there are too many."""
        if self.settings.max_number * (2 * self.settings.max_number) ** self.settings.operations > LISTABLE:
            return None
        return self._keys()

    def build(self, key: str, random: Random) -> Problem:
        """Tell the calculation ``key`` as a story."""
        worked = evaluate(key)
        story = _tell(key, int(worked.value), random)
        told = " ".join(story.sentences)
        return Problem(
            kind=self.name,
            key=key,
            question=f"{told} {story.ask}",
            reasoning="\n".join(worked.steps),
            answer=str(worked.value),
            statement=_statement(story, worked.steps, random),
            fields={"expression": key},
        )

    def covers(self, key: str) -> Iterator[str]:
        """Yield ``key``: no other problem is contained in it."""
        yield key

    def request(self, key: str, random: Random) -> tuple[str, str]:
        """Ask for one step of the calculation."""
        step, result = choose(random, evaluate(key).steps).split(" = ")
        return choose(random, ("What is {}?", "Work out {}.")).format(step), result

    def _most(self, sign: str, value: int) -> int:
        return min(self.settings.max_number, value if sign == "-" else LARGEST - value)

    def _possible_sign(self, sign: str, value: int) -> str:
        return sign if self._most(sign, value) > 0 else {"+": "-", "-": "+"}[sign]

    def _keys(self) -> Iterator[str]:
        level = [(str(first), first) for first in range(1, self.settings.max_number + 1)]
        for _ in range(self.settings.operations):
            level = [
                (f"{key}{sign}{number}", value + (number if sign == "+" else -number))
                for key, value in level
                for sign in "+-"
                for number in range(1, self._most(sign, value) + 1)
            ]
            yield from (key for key, _ in level)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _tell(key: str, result: int, random: Random) -> Story:
    first, *operations = re.findall(r"[+-]?[0-9]+", key)
    steps = [(operation[0], int(operation[1:])) for operation in operations]
    teller = choose(random, (_owner, _box, _compare))
    return teller(int(first), steps, result, choose(random, THINGS), random)


def _owner(first: int, steps: list[tuple[str, int]], result: int, thing: str, random: Random) -> Story:
    name = choose(random, tuple(NAMES))
    sentences = [f"{name} has {_count(first, thing)}."]
    for sign, number in steps:
        event = choose(random, GAINS if sign == "+" else LOSSES)
        sentences.append(event.format(who=NAMES[name], n=number))
    ask = f"How many {thing}s does {name} have now?"
    return Story(tuple(sentences), ask, f"Now {name} has {_count(result, thing)}.")


def _box(first: int, steps: list[tuple[str, int]], result: int, thing: str, random: Random) -> Story:
    sentences = [f"A box holds {_count(first, thing)}."]
    for sign, number in steps:
        name = choose(random, tuple(NAMES))
        sentences.append(f"{name} puts in {number} more." if sign == "+" else f"{name} takes out {number}.")
    return Story(
        tuple(sentences), f"How many {thing}s are in the box now?", f"Now the box holds {_count(result, thing)}."
    )


def _compare(first: int, steps: list[tuple[str, int]], result: int, thing: str, random: Random) -> Story:
    names = shuffled(random, NAMES)[: len(steps) + 1]
    sentences = [f"{names[0]} has {_count(first, thing)}."]
    for (sign, number), name, other in zip(steps, names[1:], names, strict=False):
        sentences.append(f"{name} has {number} {'more' if sign == '+' else 'fewer'} than {other}.")
    return Story(
        tuple(sentences), f"How many {thing}s does {names[-1]} have?", f"{names[-1]} has {_count(result, thing)}."
    )


def _statement(story: Story, steps: tuple[str, ...], random: Random) -> str:
    """Tell the story with its end, three times of four with the calculation between the sentences."""
    with_steps = pick(random, 4) > 0
    parts = [story.sentences[0]]
    for sentence, step in zip(story.sentences[1:], steps, strict=True):
        parts += [sentence, f"{step}."] if with_steps else [sentence]
    return " ".join([*parts, story.end])
