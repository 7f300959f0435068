"""What a published format is, to the rest of the conversion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dlm.errors import CheckpointError


def same_name(name: str) -> str:
    """Return the name of a tensor as it is."""
    return name


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a published checkpoint becomes a native one."""

    name: str
    """`llada`, `dream`, `a2d` (decoder), `causal` (decoder that stays one), `encoder`, or `dlm` (a diffusion checkpoint
    of this project)."""
    model_type: str
    """Model type of the native class."""
    architecture: str
    """Name of the native class in transformers."""
    config: Mapping[str, Any]
    """Fields of the native config, as plain values."""
    rename: Callable[[str], str] = same_name
    """Name of a tensor in the native class, from its name in the source; any other name is unknown to the class."""
    shift: bool = False
    """Whether the output at position i-1 scores token i."""
    objective: str = "none"
    """What the published weights were trained with, as in the conventions."""
    padding_side: str = "right"
    """Side on which the source's own sampler pads."""
    mask_token_id: int | None = None
    """Id of the mask token as the source's config says it; None: the tokenizer knows."""
    conventions: Mapping[str, Any] | None = None
    """Conventions that the source carries, of a checkpoint of this project; they stay as they are."""
    is_causal: bool = False
    """Whether the attention stays causal."""

    @property
    def is_encoder(self) -> bool:
        """Whether the native class is an encoder with a masked-LM head."""
        return self.architecture.endswith("ForMaskedLM")


def refuse_unless(config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], where: str, target: str) -> None:
    """Refuse a config whose options ask for what the native class does not compute.

    Args:
        config: the source's.
        allowed: for each option, the values under which both compute the same; an absent option is None.
        where: names the checkpoint in messages.
        target: the native class.

    Raises:
        CheckpointError: an option has another value; all of them are named.
    """
    wrong = [f"{key} = {config.get(key)!r}" for key, values in allowed.items() if config.get(key) not in values]
    if wrong:
        raise CheckpointError(f"{where}: {target} does not compute what its config asks for: {', '.join(wrong)}")


def required(config: Mapping[str, Any], key: str, where: str) -> Any:
    """Return an entry that a config must have.

    Raises:
        CheckpointError: it is absent or null.
    """
    if config.get(key) is None:
        raise CheckpointError(f"{where}: config.json has no '{key}'; fetch the checkpoint again")
    return config[key]
