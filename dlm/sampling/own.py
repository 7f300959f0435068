"""Settings that go with a checkpoint: those it carries, and the plain ones of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from dlm.errors import CheckpointError
from dlm.models import Denoiser
from dlm.settings import (
    PRESETS,
    ApproximateCache,
    EndOfText,
    FullCanvas,
    GrowingCanvas,
    Guidance,
    Proposer,
    SamplerSettings,
    Selector,
    preset,
)

T = TypeVar("T")

_CANVASES: Mapping[str, type[FullCanvas | GrowingCanvas]] = {"full": FullCanvas, "growing": GrowingCanvas}
_SELECTORS: Mapping[str, type[Selector]] = {selector.kind: selector for selector in get_args(Selector)}


def default_settings(model: Denoiser) -> SamplerSettings:
    """Return the checkpoint's own sampler settings, or plain ones with dLLM's 128 tokens and as many steps; of a model
    with fewer than 256 positions half as many tokens as those."""
    stored = model.conventions.sampler
    if stored is not None:
        return read_settings(stored)
    return plain_settings(model, max_new_tokens=min(128, model.max_positions // 2))


def plain_settings(
    model: Denoiser,
    *,
    max_new_tokens: int,
    block_size: int | None = None,
    steps: int | None = None,
    temperature: float = 0.0,
) -> SamplerSettings:
    """Return LLaDA's decoding for a masked-diffusion model, BD3LM's for a block-diffusion model.

    Args:
        model: the denoiser.
        max_new_tokens: answer positions.
        block_size: tokens per block; None: one block, or that of a block-diffusion model's training.
        steps: steps in total; None: one a token.
        temperature: of the Gumbel-max draw.

    Raises:
        SettingsError: a number out of range, or numbers that contradict each other.
    """
    changes = {"steps": max_new_tokens if steps is None else steps, "temperature": temperature}
    if model.conventions.objective != "bd3lm":
        return preset("llada", max_new_tokens=max_new_tokens, block_size=block_size, **changes)
    size = block_size or model.conventions.block_size or PRESETS["bd3lm"]["block_size"]
    return preset("bd3lm", max_new_tokens=max_new_tokens, block_size=size, **changes)


def read_settings(stored: Mapping[str, Any]) -> SamplerSettings:
    """Return the settings whose plain values (`dataclasses.asdict`, perhaps through JSON) these are.

    Raises:
        CheckpointError: the values are not those of sampler settings.
    """
    try:
        return _settings(stored)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"config.json: diffusion.sampler is not legible: {error}; save the checkpoint again"
        ) from error


def _settings(stored: Mapping[str, Any]) -> SamplerSettings:
    parts = dict(stored)
    proposer = dict(parts.pop("proposer"))
    canvas, selector, stop = parts.pop("canvas"), parts.pop("selector"), parts.pop("stop", None)
    guidance = proposer.pop("guidance", None)
    return SamplerSettings(
        canvas=_canvas(canvas),
        proposer=_read(Proposer, {**proposer, "guidance": None if guidance is None else _read(Guidance, guidance)}),
        selector=_selector(selector),
        stop=None if stop is None else _read(EndOfText, stop),
        defer_tokens=tuple(parts.pop("defer_tokens", ())),
        **parts,
    )


def _canvas(stored: Mapping[str, Any]) -> FullCanvas | GrowingCanvas:
    cache = stored.get("cache")
    if isinstance(cache, Mapping):
        stored = {**stored, "cache": _read(ApproximateCache, cache)}
    return _read(_CANVASES[stored["kind"]], stored)


def _selector(stored: Mapping[str, Any]) -> Selector:
    if quota := stored.get("quota"):
        stored = {**stored, "quota": _selector(quota)}
    return _read(_SELECTORS[stored["kind"]], stored)


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
