"""Files of recorded answers through the pipeline's own tasks: every line read or named, published accuracies again."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import without_torch
from click.testing import CliRunner
from generations_example import EXPECTED, LINES, line, sudoku, write

from dlm.cli import cli
from dlm.errors import DataError, SettingsError
from dlm.evaluation.generation_files import read_generations
from dlm.evaluation.rescoring import score_generations
from dlm.params import load_plan
from dlm.params.task_files import own_tasks

WITHOUT_TORCH = [sys.executable, without_torch.__file__, "-m", "dlm"]


def told(*arguments: str) -> list[tuple[str, ...]]:
    done = CliRunner().invoke(cli, ["score", "--generations", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [tuple(row.split("\t")) for row in done.stdout.splitlines()]


def test_a_line_a_setting_whether_compressed_or_not(tmp_path):
    whole = write(tmp_path / "a.jsonl.gz")
    assert told(str(whole)) == EXPECTED
    parts = [write(tmp_path / f"{n}.jsonl", LINES[n::2]) for n in range(2)]
    assert sorted(told(*map(str, parts))) == sorted(EXPECTED)


def test_block_length_is_a_column_where_it_tells_settings_apart(tmp_path):
    lines = [line("gsm8k", 1, r"\boxed{1}"), line("gsm8k", 2, r"\boxed{1}", block_length=64)]
    both = [("gsm8k", "128", "64", "1", "100.00", "32"), ("gsm8k", "128", "64", "1", "0.00", "64")]
    assert told(str(write(tmp_path / "a.jsonl", lines))) == both


def test_another_filter_scores_anew(tmp_path):
    path = write(tmp_path / "a.jsonl", LINES[:4])
    assert [row[4] for row in told(str(path), "--filter", "lenient")] == ["66.67", "100.00"]
    with pytest.raises(SettingsError, match="task 'gsm8k' has no filter 'linient'; did you mean 'lenient'"):
        score_generations([path], "linient")


def test_it_needs_no_project_and_no_torch(tmp_path):
    command = [*WITHOUT_TORCH, "score", "--generations", str(write(tmp_path / "a.jsonl"))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "task\tlength\tsteps\tn\taccuracy\n")
    assert [tuple(row.split("\t")) for row in done.stdout.splitlines()] == EXPECTED


@pytest.mark.parametrize("name", ["gsm8k", "countdown"])
def test_published_accuracies_are_reproduced(shared, name):
    folder = shared / "data" / "generations"
    published = [row for row in csv.DictReader((folder / "accuracies.csv").open()) if row["task"] == name]
    columns = ("task", "gen_length", "steps", "answers", "accuracy_recomputed")
    path = str(folder / f"llada-8b-instruct-{name}.jsonl.gz")
    assert told(path) == [tuple(row[column] for column in columns) for row in published]
    if name == "gsm8k":
        found = score_generations([path], "lenient")
        assert [round(one.n * one.value) for one in found] == [int(row["gsm8k_lenient_correct"]) for row in published]


@pytest.mark.parametrize("task", ["gsm8k", "math500", "countdown", "sudoku"])
def test_the_paper_scale_scores_these_benchmarks_by_the_same_task_and_filter(repository, task):
    settings = load_plan("paper", repository).params.tasks[task]
    file = own_tasks()[settings.lm_eval]
    assert (file.generations, file.metrics[0], file.filters[0]) == (task, settings.metric, settings.filter)


GOOD = json.dumps(LINES[0])


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON"),
        ("[1]", "expected an object, found list"),
        (line("gms8k", 1, ""), "unknown task 'gms8k'; did you mean 'gsm8k'"),
        ({key: value for key, value in LINES[0].items() if key != "steps"}, "no 'steps'"),
        ({key: value for key, value in LINES[0].items() if key != "gold"}, "no 'gold'"),
        (line("gsm8k", 1, "", gen_length="128"), "'gen_length' must be a whole number, found '128'"),
        (line("gsm8k", 1, "", steps=0), "'steps' must be at least 1, found 0"),
        (line("gsm8k", 1, "", question=None), "'question' must be a text, found None"),
        (line("gsm8k", "18", ""), "'gold' must be a number or null, found '18'"),
        (line("gsm8k", True, ""), "'gold' must be a number or null, found True"),
        (line("math500", 7, ""), "'gold' must be a text, found 7"),
        (line("countdown", [1, 2, 3], ""), "'gold' must be [numbers, target], found [1, 2, 3]"),
        (line("countdown", [[1, "2"], 3], ""), "'gold' must be [numbers, target], found [[1, '2'], 3]"),
        (line("sudoku", "1" * 16, ""), "'question' must hold a puzzle: 16 digits"),
        (sudoku("", puzzle="1" * 16), "an empty cell among them"),
        ({**sudoku(""), "gold": "12"}, "'gold' must be a text of 16 digits, 1 to 4, found '12'"),
    ],
)
def test_a_bad_line_is_named(tmp_path, bad, fault):
    path = write(tmp_path / "a.jsonl", [GOOD, bad, GOOD])
    with pytest.raises(DataError) as caught:
        list(read_generations(path))
    assert str(caught.value).startswith(f"{path}:2: ") and fault in str(caught.value)
    assert "\n" not in str(caught.value)


def damaged(folder: Path, kind: str) -> Path:
    path = folder / "a.jsonl.gz"
    whole = gzip.compress((GOOD + "\n").encode() * 500)
    contents = {
        "cut": whole[:-30],
        "plain": GOOD.encode(),
        "empty": gzip.compress(b""),
        "bytes": gzip.compress(b"\xff\n"),
    }
    if kind != "absent":
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("absent", r":1: cannot be read \(No such file"),
        ("cut", r":\d+: cannot be read \(Compressed file ended"),
        ("plain", r":1: cannot be read \(Not a gzipped file"),
        ("empty", ":1: no answers in it"),
        ("bytes", ":1: not UTF-8 text"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, kind, fault):
    with pytest.raises(DataError, match=f"a.jsonl.gz{fault}"):
        score_generations([damaged(tmp_path, kind)])


def test_files_of_answers_and_a_checkpoints_name_are_told_apart(tmp_path):
    done = CliRunner().invoke(cli, ["score", "one", "two"])
    assert done.exit_code == 2 and "go with --generations" in done.output
