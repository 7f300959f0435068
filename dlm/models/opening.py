"""A causal model in memory, its attention opened to both sides."""

from __future__ import annotations

from dlm.errors import CheckpointError
from dlm.models.conventions import Conventions
from dlm.models.denoiser import Denoiser
from dlm.models.probing import causal_message, is_bidirectional


def open_attention(denoiser: Denoiser, *, shift: bool) -> Denoiser:
    """Turn a causal model bidirectional, in place, and return it with its new conventions.

    Checkpoint folders are converted by :func:`dlm.models.convert_checkpoint`, without loading them.

    Args:
        denoiser: an autoregressive model whose tokenizer has a mask token.
        shift: whether to keep the parent's shifted prediction.

    Raises:
        CheckpointError: the tokenizer has no mask token, or the network stays causal whatever its config says.
    """
    name = denoiser.model.config.name_or_path or denoiser.model.config.model_type
    mask = denoiser.tokenizer.mask_token_id
    if mask is None:
        raise CheckpointError(f"{name}: its tokenizer has no mask token; add one before converting")
    denoiser.model.config.is_causal = False
    denoiser.model.config.use_cache = False
    opened = Denoiser(
        denoiser.model, denoiser.tokenizer, Conventions(mask_token_id=int(mask), shift=shift, objective="none")
    )
    if not is_bidirectional(opened):
        raise CheckpointError(f"{name}: {causal_message(denoiser.model.config.model_type)}")
    return opened
