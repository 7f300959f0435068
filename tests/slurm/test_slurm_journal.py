"""What was submitted is on disk, and what an earlier start left behind is taken up or ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import cloudpickle
import pytest
from snakemake_executor_plugin_submitit import leftovers
from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.journal import Entry, Journal, Result, folder_of_clone, results_of, unique
from snakemake_executor_plugin_submitit.leftovers import Leftovers
from snakemake_executor_plugin_submitit.places import NoAnswer, Place
from snakemake_executor_plugin_submitit.resources import Parameters
from snakemake_executor_plugin_submitit.verdicts import Sighting
from snakemake_interface_common.exceptions import WorkflowError


class FakePlace(Place):
    """A cluster in memory: jobs by name, which end when they are cancelled."""

    cluster = "slurm"
    title = "SLURM"
    site = "here"

    def __init__(self) -> None:
        self.jobs: dict[str, Sighting] = {}
        self.cancelled: list[str] = []
        self.silent_times = 0

    def submit(self, commands: Sequence[Command], parameters: Parameters, folder: Path) -> list[str]:
        raise AssertionError("nothing is submitted here")

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        if self.silent_times:
            self.silent_times -= 1
            raise NoAnswer("squeue: nobody there")
        return dict(self.jobs)

    def cancel(self, entries: Iterable[Entry]) -> None:
        ids = [str(entry.job_id) for entry in entries]
        self.cancelled += ids
        self.jobs = {name: seen for name, seen in self.jobs.items() if seen.job_id not in ids}


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> FakePlace:
    place = FakePlace()
    monkeypatch.setattr(leftovers, "place_named", lambda cluster: place)
    monkeypatch.setattr(leftovers, "ATTEMPTS", 3)
    monkeypatch.setattr(leftovers, "FIRST_PAUSE_S", 0.0)
    return place


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def left(tmp_path: Path, **changes: object) -> Entry:
    """A job of an earlier start, with the file that tells it what to do."""
    folder = tmp_path / "jobs" / "train-1"
    folder.mkdir(parents=True)
    (folder / "17_submitted.pkl").touch()
    values: dict[str, object] = {"job_id": "17", **changes}
    return replace(Entry("train-1", "slurm", (str(tmp_path / "a"),), "same", str(folder), 5.0), **values)  # type: ignore[arg-type]


def ended(entry: Entry, outcome: str, value: object) -> None:
    Path(entry.folder, "17_0_result.pkl").write_bytes(cloudpickle.dumps((outcome, value)))


def test_an_entry_is_read_back_as_it_was_written(journal: Journal, tmp_path: Path) -> None:
    entry = left(tmp_path)
    journal.write(replace(entry, job_id=None))
    journal.write(entry)
    assert list(journal) == [entry]
    journal.forget(entry.outputs)
    journal.forget(entry.outputs)
    assert list(journal) == []


def test_what_is_no_entry_is_passed_over(journal: Journal, tmp_path: Path) -> None:
    entry = left(tmp_path)
    journal.write(entry)
    (journal.folder / "damaged.json").write_text('{"name": ')
    (journal.folder / "foreign.json").write_text('{"outputs": [], "later": 1}')
    (journal.folder / "unfinished.part").write_text("")
    assert list(journal) == [entry]


def test_results_are_read_from_submitits_files(tmp_path: Path) -> None:
    entry = left(tmp_path)
    assert entry.result is None
    ended(entry, "success", None)
    assert entry.result == Result(True, "None")


def test_a_result_that_has_not_arrived_whole_is_not_there_yet(tmp_path: Path) -> None:
    entry = left(tmp_path)
    ended(entry, "error", "x" * 1000)
    path = Path(entry.folder, "17_0_result.pkl")
    whole = path.read_bytes()
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert entry.result is None
    path.unlink()
    path.mkdir()  # nothing that can be read
    assert entry.result is None
    assert results_of([replace(entry, folder="/nowhere")]) == {}


def test_results_of_an_array_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = left(tmp_path)
    tasks = [replace(entry, task=task) for task in range(30)]
    for task in (1, 11, 20):
        Path(entry.folder, f"17_{task}_0_result.pkl").write_bytes(cloudpickle.dumps(("success", task)))
    looked: list[Path] = []
    listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: [looked.append(self), listing(self)][1])
    assert {key: result.text for key, result in results_of(tasks).items()} == {
        "train-1[1]": "1",
        "train-1[11]": "11",
        "train-1[20]": "20",
    }
    assert len(looked) == 1


def test_names_are_unique_and_fit_for_slurm() -> None:
    names = {unique("train.a/b c|d") for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("train.a_b_c_d-") for name in names)
    assert len(unique("x" * 500)) < 80


def test_a_job_that_runs_is_attached_to(place: FakePlace, journal: Journal, tmp_path: Path) -> None:
    entry = left(tmp_path)
    journal.write(entry)
    place.jobs["train-1"] = Sighting("17", "RUNNING")
    found = Leftovers(journal, print)
    assert found.take("slurm", ["other"], "same") is None
    assert found.take("slurm", entry.outputs, "same") == entry
    assert found.take("slurm", entry.outputs, "same") is None  # once
    assert place.cancelled == []


def test_a_job_whose_number_was_not_noted_is_found_by_its_name(
    place: FakePlace, journal: Journal, tmp_path: Path
) -> None:
    entry = left(tmp_path, job_id=None)
    journal.write(entry)
    place.jobs["train-1"] = Sighting("17", "PENDING")
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") == replace(entry, job_id="17")


def test_a_job_that_ended_well_is_taken_over_if_its_files_are_there(
    place: FakePlace, journal: Journal, tmp_path: Path
) -> None:
    entry = left(tmp_path)
    journal.write(entry)
    ended(entry, "success", None)
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") is None
    journal.write(entry)
    (tmp_path / "a").touch()
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") == entry


@pytest.mark.parametrize(
    ("changes", "digest"),
    [({}, "different"), ({"cancelled": True}, "same"), ({"folder": "/nowhere"}, "same")],
    ids=["another-command", "cancelled", "without-orders"],
)
def test_a_job_that_cannot_be_attached_to_is_ended_before_another_writes_its_files(
    place: FakePlace, journal: Journal, tmp_path: Path, changes: dict[str, object], digest: str
) -> None:
    entry = left(tmp_path, **changes)
    journal.write(entry)
    place.jobs["train-1"] = Sighting("17", "RUNNING")
    said: list[str] = []
    assert Leftovers(journal, said.append).take("slurm", entry.outputs, digest) is None
    assert place.cancelled == ["17"]
    assert said == ["Ending SLURM job 17 (train-1) of an earlier start, which writes the same files"]
    assert list(journal) == []


def test_a_job_that_is_gone_or_failed_is_forgotten(place: FakePlace, journal: Journal, tmp_path: Path) -> None:
    entry = left(tmp_path)
    journal.write(entry)
    ended(entry, "error", "Traceback\nCommandFailed: exit code 1")
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") is None
    assert list(journal) == []
    assert place.cancelled == []


def test_a_silent_cluster_is_asked_again_and_then_an_error(place: FakePlace, journal: Journal, tmp_path: Path) -> None:
    entry = left(tmp_path)
    journal.write(entry)
    place.jobs["train-1"] = Sighting("17", "RUNNING")
    place.silent_times = 2
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") == entry
    place.silent_times = 3
    with pytest.raises(WorkflowError, match="may still run, and nobody can tell: squeue: nobody there"):
        Leftovers(journal, print)


def test_a_job_of_another_cluster_is_neither_attached_to_nor_doubled(
    place: FakePlace, journal: Journal, tmp_path: Path
) -> None:
    entry = left(tmp_path, site="elsewhere")
    journal.write(entry)
    found = Leftovers(journal, print)
    found.refuse_elsewhere(["other"])
    with pytest.raises(WorkflowError) as refusal:
        found.take("slurm", entry.outputs, "same")
    (noted,) = journal.folder.glob("*.json")
    assert "belongs to elsewhere, and this is here" in str(refusal.value) and str(noted) in str(refusal.value)
    assert found.concern(entry.outputs) and list(journal) == [entry]  # it stays written down
    journal.write(replace(entry, site=""))  # from before clusters were noted
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") is None


def test_the_jobs_of_another_member_of_the_group_are_not_doubled(
    place: FakePlace, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each user is shown the own jobs alone, so that another's look gone; one that has left its result is."""
    entry = left(tmp_path, user=os.getuid() + 1)
    journal.write(entry)
    Leftovers(journal, print).refuse_elsewhere(entry.outputs)  # of a place that shows all jobs it is known to be gone
    monkeypatch.setattr(place, "own_alone", True)
    for ask in (Leftovers.refuse_elsewhere, lambda found, outputs: found.take("slurm", outputs, "same")):
        found = Leftovers(journal, print)
        with pytest.raises(WorkflowError, match=r"SLURM job 17 .* belongs to .*: have .* delete") as refusal:
            ask(found, entry.outputs)
        (noted,) = journal.folder.glob("*.json")
        assert str(noted) in str(refusal.value) and list(journal) == [entry]
    ended(entry, "error", "of the job")
    Leftovers(journal, print).refuse_elsewhere(entry.outputs)
    journal.write(replace(entry, user=os.getuid()))
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") is None


