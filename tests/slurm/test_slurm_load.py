"""The executor under load and among others: hundreds of jobs, want of memory and time, a silent controller, clones."""

from __future__ import annotations

import os
import re
import signal
import statistics
import time
from pathlib import Path

import pytest
from slurm_cluster import Cluster
from slurm_toy import Running, Toy, eventually
from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.journal import Entry, Journal
from snakemake_executor_plugin_submitit.resources import submission
from snakemake_executor_plugin_submitit.slurm import Slurm
from snakemake_executor_plugin_submitit.submitting import Order, Submitter, arrays

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1500)]

JOBS = 300


def states(cluster: Cluster, before: int) -> list[str]:
    """The states of the jobs and tasks since then."""
    return [state for _, state, _ in cluster.jobs()[before:]]


@pytest.fixture
def before(idle: Cluster) -> int:
    return len(idle.jobs())


def test_hundreds_of_jobs_are_few_submissions_and_one_query(toy: Toy, idle: Cluster, before: int) -> None:
    """They wait, so that what is measured is the asking. All are cancelled by one signal."""
    looks, submissions = toy.spied("squeue"), toy.spied("sbatch")
    names = [f"part{n}.txt" for n in range(JOBS)]
    asked = "part:slurm_extra=--begin=now+1hour"
    running = toy.start(*names, "--set-resources", asked, "--submitit-array-size", "100", jobs=JOBS)
    eventually(lambda: running.text.count("Submitted 100 jobs as SLURM array") == JOBS / 100, 400)
    assert len(submissions.read_text().splitlines()) == JOBS / 100
    seen = len(looks.read_text().splitlines()) if looks.exists() else 0
    began = time.monotonic()
    eventually(lambda: looks.exists() and len(looks.read_text().splitlines()) >= seen + 5)
    took = time.monotonic() - began
    times = [line.split(" ", 2) for line in looks.read_text().splitlines()[seen:]]
    print(
        f"{JOBS} jobs: {took / len(times):.1f} s from query to query (asked for 1 s), one takes "
        f"{1000 * statistics.median(float(end) - float(start) for start, end, _ in times):.0f} ms"
    )
    assert all("--states=all" in words for _, _, words in times)  # of all jobs, not of one
    running.interrupt(signal.SIGTERM)
    assert running.wait() == 1
    assert f"Cancelled {JOBS} SLURM jobs: " in running.text
    eventually(lambda: set(states(idle, before)) == {"CANCELLED"})


