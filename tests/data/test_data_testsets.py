import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dlm.data import fetch
from dlm.data.answers import countdown_correct, sudoku_cells
from dlm.data.testsets import fixed_documents, own_documents
from dlm.errors import DataError, RemoteError, SettingsError
from dlm.settings.data import FixedTestSet, OwnDocuments

D1 = Path("data/hub/datasets/d1")
PUZZLE, SOLUTION = "0140432014020000", "2143432114323214"
COUNTDOWN = '{"input": "3,7,2", "output": "20"}\n{"input": "30,100,93", "output": "23"}\n'
SUDOKU = f"Puzzle,Solution\n{PUZZLE},{SOLUTION}\n"


def described(problem="countdown", **changes):
    values = {"repository": "o/r", "revision": "abc", "file": "dataset/x.jsonl", **changes}
    return FixedTestSet(problem=problem, **values)


def copied(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", COUNTDOWN),
        ("a.jsonl", '{"numbers": [3, 7, 2], "target": 20}\n{"numbers": [30, 100, 93], "target": 23}'),
        ("a.json", '[{"numbers": [3, 7, 2], "target": 20}, {"input": "30, 100, 93", "output": 23}]'),
        ("a.csv", 'numbers,target\n"[3, 7, 2]",20\n"[30 100 93]",23\n'),
        ("a.csv", '\ufeffinput,output\r\n"3,7,2",20\r\n"30,100,93",23\r\n'),
    ],
)
def test_both_spellings_and_every_format_give_the_same_documents(tmp_path, name, content):
    documents, source = fixed_documents(described(path=copied(tmp_path, name, content)))
    assert documents == [
        {
            "id": "countdown-0",
            "question": "Numbers: 3 7 2. Target: 20. Use each number once.",
            "answer": "(7 + 3) * 2",
            "key": "2,3,7=20",
            "numbers": [3, 7, 2],
            "target": 20,
        },
        {
            "id": "countdown-1",
            "question": "Numbers: 30 100 93. Target: 23. Use each number once.",
            "answer": "93 + 30 - 100",
            "key": "30,93,100=23",
            "numbers": [30, 100, 93],
            "target": 23,
        },
    ]
    assert source.keys() == {"bytes", "sha256"}


def test_leading_zeros_of_a_puzzle_are_kept(tmp_path):
    documents, _ = fixed_documents(described("sudoku", path=copied(tmp_path, "a.csv", SUDOKU)))
    assert documents[0]["puzzle"] == documents[0]["key"] == PUZZLE
    assert documents[0]["question"] == "Fill this grid:\n0140\n4320\n1402\n0000"
    assert documents[0]["answer"] == "2143\n4321\n1432\n3214"


def test_parquet(tmp_path):
    import pandas

    pandas.DataFrame({"numbers": [[3, 7, 2]], "target": [20]}).to_parquet(tmp_path / "a.parquet")
    documents, _ = fixed_documents(described(path=str(tmp_path / "a.parquet")))
    assert documents[0]["numbers"] == [3, 7, 2]
    assert json.loads(json.dumps(documents)) == documents


def test_the_first_rows_are_taken(tmp_path):
    path = copied(tmp_path, "a.jsonl", COUNTDOWN)
    assert len(fixed_documents(described(path=path, rows=1))[0]) == 1
    with pytest.raises(SettingsError, match="asks for 3 but the file holds 2"):
        fixed_documents(described(path=path, rows=3))


