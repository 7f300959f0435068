"""Perplexities and bits: values, errors, intervals, differences and rendering of metrics that are no shares."""

from __future__ import annotations

import csv
import math
import random
import statistics
from dataclasses import replace
from typing import Any

import pytest
from analysis_examples import TASKS, cell, right, scores
from scipy import stats

from dlm.analysis import Published, build_table, estimate, paired_gain
from dlm.analysis.cells import read_cells
from dlm.analysis.published import Figure
from dlm.analysis.render import csv_text, lineage, markdown
from dlm.analysis.tables import Asked
from dlm.analysis.verdicts import agrees
from dlm.errors import DataError, SettingsError
from dlm.settings import Table, TableRow, Task
from dlm.settings.metrics import SHARE, metric_kind

WORDS = metric_kind("word_perplexity")
BITS = metric_kind("bits_per_byte")


def texts(seed: int, n: int = 60, hard: float = 2.0) -> tuple[list[float], list[float]]:
    """Negative log-likelihoods, in nats, and lengths of texts."""
    draw = random.Random(seed)
    lengths = [float(draw.randint(5, 40)) for _ in range(n)]
    return [length * hard * math.exp(draw.gauss(0, 0.3)) for length in lengths], lengths


def test_values_are_those_of_the_whole_text():
    nats, lengths = texts(1)
    assert estimate(nats, lengths, WORDS).value == pytest.approx(math.exp(sum(nats) / sum(lengths)))
    bits = [BITS.in_unit(each) for each in nats]
    assert estimate(bits, lengths, BITS).value == pytest.approx(sum(nats) / sum(lengths) / math.log(2))
    assert metric_kind("acc") is SHARE and metric_kind("perplexity").exponential


@pytest.mark.parametrize("kind", [WORDS, BITS])
def test_the_standard_error_is_that_of_drawing_the_documents_anew(kind):
    nats, lengths = texts(2)
    draw, values = random.Random(3), []
    for _ in range(1500):
        chosen = draw.choices(range(len(nats)), k=len(nats))
        values.append(kind.value(sum(nats[i] for i in chosen) / sum(lengths[i] for i in chosen)))
    assert estimate(nats, lengths, kind).stderr == pytest.approx(statistics.stdev(values), rel=0.12)


def test_intervals_cover_and_stay_above_one():
    truth = math.exp(2.0 * math.exp(0.3**2 / 2))
    found = [estimate(*texts(seed, n=30), WORDS) for seed in range(300)]
    assert 0.91 <= statistics.mean(one.low <= truth <= one.high for one in found) <= 0.98
    single = estimate([30.0], [10.0], WORDS)
    assert (single.stderr, single.low, single.high) == (None, 1.0, math.inf)
    assert estimate([0.0, 40.0], [10.0, 10.0], WORDS).low == 1.0


def test_the_monte_carlo_part_of_the_error():
    found = estimate([20.0, 30.0], [10.0, 10.0], WORDS, [3.0, 4.0])
    assert found.monte_carlo == pytest.approx(found.value * 5.0 / 20.0)
    assert estimate([20.0, 30.0], [10.0, 10.0], WORDS, [3.0, None]).monte_carlo is None
    assert estimate([20.0, 30.0], [10.0, 10.0], WORDS, [0.0, 0.0]).monte_carlo == 0.0
    assert estimate([20.0, 30.0], [10.0, 10.0], WORDS).monte_carlo is None


def test_a_paired_difference_is_that_of_logarithms():
    nats, lengths = texts(4)
    better = [each * 0.9 for each in nats]
    gain = paired_gain((nats, lengths), (better, lengths), WORDS)
    values = [estimate(each, lengths, WORDS).value for each in (nats, better)]
    assert gain.value == pytest.approx(math.log(values[1] / values[0])) and gain.value < 0
    assert gain.beyond_noise and gain.stderr < estimate(nats, lengths, WORDS).rate_stderr / 3


def test_a_difference_of_losses_is_tested_by_students_test_or_its_sign():
    lengths = [10.0] * 4
    gain = paired_gain(([20.0] * 4, lengths), ([18.0, 17.0, 19.0, 18.5], lengths), WORDS)
    assert gain.p_value == pytest.approx(stats.ttest_1samp([-2.0, -3.0, -1.0, -1.5], 0).pvalue)
    for n, beyond in ((2, False), (6, True)):
        alike = paired_gain(([20.0] * n, [10.0] * n), ([19.0] * n, [10.0] * n), WORDS)
        assert alike.p_value == pytest.approx(2 * 0.5**n) and alike.beyond_noise == beyond
    same, single = ([20.0, 30.0], [10.0, 9.0]), ([20.0], [10.0])
    assert paired_gain(same, same, WORDS).p_value == 1.0 and paired_gain(single, single, WORDS).p_value is None


