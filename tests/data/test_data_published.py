"""The files of a published checkpoint: fetched once, gone on with where a process was cut off, there without a hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mirror import ROOT, serving

SCRIPT = """
import json, sys
from dlm.data import fetch_checkpoint
from dlm.errors import RemoteError
try:
    folder, commit = fetch_checkpoint(*sys.argv[1:])
    print(json.dumps([sorted(path.name for path in folder.iterdir()), commit, str(folder)]))
except RemoteError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The folder of a hub with one checkpoint, of two files of weights."""
    model = tmp_path / "hub" / "models" / "org" / "model"
    shutil.copytree(ROOT / "tests" / "parity" / "checkpoints" / "llada_gqa", model)
    (model / "code.py").write_text("raise SystemExit('remote code ran')")
    return tmp_path / "hub"


def fetched(endpoint: str, home: Path, *arguments: str) -> list:
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    command = [sys.executable, "-c", SCRIPT, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_weights_go_on_where_a_process_was_cut_off(shared: Path, hub: Path, tmp_path: Path) -> None:
    weights = hub / "models" / "org" / "model" / "model-00001-of-00002.safetensors"
    content, home = weights.read_bytes(), tmp_path / "home"
    blob = home / "hub" / "models--org--model" / "blobs" / hashlib.sha256(content).hexdigest()
    part = blob.with_name(f"{blob.name}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:100_000])
    with serving(shared, hub) as endpoint:
        names, commit, folder = fetched(endpoint, home, "org/model")
    log = (tmp_path / "log").read_text()
    assert [line for line in log.splitlines() if f"/{weights.name}" in line and "bytes=100000-" in line]
    assert "model-00002-of-00002.safetensors" in names and "code.py" not in names
    assert (Path(folder) / weights.name).read_bytes() == content and not part.exists()
    # What is here is found where no hub answers any more; what is not is one line.
    assert fetched(endpoint, home, "org/model") == [names, commit, folder]
    assert "the hub cannot be reached" in fetched(endpoint, home, "org/other")
