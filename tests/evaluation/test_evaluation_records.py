"""The record store: append-only, resumable, and picky about what it reads."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from dlm.errors import DataError, SetupError
from dlm.evaluation.records import RecordStore
from dlm.evaluation.request import Request, cut, fingerprint, requests_of, stream_of


def record(store: RecordStore, prompt: str, **changes: Any) -> dict[str, Any]:
    asked = store.declare("asked", {"checkpoint": "abc"})
    how = store.declare("execution", {"device": "cpu"})
    what = fingerprint(asked, prompt, None, 0)
    line = {"kind": "generate", "what": what, "how": how, "asked": asked, "prompt": prompt, "repeat": 0}
    return {**line, "response": f"answer to {prompt}", **changes}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with three records."""
    path = tmp_path / "responses" / "records.jsonl"
    with RecordStore(path, writable=True) as store:
        store.append(record(store, prompt) for prompt in ("a", "b", "ü\u2028"))
    return path


def what_of(path: Path, prompt: str) -> str:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return next(line["what"] for line in lines if line.get("prompt") == prompt)


def test_what_is_appended_is_found_again(path):
    with RecordStore(path) as store:
        assert len(store) == 3
        found = store.get(what_of(path, "ü\u2028"))
        assert found["response"] == "answer to ü\u2028"
        assert store.content(found["how"]) == {"device": "cpu"}
        assert store.get("unknown") is None
        assert "unknown" not in store


def test_a_record_that_is_there_is_not_written_twice(path):
    before = path.read_bytes()
    with RecordStore(path, writable=True) as store:
        assert store.append([record(store, "a", response="another"), record(store, "b")]) == 0
        assert store.get(what_of(path, "a"))["response"] == "answer to a"
        assert store.append([record(store, "c"), record(store, "c")]) == 1
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b'"prompt": "c"') == 1


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_half_written_last_line_is_dropped_and_the_rest_kept(path, kept):
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(whole[: last + kept] if kept > 0 else whole[:kept])
    with RecordStore(path, writable=True) as store:
        assert len(store) == 2
        store.append([record(store, "ü\u2028")])
    assert path.read_bytes() == whole


def test_half_a_line_is_refused_when_only_reading(path):
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"records.jsonl:5: half a line.*dlm sample"):
        RecordStore(path)


def test_a_full_disk_is_one_line_and_what_was_recorded_stays(path, small_files):
    before = path.read_bytes()
    with (
        pytest.raises(SetupError, match=r"records.jsonl: file too large; make room and run the same command again"),
        RecordStore(path, writable=True) as store,
    ):
        store.append(record(store, f"c{n}", response="x" * 1000) for n in range(small_files // 1000))
    assert path.read_bytes() == before
    with RecordStore(path, writable=True) as store:
        assert store.append(record(store, f"c{n}", response="x" * 1000) for n in range(5)) == 5
    with RecordStore(path) as store:
        assert len(store) == 8


def test_adopted_records_stand_on_their_own(path, tmp_path):
    other = tmp_path / "other" / "records.jsonl"
    wanted = [what_of(path, "b"), what_of(path, "ü\u2028"), "unknown"]
    with RecordStore(other, writable=True, siblings=[path.parent]) as store:
        store.adopt([])
        assert len(store) == 0
        store.adopt(wanted)
        store.adopt(wanted)
        assert [what in store for what in wanted] == [True, True, False]
    with RecordStore(path) as original, RecordStore(other) as store:
        assert len(store) == 2
        for what in wanted[:2]:
            assert store.get(what) == original.get(what)
            assert store.content(store.get(what)["how"]) == {"device": "cpu"}


def test_a_store_that_grows_is_read_as_far_as_it_is_whole(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with RecordStore(path, growing=True) as store:
        assert len(store) == 2
    assert path.read_bytes() == whole[:-5]


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b'{"kind": "generate"', b'{"kind": "gen', "Expecting"),
        (b'"kind": "generate"', b'"kind": "dream"', "unknown kind 'dream'"),
        (b'"prompt": "a"', b'"prompt": "A"', "does not fit its fingerprint"),
        (b'"repeat": 0', b'"repeat": 1', "does not fit its fingerprint"),
        (b'"prompt"', b'"promt"', "no 'prompt'"),
        (b'"checkpoint": "abc"', b'"checkpoint": "abd"', "not what its id says"),
        (b'"how": "', b'"how": "0', "is not above it"),
        (b"answer to a", b"answer \xff", "decode"),
        (b'{"kind": "generate"', b'[{"kind": "generate"', "Expecting"),
    ],
)
def test_a_damaged_line_is_named(path, old, new, fault, writable):
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"records.jsonl:\d: damaged record \(.*{fault}"):
        RecordStore(path, writable=writable)


def test_a_missing_file_names_what_to_run(tmp_path):
    with pytest.raises(DataError, match="no such file; run `dlm sample`"):
        RecordStore(tmp_path / "records.jsonl")


def hold(path: Path, ready: Any, done: Any) -> None:
    with RecordStore(path, writable=True):
        ready.set()
        done.wait(250)


def test_two_processes_do_not_write_at_once(path):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(path, ready, done))
    other.start()
    try:
        assert ready.wait(250)
        with pytest.raises(SetupError, match="another process is writing"):
            RecordStore(path, writable=True)
        assert len(RecordStore(path)) == 3
    finally:
        done.set()
        other.join()
    RecordStore(path, writable=True).close()


def test_a_fingerprint_covers_prompt_continuation_repeat_and_what_was_asked():
    variants = [("x", "p", None, 0), ("y", "p", None, 0), ("x", "q", None, 0), ("x", "p", "", 0), ("x", "p", None, 1)]
    assert len({fingerprint(*variant) for variant in variants}) == len(variants)


def test_copies_of_an_instance_are_numbered_repeats():
    from lm_eval.api.instance import Instance

    first = Instance("generate_until", {"id": "d"}, ("p", {"until": "stop"}), 0, ("t", 5, 2))
    other = Instance("loglikelihood", {}, ("p", " c"), 3, ("t", 6, 1))
    found = requests_of([first, first, other])
    expected = Request(task="t", doc_id="d", position=5, index=0, repeat=0, prompt="p", until=("stop",))
    assert found[0] == expected
    assert [request.repeat for request in found] == [0, 1, 0]
    assert (found[2].kind, found[2].continuation, found[2].doc_id) == ("likelihood", " c", 6)


def test_an_answer_is_cut_at_the_first_stop_text_after_its_prefix():
    assert cut("<a>\none\n\ntwo. three", "", (".", "\n\n", "")) == "<a>\none"
    assert cut("<a>\n\nthe end", "<a>\n\n", ("\n\n",)) == "<a>\n\nthe end"
    assert cut("plain", "", ()) == "plain"


def test_streams_are_distinct_and_fit_int64():
    streams = {stream_of("generate", [token], repeat) for token in range(50) for repeat in range(20)}
    assert len(streams) == 1000
    assert all(0 <= stream < 2**60 for stream in streams)
