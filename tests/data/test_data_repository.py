"""The data of a benchmark: fetched over a connection that breaks, pinned, whole or not at all, faults in one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from mirror import prepared, serving

from dlm.data.asking import asked, may_pass
from dlm.data.repository import chosen
from dlm.errors import RemoteError, SettingsError
from dlm.settings import Benchmark

ROWS = "".join(json.dumps({"text": f"row {number}", "number": number}) + "\n" for number in range(4000))
CARD = "---\nconfigs:\n- config_name: one\n  data_files: one/*.jsonl\n---\n"


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The folder of a small hub."""
    rows = tmp_path / "hub" / "datasets" / "org" / "rows"
    (rows / "one").mkdir(parents=True)
    (rows / "README.md").write_text(CARD)
    (rows / ".hidden").write_text("x")
    (rows / "one" / "a.jsonl").write_text(ROWS)
    (rows / "one" / "empty.txt").write_text("")
    closed = tmp_path / "hub" / "datasets" / "org" / "closed"
    closed.mkdir()
    (closed / "a.jsonl").write_text(ROWS)
    (closed / ".gated").write_text("")
    return tmp_path / "hub"


def whole(found: dict) -> bool:
    """Whether what was prepared is what the hub holds."""
    return found["files"] == {
        "files/README.md": hashlib.sha256(CARD.encode()).hexdigest(),
        "files/one/a.jsonl": hashlib.sha256(ROWS.encode()).hexdigest(),
        "files/one/empty.txt": hashlib.sha256(b"").hexdigest(),
    }


def test_the_files_come_at_a_commit_and_faults_are_one_line(shared, hub, tmp_path):
    with serving(shared, hub) as endpoint:
        found = prepared(
            endpoint,
            tmp_path / "out",
            good={},
            part={"files": ["one/*.jsonl"]},
            absent={"repository": "no/such"},
            branch={"revision": "v9"},
            gated={"repository": "org/closed"},
            pattern={"files": ["two/*"]},
        )
        assert whole(found["good"]) and found["good"]["kind"] == "benchmark"
        pinned = prepared(endpoint, tmp_path / "out", again={"revision": found["good"]["commit"]})["again"]
    assert len(found["good"]["commit"]) == 40 and pinned["commit"] == found["good"]["commit"]
    assert found["good"]["repository"] == "org/rows"
    assert list(found["part"]["files"]) == ["files/one/a.jsonl"]
    assert found["absent"].startswith("no/such@main: the hub has no such repository, or it is private; ")
    assert found["branch"].startswith("org/rows@v9: the hub has no such revision of it; ")
    words = "refused (401); if it is gated, accept its terms at the hub, then give your token (HF_TOKEN)"
    assert found["gated"].endswith(words)
    assert found["pattern"].startswith("org/rows@main: no file 'two/*' in it; correct `files`")
    assert not any("\n" in problem for problem in found.values() if isinstance(problem, str))


def test_failing_slow_and_cut_answers_are_survived(shared, hub, tmp_path):
    faults = ("--fail-rate", "0.5", "--fail-times", "2", "--latency", "20", "--cut-after", "30000", "--seed", "3")
    with serving(shared, hub, *faults) as endpoint:
        assert whole(prepared(endpoint, tmp_path / "out", good={})["good"])
    log = (hub.parent / "log").read_text()
    assert "fault:500" in log and "fault:cut" in log and " 206 " in log


def test_what_came_before_a_failure_is_not_fetched_again(shared, hub, tmp_path):
    with serving(shared, hub, "--cut-after", "50000", "--cut-times", "1", "--fail-rate", "0") as endpoint:
        commit = prepared(endpoint, tmp_path / "probe", good={})["good"]["commit"]
    part = tmp_path / "out" / "home" / "dlm" / "org--rows" / commit / "one" / "a.jsonl.part"
    part.parent.mkdir(parents=True)
    part.write_text(ROWS[:60000])
    (hub.parent / "log").unlink()
    with serving(shared, hub) as endpoint:
        assert whole(prepared(endpoint, tmp_path / "out", good={})["good"])
        first = (hub.parent / "log").read_text()
        assert whole(prepared(endpoint, tmp_path / "out", good={})["good"])
    assert "bytes=60000-" in first and not part.exists()
    second = (hub.parent / "log").read_text()[len(first) :]
    assert "resolve" in first and "resolve" not in second


def test_a_part_that_is_of_something_else_is_dropped(shared, hub, tmp_path):
    with serving(shared, hub) as endpoint:
        commit = prepared(endpoint, tmp_path / "probe", good={})["good"]["commit"]
        part = tmp_path / "out" / "home" / "dlm" / "org--rows" / commit / "one" / "a.jsonl.part"
        part.parent.mkdir(parents=True)
        part.write_text(ROWS + "more")
        problem = prepared(endpoint, tmp_path / "out", good={})["good"]
        assert "what came is not the file" in problem and not part.exists()
        assert whole(prepared(endpoint, tmp_path / "out", good={})["good"])


def test_a_server_that_fails_for_good_and_a_missing_network_are_one_line(shared, hub, tmp_path, monkeypatch):
    with serving(shared, hub, "--fail-rate", "1") as endpoint:
        found = prepared(endpoint, tmp_path / "out", good={})["good"]
    assert found == "org/rows@main: the hub answered 500 5 times; try again later"
    found = prepared("http://127.0.0.1:9", tmp_path / "out", good={})["good"]
    assert found.startswith("org/rows@main: the hub cannot be reached (") and found.endswith("where there is a network")


def test_faults_that_may_pass_are_told_from_those_that_do_not(monkeypatch):
    monkeypatch.setattr("dlm.data.asking.FIRST_WAIT", 0.0)
    assert may_pass(ConnectionResetError()) and may_pass(TimeoutError()) and not may_pass(ValueError())
    tries: list[int] = []

    def ask() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionResetError("reset")
        return "given"

    assert asked("org/x@main", ask) == "given" and len(tries) == 3
    tries.clear()
    with pytest.raises(RemoteError, match="reset"):
        asked("org/x@main", ask, again=False)
    assert len(tries) == 1


def test_hidden_files_are_left_out_and_an_empty_repository_is_refused():
    files = [SimpleNamespace(path=path) for path in (".gitattributes", "README.md", "a/b.parquet")]
    assert [file.path for file in chosen(files, (), "x")] == ["README.md", "a/b.parquet"]
    assert [file.path for file in chosen(files, ("a/*",), "x")] == ["a/b.parquet"]
    with pytest.raises(RemoteError, match="x: holds no files"):
        chosen(files[:1], (), "x")


def test_an_id_without_organisation_is_refused():
    with pytest.raises(SettingsError, match="repository must read 'organisation/name', got 'gsm8k'"):
        Benchmark(repository="gsm8k", revision="main")
