"""Records of the order of decoding, and what is computed from them."""

from __future__ import annotations

import math
import random

import pytest
from doubles import small_denoiser
from scipy import stats

from dlm.errors import SettingsError
from dlm.sampling import Sample, Sampler, order_tau, tokens_per_pass
from dlm.settings import preset


def sample_of(steps: list[int], passes: int) -> Sample:
    return Sample((5,) * len(steps), "", False, passes, 0.0, tuple(steps), (0.5,) * len(steps))


def test_tau_is_kendalls() -> None:
    randomness = random.Random(0)
    for _ in range(20):
        steps = [randomness.randrange(6) for _ in range(12)]
        expected = stats.kendalltau(range(12), steps).statistic
        assert order_tau(sample_of(steps, 6)) == pytest.approx(expected)
    assert order_tau(sample_of([0, -1, 1, 2], 3)) == 1.0, "what was given has no place in the order"


@pytest.mark.parametrize("steps", [[], [3], [2, 2, 2], [-1, 0, -1]])
def test_what_has_no_order_has_no_tau(steps: list[int]) -> None:
    assert order_tau(sample_of(steps, 1)) is None


def test_tokens_per_pass() -> None:
    assert tokens_per_pass(sample_of([0, 0, 1, -1], 2)) == 1.5


def test_a_sample_without_a_record_is_refused() -> None:
    with pytest.raises(SettingsError, match="sample with record_order=True"):
        order_tau(Sampler(small_denoiser(), preset("llada", max_new_tokens=4)).sample([[4]])[0])


def test_the_record_holds_pass_and_confidence_of_each_token_and_changes_no_answer() -> None:
    denoiser, settings = small_denoiser(), preset("fast-dllm-llada", max_new_tokens=12, block_size=6, threshold=0.4)
    sample = Sampler(denoiser, settings, record_order=True).sample([[4, 5]])[0]
    plain = Sampler(denoiser, settings).sample([[4, 5]])[0]
    assert (plain.tokens, plain.steps, plain.confidences) == (sample.tokens, None, None)
    assert sample.steps is not None and sample.confidences is not None
    assert set(sample.steps) == set(range(sample.forward_passes))
    assert max(sample.steps[:6]) < min(sample.steps[6:]), "one block after the other"
    for number in range(sample.forward_passes):
        confidences = [c for c, step in zip(sample.confidences, sample.steps, strict=True) if step == number]
        assert sum(c < 0.4 for c in confidences) <= (len(confidences) == 1), "only the surest may be unsure"


def test_a_given_token_has_no_record() -> None:
    sample = Sampler(small_denoiser(), preset("llada", max_new_tokens=4), record_order=True).infill([[4, 1, 5, 1]])[0]
    assert sample.steps is not None and sample.confidences is not None
    assert [step < 0 for step in sample.steps] == [math.isnan(c) for c in sample.confidences] == [True, False] * 2
