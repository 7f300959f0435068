"""The Monte-Carlo bound: against exact enumeration, and the same in any batch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from dlm.evaluation.likelihood import Answer, Estimate, draw_masks, estimate, log_probabilities
from dlm.settings import LikelihoodSettings

VOCABULARY, MASK = 7, 6


class CountingModel:
    """Logits from the visible tokens and their distances, row by row: exact in any batch. Counts its rows."""

    mask_token_id = MASK
    device = torch.device("cpu")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.table = torch.randn(40, VOCABULARY, VOCABULARY, generator=generator)
        self.rows = self.calls = 0

    def logits(self, tokens_BL: Tensor, attention_BL: Tensor | None, at_BL: Tensor) -> Tensor:
        assert attention_BL is not None
        assert bool((tokens_BL[at_BL] == MASK).all())
        self.rows, self.calls = self.rows + len(tokens_BL), self.calls + 1
        found = []
        for tokens_L, attention_L, at_L in zip(tokens_BL, attention_BL, at_BL, strict=True):
            length = int(attention_L.sum())
            found += [self.one(tokens_L[:length].tolist(), position) for position in at_L.nonzero()[:, 0].tolist()]
        return torch.stack(found)

    def one(self, tokens: list[int], position: int) -> Tensor:
        score_V = torch.zeros(VOCABULARY)
        for other, token in enumerate(tokens):
            if token != MASK:
                score_V = score_V + self.table[other - position + 20, token]
        return score_V


def run(
    answers: list[Answer], samples: int, seed: int = 0, batch_size: int = 5
) -> tuple[list[Estimate], CountingModel]:
    model = CountingModel()
    settings = LikelihoodSettings(samples=samples)
    batches = list(estimate(model, answers, settings, seed=seed, batch_size=batch_size))
    found = dict(pair for batch in batches for pair in batch)
    assert sum(len(batch) for batch in batches) == len(found) == len(answers)
    return [found[index] for index in range(len(answers))], model


def term(answer: Answer, masked: Iterable[int]) -> float:
    """(A / k) * the sum of log p over the masked tokens, from the definition."""
    chosen, start = list(masked), len(answer.context)
    tokens = list(answer.context + answer.tokens)
    for index in chosen:
        tokens[start + index] = MASK
    model = CountingModel()
    logp = [model.one(tokens, start + index).double().log_softmax(0)[answer.tokens[index]].item() for index in chosen]
    return len(answer.tokens) / len(chosen) * math.fsum(logp)


def exact(answer: Answer) -> float:
    """The expectation: k uniform on 1..A, then every pattern of k equally likely."""
    size = len(answer.tokens)
    by_count = [
        [term(answer, masked) for masked in itertools.combinations(range(size), count)] for count in range(1, size + 1)
    ]
    return math.fsum(math.fsum(terms) / len(terms) for terms in by_count) / size


THREE = Answer((1, 2, 0), (3, 1, 5))
MIXED = [
    THREE,
    Answer((), (2, 2)),
    Answer((4,), (0,)),
    Answer((5, 5, 1, 1), (1, 2, 3, 4)),
    Answer((1, 2, 0), (0, 0, 5)),
]


def test_the_mean_converges_to_the_enumerated_value_within_its_standard_error():
    (found,), _ = run([THREE], samples=4000, batch_size=500)
    assert found.stderr is not None
    assert 0 < found.stderr < 0.1
    assert abs(found.loglikelihood - exact(THREE)) < 4 * found.stderr


def test_standard_errors_are_honest_over_many_seeds():
    expected = exact(THREE)
    found = [run([THREE], samples=40, seed=seed, batch_size=40)[0][0] for seed in range(200)]
    scores = [(one.loglikelihood - expected) / (one.stderr or math.nan) for one in found]
    assert abs(math.fsum(scores) / 200) < 0.3
    assert 0.8 < math.sqrt(math.fsum(score**2 for score in scores) / 200) < 1.25


def test_every_pattern_is_drawn_as_often_as_it_should_be():
    draws = 6000
    masks_BA = draw_masks([THREE] * draws, list(range(draws)), seed=3)
    patterns = [tuple(row) for row in masks_BA.tolist()]
    for pattern in itertools.product((False, True), repeat=3):
        count = sum(pattern)
        share = 0 if count == 0 else 1 / 3 / math.comb(3, count)
        assert abs(patterns.count(pattern) / draws - share) < 4 * math.sqrt(share * (1 - share) / draws) + 1e-12


def test_an_estimate_is_the_mean_of_its_terms():
    (found,), _ = run([THREE], samples=5)
    masks_BA = draw_masks([THREE] * 5, list(range(5)), seed=0)
    terms = [term(THREE, row.nonzero()[:, 0].tolist()) for row in masks_BA]
    mean = math.fsum(terms) / 5
    assert found.loglikelihood == pytest.approx(mean, abs=1e-6)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in terms) / 4 / 5)
    assert found.stderr == pytest.approx(spread, abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_batch_size_and_company_change_no_bit(batch_size):
    together, model = run(MIXED, samples=6, batch_size=batch_size)
    assert model.rows == 6 * 4 + 1
    assert model.calls == math.ceil(model.rows / batch_size)
    for answer, found in zip(MIXED, together, strict=True):
        (alone,), _ = run([answer], samples=6, batch_size=3)
        assert (found.loglikelihood, found.stderr, found.forward_passes) == (
            alone.loglikelihood,
            alone.stderr,
            alone.forward_passes,
        )


def test_one_token_is_exact_in_one_pass():
    answer = MIXED[2]
    (found,), model = run([answer], samples=50)
    assert (found.stderr, found.forward_passes, model.rows) == (0.0, 1, 1)
    assert found.loglikelihood == pytest.approx(exact(answer), abs=1e-6)


def test_greedy_is_known_for_one_token_only():
    context = (4,)
    found, _ = run([Answer(context, (token,)) for token in range(6)], samples=2)
    best = int(CountingModel().one([4, MASK], 1).argmax())
    assert [one.greedy for one in found] == [token == best for token in range(6)]
    assert not run([THREE], samples=50)[0][0].greedy


def test_one_sample_has_no_standard_error():
    assert run([THREE], samples=1)[0][0].stderr is None


def test_more_samples_keep_the_first_maskings():
    few, many = (draw_masks([THREE] * n, list(range(n)), seed=1) for n in (8, 64))
    assert torch.equal(few, many[:8])


def test_choices_of_equal_length_share_their_maskings_and_seeds_differ():
    other = Answer(THREE.context, (0, 0, 0))
    first, second = draw_masks([THREE, other], [4, 4], seed=2)
    assert torch.equal(first, second)
    seeds = [draw_masks([THREE] * 40, list(range(40)), seed=seed) for seed in (0, 1)]
    assert not torch.equal(*seeds)


def test_log_probabilities_are_float64_and_chunked_without_seams():
    logits_NV = torch.randn(600, 11, generator=torch.Generator().manual_seed(0))
    targets_N = torch.arange(600) % 11
    logp_N, best_N = log_probabilities(logits_NV, targets_N)
    assert logp_N.dtype == torch.float64
    expected_N = logits_NV.double().log_softmax(1).gather(1, targets_N[:, None])[:, 0]
    assert torch.allclose(logp_N, expected_N, atol=1e-12, rtol=0)
    assert torch.equal(best_N, logits_NV.argmax(1) == targets_N)
