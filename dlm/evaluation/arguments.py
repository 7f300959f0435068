"""What stands behind ``--model_args`` of lm-eval's command line, read into the project's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from dlm.errors import SettingsError, did_you_mean
from dlm.params.options import Options
from dlm.settings import PRESETS, ExecutionSettings, LikelihoodSettings, SamplerSettings, settable

_OPTIONS = Options("model_args:")
_EXECUTION = ("batch_size", "dtype", "device", "threads")
_LIKELIHOOD = tuple(LikelihoodSettings.__dataclass_fields__)
_OWN = {"pretrained": str, "preset": str, "seed": int, "response_prefix": str}
_IGNORED = ("max_batch_size", "trust_remote_code")
"""What lm-eval adds for models of other kinds. Nothing here runs a checkpoint's code."""


@dataclass(frozen=True, kw_only=True)
class ModelArguments:
    """A model as asked for: a checkpoint, how it answers and how it is run."""

    pretrained: str
    """Folder of the checkpoint."""
    preset: str | None
    """Name of a published decoding method; None: the checkpoint's own."""
    decoding: Mapping[str, Any]
    """Changes of its settings, by name."""
    likelihood: LikelihoodSettings
    execution: ExecutionSettings
    seed: int
    response_prefix: str

    def sampler(self, own: SamplerSettings, positions: int) -> SamplerSettings:
        """Return how answers are sampled with a checkpoint of these own settings and so many positions.

        Raises:
            SettingsError: a change that the checkpoint's own settings do not know.
        """
        return _OPTIONS.decoding(self.preset, self.decoding, own, positions)


def read_arguments(arguments: Mapping[str, Any]) -> ModelArguments:
    """Read named arguments, checked as far as that goes without the checkpoint.

    Args:
        arguments: by name; values as lm-eval's command line reads them.

    Raises:
        SettingsError: an unknown name, no checkpoint, or a value that cannot be.
    """
    given = {name: value for name, value in arguments.items() if name not in _IGNORED and value is not None}
    methods = [given["preset"]] if "preset" in given else PRESETS
    decoding = {name: kind for method in methods for name, kind in settable(method).items()}
    known = {*_OWN, *_EXECUTION, *_LIKELIHOOD, *decoding}
    for name in given:
        if name not in known:
            raise SettingsError(f"model_args: unknown '{name}'; {did_you_mean(name, known)}")
    if "pretrained" not in given:
        raise SettingsError("model_args: no 'pretrained'; give the folder of a checkpoint: pretrained=DIR")
    own = _OPTIONS.typed(_some(given, _OWN) | {"pretrained": str(given["pretrained"])}, _OWN)
    changes = {name: given[name] for name in given if name in decoding}
    return ModelArguments(
        pretrained=own["pretrained"],
        preset=own.get("preset"),
        decoding=_OPTIONS.typed(changes, decoding) if "preset" in own else changes,
        likelihood=LikelihoodSettings(**_typed(given, _LIKELIHOOD, LikelihoodSettings)),
        execution=ExecutionSettings(**_typed(_with_numbers(given), _EXECUTION, ExecutionSettings)),
        seed=own.get("seed", 0),
        response_prefix=own.get("response_prefix", ""),
    )


def _typed(given: Mapping[str, Any], names: tuple[str, ...], kind: type) -> dict[str, Any]:
    return _OPTIONS.typed(_some(given, names), get_type_hints(kind))


def _some(given: Mapping[str, Any], names: Any) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _with_numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with the batch size as a number, which lm-eval's own option gives as text."""
    size = given.get("batch_size")
    return {**given, "batch_size": int(size)} if isinstance(size, str) and size.isdecimal() else dict(given)
