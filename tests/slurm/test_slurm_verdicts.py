"""How a job is judged, and what a person is told of a failed one."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
import pytest
from snakemake_executor_plugin_submitit import slurm
from snakemake_executor_plugin_submitit.journal import Entry, Result
from snakemake_executor_plugin_submitit.reports import failure, tail
from snakemake_executor_plugin_submitit.slurm import exit_words, sightings
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


def test_squeue_is_read_by_name() -> None:
    text = "17|RUNNING|n1|train.a-1\n18|PENDING||odd|name\nnoise\n"
    assert sightings(text) == {
        "train.a-1": Sighting("17", "RUNNING", "n1"),
        "odd|name": Sighting("18", "PENDING", ""),
    }


@pytest.mark.parametrize(
    ("code", "words"), [("1:0", "exit code 1"), ("0:9", "killed by signal 9"), ("0:0", "exit code 0"), ("", "")]
)
def test_exit_codes_are_said_in_words(code: str, words: str) -> None:
    assert exit_words(code) == words


@pytest.mark.parametrize(
    ("state", "words"),
    [("RUNNING", None), ("COMPLETING", None), ("FAILED", "ended FAILED, exit code 1, on n1")],
)
def test_a_failed_job_has_no_obituary_before_slurm_sees_its_end(
    state: str, words: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"JobId=17 JobName=train.a-1 JobState={state} ExitCode=1:0 NodeList=n1"
    monkeypatch.setattr(slurm, "ask", lambda *command: line)
    place = object.__new__(slurm.Slurm)  # without the programs that its constructor looks for
    assert place.obituary(entry_in(tmp_path), None) == words


def test_a_log_ends_with_its_last_thirty_lines_that_say_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 200_000 + b"\n" + b"".join(b"line %d\n\n" % n for n in range(50)) + b"10%\r20%\r\xff")
    lines = tail(log)
    assert len(lines) == 30
    assert lines[-4:] == ["line 49", "10%", "20%", "\ufffd"]


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
