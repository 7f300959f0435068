"""The forward process of masked diffusion: which tokens a time hides.

Shapes: B rows, L positions.
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
    time_B: Tensor
    """float32 [B], in [epsilon, 1)."""


def draw_times(seed: int, streams_B: Tensor, step: int, epsilon: float) -> Tensor:
    """Draw one time a row, uniform in [epsilon, 1): t = epsilon + (1 - epsilon) u. float32 [B]."""
    u_B = uniform(seed, streams_B, 1, step, 0)[:, 0].to(torch.float32)
    return epsilon + (1 - epsilon) * u_B


def corrupt(
    tokens_BL: Tensor, trainable_BL: Tensor, time_B: Tensor, uniform_BL: Tensor, chosen: Schedule, mask_token_id: int
) -> Corrupted:
    """Mask each trainable token independently with probability 1 - alpha(t).

    Args:
        tokens_BL: int64 [B, L], clean.
        trainable_BL: bool [B, L]; a False position is never masked.
        time_B: float32 [B].
        uniform_BL: float [B, L] in (0, 1), the randomness.
        chosen: the noise schedule.
        mask_token_id: id of the mask token.
    """
    hidden_B = 1 - chosen.alpha(time_B)
    masked_BL = (uniform_BL < hidden_B[:, None]) & trainable_BL
    return Corrupted(torch.where(masked_BL, mask_token_id, tokens_BL), masked_BL, time_B)
