"""What was submitted, on disk: one JSON file a job, so that a later start of Snakemake finds jobs that still run.

An entry is written before its job is submitted and again when SLURM has given it a number, and is forgotten when
Snakemake has recorded the job's end. What is found at a start was therefore left by one that ended too early.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One submission."""

    name: str  # on the cluster, unique; the tasks of an array share it
    cluster: str
    outputs: tuple[str, ...]
    digest: str  # of all that decides what the job does
    folder: str  # submitit's files of this submission alone
    submitted: float  # seconds since the epoch
    job_id: str | None = None  # none yet: about to be submitted
    cancelled: bool = False
    task: int | None = None  # its place in an array; none: a job of its own
    site: str = ""  # which of its kind the cluster is; empty where that was not known
    user: int | None = None  # whose it is, by number; none where that was not noted

    @property
    def key(self) -> str:
        """What tells the job from all others."""
        return key_of(self.name, self.task)

    @property
    def label(self) -> str:
        """The job's number and name, for people."""
        return f"{self.job_id or '(no number)'} ({self.key})"

    def files(self, pattern: str) -> list[Path]:
        """submitit's files whose names end so; looking into the folder makes a network file system look, too."""
        which = "*" if self.task is None else f"*_{self.task}"
        try:
            return sorted(Path(self.folder).glob(f"{which}{pattern}"))
        except OSError:  # of a file system that is just away: nothing is there yet
            return []

    @property
    def handed_over(self) -> bool:
        """Whether the job has the file that tells it what to do."""
        return bool(self.files("_submitted.pkl"))

    @property
    def log(self) -> Path | None:
        """The job's log, once it has one."""
        return next(iter(self.files("_0_log.out")), None)

    @property
    def result(self) -> Result | None:
        """How the job's command ended, if it wrote that down."""
        return next(iter(results_of([self]).values()), None)

    @property
    def outputs_exist(self) -> bool:
        """Whether everything the job makes is there."""
        return all(os.path.lexists(path) for path in self.outputs)


@dataclass(frozen=True)
class Result:
    """What a job's command left as its result."""

    good: bool
    text: str

    @property
    def reason(self) -> str:
        """The last line of a failure's traceback; of a command that failed, how it ended and no more."""
        last = self.text.splitlines()[-1] if self.text else ""
        return last.rpartition("CommandFailed: ")[2]


RESULT = "_0_result.pkl"
# What may come of reading a pickle of which a part has not arrived.
HALF = (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, IndexError, AttributeError, ImportError)


def results_of(entries: Iterable[Entry]) -> dict[str, Result]:
    """The results that are there, by key; each folder is looked into once, however many tasks of an array share it."""
    shelves: dict[str, dict[int | None, Path]] = {}
    found = {}
    for entry in entries:
        if entry.folder not in shelves:
            shelves[entry.folder] = results_in(entry.folder)
        path = shelves[entry.folder].get(entry.task)
        if path is not None and (result := read_result(path)) is not None:
            found[entry.key] = result
    return found


def results_in(folder: str) -> dict[int | None, Path]:
    """submitit's files of results in a folder, by the task of an array; under None one of a job of its own."""
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.name.endswith(RESULT))
    except OSError:
        return {}
    shelf: dict[int | None, Path] = {}
    for path in paths:
        task = path.name.removesuffix(RESULT).rpartition("_")[2]
        shelf[None] = shelf[int(task) if task.isdecimal() else None] = path
    return shelf


def read_result(path: Path) -> Result | None:
    """How a job's command ended; None as long as the file is not whole, or not within reach."""
    try:
        outcome, value = pickle.loads(path.read_bytes())
    except HALF:
        return None
    return Result(outcome == "success", str(value).strip())


def key_of(name: str, task: int | str | None) -> str:
    """A job's name, and of a task of an array its place in it."""
    return name if task is None else f"{name}[{task}]"


def unique(label: str) -> str:
    """A name for a job that no other has: from a rule and its wildcards, fit for SLURM and for a file."""
    plain = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in label)
    return f"{plain[:60]}-{secrets.token_hex(4)}"


def digest(facts: object) -> str:
    """A short fingerprint of anything that JSON can say."""
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def folder_of_clone(asked: str | Path) -> Path:
    """The folder for this clone's files; of one outside of it, which other clones may share, this clone's part.

    Args:
        asked: the setting `folder`.
    """
    here = Path.cwd()
    folder = Path(os.path.normpath(here / asked))
    return folder if folder.is_relative_to(here) else folder / f"{here.name}-{digest(str(here))[:8]}"


class Journal:
    """The entries of one project, each in a file named after the job's outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, outputs: Sequence[str]) -> Path:
        return self.folder / f"{digest(sorted(outputs))}.json"

    def write(self, entry: Entry) -> None:
        """Write an entry, whole or not at all."""
        path = self.path(entry.outputs)
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        with open(draft, "w") as stream:
            json.dump(asdict(entry), stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)

    def forget(self, outputs: Sequence[str]) -> None:
        """Remove the entry of a job, if there is one."""
        self.path(outputs).unlink(missing_ok=True)

    def is_anothers(self, entry: Entry) -> bool:
        """Whether an entry came here in a copy of its clone: the journal that it was written into is there, elsewhere.

        Of a clone that was moved, the entries are its own.
        """
        try:
            return not Path(entry.folder).parents[1].joinpath(self.folder.name).samefile(self.folder)
        except PermissionError:  # another user's
            return True
        except (OSError, IndexError):
            return False

    def __iter__(self) -> Iterator[Entry]:
        """All entries; a file that holds none (another version's, a damaged one) is passed over."""
        for path in sorted(self.folder.glob("*.json")):
            try:
                values = json.loads(path.read_text())
                yield Entry(**{**values, "outputs": tuple(values["outputs"])})
            except (FileNotFoundError, ValueError, TypeError, KeyError):
                continue


def overlapping(entries: Iterable[Entry], outputs: Sequence[str]) -> list[Entry]:
    """The entries of jobs that write any of these files."""
    wanted = set(outputs)
    return [entry for entry in entries if wanted & set(entry.outputs)]
