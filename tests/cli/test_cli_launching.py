"""What a launcher ended with, in one line and a code; the trainings of several processes test the rest."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from click.testing import CliRunner
from torch.distributed.elastic.multiprocessing import ProcessFailure
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from dlm.cli import cli, leave_it_to_the_first, main
from dlm.cli.launching import _error
from dlm.cli.nodes import srun_command
from dlm.cli.sampling import _devices
from dlm.errors import DlmError, Interrupted, SettingsError, SetupError


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


@pytest.mark.parametrize(
    ("codes", "by", "ended_with", "told"),
    [
        ((1, -signal.SIGKILL, 1), [], 2, "launch: the process of rank 1 was ended by SIGKILL"),
        ((75, -signal.SIGKILL), [], 2, "launch: the process of rank 1 was ended by SIGKILL"),
        ((2, -signal.SIGTERM), [], 2, "2"),
        ((-signal.SIGTERM, 2), [], 2, "2"),
        ((-signal.SIGABRT, 2), [], 2, "2"),
        ((75, 1), [], 1, "1"),
        ((-signal.SIGTERM, 75), [], 75, "launch: stopped by a signal to one of its processes"),
        ((-signal.SIGTERM, -signal.SIGTERM), [], 2, "launch: the process of rank 0 was ended by SIGTERM"),
        ((1, -signal.SIGTERM), ["SIGTERM"], 75, "launch: stopped by SIGTERM"),
        ((1, 75), ["SIGUSR1"], 75, "launch: stopped by SIGUSR1"),
        ((-signal.SIGUSR1, -signal.SIGKILL), ["SIGUSR1"], 75, "launch: stopped by SIGUSR1"),
        ((75, 2), ["SIGTERM"], 2, "2"),
    ],
)
def test_of_processes_that_failed_at_once_the_one_that_explains_the_others_is_told_of(
    codes: tuple[int, ...], by: list[str], ended_with: int, told: str
) -> None:
    def run() -> None:
        failures = {
            rank: ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file="none")
            for rank, code in enumerate(codes)
        }
        for failure in failures.values():
            failure.timestamp = 7
        raise ChildFailedError("train", failures)

    error = _error(run, by)
    assert str(error).startswith(told)
    assert (error.code if isinstance(error, SystemExit) else error.exit_code) == ended_with


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
    mistake = SettingsError("x")
    leave_it_to_the_first(mistake)
    monkeypatch.setenv("RANK", "0")
    leave_it_to_the_first(mistake)
    assert not waited
    monkeypatch.setenv("RANK", "1")
    leave_it_to_the_first(mistake)
    assert len(waited) == 1 and 30 < waited[0] < 90


@pytest.mark.parametrize(("rank", "lines"), [("0", ["error: stopped"]), ("1", [])])
def test_a_process_that_is_ended_for_anothers_mistake_adds_no_line_and_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, lines: list[str]
) -> None:
    def stopped(standalone_mode: bool) -> None:
        raise Interrupted("stopped")

    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(cli, "main", stopped)
    monkeypatch.setattr("dlm.cli.keep_caches_inside", lambda root: None)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as ended_with:
        main()
    assert ended_with.value.code == 75 and not waited
    assert capsys.readouterr().err.splitlines() == lines


IN_A_JOB = {"SLURM_JOB_ID": "20017", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "6", "SLURM_RESTART_COUNT": "3"}
TRAIN = ("-m", "dlm", "train", "x")


def test_on_several_nodes_srun_starts_a_torchrun_on_each() -> None:
    command = srun_command(2, 8, TRAIN, IN_A_JOB)
    assert command[:5] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=6"]
    words = " ".join(command)
    assert "-m dlm launch torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint " in words
    assert words.endswith(":10017 --rdzv-id 20017.3 -m dlm train x")  # a port and a name of this run of this job
    given = srun_command(2, 8, TRAIN, {**IN_A_JOB, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "77"})
    assert "10.0.0.1:77" in given


@pytest.mark.parametrize(
    ("environment", "found"),
    [({}, "this is no SLURM job"), ({**IN_A_JOB, "SLURM_JOB_NUM_NODES": "1"}, "job 20017 has 1")],
)
def test_nodes_that_are_not_there_are_refused(environment: dict[str, str], found: str) -> None:
    with pytest.raises(SetupError, match=rf"launch --nodes 2: .*{found}; run it on the first node of a SLURM job of 2"):
        srun_command(2, 1, TRAIN, environment)


def test_nodes_go_with_a_module() -> None:
    told = CliRunner().invoke(cli, ["launch", "--nodes", "2", "torchrun", "-m", "dlm"])
    assert told.exit_code == 2 and "--nodes and --processes go with a COMMAND that begins with -m" in told.output


def test_each_process_that_samples_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    assert _devices(2, "auto") == [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    assert _devices(2, "cpu") == [{}, {}]
    with pytest.raises(SetupError, match="--processes 4: 3 GPUs are here"):
        _devices(4, "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert _devices(4, "auto") == [{}] * 4
