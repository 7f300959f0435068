import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlm.data.hub import s1k_row, split_rows
from dlm.errors import RemoteError
from dlm.settings.data import HubDataset

ROOT = Path(__file__).resolve().parents[2]
ROW = {"question": " Why? ", "thinking_trajectories": ["Because.", "Other."], "attempt": "So.\n", "cot_type": "math"}


def test_a_row_becomes_a_chat_with_its_first_trajectory():
    assert s1k_row(ROW, 7, "hub") == {
        "id": "s1k-7",
        "messages": [
            {"role": "user", "content": "Why?"},
            {
                "role": "assistant",
                "content": "<reasoning>\nBecause.\n</reasoning>\n<answer>\nSo.\n</answer>",
            },
        ],
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("question", None),
        ("attempt", " "),
        ("attempt", 5),
        ("thinking_trajectories", []),
        ("thinking_trajectories", "x"),
    ],
)
def test_a_row_without_text_is_named(column, value):
    with pytest.raises(RemoteError, match=rf"^hub: row 8: no text in column '{column}'$"):
        s1k_row({**ROW, column: value}, 7, "hub")


@pytest.mark.parametrize(
    ("rows", "share", "held"), [(1000, 0.01, 10), (10, 0.01, 1), (10, 0.0, 0), (10, 0.5, 5), (1, 0.5, 0), (0, 0.1, 0)]
)
def test_a_share_is_held_out(rows, share, held):
    every = [{"id": number} for number in range(rows)]
    split = split_rows(every, share, seed=42)
    assert len(split.held_out) == held
    assert sorted(row["id"] for row in split.train + split.held_out) == list(range(rows))
    assert split == split_rows(every, share, seed=42)
    if rows == 1000:
        assert split != split_rows(every, share, seed=43)


SCRIPT = """
import json, sys
from dlm.data import load_rows, prepare
from dlm.errors import RemoteError
from dlm.settings.data import HubDataset, ProblemSettings
out = {}
for name, changes in (("good", {}), ("absent", {"repository": "no/such"}), ("branch", {"revision": "v9"}),
                      ("split", {"split": "test"})):
    values = {"repository": "simplescaling/s1K", "revision": "main", "held_out_share": 0.2, **changes}
    try:
        manifest = prepare(name, HubDataset(**values), ProblemSettings(), f"{sys.argv[1]}/{name}", {}, {})
        sizes = [len(load_rows(f"{sys.argv[1]}/{name}", split)) for split in ("train", "held_out")]
        out[name] = [*sizes, manifest["made_from"]["source"]["commit"]]
    except RemoteError as error:
        out[name] = str(error)
print(json.dumps(out))
"""


@pytest.fixture
def endpoint(tmp_path, shared):
    """Serve five rows of a stand-in for s1K as a hub on this machine."""
    import pandas

    folder = tmp_path / "hub" / "datasets" / "simplescaling" / "s1K" / "data"
    folder.mkdir(parents=True)
    pandas.DataFrame([ROW] * 5).to_parquet(folder / "train-00000-of-00001.parquet")
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
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(out["good"], list), out
    assert out["good"][:2] == [4, 1] and len(out["good"][2]) == 40
    assert out["absent"].startswith("no/such@main: the hub did not give it (RepositoryNotFoundError")
    assert out["branch"].startswith("simplescaling/s1K@v9: the hub did not give it (RevisionNotFoundError")
    assert out["split"].startswith("simplescaling/s1K@main: the hub did not give it (ValueError")
    assert not any("\n" in out[name] for name in ("absent", "branch", "split"))
    assert HubDataset(repository="a/b", revision="main").held_out_share == 0.01
