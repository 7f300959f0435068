"""Where jobs run. Each place submits a job through submitit, says how its jobs are, and cancels them."""

from __future__ import annotations

import contextlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.resources import Parameters
from snakemake_executor_plugin_submitit.verdicts import Sighting


class SubmissionFailed(Exception):
    """A job could not be submitted; `final` where trying again cannot help."""

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Place(ABC):
    """A kind of cluster, by submitit's name for it."""

    cluster: ClassVar[str]
    title: ClassVar[str]  # for people: "<title> job 17"
    remark: str = ""  # what a person should know of it beforehand
    own_alone: ClassVar[bool] = False  # whether a look shows the user's own jobs and nobody else's

    @property
    def site(self) -> str:
        """Which of its kind it is, since others may share the file system; empty where that is not known."""
        return ""

    @property
    def largest_array(self) -> int:
        """How many jobs can be submitted together."""
        return 1

    @abstractmethod
    def submit(self, commands: Sequence[Command], parameters: Parameters, folder: Path) -> list[str]:
        """Submit jobs whose files are to lie in `folder`, which is their own; return their numbers.

        Several commands, at most `largest_array`, are the tasks of one array.
        """

    @abstractmethod
    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        """How jobs are, by their keys; the ones the place does not know are left out.

        Raises:
            NoAnswer: the place could not be asked.
        """

    @abstractmethod
    def cancel(self, entries: Iterable[Entry]) -> None:
        """Cancel jobs that have numbers; those that have ended already are no error.

        Raises:
            NoAnswer: the place could not be told.
        """

    def obituary(self, entry: Entry, sighting: Sighting | None) -> str | None:
        """How a failed job ended, as the place shows it: state, exit code, node; None if it has yet to notice."""
        return "ended" if entry.result else "ended without a result"


class NoAnswer(Exception):
    """A place could not be asked; the message says why."""


# What submitit wants to know of an executor when it is made.
AT_THE_START = ("slurm_python", "slurm_max_num_timeout")


def through_submitit(
    cluster: str, calls: Sequence[Callable[[], Any]], parameters: Parameters, folder: Path
) -> list[Any]:
    """The submitit jobs that run `calls`; all that submitit refuses is a `SubmissionFailed` in one line."""
    import submitit  # only the process that submits needs it

    first = {name: value for name, value in parameters.items() if name in AT_THE_START}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **first)
        executor.update_parameters(**{name: value for name, value in parameters.items() if name not in first})
    except (ValueError, AssertionError, NameError, RuntimeError) as error:
        raise SubmissionFailed(str(error), final=True) from error
    except OSError as error:
        raise SubmissionFailed(str(error)) from error
    try:
        return list(executor.submit_array(calls))
    except (RuntimeError, OSError) as error:
        raise SubmissionFailed(" ".join(str(error).split()) or type(error).__name__) from error


class Local(Place):
    """Processes of this machine, one a job; they outlive Snakemake as jobs of a cluster do."""

    cluster = "local"
    title = "local"

    def __init__(self) -> None:
        self.children: list[Any] = []

    @property
    def site(self) -> str:
        return os.uname().nodename

    def submit(self, commands: Sequence[Command], parameters: Parameters, folder: Path) -> list[str]:
        jobs = through_submitit(self.cluster, commands, parameters, folder)
        self.children += jobs
        return [str(job.job_id) for job in jobs]

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        self.children = [job for job in self.children if not job.done()]  # asking is also what buries the dead
        return {
            entry.key: Sighting(entry.job_id, "RUNNING", self.site)
            for entry in entries
            if entry.job_id is not None and controls(entry.job_id, entry.folder)
        }

    def cancel(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            # the number of a job that is gone may be another process's by now
            if entry.job_id is not None and controls(entry.job_id, entry.folder):
                with contextlib.suppress(psutil.NoSuchProcess):
                    psutil.Process(int(entry.job_id)).send_signal(signal.SIGINT)


def controls(pid: str, folder: str) -> bool:
    """Whether the process is submitit's controller of the job whose files lie in `folder`."""
    try:
        process = psutil.Process(int(pid))
        return process.status() != psutil.STATUS_ZOMBIE and folder in process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


class Debug(Place):
    """This process: a job runs while it is being submitted, its output goes where Snakemake's goes."""

    cluster = "debug"
    title = "debug"

    def submit(self, commands: Sequence[Command], parameters: Parameters, folder: Path) -> list[str]:
        from submitit.core.utils import cloudpickle_dump

        (job,) = through_submitit(self.cluster, [command.run for command in commands], parameters, folder)
        status = job.result()
        outcome = ("error", f"exit code {status}") if status else ("success", None)
        folder.mkdir(parents=True, exist_ok=True)
        cloudpickle_dump(outcome, folder / f"{job.job_id}_0_result.pkl")
        return [str(job.job_id)]

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        return {}

    def cancel(self, entries: Iterable[Entry]) -> None:
        """Nothing runs any more when this is called."""


def place_named(cluster: str) -> Place:
    """The place of that name."""
    from snakemake_executor_plugin_submitit.slurm import Slurm

    places: dict[str, Callable[[], Place]] = {kind.cluster: kind for kind in (Slurm, Local, Debug)}
    if cluster not in places:
        raise WorkflowError(f"--submitit-cluster {cluster}: unknown; known: {', '.join(places)}")
    return places[cluster]()
