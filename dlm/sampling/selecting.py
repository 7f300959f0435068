"""Selectors: which of the scored proposals a step commits, as one boolean mask.

Shapes: B rows, S positions of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlm.diffusion import Schedule


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


def schedule_counts(open_B: Tensor, steps: int, schedule: Schedule) -> Tensor:
    """Split each row's open positions over the steps as a noise schedule would reveal them.

    The step from time t to s reveals the share 1 - (1 - alpha(s)) / (1 - alpha(t)) of what is still open, rounded half
    to even; steps that reveal nothing are removed (ZHZisZZ/dllm, dllm/core/samplers/utils.py,
    `get_num_transfer_tokens`). Ties are common, so the arithmetic is that of the source: alpha and the ratio in
    float32, the rest in float64.

    Args:
        open_B: int64 [B], open positions at the start of the block.
        steps: steps of the block before the removal (>= 1).
        schedule: alpha.

    Returns:
        int64 [B, T], T the largest number of steps that a row has left; shorter rows end in zeros.
    """
    time = torch.arange(steps, -1, -1, dtype=torch.float64).div(steps).to(torch.float32)
    masked = 1 - schedule.alpha(time)
    shares = (1 - (masked[1:] / masked[:-1]).to(torch.float64)).to(open_B.device)
    rest_B, counts = open_B, []
    for share in shares:
        counts.append(torch.minimum((rest_B * share).round().to(torch.int64), rest_B))
        rest_B = rest_B - counts[-1]
    count_BT = torch.stack(counts, dim=1)
    order_BT = (count_BT == 0).int().argsort(dim=1, stable=True)  # what reveals something first, in its order
    return count_BT.gather(1, order_BT)[:, : int((count_BT > 0).sum(dim=1).max())]


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
