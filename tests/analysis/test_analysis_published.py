"""The published figures: the shipped file, look-ups, damage."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dlm.analysis.published import Published
from dlm.errors import DataError

FILE = Path(__file__).parents[2] / "data" / "published" / "published.csv"
HEAD = "table,model,benchmark,metric,source,value,note\n"


@pytest.fixture(scope="module")
def shipped() -> Published:
    return Published.load(FILE)


def write(tmp_path: Path, *rows: str, head: str = HEAD) -> Path:
    path = tmp_path / "published.csv"
    path.write_text(head + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_figure_of_the_papers_table(shipped: Published):
    figure = shipped.find("paper_table1_s1k", "LLaDA-8B-Base + MDLM SFT on s1K", "GSM8K")
    assert figure is not None
    assert (figure.value, figure.source, figure.n) == (0.7362, "dllm", 1319)
    assert "reasoning prefix forced" in figure.note
    assert shipped.lookup("paper_table1_s1k", "LLaDA-8B-Base + MDLM SFT on s1K", "GSM8K") == 0.7362


def test_table_1_is_whole(shipped: Published):
    rows = [figure for figure in shipped.figures if figure.table == "paper_table1_s1k"]
    assert len(rows) == 48
    assert len({figure.model for figure in rows}) == 8
    assert all(0 <= figure.value <= 1 for figure in rows)


def test_the_items_in_the_notes_give_the_printed_percentages(shipped: Published):
    checked = 0
    for figure in shipped.figures:
        if found := re.search(r"consistent with (\d+) of (\d+) items", figure.note):
            assert f"{int(found[1]) / int(found[2]):.4f}" == f"{figure.value:.4f}"
            checked += 1
    assert checked == 40


def test_what_is_not_published_is_none(shipped: Published):
    assert shipped.find("paper_table1_s1k", "GPT-2", "GSM8K") is None
    assert shipped.lookup("paper_table1_s1k", "LLaDA-8B-Base", "MMLU") is None


def test_the_paper_is_preferred_unless_told_otherwise(tmp_path: Path):
    path = write(tmp_path, "t,m,b,score,official,40,theirs", "t,m,b,score,dllm,41.5,ours", "t,m,b,score,blog,1,")
    assert Published.load(path).lookup("t", "m", "b") == 0.415
    other = Published.load(path, prefer=("official",)).find("t", "m", "b")
    assert other is not None and (other.value, other.source, other.note) == (0.40, "official", "theirs")


def test_speeds_are_kept_but_are_no_shares(tmp_path: Path):
    found = Published.load(write(tmp_path, "t,m,b,tokens_per_s baseline,dllm,131.5,"))
    assert found.figures[0].value == 131.5
    assert found.lookup("t", "m", "b") is None


def test_several_metrics_need_a_choice(shipped: Published, tmp_path: Path):
    found = Published.load(write(tmp_path, "t,m,b,accuracy_len128,dllm,10,", "t,m,b,accuracy_len256,dllm,20,"))
    assert found.lookup("t", "m", "b", metric="accuracy_len256") == 0.2
    with pytest.raises(DataError, match="several metrics \\(accuracy_len128, accuracy_len256\\)"):
        found.lookup("t", "m", "b")


def test_all_that_is_published_of_a_cell(tmp_path: Path):
    rows = [
        "t,m,b,score,official,40,theirs", "t,m,b,score,dllm,41.5,ours", "t,m,b,tokens_per_s,dllm,8,",
        "old,m,b,score,dllm,39,", "old,m,b,other,dllm,1,", "else,m,b,score,dllm,2,",
    ]  # fmt: skip
    found = Published.load(write(tmp_path, *rows))
    figure, beside = found.join(("t", "old"), "m", "b")
    assert figure is not None and (figure.value, figure.source) == (0.415, "dllm")
    assert [(f.table, f.metric, f.value) for f in beside] == [
        ("t", "tokens_per_s", 8.0), ("t", "score", 0.4), ("old", "score", 0.39), ("old", "other", 1.0),
    ]  # fmt: skip
    figure, beside = found.join(("t", "old"), "m", "b", metrics=("score",), source="official")
    assert figure is not None and figure.value == 0.4 and [f.value for f in beside] == [0.415, 0.39]
    # A source that says nothing is not replaced by another, nor the first table by the second.
    assert found.join(("old", "t"), "m", "b", metrics=("score",), source="official")[0] is None
    assert found.join(("t",), "m", "c") == (None, ())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("t,m,b,score,dllm,12", "6 fields, expected 7"),
        ("t,m,b,score,dllm,12,a,b", "8 fields, expected 7"),
        ("t,m,b,score,dllm,twelve,", "value is 'twelve', expected a percentage from 0 to 100"),
        ("t,m,b,score,dllm,120,", "expected a percentage"),
        ("t,m,b,score,dllm,nan,", "expected a percentage"),
        ("t,m,b,speedup x,dllm,fast,", "expected a number"),
        ("t,,b,score,dllm,12,", "model is empty"),
        ("a,b,c,score,dllm,1,again", "the figure of line 2 again"),
        ('t,m,b,score,dllm,12,"cut', "damaged row"),
    ],
)
def test_a_damaged_row_is_named_with_its_line(tmp_path: Path, row: str, message: str):
    path = write(tmp_path, "a,b,c,score,dllm,1,", row)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        Published.load(path)
    assert str(caught.value).startswith(f"{path}:3: ")


def test_a_wrong_head_a_missing_file_and_bad_bytes(tmp_path: Path):
    with pytest.raises(DataError, match=r"published\.csv:1: expected the columns"):
        Published.load(write(tmp_path, head="table,model\n"))
    with pytest.raises(DataError, match="no such file"):
        Published.load(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes(HEAD.encode() + b"t,m,\xff,score,dllm,1,\n")
    with pytest.raises(DataError, match="not UTF-8"):
        Published.load(tmp_path / "latin.csv")
