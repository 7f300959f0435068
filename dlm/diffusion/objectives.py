"""Training objectives: tokens, a loss mask and a denoiser in, a loss out. They know no architecture.

A denoiser is a function ``(tokens_BL, attention_BL, at_BL) -> logits_NV``: it scores the tokens at the N selected
positions, row by row. Shapes: B rows, L positions, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlm.diffusion.masking import corrupt, draw_times
from dlm.diffusion.noise import uniform
from dlm.diffusion.schedules import loss_weight, schedule
from dlm.errors import SettingsError
from dlm.settings import MDLM

Denoise = Callable[[Tensor, Tensor | None, Tensor], Tensor]


def mdlm_loss(
    denoise: Denoise,
    tokens_BL: Tensor,
    trainable_BL: Tensor,
    attention_BL: Tensor | None,
    *,
    settings: MDLM,
    mask_token_id: int,
    seed: int,
    streams_B: Tensor,
    step: int,
) -> Tensor:
    """Weighted cross-entropy of the masked tokens (MDLM, arXiv 2406.07524, eq. 10; LLaDA, arXiv 2502.09992, eq. 3).

    Args:
        denoise: scores tokens at selected positions.
        tokens_BL: int64 [B, L], clean.
        trainable_BL: bool [B, L], the positions that may be masked and count.
        attention_BL: bool [B, L], False at padding; None when there is none.
        settings: schedule, weight and smallest time.
        mask_token_id: id of the mask token.
        seed, streams_B, step: the noise is a function of these: int64 [B] names each row, ``step`` the update.

    Returns:
        float32 [B, L]: the weighted cross-entropy in nats at masked positions, 0 elsewhere; not yet normalised.
    """
    chosen = schedule(settings.schedule)
    # 1. Draw a time for each row, and hide each trainable token with probability 1 - alpha(t).
    time_B = draw_times(seed, streams_B, step, settings.time_epsilon)
    noise_BL = uniform(seed, streams_B, tokens_BL.shape[1], step, 1)
    noised = corrupt(tokens_BL, trainable_BL, time_B, noise_BL, chosen, mask_token_id)
    # 2. Score the hidden tokens.
    logits_NV = denoise(noised.tokens_BL, attention_BL, noised.masked_BL)
    nll_N = F.cross_entropy(logits_NV, tokens_BL[noised.masked_BL], reduction="none")
    # 3. Weight each row by its time.
    weight_B = loss_weight(chosen, time_B) if settings.weight == "scheduler" else torch.ones_like(time_B)
    weight_N = weight_B[:, None].expand_as(noised.masked_BL)[noised.masked_BL]
    return _spread(nll_N * weight_N, noised.masked_BL)


def autoregressive_loss(
    denoise: Denoise, tokens_BL: Tensor, trainable_BL: Tensor, attention_BL: Tensor | None
) -> Tensor:
    """Next-token cross-entropy, float32 [B, L]; the first position has no past and does not count."""
    counted_BL = trainable_BL.clone()
    counted_BL[:, 0] = False
    logits_NV = denoise(tokens_BL, attention_BL, counted_BL)
    return _spread(F.cross_entropy(logits_NV, tokens_BL[counted_BL], reduction="none"), counted_BL)


def normalise(loss_BL: Tensor, trainable_BL: Tensor, rule: str) -> Tensor:
    """Sum a loss map to a scalar.

    Args:
        loss_BL: float32 [B, L].
        trainable_BL: bool [B, L], the tokens that count (not only the masked ones).
        rule: ``token`` divides by the batch's trainable tokens; ``sequence`` divides each row by its trainable tokens
            and averages the rows; ``batch`` divides the sum by the number of rows.

    Raises:
        SettingsError: unknown rule.
    """
    rows = loss_BL.shape[0]
    if rule == "token":
        return loss_BL.sum() / trainable_BL.sum().clamp(min=1)
    if rule == "sequence":
        return (loss_BL.sum(1) / trainable_BL.sum(1).clamp(min=1)).sum() / rows
    if rule == "batch":
        return loss_BL.sum() / rows
    raise SettingsError(f"unknown normalisation '{rule}'; known: token, sequence, batch")


def _spread(values_N: Tensor, where_BL: Tensor) -> Tensor:
    """Put N values at the True positions of a map of zeros."""
    return torch.zeros(where_BL.shape, dtype=values_N.dtype, device=values_N.device).masked_scatter(where_BL, values_N)
