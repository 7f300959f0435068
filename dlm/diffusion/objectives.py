"""Training objectives: tokens, a loss mask and a denoiser in, a loss out. They know no architecture.

A loss is made in three steps, each of which can be fed alone: noise (:func:`draw_noise`), the cross-entropy of what is
hidden (:func:`mdlm_nll`, :func:`bd3lm_nll`), and its weight (:func:`token_weights`).

A denoiser is a function ``(tokens_BL, attention, at_BL) -> logits_NV``: it scores the tokens at the N selected
positions, row by row. Block diffusion also gives it position ids, as a fourth argument. One that takes targets as well
(:class:`TakesTargets`) returns their cross-entropy itself. Shapes: B rows, L positions, V tokens, M = 2L positions of
the two copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlm.diffusion.blocks import train_block_mask, train_mask, train_positions
from dlm.diffusion.masking import Corrupted, corrupt, draw_times
from dlm.diffusion.noise import uniform
from dlm.diffusion.schedules import loss_weight, schedule
from dlm.errors import SettingsError
from dlm.settings import BD3LM, MDLM, MLM, cart_parameter


@dataclass(frozen=True)
class TakesTargets:
    """A denoiser that can be given ``targets_N`` and ``weights_N``, so that the logits never have to exist at once.

    The weights are what its cross-entropies will be multiplied by, up to a common factor: a hint, no part of the result
    (:func:`dlm.models.projection.cross_entropy`).
    """

    denoise: Callable[..., Tensor]


Denoise = Callable[..., Tensor] | TakesTargets


def mdlm_loss(
    denoise: Denoise,
    tokens_BL: Tensor,
    trainable_BL: Tensor,
    attention_BL: Tensor | None,
    *,
    settings: MDLM | MLM,
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
        settings: schedule, weight and smallest time; or one rate of masking, which is one time of the linear schedule.
        mask_token_id: id of the mask token.
        seed, streams_B, step: the noise is a function of these: int64 [B] names each row, ``step`` the update.

    Returns:
        float32 [B, L]: the weighted cross-entropy in nats at masked positions, 0 elsewhere; not yet normalised.
    """
    noised = draw_noise(
        tokens_BL, trainable_BL, settings, mask_token_id=mask_token_id, seed=seed, streams_B=streams_B, step=step
    )
    weight_BL = token_weights(noised, settings)
    return mdlm_nll(denoise, tokens_BL, noised, attention_BL, weight_BL) * weight_BL


def bd3lm_loss(
    denoise: Denoise,
    tokens_BL: Tensor,
    trainable_BL: Tensor,
    *,
    settings: BD3LM,
    mask_token_id: int,
    seed: int,
    streams_B: Tensor,
    step: int,
    flex: bool = False,
) -> Tensor:
    """Weighted cross-entropy of the masked tokens, each block given the clean ones before (BD3LM, arXiv 2503.09573).

    Padding is not hidden: it must come last, so that no trained token sees it but through its own block (the `filler`
    of a recipe). Arguments and return value are those of :func:`mdlm_loss`, and ``flex`` of :func:`bd3lm_nll`.
    """
    noised = draw_noise(
        tokens_BL, trainable_BL, settings, mask_token_id=mask_token_id, seed=seed, streams_B=streams_B, step=step
    )
    weight_BL = token_weights(noised, settings)
    return bd3lm_nll(denoise, tokens_BL, noised, settings.block_size, weight_BL, flex=flex) * weight_BL


