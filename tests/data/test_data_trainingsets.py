import itertools
import json

import pytest
from test_data_hub import ROW, hub, turns

from dlm.data import load_rows, prepare
from dlm.data.trainingsets import chosen_rows, held_out_numbers, row_content
from dlm.errors import DataError, SettingsError
from dlm.settings.data import OwnRows, ProblemSettings


def contents(row, form, **changes):
    """What the messages of a row say, or its text."""
    made = row_content(row, hub(form, **changes))
    return made.get("text") or [f"{turn['role']}: {turn['content']}" for turn in made["messages"]]


def test_a_row_of_s1k_becomes_a_chat_with_its_first_trajectory():
    ((number, row),) = chosen_rows([ROW], hub(), "hub", "s1k")
    assert (number, row["id"]) == (0, "s1k-0")
    assert row["messages"] == [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "<reasoning>\nBecause.\n</reasoning>\n<answer>\nSo.\n</answer>"},
    ]


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
        ("messages", {"chat": []}, r"no list of turns in column 'messages' \(columns: chat\); `column` names another"),
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
    with pytest.raises(DataError, match=f"^hub: row 2: {problem}") as caught:
        list(chosen_rows(rows, hub(form), "hub", "set"))
    assert "\n" not in str(caught.value)


def test_rows_whose_response_lacks_a_text_are_left_out_and_keep_their_numbers():
    rows = [{"instruction": "python?", "output": answer} for answer in ("no", "```python\n```", "Python", "python")]
    kept = list(chosen_rows(rows, hub("instruction", response_contains="python"), "hub", "set"))
    assert [(number, row["id"]) for number, row in kept] == [(1, "set-1"), (3, "set-3")]
    with pytest.raises(DataError, match=r"^hub: nothing to train on: 4 rows, none whose response contains 'rust'$"):
        list(chosen_rows(rows, hub("instruction", response_contains="rust"), "hub", "set"))
    with pytest.raises(DataError, match=r"^hub: nothing to train on: 0 rows$"):
        list(chosen_rows([], hub("instruction"), "hub", "set"))


def test_no_more_rows_are_read_than_asked_for():
    endless = ({"text": str(number)} for number in itertools.count())
    kept = chosen_rows(endless, hub("text", rows=3), "hub", "set-test")
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


CHATS = [{"messages": turns("user", "assistant"), "source": n} for n in range(5)]


def written(path, rows):
    """Write rows in the format that the path names."""
    import pandas

    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pandas.DataFrame(rows).to_parquet(path)
    return str(path)


def prepared(folder, **settings):
    """Return the manifest of a person's training set, and its training and held-out rows."""
    manifest = prepare("own", OwnRows(**settings), ProblemSettings(), folder, {}, {})
    return manifest, load_rows(folder, "train"), load_rows(folder, "held_out")


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_chats_of_ones_own_are_prepared_as_a_hubs_are(tmp_path, suffix):
    path = written(tmp_path / f"mine.{suffix}", CHATS)
    manifest, train, held_out = prepared(tmp_path / "own", path=path, held_out_share=0.2)
    assert sorted(row["id"] for row in train + held_out) == [f"mine-{n}" for n in range(5)]
    assert len(held_out) == 1 and all(row["messages"] == CHATS[0]["messages"] for row in train + held_out)
    assert set(manifest["made_from"]["source"]) == {"bytes", "sha256"}


def test_held_out_rows_may_have_a_file_of_their_own(tmp_path):
    path, apart = tmp_path / "mine.csv", tmp_path / "apart.csv"
    path.write_text("instruction,output\na,b\nc,d\ne,f\n")
    apart.write_text("instruction,output\ng,h\n")
    settings = {"path": str(path), "held_out_path": str(apart), "format": "instruction", "rows": 2}
    manifest, train, held_out = prepared(tmp_path / "own", **settings)
    assert [row["id"] for row in train] == ["mine-0", "mine-1"] and train[1]["messages"][1]["content"] == "d"
    assert [row["id"] for row in held_out] == ["apart-held-out-0"]
    assert manifest["made_from"]["source"]["held_out"]["bytes"] == apart.stat().st_size