@pytest.mark.parametrize(
    ("problem", "name", "content", "said"),
    [
        ("countdown", "a.jsonl", COUNTDOWN + '{"input": "3,7', "row 3: not valid JSON"),
        ("countdown", "a.jsonl", COUNTDOWN + "\n" + COUNTDOWN, "row 3: an empty line; remove it"),
        ("countdown", "a.jsonl", COUNTDOWN + "[1, 2]\n", "row 3: expected named columns, found list"),
        (
            "countdown",
            "a.jsonl",
            COUNTDOWN + '{"input": "3,x", "output": "5"}',
            "row 3: expected integers, found '3,x'",
        ),
        ("countdown", "a.jsonl", COUNTDOWN + '{"input": "3,7", "output": "1.5"}', "row 3: expected an integer"),
        ("countdown", "a.jsonl", COUNTDOWN + '{"input": [3, 7.5], "output": 5}', "row 3: expected integers"),
        ("countdown", "a.jsonl", COUNTDOWN + '{"input": [true, 7], "output": 5}', "row 3: expected integers"),
        (
            "countdown",
            "a.jsonl",
            COUNTDOWN + '{"input": "3", "output": "3"}',
            "row 3: expected 2 to 6 numbers, found 1",
        ),
        (
            "countdown",
            "a.jsonl",
            COUNTDOWN + '{"input": "1,1", "output": "9"}',
            "row 3: countdown: 9 cannot be reached",
        ),
        ("countdown", "a.jsonl", COUNTDOWN + '{"output": "9"}', "row 3: no column numbers or input (columns: output)"),
        ("countdown", "a.jsonl", COUNTDOWN.encode() + b"\xff\xfe", "line 3: not UTF-8"),
        ("countdown", "a.jsonl", "", "holds no rows"),
        ("countdown", "a.json", "{", "not valid JSON"),
        ("countdown", "a.json", "[" * 100_000, "not valid JSON"),
        ("countdown", "a.parquet", "PAR1 no", "not a whole Parquet file"),
        ("countdown", "a.csv", 'input,output\n"3,7', "not valid CSV"),
        ("sudoku", "a.csv", SUDOKU + f"{PUZZLE}\n", "row 2: no column solution or Solution"),
        ("sudoku", "a.csv", SUDOKU + f"{PUZZLE[1:]},{SOLUTION}\n", "row 2: puzzle must be a text of 16 digits"),
        ("sudoku", "a.csv", SUDOKU + f"{PUZZLE},{SOLUTION[:-1]}5\n", "row 2: solution must be a text of 16 digits"),
        ("sudoku", "a.csv", SUDOKU + f"3{PUZZLE[1:]},{SOLUTION}\n", "row 2: 2143432114323214 does not solve"),
        (
            "sudoku",
            "a.json",
            f'[{{"puzzle": {int(PUZZLE)}, "solution": "{SOLUTION}"}}]',
            "row 1: puzzle must be a text",
        ),
    ],
)
def test_a_damaged_row_is_named(tmp_path, problem, name, content, said):
    path = copied(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        fixed_documents(described(problem, path=path))
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_copy_and_an_unknown_format_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        fixed_documents(described(path=str(tmp_path / "none.csv")))
    with pytest.raises(SettingsError, match=r"unknown format '\.txt'; known: \.jsonl"):
        fixed_documents(described(path=copied(tmp_path, "a.txt", "x")))


@pytest.fixture
def server(monkeypatch):
    """Serve ``answers``, a list of (status, body, length said), one a request; the last one stays."""
    monkeypatch.setattr(fetch, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.paths.append(self.path)
            answers = self.server.answers
            status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.paths, server.answers = [], []
    server.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


WHOLE = (200, COUNTDOWN.encode(), None)


def test_a_file_is_fetched_at_its_revision(server):
    server.answers = [WHOLE]
    documents, source = fixed_documents(described(file="data set/x.jsonl"), server.base)
    assert len(documents) == 2
    assert server.paths == ["/o/r/abc/data%20set/x.jsonl"]
    assert source["url"].endswith("/o/r/abc/data%20set/x.jsonl") and source["bytes"] == len(COUNTDOWN)


def test_the_server_can_be_set_by_the_environment(server, monkeypatch):
    server.answers = [WHOLE]
    monkeypatch.setenv("DLM_GITHUB_RAW", server.base + "/")
    assert len(fixed_documents(described())[0]) == 2
    monkeypatch.setenv("DLM_GITHUB_RAW", "file:///etc")
    with pytest.raises(RemoteError, match="must begin with http"):
        fixed_documents(described())


def test_passing_faults_are_tried_again(server):
    cut = (200, COUNTDOWN.encode()[:30], len(COUNTDOWN))
    server.answers = [(500, b"", None), cut, (429, b"", None), WHOLE]
    assert len(fixed_documents(described(), server.base)[0]) == 2
    assert len(server.paths) == 4


@pytest.mark.parametrize(
    ("answer", "requests", "said"),
    [
        ((500, b"", None), 4, "answered 500 4 times"),
        ((200, b"{", 100), 4, "the connection broke after 1 bytes"),
        ((404, b"404: Not Found", None), 1, "not found (404); check repository, revision and file"),
        ((403, b"", None), 1, "refused with status 403"),
        ((200, b"<html>Sign in</html>", None), 1, "row 1: not valid JSON"),
        ((200, b"", None), 1, "holds no rows"),
    ],
)
def test_lasting_faults_are_one_line(server, answer, requests, said):
    server.answers = [answer]
    with pytest.raises(RemoteError) as caught:
        fixed_documents(described(), server.base)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{server.base}/o/r/abc/dataset/x.jsonl: ")
    assert len(server.paths) == requests


def test_no_network_is_one_line(monkeypatch):
    monkeypatch.setattr(fetch, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(RemoteError, match=r"^http://127\.0\.0\.1:9/.*cannot be reached .*refused.*'path'"):
        fixed_documents(described(), "http://127.0.0.1:9")


def test_published_countdown(shared):
    path = shared / D1 / "countdown" / "data" / "test-00000-of-00001.parquet"
    documents, _ = fixed_documents(described(path=str(path)))
    assert len(documents) == 256
    assert all(countdown_correct(row["answer"], row["numbers"], row["target"]) for row in documents)


def test_published_sudoku(shared):
    path = shared / D1 / "sudoku" / "data" / "test-00000-of-00001.parquet"
    documents, _ = fixed_documents(described("sudoku", path=str(path)))
    assert len(documents) == 500
    assert all(sudoku_cells(row["answer"], row["puzzle"], row["solution"]) == (8, 8) for row in documents)


def test_rows_of_ones_own_are_documents_as_they_are(tmp_path):
    path = copied(tmp_path, "a.csv", "country,capital\nPeru,Lima\nKenya,Nairobi\nJapan,Tokyo\n")
    documents, source = own_documents(OwnDocuments(path=path, rows=2))
    assert documents == [
        {"id": 0, "country": "Peru", "capital": "Lima"}, {"id": 1, "country": "Kenya", "capital": "Nairobi"},
    ]  # fmt: skip
    assert set(source) == {"bytes", "sha256"}
    named, _ = own_documents(OwnDocuments(path=copied(tmp_path, "b.jsonl", '{"id": "x", "country": "Peru"}\n')))
    assert named == [{"id": "x", "country": "Peru"}]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        ("", DataError, "holds no rows"),
        ('{"id": 1}\n{"id": 1}\n', DataError, "row 2: id 1 stands there twice"),
        ('{"id": [1]}\n{}\n', DataError, r"row 1: id \[1\] is neither a text nor a whole number"),
        ('{"id": 1}\n', SettingsError, "rows asks for 2 but the file holds 1"),
        ('{"a": "b"}\n{"a": "cut \\ud83d"}\n', DataError, "row 2: cannot be written as JSON"),
        ('{"a": ' + "9" * 5000 + "}\n", DataError, "row 1: not valid JSON .Exceeds the limit"),
        ("[1]\n", DataError, "row 1: expected named columns, found list"),
    ],
)
def test_rows_of_ones_own_that_cannot_be_are_named(tmp_path, content, kind, message):
    with pytest.raises(kind, match=message):
        own_documents(OwnDocuments(path=copied(tmp_path, "a.jsonl", content), rows=2))
