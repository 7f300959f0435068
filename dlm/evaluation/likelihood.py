"""The Monte-Carlo bound on the log-likelihood of an answer under a masked diffusion model.

LLaDA (arXiv 2502.09992, eq. 6): mask k of the answer's A tokens, k uniform on 1..A, which ones uniform without
replacement, never the context. With l_M = (A / k) * sum over the masked i of log p(token i | what is visible), the mean
of l_M over maskings is a lower bound of the log-likelihood. The average of n independent maskings is an unbiased
estimate of that bound. (The published code spreads its k over a batch and rounds: less variance, but biased at some
batch sizes. That is not what is done here.)

A masking is a function of (seed, context, answer length, sample index): batch size and company change no bit of it, and
choices of equal length after one context are compared on common maskings.

Shapes: B rows, L positions, A answer positions, N masked positions, V tokens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from dlm.diffusion.noise import uniform
from dlm.evaluation.request import stream_of
from dlm.settings import LikelihoodSettings

_ROWS_AT_ONCE = 256  # rows of logits widened to float64 at a time: 256 x 126,464 tokens are 260 MB


class LikelihoodModel(Protocol):
    """What is needed of a denoiser."""

    @property
    def mask_token_id(self) -> int:
        """Id of the mask token."""

    @property
    def device(self) -> torch.device:
        """Where the tensors go."""

    def logits(self, tokens_BL: Tensor, attention_BL: Tensor | None, at_BL: Tensor) -> Tensor:
        """Score the tokens at the True positions of ``at_BL``: float32 [N, V], row-major."""


@dataclass(frozen=True)
class Answer:
    """A context and the answer to it, as token ids."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.context) + len(self.tokens)


@dataclass(frozen=True)
class Estimate:
    """An estimated log-likelihood, in nats for the whole answer."""

    loglikelihood: float
    stderr: float | None
    """Monte-Carlo standard error, sd / sqrt(samples); 0 for an exact value, None for a single sample."""
    greedy: bool
    """Whether greedy decoding gives the answer: known for one token, False (meaning: not established) for more."""
    forward_passes: int
    """Rows that were run through the model."""
    seconds: float
    """Its share of the seconds of the batches it took part in."""


@dataclass
class _Tally:
    """What is known so far of one answer."""

    answer: Answer
    samples: int
    terms: dict[int, float] = field(default_factory=dict)
    greedy: bool = False
    seconds: float = 0.0

    def estimate(self) -> Estimate:
        values = [self.terms[sample] for sample in range(self.samples)]
        mean = math.fsum(values) / len(values)
        return Estimate(mean, self._stderr(values, mean), self.greedy, len(values), self.seconds)

    def _stderr(self, values: list[float], mean: float) -> float | None:
        if len(self.answer.tokens) == 1:
            return 0.0
        if len(values) == 1:
            return None
        variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
        return math.sqrt(variance / len(values))


def estimate(
    model: LikelihoodModel, answers: Sequence[Answer], settings: LikelihoodSettings, *, seed: int, batch_size: int
) -> Iterator[list[tuple[int, Estimate]]]:
    """Estimate the log-likelihood of each answer after its context.

    Answers of one token need no sampling: one pass is exact.

    Args:
        model: the denoiser.
        answers: with at least one token each.
        settings: how many maskings an answer gets.
        seed: of all maskings.
        batch_size: rows of a forward pass; does not change the maskings.

    Yields:
        After each forward pass, the (index, estimate) of the answers that it completed; the longest come first.
    """
    tallies = [_Tally(answer, 1 if len(answer.tokens) == 1 else settings.samples) for answer in answers]
    order = sorted(range(len(answers)), key=lambda index: (-answers[index].length, len(answers[index].tokens), index))
    rows = [(index, sample) for index in order for sample in range(tallies[index].samples)]
    for begin in range(0, len(rows), batch_size):
        batch = rows[begin : begin + batch_size]
        _run(model, [(tallies[index], sample) for index, sample in batch], seed)
        done = dict.fromkeys(index for index, _ in batch)
        yield [(i, tallies[i].estimate()) for i in done if len(tallies[i].terms) == tallies[i].samples]


