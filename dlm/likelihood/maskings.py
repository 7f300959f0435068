"""Which of an answer's tokens are masked, sample by sample, and with which weight each masking counts.

With p(i | S) the model's probability of token i where the tokens S of the answer are masked, the bound is

    L = E over k uniform on 1..A of E over S of size k of (A / k) * sum over i in S of log p(i | S),

a lower bound of the log-likelihood of A tokens (LLaDA, arXiv 2502.09992, eq. 6; the expectation over all orders of
decoding, one token at a time). A design gives maskings S and weights w such that the sum of w * sum of log p estimates
it. Designs are functions of (seed, context, A, window): choices of equal length after one context see the same,
windows of texts do not.

Shapes: R replicates, M maskings of a replicate, A answer positions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from dlm.diffusion.noise import uniform
from dlm.files import digest
from dlm.settings import DreamMasks, LikelihoodSettings, LLaDAMasks


class Masking(NamedTuple):
    """One sample."""

    masked: tuple[int, ...]
    """Indices into the answer, ascending."""
    weight: float
    """What the masked tokens' log-probabilities are multiplied by in their replicate's sum."""
    replicate: int


@dataclass(frozen=True)
class Design:
    """All samples of an answer: each replicate's weighted sum is an estimate, and their mean the result."""

    maskings: Sequence[Masking]
    replicates: int
    exact: bool = False
    """Whether there is nothing random in it."""

    @cached_property
    def masked(self) -> frozenset[tuple[int, ...]]:
        """The distinct maskings; one that hides nothing, and so needs no pass, is none."""
        return frozenset(masking.masked for masking in self.maskings if masking.masked)


def design(length: int, context: tuple[int, ...], settings: LikelihoodSettings, seed: int, *, part: int = 0) -> Design:
    """Choose the maskings of answers of ``length`` tokens after a context; each window of a text has its own."""
    if length == 1:  # under every rule, the one masking has this expectation
        return Design([Masking((0,), 1.0, 0)], 1, exact=True)
    stream = int(digest(["likelihood", context, length, part])[:15], 16)
    if isinstance(settings.masks, LLaDAMasks):
        return _llada(length, settings.samples, settings.masks.batch_size, seed, stream)
    if isinstance(settings.masks, DreamMasks):
        return _dream(length, settings.samples, settings.masks, seed, stream)
    if length < 63 and 2**length - 1 <= settings.samples:
        return _every(length)
    replicates = settings.masks.replicates or math.isqrt(2 * settings.samples)
    return _stratified(length, settings.samples, replicates, seed, stream)


def _every(length: int) -> Design:
    """All 2^A - 1 maskings: no more passes than samples, and no error."""
    maskings = [
        Masking(masked, 1 / (count * math.comb(length, count)), 0)
        for count in range(1, length + 1)
        for masked in itertools.combinations(range(length), count)
    ]
    return Design(maskings, 1, exact=True)


def _stratified(length: int, samples: int, replicates: int, seed: int, stream: int) -> Design:
    """Spread a replicate's numbers of masked tokens evenly, and its masked tokens over the answer.

    The j-th of a replicate's M maskings hides k = 1 + floor(A (j + U) / M) tokens, one U for all: the average over j of
    any function of k has the expectation that k uniform on 1..A gives it, so nothing is biased. The tokens are taken in
    turn from one random order of the answer, round and round, so that none is left out while another is taken twice;
    each masking by itself is uniform among those of its size. Replicates are independent.
    """
    sizes = [samples // replicates + (index < samples % replicates) for index in range(replicates)]
    noise_RX = uniform(seed, torch.full((replicates,), stream), length + 1, torch.arange(replicates))
    maskings = []
    for replicate, (size, noise_X) in enumerate(zip(sizes, noise_RX, strict=True)):
        order, taken = noise_X[1:].argsort(stable=True).tolist(), 0
        for index in range(size):
            count = min(1 + math.floor(length * (index + float(noise_X[0])) / size), length)
            masked = tuple(sorted(order[(taken + offset) % length] for offset in range(count)))
            maskings.append(Masking(masked, length / (count * size), replicate))
            taken += count
    return Design(maskings, replicates)


def _llada(length: int, samples: int, batch_size: int, seed: int, stream: int) -> Design:
    """ML-GSAI/LLaDA, get_log_likelihood.py, `forward_process`: :func:`llada_counts` from a random start, each masking
    with an order of its own; a batch is a replicate.
    """
    noise_RMX = _noise(samples // batch_size, batch_size, length + 1, seed, stream)
    maskings = []
    for replicate, noise_MX in enumerate(noise_RMX):
        start = min(1 + math.floor(length * float(noise_MX[0, 0])), length)
        for count, noise_X in zip(llada_counts(start, length, batch_size), noise_MX, strict=True):
            masked = tuple(sorted(noise_X[1:].argsort(stable=True)[:count].tolist()))
            maskings.append(Masking(masked, length / (count * batch_size), replicate))
    return Design(maskings, len(noise_RMX))


def llada_counts(start: int, length: int, batch_size: int) -> list[int]:
    """Return a batch's numbers of masked tokens in ML-GSAI/LLaDA's `forward_process`, from 1 to ``length``.

    Evenly spaced from ``start``, ``length / batch_size`` apart, in float32; rounded half to even; wrapped. Averaged
    over ``start``, the numbers are not uniform at some batch sizes.
    """
    last = start + (batch_size - 1) * (length / batch_size)
    return [(round(each) - 1) % length + 1 for each in torch.linspace(start, last, batch_size).tolist()]


def _dream(length: int, samples: int, masks: DreamMasks, seed: int, stream: int) -> Design:
    """Dream's evaluation (DreamLM/Dream, its lm-eval model, `_forward_process` and `_eval_target_nll_mc`).

    The j-th of a batch's M maskings has t = (U + j / M) mod 1, one U for all, and hides each token with probability
    p = epsilon + (1 - epsilon) t, weighted by 1 / p; a batch is a replicate. A masking may hide nothing. At epsilon 0
    the expectation is the bound; above it, maskings of few tokens are rarer than the bound has them.
    """
    noise_RMX = _noise(samples // masks.batch_size, masks.batch_size, length + 1, seed, stream)
    index_M = torch.arange(masks.batch_size)
    rate_RM = masks.epsilon + (1 - masks.epsilon) * ((noise_RMX[:, :1, 0] + index_M / masks.batch_size) % 1)
    masked_RMA = noise_RMX[:, :, 1:] < rate_RM[:, :, None]
    maskings = [
        Masking(
            tuple(masked_RMA[replicate, index].nonzero()[:, 0].tolist()),
            1 / (float(rate_RM[replicate, index]) * masks.batch_size),
            replicate,
        )
        for replicate in range(len(noise_RMX))
        for index in range(masks.batch_size)
    ]
    return Design(maskings, len(noise_RMX))


def _noise(replicates: int, size: int, numbers: int, seed: int, stream: int) -> Tensor:
    """Uniform numbers, float64 [R, M, numbers]."""
    rows = replicates * size
    counters = (torch.arange(rows) // size, torch.arange(rows) % size)
    return uniform(seed, torch.full((rows,), stream), numbers, *counters).view(replicates, size, numbers)
