"""Small range checks that quote the bad value and the allowed range."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dlm.errors import SettingsError, did_you_mean

K = TypeVar("K", bound=type)


def checked(kind: K) -> K:
    """Make a dataclass check its fields against their types before anything else; it stands below ``@dataclass``.

    Settings are also written in Python, where a misspelt word would otherwise be taken for another one.
    """
    own = kind.__dict__.get("__post_init__")

    def __post_init__(self: Any) -> None:
        check_types(self)
        if own is not None:
            own(self)

    kind.__post_init__ = __post_init__  # type: ignore[attr-defined]
    return kind


def check_types(settings: Any) -> None:
    """Refuse a field whose value is not of its type; one whose metadata say ``open`` takes what others bring.

    Raises:
        SettingsError: naming the first of them, and what it may be.
    """
    hints = _hints(type(settings))
    for item in dataclasses.fields(settings):
        value, wanted = getattr(settings, item.name), hints[item.name]
        if item.metadata.get("open") or _fits(value, wanted):
            continue
        if get_origin(wanted) is Literal and isinstance(value, str):
            one_of(item.name, value, get_args(wanted))
        raise SettingsError(f"{item.name} must be {_in_words(wanted)}, got {value!r}")


_hints: Any = functools.cache(get_type_hints)


def _fits(value: Any, wanted: Any) -> bool:
    """Whether a value is of a type: a whole number is a number too, but True and False are neither."""
    if get_origin(wanted) is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(wanted))
    if get_origin(wanted) is tuple:
        return isinstance(value, tuple) and all(_fits(each, get_args(wanted)[0]) for each in value)
    if get_args(wanted):
        return any(_fits(value, member) for member in get_args(wanted))
    if wanted in (int, float):
        return isinstance(value, int if wanted is int else int | float) and not isinstance(value, bool)
    return isinstance(value, wanted)


def _in_words(wanted: Any) -> str:
    if get_origin(wanted) is tuple:
        return f"a tuple of {_in_words(get_args(wanted)[0])}"
    if get_origin(wanted) is Literal:
        return " or ".join(f"'{choice}'" for choice in get_args(wanted))
    if get_args(wanted):
        return " or ".join(map(_in_words, get_args(wanted)))
    words = {int: "a whole number", float: "a number", bool: "True or False", str: "a text", type(None): "None"}
    return words.get(wanted, wanted.__name__)


def at_least(name: str, value: float, low: float) -> None:
    """Refuse ``value`` below ``low``."""
    if not value >= low:
        raise SettingsError(f"{name} must be at least {low}, got {value}")


def above(name: str, value: float, low: float) -> None:
    """Refuse ``value`` at or below ``low``."""
    if not value > low:
        raise SettingsError(f"{name} must be above {low}, got {value}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Refuse ``value`` outside the closed range from ``low`` to ``high``."""
    if not low <= value <= high:
        raise SettingsError(f"{name} must be from {low} to {high}, got {value}")


def one_of(name: str, value: str, known: Collection[str]) -> None:
    """Refuse ``value`` that is not among ``known``."""
    if value not in known:
        raise SettingsError(f"{name}: unknown '{value}'; {did_you_mean(value, known)}")
