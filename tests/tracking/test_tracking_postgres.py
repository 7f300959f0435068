"""A tracking server on PostgreSQL under load and faults: nothing is lost, and no training waits for it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import postgres
import pytest
from sharing import free_port, own_time
from tracking_examples import BEGAN, CURVE, Shown, made_from, small_project, write_training

from dlm.tracking import live_training, sync
from dlm.tracking.ui import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
PROCESSES = 64
KILLED = 17
TRAIN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from tracking_examples import CURVE, made_from
from dlm.tracking import live_training
import dlm.params, dlm.tracking.experiments, dlm.tracking.trainings  # what each training has imported anyway
import os
children = []
for number in range(int(sys.argv[4])):
    if not (child := os.fork()):
        os.setsid()
        with live_training(sys.argv[2], f"run-{number}", made_from(seed=number), Path(sys.argv[1])) as watch:
            for place, record in enumerate(CURVE):
                watch(record, time.time())
                time.sleep(0.2)
                if (number, place) == (int(sys.argv[5]), 2):
                    print(os.getpid(), flush=True)
                    time.sleep(1000)
        os._exit(0)
    children.append(child)
print(sum(os.waitpid(child, 0)[1] == 0 for child in children), flush=True)
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a PostgreSQL database with MLflow's tables."""
    from mlflow import MlflowClient

    with postgres.serving() as address:
        MlflowClient(address).search_experiments()
        yield address


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a tracking server on that database."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", database)
        # A port of its own: the usual one is asked for by whatever else runs here.
        with running(tmp_path_factory.mktemp("server"), free_port()) as (address, _):
            yield address


@pytest.fixture
def project(tmp_path: Path, scale: str, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two trainings and three evaluations that names the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return small_project(tmp_path / "project", scale)


def test_of_sixty_four_trainings_that_log_live_none_is_lost(project: Path, scale: str, server: str) -> None:
    """One is killed in the midst: its run says so, and holds what it had told; all others are whole after a sync."""
    here = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", TRAIN, str(project), scale, here, str(PROCESSES), str(KILLED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        os.kill(int(process.stdout.readline()), signal.SIGKILL)
        assert int(process.stdout.readline()) == PROCESSES - 1, "none but the killed one failed"
        told = process.stderr.read()  # until the last helper has ended
    assert "Traceback" not in told and "duplicate key" not in told
    for number in set(range(PROCESSES)) - {KILLED}:
        write_training(project, scale, f"run-{number}", seed=number)
    began = time.monotonic()
    summary = sync(project)
    print(f"{summary}; {time.monotonic() - began:.1f} s; said while they ran: {told.splitlines()}")
    shown = Shown(server, scale)
    runs = shown.runs("trainings")
    assert set(runs) == {"base", "base-sft", *(f"run-{number}" for number in range(PROCESSES))}
    killed = runs.pop(f"run-{KILLED}")
    assert killed.info.status == "KILLED" and killed.data.params["learning_rate"] == "0.003"
    assert [point[:2] for point in shown.curve(killed, "loss/train")] == [(1, 5.5), (2, 4.25)]
    for name, run in runs.items():
        assert run.info.status == "FINISHED" and run.data.metrics["loss/train"] == 3.0, name
        assert [point[:2] for point in shown.curve(run, "loss/train")] == [(1, 5.5), (2, 4.25), (3, 3.125), (4, 3.0)]
        assert run.data.params["learning_rate"] == "0.003"
    assert summary.completed > PROCESSES / 2, "most were seen while they ran"
    again = sync(project)
    assert (again.new, again.completed, again.removed) == (0, 0, 0)


class Slow:
    """A proxy before a server that lets nothing through for some seconds at a time."""

    def __init__(self, server: str, seconds: float) -> None:
        self._there, self._seconds = urlsplit(server), seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            here, _ = self._listener.accept()
            try:
                there = socket.create_connection((str(self._there.hostname), self._there.port or 80))
            except OSError:  # the server has ended, a helper has not
                here.close()
                continue
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side may have hung up
            while content := one.recv(1 << 16):
                time.sleep(self._seconds)
                other.sendall(content)
        other.close()


@pytest.mark.parametrize("fault", ["down", "slow", "read-only"])
def test_a_training_loses_no_second_by_a_server_that_is(
    fault: str, project: Path, scale: str, server: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is there, whole, after the next sync with a server that answers again."""
    if fault == "down":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
            seconds = lost(project, scale)
    elif fault == "slow":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", Slow(server, seconds=3).address)
        seconds = lost(project, scale)
    else:
        postgres.read_only(database, on=True)
        try:
            seconds = lost(project, scale)
            time.sleep(3)  # so that the helper has asked
        finally:
            postgres.read_only(database, on=False)
    print(f"{fault}: {seconds:.2f} s")
    assert seconds < 1.0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    write_training(project, scale, "new")
    sync(project)
    shown = Shown(server, scale)
    run = shown.runs("trainings")["new"]
    assert run.info.status == "FINISHED" and run.data.metrics["training_seconds"] == 7
    assert [point[:2] for point in shown.curve(run, "loss/train")] == [(1, 5.5), (2, 4.25), (3, 3.125), (4, 3.0)]


def lost(project: Path, scale: str) -> float:
    """Seconds that a training of half a second takes longer with a live view; what is imported, is before.

    The least of three, since what a server costs it costs each time, and what others on a busy machine do it does not.
    """
    timed(project, scale, "warming-up")
    seconds = []
    for name in ("first", "second", "new"):
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI")
            alone = timed(project, scale, name)
        seconds.append(timed(project, scale, name) - alone)
    return min(seconds)


def timed(project: Path, scale: str, name: str) -> float:
    began = own_time()
    with live_training(scale, name, made_from(), project) as watch:
        for second, record in enumerate(CURVE, start=1):
            watch(record, BEGAN + second)
            time.sleep(0.1)
    return own_time() - began


def test_a_database_named_itself_is_synced_too(
    project: Path, scale: str, database: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    assert sync(project).new == 5
    by_database = Shown(server, scale).everything()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert sync(project).new == 0, "the server shows the same runs"
    other = small_project(project.parent / "other", f"{scale}x")
    assert sync(other).new == 5
    by_server = Shown(server, f"{scale}x").everything()
    assert set(by_server) == set(by_database)
    for name, (status, began, ended, params, tags, curves) in by_server.items():
        assert (status, began, ended, params, curves) == (*by_database[name][:4], by_database[name][5])
        assert set(tags) == set(by_database[name][4])