@pytest.mark.parametrize(
    ("lines", "settings", "message"),
    [
        ('{"text": "a"}\n{"text": 1}\n', {}, r"row 2: no text in column 'text' \(columns: text\)"),
        ('{"text": "a"}\n{"text": \n', {}, "row 2: not valid JSON"),
        ('{"text": "a"}\n["b"]\n', {}, "row 2: expected named columns, found list"),
        ("", {}, "nothing to train on: 0 rows"),
        ('{"text": "a"}\n\n{"text": "b"}\n', {}, "row 2: an empty line; remove it"),
        (
            '{"text": "a"}\n{"text": "cut \\ud83d"}\n',
            {},
            r"row 2: half a character \(\\ud83d\) after 'cut '; remove it",
        ),
        (
            '{"text": "a"}\n',
            {"response_contains": "x", "format": "messages"},
            "row 1: no list of turns in column 'messages'",
        ),
        ('{"messages": []}\n', {"format": "messages"}, "row 1: column 'messages' holds no turn of the assistant"),
    ],
)
def test_a_row_of_ones_own_that_cannot_be_is_named(tmp_path, lines, settings, message):
    path = tmp_path / "mine.jsonl"
    path.write_text(lines)
    with pytest.raises(DataError, match=f"^{path}: {message}") as caught:
        prepared(tmp_path / "own", **{"path": str(path), "format": "text", **settings})
    assert "\n" not in str(caught.value) and not (tmp_path / "own").exists()


def test_rows_that_a_filter_leaves_to_the_held_out_ones_alone_are_refused(tmp_path):
    (number,) = held_out_numbers(4, 0.25, seed=42)
    rows = [{"instruction": "a", "output": "yes" if row == number else "no"} for row in range(4)]
    path = written(tmp_path / "mine.jsonl", rows)
    settings = {"path": path, "format": "instruction", "held_out_share": 0.25, "response_contains": "yes"}
    with pytest.raises(DataError, match=rf"^{path}: nothing to train on: every row that is kept is held out; lower"):
        prepared(tmp_path / "own", **settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text\nHello, world\n",
            "row 1: more cells than the 1 columns; put a text that holds a comma in double quotes",
        ),
        ("text,text\na,b\n", "column 'text' stands there twice"),
        ('text\na\n"b\n', "line 3: not valid CSV"),
    ],
)
def test_a_csv_file_that_would_lose_something_is_refused(tmp_path, content, message):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        prepared(tmp_path / "own", path=str(path), format="text")


def test_marks_of_other_editors_do_no_harm(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}\r\n\r\n \n')
    _, train, held_out = prepared(tmp_path / "own", path=str(path), format="text")
    assert sorted(row["text"] for row in train + held_out) == ["a", "b"]
    long = tmp_path / "long.csv"
    long.write_text(f"text\n{'word ' * 40_000}\nb\n")
    _, train, held_out = prepared(tmp_path / "own", path=str(long), format="text", held_out_share=0)
    assert [len(row["text"]) for row in train] == [200_000, 1] and not held_out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "a.txt"}, r"^path must end in \.jsonl, \.json, \.csv, \.parquet, got 'a\.txt'$"),
        ({"path": ""}, "^path must end in"),
        ({"path": "a.csv", "held_out_path": "b"}, "^held_out_path must end in"),
        ({"path": "a.csv", "held_out_path": "./a.csv"}, "^held_out_path is the file that is trained on; name another"),
    ],
)
def test_files_that_cannot_be_rows_are_refused_before_any_work(settings, message):
    with pytest.raises(SettingsError, match=message):
        OwnRows(**settings)


def test_settings_of_rows_that_do_not_go_together_are_refused():
    with pytest.raises(SettingsError, match=r"^column does not apply to format 'instruction'"):
        OwnRows(path="a.jsonl", format="instruction", column="x")
    with pytest.raises(SettingsError, match=r"^held_out_share must be"):
        OwnRows(path="a.jsonl", held_out_share=0.9)
