"""A training that is asked to stop, or whose disk is full, can go on later as if nothing had been."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_project import checkpoint, command, make_project, run, start, states

from dlm.errors import Interrupted, SetupError
from dlm.files import no_room, read_manifest, write_json
from dlm.signals import SIGNALS, StopRequest, requeueable
from dlm.training import resuming, train
from dlm.training.run import _identity
from dlm.training.trainer import DiffusionTrainer

RECIPE = {"steps": 150, "checkpoint_seconds": 0, "lora": {"rank": 2, "alpha": 4, "dropout": 0.1}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> str:
    """The digest of the training that nothing stopped."""
    project = make_project(tmp_path_factory.mktemp("whole") / "project", repository, **RECIPE)
    run(project, command(1))
    return str(read_manifest(checkpoint(project))["digest"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_signal_saves_leaves_with_its_own_code_and_continues(whole: str, tmp_path: Path, repository: Path) -> None:
    project = make_project(tmp_path / "project", repository, **RECIPE)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        before = states(checkpoint(project))
        started = time.monotonic()
        process = start(project, command(1))
        while states(checkpoint(project)) in ([], before):
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.005)
        began = time.monotonic()
        while process.poll() is None:  # as launchers do, which pass on to a process what it was sent already
            process.send_signal(number)
            time.sleep(0.005)
        told, _ = process.communicate(timeout=400)
        seconds = time.monotonic() - began
        print(f"{number.name}: left after {seconds:.1f} s")
        assert process.returncode == 75 and seconds < max(30, began - started), "or what a busy machine takes to start"
        last = told.splitlines()[-1]
        assert last.startswith(f"error: train small: stopped by {number.name} at step ") and "Traceback" not in told
        assert len(states(checkpoint(project))) == 1 and not checkpoint(project).exists()
        assert ("continues at" in told) == bool(before)
    assert "continues at" in run(project, command(1))
    assert read_manifest(checkpoint(project))["digest"] == whole


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_disk_that_fills_up_leaves_the_state_before(
    whole: str, tmp_path: Path, repository: Path, small_disk: Path
) -> None:
    project = make_project(tmp_path / "project", repository, **RECIPE)
    checkpoint(project).parent.symlink_to(small_disk)
    ballast = small_disk / "ballast"
    process = start(project, command(1))
    while not states(checkpoint(project)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    while process.poll() is None:  # as it removes the state before, there is room again
        fill(ballast)
        time.sleep(0.002)
    told, _ = process.communicate()
    assert process.returncode == 2
    assert "cannot be saved" in told.splitlines()[-1] and "Traceback" not in told
    assert len(states(checkpoint(project))) == 1
    ballast.unlink()
    assert "continues at" in run(project, command(1))
    assert read_manifest(checkpoint(project))["digest"] == whole


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("ab", buffering=0) as stream:
        try:
            while stream.write(b"0" * 4096):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC


def test_what_a_full_disk_leaves_of_a_state_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_training_run import recipe
    from test_training_run import run as train_here

    saved: list[Path] = []

    def full(self: Any, folder: str) -> None:
        saved.append(Path(folder))
        if len(saved) == 2:
            (Path(folder) / "optimizer.pt").write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        torch.save(self.optimizer.state_dict(), Path(folder) / "optimizer.pt")
        torch.save(self.lr_scheduler.state_dict(), Path(folder) / "scheduler.pt")

    with monkeypatch.context() as patched:
        patched.setattr(DiffusionTrainer, "_save_optimizer_and_scheduler", full)
        with pytest.raises(SetupError, match=r"state at step 2 cannot be saved .*No space left.*free space"):
            train_here(tmp_path / "m", recipe(checkpoint_seconds=0.0))
    assert [path.name for path in (tmp_path / ".m.work").iterdir()] == ["checkpoint-1"]
    train_here(tmp_path / "m", recipe(checkpoint_seconds=0.0))
    train_here(tmp_path / "n", recipe())
    assert read_manifest(tmp_path / "m")["digest"] == read_manifest(tmp_path / "n")["digest"]


def test_a_disk_that_is_full_only_at_the_mark_leaves_nothing_of_that_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_training_run import recipe
    from test_training_run import run as train_here

    marks: list[Path] = []

    def full(path: Path, value: Any) -> None:
        marks.append(path)
        if len(marks) == 2:
            raise no_room(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        write_json(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(resuming, "write_json", full)
        with pytest.raises(SetupError, match=r"state at step 2 cannot be saved .*no space left.*free space"):
            train_here(tmp_path / "m", recipe(checkpoint_seconds=0.0))
    assert [path.name for path in (tmp_path / ".m.work").iterdir()] == ["checkpoint-1"]


@pytest.fixture
def handlers() -> Iterator[list[Any]]:
    """Whatever answers the signals, which is the same again after the test."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield before
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def test_before_and_after_the_updates_a_signal_ends_the_command_at_once(handlers: list[Any]) -> None:
    message = "train m: stopped by SIGTERM; run the same command again"
    with pytest.raises(Interrupted, match=message) as caught, requeueable("train m"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 75


def test_during_the_updates_a_signal_is_remembered(handlers: list[Any]) -> None:
    with StopRequest() as stop:
        assert stop.name is None
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.name == "SIGUSR1"
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_signals_that_come_after_the_first_disturb_nothing(handlers: list[Any]) -> None:
    """A launcher passes on what SLURM has sent to every process, so the second may find a process on its way out."""

    def again() -> None:
        for number in SIGNALS:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match="at step 7"):
        with requeueable("train m"):
            try:
                with StopRequest() as stop:
                    again()
                    assert stop.name == "SIGUSR1"
                    raise Interrupted("train m: stopped at step 7")
            finally:
                again()
        again()
    again()
    with pytest.raises(Interrupted, match="by SIGUSR1"), requeueable("train m"):
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            again()
    again()


