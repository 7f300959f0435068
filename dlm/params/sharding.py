"""Shards: the documents of every cell of a bundle dealt out, so that several processes sample them side by side.

A shard's records are those of an unsharded run, in a folder of their own. Whoever samples the whole bundle afterwards
copies them instead of sampling, and puts them into the one order that records have; so there is no merging but this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from dlm.errors import SettingsError


@dataclass(frozen=True)
class Shard:
    """Every ``count``-th document, from the ``number``-th on (1 to ``count``)."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise SettingsError(f"shard {self.number}/{self.count}: expected a number from 1 to {self.count}")

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``2/8``, or a shard's name.

        Raises:
            SettingsError: it is neither.
        """
        found = re.fullmatch(r"(\d+)(?:/|-of-)(\d+)", text)
        if found is None:
            raise SettingsError(f"shard '{text}': expected its number and how many there are, such as 2/8")
        return cls(int(found[1]), int(found[2]))

    @property
    def name(self) -> str:
        """Name of its folder, and of Snakemake's scatter item."""
        return f"{self.number}-of-{self.count}"

    def has(self, position: int) -> bool:
        """Return whether the document at a position (from 0) of its test set is in the shard."""
        return position % self.count == self.number - 1

    def part(self, number: int, count: int) -> Self:
        """Return the ``number``-th of ``count`` shards that together are this one."""
        return type(self)(self.number + (number - 1) * self.count, self.count * count)


WHOLE = Shard(1, 1)
"""All documents."""
