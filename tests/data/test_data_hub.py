import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlm.data import load_joined
from dlm.errors import SettingsError
from dlm.files import replacing_folder, write_jsonl, write_manifest
from dlm.settings.data import HubDataset

ROOT = Path(__file__).resolve().parents[2]
ROW = {"question": " Why? ", "thinking_trajectories": ["Because.", "Other."], "attempt": "So.\n", "cot_type": "math"}


def turns(*roles):
    return [{"role": role, "content": f"{role} {place}"} for place, role in enumerate(roles)]


def hub(form="s1k", **changes):
    return HubDataset(repository="org/set", revision="main", format=form, **changes)


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
from dlm.errors import DlmError
from dlm.settings.data import HubDataset, ProblemSettings
out = {}
for name, changes in json.loads(sys.argv[2]).items():
    values = {"repository": "simplescaling/s1K", "revision": "main", "held_out_share": 0.2, **changes}
    try:
        manifest = prepare(name, HubDataset(**values), ProblemSettings(), f"{sys.argv[1]}/{name}", {}, {})
        ids = [[row["id"] for row in load_rows(f"{sys.argv[1]}/{name}", split)] for split in ("train", "held_out")]
        out[name] = [*ids, manifest["made_from"]["source"]["commit"]]
    except DlmError as error:
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
