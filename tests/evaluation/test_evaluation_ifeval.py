"""IFEval, lm-eval's own: what its code looks for is fetched beforehand, and its judgement is the same each time."""

from __future__ import annotations

import dataclasses
import functools
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from canned import CannedLM, evaluate
from evaluation_examples import TASKS, cell
from test_evaluation_programs import save_benchmark

from dlm.data import fetch
from dlm.data.nltk_data import NLTK_DATA, fetch_nltk_data
from dlm.errors import RemoteError, SettingsError
from dlm.settings import Benchmark

DATA = Benchmark(repository="google/IFEval", revision="main", nltk_data=("tokenizers/punkt_tab",))
NOTHING = {"num_sentences": None, "relation": None, "language": None}
ASKED = [
    ("Two sentences.", "length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}),
    ("In German.", "language:response_language", {"language": "de"}),
    ("No commas.", "punctuation:no_comma", {}),
]
ROWS = [
    {"key": number, "prompt": prompt, "instruction_id_list": [kind], "kwargs": [{**NOTHING, **chosen}]}
    for number, (prompt, kind, chosen) in enumerate(ASKED)
]
GOOD = {
    "Two sentences.": "One is here. Two is there.",
    "In German.": "Das ist ein Satz auf Deutsch.",
    "No commas.": "a b",
}
BAD = {"Two sentences.": "only one", "In German.": "This one is in English.", "No commas.": "a, b"}


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server of files, laid out as GitHub's, with a package of NLTK's form: a tokenizer that knows no exceptions."""
    package = tmp_path / "github" / "nltk" / "nltk_data" / "gh-pages" / "packages" / "tokenizers" / "punkt_tab.zip"
    package.parent.mkdir(parents=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
            archive.writestr(f"punkt_tab/english/{name}", "")
    package.write_bytes(content.getvalue())

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "github")))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv(fetch.BASE_VARIABLE, f"http://127.0.0.1:{server.server_port}")
    yield package
    server.shutdown()
    server.server_close()


def test_answers_are_judged_with_what_was_fetched(github, tmp_path):
    folder = tmp_path / "data" / "ifeval"
    (source,) = fetch_nltk_data(DATA, folder)
    assert source["bytes"] == github.stat().st_size and source["url"].endswith(
        "/gh-pages/packages/tokenizers/punkt_tab.zip"
    )
    assert (folder / NLTK_DATA / "tokenizers" / "punkt_tab" / "english").is_dir()
    save_benchmark(folder, "default", train=ROWS)
    values = {"lm_eval": "ifeval", "dataset": "ifeval", "metric": "prompt_level_strict_acc", "filter": "none"}
    one = cell("words", chat=False, task_settings=dataclasses.replace(TASKS["words"], **values), dataset="ifeval")
    for answers, expected in ((GOOD, [1.0, 1.0, 1.0]), (BAD, [0.0, 0.0, 0.0])):
        _, _, outcome = evaluate(tmp_path / "data", one, CannedLM(lambda prompt, known=answers: known[prompt]))
        assert [one.numerator for one in outcome.documents] == expected
    langdetect = pytest.importorskip("langdetect")
    doubtful = "Hotel Taxi Restaurant Bar"
    assert len({langdetect.detect(doubtful) for _ in range(20)}) == 1


def test_what_is_no_such_package_is_said(github, tmp_path):
    github.write_bytes(github.read_bytes()[:100])
    with pytest.raises(RemoteError, match=r"punkt_tab\.zip: not a whole archive .*; try again"):
        fetch_nltk_data(DATA, tmp_path / "out")
    github.unlink()
    with pytest.raises(RemoteError, match=r"punkt_tab\.zip: not found \(404\)"):
        fetch_nltk_data(DATA, tmp_path / "out")
    with pytest.raises(SettingsError, match="nltk_data must read 'kind/name'"):
        dataclasses.replace(DATA, nltk_data=("../punkt_tab",))
