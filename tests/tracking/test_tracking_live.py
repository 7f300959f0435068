"""A training shown while it runs: complete after the next sync, and never at the training's cost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sharing import own_time
from tracking_examples import BEGAN, CURVE, Shown, made_from, write_training

from dlm.locks import held
from dlm.params.layout import Layout
from dlm.tracking import live_training, sync


@pytest.fixture
def on_server(project: Path, scale: str, server: str, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the server shows of a project that names it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return Shown(server, scale)


def until(condition: Callable[[], Any], seconds: float = 200) -> Any:
    """Wait for something that another process does; a busy machine takes its time to import MLflow there."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)
    return found


def train(
    project: Path, scale: str, name: str, records: int = len(CURVE), then: Callable[[], Any] | None = None
) -> None:
    """Do what `dlm train` does, as far as the live view sees it."""
    with live_training(scale, name, made_from(), project) as watch:
        for second, record in enumerate(CURVE[:records], start=1):
            watch(record, BEGAN + second)
        if then:
            then()


def test_a_training_is_seen_while_it_runs_and_the_sync_finishes_the_same_run(
    project: Path, scale: str, on_server: Shown
) -> None:
    def look() -> None:
        until(lambda: len(on_server.runs("trainings").get("new", NO_RUN).data.metrics) == 4)
        seen.append(on_server.runs("trainings")["new"])

    seen: list[Any] = []
    train(project, scale, "new", then=look)
    assert seen[0].info.status == "RUNNING"
    assert seen[0].data.params["learning_rate"] == "0.003" and seen[0].data.tags["recipe"] == "pretrain"
    ended = until(lambda: on_server.runs("trainings")["new"].info.status == "FINISHED")
    assert ended
    write_training(project, scale, "new")
    summary = sync(project)
    run = on_server.runs("trainings")["new"]
    assert (summary.new, summary.completed, summary.removed) == (5, 1, 0)
    assert run.info.run_id == seen[0].info.run_id
    assert len(on_server.curve(run, "loss/train")) == 4 and len(on_server.curve(run, "loss/held_out")) == 2
    assert run.data.metrics["training_seconds"] == 7
    assert sync(project).new == 0


def test_an_interrupted_training_goes_on_in_the_same_run(project: Path, scale: str, on_server: Shown) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(project, scale, "new", records=3, then=_interrupt)
    run = until(lambda: {"KILLED": on_server.runs("trainings").get("new")}.get(_status(on_server, "new")))
    train(project, scale, "new")  # from the last saved state, which lies before what was shown
    until(lambda: _status(on_server, "new") == "FINISHED")
    again = on_server.runs("trainings")["new"]
    assert again.info.run_id == run.info.run_id
    assert [point[:2] for point in on_server.curve(again, "loss/train")] == [(1, 5.5), (2, 4.25), (3, 3.125), (4, 3.0)]


def test_a_run_whose_values_the_record_does_not_have_is_not_finished_by_it(
    project: Path, scale: str, on_server: Shown
) -> None:
    train(project, scale, "new")
    before = until(lambda: on_server.runs("trainings").get("new"))
    until(lambda: _status(on_server, "new") == "FINISHED")
    write_training(project, scale, "new", [record | {"loss": 1.0} if "loss" in record else record for record in CURVE])
    summary = sync(project)
    run = on_server.runs("trainings")["new"]
    assert (summary.new, summary.removed) == (6, 1)
    assert run.info.run_id != before.info.run_id and run.data.metrics["loss/train"] == 1


def test_a_run_that_was_told_another_param_is_not_gone_on_with(project: Path, scale: str, on_server: Shown) -> None:
    """MLflow changes no param of a run: neither the repeated training nor the sync tries to."""
    with pytest.raises(KeyboardInterrupt), live_training(scale, "new", made_from(threads=2), project):
        until(lambda: _status(on_server, "new"))
        raise KeyboardInterrupt
    until(lambda: _status(on_server, "new") == "KILLED")
    write_training(project, scale, "new")
    assert (sync(project).new, _params(on_server, "threads")) == (6, ["1"])
    with live_training(scale, "newer", made_from(threads=2), project):
        until(lambda: _status(on_server, "newer"))
    until(lambda: _status(on_server, "newer") == "FINISHED")
    train(project, scale, "newer")
    until(lambda: _params(on_server, "threads", "newer") == ["1", "2"])


