"""Rows that are means over seeds."""

from __future__ import annotations

import csv
import statistics
from dataclasses import replace
from typing import Any

import pytest
from analysis_examples import SETTINGS, TASKS, cell, pair_scores, pair_table, right

from dlm.analysis import build_table
from dlm.analysis.render import ANSWER_COLUMNS, COLUMNS, csv_text, lineage, markdown
from dlm.analysis.repeats import mean_cell
from dlm.analysis.tables import Asked
from dlm.errors import DataError

SEEDS = ("blocks@1", "blocks@2")


def table(*counts: int, **changes: Any) -> Any:
    """A row that answered word problems with three seeds, beside one that did so with one."""
    found = pair_scores()
    more = [
        cell("words", right(count, 100), setting=name, **changes) for name, count in zip(SEEDS, counts, strict=True)
    ]
    found["base-sft"]["cells"] += more

    def asked(row: Any, task: str) -> Asked:
        return Asked(SETTINGS[task], repeats=SEEDS if (row.model, task) == ("base-sft", "words") else ())

    bundles = {model: [each] for model, each in found.items()}
    return build_table("table1", pair_table(), TASKS, "tiny", bundles, asked)


def test_a_cell_is_the_mean_and_says_how_far_the_seeds_lie_apart():
    result = table(70, 58)
    rows = list(csv.DictReader(csv_text(result).splitlines()))
    assert tuple(rows[0]) == (*COLUMNS, *ANSWER_COLUMNS, "seeds", "seed_sd")
    assert [(row["seeds"], row["seed_sd"]) for row in rows if row["model"] == "base"] == [("1", "")] * 3
    words = rows[3]
    assert (words["value"], words["setting"], words["seeds"]) == ("0.640000", "blocks", "3")
    assert float(words["seed_sd"]) == pytest.approx(statistics.stdev([0.64, 0.70, 0.58]), abs=1e-6)
    assert "{6.0}" in markdown(result) and "mean over 3 seeds" in markdown(result)


def test_the_error_over_documents_is_that_of_the_mean_over_seeds():
    apart = table(70, 58).results[3].estimate
    alike = table(64, 64).results[3].estimate
    assert alike.stderr == pytest.approx((0.64 * 0.36 / 99) ** 0.5)
    shares = [1.0] * 58 + [2 / 3] * 6 + [1 / 3] * 6 + [0.0] * 30
    assert apart.stderr == pytest.approx(statistics.stdev(shares) / 10)


def test_differences_are_of_the_means():
    (gain, *_) = table(70, 58).gains
    assert gain.gain.value == pytest.approx(0.64 - 0.10)


def test_the_lineage_lists_the_seeds():
    seeds = lineage(table(70, 58), code={})["rows"][3]["seeds"]
    assert [(seed["setting"], seed["value"]) for seed in seeds] == [
        ("blocks", 0.64),
        ("blocks@1", 0.7),
        ("blocks@2", 0.58),
    ]


def test_how_answers_look_is_the_mean_over_the_seeds():
    result = table(70, 58)
    shares = [(0.25, 0.5, 10.0), (0.0, 0.5, 11.0), (0.125, 0.125, 15.0)]
    looks = [dict(zip(ANSWER_COLUMNS, each, strict=True)) for each in shares]
    looks[0]["order_tau"] = 0.5  # which the others do not say, so nobody can say it of the mean
    cells = [
        replace(cell, extra={**cell.extra, **look}) for cell, look in zip(result.results[3].cells, looks, strict=True)
    ]
    line = replace(result.results[3], cell=mean_cell(cells), cells=tuple(cells))
    result = replace(result, results=(*result.results[:3], line))
    base, *_, words = csv.DictReader(csv_text(result).splitlines())
    assert [words[name] for name in ANSWER_COLUMNS] == ["0.125000", "0.375000", "12.000000"]
    assert [base[name] for name in ANSWER_COLUMNS] == ["", "", ""]
    row = lineage(result, code={})["rows"][3]
    assert (row["mean_tokens"], "order_tau" in row) == (12.0, False)
    assert [seed["truncated_share"] for seed in row["seeds"]] == [0.5, 0.5, 0.125]


def test_a_table_without_seeds_has_its_columns():
    result = build_table(
        "t", pair_table(), TASKS, "tiny", {model: [each] for model, each in pair_scores().items()},
        lambda row, task: Asked(SETTINGS[task]),
    )  # fmt: skip
    assert csv_text(result).splitlines()[0] == ",".join(COLUMNS + ANSWER_COLUMNS)


def test_seeds_that_answered_other_documents_are_refused():
    with pytest.raises(DataError, match="settings 'blocks' and 'blocks@1': not the same documents"):
        table(70, 58, doc_ids=list(range(1, 101)))
    one = replace(pair_table().rows[0], seeds=2)
    with pytest.raises(DataError, match=r"no cell for task 'words' \(setting 'blocks@1'"):
        build_table(
            "t", replace(pair_table(), rows=(one,)), TASKS, "tiny", {"base": [pair_scores()["base"]]},
            lambda row, task: Asked(SETTINGS[task], repeats=("blocks@1",)),
        )  # fmt: skip