def _run(model: LikelihoodModel, batch: list[tuple[_Tally, int]], seed: int) -> None:
    """Run one forward pass and add each row's term to its tally."""
    began = time.perf_counter()
    answers = [tally.answer for tally, _ in batch]
    masked_BA = draw_masks(answers, [sample for _, sample in batch], seed)
    terms_B, best_B = _score(model, answers, masked_BA)
    seconds = (time.perf_counter() - began) / len(batch)
    for (tally, sample), term, best in zip(batch, terms_B, best_B, strict=True):
        tally.terms[sample] = term
        tally.greedy = best and len(tally.answer.tokens) == 1
        tally.seconds += seconds


def draw_masks(answers: Sequence[Answer], samples: Sequence[int], seed: int) -> Tensor:
    """Draw which answer tokens are masked.

    Args:
        answers: B of them.
        samples: index of the masking, for each.
        seed: of all maskings.

    Returns:
        bool [B, A], A the longest answer's length; False beyond a row's own. A row's masking depends on nothing else.
    """
    streams_B = torch.tensor([stream_of("likelihood", answer.context, len(answer.tokens)) for answer in answers])
    length_B = torch.tensor([len(answer.tokens) for answer in answers])
    longest = int(length_B.max())
    noise_BX = uniform(seed, streams_B, longest + 1, torch.tensor(samples))
    count_B = 1 + (noise_BX[:, 0] * length_B).long()
    beyond_BA = torch.arange(longest) >= length_B[:, None]
    order_BA = noise_BX[:, 1:].masked_fill(beyond_BA, 2.0).argsort(dim=1, stable=True)
    rank_BA = order_BA.argsort(dim=1)
    return rank_BA < count_B[:, None]


def _score(model: LikelihoodModel, answers: Sequence[Answer], masked_BA: Tensor) -> tuple[list[float], list[bool]]:
    """Return each row's term (A / k) * sum of log p, and whether every masked token is the most probable one."""
    length = max(answer.length for answer in answers)
    tokens_BL = torch.full((len(answers), length), model.mask_token_id)
    at_BL = torch.zeros(len(answers), length, dtype=torch.bool)
    for row, answer in enumerate(answers):
        tokens_BL[row, : answer.length] = torch.tensor(answer.context + answer.tokens)
        at_BL[row, len(answer.context) : answer.length] = masked_BA[row, : len(answer.tokens)]
    targets_N, row_N = tokens_BL[at_BL], at_BL.nonzero()[:, 0]
    attention_BL = torch.arange(length) < torch.tensor([answer.length for answer in answers])[:, None]
    visible_BL = tokens_BL.masked_fill(at_BL, model.mask_token_id)
    logits_NV = model.logits(*(part.to(model.device) for part in (visible_BL, attention_BL, at_BL)))
    logp_N, best_N = log_probabilities(logits_NV, targets_N.to(logits_NV.device))
    weight_B = torch.tensor([len(answer.tokens) for answer in answers]) / masked_BA.sum(1).double()
    sum_B = torch.zeros(len(answers), dtype=torch.float64).index_add_(0, row_N, logp_N)
    wrong_B = torch.zeros(len(answers), dtype=torch.int64).index_add_(0, row_N, (~best_N).long())
    return (weight_B * sum_B).tolist(), (wrong_B == 0).tolist()


def log_probabilities(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p of each target, float64 [N], and whether it is the most probable token, bool [N]; on the CPU."""
    logp, best = [], []
    for logits_XV, targets_X in zip(logits_NV.split(_ROWS_AT_ONCE), targets_N.split(_ROWS_AT_ONCE), strict=True):
        wide_XV = logits_XV.double()
        chosen_X = wide_XV.gather(1, targets_X[:, None])[:, 0]
        logp.append((chosen_X - wide_XV.logsumexp(dim=1)).cpu())
        best.append((wide_XV.argmax(dim=1) == targets_X).cpu())
    return torch.cat(logp), torch.cat(best)