def test_a_sync_tells_a_training_that_runs_for_the_second_time_from_one_that_was_given_up(
    project: Path, scale: str, on_server: Shown
) -> None:
    lock = Layout(scale, project).lock("checkpoints", "base")
    sync(project)
    with live_training(scale, "base", made_from(seed=8), project) as watch:
        with held(lock, print):  # as `dlm train` does
            watch(CURVE[0], time.time())
            until(lambda: _status(on_server, "base") == "RUNNING")
            summary = sync(project)
            assert (summary.killed, summary.removed, _status(on_server, "base")) == (0, 0, "RUNNING")
            assert len(list(on_server.client.search_runs([_experiment(on_server)]))) == 3
        summary = sync(project)
        assert (summary.killed, summary.removed, _status(on_server, "base")) == (1, 0, "KILLED")
        assert "1 killed" in str(summary)


def test_a_helper_outlives_what_a_batch_system_sends_to_all_processes_of_a_job(
    project: Path, scale: str, on_server: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
                self.send_signal(number)  # before it can have set up anything

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with pytest.raises(SystemExit), live_training(scale, "new", made_from(), project) as watch:
        watch(CURVE[0], time.time())
        until(lambda: _status(on_server, "new") == "RUNNING")
        started[0].terminate()
        raise SystemExit(75)  # what `dlm train` ends with where it can go on
    until(lambda: _status(on_server, "new") == "KILLED")
    assert started[0].wait(timeout=200) == 0
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_killed_training_leaves_a_run_that_says_so(project: Path, scale: str, server: str, on_server: Shown) -> None:
    script = (
        "import sys, time; sys.path.insert(0, sys.argv[3])\n"
        "from pathlib import Path\nfrom tracking_examples import CURVE, made_from\n"
        "from dlm.tracking import live_training\n"
        "with live_training(sys.argv[2], 'new', made_from(), Path(sys.argv[1])) as watch:\n"
        "    watch(CURVE[0], time.time()); print('on', flush=True); time.sleep(1000)\n"
    )
    command = [sys.executable, "-c", script, str(project), scale, str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"on\n"
        until(lambda: _status(on_server, "new") == "RUNNING")
        process.send_signal(signal.SIGKILL)
    until(lambda: _status(on_server, "new") == "KILLED")


ANSWER_SECONDS = 5
"""That the silent server may take: who waited for it once would lose as many."""


@pytest.fixture(params=["down", "silent"])
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that is not there, or one that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(16)
        yield f"http://user:secret@127.0.0.1:{listener.getsockname()[1]}"


def test_a_training_does_not_wait_for_a_broken_server(
    project: Path, scale: str, broken: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", broken)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(ANSWER_SECONDS))
    original, started = subprocess.Popen, []
    monkeypatch.setattr(
        subprocess, "Popen", lambda *given, **more: started.append(original(*given, **more)) or started[0]
    )
    threads = set(threading.enumerate())
    began = own_time()
    with live_training(scale, "new", made_from(), project) as watch:
        assert own_time() - began < ANSWER_SECONDS, "the server was not waited for"
        worked = time.process_time()
        for step in range(50_000):  # far more than the pipe holds
            watch({"step": step, "loss": 1.0}, BEGAN + step)
        assert time.process_time() - worked < 10, "0.2 ms a record"
        written = own_time()
    assert own_time() - written < ANSWER_SECONDS
    assert set(threading.enumerate()) <= threads, "none of its own is left"
    assert started[0].wait(timeout=200) == 0
    text = capfd.readouterr().err
    assert text.count("\n") == 1 and "the training goes on" in text
    assert "127.0.0.1" in text and "secret" not in text


def test_a_failure_of_the_training_stays_the_trainings(project: Path, scale: str, on_server: Shown) -> None:
    def fail() -> None:
        raise ValueError("the loss is nan")

    with pytest.raises(ValueError, match="the loss is nan"):
        train(project, scale, "new", then=fail)
    until(lambda: _status(on_server, "new") == "FAILED")


def test_no_helper_is_started_where_no_server_is_named(
    project: Path, scale: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    train(project, scale, "new")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'runs.db'}")
    train(project, scale, "new")
    assert not (project / "runs.db").exists()


class _NoRun:
    class data:
        metrics: dict[str, float] = {}


NO_RUN = _NoRun()


def _status(shown: Shown, name: str) -> str | None:
    experiment = shown.client.get_experiment_by_name(f"dlm/{shown.scale}/trainings")
    if experiment is None:
        return None
    runs = shown.client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return runs[0].info.status if runs else None  # the newest


def _experiment(shown: Shown) -> str:
    return str(shown.client.get_experiment_by_name(f"dlm/{shown.scale}/trainings").experiment_id)


def _params(shown: Shown, name: str, run: str = "new") -> list[str]:
    """A param's values, sorted, of all runs of a name."""
    found = shown.client.search_runs([_experiment(shown)], f"attributes.run_name = '{run}'")
    return sorted(each.data.params.get(name, "") for each in found)


def _interrupt() -> None:
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
