"""Checkpoints as MLflow models: by reference, and answering a prompt over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import pytest
from doubles import small_denoiser
from sharing import free_port

from dlm.errors import CheckpointError, DataError
from dlm.files import read_json
from dlm.models import Denoiser, save_denoiser
from dlm.sampling import Sampler
from dlm.tracking.models import write_model
from dlm.tracking.served import _load_pyfunc

PROMPTS = ["b c", "d e f"]


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return small_denoiser()


@pytest.fixture
def clone(tmp_path: Path, denoiser: Denoiser) -> Path:
    """A project with a checkpoint."""
    (tmp_path / "params").mkdir()
    (tmp_path / "Snakefile").touch()
    save_denoiser(denoiser, tmp_path / "results" / "small" / "checkpoints" / "asked", name="asked", made_from={})
    return tmp_path


def answers(denoiser: Denoiser, seed: int = 0) -> list[str]:
    chats = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    template = denoiser.tokenizer.apply_chat_template
    texts = [template(chat, tokenize=False, add_generation_prompt=True) for chat in chats]
    return [found.text for found in Sampler(denoiser, seed=seed).sample(texts)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_served_checkpoint_answers_a_prompt(clone: Path, denoiser: Denoiser) -> None:
    environment = {
        **os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "dlm", "runs", "model", "asked", "--scale", "small"]
    told = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=240)
    assert told.returncode == 0, told.stderr
    folder = clone / ".mlflow" / "models" / "small" / "asked"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 10_000, "the weights are not copied"
    serve = told.stderr.splitlines()[-1].replace("--port 5001", f"--port {free_port()}").split()
    server = subprocess.Popen(serve, cwd=clone, env=environment, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{serve[-1]}"
        wait_for(address, server)
        assert ask(address, {"inputs": {"prompt": PROMPTS}}) == answers(denoiser)
        assert (
            ask(address, {"dataframe_split": {"columns": ["prompt"], "data": [PROMPTS[:1]]}}) == answers(denoiser)[:1]
        )
        with pytest.raises(HTTPError, match="400"):
            ask(address, {"inputs": {"question": PROMPTS}})
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=200)


def ask(address: str, content: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", json.dumps(content).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
        return json.loads(answer.read())["predictions"]


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(f"{address}/ping", timeout=5)
            return
        except (URLError, OSError):
            assert server.poll() is None and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.3)


def test_a_model_refers_to_the_weights_it_was_made_of_and_no_others(clone: Path, denoiser: Denoiser) -> None:
    folder = write_model(clone, "small", "asked")
    reference = folder / "data" / "reference.json"
    import pandas

    loaded = _load_pyfunc(str(reference))
    asked = pandas.DataFrame({"prompt": PROMPTS})
    assert loaded.predict(asked) == loaded.predict(asked, {"seed": 0}) == answers(denoiser)
    checkpoint = clone / "results" / "small" / "checkpoints" / "asked"
    assert read_json(reference)["checkpoint"] == str(checkpoint)
    checkpoint.rename(clone / "away")
    with pytest.raises(CheckpointError, match="asked: the checkpoint is not there any more"):
        _load_pyfunc(str(reference))
    save_denoiser(small_denoiser(seed=1), checkpoint, name="asked", made_from={})
    with pytest.raises(CheckpointError, match="other weights than those that were referred to; `dlm runs model asked`"):
        _load_pyfunc(str(reference))
    write_model(clone, "small", "asked")
    assert _load_pyfunc(str(reference)).predict(asked) == answers(small_denoiser(seed=1))
    with pytest.raises(DataError, match="no checkpoint 'askd' of scale 'small' is here; did you mean 'asked'"):
        write_model(clone, "small", "askd")
    with pytest.raises(DataError, match="'asked' of scale 'tiny' is here; it is of scale small: name it with --scale"):
        write_model(clone, "tiny", "asked")
    for name in ("as[k]ed", str(clone / "asked")):
        with pytest.raises(DataError, match="of scale 'tiny' is here; "):
            write_model(clone, "tiny", name)
