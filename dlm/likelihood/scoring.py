"""Log-probabilities of masked tokens: rows into one forward pass, numbers out.

Shapes: B rows, L positions, N masked positions of all rows, X of them at a time, V tokens, T targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dlm.diffusion.blocks import sample_mask, sample_positions

_GRAIN = 16
"""Columns of a batch are a multiple of it, as of a canvas, so that a row's numbers do not depend on its company."""
_WIDENED = 1 << 25
"""Logits that are widened to float64 at a time: 256 MiB."""


class LikelihoodModel(Protocol):
    """What is needed of a denoiser."""

    @property
    def mask_token_id(self) -> int:
        """Id of the mask token."""

    @property
    def vocab_size(self) -> int:
        """Scores a position, V."""

    @property
    def max_positions(self) -> int:
        """Longest sequence, in tokens."""

    @property
    def device(self) -> torch.device:
        """Where the tensors go."""

    def logits(
        self, tokens_BL: Tensor, attention: Tensor | None, at_BL: Tensor, positions_BL: Tensor | None = None
    ) -> Tensor:
        """Score the tokens at the True positions of ``at_BL``: float32 [N, V], row-major."""


class Row(NamedTuple):
    """A sequence with masked tokens."""

    before: tuple[int, ...]
    answer: tuple[int | None, ...]
    """Tokens of the answer; None: masked."""
    after: tuple[int, ...]
    prompt: int
    """Tokens of ``before`` that guidance masks."""

    @property
    def masked(self) -> tuple[int, ...]:
        """Indices of the masked tokens within the answer."""
        return tuple(index for index, token in enumerate(self.answer) if token is None)


class Scored(NamedTuple):
    """What a row says of the tokens that belong at its masked positions, in their order."""

    logp: list[float]
    """Their log-probabilities, in nats."""
    best: list[bool]
    """Whether each is the most probable token; on a tie, that of the lowest id is."""
    confidence: list[float]
    """Log-probability of the most probable token at each position."""


class Scorer:
    """Scores rows with a model.

    Args:
        model: the denoiser.
        guidance_scale: strength of classifier-free guidance; 0: without. The logits become u + (1 + scale) (c - u),
            with c the model's and u those of the row with a masked prompt (ML-GSAI/LLaDA, get_log_likelihood.py,
            `get_logits`).
        block_size: tokens of a block for block diffusion: a token sees its own block and those before it, counted from
            the beginning of the answer in both directions. None: every token sees every other.
    """

    def __init__(self, model: LikelihoodModel, guidance_scale: float = 0.0, block_size: int | None = None) -> None:
        self.model, self.guidance_scale, self.block_size = model, guidance_scale, block_size

    def score(self, rows: Sequence[Row], targets: Sequence[Sequence[Sequence[int]]]) -> list[list[Scored]]:
        """Score rows in one forward pass.

        Args:
            rows: each with at least one masked position.
            targets: for each row, the token ids at its masked positions: one sequence for each answer that shares it.

        Returns:
            For each row, what it says of each of its targets.
        """
        counts = [row.answer.count(None) for row in rows]
        logits_NV = self._logits(rows)
        first = torch.tensor([0, *counts]).cumsum(0).tolist()
        at = [place for begin, count, each in zip(first, counts, targets, strict=False)
              for _ in each for place in range(begin, begin + count)]  # fmt: skip
        wanted = [token for each in targets for answer in each for token in answer]
        found = zip(*_read(logits_NV, torch.tensor(at), torch.tensor(wanted)), strict=True)
        return [
            [Scored(*map(list, zip(*(next(found) for _ in range(count)), strict=True))) for _ in each]
            for count, each in zip(counts, targets, strict=True)
        ]

    def _logits(self, rows: Sequence[Row]) -> Tensor:
        """Return float32 [N, V], rows in order."""
        if not self.guidance_scale:
            return self._plain(rows)
        mask = self.model.mask_token_id
        hidden = [row._replace(before=(mask,) * row.prompt + row.before[row.prompt :]) for row in rows]
        conditional_NV, unconditional_NV = self._plain([*rows, *hidden]).chunk(2)
        return unconditional_NV + (1 + self.guidance_scale) * (conditional_NV - unconditional_NV)

    def _plain(self, rows: Sequence[Row]) -> Tensor:
        """Lay rows side by side and run the model.

        Under block-causal attention the answers begin in one column, a multiple of the block size, so that one mask
        fits all; else rows begin in the first column. What is left is padding that sees itself, since some kernels
        answer a query without keys with NaN, and that no token sees.
        """
        size = self.block_size
        start = 0 if size is None else max(-(-len(row.before) // size) * size for row in rows)
        begins = [0 if size is None else start - len(row.before) for row in rows]
        lengths = [len(row.before) + len(row.answer) + len(row.after) for row in rows]
        columns = max(begin + length for begin, length in zip(begins, lengths, strict=True))
        columns = max(columns, min(-(-columns // _GRAIN) * _GRAIN, self.model.max_positions))
        tokens_BL = torch.full((len(rows), columns), self.model.mask_token_id)
        valid_BL = torch.zeros(len(rows), columns, dtype=torch.bool)
        at_BL = torch.zeros_like(valid_BL)
        for index, (row, begin, length) in enumerate(zip(rows, begins, lengths, strict=True)):
            answer = [self.model.mask_token_id if token is None else token for token in row.answer]
            tokens_BL[index, begin : begin + length] = torch.tensor([*row.before, *answer, *row.after])
            valid_BL[index, begin : begin + length] = True
            at_BL[index, [begin + len(row.before) + place for place in row.masked]] = True
        device = self.model.device
        tokens_BL, valid_BL, at_BL = tokens_BL.to(device), valid_BL.to(device), at_BL.to(device)
        if size is None:
            return self.model.logits(tokens_BL, valid_BL, at_BL)
        sees_BLL = sample_mask(valid_BL, size)
        sees_BLL.diagonal(dim1=1, dim2=2).logical_or_(~valid_BL)
        return self.model.logits(tokens_BL, sees_BLL, at_BL, sample_positions(valid_BL))


def _read(logits_NV: Tensor, at_T: Tensor, targets_T: Tensor) -> tuple[list[float], list[bool], list[float]]:
    """Return each target's log-probability, whether it is the most probable token, and that token's log-probability.

    Args:
        logits_NV: float32.
        at_T: int64, the row of ``logits_NV`` that each target belongs to.
        targets_T: int64, token ids.
    """
    total, best, largest = [], [], []
    for logits_XV in logits_NV.split(max(1, _WIDENED // logits_NV.shape[1])):
        wide_XV = logits_XV.double()
        largest_X, best_X = wide_XV.max(dim=1)[0], wide_XV.argmax(dim=1)
        total.append(wide_XV.logsumexp(dim=1))
        best.append(best_X)
        largest.append(largest_X)
    total_N, best_N, largest_N = torch.cat(total), torch.cat(best), torch.cat(largest)
    at_T, targets_T = at_T.to(logits_NV.device), targets_T.to(logits_NV.device)
    logp_T = logits_NV[at_T, targets_T].double() - total_N[at_T]
    confidence_T = (largest_N - total_N)[at_T]
    return logp_T.tolist(), (best_N[at_T] == targets_T).tolist(), confidence_T.tolist()
