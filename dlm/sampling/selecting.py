"""Selectors: which of the scored proposals a step commits, as one boolean mask.

Shapes: B rows, S positions of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor


def even_counts(open_B: Tensor, steps: int) -> Tensor:
    """Split each row's open positions evenly over the steps, the remainder to the first steps.

    Ten positions in four steps give 3, 3, 2, 2 (ML-GSAI/LLaDA, generate.py, `get_num_transfer_tokens`).

    Args:
        open_B: int64 [B], open positions at the start of the block.
        steps: steps of the block.

    Returns:
        int64 [B, steps].
    """
    base_B, rest_B = open_B // steps, open_B % steps
    return base_B[:, None] + (torch.arange(steps, device=open_B.device)[None, :] < rest_B[:, None])


def select_highest(score_BS: Tensor, open_BS: Tensor, count_B: Tensor) -> Tensor:
    """Mark the ``count_B`` highest scores among the open positions of each row; ties go to the lowest position.

    Args:
        score_BS: float64 [B, S]; ignored where not open.
        open_BS: bool [B, S].
        count_B: int64 [B].

    Returns:
        bool [B, S].
    """
    ranked_BS = score_BS.masked_fill(~open_BS, float("-inf"))
    order_BS = ranked_BS.argsort(dim=1, descending=True, stable=True)
    rank_BS = torch.empty_like(order_BS).scatter_(
        1, order_BS, torch.arange(score_BS.shape[1], device=score_BS.device).expand_as(order_BS).contiguous()
    )
    return (rank_BS < count_B[:, None]) & open_BS
