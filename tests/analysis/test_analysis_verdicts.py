"""Verdicts: the test against statsmodels, sample sizes, wording."""

from __future__ import annotations

import pytest
from analysis_examples import ANSWER, TASKS, right
from statsmodels.stats.proportion import confint_proportions_2indep

from dlm.analysis.estimates import estimate
from dlm.analysis.published import Figure
from dlm.analysis.verdicts import agrees, judge, sample_size
from dlm.settings import Task

WORDS = TASKS["words"]


def figure(value: float, note: str = "") -> Figure:
    return Figure(table="t", model="m", benchmark="b", metric="score", source="dllm", value=value, note=note)


def share(count: int, n: int):
    return estimate(right(count, n), [1] * n)


@pytest.mark.parametrize("theirs", [0, 1, 20, 33, 34, 35, 50, 64, 65, 66, 100])
def test_agreement_is_newcombes(theirs: int):
    low, high = confint_proportions_2indep(50, 100, theirs, 100, method="newcomb", compare="diff")
    assert agrees(share(50, 100), theirs / 100, 100) == (low <= 0 <= high)


def test_equal_shares_agree_even_at_the_ends():
    for count in (0, 100):
        assert agrees(share(count, 100), count / 100, 100)
        assert agrees(share(count, 100), count / 100, None)


def test_both_sample_sizes_count():
    assert not agrees(share(500, 1000), 0.58, 1000)
    assert agrees(share(500, 1000), 0.58, 100)
    assert agrees(share(50, 100), 0.58, 1000)


def test_an_exact_figure_is_tested_against_our_interval():
    ours = share(50, 100)
    assert agrees(ours, ours.high - 1e-6, None) and not agrees(ours, ours.high + 1e-6, None)
    assert agrees(ours, ours.low + 1e-6, None) and not agrees(ours, ours.low - 1e-6, None)


def test_clustered_outcomes_are_compared_by_their_own_spread():
    alike = estimate([4, 4, 3, 4, 4, 5, 4, 4] * 25, [8] * 200)
    apart = estimate([8, 0] * 100, [8] * 200)
    mixed = estimate([8, 0, 7, 1] * 50, [8] * 200)
    assert alike.value == apart.value == mixed.value == 0.5
    assert not agrees(alike, 0.55, 200)
    assert agrees(apart, 0.55, 200) and agrees(mixed, 0.55, 200)


def test_sample_size_of_the_published_figure():
    limited = Task(title="Words", lm_eval="dlm_words", limit=20, **ANSWER)
    noted = figure(0.5, "consistent with 10 of 20 items")
    assert sample_size(noted, share(1, 2), WORDS) == 20
    assert sample_size(figure(0.5), share(1, 2), WORDS) == 2
    assert sample_size(figure(0.5), share(1, 2), limited) is None


@pytest.mark.parametrize(
    ("count", "task", "published", "differing", "meaningless", "text"),
    [
        (50, "words", 0.5, None, None, "agrees"),
        (50, "words", 0.9, None, None, "differs"),
        (50, "words", 0.9, ("steps 64, published 256",), None, "settings differ: steps 64, published 256"),
        (0, "words", 0.9, ("no tag", "at once"), None, "settings differ: no tag; at once; at floor"),
        (50, "words", None, ("steps",), None, "not published"),
        (0, "words", None, None, None, "not published; at floor"),
        (0, "words", 0.0, None, None, "agrees; at floor"),
        (1, "words", None, None, None, "not published"),
        (30, "choice", None, None, None, "not published; at chance"),
        (10, "choice", 0.5, None, None, "differs; below chance"),
        (40, "choice", None, None, None, "not published"),
        (0, "choice", 0.5, None, "micro", "meaningless (micro)"),
    ],
)
def test_wording(count, task, published, differing, meaningless, text):
    found = None if published is None else figure(published)
    verdict = judge(share(count, 100), TASKS[task], found, differing=differing or (), meaningless=meaningless)
    assert verdict.text == text
    beside = ("; at floor", "; at chance", "; below chance")
    assert verdict.comparison == text.removesuffix(next(filter(text.endswith, beside), ""))
    assert verdict.at_chance == text.endswith(beside)
