"""From the last hidden state to the scores of the tokens: what a model's own forward does after its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_TILE = 1024
"""Tokens of a vocabulary that are projected to at a time on a CPU: their rows of the matrix stay in its caches."""
_LARGE = 8 * _TILE
"""Smaller vocabularies are projected to at once."""


def project(model: Any, hidden_ND: Tensor) -> Tensor:
    """Return ``output_head(model)(hidden_ND).float()``, float32 [N, V], without gradients sooner on a CPU.

    There a library multiplies a few rows by a large matrix piece by piece in about three quarters of the time.
    """
    split = last_projection(model)
    if split is None or split[1].out_features < _LARGE or hidden_ND.device.type != "cpu" or torch.is_grad_enabled():
        return output_head(model)(hidden_ND).float()
    before, projection = split
    hidden_ND = before(hidden_ND)
    logits_NV = hidden_ND.new_empty(len(hidden_ND), projection.out_features)
    for begin in range(0, projection.out_features, _TILE):
        part = slice(begin, begin + _TILE)
        if projection.bias is None:
            torch.mm(hidden_ND, projection.weight[part].T, out=logits_NV[:, part])
        else:
            torch.addmm(projection.bias[part], hidden_ND, projection.weight[part].T, out=logits_NV[:, part])
    return logits_NV.float()


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
