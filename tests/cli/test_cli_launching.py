"""What a launcher ended with, in one line and a code; the trainings of several processes test the rest."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from click.testing import CliRunner
from torch.distributed.elastic.multiprocessing import ProcessFailure
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from dlm.cli import cli, leave_it_to_the_first
from dlm.cli.launching import _error
from dlm.errors import DlmError


def ended(code: int, told: list[str]) -> Any:
    def run() -> None:
        raise ChildFailedError("train", {1: ProcessFailure(local_rank=1, pid=1, exitcode=code, error_file="none")})

    return _error(run, told)


@pytest.mark.parametrize(
    ("code", "told", "message"),
    [
        (75, ["SIGUSR1"], "launch: stopped by SIGUSR1; run the same command again to continue"),
        (75, [], "launch: stopped by a signal to one of its processes; run the same"),
        (-signal.SIGUSR1, ["SIGUSR1"], "launch: stopped by SIGUSR1;"),
        (-signal.SIGKILL, [], "launch: the process of rank 1 was ended by SIGKILL, and the others with it;"),
        (-signal.SIGKILL, ["SIGTERM"], "launch: the process of rank 1 was ended by SIGKILL"),
    ],
)
def test_what_ended_the_processes_is_told_in_one_line(code: int, told: list[str], message: str) -> None:
    error = ended(code, told)
    assert isinstance(error, DlmError) and str(error).startswith(message)
    assert (error.exit_code == 75) == message.startswith("launch: stopped")


def test_a_mistake_that_a_process_has_told_is_not_told_again() -> None:
    error = ended(2, [])
    assert isinstance(error, SystemExit) and error.code == 2
    assert _error(lambda: None, []) is None


def test_an_unknown_launcher_is_refused() -> None:
    told = CliRunner().invoke(cli, ["launch", "mpirun", "-n", "2"])
    assert told.exit_code == 2 and "'mpirun -n' is no launcher; known: torchrun, accelerate launch" in told.output


def test_the_first_of_several_processes_tells_a_mistake_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    leave_it_to_the_first()
    monkeypatch.setenv("RANK", "0")
    leave_it_to_the_first()
    assert not waited
    monkeypatch.setenv("RANK", "1")
    leave_it_to_the_first()
    assert len(waited) == 1 and 5 < waited[0] < 25
