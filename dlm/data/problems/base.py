"""What every kind of problem has in common: a problem, a kind, and the two sides that keep training from testing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

from dlm.data.chance import shuffled
from dlm.errors import SettingsError

Side = Literal["train", "test"]

TEST_PERCENT = 15
"""Share of all keys that lie on the test side."""
PATIENCE = 10_000
"""Draws in a row that may give nothing new before a space counts as exhausted."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem with its solution, and the same content as plain text."""

    kind: str
    """Name of its kind, one of `dlm.settings.data.PROBLEMS`."""
    key: str
    """What it is mathematically; names, wording and the order of given numbers are not part of it."""
    question: str
    """What a user would ask."""
    reasoning: str
    """A worked solution."""
    answer: str
    """The final answer."""
    statement: str
    """The same matter as a plain text that asks nothing."""
    fields: Mapping[str, Any]
    """What a scorer needs besides the answer; JSON values."""


class Kind(Protocol):
    """A kind of problem at some difficulty. A problem is a function of its key and of a generator for its wording."""

    name: str
    """One of `dlm.settings.data.PROBLEMS`."""
    enlarge: str
    """The settings that make the space of keys larger, for messages."""

    def draw(self, random: Random) -> str | None:
        """Return a random key, or None if this draw leads nowhere."""

    def keys(self) -> Iterator[str] | None:
        """Yield every key once, in a fixed order; None if they are too many to list."""

    def build(self, key: str, random: Random) -> Problem:
        """Return the problem of ``key``; ``random`` chooses names, wording and order only."""

    def covers(self, key: str) -> Iterator[str]:
        """Yield the keys of every problem that the text of ``key`` gives away, its own first or among them."""

    def request(self, key: str, random: Random) -> tuple[str, str]:
        """Return a simple request about the matter of ``key`` and its direct answer, unlike the question itself."""


def side(key: str) -> Side:
    """Return the side on which ``key`` lies, the same on every machine."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return "test" if number % 100 < TEST_PERCENT else "train"


def generate(kind: Kind, random: Random, wanted: Side | None = None) -> Problem:
    """Return a random problem of ``kind``, from the ``wanted`` side if one is given.

    Raises:
        SettingsError: no such problem turned up.
    """
    for _ in range(PATIENCE):
        key = kind.draw(random)
        if key is not None and wanted in (None, side(key)):
            return kind.build(key, random)
    raise SettingsError(f"{kind.name}: no {wanted or 'possible'} problem found; enlarge {kind.enlarge}")


def distinct_keys(kind: Kind, count: int, wanted: Side, random: Random) -> list[str]:
    """Return ``count`` different keys of the ``wanted`` side in random order.

    Raises:
        SettingsError: there are fewer; the message says how many.
    """
    found: dict[str, None] = {}
    misses = 0
    while len(found) < count and misses < PATIENCE:
        key = kind.draw(random)
        misses += 1
        if key is not None and key not in found and side(key) == wanted:
            found[key] = None
            misses = 0
    missing = count - len(found)
    return list(found) + (_rest(kind, missing, wanted, random, found) if missing else [])


def _rest(kind: Kind, missing: int, wanted: Side, random: Random, found: Collection[str]) -> list[str]:
    """Return ``missing`` further keys from the list of all keys, for a space that drawing has nearly exhausted."""
    every = kind.keys()
    rest = [] if every is None else [key for key in every if key not in found and side(key) == wanted]
    if len(rest) < missing:
        known = "can be found" if every is None else "exist"
        raise SettingsError(
            f"{kind.name}: {len(found) + missing} different {wanted}-side problems are asked for but only "
            f"{len(found) + len(rest)} {known}; ask for fewer or enlarge {kind.enlarge}"
        )
    return shuffled(random, rest)[:missing]
