"""`dlm runs sync` and `dlm runs ui` as a person types them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from sharing import free_port, own_time
from tracking_examples import Shown, small_project

from dlm.errors import RemoteError
from dlm.tracking import sync


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dlm", "runs", *arguments]


def surroundings(**changes: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | changes


def test_everything_stays_inside_the_clone(tmp_path: Path) -> None:
    project, home = small_project(tmp_path / "project", "small"), tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(command("sync"), cwd=project, env=environment, capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("runs sync: 5 runs in sqlite:///") and "5 new" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(home.iterdir())
    assert {path.name for path in project.iterdir()} == {".mlflow", "Snakefile", "params", "results"}
    assert {path.name for path in (project / ".mlflow").iterdir()} == {"lock", "mlflow.db", "origin"}


@pytest.mark.parametrize("listening", [False, True])
def test_a_server_that_does_not_answer_is_one_line(project: Path, listening: bool) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen()
        uri = f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}"
        environment = surroundings(MLFLOW_TRACKING_URI=uri, MLFLOW_HTTP_REQUEST_TIMEOUT="1")
        done = subprocess.run(
            command("sync"), cwd=project, env=environment, capture_output=True, text=True, timeout=280
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: http://127.0.0.1:") and done.stderr.count("\n") == 1
    assert "secret" not in done.stderr and "once it does, `dlm runs sync` shows what is missing" in done.stderr


@pytest.mark.parametrize("listening", [False, True])
def test_a_server_that_does_not_answer_is_soon_given_up(
    project: Path, listening: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In seconds, those aside in which Python imports MLflow: on a busy machine they are many."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:
            listener.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        began = own_time()
        with pytest.raises(RemoteError, match="once it does, `dlm runs sync` shows what is missing"):
            sync(project)
        assert own_time() - began < 20


def test_a_damaged_store_is_one_line(project: Path) -> None:
    (project / ".mlflow" / "mlflow.db").write_bytes(b"not a database at all" * 100)
    began = own_time()
    with pytest.raises(RemoteError, match="file is not a database"):
        sync(project)
    assert own_time() - began < 60, "MLflow by itself tries for 101 s to open it"
    done = subprocess.run(command("sync"), cwd=project, env=surroundings(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 2
    assert done.stderr.startswith("error: sqlite:///") and done.stderr.count("\n") == 1
    assert "file is not a database" in done.stderr and "can be deleted, a sync makes it again" in done.stderr


@pytest.mark.slow
def test_two_syncs_at_once_show_everything_once(project: Path, scale: str) -> None:
    started = [
        subprocess.Popen(command("sync"), cwd=project, env=surroundings(), stderr=subprocess.PIPE) for _ in range(2)
    ]
    told = [process.communicate(timeout=280)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    shown = Shown(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}", scale)
    assert (len(shown.runs("trainings")), len(shown.runs("evaluations"))) == (2, 3)


@pytest.mark.parametrize("farewell", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_the_ui_opens_on_the_runs_and_ends_with_its_command(
    project: Path, scale: str, farewell: signal.Signals
) -> None:
    port = ("--port", str(free_port()))  # another's server would answer at the usual one when ours has ended
    process = subprocess.Popen(
        command("ui", "--scale", scale, *port), cwd=project, env=surroundings(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    lines = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    address = lines[1].split(": ", 2)[2].partition("/#/")[0]
    assert lines[0].startswith("runs sync: 5 runs in ")
    assert f"dlm/{scale}/evaluations: {address}/#/experiments/" in lines[1]
    assert f"dlm/{scale}/trainings: {address}/#/experiments/" in lines[2]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert b"<title>MLflow</title>" in opener.open(address, timeout=100).read()
    process.send_signal(farewell)
    assert process.wait(timeout=200) == 0
    with pytest.raises(OSError):
        opener.open(address, timeout=5)
    assert not (project / "mlruns").exists() and not (project / "mlartifacts").exists()


def test_where_a_server_is_named_the_ui_is_there(project: Path, scale: str, server: str) -> None:
    done = subprocess.run(
        command("ui"), cwd=project, env=surroundings(MLFLOW_TRACKING_URI=server), capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0
    assert f"dlm/{scale}/evaluations: {server}/#/experiments/" in done.stderr


def test_a_port_that_is_taken_is_named(project: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        done = subprocess.run(
            command("ui", "--port", port), cwd=project, env=surroundings(), capture_output=True, text=True, timeout=280
        )
    assert done.returncode == 2
    assert f"error: port {port} is taken; name another one" in done.stderr
