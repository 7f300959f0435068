import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlm.data import load_joined
from dlm.data.hub import chosen_rows, held_out_numbers, row_content
from dlm.errors import RemoteError, SettingsError
from dlm.files import replacing_folder, write_jsonl, write_manifest
from dlm.settings.data import HubDataset

ROOT = Path(__file__).resolve().parents[2]
ROW = {"question": " Why? ", "thinking_trajectories": ["Because.", "Other."], "attempt": "So.\n", "cot_type": "math"}


def hub(form="s1k", **changes):
    return HubDataset(repository="org/set", revision="main", format=form, **changes)


def contents(row, form, **changes):
    """What the messages of a row say, or its text."""
    made = row_content(row, hub(form, **changes))
    return made.get("text") or [f"{turn['role']}: {turn['content']}" for turn in made["messages"]]


def test_a_row_of_s1k_becomes_a_chat_with_its_first_trajectory():
    ((number, row),) = chosen_rows([ROW], hub(), "hub")
    assert (number, row["id"]) == (0, "s1k-0")
    assert row["messages"] == [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "<reasoning>\nBecause.\n</reasoning>\n<answer>\nSo.\n</answer>"},
    ]


def turns(*roles):
    return [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]


def test_a_chat_is_kept_up_to_the_last_turn_of_the_assistant():
    several = {"messages": turns("system", "user", "assistant", "user", "assistant", "user")}
    assert contents(several, "messages") == [
        "system: system 0", "user: user 1", "assistant: assistant 2", "user: user 3", "assistant: assistant 4",
    ]  # fmt: skip
    assert contents({"dialog": turns("user", "assistant")}, "messages", column="dialog")[1] == "assistant: assistant 1"


def test_an_instruction_becomes_a_chat_with_its_input_below():
    row = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
    assert contents(row, "instruction") == ["user: Add.\n\n1 and 2", "assistant: 3"]
    assert contents({**row, "input": ""}, "instruction") == ["user: Add.", "assistant: 3"]
    assert contents({"instruction": "Add.", "output": ""}, "instruction") == ["user: Add.", "assistant: "]


def test_a_text_is_taken_as_it_is_from_the_named_column():
    assert contents({"text": " a\n"}, "text") == " a\n"
    assert contents({"Text": "b"}, "text", column="Text") == "b"


@pytest.mark.parametrize(
    ("form", "row", "problem"),
    [
        ("s1k", {**ROW, "question": None}, "no text in column 'question'"),
        ("s1k", {**ROW, "attempt": " "}, "no text in column 'attempt'"),
        ("s1k", {**ROW, "attempt": 5}, "no text in column 'attempt'"),
        ("s1k", {**ROW, "thinking_trajectories": []}, "no text in column 'thinking_trajectories'"),
        ("s1k", {**ROW, "thinking_trajectories": "x"}, "no text in column 'thinking_trajectories'"),
        ("messages", {"chat": []}, r"no list of turns in column 'messages' \(columns: chat\)"),
        ("messages", {"messages": []}, "column 'messages' holds no turn of the assistant that answers another"),
        ("messages", {"messages": turns("assistant", "user")}, "column 'messages' holds no turn of the assistant that"),
        (
            "messages",
            {"messages": [*turns("user"), {"role": "assistant"}]},
            "turn 2 of column 'messages' lacks the text",
        ),
        ("messages", {"messages": ["hello"]}, "turn 1 of column 'messages' lacks the text of a role or a content"),
        (
            "instruction",
            {"instruction": "a", "answer": "b"},
            r"no text in column 'output' \(columns: instruction, answer",
        ),
        ("instruction", {"instruction": "a", "input": 3, "output": "b"}, "no text in column 'input'"),
        ("text", {"Text": "a"}, r"no text in column 'text' \(columns: Text\)"),
        ("text", {"text": None}, "no text in column 'text'"),
    ],
)
def test_a_row_of_another_form_is_named_in_one_line(form, row, problem):
    good = {"s1k": ROW, "messages": {"messages": turns("user", "assistant")}, "text": {"text": "a"}}
    rows = [good.get(form, {"instruction": "a", "output": "b"}), row]
    with pytest.raises(RemoteError, match=f"^hub: row 2: {problem}") as caught:
        list(chosen_rows(rows, hub(form), "hub"))
    assert "\n" not in str(caught.value)


