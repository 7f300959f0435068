"""Changes of settings by name: what a level of a factor does to a cell.

A name is that of a sampler's setting, as `dlm sample --set` has it or by its way from the sampler, or begins with what
it belongs to (`dlm.settings.sweep.Factor`). Values are built and checked as those of a params file.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_type_hints

from dlm.errors import SettingsError, did_you_mean
from dlm.params.builder import build_value
from dlm.params.cells import Cell
from dlm.params.schema import Params
from dlm.settings import (
    ExecutionSettings,
    LikelihoodSettings,
    Proposer,
    Recipe,
    SamplerSettings,
    Task,
    TrainedCheckpoint,
)

Changes = Mapping[str, Any]
"""Values by the names of settings."""
_TASK = ("num_fewshot", "template")
_EXECUTION = ("batch_size", "dtype", "device", "threads")
_CELL = {"seed": int, "chat": bool, "response_prefix": str}
PREFIXES = ("likelihood", "task", "execution", "recipe")
"""How the names of settings begin that are not the sampler's."""
_PARTS = ("canvas", "proposer", "selector")


class _Refusal:
    """Words a refusal without a place: the combination of levels is told by whoever asked for it."""

    def error(self, path: tuple[str | int, ...], problem: str) -> SettingsError:
        return SettingsError(f"{'.'.join(map(str, path))}: {problem}" if path else problem)


def changed_cell(params: Params, cell: Cell, changes: Changes) -> Cell:
    """Return a cell with some settings changed; its name and its checkpoint stay.

    Raises:
        SettingsError: there is no such setting here, or its value cannot be.
    """
    by_prefix = _by_prefix(changes)
    fields: dict[str, Any] = {}
    if own := by_prefix[""]:
        for name in _CELL.keys() & own.keys():
            fields[name] = build_value(_Refusal(), own.pop(name), _CELL[name], (name,))
        if own:
            fields["sampler"] = changed_sampler(params, _sampler(cell), own)
    if by_prefix["likelihood"]:
        if not isinstance(cell.likelihood, LikelihoodSettings):
            raise SettingsError(f"likelihood settings do not apply to task '{cell.task}', whose answers are sampled")
        fields["likelihood"] = _rebuilt(cell.likelihood, by_prefix["likelihood"], "likelihood")
    if by_prefix["task"]:
        fields["task_settings"] = _replaced(cell.task_settings, by_prefix["task"], Task, _TASK, "task")
    if by_prefix["execution"]:
        fields["execution"] = changed_execution(params, by_prefix["execution"])
    return dataclasses.replace(cell, **fields) if fields else cell


def changed_execution(params: Params, changes: Changes) -> ExecutionSettings | None:
    """Return how a model is run with some settings changed; None: as the params have it."""
    found = _replaced(params.execution, changes, ExecutionSettings, _EXECUTION, "execution")
    return None if found == params.execution else found


def changed_recipe(params: Params, model: str, changes: Changes) -> Recipe:
    """Return the recipe of a checkpoint with those changes that are of recipes.

    Raises:
        SettingsError: the checkpoint is not trained here, or a value cannot be.
    """
    entry = params.checkpoints[model]
    if not isinstance(entry, TrainedCheckpoint):
        raise SettingsError(f"recipe settings do not apply to '{model}', which no training of this project makes")
    recipe = params.recipes[entry.recipe]
    own = _by_prefix(changes)["recipe"]
    if "epochs" in own and "steps" not in own:
        own["steps"] = None
    if "steps" in own and "epochs" not in own:
        own["epochs"] = None
    return _rebuilt(recipe, own, "recipe") if own else recipe


def changed_sampler(params: Params, sampler: SamplerSettings, changes: Changes) -> SamplerSettings:
    """Return a sampler with some settings changed.

    Whole parts are changed before their fields. Steps that were one a token, and a block that was the whole answer,
    stay so where the length changes, unless they are given.
    """
    changes = dict(changes)
    if (named := changes.pop("sampler", None)) is not None:
        if named not in params.samplers:
            raise SettingsError(f"no sampler is named '{named}'; {did_you_mean(str(named), params.samplers)}")
        sampler = params.samplers[str(named)]
    per_step = changes.pop("tokens_per_step", None)
    plain = _plain(sampler)
    given = set()
    for name in sorted(changes, key=lambda name: (name not in _WHOLE, name.count("."))):
        path = _path(plain, name)
        given.add(path)
        _put(plain, path, changes[name])
    _follow_length(sampler, plain, given)
    if per_step is not None:
        _set_steps(plain, build_value(_Refusal(), per_step, int, ("tokens_per_step",)))
    found: SamplerSettings = build_value(_Refusal(), plain, SamplerSettings, ())
    return found


def _by_prefix(changes: Changes) -> dict[str, dict[str, Any]]:
    """Divide changes by what they belong to; those of the sampler and of the cell itself under an empty text."""
    found: dict[str, dict[str, Any]] = {prefix: {} for prefix in ("", *PREFIXES)}
    for name, value in changes.items():
        prefix, dot, rest = name.partition(".")
        if dot and prefix in PREFIXES:
            found[prefix][rest] = value
        else:
            found[""][name] = value
    return found


