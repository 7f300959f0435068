"""Proposers: a token and a score for each open position.

Shapes: N open positions, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlm.diffusion.noise import gumbel, uniform
from dlm.errors import SettingsError
from dlm.settings import Proposer


class Where(NamedTuple):
    """Identity of N open positions, for their random numbers."""

    seed: int
    stream_N: Tensor
    """int64 [N], the row's key."""
    position_N: Tensor
    """int64 [N], index within the answer."""
    step: int


def token_ids(name: str, tokens: Sequence[int | str], tokenizer: Any, vocab_size: int) -> list[int]:
    """Return the ids of tokens that are given by id or text, ascending.

    Raises:
        SettingsError: a token that the vocabulary does not have; ``name`` is the setting.
    """
    ids = set()
    for token in tokens:
        number = token if isinstance(token, int) else tokenizer.get_vocab().get(token)
        if number is None or not 0 <= number < vocab_size:
            raise SettingsError(
                f"{name}: {token!r} is not in the vocabulary of {vocab_size} tokens; give a token's id or text"
            )
        ids.add(number)
    return sorted(ids)


def without(logits_NV: Tensor, tokens: list[int]) -> Tensor:
    """Return the logits with those of some tokens at -inf; the logits themselves where there are none."""
    if not tokens:
        return logits_NV
    return logits_NV.index_fill(1, torch.tensor(tokens, device=logits_NV.device), float("-inf"))


def propose(logits_NV: Tensor, settings: Proposer, banned: list[int], where: Where) -> Tensor:
    """Draw a token for each position, int64 [N].

    Temperature 0 takes the most probable token, the lowest id on a tie. Above 0 it is the Gumbel-max draw
    argmax(logits + T g), in float64 as ML-GSAI/LLaDA (generate.py, `add_gumbel_noise`) does, with g a function of
    (seed, prompt, step, position).
    """
    values_NV = logits_NV.to(torch.float64)
    if settings.temperature > 0:
        noise_NV = gumbel(where.seed, where.stream_N, logits_NV.shape[1], where.step, where.position_N)
        values_NV = values_NV + settings.temperature * noise_NV
    return without(values_NV, banned).argmax(dim=1)


def probability_score(logits_NV: Tensor, token_N: Tensor, where: Where) -> Tensor:
    """Score by the probability of the proposed token, float64 [N]: `low_confidence` of ML-GSAI/LLaDA."""
    logits_NV = logits_NV.to(torch.float64)
    return torch.exp(logits_NV.gather(1, token_N[:, None])[:, 0] - logits_NV.logsumexp(dim=1))


def random_score(logits_NV: Tensor, token_N: Tensor, where: Where) -> Tensor:
    """Score by a uniform number, float64 [N]: commits open positions in random order."""
    # The last counter keeps these numbers apart from the Gumbel noise of the same position.
    return uniform(where.seed, where.stream_N, 1, where.step, where.position_N, 1)[:, 0]


SCORES = {"low_confidence": probability_score, "random": random_score}
