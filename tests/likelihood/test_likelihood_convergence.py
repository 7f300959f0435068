"""Estimates converge to enumerated values, and their standard errors are honest: every rule, every kind of model."""

from __future__ import annotations

import math
from typing import Any

import pytest
from likelihood_examples import KINDS, Masked, exact, real_model, run, sums

from dlm.likelihood import Answer, bound_by_count, expected_bound, llada_bound
from dlm.settings import DreamMasks, LikelihoodSettings, LLaDAMasks, StratifiedMasks

SIX = Answer((5, 9, 7, 20), (4, 11, 6, 15, 8, 10))
SEEDS = 150


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    return real_model(request.param)


@pytest.fixture(scope="module")
def llama() -> Any:
    return real_model("llama")


def honest(model: Any, answer: Answer, settings: LikelihoodSettings, expected: float, **options: Any) -> float:
    """Check mean and standard errors of many estimates against the expectation; return their standard deviation."""
    found = [run(model, [answer], settings, seed=seed, batch_size=64, **options)[0] for seed in range(SEEDS)]
    values = [one.loglikelihood for one in found]
    mean = math.fsum(values) / SEEDS
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (SEEDS - 1))
    assert abs(mean - expected) < 4 * spread / math.sqrt(SEEDS)
    errors = [one.stderr for one in found]
    assert all(error is not None and error > 0 for error in errors)
    told = math.sqrt(math.fsum((error or 0) ** 2 for error in errors) / SEEDS)
    assert 0.8 < told / spread < 1.25
    within = sum(abs(value - expected) < 2.5 * (error or 0) for value, error in zip(values, errors, strict=True))
    assert within / SEEDS > 0.85
    return spread


def test_stratified_maskings_are_unbiased_for_every_kind_of_model(model):
    honest(model, SIX, LikelihoodSettings(samples=32), exact(Masked(model, SIX)))


def test_block_diffusion_adds_up_its_blocks(llama):
    expected = exact(Masked(llama, SIX, block_size=4))
    assert abs(expected - exact(Masked(llama, SIX))) > 0.5, "blocks matter to this model"
    honest(llama, SIX, LikelihoodSettings(samples=12), expected, block_size=4)


def test_guidance_is_unbiased_too(llama):
    expected = exact(Masked(llama, SIX, scale=0.5))
    assert abs(expected - exact(Masked(llama, SIX))) > 0.5, "guidance matters to this model"
    honest(llama, SIX, LikelihoodSettings(samples=32, guidance_scale=0.5), expected)


@pytest.mark.parametrize("answer", [SIX, Answer((5, 9, 7, 20), (4, 11))])
def test_lladas_rule_converges_to_its_own_expectation(llama, answer, batch_size=4):
    by_count = bound_by_count(len(answer.tokens), sums(Masked(llama, answer), range(len(answer.tokens))))
    settings = LikelihoodSettings(samples=64, masks=LLaDAMasks(batch_size=batch_size))
    honest(llama, answer, settings, llada_bound(by_count, batch_size))
    if len(answer.tokens) == 2:
        assert abs(llada_bound(by_count, batch_size) - expected_bound(by_count)) > 0.05, "a biased batch size"


def dream_expectation(answer: Answer, values: dict[tuple[int, ...], float], epsilon: float) -> float:
    """The mean over the rate p, uniform from epsilon to 1, of the sum over S of P(S) / p times the sum of S."""
    steps, length, total = 4000, len(answer.tokens), 0.0
    for step in range(steps):
        rate = epsilon + (1 - epsilon) * (step + 0.5) / steps
        weights = {k: rate ** (k - 1) * (1 - rate) ** (length - k) for k in range(1, length + 1)}
        total += math.fsum(weights[len(masked)] * value for masked, value in values.items())
    return total / steps


@pytest.mark.parametrize("epsilon", [1e-3, 0.3])
def test_dreams_rule_converges_to_its_own_expectation(epsilon):
    model, answer = real_model("shifted"), Answer(SIX.context, SIX.tokens[:4], (1,))
    values = dict(sums(Masked(model, answer), range(4)))
    settings = LikelihoodSettings(samples=64, masks=DreamMasks(batch_size=4, epsilon=epsilon))
    honest(model, answer, settings, dream_expectation(answer, values, epsilon))
    assert dream_expectation(answer, values, 0.0) == pytest.approx(exact(Masked(model, answer)), abs=1e-4)


def test_stratifying_makes_the_error_smaller(llama):
    expected = exact(Masked(llama, SIX))
    stratified = honest(llama, SIX, LikelihoodSettings(samples=32), expected)
    single = LikelihoodSettings(samples=32, masks=StratifiedMasks(replicates=32))
    assert stratified < 0.75 * honest(llama, SIX, single, expected)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_short_answers_are_exact(model, length):
    answer = Answer(SIX.context, SIX.tokens[:length])
    (found,) = run(model, [answer], LikelihoodSettings(samples=32))
    assert found.stderr == 0
    assert found.forward_passes == 2**length - 1
    assert found.loglikelihood == pytest.approx(exact(Masked(model, answer)), abs=1e-4)


def test_blocks_of_one_token_give_the_likelihood_itself(llama):
    (found,) = run(llama, [SIX], LikelihoodSettings(samples=1), block_size=1)
    masked = Masked(llama, SIX, block_size=1)
    assert found.loglikelihood == pytest.approx(math.fsum(masked([place])[0] for place in range(6)), abs=1e-4)
    assert (found.stderr, found.forward_passes) == (0.0, 6)
