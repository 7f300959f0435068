"""Values that a person typed at a command, read as the types of the settings that they are meant for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dlm.errors import SettingsError
from dlm.params.builder import build_value
from dlm.settings import SamplerSettings, changed, preset, settable

_LENGTH = 128
"""Answer positions of a preset where none are given: those of ZHZisZZ/dllm's samplers."""


@dataclass(frozen=True)
class Options:
    """Where the values stand, such as `--set` or `model_args`, for messages."""

    where: str

    def error(self, path: tuple[str | int, ...], problem: str) -> SettingsError:
        """Return the error for one of the values."""
        return SettingsError(f"{self.where} {'.'.join(map(str, path))}: {problem}")

    def typed(self, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
        """Return values as the types of their fields; what is meant for no field stays as it is.

        Raises:
            SettingsError: a value of another type.
        """
        return {
            key: build_value(self, value, kinds[key], (key,)) if key in kinds else value
            for key, value in values.items()
        }

    def decoding(
        self, name: str | None, changes: Mapping[str, Any], own: SamplerSettings, positions: int
    ) -> SamplerSettings:
        """Return the settings of a published method, or a checkpoint's own, with their changes.

        Args:
            name: of a preset; None: the checkpoint's own settings.
            changes: values by the name of the setting; of a preset already of its types.
            own: the checkpoint's own settings.
            positions: of the model; a preset takes half of them where it is not told how many, and 128 at most.

        Raises:
            SettingsError: no such setting, or a value that cannot be.
        """
        if name is not None:
            return preset(name, **{"max_new_tokens": min(_LENGTH, positions // 2), **changes})
        return changed(own, **self.typed(changes, settable(own)))
