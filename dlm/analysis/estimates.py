"""A score with its error and interval, and the gain of one model over another on the same documents.

A document contributes a numerator x and a weight w > 0: of a share of right answers what was right, 0 <= x <= w, and
what there was to get right (1 for a question, the number of empty cells for a Sudoku); of a loss its negative
log-likelihood, x >= 0, and its length in words or bytes. The rate is the ratio R = sum(x) / sum(w); the value is R, of
a perplexity exp(R) (`dlm.settings.metrics`). Documents are the independent units: cells of one grid stand or fall
together.

Standard error of R: the linearised ratio estimator with its n/(n-1) correction (Cochran, *Sampling Techniques*, 3rd
ed., section 6.4): se² = n/(n-1) · sum((x - R·w)²) / sum(w)². With equal weights it is the sample standard deviation of
x/w divided by sqrt(n), which is what lm-eval reports. That of a perplexity is exp(R)·se, the delta method.

Where log-likelihoods are estimates, each with an independent Monte-Carlo error, that error is part of the spread over
documents, and so of the standard error; its share of it, `monte_carlo`, is what another seed would change.

95 % interval of a loss: R ± t(n-1)·se, cut at 0, and of a perplexity the exponentials of both ends; from one document
nothing follows, and the interval is everything. That of a share, never of zero width:

* all-or-nothing outcomes of weight 1: Wilson's score interval;
* anything else: one wholly right and one wholly wrong document of average weight are added, and the interval of the
  enlarged sample is ratio ± t(n+1)·se, cut to [0, 1]. This is the adjustment of Agresti and Coull (1998) carried to
  ratios. An all-zero cell of 100 documents gets [0, 0.029], near the rule of three, instead of [0, 0]; and unlike a
  special case for all-equal outcomes, the width does not jump when one document differs. In simulations over skewed,
  clustered and nearly constant outcomes with n from 10 to 200 it covered the truth in 94 to 100 % of repeats, where
  value ± 1.96·se fell as low as 12 % (`tests/analysis/test_analysis_estimates.py` repeats a part of it).

Paired test of two models on the same documents, two-sided; a gain is beyond noise where p < 0.05:

* all-or-nothing outcomes of weight 1 on both sides: McNemar's exact test, which asks of the documents where the two
  differ whether as many are won as lost (binomial, one half);
* other shares: Student's test of the ratio's difference, t(n+1), in the sample that is enlarged as above: one document
  wholly won and one wholly lost. So a few documents that change alike, with no spread, are not taken for certain;
* losses: Student's test of the difference, t(n-1); where all documents change alike, the sign test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlm.errors import DataError
from dlm.settings.metrics import SHARE, MetricKind

CONFIDENCE = 0.95
"""Coverage of every interval; a paired difference is beyond noise where its p-value is below what this leaves."""
TOLERANCE = 1e-9
"""Largest rounding by which a numerator may leave the range from 0 to its weight, or a value differ from its ratio."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A share (0 to 1), a perplexity (from 1) or bits (from 0), estimated from n documents."""

    value: float
    """That of the rate."""
    stderr: float | None
    """Standard error of the value; None where n is 1, because one document says nothing of the spread."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval; infinity where one document gives a loss no bound."""
    n: int
    """Number of documents."""
    binary: bool
    """Every document weighs 1 and is either right or wrong."""
    rate: float
    """sum(numerators) / sum(weights)."""
    rate_stderr: float | None
    """Standard error of the rate."""
    kind: MetricKind = SHARE
    """What the numbers are."""
    monte_carlo: float | None = None
    """The part of `stderr` that estimates of log-likelihoods make, in the value's unit; 0 where they are exact, None
    where it is not known or nothing is estimated."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much the rate of one model differs from another's on the same n documents.

    Of a share that is how much better it does; of a perplexity it is the difference of their logarithms.
    """

    value: float
    """Rate after minus rate before."""
    stderr: float | None
    """Standard error of the difference over the documents' own differences; None where n is 1."""
    n: int
    """Number of documents."""
    p_value: float | None
    """Two-sided probability of a difference so large where there is none; None: one document gives a loss no test."""

    @property
    def beyond_noise(self) -> bool:
        """Whether the paired test tells the gain, or loss, from noise (p < 0.05)."""
        return self.p_value is not None and self.p_value < 1 - CONFIDENCE


def estimate(
    numerators: Sequence[float],
    weights: Sequence[float],
    kind: MetricKind = SHARE,
    monte_carlo: Sequence[float | None] | None = None,
) -> Estimate:
    """Return the value that documents give with its standard error and 95 % interval.

    Args:
        numerators, weights: one of each a document.
        kind: what they are.
        monte_carlo: standard errors of the numerators as estimates, None where not known; None: they are none.

    Raises:
        DataError: no documents, unequal lengths, or a numerator that is out of its range.
    """
    check_documents(numerators, weights, kind)
    rate, rate_stderr = ratio(numerators, weights), _stderr(_residuals(numerators, weights))
    binary = not kind.loss and _binary(numerators, weights)
    if kind.loss:
        low, high = _loss_interval(rate, rate_stderr, len(weights))
    else:
        low, high = wilson(rate, len(weights)) if binary else _enlarged_interval(numerators, weights)
    slope = kind.slope(rate)
    return Estimate(
        value=kind.value(rate),
        stderr=None if rate_stderr is None else slope * rate_stderr,
        low=kind.value(low),
        high=kind.value(high),
        n=len(weights),
        binary=binary,
        rate=rate,
        rate_stderr=rate_stderr,
        kind=kind,
        monte_carlo=_monte_carlo(monte_carlo, slope / math.fsum(weights)),
    )


