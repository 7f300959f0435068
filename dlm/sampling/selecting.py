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


def schedule_shares(steps: int, schedule: Schedule) -> Tensor:
    """Return the share of the open positions that each step of a noise schedule reveals, float64 [steps].

    In the arithmetic of ZHZisZZ/dllm: alpha and the ratio in float32, 1 - ratio in float64.
    """
    time = torch.arange(steps, -1, -1, dtype=torch.float64).div(steps).to(torch.float32)
    masked = 1 - schedule.alpha(time)
    return 1 - (masked[1:] / masked[:-1]).to(torch.float64)


def schedule_counts(open_B: Tensor, steps: int, schedule: Schedule) -> Tensor:
    """Split each row's open positions over the steps as a noise schedule would reveal them.

    The step from time t to s reveals the share 1 - (1 - alpha(s)) / (1 - alpha(t)) of what is still open, rounded half
    to even; steps that reveal nothing are removed (ZHZisZZ/dllm, dllm/core/samplers/utils.py,
    `get_num_transfer_tokens`). Ties are common, so the arithmetic is that of the source: alpha and the ratio in
    float32, the rest in float64.

    Args:
        open_B: int64 [B], open positions at the start of the block.
        steps: steps of the block before the removal (>= 1).
        schedule: the noise schedule, whose alpha(t) is the share of tokens kept at time t.

    Returns:
        int64 [B, T], T the largest number of steps that a row has left; shorter rows end in zeros.
    """
    shares = schedule_shares(steps, schedule).to(open_B.device)
    rest_B, counts = open_B, []
    for share in shares:
        counts.append(torch.minimum((rest_B * share).round().to(torch.int64), rest_B))
        rest_B = rest_B - counts[-1]
    return without_zeros(torch.stack(counts, dim=1))


def without_zeros(count_BT: Tensor) -> Tensor:
    """Move each row's steps that commit something to the front, in their order, and cut what no row uses.

    Args:
        count_BT: int64 [B, T], tokens of each step.

    Returns:
        int64 [B, T'], T' the largest number of steps that a row has left; shorter rows end in zeros.
    """
    order_BT = (count_BT == 0).int().argsort(dim=1, stable=True)
    return count_BT.gather(1, order_BT)[:, : int((count_BT > 0).sum(dim=1).max())]


def floor_counts(open_B: Tensor, steps: int, epsilon: float, *, begun: int = 0) -> Tensor:
    """Split each row's open positions over the steps as Dream does: whole tokens of a falling time, the rest at last.

    The times fall evenly from 1 to ``epsilon``; the step from t to s reveals the share 1 - s/t of what is still open,
    rounded down in float32, and the last step all of it. A step that reveals nothing stays (Dream's
    generation_utils.py, `_sample`, where the open positions are a batch's mean, in a batch of one a row's own).

    Args:
        open_B: int64 [B], open positions at the start.
        steps: steps of the generation (>= 1).
        epsilon: the smallest time.
        begun: steps that went before, whose times are over; what is open now is theirs no more (< steps).

    Returns:
        int64 [B, steps - begun].
    """
    time = torch.linspace(1, epsilon, steps + 1)[begun:]
    shares = (1 - time[1:] / time[:-1]).to(open_B.device)
    rest_B, counts = open_B, []
    for share in shares[:-1]:
        counts.append((rest_B.float() * share).long())
        rest_B = rest_B - counts[-1]
    return torch.stack([*counts, rest_B], dim=1)


def select_by_threshold(score_BS: Tensor, open_BS: Tensor, threshold: float, most_B: Tensor) -> Tensor:
    """Mark the scores from a threshold on, no more than ``most_B`` of a row, and always the highest.

    The rule of NVlabs/Fast-dLLM (llada/generate.py, `get_transfer_index`; dream/model/generation_utils.py for the
    limit), arXiv 2505.22618, section 3.3.

    Args:
        score_BS: float64 [B, S]; ignored where not open.
        open_BS: bool [B, S].
        threshold: in the scores' unit.
        most_B: int64 [B].

    Returns:
        bool [B, S].
    """
    sure_B = ((score_BS >= threshold) & open_BS).sum(dim=1)
    return select_highest(score_BS, open_BS, torch.minimum(sure_B, most_B).clamp(min=1))


def select_by_factor(score_BS: Tensor, open_BS: Tensor, factor: float, *, last_rank: bool = False) -> Tensor:
    """Mark the highest scores as long as the r-th highest is at least 1 - factor / (r + 1), and always the highest.

    The rule of ZHZisZZ/dllm (dllm/pipelines/fastdllm/llada/sampler.py, `_get_transfer_index`) from Fast-dLLM
    (arXiv 2505.22618, section 3.3).

    Args:
        score_BS: float64 [B, S], probabilities; ignored where not open.
        open_BS: bool [B, S].
        factor: above 0; the larger, the more is committed at once.
        last_rank: also take the last of the open positions when it alone falls short (inclusionAI/dInfer,
            parallel_strategy.py, `get_transfer_index_dynamic`).

    Returns:
        bool [B, S].
    """
    sorted_BS = score_BS.masked_fill(~open_BS, float("-inf")).sort(dim=1, descending=True).values
    rank_S = torch.arange(1, score_BS.shape[1] + 1, device=score_BS.device, dtype=torch.float64)
    high_BS = sorted_BS >= 1 - factor / (rank_S + 1)
    count_B = high_BS.int().cumprod(dim=1).sum(dim=1)
    if last_rank:
        size_B = open_BS.sum(dim=1)
        count_B = torch.where(count_B == size_B - 1, size_B, count_B)
    return select_highest(score_BS, open_BS, count_B.clamp(min=1))


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
