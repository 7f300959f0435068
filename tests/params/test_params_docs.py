"""Every setting says what it means, and the editors' schema is up to date."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from pathlib import Path

import dlm.settings
from dlm.params import Params
from dlm.params.schema_file import schema_text, sweep_schema_text


def test_every_field_is_documented() -> None:
    definitions = json.loads(schema_text())["$defs"] | _sweep_definitions()
    silent = [
        f"{name}.{field}"
        for name, definition in definitions.items()
        for field, entry in definition.get("properties", {}).items()
        if "description" not in entry
    ]
    assert silent == []


def test_every_settings_class_is_reachable_from_the_params() -> None:
    definitions = set(json.loads(schema_text())["$defs"]) | set(_sweep_definitions())
    classes = {name for name in dlm.settings.__all__ if dataclasses.is_dataclass(getattr(dlm.settings, name))}
    # Nobody chooses how an autoregressive baseline answers: that follows from the model.
    assert classes <= definitions | {"Params", "GreedySettings", "ExactLikelihood"}


def test_the_schema_file_is_current(repository: Path) -> None:
    assert (repository / "params" / "schema.json").read_text() == schema_text()
    assert (repository / "params" / "sweep.schema.json").read_text() == sweep_schema_text()


def _sweep_definitions() -> dict[str, typing.Any]:
    schema = json.loads(sweep_schema_text())
    return {**schema["$defs"], "Sweep": schema}


def test_settings_are_frozen() -> None:
    assert all(kind.__dataclass_params__.frozen for kind in _dataclasses())


def _dataclasses() -> Iterator[typing.Any]:
    yield Params
    for name in dlm.settings.__all__:
        if dataclasses.is_dataclass(kind := getattr(dlm.settings, name)):
            yield kind
