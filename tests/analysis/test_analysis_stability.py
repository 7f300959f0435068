"""Rankings of methods: orders as scipy has them, nulls reported as nulls, crossings found, gaps in designs."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from dlm.analysis.sensitivity.ranking import block
from dlm.analysis.sensitivity.ranks import Rank, ranks
from dlm.analysis.sensitivity.resampling import rates, resampled
from dlm.analysis.sensitivity.stability import agreement, context_pairs, order_signs, tau_and_flips


def drawn(right_CM: np.ndarray, documents: int, seed: int) -> np.ndarray:
    """All-or-nothing outcomes (contexts × methods, documents), mostly right on the same documents."""
    generator = np.random.default_rng(seed)
    ease, noise = generator.standard_normal(documents), generator.standard_normal((right_CM.size, documents))
    return (stats.norm.cdf(np.sqrt(0.6) * ease + np.sqrt(0.4) * noise) < right_CM.reshape(-1, 1)).astype(float)


def ranked(table: np.ndarray, contexts: int, **more: object) -> list[Rank]:
    """Rank methods of which ``table`` has (contexts × methods, documents)."""
    methods, documents = len(table) // contexts, table.shape[1]
    point, again = rates(table, np.ones(documents)), resampled(table, np.ones(documents)).rates_RS
    parts = {f"c{at}": slice(at * methods, (at + 1) * methods) for at in range(contexts)}
    return ranks(
        [f"m{at}" for at in range(methods)],
        {name: point[part] for name, part in parts.items()},
        {name: again[:, part] for name, part in parts.items()},
        dict.fromkeys(parts, documents),
        **more,  # type: ignore[arg-type]
    )


def mean_of(found: list[Rank]) -> Rank:
    (mean,) = (each for each in found if each.kind == "mean")
    return mean


def test_tau_is_scipys_ties_included() -> None:
    generator = np.random.default_rng(4)
    one, other = generator.integers(0, 5, (2, 50, 7)) / 5
    signs, others = (order_signs(side[:, None, :])[:, 0] for side in (one, other))
    tau, flips = tau_and_flips(signs, others)
    expected = [stats.kendalltau(a, b).statistic for a, b in zip(one, other, strict=True)]
    assert tau == pytest.approx(expected, nan_ok=True)
    counted = 0.0
    for i, j in itertools.combinations(range(7), 2):
        a, b = np.sign(one[0, i] - one[0, j]), np.sign(other[0, i] - other[0, j])
        counted += 1 if a * b < 0 else 0.5 if a != b else 0
    assert flips[0] == counted / 21


@pytest.mark.parametrize(
    ("right", "documents"),
    [
        (np.tile(0.3 + 0.05 * np.arange(6), (4, 1)), 128),
        (np.full((4, 6), 0.5), 128),
        (np.array([[0.7], [0.12], [0.2], [0.15]]) + 0.03 * np.arange(-3, 3), 64),
    ],
    ids=["gaps_of_5_points", "equal_methods", "contexts_of_other_level_and_spread"],
)
def test_a_ranking_that_holds_is_reported_so(right: np.ndarray, documents: int) -> None:
    """40 samples, of which 5 % may be told as unstable."""
    told = [mean_of(ranked(drawn(right, documents, seed), len(right))) for seed in range(40)]
    assert sum(each.p_value is not None and each.p_value < 0.05 for each in told) <= 5
    excess = [each.flips_excess for each in told if each.flips_excess is not None]
    assert abs(np.mean(excess)) < 0.1, "what chance makes is about what is seen"


def test_a_true_crossing_is_found() -> None:
    right = np.array([[0.3, 0.4, 0.5, 0.6], [0.3, 0.4, 0.5, 0.6], [0.6, 0.5, 0.4, 0.3]])
    told = [mean_of(ranked(drawn(right, 128, seed), 3)) for seed in range(20)]
    assert sum(each.p_value is not None and each.p_value < 0.05 for each in told) >= 18
    pairs = {(each.context, each.context_2): each for each in ranked(drawn(right, 128, 0), 3) if each.kind == "pair"}
    assert pairs["c0", "c1"].p_value > 0.2 and pairs["c0", "c2"].p_value < 0.05  # type: ignore[operator]


def test_a_ranking_that_holds_and_one_that_flips() -> None:
    """Methods 20 points apart: in one context in this order, in the other in the opposite one."""
    documents = np.random.default_rng(0).random((1, 300))
    right = np.array([0.3, 0.5, 0.7])
    table = np.vstack([documents < level for level in (*right, *right, *right[::-1])]).reshape(9, 300).astype(float)
    found = ranked(table, 3, claimed="m2")
    pairs = {(each.context, each.context_2): each for each in found if each.kind == "pair"}
    assert pairs["c0", "c1"].tau == 1 and pairs["c0", "c1"].flips == 0 and pairs["c0", "c1"].p_value == 1
    assert pairs["c0", "c2"].tau == -1 and pairs["c0", "c2"].flips == 1
    wins = {(each.method, each.context): each.wins for each in found if each.kind == "method"}
    assert wins["m2", "c0"] == 1 and wins["m2", "c2"] == 0
    assert {each.method for each in found if each.claimed} == {"m2"}
    mean = mean_of(found)
    assert mean.tau == pytest.approx(-1 / 3) and mean.flips == pytest.approx(2 / 3)
    assert mean.flips_excess == pytest.approx(2 / 3 - (mean.flips_null or 0))


def test_who_wins_over_all_contexts_has_the_best_mean() -> None:
    """One method is far ahead in one context and a little behind in two: its mean is the best for certain."""
    right = np.array([[0.9, 0.1], [0.5, 0.55], [0.5, 0.55]])
    found = ranked(drawn(right, 400, 1), 3)
    overall = {each.method: each for each in found if each.kind == "method" and not each.context}
    assert overall["m0"].rank == 1 and overall["m0"].wins == 1 and overall["m0"].claimed


def test_losses_are_ranked_the_other_way() -> None:
    point, again = {"only": np.array([1.0, 2.0])}, {"only": np.array([[1.0, 2.0]] * 10)}
    found = ranks(["low", "high"], point, again, {"only": 10}, higher_is_better=False)
    assert [(each.method, each.rank, each.wins) for each in found if each.context] == [("low", 1, 1), ("high", 2, 0)]


def test_many_contexts_and_methods_need_little_memory() -> None:
    """All orders at once would be 200 × 40 × 1225 numbers: 10 MB as bytes, 78 MB as the floats they come from."""
    generator = np.random.default_rng(0)
    point, noise = generator.random((40, 50)), generator.normal(0, 0.05, (200, 40, 50))
    tracemalloc.start()
    found = agreement(point, noise, context_pairs(40)[:20])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6 and 0 < found.p_value < 1
    assert len(context_pairs(40)) == 39, "of 780 pairs those with the first context"


@pytest.mark.parametrize(
    ("methods_of", "expected"),
    [
        ({"p": "abcd", "q": "abc", "r": "abc"}, ("abc", "pqr")),
        ({"p": "abcdef", "q": "abcdef", "r": "ab"}, ("abcdef", "pq")),
        ({"p": "abcdefgh", "q": "ab"}, ("ab", "pq")),
        ({"p": "ab", "q": "cd"}, ("ab", "p")),
        ({"p": "a", "q": "b"}, ("", "")),
    ],
)
def test_the_largest_block_without_a_gap_is_ranked(methods_of: dict[str, str], expected: tuple[str, str]) -> None:
    methods, contexts = block({context: [*found] for context, found in methods_of.items()})
    assert ("".join(methods), "".join(contexts)) == expected
