"""The executor on a real SLURM cluster: what is asked for, how jobs end, and who notices."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import psutil
import pytest
from slurm_cluster import Cluster
from slurm_toy import Toy, begun_since, eventually

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def states(cluster: Cluster) -> list[str]:
    return [state for _, state, _ in cluster.jobs()]


def with_states(cluster: Cluster, before: int, *wanted: str) -> bool:
    """Whether the jobs since `before` are in these states."""
    return states(cluster)[before:] == list(wanted)


def seconds_run(cluster: Cluster) -> int:
    """For how long the last job has run, by SLURM's own count."""
    minutes, seconds = cluster.jobs("%M")[-1][0].split(":")
    return 60 * int(minutes) + int(seconds)


@pytest.fixture
def before(idle: Cluster) -> int:
    """How many jobs the cluster remembers from earlier tests."""
    return len(idle.jobs())


def test_a_workflow_with_gpus_runs_each_job_as_a_slurm_job(toy: Toy, idle: Cluster, before: int) -> None:
    toy.go()
    toy.run("whole.txt").good()
    assert toy.read("whole.txt") == "1\n2\n"
    jobs = idle.jobs("%T|%P|%C|%m|%b|%l|%D")[before:]
    numbers = [job_id for job_id, _, _ in idle.jobs()[before:]]
    assert [number.partition("_")[2] for number in numbers] == ["0", "1", ""]  # those alike are one array
    assert numbers[0].partition("_")[0] == numbers[1].partition("_")[0]
    assert jobs[:2] == [["COMPLETED", "gpu", "1", "300M", "gres:gpu:1", "5:00", "1"]] * 2
    assert len(jobs) == 3
    assert toy.journal == []
    assert "Nothing to be done" in toy.run("whole.txt").good()


def test_resources_arrive_at_slurm(toy: Toy, idle: Cluster, before: int) -> None:
    running = toy.start("asking.txt")
    eventually(lambda: len(idle.jobs()) > before and "Submitted" in running.text)
    job_id, name = idle.jobs("%i|%j")[-1]
    text = idle.client("scontrol", "show", "job", "--oneliner", job_id)
    facts = dict(word.split("=", 1) for word in text.split() if "=" in word)
    wanted = {
        "Partition": "cpu",
        "Account": "people",
        "NumCPUs": "3",
        "CPUs/Task": "3",
        "MinMemoryNode": "700M",
        "TresPerNode": "gres:gpu:2",
        "TimeLimit": "00:17:00",
        "Nice": "7",
        "Reason": "BeginTime",
        "WorkDir": str(toy.folder),
    }
    assert {key: facts[key] for key in wanted} == wanted
    assert re.fullmatch(r"asking-[0-9a-f]{8}", name)
    running.interrupt()
    assert running.wait() == 1


def test_settings_give_the_partition_of_jobs_that_name_none(toy: Toy, idle: Cluster) -> None:
    """And sbatch's variables change nothing of what the jobs say themselves."""
    toy.environment |= {"SBATCH_PARTITION": "gpu", "SBATCH_JOB_NAME": "mine", "SBATCH_TIMELIMIT": "1"}
    toy.go()
    said = toy.run("part1.txt", "--submitit-partition", "cpu").good()
    assert "SBATCH_JOB_NAME, SBATCH_TIMELIMIT: without effect here" in said
    partition, limit, name = idle.jobs("%P|%l|%j")[-1]
    assert (partition, limit) == ("cpu", "5:00") and name.startswith("part.1-")


def test_a_command_with_several_tasks_runs_once_and_calls_srun(toy: Toy) -> None:
    toy.run("spread.txt").good()
    assert toy.read("spread.txt").splitlines() == [f"{n} of 4 on {'n1' if n < 2 else 'n2'}" for n in range(4)]


def test_a_group_is_one_job(toy: Toy, idle: Cluster, before: int) -> None:
    toy.go()
    toy.run("whole.txt", "--groups", "part=all", "whole=all").good()
    assert toy.read("whole.txt") == "1\n2\n"
    assert len(idle.jobs()) == before + 1


def test_a_failed_job_shows_how_it_ended_and_the_end_of_its_log(toy: Toy) -> None:
    running = toy.run("broken.txt")
    assert running.wait() == 1
    assert re.search(r"SLURM job \d+ \(broken-\w+\) ended FAILED, exit code 1, on n[12]; the end of", running.text)
    tail = [line for line in running.text.splitlines() if line.startswith("    | ")]
    assert len(tail) == 30
    assert "    | the reason" in tail
    assert re.search(r"end of \.snakemake/submitit/jobs/broken-\w+/\d+_0_log\.out:", running.text)
    assert toy.journal == []


