"""Where jobs run. Each place submits a job through submitit, says how its jobs are, and cancels them."""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
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

    @abstractmethod
    def submit(self, command: Command, parameters: Parameters, folder: Path) -> str:
        """Submit a job whose files are to lie in `folder`, which is its own; return its number."""

    @abstractmethod
    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        """How jobs are, by their names; the ones the place does not know are left out.

        Raises:
            NoAnswer: the place could not be asked.
        """

    @abstractmethod
    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs; those that have ended already are no error.

        Raises:
            NoAnswer: the place could not be told.
        """

    def obituary(self, entry: Entry, sighting: Sighting | None) -> str | None:
        """How a failed job ended, as far as the place knows: state, exit code, node; None if it has yet to notice."""
        return "ended" if entry.result else "ended without a result"


class NoAnswer(Exception):
    """A place could not be asked; the message says why."""


def through_submitit(cluster: str, call: Callable[[], Any], parameters: Parameters, folder: Path) -> Any:
    """The submitit job that runs `call`; all that submitit refuses is a `SubmissionFailed` in one line."""
    import submitit  # only the process that submits needs it

    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**parameters)
    except (ValueError, AssertionError, NameError, RuntimeError) as error:
        raise SubmissionFailed(str(error), final=True) from error
    try:
        return executor.submit(call)
    except (RuntimeError, OSError) as error:
        raise SubmissionFailed(" ".join(str(error).split()) or type(error).__name__) from error


class Local(Place):
    """Processes of this machine, one a job; they outlive Snakemake as jobs of a cluster do."""

    cluster = "local"
    title = "local"

    def __init__(self) -> None:
        self.children: list[Any] = []

    def submit(self, command: Command, parameters: Parameters, folder: Path) -> str:
        job = through_submitit(self.cluster, command, parameters, folder)
        self.children.append(job)
        return str(job.job_id)

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        self.children = [job for job in self.children if not job.done()]  # asking is also what buries the dead
        here = os.uname().nodename
        return {
            entry.name: Sighting(entry.job_id, "RUNNING", here)
            for entry in entries
            if entry.job_id is not None and controls(entry.job_id, entry.folder)
        }

    def cancel(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            try:
                psutil.Process(int(job_id)).send_signal(signal.SIGINT)
            except psutil.NoSuchProcess:
                continue


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

    def submit(self, command: Command, parameters: Parameters, folder: Path) -> str:
        from submitit.core.utils import cloudpickle_dump

        job = through_submitit(self.cluster, command.run, parameters, folder)
        status = job.result()
        outcome = ("error", f"exit code {status}") if status else ("success", None)
        folder.mkdir(parents=True, exist_ok=True)
        cloudpickle_dump(outcome, folder / f"{job.job_id}_0_result.pkl")
        return str(job.job_id)

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        return {}

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Nothing runs any more when this is called."""


def place_named(cluster: str) -> Place:
    """The place of that name."""
    from snakemake_executor_plugin_submitit.slurm import Slurm

    places: dict[str, Callable[[], Place]] = {kind.cluster: kind for kind in (Slurm, Local, Debug)}
    if cluster not in places:
        raise WorkflowError(f"--submitit-cluster {cluster}: unknown; known: {', '.join(places)}")
    return places[cluster]()
