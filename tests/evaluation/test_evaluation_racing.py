"""Successive halving over documents: the best setting survives, what is stopped was behind, and passes are saved."""

from __future__ import annotations

import numpy as np
import pytest

from dlm.evaluation.racing import Answers, Fate, race
from dlm.settings.metrics import SHARE, metric_kind
from dlm.settings.sweep import Budget

DOCUMENTS, STEPS = 200, 10


class Synthetic:
    """Settings of known truth: each is right on a document with its own probability, independently of the others."""

    def __init__(self, truth: list[float], seed: int) -> None:
        draws = np.random.default_rng(seed).random((len(truth), DOCUMENTS))
        self.right = (draws < np.array(truth)[:, None]).astype(float)
        self.names = [f"s{index}" for index in range(len(truth))]

    def answer(self, setting: str, count: int) -> Answers:
        right = self.right[self.names.index(setting), :count]
        return Answers(tuple(right.tolist()), (1,) * count, STEPS * count)

    def race(self, forward_passes: int, **rungs: object) -> list[Fate]:
        budget = Budget(forward_passes=forward_passes, **rungs)  # type: ignore[arg-type]
        return race(self.names, DOCUMENTS, self.answer, budget, forward_passes, SHARE)


TRUTH = [0.85 - 0.05 * index for index in range(16)]
"""Gaps of five points, from 85 to 10 percent."""
WHOLE = len(TRUTH) * DOCUMENTS * STEPS


def test_the_best_survives_in_at_least_95_of_100_seeds_at_two_thirds_of_the_passes() -> None:
    survived, finished, spent = 0, 0, []
    for seed in range(100):
        fates = Synthetic(TRUTH, seed).race(WHOLE * 2 // 3)
        survived += not fates[0].reason.startswith("behind")
        finished += fates[0].documents == DOCUMENTS
        spent.append(sum(fate.forward_passes for fate in fates))
        assert spent[-1] <= WHOLE * 2 // 3
        assert sum(fate.reason.startswith("behind") for fate in fates) >= 4, "next to nothing was stopped"
    assert survived >= 95 and finished >= 95, (survived, finished)
    assert np.mean(spent) < 0.6 * WHOLE


def test_what_is_stopped_is_named_with_the_reason_and_the_probability() -> None:
    for fate in Synthetic([0.9, 0.1, 0.85], 0).race(WHOLE):
        if fate.setting == "s1":
            assert fate.reason.startswith("behind s") and fate.documents == 16 and fate.forward_passes == 160
            assert fate.p_value is not None and fate.p_value < 0.025
        else:
            assert fate.documents == DOCUMENTS and fate.reason == ""


def test_a_budget_that_does_not_reach_is_named_and_kept() -> None:
    fates = Synthetic([0.5] * 4, 0).race(4 * 50 * STEPS)
    assert {(fate.reason, fate.documents) for fate in fates} == {("budget", 50)}


def test_a_budget_below_the_first_rung_gives_the_first_rung() -> None:
    fates = Synthetic([0.5] * 4, 0).race(1, first=8)
    assert {(fate.reason, fate.documents) for fate in fates} == {("budget", 8)}


def test_a_baseline_is_kept_however_far_behind() -> None:
    synthetic = Synthetic([0.95, 0.9, 0.1, 0.05], 0)
    budget = Budget(forward_passes=WHOLE)
    fates = race(synthetic.names, DOCUMENTS, synthetic.answer, budget, WHOLE, SHARE, kept=["s3"])
    assert fates[3].documents == DOCUMENTS and fates[2].reason


def test_of_losses_the_lowest_is_the_best() -> None:
    def answer(setting: str, count: int) -> Answers:
        noise = np.random.default_rng(1).random(DOCUMENTS)[:count] + {"good": 1.0, "bad": 9.0, "worse": 20.0}[setting]
        return Answers(tuple(noise.tolist()), (1.0,) * count, count)

    names = ["worse", "good", "bad"]
    fates = race(names, 64, answer, Budget(forward_passes=10_000), 10_000, metric_kind("bits_per_byte"))
    assert [(fate.reason, fate.documents) for fate in fates] == [("behind good", 16), ("", 64), ("behind good", 32)]


@pytest.mark.parametrize("documents", [1, 10, 16])
def test_few_documents_are_answered_by_all(documents: int) -> None:
    synthetic = Synthetic([0.9, 0.1], 0)
    fates = race(synthetic.names, documents, synthetic.answer, Budget(forward_passes=1), 1, SHARE)
    assert [(fate.documents, fate.reason) for fate in fates] == [(documents, "")] * 2
