"""The forward process of masked diffusion: which tokens a time hides.

Shapes: B rows, L positions, K times a row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dlm.diffusion.noise import uniform
from dlm.diffusion.schedules import Schedule


class Corrupted(NamedTuple):
    """A batch after the forward process."""

    tokens_BL: Tensor
    """int64 [B, L]: the mask token where ``masked_BL``, the clean token elsewhere."""
    masked_BL: Tensor
    """bool [B, L]."""
    time_BL: Tensor
    """float32 [B, L] in [epsilon, 1), or [B, 1] where a row has one time."""


class Batch(NamedTuple):
    """Clean rows of a batch."""

    tokens_BL: Tensor
    """int64 [B, L]."""
    trainable_BL: Tensor
    """bool [B, L], the positions that may be masked and count."""
    attention_BL: Tensor | None
    """bool [B, L], False at padding; None when there is none."""


def draw_times(seed: int, streams_B: Tensor, step: int, epsilon: float, blocks: int = 1) -> Tensor:
    """Draw the times of each row, uniform in [epsilon, 1): t = epsilon + (1 - epsilon) u.

    Args:
        seed, streams_B, step: the randomness is a function of these: int64 [B] names each row, ``step`` the update.
        epsilon: the smallest time.
        blocks: times a row, K.

    Returns:
        float32 [B, K].
    """
    return times_from(uniform(seed, streams_B, blocks, step, 0).to(torch.float32), epsilon)


def times_from(uniform_BK: Tensor, epsilon: float) -> Tensor:
    """Turn uniform numbers into times of at least ``epsilon``, in float32."""
    return epsilon + (1 - epsilon) * uniform_BK


def corrupt(
    tokens_BL: Tensor, trainable_BL: Tensor, time_BL: Tensor, uniform_BL: Tensor, chosen: Schedule, mask_token_id: int
) -> Corrupted:
    """Mask each trainable token independently with probability 1 - alpha(t).

    Args:
        tokens_BL: int64 [B, L], clean.
        trainable_BL: bool [B, L]; a False position is never masked.
        time_BL: float32 [B, L] or [B, 1].
        uniform_BL: float [B, L] in (0, 1), the randomness.
        chosen: the noise schedule.
        mask_token_id: id of the mask token.
    """
    masked_BL = (uniform_BL < 1 - chosen.alpha(time_BL)) & trainable_BL
    return Corrupted(hide(tokens_BL, masked_BL, mask_token_id), masked_BL, time_BL)


def hide(tokens_BL: Tensor, masked_BL: Tensor, mask_token_id: int) -> Tensor:
    """Return the tokens with the mask token at the True positions of ``masked_BL``."""
    return torch.where(masked_BL, mask_token_id, tokens_BL)


def prepend_bos(batch: Batch, bos_token_id: int) -> Batch:
    """Put the beginning-of-sequence token, visible and not trained, before every row, where a row needs it.

    A model with shifted prediction scores a token by the output before it, so it cannot score a row's first token. A
    batch whose rows all begin with an untrained token needs nothing and is returned as it is: the rule of
    ZHZisZZ/dllm (dllm/core/trainers/mdlm.py, bd3lm.py), which looks at the whole batch.
    """
    if not bool(batch.trainable_BL[:, 0].any()):
        return batch
    column_B1 = torch.ones_like(batch.tokens_BL[:, :1])
    attention_BL = batch.attention_BL
    return Batch(
        torch.cat([bos_token_id * column_B1, batch.tokens_BL], dim=1),
        torch.cat([torch.zeros_like(column_B1, dtype=torch.bool), batch.trainable_BL], dim=1),
        None if attention_BL is None else torch.cat([column_B1.bool(), attention_BL], dim=1),
    )
