"""How a job is judged, and what a person is told of a failed one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest
from snakemake_executor_plugin_submitit import slurm
from snakemake_executor_plugin_submitit.growth import Growth
from snakemake_executor_plugin_submitit.journal import Entry, Result
from snakemake_executor_plugin_submitit.reports import Cause, cause_of, failure, tail
from snakemake_executor_plugin_submitit.slurm import exit_code, exit_words, sightings, sightings_accounted
from snakemake_executor_plugin_submitit.verdicts import Sighting, Verdict, judge

GOOD, BAD = Result(True, "None"), Result(False, "Traceback …\nCommandFailed: exit code 1")


@pytest.mark.parametrize(
    ("result", "state", "doubt_s", "verdict"),
    [
        (GOOD, "RUNNING", 0, Verdict.GOOD),
        (GOOD, None, 0, Verdict.GOOD),
        (BAD, "COMPLETING", 0, Verdict.FAILED),
        (None, "PENDING", 0, Verdict.RUNNING),
        (None, "RUNNING", 0, Verdict.RUNNING),
        (None, "COMPLETING", 0, Verdict.RUNNING),
        (None, "REQUEUED", 0, Verdict.RUNNING),
        (None, "A_STATE_OF_LATER_VERSIONS", 100, Verdict.RUNNING),
        (None, "FAILED", 0, Verdict.FAILED),
        (None, "CANCELLED", 0, Verdict.FAILED),
        (None, "TIMEOUT", 0, Verdict.FAILED),
        (None, "OUT_OF_MEMORY", 0, Verdict.FAILED),
        # a result may be on its way over a slow file system; SLURM may requeue
        (None, "COMPLETED", 5, Verdict.RUNNING),
        (None, "COMPLETED", 31, Verdict.FAILED),
        (None, "NODE_FAIL", 5, Verdict.RUNNING),
        (None, "PREEMPTED", 31, Verdict.FAILED),
        # one look may miss a job, two do not
        (None, None, 0, Verdict.RUNNING),
        (None, None, 5, Verdict.FAILED),
    ],
)
def test_result_and_state_make_a_verdict(
    result: Result | None, state: str | None, doubt_s: float, verdict: Verdict
) -> None:
    sighting = Sighting("17", state) if state else None
    assert judge(result, sighting, doubt_s) is verdict


def squeue(*rows: tuple[str, ...]) -> str:
    """What squeue prints of jobs, whose last columns may be left out."""
    widths = [width for _, width in slurm.WIDTHS]
    return "".join("".join(map(str.ljust, [*row, "", ""], widths)) + "\n" for row in rows)


def test_squeue_is_read_by_name() -> None:
    text = squeue(("17", "FAILED", "256", "n1", "train.a-1"), ("18_3", "PENDING", "0", "", "odd | name", "JobHeldUser"))
    assert sightings(text + "noise\n") == {
        "train.a-1": Sighting("17", "FAILED", "n1", "1:0"),
        "odd | name[3]": Sighting("18_3", "PENDING", "", "0:0", "JobHeldUser"),
    }


@pytest.mark.parametrize("around", [slice(None), slice(None, None, -1)], ids=["in order", "reversed"])
def test_of_two_jobs_with_one_name_the_living_is_meant_or_the_later(around: slice) -> None:
    """The answer to a submission got lost, it was withdrawn, and the second attempt has the same name."""
    withdrawn, again = ("9", "CANCELLED", "0", "", "a-1"), ("10", "RUNNING", "0", "n1", "a-1")
    assert sightings(squeue(*[withdrawn, again][around]))["a-1"].job_id == "10"
    failed = ("10", "FAILED", "256", "n1", "a-1")
    assert sightings(squeue(*[withdrawn, failed][around]))["a-1"].state == "FAILED"
    assert sightings(squeue(*[("9", "RUNNING", "0", "", "a-1"), failed][around]))["a-1"].job_id == "9"


def test_tasks_cancelled_together_are_each_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = squeue(("17_[2-3]", "CANCELLED", "0", "", "a-1"), ("17_1", "COMPLETED", "0", "n1", "a-1"))
    monkeypatch.setattr(slurm, "ask", lambda *command: text)
    tasks = [replace(entry_in(tmp_path), name="a-1", task=task) for task in (1, 2, 3)]
    seen = object.__new__(slurm.Slurm).look(tasks)
    assert [seen[task.key].state for task in tasks] == ["COMPLETED", "CANCELLED", "CANCELLED"]


def test_sacct_is_read_by_name() -> None:
    text = (
        "17|CANCELLED by 1000|0:15|n1|train.a-1\n18_3|NODE_FAIL|0:0|n2|sample-2\n"
        "18_3|COMPLETED|0:0|n1|sample-2\n19|PENDING|0:0|None assigned|odd|name\n"
    )
    assert sightings_accounted(text) == {
        "train.a-1": Sighting("17", "CANCELLED", "n1", "0:15"),
        "sample-2[3]": Sighting("18_3", "COMPLETED", "n1", "0:0"),  # its last run
        "odd|name": Sighting("19", "PENDING", "", "0:0"),
    }


@pytest.mark.parametrize(
    ("code", "words"), [("1:0", "exit code 1"), ("0:9", "killed by signal 9"), ("0:0", "exit code 0"), ("", "")]
)
def test_exit_codes_are_said_in_words(code: str, words: str) -> None:
    assert exit_words(code) == words


@pytest.mark.parametrize(("status", "code"), [("256", "1:0"), ("9", "0:9"), ("35072", "137:0"), ("N/A", "")])
def test_what_wait_says_is_read(status: str, code: str) -> None:
    assert exit_code(status) == code


@pytest.mark.parametrize(
    ("state", "words"),
    [("RUNNING", None), ("COMPLETING", None), ("FAILED", "ended FAILED, exit code 1, on n1")],
)
def test_a_failed_job_has_no_obituary_before_slurm_sees_its_end(state: str, words: str | None, tmp_path: Path) -> None:
    place = object.__new__(slurm.Slurm)  # without the programs that its constructor looks for
    assert place.obituary(entry_in(tmp_path), Sighting("17", state, "n1", "1:0")) == words


def test_the_end_of_a_log_is_its_last_lines_that_say_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 200_000 + b"\n" + b"".join(b"line %d\n\n" % n for n in range(50)) + b"10%\r20%\r\xff")
    lines = tail(log)
    assert lines[-4:] == ["line 49", "10%", "20%", "\ufffd"]


def test_a_log_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert tail(tmp_path) == ["(it cannot be read: Is a directory)"]


def entry_in(folder: Path) -> Entry:
    return Entry("train.a-1", "slurm", ("a.txt",), "digest", str(folder), 0.0, "17")


def test_a_failure_says_state_cause_log_and_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "jobs" / "train.a-1"
    folder.mkdir(parents=True)
    (folder / "17_0_log.out").write_text("all was well\nuntil it was not\n")
    (folder / "17_0_result.pkl").write_bytes(cloudpickle.dumps(("error", "Traceback\nx.CommandFailed: exit code 1\n")))
    text = failure("SLURM", entry_in(folder), "ended FAILED, on n1")
    assert text.splitlines() == [
        "SLURM job 17 (train.a-1) ended FAILED, on n1: exit code 1; the end of jobs/train.a-1/17_0_log.out:",
        "    | all was well",
        "    | until it was not",
    ]


def test_a_failure_without_a_log_says_so(tmp_path: Path) -> None:
    text = failure("SLURM", entry_in(tmp_path), "ended CANCELLED")
    assert text == f"SLURM job 17 (train.a-1) ended CANCELLED; it left no log in {tmp_path}\n"


@pytest.mark.parametrize(
    ("state", "log", "result", "cause"),
    [
        ("OUT_OF_MEMORY", "", None, Cause.MEMORY),
        ("FAILED", "slurmstepd: error: Detected 1 oom_kill event in StepId=3.0. Some …", None, Cause.MEMORY),
        ("FAILED", "kernel: Out of memory: Killed process 4242 (python)", None, Cause.MEMORY),
        ("FAILED", "slurmstepd: error: StepId=6.0 exceeded memory limit (2 > 1), being killed", None, Cause.MEMORY),
        ("FAILED", "a.sh: line 3: 77 Killed\noom-kill event(s) in step 3.batch", None, Cause.MEMORY),
        ("TIMEOUT", "", None, Cause.TIME),
        ("FAILED", "*** STEP 7.0 ON n1 CANCELLED AT … DUE TO TIME LIMIT ***", None, Cause.TIME),
        ("FAILED", "", "UncompletedJobError: Job not requeued because: timed-out too many times.", Cause.TIME),
        ("FAILED", "RuntimeError: CUDA out of memory", None, Cause.OTHER),  # no more of the node's memory would help
        ("FAILED", "the bloom_killer of the room", None, Cause.OTHER),
        ("CANCELLED", "", None, Cause.OTHER),
    ],
)
def test_want_of_memory_and_time_are_told_from_other_failures(
    state: str, log: str, result: str | None, cause: Cause, tmp_path: Path
) -> None:
    if log:
        (tmp_path / "17_0_log.out").write_text(log)
    if result:
        (tmp_path / "17_0_result.pkl").write_bytes(cloudpickle.dumps(("error", result)))
    assert cause_of(entry_in(tmp_path), Sighting("17", state)) is cause


def test_the_cause_is_named_first(tmp_path: Path) -> None:
    text = failure("SLURM", entry_in(tmp_path), "ended TIMEOUT, on n1", Cause.TIME)
    assert text.startswith("SLURM job 17 (train.a-1) ran out of time: it ended TIMEOUT, on n1; it left no log")


def test_what_ran_out_is_asked_for_again_with_more() -> None:
    growth, job, other = Growth(2.0, 1.5), ("a.txt",), ("b.txt",)
    asked: dict[str, object] = {"mem_mb": 300, "runtime": 5, "gpu": 1}
    growth.note(job, Cause.OTHER)
    assert growth.grown(job, asked) == asked
    growth.note(job, Cause.MEMORY)
    growth.note(job, Cause.MEMORY)
    growth.note(job, Cause.TIME)
    assert growth.grown(job, asked) == {"mem_mb": 1200, "runtime": 8, "gpu": 1}
    assert growth.grown(job, {"mem_mb_per_gpu": 700})["mem_mb_per_gpu"] == 2800
    assert growth.grown(job, {}) == {"runtime": 90}  # SLURM's own memory is not known, the executor's time is
    assert growth.grown(other, asked) == asked


@pytest.mark.parametrize(("storage", "known"), [("slurmdbd", {"train.a-1": "FAILED"}), ("none", {})])
def test_what_squeue_has_forgotten_accounting_is_asked_about_in_one_query(
    storage: str, known: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "squeue": squeue(("19", "RUNNING", "0", "n1", "other")),
        "scontrol": f"Configuration data\nAccountingStorageType   = accounting_storage/{storage}\n",
        "sacct": "17|FAILED|1:0|n1|train.a-1\n18|RUNNING|0:0|n1|b\n",  # whose end never reached it
    }
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(slurm, "ask", lambda *command: [asked.append(command), said[command[0]]][1])
    place = object.__new__(slurm.Slurm)
    forgotten = entry_in(tmp_path)
    seen = place.look(
        [forgotten, replace(forgotten, name="b", job_id="18"), replace(forgotten, name="other", job_id="19")]
    )
    assert {name: each.state for name, each in seen.items()} == {"other": "RUNNING", **known}
    assert [command[0] for command in asked] == ["squeue", "scontrol", *(["sacct"] if known else [])]
    assert not known or asked[-1][-1] == "17,18"
