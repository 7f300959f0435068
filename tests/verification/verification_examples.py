"""Digits of reference cases, altered one at a time."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def digits(value: Any, path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Every digit of a case: the path of the number or text that it stands in, and its place there."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from digits(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from digits(each, (*path, index))
    elif not isinstance(value, bool) and value is not None:
        yield from ((path, found.start()) for found in re.finditer(r"\d", written(value)))


def alter(case: Any, path: Path, place: int, randomness: random.Random) -> Any:
    """A copy of a case with another digit there; None where that is no other number, as 1 for 01."""
    old = case
    for key in path:
        old = old[key]
    text = written(old)
    digit = randomness.choice([each for each in "0123456789" if each != text[place]])
    changed = text[:place] + digit + text[place + 1 :]
    try:
        new = changed if isinstance(old, str) else json.loads(changed)
    except ValueError:
        return None
    if new == old:
        return None
    altered = copy.deepcopy(case)
    holder = altered
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = new
    return altered


def alter_anywhere(case: Any, randomness: random.Random) -> tuple[Any, Path]:
    """A copy of a case with one digit altered, and the path of the number or text that it stood in."""
    places = list(digits(case))
    while True:
        path, place = randomness.choice(places)
        if (altered := alter(case, path, place, randomness)) is not None:
            return altered, path


def written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
