"""Scores: how sure the model is of each proposal; a step commits the highest.

Shapes: N open positions, V tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dlm.diffusion.noise import gumbel, uniform
from dlm.sampling.proposing import Where

_TOGETHER = {"cpu": 1 << 17}
"""Logits that are turned into float64 at a time: on a CPU few enough to stay in its caches."""
_CLOSE = 1e-4
"""Relative distance below which float32 is not trusted to rank probabilities; its own error is below 1e-5: that of
adding up to some hundred thousand exponentials in pairs, and of rounding the exponents of those that count."""
_ORDER_DRAWS = 3
"""Last counter of the order's noise, which keeps it apart from proposals (none), scores (1) and rules (2)."""


def probability_score(logits_NV: Tensor, token_N: Tensor, where: Where) -> Tensor:
    """Score by the probability of the proposed token, float64 [N]: `low_confidence` of ML-GSAI/LLaDA."""
    score_N = torch.empty(len(token_N), dtype=torch.float64, device=logits_NV.device)
    rows = max(1, _TOGETHER.get(logits_NV.device.type, 1 << 26) // logits_NV.shape[1])
    for begin in range(0, len(token_N), rows):
        part = slice(begin, begin + rows)
        values_CV = logits_NV[part].to(torch.float64)
        wanted_C = values_CV.gather(1, token_N[part, None])[:, 0]
        score_N[part] = torch.exp(wanted_C - values_CV.logsumexp(dim=1))
    return score_N


def contested_score(logits_NV: Tensor, token_N: Tensor, where: Where, open_BS: Tensor, count_B: Tensor) -> Tensor:
    """Score so that the ``count_B`` highest of each row are those of :func:`probability_score`, float64 [N].

    Where float32 leaves no doubt that a position is not among them, its score is that of float32, which is below
    theirs; float64 numbers over a whole vocabulary are dear.

    Args:
        logits_NV: float32 [N, V], of the True positions of ``open_BS`` in row-major order.
        token_N: int64 [N], the proposed tokens.
        where: identity of the positions.
        open_BS: bool [B, S].
        count_B: int64 [B].
    """
    wanted_N = logits_NV.gather(1, token_N[:, None])[:, 0]
    rough_N = torch.exp(wanted_N - logits_NV.logsumexp(dim=1)).to(torch.float64)
    rough_BS = torch.full(open_BS.shape, -1.0, dtype=torch.float64, device=open_BS.device)
    rough_BS[open_BS] = rough_N
    ranked_BS = rough_BS.sort(dim=1, descending=True).values
    last_B1 = (count_B.clamp(max=open_BS.shape[1]) - 1).clamp(min=0)[:, None]
    contested_BS = (rough_BS >= ranked_BS.gather(1, last_B1) * (1 - _CLOSE)) & (count_B > 0)[:, None]
    contested_N = contested_BS[open_BS]
    part = Where(where.seed, *(each[contested_N] for each in where[1:]))
    rough_N[contested_N] = probability_score(logits_NV[contested_N], token_N[contested_N], part)
    return rough_N


def random_score(logits_NV: Tensor, token_N: Tensor, where: Where) -> Tensor:
    """Score by a uniform number, float64 [N]: commits open positions in random order."""
    # The last counter keeps these numbers apart from the Gumbel noise of the same position.
    return uniform(where.seed, where.stream_N, 1, where.step_N, where.position_N, 1)[:, 0]


def margin_score(logits_NV: Tensor, token_N: Tensor, where: Where) -> Tensor:
    """Score by the difference of the two largest probabilities, float64 [N]: Dream's `topk_margin`."""
    logits_NV = logits_NV.to(torch.float64)
    top_N2 = torch.exp(logits_NV.topk(2, dim=1).values - logits_NV.logsumexp(dim=1, keepdim=True))
    return top_N2[:, 0] - top_N2[:, 1]


def negative_entropy_score(logits_NV: Tensor, token_N: Tensor, where: Where) -> Tensor:
    """Score by the sum of p log p in nats, float64 [N], at most 0: Dream's `entropy`."""
    probability_NV = logits_NV.to(torch.float64).softmax(dim=1)
    return torch.xlogy(probability_NV, probability_NV).sum(dim=1)


SCORES = {
    "low_confidence": probability_score,
    "random": random_score,
    "topk_margin": margin_score,
    "negative_entropy": negative_entropy_score,
}


def draw_order(score_N: Tensor, temperature: float, where: Where) -> Tensor:
    """Return scores whose k highest are k positions drawn without replacement, each by exp(score / temperature).

    Dream's `alg_temp` (generation_utils.py, `multinomial`), by the Gumbel top-k draw (Kool et al., arXiv 1903.06059).

    Args:
        score_N: float64 [N].
        temperature: above 0.
        where: identity of the positions.

    Returns:
        float64 [N].
    """
    noise_N = gumbel(where.seed, where.stream_N, 1, where.step_N, where.position_N, _ORDER_DRAWS)[:, 0]
    return score_N / temperature + noise_N
