"""SLURM: the only module that calls its programs."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.environment import for_looking, for_submitting, forget_outer_job, unheeded
from snakemake_executor_plugin_submitit.journal import Entry, key_of
from snakemake_executor_plugin_submitit.places import NoAnswer, Place, SubmissionFailed, through_submitit
from snakemake_executor_plugin_submitit.resources import Parameters
from snakemake_executor_plugin_submitit.verdicts import Sighting

# No client is waited for longer than this.
PATIENCE_S = 60
# Numbers in one command line.
TOGETHER = 1000

# sbatch's complaints about the job itself, which it would repeat.
HOPELESS = re.compile(r"invalid|not available|not permitted|unrecognized|unable to open file", re.IGNORECASE)

# What its programs say where there is neither a slurm.conf nor a record in DNS of who would have one.
# Where the controller that hands it out is away, only their last line is the same.
NOWHERE = "DNS SRV lookup failed"


class Slurm(Place):
    """The SLURM cluster that this machine is a client of.

    Jobs are told apart by their names, which are unique, since numbers may come again. The state of all of them is
    one `squeue` of the user's own jobs: it works without accounting, remembers a job for some minutes after its end
    (MinJobAge), and asks the controller for no more than it has to. Where there is accounting, one `sacct` is asked
    about all those that squeue has forgotten.
    """

    cluster = "slurm"
    title = "SLURM"
    own_alone = True  # squeue --me

    def __init__(self) -> None:
        if missing := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
            raise WorkflowError(
                f"no {missing[0]} on this machine: start on a login node of a SLURM cluster, "
                "or run the jobs here with --submitit-cluster local"
            )
        self.refuse_nowhere()
        forget_outer_job(os.environ)
        if names := unheeded(os.environ):
            self.remark = (
                f"{', '.join(names)}: without effect here, each job says itself what it asks for (slurm_extra)"
            )

    def refuse_nowhere(self) -> None:
        """Refuse a machine on which SLURM's programs know of no cluster; one that is only away is waited for."""
        try:
            _ = self.configuration
        except NoAnswer as error:
            if NOWHERE in str(error):
                raise WorkflowError(
                    "SLURM's programs know of no cluster here: start on a login node, or set SLURM_CONF to the "
                    f"cluster's slurm.conf, or run the jobs here with --submitit-cluster local ({error})"
                ) from error

    @functools.cached_property
    def configuration(self) -> Mapping[str, str]:
        """What the controller says of its configuration; nothing as long as it says nothing."""
        lines = (line.partition("=") for line in ask("scontrol", "show", "config").splitlines())
        return {name.strip(): value.strip() for name, _, value in lines}

    @property
    def site(self) -> str:
        try:
            return self.configuration.get("ClusterName", "")
        except NoAnswer:
            return ""

    @property
    def largest_array(self) -> int:
        try:
            return int(self.configuration.get("MaxArraySize", 1001)) - 1  # which counts from zero
        except NoAnswer:
            return 1000

    def submit(self, commands: Sequence[Command], parameters: Parameters, folder: Path) -> list[str]:
        try:
            with for_submitting(parameters):
                return [str(job.job_id) for job in through_submitit(self.cluster, commands, parameters, folder)]
        except SubmissionFailed as error:
            raise SubmissionFailed(str(error), error.final or HOPELESS.search(str(error)) is not None) from error

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Sighting]:
        entries = list(entries)
        seen = sightings(ask("squeue", "--me", *SQUEUE))
        # tasks that were cancelled before they ever ran are one record, of the array
        seen |= {entry.key: seen[entry.name] for entry in entries if entry.key not in seen and entry.name in seen}
        forgotten = [entry.job_id for entry in entries if entry.key not in seen and entry.job_id is not None]
        return {**self.accounted(forgotten), **seen} if forgotten else seen

    def accounted(self, job_ids: Sequence[str]) -> Mapping[str, Sighting]:
        """How jobs ended, where there is accounting that answers.

        Only ends: of a job whose end never reached it, it goes on saying RUNNING.
        """
        try:
            if self.configuration.get("AccountingStorageType", NO_ACCOUNTING) == NO_ACCOUNTING:
                return {}
            known = sightings_accounted(ask("sacct", *SACCT, "-j", ",".join(job_ids[:TOGETHER])))
            return {key: sighting for key, sighting in known.items() if not sighting.alive}
        except NoAnswer:
            return {}

    def cancel(self, entries: Iterable[Entry]) -> None:
        ids = [entry.job_id for entry in entries if entry.job_id is not None]
        for at in range(0, len(ids), TOGETHER):
            ask("scancel", *ids[at : at + TOGETHER])

    def obituary(self, entry: Entry, sighting: Sighting | None) -> str | None:
        if sighting is None and entry.result is None:
            return "is no longer known to SLURM and left no result"
        if sighting is None or sighting.alive:
            return None
        words = (sighting.state, exit_words(sighting.exit_code), sighting.node and f"on {sighting.node}")
        return "ended " + ", ".join(filter(None, words))


