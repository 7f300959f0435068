"""SLURM: the only module that calls its programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.places import NoAnswer, Place, SubmissionFailed, through_submitit
from snakemake_executor_plugin_submitit.resources import Parameters
from snakemake_executor_plugin_submitit.verdicts import ALIVE, Sighting

# No client is waited for longer than this.
PATIENCE_S = 60

# sbatch's complaints about the job itself, which it would repeat.
HOPELESS = re.compile(r"invalid|not available|not permitted|unrecognized|unable to open file", re.IGNORECASE)


class Slurm(Place):
    """The SLURM cluster that this machine is a client of.

    Jobs are told apart by their names, which are unique, since numbers may come again. The state of all of them is
    one `squeue` of the user's own jobs: it works without accounting, remembers a job for some minutes after its end
    (MinJobAge), and asks the controller for no more than it has to.
    """

    cluster = "slurm"
    title = "SLURM"

    def __init__(self) -> None:
        if missing := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
            raise WorkflowError(
                f"no {missing[0]} on this machine: start on a login node of a SLURM cluster, "
                "or run the jobs here with --submitit-cluster local"
            )

    def submit(self, command: Command, parameters: Parameters, folder: Path) -> str:
        try:
            return str(through_submitit(self.cluster, command, parameters, folder).job_id)
        except SubmissionFailed as error:
            raise SubmissionFailed(str(error), error.final or HOPELESS.search(str(error)) is not None) from error

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        return sightings(ask("squeue", "--me", *SQUEUE))

    def cancel(self, job_ids: Iterable[str]) -> None:
        if ids := list(job_ids):
            ask("scancel", *ids)

    def obituary(self, entry: Entry, sighting: Sighting | None) -> str | None:
        facts = controller_facts(entry) or accounting_facts(entry)
        state = facts.get("JobState") or (sighting.state if sighting else "")
        if state in ALIVE:
            return None
        if not state:
            return "is no longer known to SLURM and left no result"
        exit_code = exit_words(facts.get("ExitCode", ""))
        node = facts.get("NodeList") or (sighting.node if sighting else "")
        return "ended " + ", ".join(filter(None, [state, exit_code, node and f"on {node}"]))


# Jobs of hidden partitions as well, and of the last minutes.
SQUEUE = ("--noheader", "--all", "--states=all", "--format=%i|%T|%N|%j")
# What people set in their environment for their own looks at the queue.
HABITS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SCONTROL_")


def ask(*command: str) -> str:
    """What a client of SLURM printed."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(HABITS)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL, env=plain
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoAnswer(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NoAnswer(f"{command[0]}: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}")
    return done.stdout


def sightings(text: str) -> dict[str, Sighting]:
    """Jobs by name, from squeue's lines."""
    rows = (line.split("|", 3) for line in text.splitlines() if line.count("|") >= 3)
    return {name: Sighting(job_id, state, node) for job_id, state, node, name in rows}


def controller_facts(entry: Entry) -> dict[str, str]:
    """What the controller still knows of a job: JobState, ExitCode, NodeList and more; nothing if it has forgotten."""
    try:
        text = ask("scontrol", "show", "job", "--oneliner", str(entry.job_id))
    except NoAnswer:
        return {}
    facts = dict(word.split("=", 1) for word in text.split() if "=" in word)
    return facts if facts.get("JobName") == entry.name else {}


def accounting_facts(entry: Entry) -> dict[str, str]:
    """The same from the accounting database, where there is one."""
    fields = "State,ExitCode,NodeList,JobName%200"
    try:
        text = ask("sacct", "-n", "-X", "-P", "-j", str(entry.job_id), "-o", fields)
    except NoAnswer:
        return {}
    rows = [line.split("|") for line in text.splitlines()]
    known = [row for row in rows if len(row) == 4 and row[3] == entry.name]
    return dict(zip(("JobState", "ExitCode", "NodeList"), known[-1], strict=False)) if known else {}


def exit_words(code: str) -> str:
    """SLURM's `status:signal` in words."""
    status, _, number = code.partition(":")
    if number not in ("", "0"):
        return f"killed by signal {number}"
    return f"exit code {status}" if status else ""
