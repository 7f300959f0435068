"""Sweeps over recipes: the checkpoints that their settings derive from one that the params train."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlm.errors import SettingsError
from dlm.params.reader import NAME
from dlm.params.schema import Params
from dlm.params.sweeps.changing import changed_recipe
from dlm.params.sweeps.designs import assignments
from dlm.params.sweeps.reading import FOLDER, read_sweep, sweep_names
from dlm.settings import TrainedCheckpoint
from dlm.settings.telling import word

_PREFIX = "recipe."


def recipe_part(changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide changes into those of the training's recipe and all others."""
    recipe = {name: value for name, value in changes.items() if name.startswith(_PREFIX)}
    return recipe, {name: value for name, value in changes.items() if name not in recipe}


def derived_name(params: Params, model: str, changes: Mapping[str, Any]) -> str:
    """Return the name of the checkpoint that a changed recipe makes: the model's own where nothing changes.

    Raises:
        SettingsError: a value cannot be, or cannot stand in a path.
    """
    entry = params.checkpoints[model]
    recipe = params.recipes[entry.recipe] if isinstance(entry, TrainedCheckpoint) else None
    if changed_recipe(params, model, changes) == recipe:
        return model
    parts = [f"{name.removeprefix(_PREFIX)}-{_in_a_path(word(value))}" for name, value in changes.items()]
    name = "..".join([model, *parts])
    if not NAME.fullmatch(name):
        raise SettingsError(f"'{name}' cannot be the name of a checkpoint; use plain values")
    return name


def _in_a_path(value: str) -> str:
    """Write a value with what a path may hold: `cart[geo_p:0.3]` becomes `cart_geo_p_0.3`."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in value).strip("_")


def with_trainings(params: Params, root: Path, scale: str) -> Params:
    """Return the params with the checkpoints and recipes that the project's sweeps derive.

    A sweep that cannot be read adds none: it is refused when it is asked for.
    """
    checkpoints, recipes = dict(params.checkpoints), dict(params.recipes)
    for name in sweep_names(root):
        path = root / "params" / FOLDER / f"{name}.yaml"
        try:
            if _PREFIX not in path.read_text(encoding="utf-8"):
                continue
            for model, changes in _trainings(params, root, scale, name):
                derived = derived_name(params, model, changes)
                entry = params.checkpoints[model]
                if derived not in checkpoints and isinstance(entry, TrainedCheckpoint):
                    recipes[derived] = changed_recipe(params, model, changes)
                    checkpoints[derived] = dataclasses.replace(entry, recipe=derived)
        except (SettingsError, OSError, UnicodeDecodeError):
            continue
    if len(checkpoints) == len(params.checkpoints):
        return params
    return dataclasses.replace(params, checkpoints=checkpoints, recipes=recipes)


def _trainings(params: Params, root: Path, scale: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the models of a sweep with the changes of their recipes, each once."""
    file = read_sweep(params, root, scale, name)
    found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for row in file.scale.rows:
        for chosen in assignments(file.sweep, file.factors_of(row.label)):
            recipe, _ = recipe_part({key: value for level in chosen.values() for key, value in level.changes})
            if recipe:
                found.setdefault((row.model, repr(recipe)), (row.model, recipe))
    return [pair for pair in found.values() if _can_be(params, *pair)]


def _can_be(params: Params, model: str, changes: Mapping[str, Any]) -> bool:
    try:
        return bool(derived_name(params, model, changes))
    except SettingsError:
        return False
