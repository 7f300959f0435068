"""From an address to a row, from a row to what it was made from, and to the answers behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from finished_project import make_project
from statsmodels.stats.contingency_tables import mcnemar

from dlm.analysis.comparing import compare
from dlm.cli import cli
from dlm.errors import DataError, SettingsError
from dlm.files import read_json, write_json
from dlm.inspection import Node, disagreements, find_row, find_rows, lineage_of
from dlm.inspection.answers import answers_of, record_of
from dlm.params.layout import Layout

# Of ten documents: 2 right in both, 3 in neither, 4 only slow, 1 only fast.
SLOW = [1, 1, 0, 0, 0, 1, 1, 1, 1, 0]
FAST = [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_project(tmp_path_factory.mktemp("project") / "here", {"slow": SLOW, "fast": FAST})


def everything(node: Node) -> Iterator[Node]:
    yield node
    for parent in node.made_from:
        yield from everything(parent)


@pytest.mark.parametrize("address", ["two:tuned/words/slow", "tuned/words/slow"])
def test_an_address_finds_its_row_and_is_its_name(layout: Layout, address: str) -> None:
    row = find_row(layout, address)
    assert (row.address, row.checkpoint, row.cell.setting, row.cell.value) == (address, "tuned", "slow", 0.6)


def test_the_beginning_of_an_address_finds_all(layout: Layout) -> None:
    both = ["two:tuned/words/slow", "two:tuned/words/fast"]
    for beginning in ("two", "two:", "two:tuned", "two:tuned/words"):
        assert [row.address for row in find_rows(layout, beginning)] == both
    assert [row.address for row in find_rows(layout, "tuned")] == ["tuned/words/slow", "tuned/words/fast"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tow", "no table 'tow' at scale 'tiny'; did you mean 'two'?"),
        ("two:tuned/word/slow", "table 'two' has no row 'tuned/word/slow'; near: tuned/words/slow, tuned/words/fast"),
        ("two:tuned/words", "names 2 rows: two:tuned/words/slow, two:tuned/words/fast; name one"),
        ("tund/words", "no scores of a model 'tund' at scale 'tiny'; did you mean 'tuned'?"),
        ("tuned/words/slwo", "no scores of 'tuned/words/slwo'; near: tuned/words/slow"),
    ],
)
def test_an_address_of_nothing_or_of_several_names_the_near_ones(layout: Layout, address: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        find_row(layout, address)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_lineage_goes_back_to_random_weights(layout: Layout) -> None:
    tree = lineage_of(find_row(layout, "two:tuned/words/fast"))
    nodes = {(node.kind, node.name): node for node in everything(tree)}
    assert {kind for kind, _ in nodes} >= {
        "cell", "table", "scores", "responses", "sampler", "execution", "data", "checkpoint", "recipe", "run"
    }  # fmt: skip
    tuned = nodes["checkpoint", "tuned"]
    assert [parent.name for parent in tuned.made_from] == ["short", "corpus", "base"]
    assert nodes["checkpoint", "base"].told["start"] == "scratch"
    assert nodes["sampler", "fast"].told["selector.steps"] == "9"
    assert nodes["data", "words"].told["seed"] == "11"
    assert nodes["scores", "tuned/1"].told["code"] == f"dlm 0.1.0, {'c' * 12}"
    assert tree.told["exact_match"].startswith("30.0 ±")
    assert not [node for node in nodes.values() if "note" in node.told]


def test_what_is_no_longer_as_it_was_is_said_to_be_so(tmp_path: Path) -> None:
    layout = make_project(tmp_path / "here", {"slow": SLOW, "fast": FAST})
    make_project(tmp_path / "there", {"slow": SLOW})
    manifest = layout.folder("checkpoints", "tuned") / "manifest.json"
    write_json(manifest, read_json(manifest) | {"digest": "another"})
    path = layout.folder("scores", "tuned/1") / "scores.json"
    scores = read_json(path)
    write_json(path, scores | {"cells": [cell | {"what": "anew"} for cell in scores["cells"]]})
    nodes = {node.kind: node for node in everything(lineage_of(find_row(layout, "two:tuned/words/fast")))}
    assert "made anew since" in nodes["checkpoint"].told["note"]
    assert "run `dlm table two --scale tiny`" in nodes["table"].told["note"]


def test_disagreements_are_paired_and_tested(layout: Layout) -> None:
    found = disagreements(find_row(layout, "two:tuned/words/slow"), find_row(layout, "two:tuned/words/fast"))
    assert (found.both_right, found.neither_right, found.only_one, found.only_other) == (2, 3, 4, 1)
    assert [pair[0].doc_id for pair in found.pairs] == ["w5", "w6", "w7", "w8", "w9"]
    assert found.p_value == pytest.approx(mcnemar([[2, 4], [1, 3]], exact=True).pvalue)
    assert found.test == "exact McNemar test"
    same = disagreements(found.one, found.one)
    assert (same.p_value, same.pairs) == (1.0, ())


def test_graded_documents_have_a_sign_test(tmp_path: Path) -> None:
    layout = make_project(tmp_path, {"slow": [0.5, 1, 0.25, 0], "fast": [0.25, 1, 0.5, 0]}, grades=4)
    found = disagreements(*(find_row(layout, f"two:tuned/words/{setting}") for setting in ("slow", "fast")))
    assert (found.both_right, found.neither_right, found.only_one, found.only_other) == (1, 1, 1, 1)
    assert (found.test, found.p_value) == ("sign test", 1.0)


def test_answers_are_those_of_the_row(layout: Layout) -> None:
    row = find_row(layout, "tuned/words/fast")
    answers = answers_of(row)
    assert [answer.response for answer in answers][:3] == [
        "fast says <1> of 0",
        "fast says <1> of 1",
        "fast says <0> of 2",
    ]
    record = record_of(row, answers[2])
    assert record is not None
    assert record.record["what"] == "fast-2"


def test_answers_that_do_not_fit_the_scores_are_refused(tmp_path: Path) -> None:
    layout = make_project(tmp_path, {"slow": SLOW})
    path = layout.folder("scores", "tuned/1") / "samples.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match=r"samples.jsonl: not the answers that scores.json beside it counts"):
        answers_of(find_row(layout, "tuned/words/slow"))


def test_the_verbs_print_trees_and_pairs(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(layout.root)
    told = CliRunner().invoke(cli, ["lineage", "two:tuned/words/slow"], catch_exceptions=False).output
    assert told.splitlines()[0] == "cell two:tuned/words/slow"
    assert "checkpoint base" in told
    listed = CliRunner().invoke(cli, ["lineage", "two"], catch_exceptions=False).output
    assert listed.count("two:tuned/words/") == 2
    tree = json.loads(CliRunner().invoke(cli, ["lineage", "two:tuned/words/slow", "--json"]).output)
    assert (tree["kind"], tree["made_from"][0]["kind"]) == ("cell", "table")
    pair = ["diff", "two:tuned/words/slow", "two:tuned/words/fast"]
    shown = CliRunner().invoke(cli, [*pair, "--show", "2"], catch_exceptions=False).output
    assert "10 documents: 2 both right, 3 neither, 4 only 1 right, 1 only 2 right" in shown
    assert "exact McNemar test: p = 0.375 (4 against 1)" in shown
    assert ("slow says <1> of 5" in shown, "slow says <1> of 7" in shown) == (True, False)
    counted = json.loads(CliRunner().invoke(cli, [*pair, "--json"]).output)
    assert (counted["better"], len(counted["pairs"])) == ([4, 1], 5)


def test_results_are_compared_by_the_address_of_a_row_too(layout: Layout) -> None:
    from dlm.cli.planning import _result

    sides = [_result(layout.root, "tiny", f"two:tuned/words/{setting}") for setting in ("slow", "fast")]
    found = compare(*sides)
    assert "sampler.selector.steps" in [name for name, *_ in found.differing]
    assert found.difference == pytest.approx(-0.3)
    assert sides[0] == _result(layout.root, "tiny", "tuned/words/slow")
