"""Published formats: what a checkpoint's config means, and which native class of transformers computes the same.

Pure functions of the config; the tensors are moved by :mod:`dlm.models.converting`. A new format is a module with a
function from config to :class:`Format`, or None where the config is not its own, and a row in ``_READERS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlm.errors import CheckpointError
from dlm.models.formats import dream, llada, native
from dlm.models.formats.base import Format

_READERS = (llada.read, dream.read, native.read)

__all__ = ["Format", "read_format"]


def read_format(config: Mapping[str, Any], where: str) -> Format:
    """Find out what a published config describes.

    Args:
        config: content of ``config.json``.
        where: names the checkpoint in messages.

    Raises:
        CheckpointError: no native class computes the same; the message says why.
    """
    if config.get("quantization_config"):
        raise CheckpointError(f"{where}: its weights are quantised (quantization_config); convert the unquantised ones")
    for read in _READERS:
        try:
            found = read(config, where)
        except (TypeError, ValueError, ArithmeticError) as error:  # an entry is of another type than it should be
            raise CheckpointError(f"{where}: config.json does not hold: {error}") from error
        if found is not None:
            return found
    raise CheckpointError(native.why_not(config, where))
