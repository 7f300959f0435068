"""What a diffusion checkpoint means: the conventions kept in ``config.diffusion``, beside the weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import CheckpointError, did_you_mean

OBJECTIVES = ("mdlm", "bd3lm", "mlm", "ar", "none")
"""What weights can have been trained with; `none`: random or freshly converted ones."""


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """How the outputs of a checkpoint are to be read, and where its weights came from."""

    mask_token_id: int | None
    """Id of the mask token; None: an autoregressive checkpoint, kept as published, whose tokenizer has none."""
    shift: bool
    """True: the output at position i-1 scores token i; False: the output at i does."""
    objective: str
    """What it was trained with, one of :data:`OBJECTIVES`."""
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


_FORMS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "mask_token_id": ("a token's id or null", lambda value: value is None or _counts(value, 0)),
    "shift": ("true or false", lambda value: isinstance(value, bool)),
    "objective": (f"one of {', '.join(OBJECTIVES)}", lambda value: value in OBJECTIVES),
    "sampler": ("settings or null", lambda value: value is None or isinstance(value, Mapping)),
    "padding_side": ("left or right", lambda value: value in ("left", "right")),
    "block_size": ("a whole number from 1, or null", lambda value: value is None or _counts(value, 1)),
    "source": ("an origin or null", lambda value: value is None or isinstance(value, Mapping)),
}
"""What each of the conventions must be, in words and as a question."""


def _counts(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def read_conventions(config: Any, folder: str | Path) -> Conventions:
    """Read the conventions from a transformers config; fields that a checkpoint of an earlier version lacks get the
    value that it meant.

    Raises:
        CheckpointError: the checkpoint has none, or they are not legible.
    """
    stored = getattr(config, "diffusion", None)
    if stored is None:
        raise CheckpointError(f"{folder}: config.json has no 'diffusion' conventions; make it with `dlm convert`")
    return parse_conventions(stored, folder)


def parse_conventions(stored: Any, where: str | Path) -> Conventions:
    """Read the conventions from the entry ``diffusion`` of a config; ``where`` names the checkpoint in messages.

    Raises:
        CheckpointError: a key is unknown or missing, or a value is not what it must be.
    """
    remedy = "correct it, or take it out and convert the checkpoint again"
    if not isinstance(stored, Mapping):
        raise CheckpointError(f"{where}: config.json: diffusion: must be the conventions of a checkpoint; {remedy}")
    for key, value in stored.items():
        if key not in _FORMS:
            raise CheckpointError(f"{where}: config.json: diffusion.{key}: unknown key; {did_you_mean(key, _FORMS)}")
        words, holds = _FORMS[key]
        if not holds(value):
            raise CheckpointError(
                f"{where}: config.json: diffusion.{key}: must be {words}, got {json.dumps(value)}; {remedy}"
            )
    if missing := [key for key in ("mask_token_id", "shift", "objective") if key not in stored]:
        raise CheckpointError(f"{where}: config.json: diffusion.{missing[0]}: is missing; {remedy}")
    if stored["mask_token_id"] is None and stored["objective"] != "ar":
        raise CheckpointError(
            f"{where}: config.json: diffusion.mask_token_id: is null, though objective {stored['objective']} has a "
            f"mask; {remedy}"
        )
    return Conventions(**stored)
