"""Plain values into settings dataclasses, every refusal with file, line, key and remedy.

The dataclasses check ranges themselves; this module finds unknown and missing keys, picks the member of a union by its
``kind``, and lets pydantic judge the scalars.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dlm.errors import SettingsError, did_you_mean
from dlm.params.reader import Document, PathKey

T = TypeVar("T")
_LARGEST = 2**32 - 1
"""What the libraries take as a seed at most; no count of anything here comes near it."""


def build(document: Document, into: type[T]) -> T:
    """Build the dataclass ``into`` from a whole document.

    Raises:
        SettingsError: one line with file, line, key and remedy.
    """
    return typing.cast(T, _build(document, document.values, into, ()))


class Refuses(typing.Protocol):
    """Where values come from, and how a bad one is refused."""

    def error(self, path: PathKey, problem: str) -> SettingsError:
        """Return the error that names the place and the problem."""


def build_value(source: Refuses, value: Any, kind: Any, path: PathKey) -> Any:
    """Build a value of any type that a field of settings may have.

    Raises:
        SettingsError: as ``source`` words it.
    """
    return _build(source, value, kind, path)


def _build(document: Refuses, value: Any, kind: Any, path: PathKey) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        kind = _choose(document, value, kind, path)
        if kind is types.NoneType:
            return None
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(document, value, typing.cast(type, kind), path)
    if get_origin(kind) is dict:
        mapping = _expect(document, value, dict, path, "a mapping")
        item = get_args(kind)[1]
        return {key: _build(document, child, item, (*path, key)) for key, child in mapping.items()}
    if get_origin(kind) is tuple:
        items = _expect(document, value, list, path, "a list")
        return tuple(_build(document, child, get_args(kind)[0], (*path, n)) for n, child in enumerate(items))
    return _scalar(document, value, kind, path)


def _choose(document: Refuses, value: Any, union: Any, path: PathKey) -> Any:
    """Pick the member of a union that ``value`` is meant to be."""
    members = get_args(union)
    if value is None and types.NoneType in members:
        return types.NoneType
    classes: list[type] = [
        member for member in members if isinstance(member, type) and dataclasses.is_dataclass(member)
    ]
    if isinstance(value, dict) and classes:
        if len(classes) == 1:
            return classes[0]
        kinds = {_kind_of(member): member for member in classes}
        if "kind" not in value:
            raise document.error(path, f"missing key 'kind'; {did_you_mean('', kinds)}")
        if not isinstance(value["kind"], str) or value["kind"] not in kinds:
            raise document.error((*path, "kind"), f"unknown '{value['kind']}'; {did_you_mean(value['kind'], kinds)}")
        return kinds[value["kind"]]
    rest = [member for member in members if member is not types.NoneType and member not in classes]
    if not rest:
        names = " or ".join(member.__name__ for member in classes)
        raise document.error(path, f"expected a mapping ({names}), got {_got(value)}")
    if len(rest) == 1:
        return rest[0]
    return next((member for member in rest if type(value) is member or get_origin(member) is type(value)), rest[-1])


def _kind_of(member: type) -> str:
    default = next(item.default for item in dataclasses.fields(member) if item.name == "kind")
    return str(default)


def _build_dataclass(document: Refuses, value: Any, kind: type, path: PathKey) -> Any:
    mapping = _expect(document, value, dict, path, f"a mapping ({kind.__name__})")
    hints, fields = _hints(kind), {item.name: item for item in dataclasses.fields(kind)}
    for key in mapping:
        if key not in fields:
            known = fields if path else {**fields, "extends": None}  # which the reader has taken out
            raise document.error((*path, key), f"unknown key; {did_you_mean(key, known)}")
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            raise document.error(path, f"missing key '{name}'; add it")
    arguments = {key: _build(document, child, hints[key], (*path, key)) for key, child in mapping.items()}
    try:
        return kind(**arguments)
    except SettingsError as error:
        raise document.error(_blamed(path, str(error), fields), str(error)) from error


def _blamed(path: PathKey, message: str, fields: typing.Iterable[str]) -> PathKey:
    """Point at the key that a check's message begins with, if it names one."""
    first = message.split(" ", 1)[0].rstrip(":")
    return (*path, first) if first in fields else path


def _expect(document: Refuses, value: Any, kind: type[T], path: PathKey, name: str) -> T:
    if not isinstance(value, kind):
        raise document.error(path, f"expected {name}, got {_got(value)}")
    return value


def _got(value: Any) -> str:
    """Return a value as its file has it, as far as a line has room for it."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _scalar(document: Refuses, value: Any, kind: Any, path: PathKey) -> Any:
    if kind is float and isinstance(value, str):
        # YAML 1.1 reads 1e-4 (no dot) as text.
        try:
            value = float(value)
        except ValueError:
            raise document.error(path, f"expected a number, got {_got(value)}") from None
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise document.error(path, f"unknown {_got(value)}; {did_you_mean(value, get_args(kind))}")
    if type(value) is int and abs(value) > _LARGEST:
        raise document.error(path, f"{_got(value)} is beyond every range; the largest whole number is {_LARGEST}")
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, str(kind))
        if kind is int and isinstance(value, list) and str(path[-1]).endswith("s"):
            wanted = f"{wanted}, how many {path[-1]}"  # a plural counts what a list would name
        raise document.error(path, f"expected {wanted}, got {_got(value)}") from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)