def test_what_a_copied_clone_brings_along_is_the_other_clones(
    place: FakePlace, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a clone that was moved it is its own; of one that cannot be looked into, too, unless that is forbidden."""
    entry = left(tmp_path)
    copy = Journal(tmp_path / "copy" / "journal")
    for each in (journal, copy):
        each.write(entry)
    place.jobs["train-1"] = Sighting("17", "RUNNING")
    assert Leftovers(copy, print).take("slurm", entry.outputs, "different") is None
    assert place.cancelled == [] and list(copy) == [entry]
    assert Leftovers(journal, print).take("slurm", entry.outputs, "same") == entry
    for error, others in ((PermissionError(), True), (FileNotFoundError(), False), (OSError("stale"), False)):
        monkeypatch.setattr(Path, "samefile", mock.Mock(side_effect=error))
        assert copy.is_anothers(entry) is others
    monkeypatch.undo()
    journal.folder.rename(tmp_path / "gone")
    assert not copy.is_anothers(entry)


def test_a_folder_that_clones_may_share_has_a_part_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name / "same").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name / "same")
        assert folder_of_clone(".snakemake/submitit") == Path.cwd() / ".snakemake" / "submitit"
        assert folder_of_clone(Path.cwd() / "jobs") == Path.cwd() / "jobs"
        found += [folder_of_clone("../../shared"), folder_of_clone(tmp_path / "shared")]
    assert found[0] == found[1] != found[2] == found[3]
    assert {path.parent for path in found} == {tmp_path / "shared"}


def test_without_leftovers_nobody_is_asked(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "place_named", lambda cluster: pytest.fail("asked"))
    assert Leftovers(journal, print).take("slurm", ["a"], "same") is None