@pytest.mark.parametrize("error", [None, SetupError])
def test_where_nothing_was_interrupted_all_is_as_before(handlers: list[Any], error: type[Exception] | None) -> None:
    with contextlib.suppress(SetupError), requeueable("train m"), StopRequest():
        if error:
            raise error
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_75_is_what_sysexits_calls_a_temporary_failure() -> None:
    assert Interrupted.exit_code == os.EX_TEMPFAIL


def test_a_state_of_another_training_is_set_aside_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_training_run import CPU, ROWS, recipe
    from test_training_run import start as fresh

    class Killed(Exception):
        pass

    def at_step_3(record: Any, when: float) -> None:
        if record["step"] == 3:
            raise Killed

    def begin(batch_size: int, watch: Any = at_step_3, name: str = "m") -> str:
        chosen = recipe(batch_size=batch_size, checkpoint_seconds=0.0)
        made_from = {"settings": {"batch_size": batch_size}, "code": {"commit": name}}
        out = tmp_path / name
        with contextlib.suppress(Killed):
            train(
                "m", fresh(), ROWS, ROWS[:8], chosen, out=out, seed=7, execution=CPU, made_from=made_from, watch=watch
            )
        return capsys.readouterr().err

    begin(4)
    told = begin(8)
    said = "begins anew, since the state saved at step 2 is of another training: settings.batch_size (4 there, 8 here);"
    assert said in told and "continues at" not in told
    assert f"it stays in {tmp_path / '.m.work' / 'aside'}" in told
    told = begin(4)
    assert "continues at 2/6" in told and "settings.batch_size (8 there, 4 here)" in told
    assert "continues at 2/6" in begin(8)
    assert "continues at 2/6" in begin(4, None)
    assert not (tmp_path / ".m.work").exists()
    begin(4, None, "n")
    assert read_manifest(tmp_path / "m")["digest"] == read_manifest(tmp_path / "n")["digest"]


def test_a_training_on_another_device_is_another_training() -> None:
    def identity(device: str, sharded: bool, commit: str = "a") -> dict[str, Any]:
        trainer: Any = SimpleNamespace(args=SimpleNamespace(device=torch.device(device)), is_fsdp_enabled=sharded)
        return _identity({"seed": 1, "code": {"commit": commit}}, trainer)

    assert identity("cpu", False) == identity("cpu", False, "b")
    assert identity("cpu", False) != identity("cuda:0", False) != identity("cuda:0", True)