NO_ACCOUNTING = "accounting_storage/none"
# Every task of an array, jobs of hidden partitions as well, and those of the last minutes. Of fixed width, the
# only form in which squeue tells exit codes.
WIDTHS = (("JobArrayID", 40), ("State", 24), ("exit_code", 16), ("NodeList", 80), ("Name", 120), ("Reason", 80))
SQUEUE = ("--array", "--noheader", "--all", "--states=all", "--Format=" + ",".join(f"{n}:{w}" for n, w in WIDTHS))
SACCT = ("--noheader", "--allocations", "--parsable2", "--format=JobID,State,ExitCode,NodeList,JobName%200")


def ask(*command: str) -> str:
    """What a client of SLURM printed."""
    plain = for_looking(os.environ)
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
    """Jobs by key, from squeue's columns.

    Of two with the same key, a submission whose answer got lost and its repetition, the one that lives, or the later.
    """
    found: dict[str, Sighting] = {}
    for line in text.splitlines():
        fields, at = [], 0
        for _, width in WIDTHS:
            fields.append(line[at : at + width].strip())
            at += width
        job_id, state, status, node, name, reason = fields
        if name:
            key, sighting = (
                key_of(name, place_in_array(job_id)),
                Sighting(job_id, state, node, exit_code(status), reason),
            )
            found[key] = max(found.get(key, sighting), sighting, key=precedence)
    return found


def precedence(sighting: Sighting) -> tuple[bool, int]:
    """What makes one of two jobs with the same key the one that is meant."""
    number = sighting.job_id.partition("_")[0]
    return sighting.alive, int(number) if number.isdecimal() else 0


def sightings_accounted(text: str) -> dict[str, Sighting]:
    """Jobs by key, from sacct's lines; of a job that ran several times, its last run stands last."""
    rows = (line.split("|", 4) for line in text.splitlines() if line.count("|") >= 4)
    return {
        # "CANCELLED by 17", "None assigned"
        key_of(name, place_in_array(job_id)): Sighting(job_id, state.split(" ")[0], "" if " " in node else node, code)
        for job_id, state, code, node, name in rows
    }


def place_in_array(job_id: str) -> str | None:
    """The task of `17_3`; none of a job of its own, nor of tasks that are shown together."""
    task = job_id.partition("_")[2]
    return task if task.isdecimal() else None


def exit_code(status: str) -> str:
    """SLURM's `status:signal`, from what wait(2) says of a process."""
    return f"{int(status) >> 8}:{int(status) & 127}" if status.isdecimal() else ""


def exit_words(code: str) -> str:
    """SLURM's `status:signal` in words."""
    status, _, number = code.partition(":")
    if number not in ("", "0"):
        return f"killed by signal {number}"
    return f"exit code {status}" if status else ""
