"""Autoregressive checkpoints into diffusion checkpoints: attention opened to both sides, conventions recorded."""

from __future__ import annotations

import torch

from dlm.errors import CheckpointError
from dlm.models.conventions import Conventions
from dlm.models.denoiser import Denoiser


def open_attention(denoiser: Denoiser, *, shift: bool) -> Denoiser:
    """Turn a causal model bidirectional, in place, and return it with its new conventions.

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
        raise CheckpointError(
            f"{name}: {denoiser.model.config.model_type} stays causal with is_causal = False: its last token does not "
            "move its first output; this architecture cannot become a diffusion model without modelling code"
        )
    return opened


@torch.inference_mode()
def is_bidirectional(denoiser: Denoiser, length: int = 8) -> bool:
    """Probe: does changing the last token move the first output, without padding and with it?"""
    tokens_BL = torch.arange(2 * length, device=denoiser.device).reshape(2, length) % denoiser.vocab_size
    tokens_BL[1] = tokens_BL[0]
    tokens_BL[1, -1] = (tokens_BL[0, -1] + 1) % denoiser.vocab_size
    padded_BL = torch.cat([tokens_BL, torch.zeros_like(tokens_BL[:, :2])], dim=1)
    attention_BL = torch.ones_like(padded_BL, dtype=torch.bool)
    attention_BL[:, -2:] = False
    return _first_output_moves(denoiser, tokens_BL, None) and _first_output_moves(denoiser, padded_BL, attention_BL)


def _first_output_moves(denoiser: Denoiser, tokens_BL: torch.Tensor, attention_BL: torch.Tensor | None) -> bool:
    at_BL = torch.zeros_like(tokens_BL, dtype=torch.bool)
    at_BL[:, 0] = True
    first_BV = denoiser(tokens_BL, attention_BL, at_BL)
    return not torch.equal(first_BV[0], first_BV[1])