def draw_noise(
    tokens_BL: Tensor,
    trainable_BL: Tensor,
    settings: MDLM | BD3LM | MLM,
    *,
    mask_token_id: int,
    seed: int,
    streams_B: Tensor,
    step: int,
) -> Corrupted:
    """Draw the times of each row, and hide each trainable token with probability 1 - alpha(t)."""
    length = tokens_BL.shape[1]
    noise_BL = uniform(seed, streams_B, length, step, 1)
    if isinstance(settings, MLM):
        rate_B1 = torch.full((len(tokens_BL), 1), settings.mask_rate, device=tokens_BL.device)
        return corrupt(tokens_BL, trainable_BL, rate_B1, noise_BL, schedule("linear"), mask_token_id)
    if isinstance(settings, BD3LM) and settings.time == "block":
        blocks = -(-length // settings.block_size)
        time_BK = draw_times(seed, streams_B, step, settings.time_epsilon, blocks)
        time_BL = time_BK.repeat_interleave(settings.block_size, dim=1)[:, :length]
    else:
        time_BL = draw_times(seed, streams_B, step, settings.time_epsilon)
    return corrupt(tokens_BL, trainable_BL, time_BL, noise_BL, schedule(settings.schedule), mask_token_id)


def mdlm_nll(
    denoise: Denoise,
    clean_BL: Tensor,
    noised: Corrupted,
    attention_BL: Tensor | None,
    weight_BL: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the hidden tokens, given all that is not hidden: float32 [B, L], 0 where nothing is hidden.

    ``weight_BL`` (float32 [B, L] or [B, 1]) is the hint of :class:`TakesTargets`.
    """
    question = (noised.tokens_BL, attention_BL, noised.masked_BL)
    return _cross_entropy(denoise, question, clean_BL, noised.masked_BL, weight_BL)


def bd3lm_nll(
    denoise: Denoise,
    clean_BL: Tensor,
    noised: Corrupted,
    block_size: int,
    weight_BL: Tensor | None = None,
    *,
    flex: bool = False,
) -> Tensor:
    """Cross-entropy of the hidden tokens, given their own noisy block and the clean blocks before it.

    One pass over [noisy | clean] does all blocks (arXiv 2503.09573, section 4). A shifted model reads its
    outputs on that concatenation, so the first noisy token is scored by its own output (ZHZisZZ/dllm,
    dllm/core/trainers/bd3lm.py).

    Args:
        denoise: scores tokens at selected positions; it is given a mask of pairs and position ids.
        clean_BL: int64 [B, L].
        noised: the same rows after the forward process.
        block_size: tokens of a block; the last block may be shorter.
        weight_BL: float32 [B, L] or [B, 1], the hint of :class:`TakesTargets`.
        flex: give the mask as FlexAttention's `BlockMask`, which such a model needs, and not as bool [B, 2L, 2L].

    Returns:
        float32 [B, L], 0 where nothing is hidden.
    """
    rows, length = clean_BL.shape
    tokens_BM = torch.cat([noised.tokens_BL, clean_BL], dim=1)
    at_BM = torch.cat([noised.masked_BL, torch.zeros_like(noised.masked_BL)], dim=1)
    positions_BM = train_positions(length, clean_BL.device).expand(rows, -1)
    mask: Any
    if flex:
        mask = train_block_mask(length, block_size, clean_BL.device)
    else:
        mask = train_mask(length, block_size, clean_BL.device).expand(rows, -1, -1)
    question = (tokens_BM, mask, at_BM, positions_BM)
    return _cross_entropy(denoise, question, clean_BL, noised.masked_BL, weight_BL)


def token_weights(noised: Corrupted, settings: MDLM | BD3LM | MLM) -> Tensor:
    """Return the weight of each token's cross-entropy, float32 [B, L] or [B, 1]."""
    if isinstance(settings, MLM):
        return 1 / noised.time_BL  # the mean over all tokens is then, in expectation, the mean over the masked ones
    if (parameter := cart_parameter(settings.weight)) is not None:
        return cart_weights(noised.masked_BL, parameter)
    if settings.weight == "scheduler":
        return loss_weight(schedule(settings.schedule), noised.time_BL)
    return torch.ones_like(noised.time_BL)


def cart_weights(masked_BL: Tensor, parameter: float) -> Tensor:
    """Return Dream's context-adaptive weights: the more unmasked tokens nearby, the more a masked one counts.

    Each unmasked token adds p (1 - p)^(d - 1) / 2 at distance d (Dream, arXiv 2508.15487; ZHZisZZ/dllm,
    dllm/pipelines/dream/trainer.py, `DreamTrainer`). Padding counts as unmasked, as it does there.

    Args:
        masked_BL: bool [B, L].
        parameter: p of the geometric distribution, in (0, 1].

    Returns:
        float32 [B, L].
    """
    index_L = torch.arange(masked_BL.shape[1], device=masked_BL.device)
    distance_LL = (index_L[:, None] - index_L[None, :]).abs()
    share_LL = 0.5 * parameter * (1 - parameter) ** (distance_LL - 1).clamp(min=0).float()
    return (~masked_BL).float() @ share_LL.masked_fill(distance_LL == 0, 0)


def autoregressive_loss(
    denoise: Denoise, tokens_BL: Tensor, trainable_BL: Tensor, attention_BL: Tensor | None
) -> Tensor:
    """Next-token cross-entropy, float32 [B, L]; the first position has no past and does not count."""
    counted_BL = trainable_BL.clone()
    counted_BL[:, 0] = False
    return _cross_entropy(denoise, (tokens_BL, attention_BL, counted_BL), tokens_BL, counted_BL)


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


def _cross_entropy(
    denoise: Denoise,
    question: tuple[Any, ...],
    clean_BL: Tensor,
    where_BL: Tensor,
    weight_BL: Tensor | None = None,
) -> Tensor:
    """Put the denoiser's question; return the cross-entropy at the True positions, in a map of zeros."""
    targets_N = clean_BL[where_BL]
    if isinstance(denoise, TakesTargets):
        weights_N = None if weight_BL is None else weight_BL.expand(where_BL.shape)[where_BL]
        nll_N = denoise.denoise(*question, targets_N=targets_N, weights_N=weights_N)
    else:
        nll_N = F.cross_entropy(denoise(*question), targets_N, reduction="none")
    return torch.zeros(where_BL.shape, dtype=nll_N.dtype, device=nll_N.device).masked_scatter(where_BL, nll_N)