def _sampler(cell: Cell) -> SamplerSettings:
    if not isinstance(cell.sampler, SamplerSettings):
        what = "a task of likelihoods" if cell.sampler is None else "an autoregressive model"
        raise SettingsError(f"settings of a sampler do not apply to '{cell.checkpoint}' on '{cell.task}': {what}")
    return cell.sampler


def _replaced(settings: Any, changes: Changes, kind: type, allowed: Iterable[str], prefix: str) -> Any:
    """Return a flat dataclass with some fields changed."""
    hints = get_type_hints(kind)
    for name in changes:
        if name not in tuple(allowed):
            raise SettingsError(
                f"there is no setting '{prefix}.{name}' to vary; {did_you_mean(name, allowed, prefix + '.')}"
            )
    values = {name: build_value(_Refusal(), value, hints[name], (prefix, name)) for name, value in changes.items()}
    return dataclasses.replace(settings, **values)


def _rebuilt(settings: Any, changes: Changes, prefix: str) -> Any:
    """Return a nested dataclass with some values changed, by their way from it."""
    plain = _plain(settings)
    for name in sorted(changes, key=lambda name: name.count(".")):
        path = tuple(name.split("."))
        if path[0] not in plain:
            hint = did_you_mean(path[0], plain, f"{prefix}.")
            raise SettingsError(f"there is no setting '{prefix}.{name}'; {hint}")
        _put(plain, path, changes[name])
    return build_value(_Refusal(), plain, type(settings), (prefix,))


def _plain(settings: Any) -> dict[str, Any]:
    """Return settings as a params file would have them."""
    found: dict[str, Any] = _listed(dataclasses.asdict(settings))
    return found


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(child) for key, child in value.items()}
    return [_listed(child) for child in value] if isinstance(value, tuple) else value


def _put(plain: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        inner = plain.get(key)
        if not isinstance(inner, dict):
            inner = plain[key] = {}
        plain = inner
    plain[path[-1]] = _listed(value)


@functools.cache
def _whole() -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(SamplerSettings))


_WHOLE = _whole()


@functools.cache
def _kinds(part: str) -> dict[str, frozenset[str]]:
    """Return the names of the fields of each kind of a sampler's part."""
    if part == "proposer":
        return {"": frozenset(get_type_hints(Proposer))}
    hint = get_type_hints(SamplerSettings)[part]
    return {kind.kind: frozenset(field.name for field in dataclasses.fields(kind)) for kind in get_args(hint)}


def _path(plain: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the way to a setting from the sampler that now is."""
    first, *rest = name.split(".")
    if first in _WHOLE:
        return (first, *rest)
    for part in _PARTS:
        there = plain[part] if isinstance(plain[part], dict) else {}
        kind = "" if part == "proposer" else there.get("kind", "full" if part == "canvas" else "")
        if first in _kinds(part).get(kind, ()) and first != "kind":
            return (part, first, *rest)
    missing = (
        f"there is no setting '{name}' where the canvas is '{_kind(plain, 'canvas')}' and the selector "
        f"'{_kind(plain, 'selector')}'"
    )
    owners = [(part, kind) for part in _PARTS for kind, fields in _kinds(part).items() if first in fields - {"kind"}]
    if owners:
        having = " or ".join(f"{part} '{kind}'" for part, kind in owners)
        raise SettingsError(f"{missing}; {having} has it: take a sampler with that as the baseline, or vary `sampler`")
    known = [*_WHOLE - set(_PARTS), *(each for part in _PARTS for kind in _kinds(part).values() for each in kind)]
    raise SettingsError(f"{missing}; {did_you_mean(first, {*known, *_CELL} - {'kind'})}")


def _kind(plain: Mapping[str, Any], part: str) -> str:
    return str(plain[part].get("kind", "full")) if isinstance(plain[part], dict) else "?"


def _follow_length(before: SamplerSettings, plain: dict[str, Any], given: set[tuple[str, ...]]) -> None:
    """Keep a step a token, and one block for the whole answer, where the length changes."""
    length = before.canvas.max_new_tokens
    now = plain["canvas"].get("max_new_tokens") if isinstance(plain["canvas"], dict) else None
    if now is None or now == length:
        return
    selector, canvas = plain["selector"], plain["canvas"]
    if not given & {("selector",), ("selector", "steps")} and selector.get("steps") == length:
        selector["steps"] = now
    whole = canvas.get("block_size") == length and canvas.get("kind") == "full"
    if not given & {("canvas",), ("canvas", "block_size")} and whole:
        canvas["block_size"] = now


def _set_steps(plain: dict[str, Any], per_step: int) -> None:
    """Choose the steps that commit so many tokens each, a whole number of them in every block."""
    if per_step < 1:
        raise SettingsError(f"tokens_per_step must be at least 1, got {per_step}")
    selector = plain["selector"]
    if not isinstance(selector, dict) or "steps" not in selector:
        raise SettingsError(f"tokens_per_step does not apply to a selector of kind '{_kind(plain, 'selector')}'")
    canvas = plain["canvas"]
    length = int(canvas["max_new_tokens"])
    block = int(canvas.get("block_size") or length)
    selector["steps"] = -(-length // block) * -(-block // per_step)
