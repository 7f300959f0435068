"""From the last hidden state to the scores of the tokens: what a model's own forward does after its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def output_head(model: Any) -> Callable[[Tensor], Tensor]:
    """Return the function from hidden states [N, D] to logits [N, V] of a transformers model with a language head.

    Decoders project and do no more. Encoders transform first: `cls` of BERT, `lm_head` of RoBERTa, `head` and `decoder`
    of ModernBERT. Conversion checks, on random tokens, that body and head together give the model's own logits.
    """
    if hasattr(model, "cls"):
        return model.cls
    if hasattr(model, "head") and hasattr(model, "decoder"):
        return lambda hidden_ND: model.decoder(model.head(hidden_ND))
    return getattr(model, "lm_head", None) or model.get_output_embeddings()


def last_projection(model: Any) -> tuple[Callable[[Tensor], Tensor], nn.Linear] | None:
    """Split the head into what comes before its projection to the vocabulary, and that projection.

    Returns:
        None where the projection cannot be told from the rest, or is more than a plain matrix (adapters, 4-bit weights,
        a matrix that FSDP shards by itself).
    """
    before: Callable[[Tensor], Tensor]
    if hasattr(model, "cls"):
        head = getattr(model.cls, "predictions", None)
        before, projection = getattr(head, "transform", _unchanged), getattr(head, "decoder", None)
    elif hasattr(model, "head") and hasattr(model, "decoder"):
        before, projection = model.head, model.decoder
    else:
        before, projection = _unchanged, output_head(model)
    return (before, projection) if type(projection) is nn.Linear else None


def _unchanged(hidden_ND: Tensor) -> Tensor:
    return hidden_ND