def test_rows_whose_response_lacks_a_text_are_left_out_and_keep_their_numbers():
    rows = [{"instruction": "python?", "output": answer} for answer in ("no", "```python\n```", "Python", "python")]
    kept = list(chosen_rows(rows, hub("instruction", response_contains="python"), "hub"))
    assert [(number, row["id"]) for number, row in kept] == [(1, "set-1"), (3, "set-3")]
    with pytest.raises(RemoteError, match=r"^hub: nothing to train on: 4 rows, none whose response contains 'rust'$"):
        list(chosen_rows(rows, hub("instruction", response_contains="rust"), "hub"))
    with pytest.raises(RemoteError, match=r"^hub: nothing to train on: 0 rows$"):
        list(chosen_rows([], hub("instruction"), "hub"))


def test_no_more_rows_are_read_than_asked_for():
    endless = ({"text": str(number)} for number in itertools.count())
    kept = chosen_rows(endless, hub("text", rows=3), "hub", "test-")
    assert [row["id"] for _, row in kept] == ["set-test-0", "set-test-1", "set-test-2"]


@pytest.mark.parametrize(
    ("rows", "share", "held"), [(1000, 0.01, 10), (10, 0.01, 1), (10, 0.0, 0), (10, 0.5, 5), (1, 0.5, 0), (0, 0.1, 0)]
)
def test_a_share_is_held_out(rows, share, held):
    numbers = held_out_numbers(rows, share, seed=42)
    assert len(numbers) == held and numbers <= set(range(rows))
    assert numbers == held_out_numbers(rows, share, seed=42)
    if rows == 1000:
        assert numbers != held_out_numbers(rows, share, seed=43)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"streaming": True}, "streaming reads on for as long as there are rows; say how many with 'rows'"),
        ({"config": "a", "every_config": True}, "config 'a' is one, every_config asks for all; remove one of them"),
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"form": "instruction", "column": "x"}, "column does not apply to format 'instruction'"),
        ({"form": "text", "response_contains": "x"}, "response_contains does not apply to plain text"),
        ({"response_contains": ""}, "response_contains is empty; remove it"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, problem):
    with pytest.raises(SettingsError, match=f"^{problem}"):
        hub(**changes)


def test_joined_held_out_rows_come_from_every_data_set_in_turn(tmp_path):
    for name, count in (("a", 3), ("b", 1)):
        with replacing_folder(tmp_path / name) as folder:
            for split in ("train", "held_out"):
                write_jsonl(folder / f"{split}.jsonl", [{"id": f"{name}{number}"} for number in range(count)])
            write_manifest(folder, kind="dataset", name=name, made_from={})
    folders = [tmp_path / "a", tmp_path / "b"]
    assert [row["id"] for row in load_joined(folders, "train")] == ["a0", "a1", "a2", "b0"]
    assert [row["id"] for row in load_joined(folders, "held_out")] == ["a0", "b0", "a1", "a2"]


SCRIPT = """
import json, sys
from dlm.data import load_rows, prepare
from dlm.errors import RemoteError
from dlm.settings.data import HubDataset, ProblemSettings
out = {}
for name, changes in json.loads(sys.argv[2]).items():
    values = {"repository": "simplescaling/s1K", "revision": "main", "held_out_share": 0.2, **changes}
    try:
        manifest = prepare(name, HubDataset(**values), ProblemSettings(), f"{sys.argv[1]}/{name}", {}, {})
        ids = [[row["id"] for row in load_rows(f"{sys.argv[1]}/{name}", split)] for split in ("train", "held_out")]
        out[name] = [*ids, manifest["made_from"]["source"]["commit"]]
    except RemoteError as error:
        out[name] = str(error)
print(json.dumps(out))
"""


