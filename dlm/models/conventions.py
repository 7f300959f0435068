"""What a diffusion checkpoint means: the conventions kept in ``config.diffusion``, beside the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """How the outputs of a checkpoint are to be read, and where its weights came from."""

    mask_token_id: int | None
    """Id of the mask token; None: an autoregressive checkpoint, kept as published, whose tokenizer has none."""
    shift: bool
    """True: the output at position i-1 scores token i; False: the output at i does."""
    objective: str
    """What it was trained with: `mdlm`, `bd3lm`, `ar`, or `none` for random or freshly converted weights."""
    sampler: Mapping[str, Any] | None = None
    """The checkpoint's own sampler settings, as plain values; None: the library's."""
    padding_side: str = "right"
    """Side on which its source pads the rows of a batch: `left` or `right`."""
    block_size: int | None = None
    """Tokens of a block, for block diffusion; None: no blocks."""
    source: Mapping[str, Any] | None = None
    """The published files it was converted from: `format`, `repository` or `folder`, `revision`, and the sha256 of each
    file; a training that starts from it keeps them. None: made by the pipeline."""

    def to_config(self) -> dict[str, Any]:
        """Return the mapping that is stored in the config."""
        return dataclasses.asdict(self)


def read_conventions(config: Any, folder: str | Path) -> Conventions:
    """Read the conventions from a transformers config; fields that a checkpoint of an earlier version lacks get the
    value that it meant.

    Raises:
        CheckpointError: the checkpoint has none, or they are not legible.
    """
    stored = getattr(config, "diffusion", None)
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{folder}: config.json has no 'diffusion' conventions; make it with `dlm convert`")
    try:
        return Conventions(**stored)
    except TypeError as error:
        raise CheckpointError(f"{folder}: config.json: diffusion: {error}; convert the checkpoint again") from error