def paired_gain(
    before: tuple[Sequence[float], Sequence[float]],
    after: tuple[Sequence[float], Sequence[float]],
    kind: MetricKind = SHARE,
) -> Gain:
    """Return the gain of ``after`` over ``before``, both (numerators, weights) of the same documents in the same order.

    The standard error is that of the documents' own differences, so what makes a document hard for both models cancels.
    The p-value is that of the module's paired test.

    Raises:
        DataError: the weights differ, so the documents cannot be the same; or they are bad in themselves.
    """
    check_documents(*before, kind)
    check_documents(*after, kind)
    if list(before[1]) != list(after[1]):
        raise DataError("the documents of the two models differ in number or weight")
    value, stderr, n = *_difference(before[0], after[0], before[1]), len(before[1])
    if kind.loss:
        p_value = _loss_test(value, stderr, n)
    elif _binary(*before) and _binary(*after):
        p_value = _mcnemar(before[0], after[0])
    else:
        p_value = _enlarged_test(before[0], after[0], before[1])
    return Gain(value=value, stderr=stderr, n=n, p_value=p_value)


def ratio(numerators: Sequence[float], weights: Sequence[float]) -> float:
    """Return ``sum(numerators) / sum(weights)``, correctly rounded whatever the order of the documents."""
    return math.fsum(numerators) / math.fsum(weights)


def wilson(value: float, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for a share ``value`` of ``n`` all-or-nothing documents."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(value * n, n, alpha=1 - CONFIDENCE, method="wilson")
    # The formula gives 0 and 1 there; rounding would leave 1e-18 and lift a row off the floor.
    return (0.0 if value == 0 else float(low)), (1.0 if value == 1 else float(high))


def check_documents(numerators: Sequence[float], weights: Sequence[float], kind: MetricKind = SHARE) -> None:
    """Refuse documents of which no such metric can be made.

    Raises:
        DataError: says which document (counted from 0) is at fault and why.
    """
    if len(numerators) != len(weights):
        raise DataError(f"{len(numerators)} numerators for {len(weights)} weights")
    if not weights:
        raise DataError("no documents, so no value")
    for index, (x, w) in enumerate(zip(numerators, weights, strict=True)):
        if not (math.isfinite(w) and w > 0):
            raise DataError(f"document {index} has weight {w}; expected a number above 0")
        if kind.loss and not 0 <= x < math.inf:
            raise DataError(f"document {index} has numerator {x}; expected a number of at least 0")
        if not kind.loss and not -TOLERANCE <= x <= w + TOLERANCE:
            raise DataError(f"document {index} has numerator {x}; expected a number from 0 to its weight {w}")


def _binary(numerators: Sequence[float], weights: Sequence[float]) -> bool:
    """Return whether every document weighs 1 and is either right or wrong."""
    return set(weights) == {1} and set(numerators) <= {0, 1}


def _residuals(numerators: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return what each document moves the ratio by, to first order: (x - R·w) / sum(w)."""
    value, total = ratio(numerators, weights), math.fsum(weights)
    return [(x - value * w) / total for x, w in zip(numerators, weights, strict=True)]


def _stderr(residuals: Sequence[float]) -> float | None:
    n = len(residuals)
    return math.sqrt(n / (n - 1) * math.fsum(r * r for r in residuals)) if n > 1 else None


def _monte_carlo(errors: Sequence[float | None] | None, factor: float) -> float | None:
    """Return the standard error that independent ones of the numerators make, times a factor."""
    if errors is None or any(error is None for error in errors):
        return None
    return factor * math.hypot(*(error for error in errors if error is not None))


def _loss_interval(rate: float, stderr: float | None, n: int) -> tuple[float, float]:
    if stderr is None:
        return 0.0, math.inf
    half = _quantile(n - 1) * stderr
    return max(0.0, rate - half), rate + half


def _quantile(freedom: int) -> float:
    """Return how many standard errors reach to either end of an interval, by Student's distribution."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def _enlarged_interval(numerators: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    average = math.fsum(weights) / len(weights)
    x, w = [*numerators, average, 0.0], [*weights, average, average]
    centre, stderr = ratio(x, w), _stderr(_residuals(x, w))
    assert stderr is not None  # there are at least three documents
    half = _quantile(len(w) - 1) * stderr
    return max(0.0, centre - half), min(1.0, centre + half)


def _difference(
    before: Sequence[float], after: Sequence[float], weights: Sequence[float]
) -> tuple[float, float | None]:
    """Return by how much the rate grows, and the standard error over the documents' own differences."""
    differences = [b - a for a, b in zip(_residuals(before, weights), _residuals(after, weights), strict=True)]
    return ratio(after, weights) - ratio(before, weights), _stderr(differences)


def _mcnemar(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the p-value of McNemar's exact test; 1 where no document differs."""
    from scipy.stats import binomtest

    won = sum(b > a for a, b in zip(before, after, strict=True))
    lost = sum(b < a for a, b in zip(before, after, strict=True))
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def _enlarged_test(before: Sequence[float], after: Sequence[float], weights: Sequence[float]) -> float:
    average = math.fsum(weights) / len(weights)
    value, stderr = _difference([*before, 0.0, average], [*after, average, 0.0], [*weights, average, average])
    assert stderr  # the two differ from one another
    return _student(value / stderr, len(weights) + 1)


def _loss_test(value: float, stderr: float | None, n: int) -> float | None:
    if stderr is None:
        return None
    if stderr <= TOLERANCE * abs(value):  # all alike, but for rounding
        return float(2.0 * 0.5**n) if value else 1.0
    return _student(value / stderr, n - 1)


def _student(statistic: float, freedom: int) -> float:
    """Return the two-sided p-value of a statistic that is Student's."""
    from scipy.stats import t

    return float(2 * t.sf(abs(statistic), freedom))