def test_verdicts_compare_logarithms():
    ours = estimate(*texts(5), WORDS)
    assert agrees(ours, ours.value * 1.01, None) and not agrees(ours, ours.high * 1.01, None)
    assert agrees(ours, ours.high * 1.01, ours.n), "the published number has an error too"
    assert not agrees(ours, ours.value * 3, ours.n)


TEXT = Task(title="Text", lm_eval="dlm_held_out_text", output="likelihood", metric="word_perplexity", benchmark="Wiki")
ROWS = (
    TableRow(model="base", label="Base", stage="before SFT", published="P"),
    TableRow(model="sft", label="Base + SFT", stage="after SFT"),
)
TABLE = Table(title="Both kinds", rows=ROWS, tasks=("words", "text"))


def table(published: Published | None = None, **errors: Any) -> Any:
    found = {}
    for model, hard in (("base", 2.2), ("sft", 2.0)):
        nats, lengths = texts(6, 20, hard)
        changes = {"setting": "mc8", "metric": "word_perplexity", **errors}
        changes["value"] = math.exp(math.fsum(nats) / math.fsum(lengths))
        found[model] = [
            scores(model, [cell("words", right(9, 20)), cell("choice", nats, lengths, **changes) | {"task": "text"}])
        ]
    wanted = replace(TABLE, published="paper") if published else TABLE
    how = {"words": "blocks", "text": "mc8"}
    tasks = {"words": TASKS["words"], "text": TEXT}
    return build_table("both", wanted, tasks, "tiny", found, lambda row, task: Asked(how[task]), published)


def test_rendered_in_their_own_unit_beside_shares():
    result = table(mc_stderrs=[1.0] * 20)
    text, (head, _, before, after) = markdown(result), markdown(result).splitlines()[4:8]
    assert "Text, word perplexity ↓ |" in head
    first, value = result.results[1].estimate, result.results[3].estimate
    change = f"({math.log(value.value / first.value):+.3f}, ×{value.value / first.value:.3f})"
    assert f"**{value.value:.4g}** ± {value.stderr:.4g} {change}" in after, "the lower one is the better one"
    assert "†" not in before + after and "%" not in before + after
    assert "lower is better" in text and "an upper bound" in text and "nats per word" in text
    assert f"at most {max(line.estimate.monte_carlo for line in result.results[1::2]):.4g} is Monte-Carlo" in text
    line = list(csv.DictReader(csv_text(result).splitlines()))[3]
    assert (line["metric"], line["value"]) == ("word_perplexity", f"{value.value:.6f}")
    assert float(line["ci_low"]) == pytest.approx(value.low, abs=1e-6) and line["verdict"] == "not published"
    assert lineage(result, code={})["rows"][3]["mc_stderr"] == round(value.monte_carlo, 6)


def test_published_perplexities_are_joined_by_the_metrics_name():
    common = {"table": "paper", "model": "P", "benchmark": "Wiki", "source": "official", "note": ""}
    figures = [Figure(metric="score", value=0.5, **common), Figure(metric="word_perplexity", value=9.0, **common)]
    result = table(Published(figures))
    assert [line.published.figure and line.published.figure.value for line in result.results] == [None, 9.0, None, None]
    assert "published 9: " in markdown(result)


def test_exact_likelihoods_are_no_bound():
    result = table()
    exact = [replace(line, cell=replace(line.cell, setting="exact")) for line in result.results]
    assert "an upper bound" not in markdown(replace(result, results=tuple(exact)))


def test_what_is_refused():
    with pytest.raises(DataError, match=r"numerator -1\.0; expected a number of at least 0"):
        estimate([-1.0], [2.0], WORDS)
    with pytest.raises(SettingsError, match="chance does not apply to metric 'word_perplexity'"):
        replace(TEXT, chance=0.1)
    one = cell("choice", [20.0, 30.0], [10.0, 10.0], metric="word_perplexity", value=2.5)
    with pytest.raises(DataError, match=r"value is 2.5, its documents give 12.18"):
        read_cells("base", "tiny", scores("base", [one]))
