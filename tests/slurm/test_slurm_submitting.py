"""What is submitted in which surroundings, and what becomes of it when something else fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from snakemake_executor_plugin_submitit import submitting
from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.environment import for_submitting, unheeded
from snakemake_executor_plugin_submitit.journal import Entry, Journal
from snakemake_executor_plugin_submitit.places import Local, NoAnswer, Place, SubmissionFailed
from snakemake_executor_plugin_submitit.resources import Parameters, submission
from snakemake_executor_plugin_submitit.submitting import Order, Submitter
from snakemake_executor_plugin_submitit.verdicts import Sighting


class LossyPlace(Place):
    """A cluster that takes jobs and then says that it did not, so many times."""

    cluster = "slurm"
    title = "SLURM"
    site = "c"

    def __init__(self, lost: int = 0) -> None:
        self.lost, self.silent = lost, 0  # looks without an answer
        self.living: list[tuple[str, str]] = []  # number and name
        self.cancelled: list[str] = []

    def submit(self, commands: Sequence[Command], parameters: Parameters, folder: Path) -> list[str]:
        number = str(len(self.living) + len(self.cancelled) + 1)
        self.living.append((number, str(parameters["name"])))
        self.lost -= 1
        if self.lost >= 0:
            raise SubmissionFailed("the answer got lost")
        return [number]

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        self.silent -= 1
        if self.silent >= 0:
            raise NoAnswer("squeue: nobody there")
        return {name: Sighting(number, "PENDING") for number, name in self.living}

    def cancel(self, entries: Iterable[Entry]) -> None:
        numbers = [str(entry.job_id) for entry in entries]
        self.cancelled += numbers
        self.living = [each for each in self.living if each[0] not in numbers]


def submitter(place: Place, folder: Path, said: list[str]) -> Submitter:
    return Submitter(place, Journal(folder / "journal"), folder, 9, 2, lambda entry: None, said.append)


def order(folder: Path) -> Order:
    return Order(None, "part", "part.1", ("part1.txt",), "digest", Command("true", str(folder)), submission({}, 1))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "FIRST_PAUSE_S", 0.0)


def test_a_job_whose_answer_got_lost_is_withdrawn_before_the_next_attempt(tmp_path: Path) -> None:
    place, said = LossyPlace(lost=1), []
    (entry,) = submitter(place, tmp_path, said).submit([order(tmp_path)])
    assert place.cancelled == ["1"] and [number for number, _ in place.living] == [entry.job_id] == ["2"]
    assert said == ["Submission failed, trying again in 0 s: the answer got lost"]
    assert entry.site == "c" and list(Journal(tmp_path / "journal")) == [entry]


def test_as_long_as_nobody_can_tell_whether_there_is_a_job_there_is_no_other(tmp_path: Path) -> None:
    place, said = LossyPlace(lost=1), []
    place.silent = 1
    third = submitter(place, tmp_path, said)
    third.attempts = 3
    (entry,) = third.submit([order(tmp_path)])
    assert place.cancelled == ["1"] and [number for number, _ in place.living] == [entry.job_id] == ["2"]
    assert len(said) == 2 and "nobody can tell whether part.1-" in said[1]
    place = LossyPlace(lost=9)
    place.silent = 2  # that is always
    with pytest.raises(SubmissionFailed, match="nobody can tell"):
        submitter(place, tmp_path, []).submit([order(tmp_path)])
    assert len(place.living) == 1


def test_what_cannot_be_written_down_is_not_submitted(tmp_path: Path) -> None:
    (tmp_path / "journal").touch()  # no folder can be there
    place = LossyPlace()
    with pytest.raises(SubmissionFailed, match=r"it cannot be written down: .*File exists") as refusal:
        submitter(place, tmp_path, []).submit([order(tmp_path)])
    assert refusal.value.final and place.living == []


def test_a_job_whose_number_cannot_be_written_down_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, said, write = LossyPlace(), [], Journal.write

    def disk_is_full(self: Journal, entry: Entry) -> None:
        if entry.job_id is not None:
            raise OSError(28, "No space left on device")
        write(self, entry)

    monkeypatch.setattr(Journal, "write", disk_is_full)
    (entry,) = submitter(place, tmp_path, said).submit([order(tmp_path)])
    assert [number for number, _ in place.living] == [entry.job_id]
    assert len(said) == 1 and "could not be written down: [Errno 28] No space left on device" in said[0]
    assert list(Journal(tmp_path / "journal")) == [replace(entry, job_id=None)]  # found by its name later


def test_sbatchs_variables_stand_for_what_a_job_does_not_name(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {"SBATCH_ACCOUNT": "people", "SBATCH_PARTITION": "gpu", "SBATCH_QOS": "long", "SBATCH_JOB_NAME": "mine"}
    for name in [name for name in os.environ if name.startswith("SBATCH_")]:
        monkeypatch.delenv(name)
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    asked = submission({"slurm_partition": "cpu", "slurm_extra": "--qos=short"}, 1)
    with pytest.raises(ZeroDivisionError), for_submitting(asked):
        assert {name for name in os.environ if name.startswith("SBATCH_")} == {"SBATCH_ACCOUNT"}
        raise ZeroDivisionError
    assert dict(os.environ) == before
    assert unheeded(os.environ) == ["SBATCH_JOB_NAME"]


def test_a_process_that_has_a_jobs_number_by_chance_is_not_signalled(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        Local().cancel([Entry("part-1", "local", (), "", str(tmp_path), 0.0, str(stranger.pid))])
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.5)
    finally:
        stranger.kill()
        stranger.wait()