CARDS = {
    "code": "- {config_name: one, data_files: one/*.parquet}\n- {config_name: two, data_files: two/*.parquet}\n",
    "chats": "- config_name: all\n  data_files: [{split: train, path: all/train-*}, {split: test, path: all/test-*}]\n",
}
CODE = {"repository": "org/code", "format": "instruction", "every_config": True}
TEXTS = {"repository": "org/texts", "format": "text", "column": "Text"}
ASKED = {
    "good": {},
    "absent": {"repository": "no/such"},
    "branch": {"revision": "v9"},
    "split": {"split": "test"},
    "chats": {"repository": "org/chats", "config": "all", "format": "messages", "held_out_split": "test"},
    "code": {**CODE, "response_contains": "python"},
    "rust": {**CODE, "response_contains": "rust"},
    "first": {**TEXTS, "rows": 5},
    "streamed": {**TEXTS, "rows": 5, "streaming": True},
    "column": {**TEXTS, "column": "text", "rows": 5, "streaming": True},
}


@pytest.fixture
def endpoint(tmp_path, shared):
    """Serve stand-ins for the published data sets, a few rows of each, as a hub on this machine."""
    import pandas

    def put(name, rows):
        path = tmp_path / "hub" / "datasets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pandas.DataFrame(rows).to_parquet(path)

    put("simplescaling/s1K/data/train-00000-of-00001.parquet", [ROW] * 5)
    put("org/chats/all/train-00000-of-00001.parquet", [{"messages": turns("user", "assistant")}] * 4)
    put("org/chats/all/test-00000-of-00001.parquet", [{"messages": turns("user", "assistant")}] * 2)
    put("org/code/one/train-00000-of-00001.parquet", [{"instruction": "a", "output": "python"}] * 4)
    put("org/code/two/train-00000-of-00001.parquet", [{"instruction": "a", "output": f"{n} pyth{n}n"} for n in "ioo"])
    for name, card in CARDS.items():
        (tmp_path / "hub" / "datasets" / "org" / name / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    put("org/texts/data/train-00000-of-00001.parquet", [{"Text": f"text {number}"} for number in range(9)])
    port = tmp_path / "port"
    command = [
        sys.executable,
        str(shared / "tools" / "hub_mirror.py"),
        "--root",
        str(tmp_path / "hub"),
        "--port-file",
        str(port),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not port.exists() and process.poll() is None:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port.read_text().strip()}"
    process.terminate()
    process.wait()


def test_a_data_set_of_the_hub_is_prepared_and_faults_are_one_line(endpoint, tmp_path):
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
    }
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "out"), json.dumps(ASKED)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(out["good"], list), out
    assert [len(part) for part in out["good"]] == [4, 1, 40]
    assert out["absent"].startswith("no/such@main: the hub has no such repository, or it is private; ")
    assert out["branch"].startswith("simplescaling/s1K@v9: the hub has no such revision of it; correct `revision` ")
    assert out["split"].startswith("simplescaling/s1K@main: the hub did not give it (ValueError")
    assert out["chats"][:2] == [[f"chats-{number}" for number in range(4)], ["chats-test-0", "chats-test-1"]]
    assert sorted(out["code"][0] + out["code"][1]) == [f"code-{number}" for number in (0, 1, 2, 3, 5, 6)]
    assert len(out["code"][1]) <= 1
    assert out["rust"] == "org/code@main: nothing to train on: 7 rows, none whose response contains 'rust'"
    assert out["first"] == out["streamed"] and [len(part) for part in out["first"]] == [4, 1, 40]
    assert out["column"] == "org/texts@main: row 1: no text in column 'text' (columns: Text)"
    assert not any("\n" in problem for problem in out.values() if isinstance(problem, str))
