"""Proposers: a token for each open position.

Shapes: N open positions, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dlm.diffusion.noise import gumbel
from dlm.errors import SettingsError
from dlm.settings import Proposer

_PIECE = 256
"""Logits of which the largest is found first."""


class Where(NamedTuple):
    """Identity of N open positions, for their random numbers."""

    seed: int
    stream_N: Tensor
    """int64 [N], the row's key."""
    position_N: Tensor
    """int64 [N], index within the answer."""
    step_N: Tensor
    """int64 [N], the row's step, counted over all its blocks."""


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


def filtered(logits_NV: Tensor, settings: Proposer, banned: list[int]) -> Tensor:
    """Return the logits, [N, V], with those that top_p and top_k leave out at -inf; where neither is set, as they are.

    Given as float32; float64 where something is left out.

    The tokens are ranked by probability after the temperature, the lowest id first on a tie. Banned tokens count in the
    sum and the number; the most probable of the others always stays, so that there is something to draw.
    """
    if settings.top_p is None and settings.top_k is None:
        return logits_NV
    values_NV = logits_NV.to(torch.float64)
    tempered_NV = values_NV / settings.temperature if settings.temperature > 0 else values_NV
    order_NV = tempered_NV.argsort(dim=1, descending=True, stable=True)
    kept_NV = torch.ones_like(order_NV, dtype=torch.bool)
    if settings.top_p is not None:
        sorted_NV = tempered_NV.softmax(dim=1).gather(1, order_NV)
        kept_NV &= sorted_NV.cumsum(dim=1) - sorted_NV <= settings.top_p
    if settings.top_k is not None:
        kept_NV &= torch.arange(kept_NV.shape[1], device=kept_NV.device) < settings.top_k
    kept_NV = torch.zeros_like(kept_NV).scatter_(1, order_NV, kept_NV)
    kept_NV.scatter_(1, without(values_NV, banned).argmax(dim=1, keepdim=True), True)
    return values_NV.masked_fill(~kept_NV, float("-inf"))


def most_probable(logits_NV: Tensor) -> Tensor:
    """Return ``logits_NV.argmax(dim=1)``, int64 [N], the lowest id on a tie; on a CPU in a fraction of the time.

    There the largest numbers of pieces are found by vector instructions, their places one by one.
    """
    vocabulary = logits_NV.shape[1]
    if logits_NV.device.type != "cpu" or vocabulary < 2 * _PIECE:
        return logits_NV.argmax(dim=1)
    whole = vocabulary // _PIECE * _PIECE
    largest = logits_NV[:, :whole].unflatten(1, (-1, _PIECE)).amax(dim=2)
    if whole < vocabulary:
        largest = torch.cat([largest, logits_NV[:, whole:].amax(dim=1, keepdim=True)], dim=1)
    # The last piece begins earlier, so that it is whole; what it repeats is not larger.
    first_N = (largest.argmax(dim=1) * _PIECE).clamp(max=vocabulary - _PIECE)
    place_NP = first_N[:, None] + torch.arange(_PIECE)
    return first_N + logits_NV.gather(1, place_NP).argmax(dim=1)


def propose(logits_NV: Tensor, settings: Proposer, banned: list[int], where: Where) -> Tensor:
    """Draw a token for each position, int64 [N].

    Temperature 0 takes the most probable token, the lowest id on a tie. Above 0 it is the Gumbel-max draw
    argmax(logits + T g), in float64 as ML-GSAI/LLaDA (generate.py, `add_gumbel_noise`) does, with g a function of
    (seed, prompt, step, position).

    Args:
        logits_NV: float32 or float64 [N, V], filtered.
        settings: of the draw.
        banned: tokens that are never drawn.
        where: identity of the positions.
    """
    if settings.temperature > 0:
        noise_NV = gumbel(where.seed, where.stream_N, logits_NV.shape[1], where.step_N, where.position_N)
        return without(logits_NV.to(torch.float64) + settings.temperature * noise_NV, banned).argmax(dim=1)
    token_N = most_probable(logits_NV)
    # Banned tokens are seldom the most probable, and to write -inf over theirs copies all logits.
    banned_N = torch.isin(token_N, torch.tensor(banned, dtype=token_N.dtype, device=token_N.device))
    if bool(banned_N.any()):
        token_N[banned_N] = without(logits_NV[banned_N], banned).argmax(dim=1)
    return token_N
