"""Shares, standard errors and intervals against scipy, statsmodels, lm-eval and simulation."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from dlm.analysis.estimates import estimate, paired_gain
from dlm.errors import DataError


def test_half_right_of_four_by_hand():
    found = estimate([1, 1, 0, 0], [1, 1, 1, 1])
    assert (found.value, found.n, found.binary) == (0.5, 4, True)
    assert found.stderr == pytest.approx((4 * 0.25 / 3) ** 0.5 / 2)


def test_ratio_of_two_grids_by_hand():
    # 3 of 4 cells and 0 of 2: R = 1/2; residuals 3 - 2 = 1 and 0 - 1 = -1; se² = 2/1 · 2 / 36.
    found = estimate([3, 0], [4, 2])
    assert found.value == 0.5
    assert found.stderr == pytest.approx((2 * 2 / 36) ** 0.5)
    assert not found.binary


def test_error_with_weights_of_one_is_lm_evals():
    from lm_eval.api.metrics import mean, mean_stderr

    values = np.random.default_rng(1).random(57).tolist()
    found = estimate(values, [1] * 57)
    assert found.value == pytest.approx(mean(values), abs=1e-12)
    assert found.stderr == pytest.approx(mean_stderr(values), abs=1e-12)
    assert found.stderr == pytest.approx(stats.sem(values), abs=1e-12)


def test_equal_weights_of_any_size_give_the_same():
    values = np.random.default_rng(2).random(30)
    one, eight = estimate(values.tolist(), [1] * 30), estimate((8 * values).tolist(), [8] * 30)
    for name in ("value", "stderr", "low", "high"):
        assert getattr(one, name) == pytest.approx(getattr(eight, name), abs=1e-12)


def test_error_with_unequal_weights_is_near_the_bootstraps():
    rng = np.random.default_rng(3)
    w = rng.integers(2, 9, 200)
    x = rng.binomial(w, rng.beta(1, 1, 200))
    draws = rng.integers(0, 200, (4000, 200))
    bootstrap = (x[draws].sum(1) / w[draws].sum(1)).std()
    assert estimate(x.tolist(), w.tolist()).stderr == pytest.approx(bootstrap, rel=0.05)


@pytest.mark.parametrize(("right", "n"), [(0, 100), (1, 100), (41, 100), (100, 100), (1, 1), (0, 1), (3, 7)])
def test_binary_interval_is_wilsons(right: int, n: int):
    found = estimate([1] * right + [0] * (n - right), [1] * n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-12)
    assert found.low <= found.value <= found.high
    assert found.low == 0 if right == 0 else found.low > 0
    assert found.high == 1 if right == n else found.high < 1


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_equal_outcomes_never_claim_certainty(share: float):
    weights = [3 + index % 4 for index in range(100)]
    found = estimate([share * w for w in weights], weights)
    assert found.stderr == pytest.approx(0, abs=1e-12)
    assert 0.01 < found.high - found.low < 0.05
    assert found.low <= found.value <= found.high


def test_one_differing_document_hardly_widens_the_interval():
    same, one_off = estimate([0.5] * 100, [1] * 100), estimate([0.5] * 99 + [0.6], [1] * 100)
    assert one_off.high - one_off.low == pytest.approx(same.high - same.low, rel=0.05)


def test_a_cell_more_right_never_lowers_the_interval():
    none, one = estimate([0] * 50, [8] * 49 + [7]), estimate([0] * 49 + [1], [8] * 49 + [7])
    assert none.low == 0 and one.high > none.high


def test_one_document_has_an_interval_but_no_error():
    for found in (estimate([1], [1]), estimate([2], [4])):
        assert found.stderr is None
        assert 0 <= found.low < found.value <= found.high <= 1


@pytest.mark.parametrize(
    ("numerators", "weights", "message"),
    [
        ([], [], "no documents"),
        ([1], [1, 1], "1 numerators for 2 weights"),
        ([0, 0], [1, 0], "document 1 has weight 0"),
        ([2], [1], "document 0 has numerator 2"),
        ([-1], [1], "document 0 has numerator -1"),
        ([float("nan")], [1], "document 0 has numerator nan"),
        ([1], [float("inf")], "document 0 has weight inf"),
    ],
)
def test_impossible_documents_are_refused(numerators: list[float], weights: list[float], message: str):
    with pytest.raises(DataError, match=message):
        estimate(numerators, weights)


def test_order_of_documents_does_not_move_a_bit():
    rng = random.Random(4)
    documents = [(rng.random() * w, w) for w in [rng.uniform(1, 9) for _ in range(500)]]
    first = estimate(*map(list, zip(*documents, strict=True)))
    rng.shuffle(documents)
    assert estimate(*map(list, zip(*documents, strict=True))) == first


def _clustered(rng: np.random.Generator, share: float) -> tuple[list[float], list[float]]:
    w = rng.integers(3, 9, 60)
    return rng.binomial(w, rng.beta(share, 1 - share, 60)).tolist(), w.tolist()


def _skewed(rng: np.random.Generator, share: float) -> tuple[list[float], list[float]]:
    return rng.beta(share / 2, (1 - share) / 2, 60).tolist(), [1] * 60


def _binary(rng: np.random.Generator, share: float) -> tuple[list[float], list[float]]:
    return rng.binomial(1, share, 60).tolist(), [1] * 60


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("draw", [_clustered, _skewed, _binary])
def test_intervals_cover_the_truth(draw: Callable, share: float):
    rng = np.random.default_rng(5)
    found = [estimate(*draw(rng, share)) for _ in range(400)]
    covered = sum(one.low <= share <= one.high for one in found) / 400
    assert 0.92 <= covered <= 1


def test_paired_gain_is_the_paired_t_tests():
    rng = np.random.default_rng(6)
    before, after = rng.integers(0, 2, 80), rng.integers(0, 2, 80)
    gain = paired_gain((before.tolist(), [1] * 80), (after.tolist(), [1] * 80))
    test = stats.ttest_rel(after, before)
    assert gain.value == pytest.approx((after - before).mean())
    assert gain.value / gain.stderr == pytest.approx(test.statistic)


def test_pairing_cancels_what_makes_documents_hard():
    # Both solve the same 40; the second also solves 10 more: only those 10 are uncertain.
    before, after = [1] * 40 + [0] * 60, [1] * 50 + [0] * 50
    gain = paired_gain((before, [1] * 100), (after, [1] * 100))
    assert gain.value == pytest.approx(0.1)
    assert gain.stderr == pytest.approx((0.1 * 0.9 / 99) ** 0.5)
    assert gain.beyond_noise
    assert estimate(after, [1] * 100).low < estimate(before, [1] * 100).high  # apart, the two would not say so


@pytest.mark.parametrize(
    ("won", "lost", "n"),
    [(2, 0, 2), (5, 0, 5), (5, 0, 1000), (6, 0, 6), (4, 0, 20), (9, 2, 256), (12, 2, 256), (0, 0, 9)],
)
def test_right_or_wrong_answers_are_tested_by_mcnemars_exact_test(won: int, lost: int, n: int):
    before, after = [0] * won + [1] * (n - won), [1] * won + [0] * lost + [1] * (n - won - lost)
    gain = paired_gain((before, [1] * n), (after, [1] * n))
    exact = mcnemar([[0, won], [lost, n - won - lost]], exact=True).pvalue
    assert gain.p_value == pytest.approx(exact)
    assert gain.beyond_noise == (exact < 0.05) == ((won, lost) in {(6, 0), (12, 2)})


def test_a_few_documents_that_change_alike_prove_nothing():
    # Grids of 4 and 6 cells, every one of them solved by the second model alone.
    few, many = ([4, 6] * pairs for pairs in (1, 5))
    for weights, beyond in ((few, False), (many, True)):
        gain = paired_gain(([0] * len(weights), weights), (weights, weights))
        assert gain.stderr == pytest.approx(0, abs=1e-12) and gain.beyond_noise == beyond
    a, b, c, d = 1.0, 1.0, 1.0, -1.0  # two won of equal weight, then one wholly won and one wholly lost
    statistic = stats.ttest_1samp([a, b, c, d], 0)
    assert paired_gain(([0, 0], [4, 4]), ([4, 4], [4, 4])).p_value == pytest.approx(statistic.pvalue)


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_models_that_are_alike_are_seldom_told_apart(share: float, n: int):
    rng = np.random.default_rng(7)
    told_apart = 0
    for _ in range(300):
        w = rng.integers(3, 9, n)
        hard = rng.beta(2 * share, 2 * (1 - share), n)
        sides = [(rng.binomial(w, hard).tolist(), w.tolist()) for _ in range(2)]
        told_apart += paired_gain(*sides).beyond_noise
    assert told_apart <= 0.05 * 300


def test_weighted_paired_gain_by_hand():
    # 0/4 → 4/4 and 2/2 → 2/2: 1/3 → 1; before: -4/3, 4/3 over 6; after: 0, 0; se² = 2 · 2 · (4/3)² / 36.
    gain = paired_gain(([0, 2], [4, 2]), ([4, 2], [4, 2]))
    assert gain.value == pytest.approx(2 / 3)
    assert gain.stderr == pytest.approx((4 * (4 / 3) ** 2 / 36) ** 0.5)


def test_no_gain_and_a_single_document_are_never_beyond_noise():
    assert not paired_gain(([0, 0], [1, 1]), ([0, 0], [1, 1])).beyond_noise
    for weight in (1, 4):
        single = paired_gain(([0], [weight]), ([weight], [weight]))
        assert single.stderr is None and not single.beyond_noise and single.p_value > 0.5


def test_pairing_other_documents_is_refused():
    with pytest.raises(DataError, match="differ in number or weight"):
        paired_gain(([1, 1], [1, 2]), ([1, 1], [2, 1]))
    with pytest.raises(DataError, match="differ in number or weight"):
        paired_gain(([1], [1]), ([1, 1], [1, 1]))