def test_three_hundred_short_jobs_run(
    idle: Cluster, before: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Snakemake around each of them, which would be what is measured; submitit's numpy is left out as well."""
    for name, value in idle.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "numpy.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    entries: dict[str, Entry] = {}
    submitter = Submitter(
        Slurm(),
        Journal(tmp_path / "journal"),
        tmp_path,
        256,
        2,
        lambda entry: entries.update({entry.key: entry}),
        print,
    )
    parameters = submission({"mem_mb": 100, "runtime": 5}, 1)
    orders = [
        Order(None, "short", f"short{n}", (f"{n}",), "", Command(f"date +%s.%N > {n}", str(tmp_path)), parameters)
        for n in range(JOBS)
    ]
    began = time.time()
    for together in arrays(orders, 1000):
        submitter.submit(together)
    submitted = time.time()
    # a file is there before the time is in it
    eventually(
        lambda: all((tmp_path / f"{n}").exists() and (tmp_path / f"{n}").stat().st_size for n in range(JOBS)), 800
    )
    starts = sorted(float((tmp_path / f"{n}").read_text()) for n in range(JOBS))
    print(
        f"{JOBS} jobs: submitted in {submitted - began:.1f} s, {1000 * (submitted - began) / JOBS:.0f} ms each; the "
        f"first ran {starts[0] - submitted:.1f} s later, the last {starts[-1] - submitted:.1f} s"
    )
    eventually(lambda: all(entry.result is not None for entry in entries.values()))
    assert all(entry.result and entry.result.good for entry in entries.values())
    assert len(idle.jobs()) == before + JOBS
    assert {job_id.partition("_")[0] for job_id, _, _ in idle.jobs()[before:]} == {entries_number(entries)}


def entries_number(entries: dict[str, Entry]) -> str:
    """The number of the one array that all are tasks of."""
    (number,) = {str(entry.job_id).partition("_")[0] for entry in entries.values()}
    return number


@pytest.mark.slow
def test_who_ran_out_of_memory_or_time_gets_more(toy: Toy, idle: Cluster, before: int) -> None:
    running = toy.start(
        "hungry.txt", "part1.txt", "--set-resources", "part:runtime=1", "--retries", "1", "--keep-going"
    )
    eventually(lambda: "ran out of memory: it ended FAILED" in running.text)
    assert re.search(r"\| slurmstepd\S*: error: .*exceeded memory limit", running.text)
    eventually(lambda: "ran out of time: it ended TIMEOUT" in running.text, 240)
    toy.go()
    running.good()
    asked = {tuple(fields) for fields in idle.jobs("%r|%m|%l")[before:]}
    assert {fields[1] for fields in asked} >= {"600M", "1200M", "300M"}
    assert {fields[2] for fields in asked} >= {"1:00", "2:00"}
    assert toy.read("hungry.txt") == "fed\n"


def test_a_controller_that_is_away_is_waited_for(toy: Toy, idle: Cluster, before: int) -> None:
    running = toy.start("whole.txt")
    eventually(lambda: toy.exists("runs.log") and len(toy.read("runs.log").split()) == 2)
    idle.save_state(idle.jobs()[before][0])
    idle.kill_controller()
    eventually(lambda: "SLURM does not say how the jobs are; still waiting" in running.text)
    toy.go()  # both end while nobody listens
    idle.revive_controller()
    running.good()
    assert "SLURM answers again" in running.text
    assert toy.read("whole.txt") == "1\n2\n"
    assert sorted(toy.read("runs.log").split()) == ["1", "2"]


TIMED_OUT = 'echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1'


# The controller has taken the job, whose tasks run already, and the answer gets lost.
RUN = 'until [ "$(squeue --noheader --array --states=RUNNING | wc -l)" -eq 2 ]; do sleep 0.2; done; '
LOST = '"$real" "$@" > /dev/null; ' + RUN + TIMED_OUT


@pytest.mark.parametrize(("failure", "withdrawn"), [(TIMED_OUT, 0), (LOST, 2)], ids=["not submitted", "answer lost"])
def test_a_submission_whose_failure_passes_is_tried_again(
    toy: Toy, idle: Cluster, before: int, failure: str, withdrawn: int
) -> None:
    toy.spied("sbatch", f"[ -e tried ] || {{ touch tried; {failure}; }}")
    running = toy.start("whole.txt")
    eventually(lambda: "Submitted 2 jobs as SLURM array" in running.text)
    toy.go()
    said = running.good()
    assert said.count("trying again in 1 s: sbatch: error: Socket timed out") == 1
    assert toy.read("whole.txt") == "1\n2\n"
    ended = ["CANCELLED"] * withdrawn + ["COMPLETED"] * 3
    eventually(lambda: states(idle, before) == ended)  # the result of the last may be there before SLURM sees its end


def test_a_submission_that_fails_too_often_is_reported(toy: Toy, idle: Cluster, before: int) -> None:
    attempts = toy.spied("sbatch", TIMED_OUT)
    running = toy.run("part1.txt", "--submitit-attempts", "2")
    assert running.wait() == 1
    assert running.text.count("trying again in 1 s: sbatch: error: Socket timed out") == 1
    assert "could not be submitted: sbatch: error: Socket timed out on send/recv operation" in running.text
    assert not attempts.exists() and len(idle.jobs()) == before


def test_jobs_that_cannot_be_cancelled_live_on(toy: Toy, idle: Cluster, before: int) -> None:
    """With the folder of Snakemake's that they look into when they start."""
    toy.spied("scancel", "[ -e go ] || exit 1")
    first = toy.start("whole.txt")
    eventually(lambda: states(idle, before) == ["RUNNING", "RUNNING"] and "Submitted" in first.text)
    first.interrupt()
    assert first.wait() == 1
    assert "Jobs could not be cancelled, the next start attaches to them: scancel: exit code 1" in first.text
    assert len(list((toy.folder / ".snakemake").glob("tmp.*"))) == 1
    second = toy.start("whole.txt")
    eventually(lambda: second.text.count("Attached to SLURM job") == 2)
    toy.go()
    second.good()
    assert len(idle.jobs()) == before + 3


def test_two_clones_do_not_disturb_each_other(
    toy: Toy, idle: Cluster, before: int, tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Toy(tmp_path / "other", repository, idle.environment)
    one, two = toy.start("whole.txt"), other.start("whole.txt")
    eventually(lambda: states(idle, before) == ["RUNNING"] * 4 and "Submitted" in one.text)
    one.interrupt()
    assert one.wait() == 1
    assert "Cancelled 2 SLURM jobs" in one.text
    eventually(lambda: sorted(states(idle, before)) == ["CANCELLED"] * 2 + ["RUNNING"] * 2)
    other.go()
    two.good()
    assert other.read("whole.txt") == "1\n2\n" and not toy.exists("whole.txt")


def test_it_works_within_a_slurm_job_and_nothing_of_that_leaks(toy: Toy, idle: Cluster, before: int) -> None:
    """The outer job is a task of an array, with GPUs and more tasks: all of which its environment says."""
    command = toy.command("outer.txt", "whole.txt")
    toy.go()
    asked = [
        "--array=7",
        "--ntasks=2",
        "--mem-per-cpu=600",
        "--gpus-per-node=1",
        f"--chdir={toy.folder}",
        "-oouter.log",
    ]
    number = idle.client("sbatch", "--parsable", *asked, f"--wrap=exec {' '.join(command)}").strip()
    eventually(lambda: [f"{number}_7", "COMPLETED"] in idle.jobs("%i|%T"), 600)
    assert toy.read("whole.txt") == "1\n2\n"
    seen = dict(line.partition("=")[::2] for line in toy.read("outer.txt").splitlines())
    assert seen["SLURM_JOB_ID"] != number and seen["SLURM_NTASKS"] == "1"
    assert not {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_JOB_ID", "SLURM_MEM_PER_CPU", "CUDA_VISIBLE_DEVICES"} & set(seen)


def test_a_job_that_vanishes_is_noticed_and_does_not_live_on(toy: Toy, idle: Cluster, before: int) -> None:
    """squeue, asked by nobody else here, forgets the job: three looks later, 5 and 3 s apart, that is reported."""
    forget = toy.folder / "forget"
    notes = toy.spied("squeue", f'[ -e {forget} ] && {{ echo "$began" >> {forget}; exit 0; }}')
    running: Running = toy.start("part1.txt", poll=5)
    eventually(lambda: toy.exists("runs.log") and notes.exists())
    forget.touch()
    vanished = time.time()
    eventually(lambda: "Error in rule" in running.text)
    print(f"noticed after {time.time() - vanished:.1f} s")
    assert running.wait() == 1
    assert "is no longer known to SLURM and left no result" in running.text
    assert 2 <= len(forget.read_text().splitlines()) <= 3
    eventually(lambda: states(idle, before) == ["CANCELLED"])  # its next attempt would run beside it
