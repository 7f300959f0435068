"""The statistics of sweeps: as statsmodels and scipy have them, on outcomes whose effects are known."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar

from dlm.analysis.sensitivity.correction import correct_effects
from dlm.analysis.sensitivity.effects import Effect, effects
from dlm.analysis.sensitivity.paired import compare_paired
from dlm.analysis.sensitivity.resampling import rates
from dlm.settings.metrics import SHARE, metric_kind

FACTORS = {"a": ("low", "high"), "b": ("one", "two", "three"), "c": ("x", "y")}


def grid() -> list[dict[str, str]]:
    return [dict(zip(FACTORS, levels, strict=True)) for levels in itertools.product(*FACTORS.values())]


def outcomes(levels: list[dict[str, str]], documents: int = 400, seed: int = 1) -> np.ndarray:
    """All-or-nothing outcomes: a counts 20 points, b up to 10, a and c together 10, c alone nothing."""
    right = [
        0.3 + 0.2 * (s["a"] == "high") + 0.05 * FACTORS["b"].index(s["b"]) + 0.1 * (s["a"] == "high") * (s["c"] == "y")
        for s in levels
    ]
    return drawn(right, documents, seed)


def drawn(right: list[float], documents: int, seed: int) -> np.ndarray:
    """Settings that are right with these probabilities, and mostly on the same documents."""
    ease, noise = np.split(np.random.default_rng(seed).standard_normal((1 + len(right), documents)), [1])
    return (stats.norm.cdf(np.sqrt(0.6) * ease + np.sqrt(0.4) * noise) < np.array(right)[:, None]).astype(float)


def by(found: list[Effect], kind: str) -> dict[tuple[str, ...], Effect]:
    return {(e.factor, e.level, e.factor_2, e.level_2): e for e in found if e.kind == kind}


@pytest.mark.parametrize("left_out", [0, 2])
def test_effects_and_shares_are_those_of_statsmodels(left_out: int) -> None:
    levels = grid()[left_out:]  # with some left out the design is not balanced
    table = outcomes(levels)
    found = effects(levels, table, np.ones(table.shape[1]), list(FACTORS)).found
    frame = pd.DataFrame(levels).assign(y=rates(table, np.ones(table.shape[1])))
    additive = ols("y ~ C(a, Sum) + C(b, Sum) + C(c, Sum)", frame).fit()
    for factor in FACTORS:
        for level in sorted(FACTORS[factor])[:-1]:  # statsmodels sorts the levels and leaves out the last
            ours = by(found, "level")[factor, level, "", ""].effect
            assert ours == pytest.approx(additive.params[f"C({factor}, Sum)[S.{level}]"], abs=1e-9)
    pairs = [(one, other) for one, other in itertools.combinations(FACTORS, 2) if left_out == 0 or other != "b"]
    crossed = [pair for pair in pairs if by(found, "share_interaction").get((pair[0], "", pair[1], ""))]
    assert crossed, "no interaction was estimated"
    terms = " + ".join([*(f"C({f}, Sum)" for f in FACTORS), *(f"C({a}, Sum):C({b}, Sum)" for a, b in crossed)])
    anova = anova_lm(ols(f"y ~ {terms}", frame).fit(), typ=2)["sum_sq"]
    total = float(((frame.y - frame.y.mean()) ** 2).sum())
    for factor in FACTORS:
        assert by(found, "share")[factor, "", "", ""].effect == pytest.approx(anova[f"C({factor}, Sum)"] / total)
    for a, b in crossed:
        share = by(found, "share_interaction")[a, "", b, ""].effect
        assert share == pytest.approx(anova[f"C({a}, Sum):C({b}, Sum)"] / total)


def test_known_effects_lie_in_their_intervals_and_a_null_factor_has_no_share() -> None:
    found = effects(grid(), outcomes(grid()), np.ones(400), list(FACTORS)).found
    levels, shares = by(found, "level"), by(found, "share")
    truth = {("a", "high"): 0.125, ("b", "three"): 0.05, ("c", "y"): 0.025}
    for (factor, level), effect in truth.items():
        each = levels[factor, level, "", ""]
        assert each.low is not None and each.high is not None and each.low < effect < each.high
    a, b = shares["a", "", "", ""], shares["b", "", "", ""]
    assert a.effect > b.effect and a.low is not None and b.high is not None and a.low > b.high
    interaction = by(found, "interaction")["a", "high", "c", "y"]
    assert interaction.low is not None and interaction.low > 0 and abs(interaction.effect - 0.025) < 0.02
    nothing = by(found, "share_interaction")["b", "", "c", ""]
    assert nothing.low == 0


def test_intervals_of_effects_cover_the_truth() -> None:
    """Of a factor of no effect: 95 % intervals over documents hold 0 in about 95 of 100 draws."""
    levels = [{"a": level} for level in ("one", "two")]
    hits = 0
    for seed in range(100):
        found = effects(levels, drawn([0.5, 0.5], 100, seed), np.ones(100), ["a"]).found
        each = by(found, "level")["a", "one", "", ""]
        assert each.low is not None and each.high is not None
        hits += each.low <= 0 <= each.high
    assert 88 <= hits <= 100


def test_of_noise_alone_no_factor_has_a_share_that_could_be_told() -> None:
    told = 0
    for seed in range(20):
        found = effects(grid(), drawn([0.5] * 12, 100, seed), np.ones(100), list(FACTORS)).found
        shares = [each for each in found if each.kind in ("share", "share_interaction")]
        told += sum(each.low is not None and each.low > 0 for each in shares)
    assert told <= 0.1 * 20 * 6


def test_factors_that_constraints_tie_together_get_no_effects() -> None:
    levels = [{"a": "one", "b": "one"}, {"a": "two", "b": "two"}]
    found = effects(levels, np.array([[1.0, 0.0], [0.0, 0.0]]), np.ones(2), ["a", "b"])
    assert found.found == [] and "tie factors together" in found.none
    assert "no factor has two levels" in effects(levels[:1], np.ones((1, 2)), np.ones(2), ["a", "b"]).none


def test_an_effect_of_two_settings_has_the_test_of_two_settings() -> None:
    one, other = pair(80, 0.4, 0.2, 11)
    graded = np.array([one, other]) * np.linspace(0.2, 1, 80)
    for table, kind in ((np.array([one, other]), SHARE), (graded, SHARE), (graded, metric_kind("bits_per_byte"))):
        first, second = effects([{"a": "x"}, {"a": "y"}], table, np.ones(80), ["a"], kind).found[:2]
        beside = compare_paired((table[0].tolist(), [1.0] * 80), (table[1].tolist(), [1.0] * 80), kind)
        assert first.p_value == second.p_value == pytest.approx(beside.p_value, rel=1e-12)
        assert second.effect == pytest.approx(beside.delta / 2)


def test_an_effect_of_several_settings_has_students_test_over_documents() -> None:
    levels = [{"a": level} for level in ("x", "y", "z")]
    table = np.random.default_rng(7).random((3, 40)) + np.array([[0.2], [0.0], [0.0]])
    (first, *_) = effects(levels, table, np.ones(40), ["a"], metric_kind("bits_per_byte")).found
    assert first.p_value == pytest.approx(stats.ttest_1samp(table[0] - table.mean(axis=0), 0).pvalue)


def test_where_no_document_differs_an_effect_has_an_interval_with_a_width() -> None:
    for level in by(effects(grid(), np.zeros((12, 16)), np.ones(16), list(FACTORS)).found, "level").values():
        assert level.low is not None and level.high is not None and level.low < -0.01 < 0.01 < level.high
        assert level.p_value == 1


def test_of_noise_alone_few_studies_see_an_effect_once_corrected() -> None:
    """A grid of 6 by 4 settings that are all right half of the time: 34 tests, 20 studies, 5 % of which may see one."""
    levels = [{"a": str(a), "b": str(b)} for a in range(6) for b in range(4)]
    seen = 0
    for seed in range(20):
        found = effects(levels, drawn([0.5] * 24, 100, seed), np.ones(100), ["a", "b"]).found
        tested = correct_effects({("m", "t"): found}, "holm")["m", "t"]
        seen += any(each.p_corrected is not None and each.p_corrected < 0.05 for each in tested)
    assert seen <= 3


def test_mirrored_effects_are_corrected_as_one_test() -> None:
    levels = [{"a": a, "b": b} for a in ("x", "y") for b in ("one", "two", "three")]
    found = effects(levels, drawn([0.3, 0.3, 0.5, 0.4, 0.4, 0.7], 60, 2), np.ones(60), ["a", "b"]).found
    tested = {(e.kind, e.level, e.level_2): e for e in correct_effects({("m", "t"): found}, "bonferroni")["m", "t"]}
    # one of a, three of b, three of both together
    for each in tested.values():
        if each.p_value is not None:
            assert each.p_corrected == pytest.approx(min(1, 7 * each.p_value))
    assert tested["level", "x", ""].p_corrected == tested["level", "y", ""].p_corrected


def test_what_is_not_explained_is_named() -> None:
    half = [each for each in grid() if (each["b"], each["c"]) != ("one", "x")]
    assert (
        effects(grid(), outcomes(grid()), np.ones(400), list(FACTORS)).rest == "interactions of three factors and more"
    )
    assert effects(half, outcomes(half), np.ones(400), list(FACTORS)).rest.startswith(
        "interactions not estimated: b × c"
    )


def test_interactions_that_a_model_has_no_room_for_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlm.analysis.sensitivity.effects.MOST_COLUMNS", 6)
    found = effects(grid(), outcomes(grid()), np.ones(400), list(FACTORS))
    assert found.rest.startswith("interactions not estimated: a × b, b × c;")
    assert {each.factor + each.factor_2 for each in found.found if each.kind == "interaction"} == {"ac"}


def test_a_range_is_told_in_quarters() -> None:
    levels = [{"t": f"{value:.3f}"} for value in np.linspace(0, 1, 32)]
    table = (np.linspace(0, 1, 32)[:, None] > np.random.default_rng(0).random((1, 200))).astype(float)
    whole = effects(levels, table, np.ones(200), ["t"], ranges=["t"])
    found = by(whole.found, "level")
    assert whole.rest == "within the quarters of t"
    assert [each.level for each in found.values()] == ["0 to 0.25", "0.25 to 0.5", "0.5 to 0.75", "0.75 to 1"]
    assert len(by(effects(levels[::4], table[::4], np.ones(200), ["t"], ranges=["t"]).found, "level")) == 4
    assert len(by(effects(levels, table, np.ones(200), ["t"]).found, "level")) == 32
    assert [each.effect for each in found.values()] == sorted(each.effect for each in found.values())


def pair(n: int, right: float, gain: float, seed: int) -> tuple[list[float], list[float]]:
    one, other = drawn([right, right + gain], n, seed).tolist()
    return one, other


def test_the_p_value_of_all_or_nothing_outcomes_is_mcnemars() -> None:
    one, other = pair(150, 0.5, -0.1, 3)
    found = compare_paired((one, [1] * 150), (other, [1] * 150), SHARE)
    table = [[sum(a == i and b == j for a, b in zip(one, other, strict=True)) for j in (0, 1)] for i in (0, 1)]
    assert found.p_value == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert found.delta == pytest.approx(np.mean(other) - np.mean(one))
    assert found.ratio == pytest.approx(np.mean(other) / np.mean(one))


def test_the_p_value_of_losses_is_students() -> None:
    one, other = np.random.default_rng(5).random((2, 60))
    found = compare_paired((one.tolist(), [1.0] * 60), (other.tolist(), [1.0] * 60), metric_kind("bits_per_byte"))
    assert found.p_value == pytest.approx(stats.ttest_rel(one, other).pvalue)


@pytest.mark.parametrize(("right", "gain"), [(0.5, -0.2), (0.2, 0.0), (0.8, 0.1)])
def test_intervals_of_difference_and_ratio_cover_the_truth(right: float, gain: float) -> None:
    truth = gain, (right + gain) / right
    hits = np.zeros(2)
    for seed in range(200):
        one, other = pair(100, right, gain, seed)
        found = compare_paired((one, [1] * 100), (other, [1] * 100), SHARE)
        assert found.ratio_low is not None
        hits[0] += found.delta_low <= truth[0] <= found.delta_high
        hits[1] += found.ratio_low <= truth[1] <= (found.ratio_high or np.inf)
    assert (hits / 200 > 0.91).all(), hits


def test_shares_of_nought_and_of_all_have_intervals_too() -> None:
    nothing, some, everything = [0.0] * 20, [1.0] * 8 + [0.0] * 12, [1.0] * 20
    ones = [1.0] * 20
    gone = compare_paired((some, ones), (nothing, ones), SHARE)
    assert gone.ratio == gone.ratio_low == 0 and gone.ratio_high is not None and 0 < gone.ratio_high < 1
    assert compare_paired((nothing, ones), (some, ones), SHARE).ratio is None
    same = compare_paired((everything, ones), (everything, ones), SHARE)
    assert same.p_value == 1 and same.delta_low < 0 < same.delta_high
    assert same.ratio_low is not None and same.ratio_high is not None and same.ratio_low < 1 < same.ratio_high


def test_the_ratio_of_perplexities_is_the_exponential_of_the_difference() -> None:
    kind = metric_kind("word_perplexity")
    words = [10.0] * 30
    one = np.random.default_rng(2).random(30) * 10 + 20
    found = compare_paired((one.tolist(), words), ((one + 1).tolist(), words), kind)
    assert found.delta == pytest.approx(0.1) and found.ratio == pytest.approx(np.exp(0.1))
