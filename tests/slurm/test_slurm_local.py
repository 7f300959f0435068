"""The same executor without a cluster: submitit's local and debug executors, and the command inside a job."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from slurm_toy import Toy, eventually
from snakemake_executor_plugin_submitit.command import FAREWELL_S, Command, CommandFailed, end_all
from snakemake_executor_plugin_submitit.slurm import Slurm


@pytest.mark.parametrize("executor", ["local", "debug"])
def test_the_workflow_runs_without_a_cluster(local_toy: Toy, executor: str) -> None:
    local_toy.go()
    local_toy.run("whole.txt", executor=executor).good()
    assert local_toy.read("whole.txt") == "1\n2\n"
    assert local_toy.journal == []


@pytest.mark.parametrize("executor", ["local", "debug"])
def test_a_failed_job_says_so(local_toy: Toy, executor: str) -> None:
    running = local_toy.run("broken.txt", executor=executor)
    assert running.wait() == 1
    assert f"message: {executor} job " in running.text
    assert " ended: exit code 1; the end of .snakemake/submitit/jobs/broken-" in running.text
    assert "the reason" in running.text


def test_after_a_kill_the_next_start_attaches(local_toy: Toy) -> None:
    first = local_toy.start("part1.txt", executor="local")
    eventually(lambda: local_toy.exists("runs.log"))
    first.kill()
    second = local_toy.start("part1.txt", executor="local")
    eventually(lambda: "Attached to local job" in second.text)
    local_toy.go()
    second.good()
    assert local_toy.read("runs.log") == "1\n"
    assert local_toy.read("part1.txt") == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True], ids=["a copy", "a new one with the same --submitit-folder"])
def test_another_clone_has_jobs_of_its_own(
    local_toy: Toy, tmp_path_factory: pytest.TempPathFactory, repository: Path, shared: bool
) -> None:
    """While those of the first, which was killed, run on."""
    folder = tmp_path_factory.mktemp("other")
    where = ("--submitit-folder", str(tmp_path_factory.mktemp("shared"))) if shared else ()
    first = local_toy.start("part1.txt", *where, executor="local")
    eventually(lambda: local_toy.exists("runs.log"))
    first.kill()
    if not shared:
        shutil.copytree(local_toy.folder, folder, dirs_exist_ok=True)
        (folder / "runs.log").unlink()
    other = Toy(folder, repository)
    try:
        second = other.start("part1.txt", *where, executor="local")
        eventually(lambda: other.exists("runs.log"))
        other.go()
        assert "Attached" not in second.good()
    finally:
        other.stop()
    assert other.read("part1.txt") == "1\n"
    third = local_toy.start("part1.txt", *where, executor="local")
    eventually(lambda: "Attached to local job" in third.text)
    local_toy.go()
    third.good()
    assert local_toy.read("runs.log") == "1\n"


def processes_in(folder: Path) -> list[str]:
    """What runs in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_an_interrupt_leaves_nothing_running(local_toy: Toy) -> None:
    running = local_toy.start("part1.txt", executor="local")
    eventually(lambda: local_toy.exists("runs.log"))
    running.interrupt()
    assert running.wait() == 1
    assert "Cancelled 1 local job: " in running.text
    eventually(lambda: processes_in(local_toy.folder) == [])


def test_without_slurm_the_message_says_what_to_do(local_toy: Toy) -> None:
    local_toy.environment["PATH"] = str(Path(sys.executable).parent)
    running = local_toy.run("part1.txt", executor="slurm")
    assert running.wait() == 1
    assert "no sbatch on this machine" in running.text
    assert "--submitit-cluster local" in running.text


def fake_clients(folder: Path, scontrol_says: str) -> str:
    """Programs of SLURM that fail; return where to look for programs, they first."""
    for name in ("sbatch", "srun", "squeue", "scancel", "scontrol"):
        said = scontrol_says if name == "scontrol" else f"{name}: error: away"
        (folder / name).write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit 1\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_slurm_without_a_cluster_is_told_once_before_any_job(local_toy: Toy, tmp_path: Path) -> None:
    nowhere = (
        "scontrol: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\n"
        "scontrol: error: fetch_config: DNS SRV lookup failed\n"
        "scontrol: fatal: Could not establish a configuration source"
    )
    local_toy.environment["PATH"] = fake_clients(tmp_path, nowhere)
    running = local_toy.run("part1.txt", executor="slurm")
    assert running.wait() == 1
    [told] = [line for line in running.text.splitlines() if "know of no cluster here" in line]
    assert "SLURM_CONF" in told and "--submitit-cluster local" in told
    assert "trying again" not in running.text and local_toy.journal == []


def test_slurm_whose_controller_is_away_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it also hands out the configuration, its programs end with the same words as without any cluster."""
    away = (
        "scontrol: error: _fetch_child: failed to fetch remote configs: Unable to contact slurm controller\n"
        "scontrol: error: _establish_config_source: failed to fetch config\n"
        "scontrol: fatal: Could not establish a configuration source"
    )
    monkeypatch.setenv("PATH", fake_clients(tmp_path, away))
    assert Slurm().site == ""


def test_a_command_runs_in_its_folder_and_fails_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "tracebacklimit", 1000, raising=False)
    Command("pwd > here", str(tmp_path))()
    assert (tmp_path / "here").read_text().strip() == str(tmp_path)
    with pytest.raises(CommandFailed, match=r"^exit code 3$"):
        Command("exit 3", str(tmp_path))()
    with pytest.raises(CommandFailed, match=r"^killed by signal 9$"):
        Command("kill -KILL $$", str(tmp_path))()


def test_a_command_takes_all_that_it_started_with_it(tmp_path: Path) -> None:
    (tmp_path / "stubborn").write_text("trap '' TERM; sleep 100 & wait\n")
    process = psutil.Popen(["sh", "-c", "sh ./stubborn & wait"], cwd=tmp_path)
    eventually(lambda: any(line.startswith("sleep") for line in processes_in(tmp_path)))
    tree = [*process.children(recursive=True), process]
    end_all(tree, FAREWELL_S)
    process.wait(60)
    eventually(lambda: processes_in(tmp_path) == [])
    end_all(tree, FAREWELL_S)  # nothing left is no error


def test_an_interrupted_command_ends_first(tmp_path: Path) -> None:
    code = (
        f"from snakemake_executor_plugin_submitit.command import Command; Command('sleep 100 & wait', '{tmp_path}')()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.DEVNULL)
    eventually(lambda: any(line.startswith("sleep") for line in processes_in(tmp_path)))
    os.kill(process.pid, signal.SIGINT)
    process.wait(60)
    eventually(lambda: processes_in(tmp_path) == [])


STOPPED_BESIDE_AN_ORPHAN = """
import threading, time
from pathlib import Path
from snakemake_executor_plugin_submitit.command import Command, adopt_orphans

adopt_orphans()
command = Command("(sh ./helper &); exec sleep 100", ".", warning_s=10)
threading.Thread(target=command.run, daemon=True).start()
while not Path("ready").exists():
    time.sleep(0.05)
print(type(command.checkpoint()).__name__)
"""


def test_a_helpers_good_end_is_not_the_commands(tmp_path: Path) -> None:
    """The command is stopped, and has to go on later, although something that it left running ended with 0."""
    (tmp_path / "helper").write_text("trap 'exit 0' TERM\ntouch ready\nwhile :; do sleep 0.1; done\n")
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_BESIDE_AN_ORPHAN], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.stdout.strip() == "DelayedSubmission", done.stderr