def test_a_failed_group_shows_it_too(toy: Toy) -> None:
    running = toy.run("broken.txt", "--groups", "broken=all")
    assert running.wait() == 1
    assert "    | the reason" in running.text


def test_a_refused_submission_is_reported_in_a_line(toy: Toy) -> None:
    running = toy.run("part1.txt", "--set-resources", "part:slurm_partition=nowhere")
    assert running.wait() == 1
    assert "could not be submitted: sbatch: error: invalid partition specified: nowhere" in running.text
    assert "trying again" not in running.text


def test_an_unknown_name_is_refused_before_anything_is_submitted(toy: Toy, idle: Cluster, before: int) -> None:
    running = toy.run("whole.txt", "--set-resources", "part:slurm_partitoin=gpu")
    assert running.wait() == 1
    assert "resource slurm_partitoin: unknown; known: slurm_partition, slurm_account" in running.text
    assert len(idle.jobs()) == before


def noticed(toy: Toy, cluster: Cluster, notes: Path) -> str:
    """That SLURM's knowledge of a job's end is reported at the next look or the one after it, 5 s apart.

    Returns:
        what Snakemake printed.
    """
    (running,) = toy.started
    eventually(lambda: states(cluster)[-1] in ("FAILED", "CANCELLED"))
    ended = time.time()
    eventually(lambda: "Error in rule" in running.text)
    print(f"noticed after {time.time() - ended:.1f} s")
    assert running.wait() == 1
    assert begun_since(notes, ended) <= 2
    return running.text


