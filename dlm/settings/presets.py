"""Published decoding methods by name, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from dlm.errors import SettingsError, did_you_mean
from dlm.settings.checks import one_of
from dlm.settings.decoding import ApproximateCache, EndOfText, FullCanvas, GrowingCanvas, Proposer
from dlm.settings.sampler import SamplerSettings
from dlm.settings.selecting import (
    EvenSelector,
    FactorSelector,
    FloorSelector,
    OriginSelector,
    RemaskingSelector,
    ScheduleSelector,
    ThresholdSelector,
)

_DREAM = {"canvas": FullCanvas, "score_of": "proposer"}
_FAST = {"canvas": FullCanvas, "block_size": 32, "selector": ThresholdSelector, "threshold": 0.9}
_PREFIX = {"cache": ApproximateCache(kind="approximate_prefix")}
_DUAL = {"cache": ApproximateCache(kind="approximate_dual")}
_PREFIX_SHIFTED = {"cache": ApproximateCache(kind="approximate_prefix", first_pass="first_token")}
_DUAL_SHIFTED = {"cache": ApproximateCache(kind="approximate_dual", first_pass="first_token")}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # ML-GSAI/LLaDA, generate.py
    "llada": {"canvas": FullCanvas, "selector": EvenSelector},
    # ZHZisZZ/dllm, dllm/core/samplers/mdlm.py
    "mdlm": {"canvas": FullCanvas, "selector": ScheduleSelector},
    # Dream, generation_utils.py, as its authors evaluate it
    "dream": {**_DREAM, "selector": FloorSelector, "score": "negative_entropy"},
    # The same, its plain reverse process
    "dream-origin": {"canvas": FullCanvas, "selector": OriginSelector},
    # ZHZisZZ/dllm, dllm/core/samplers/bd3lm.py
    "bd3lm": {"canvas": GrowingCanvas, "block_size": 32, "selector": ScheduleSelector, "stop": EndOfText()},
    # NVlabs/Fast-dLLM, llada/generate.py
    "fast-dllm-llada": _FAST,
    "fast-dllm-llada-prefix": {**_FAST, **_PREFIX},
    "fast-dllm-llada-dual": {**_FAST, **_DUAL},
    # arXiv 2505.22618, section 3.3
    "fast-dllm-llada-factor": {"canvas": FullCanvas, "block_size": 32, "selector": FactorSelector, "factor": 1.0},
    # NVlabs/Fast-dLLM, dream/model/generation_utils_block.py
    "fast-dllm-dream-prefix": {**_FAST, **_DREAM, **_PREFIX_SHIFTED},
    "fast-dllm-dream-dual": {**_FAST, **_DREAM, **_DUAL_SHIFTED},
    # arXiv 2503.00307, with its cap of sigma
    "remdm": {"canvas": FullCanvas, "selector": RemaskingSelector, "cap": 0.02},
}
"""Of each method the classes of its parts, and the values of their fields that are not the defaults."""


def preset(name: str, *, max_new_tokens: int, **changes: Any) -> SamplerSettings:
    """Return the settings of a published method.

    Args:
        name: a key of ``PRESETS``.
        max_new_tokens: answer positions.
        changes: fields of canvas, proposer, selector or the sampler itself, by name; ``steps``, where the selector has
            it, is one a token unless it is given.

    Raises:
        SettingsError: unknown name, a change that applies to no part, or a value that cannot be.
    """
    one_of("preset", name, PRESETS)
    if given := sorted(changes.keys() & set(_PARTS)):
        raise SettingsError(
            f"preset '{name}' is made of its own {given[0]}; set the fields of it by name, choose another preset, or "
            "write a sampler in the params"
        )
    values = {**PRESETS[name], **changes, "max_new_tokens": max_new_tokens}
    kinds = {"canvas": values.pop("canvas"), "proposer": Proposer, "selector": values.pop("selector")}
    if "steps" in _fields(kinds["selector"]):
        values.setdefault("steps", max_new_tokens)
    parts = {part: kind(**_taken(values, _fields(kind))) for part, kind in kinds.items()}
    whole = _taken(values, _fields(SamplerSettings) - kinds.keys())
    if values:
        known = set().union(*map(_fields, kinds.values()), _fields(SamplerSettings)) - kinds.keys()
        wrong = min(values)
        raise SettingsError(f"preset '{name}' has no setting '{wrong}'; {did_you_mean(wrong, known)}")
    return SamplerSettings(**parts, **whole)


def changed(settings: SamplerSettings, **changes: Any) -> SamplerSettings:
    """Return settings with some fields of canvas, proposer, selector or the sampler itself changed, by name.

    Steps that were one a token stay so, unless they are given.

    Raises:
        SettingsError: a change that applies to no part, or a value that cannot be.
    """
    values = dict(changes)
    parts = {part: getattr(settings, part) for part in ("canvas", "proposer", "selector")}
    one_a_token = getattr(settings.selector, "steps", None) == settings.canvas.max_new_tokens
    if one_a_token and "max_new_tokens" in values:
        values.setdefault("steps", values["max_new_tokens"])
    made = {part: dataclasses.replace(value, **_taken(values, _fields(type(value)))) for part, value in parts.items()}
    whole = _taken(values, _fields(SamplerSettings) - parts.keys())
    if values:
        known = settable(settings)
        raise SettingsError(f"there is no setting '{min(values)}' here; {did_you_mean(min(values), known)}")
    return dataclasses.replace(settings, **made, **whole)


def settable(settings: SamplerSettings | str) -> dict[str, Any]:
    """Return the fields that :func:`preset` (given its name) or :func:`changed` can change, with their types.

    Raises:
        SettingsError: no preset has this name.
    """
    if isinstance(settings, str):
        one_of("preset", settings, PRESETS)
        kinds = [PRESETS[settings]["canvas"], Proposer, PRESETS[settings]["selector"]]
    else:
        kinds = [type(settings.canvas), Proposer, type(settings.selector)]
    own = {name: hint for name, hint in get_type_hints(SamplerSettings).items() if name not in _PARTS}
    found = {name: hint for kind in kinds for name, hint in get_type_hints(kind).items() if name in _fields(kind)}
    return {**found, **{name: hint for name, hint in own.items() if name in _fields(SamplerSettings)}}


_PARTS = ("canvas", "proposer", "selector")


def _fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)} - {"kind"}


def _taken(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Take the values of some names out."""
    return {name: values.pop(name) for name in sorted(names & values.keys())}
