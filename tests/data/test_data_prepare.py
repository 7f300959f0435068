import json
import subprocess
import sys
from pathlib import Path

import pytest

from dlm.data.prepare import load_rows, prepare
from dlm.errors import DataError, SettingsError
from dlm.files import read_manifest
from dlm.settings.data import FixedTestSet, GeneratedMixture, GeneratedProblems, ProblemSettings, TokenizerData

PROBLEMS = ProblemSettings()
ROWS = {"word_problems": 30, "countdown": 10}
MIXTURE = GeneratedMixture(style="reasoning", rows=ROWS, held_out=4)
ROOT = Path(__file__).resolve().parents[2]


def made(settings, folder, corpora=None, name="x"):
    return prepare(name, settings, PROBLEMS, folder, corpora or {}, {"code": "1"})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_mixture_gives_two_files_and_a_manifest(tmp_path):
    folder = tmp_path / "data" / "mix"
    manifest = made(MIXTURE, folder, name="mix")
    assert names(folder) == ["held_out.jsonl", "manifest.json", "train.jsonl"]
    assert names(folder.parent) == ["mix"]
    assert read_manifest(folder) == manifest
    assert (manifest["kind"], manifest["name"], manifest["made_from"]) == ("dataset", "mix", {"code": "1"})
    assert len(load_rows(folder, "train")) == 40 and len(load_rows(folder, "held_out")) == 4


def test_problems_give_documents(tmp_path):
    made(GeneratedProblems(problem="sudoku", rows=5), tmp_path / "test")
    assert len(load_rows(tmp_path / "test", "test")) == 5


def test_a_copied_file_gives_documents_and_is_recorded(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"input": "3,7,2", "output": "20"}\n')
    settings = FixedTestSet(problem="countdown", repository="o/r", file="a.jsonl", revision="1", path=str(path))
    manifest = made(settings, tmp_path / "fixed")
    assert load_rows(tmp_path / "fixed", "test")[0]["target"] == 20
    assert manifest["made_from"]["source"]["bytes"] == path.stat().st_size


def test_a_tokenizer_is_trained_on_verified_corpora(tmp_path):
    corpus = made(MIXTURE, tmp_path / "mix")
    settings = TokenizerData(corpora=("mix",), vocab_size=300, template="llada")
    manifest = made(settings, tmp_path / "tok", {"mix": tmp_path / "mix"})
    assert manifest["kind"] == "tokenizer"
    assert set(manifest["files"]) == {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert manifest["made_from"] == {"code": "1", "corpora": {"mix": corpus["digest"]}}
    with (tmp_path / "mix" / "train.jsonl").open("a") as stream:
        stream.write('{"id": "extra", "text": "x"}\n')
    with pytest.raises(DataError, match=r"train\.jsonl: .* bytes, the manifest says"):
        made(settings, tmp_path / "tok", {"mix": tmp_path / "mix"})
    assert read_manifest(tmp_path / "tok") == manifest  # what was there stays


def test_an_unknown_corpus_is_named(tmp_path):
    settings = TokenizerData(corpora=("mixx",), vocab_size=300, template="llada")
    with pytest.raises(SettingsError, match=r"no prepared data 'mixx'; did you mean 'mix'\?"):
        made(settings, tmp_path / "tok", {"mix": tmp_path / "mix"})
    assert not list(tmp_path.iterdir())


def test_equal_settings_give_equal_digests_and_other_seeds_do_not(tmp_path):
    first, second = (made(MIXTURE, tmp_path / name)["digest"] for name in ("a", "b"))
    other = made(GeneratedMixture(style="reasoning", rows=ROWS, held_out=4, seed=1), tmp_path / "c")["digest"]
    assert first == second != other


def test_what_was_there_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "data"
    made(MIXTURE, folder)
    (folder / "old.txt").write_text("old")
    made(GeneratedProblems(problem="countdown", rows=3), folder)
    assert names(folder) == ["manifest.json", "test.jsonl"]
    assert names(tmp_path) == ["data"]


def test_a_failure_leaves_what_was_there(tmp_path):
    folder = tmp_path / "data"
    manifest = made(MIXTURE, folder)
    with pytest.raises(SettingsError):
        made(GeneratedProblems(problem="countdown", rows=100_000), folder)
    assert read_manifest(folder) == manifest
    assert names(tmp_path) == ["data"]


KILLED = """
import importlib, os, sys
from dlm.settings.data import GeneratedMixture, ProblemSettings
module = importlib.import_module("dlm.data.prepare")
module.write_manifest = lambda *_, **__: os._exit(9)
settings = GeneratedMixture(style="text", rows={"countdown": 3}, held_out=1)
module.prepare("x", settings, ProblemSettings(), sys.argv[1], {}, {})
"""


def test_a_kill_leaves_what_was_there_and_the_next_run_cleans_up(tmp_path):
    folder = tmp_path / "data"
    manifest = made(MIXTURE, folder)
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 9
    assert read_manifest(folder) == manifest
    assert names(tmp_path) == [".data.part", "data"]
    made(MIXTURE, folder)
    assert names(tmp_path) == ["data"]


def test_a_damaged_line_is_named_with_its_number(tmp_path):
    made(MIXTURE, tmp_path / "mix")
    path = tmp_path / "mix" / "train.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:6], lines[6][:20] + "\n", *lines[7:]]))
    with pytest.raises(DataError, match=rf"^{path}:7: damaged line"):
        load_rows(tmp_path / "mix", "train")
    path.write_text("".join([*lines[:-1], lines[-1][:-10]]))
    with pytest.raises(DataError, match=rf"^{path}:40: damaged line"):
        load_rows(tmp_path / "mix", "train")


def test_a_changed_line_that_still_parses_is_found(tmp_path):
    made(MIXTURE, tmp_path / "mix")
    path = tmp_path / "mix" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(path.read_text().replace(rows[0]["id"], rows[0]["id"][::-1]))
    with pytest.raises(DataError, match=rf"^{path}: content differs"):
        load_rows(tmp_path / "mix", "train")


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.json: no such file"):
        load_rows(tmp_path / "nothing", "train")
    made(MIXTURE, tmp_path / "mix")
    with pytest.raises(DataError, match=r"test\.jsonl: no such rows .* holds held_out\.jsonl, train\.jsonl"):
        load_rows(tmp_path / "mix", "test")
    (tmp_path / "mix" / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"train\.jsonl: no such file"):
        load_rows(tmp_path / "mix", "train")


def test_importing_the_room_loads_nothing_heavy():
    code = (
        "import sys, dlm.data; print([m for m in ('torch', 'transformers', 'pandas', 'datasets') if m in sys.modules])"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