def kill_task(toy: Toy) -> None:
    """SIGKILL to the process of the job's only task, as when memory runs out: it leaves no result."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if "submitit.core._submit" in words and words[-1].startswith(str(toy.folder)) and "python" in words[0]:
            process.kill()


def test_a_running_job_that_dies_is_noticed(toy: Toy, idle: Cluster) -> None:
    notes = toy.spied("squeue")
    toy.start("part1.txt", poll=5)
    eventually(lambda: toy.exists("runs.log"))
    kill_task(toy)
    text = noticed(toy, idle, notes)
    assert re.search(r"ended FAILED, killed by signal 9, on n\d", text), text


def test_a_running_job_that_is_cancelled_is_noticed(toy: Toy, idle: Cluster) -> None:
    notes = toy.spied("squeue")
    toy.start("part1.txt", poll=5)
    eventually(lambda: toy.exists("runs.log"))
    idle.client("scancel", idle.jobs("%i")[-1][0])
    text = noticed(toy, idle, notes)
    assert re.search(r"ended CANCELLED, .*on n\d", text), text


def test_a_waiting_job_that_is_held_or_cancelled_is_noticed(toy: Toy, idle: Cluster, before: int) -> None:
    notes = toy.spied("squeue")
    running = toy.start("part1.txt", "--set-resources", "part:slurm_extra=--hold", poll=5)
    eventually(lambda: with_states(idle, before, "PENDING"))
    number = idle.jobs("%i")[-1][0]
    eventually(lambda: f"PENDING: JobHeldUser; `scontrol release {number}` lets it go on" in running.text)
    idle.client("scancel", number)
    assert "ended CANCELLED" in noticed(toy, idle, notes)


def test_jobs_that_cannot_start_are_spoken_of(toy: Toy, idle: Cluster) -> None:
    """One asks for more time than its partition gives; one is put back into the queue, and held."""
    running = toy.start("part1.txt", "part2.txt", "--set-resources", "part:runtime=121")
    eventually(lambda: "2 wait, PENDING: PartitionTimeLimit; it asks for more time than it may have" in running.text)
    number = idle.jobs("%i")[-1][0]
    idle.client("scontrol", "update", f"jobid={number}", "timelimit=5")
    eventually(lambda: idle.jobs("%T")[-1] == ["RUNNING"])
    idle.client("scontrol", "requeuehold", number)
    eventually(lambda: f"`scontrol release {number}` lets it go on" in running.text)
    assert running.text.count("PartitionTimeLimit") == 1
    running.interrupt()
    assert running.wait() == 1


def test_a_job_over_its_time_is_not_warned_away_before(toy: Toy, idle: Cluster, before: int) -> None:
    # with submitit's own signal 90 s before the end, a job of one minute would not live for ten seconds
    running = toy.start("part1.txt", "--set-resources", "part:runtime=1")
    eventually(lambda: toy.exists("runs.log"))
    eventually(lambda: seconds_run(idle) >= 15 or not with_states(idle, before, "RUNNING"))
    assert with_states(idle, before, "RUNNING") and "Error" not in running.text
    running.interrupt()
    assert running.wait() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_jobs_and_says_so(toy: Toy, idle: Cluster, before: int, number: signal.Signals) -> None:
    running = toy.start("whole.txt")
    eventually(lambda: with_states(idle, before, "RUNNING", "RUNNING") and "Submitted" in running.text)
    running.interrupt(number)
    assert running.wait() == 1
    ids = [job_id for job_id, _, _ in idle.jobs()[before:]]
    assert f"Cancelled 2 SLURM jobs: {', '.join(ids)}" in running.text
    eventually(lambda: with_states(idle, before, "CANCELLED", "CANCELLED"))
    toy.go()
    again = toy.run("whole.txt").good()
    assert "Attached" not in again
    assert toy.read("whole.txt") == "1\n2\n"


def killed_run(toy: Toy, cluster: Cluster, before: int, number: int = signal.SIGKILL) -> None:
    """Snakemake alone is killed while two of its jobs run."""
    running = toy.start("whole.txt")
    eventually(lambda: with_states(cluster, before, "RUNNING", "RUNNING"))
    eventually(lambda: toy.exists("runs.log") and len(toy.read("runs.log").split()) == 2)
    running.kill(number)
    assert len(toy.journal) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["killed", "connection lost"])
def test_after_a_kill_the_next_start_attaches(toy: Toy, idle: Cluster, before: int, number: signal.Signals) -> None:
    killed_run(toy, idle, before, number)
    second = toy.start("whole.txt")
    eventually(lambda: second.text.count("Attached to SLURM job") == 2)
    assert len(idle.jobs()) == before + 2
    toy.go()
    second.good()
    assert toy.read("whole.txt") == "1\n2\n"
    assert sorted(toy.read("runs.log").split()) == ["1", "2"]  # each job ran once
    assert len(idle.jobs()) == before + 3
    assert toy.journal == []
    assert "Nothing to be done" in toy.run("whole.txt").good()


def test_after_a_kill_results_of_the_meantime_are_taken_over(toy: Toy, idle: Cluster, before: int) -> None:
    killed_run(toy, idle, before)
    toy.go()
    eventually(lambda: with_states(idle, before, "COMPLETED", "COMPLETED"))
    assert toy.run("whole.txt").good().count("Attached to SLURM job") == 2
    assert toy.read("whole.txt") == "1\n2\n"
    assert sorted(toy.read("runs.log").split()) == ["1", "2"]
    assert "Nothing to be done" in toy.run("whole.txt").good()
    assert "part " in toy.run("whole.txt", "--dry-run", "--config", "tag=new").good()  # their parameters are recorded


def test_after_a_kill_a_failure_of_the_meantime_is_run_again(toy: Toy, idle: Cluster, before: int) -> None:
    killed_run(toy, idle, before)
    idle.cancel_all()
    toy.go()
    assert "Attached" not in toy.run("whole.txt").good()
    assert toy.read("whole.txt") == "1\n2\n"
    assert len(idle.jobs()) == before + 5


def test_after_a_kill_a_job_that_would_do_something_else_is_ended_first(toy: Toy, idle: Cluster, before: int) -> None:
    killed_run(toy, idle, before)
    second = toy.start("whole.txt", "--config", "tag=new")
    eventually(lambda: "Submitted 2 jobs as SLURM array" in second.text)
    assert second.text.count("Ending SLURM job") == 2
    assert states(idle)[before : before + 2] == ["CANCELLED", "CANCELLED"]
    toy.go()
    second.good()
    assert toy.read("whole.txt") == "new1\nnew2\n"


def test_after_a_kill_a_group_is_attached_to(toy: Toy, idle: Cluster, before: int) -> None:
    grouped = ("--groups", "part=all", "whole=all")
    running = toy.start("whole.txt", *grouped)
    eventually(lambda: with_states(idle, before, "RUNNING") and toy.exists("runs.log"))
    running.kill()
    toy.go()
    assert toy.run("whole.txt", *grouped).good().count("Attached to SLURM job") == 1
    assert toy.read("whole.txt") == "1\n2\n"
    assert len(idle.jobs()) == before + 1
