"""The fields of a case, read strictly: none missing, none unknown, each of its type and range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

T = TypeVar("T")
Reader = Callable[[Any], Any]


class Malformed(Exception):
    """A case is not what its format says."""


def read_fields(
    data: Any, readers: Mapping[str, Reader], optional: Mapping[str, Reader] | None = None
) -> dict[str, Any]:
    """Read a mapping of fields.

    Args:
        data: what the file holds.
        readers: a reader for each field.
        optional: readers of fields that may be missing; they are then None.

    Raises:
        Malformed: a field is missing, unknown, or not what it should be.
    """
    if not isinstance(data, Mapping):
        raise Malformed(f"expected fields, got {_short(data)}")
    known = {**readers, **(optional or {})}
    if unknown := [key for key in data if key not in known]:
        raise Malformed(f"unknown field '{unknown[0]}'")
    if missing := [key for key in readers if key not in data]:
        raise Malformed(f"field '{missing[0]}' is missing")
    values: dict[str, Any] = dict.fromkeys(known)
    for key, value in data.items():
        try:
            values[key] = known[key](value)
        except Malformed as error:
            raise Malformed(f"{key}: {error}") from error
    return values


def text(value: Any) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise Malformed(f"expected a text, got {_short(value)}")
    return value


def flag(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise Malformed(f"expected true or false, got {_short(value)}")
    return value


def whole(low: int, high: int = 2**31) -> Callable[[Any], int]:
    """Read a whole number from ``low`` to ``high``."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Malformed(f"expected a whole number from {low} to {high}, got {_short(value)}")
        return value

    return read


def number(value: Any) -> float:
    """Read a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Malformed(f"expected a number, got {_short(value)}")
    return float(value)


def float32(value: Any) -> float:
    """Read a number that float32 holds exactly, as one that was recorded from a float32 tensor does."""
    read = number(value)
    if not _as_float32(read) == read:
        raise Malformed(f"{read!r} is no float32 number, so it was not recorded as it stands")
    return read


def rounded_float32(value: Any) -> float:
    """Read a float32 number as it is, or rounded to seven decimals."""
    read = number(value)
    near = _as_float32(read)
    if read not in (near, round(near, 7)):
        raise Malformed(f"{read!r} is no float32 number, also not rounded to 7 decimals")
    return read


def one_of(*known: Any) -> Reader:
    """Read one of some values."""

    def read(value: Any) -> Any:
        if not any(type(value) is type(each) and value == each for each in known):
            raise Malformed(f"expected one of {', '.join(map(str, known))}, got {_short(value)}")
        return value

    return read


def either(*readers: Reader) -> Reader:
    """Read what the first fitting reader reads."""

    def read(value: Any) -> Any:
        refusals = []
        for reader in readers:
            try:
                return reader(value)
            except Malformed as error:
                refusals.append(str(error))
        raise Malformed("; or ".join(refusals))

    return read


def nothing(value: Any) -> None:
    """Read null."""
    if value is not None:
        raise Malformed(f"expected null, got {_short(value)}")


def items(reader: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    """Read a list."""

    def read(value: Any) -> list[T]:
        if not isinstance(value, list):
            raise Malformed(f"expected a list, got {_short(value)}")
        return [reader(each) for each in value]

    return read


def matrix(reader: Callable[[Any], T]) -> Callable[[Any], list[list[T]]]:
    """Read rows of equal length, at least one of at least one."""

    def read(value: Any) -> list[list[T]]:
        rows = items(items(reader))(value)
        if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
            raise Malformed("expected rows of equal length")
        return rows

    return read


def difference(name: str, recorded: Any, computed: Any) -> str | None:
    """Say where two nested lists of numbers or texts differ; None when they are equal."""
    if isinstance(recorded, list) and isinstance(computed, list):
        if len(recorded) != len(computed):
            return f"{name}: {len(recorded)} entries recorded, {len(computed)} computed"
        for index, (left, right) in enumerate(zip(recorded, computed, strict=True)):
            if found := difference(f"{name}[{index}]", left, right):
                return found
        return None
    return None if recorded == computed else f"{name}: {_short(recorded)} recorded, {_short(computed)} computed"


def _as_float32(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float64).float())


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 60 else written[:57] + "..."
