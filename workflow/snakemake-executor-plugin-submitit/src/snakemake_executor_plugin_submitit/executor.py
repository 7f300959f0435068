"""The executor: Snakemake's side of a job's life, from its submission or attachment to its end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import SharedFSUsage
from snakemake_interface_executor_plugins.utils import format_cli_arg, join_cli_args

from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.identity import facts_of, label_of, outputs_of
from snakemake_executor_plugin_submitit.journal import Entry, Journal, digest, unique
from snakemake_executor_plugin_submitit.leftovers import Leftovers
from snakemake_executor_plugin_submitit.places import NoAnswer, SubmissionFailed, place_named
from snakemake_executor_plugin_submitit.reports import failure, shown
from snakemake_executor_plugin_submitit.resources import Parameters, refuse_unknown, submission
from snakemake_executor_plugin_submitit.verdicts import Sighting, Verdict, judge

# Seconds before a failed submission is tried again.
AGAIN_S = (1.0, 3.0)
# Result files are looked at this often, the queue as the user says; with many jobs each file a little less often.
TICK_S = 1.0
TICK_PER_JOB_S = 0.02
# A job writes its result before its cluster has seen it end; the cluster gets this long to say how.
LAST_WORDS_S = 15.0


@dataclass
class Watched:
    """A job that this process waits for."""

    entry: Entry
    doubted_since: float | None = None  # since when its cluster has not called it alive
    failed_since: float | None = None  # since when it is known to have failed


class Executor(RemoteExecutor):
    """Submits jobs and groups through submitit, or attaches to those that an earlier start left running."""

    def __post_init__(self) -> None:
        self.settings = self.workflow.executor_settings
        self.place = place_named(self.settings.cluster)
        self.folder = Path(self.settings.folder).absolute()
        self.journal = Journal(self.folder / "journal")
        self.watched: dict[str, Watched] = {}
        self.asked_at = float("-inf")
        self.silent = False
        self.next_seconds_between_status_checks = min(TICK_S, self.settings.poll)
        for job in self.dag.needrun_jobs():
            refuse_unknown(job.rule.resources)
        self.leftovers = Leftovers(self.journal, self.logger.info)

    def additional_general_args(self) -> str:
        """A job's log holds what the job says; and the marks of unfinished files are this process's alone to take away.

        Otherwise a job that ends while nobody watches leaves files that look whole and of which nothing is recorded, so
        that a later change of parameters goes unnoticed. Environments live beside the marks: with them, it has to be.
        """
        usage = set(self.workflow.storage_settings.shared_fs_usage)
        if not self.workflow.deployment_settings.deployment_method:
            usage.discard(SharedFSUsage.PERSISTENCE)
        return join_cli_args(["--quiet host progress", format_cli_arg("--shared-fs-usage", usage or "none")])

    # A job starts.

    def run_job(self, job: Any) -> None:
        """Attach to the job if it is there already, else submit it."""
        try:
            entry = self.attach(job) or self.submit(job)
        except (SubmissionFailed, WorkflowError) as error:
            self.report_job_error(SubmittedJobInfo(job), msg=f"The job could not be submitted: {error}\n")
            return
        self.watched[entry.name] = Watched(entry)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=entry.job_id, aux={"name": entry.name}))

    def attach(self, job: Any) -> Entry | None:
        """The same job as an earlier start submitted it, if it still runs or ended well."""
        entry = self.leftovers.take(self.place.cluster, outputs_of(job), digest(facts_of(job)))
        if entry is not None:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.submitted))
            self.logger.info(
                f"Attached to {self.place.title} job {entry.label}, submitted by an earlier start at {when}"
            )
        return entry

    def submit(self, job: Any) -> Entry:
        """Write the intention down, submit, write the number down."""
        name = unique(label_of(job))
        folder = self.folder / "jobs" / name
        draft = Entry(name, self.place.cluster, outputs_of(job), digest(facts_of(job)), str(folder), time.time())
        parameters = submission(self.resources_of(job), job.threads, name)
        command = Command(self.format_job_exec(job), str(Path.cwd()))
        self.journal.write(draft)
        self.watched[name] = Watched(draft)  # so that an interrupt finds it
        entry = replace(draft, job_id=self.submit_patiently(draft, command, parameters))
        self.journal.write(entry)
        self.logger.info(f"Submitted as {self.place.title} job {entry.label}, files in {shown(folder)}")
        return entry

    def submit_patiently(self, draft: Entry, command: Command, parameters: Parameters) -> str:
        """Try again after failures that may pass."""
        for pause in (*AGAIN_S, None):
            try:
                return self.place.submit(command, parameters, Path(draft.folder))
            except SubmissionFailed as error:
                self.withdraw(draft)
                if error.final or pause is None:
                    del self.watched[draft.name]
                    raise
                self.logger.warning(f"Submission failed, trying again in {pause:.0f} s: {error}")
                time.sleep(pause)
        raise AssertionError("the last round returns or raises")

    def withdraw(self, draft: Entry) -> None:
        """Cancel a job that the queue has although its submission failed (the answer got lost)."""
        try:
            sighting = self.place.look([draft]).get(draft.name)
            if sighting is not None and sighting.alive:
                self.place.cancel([sighting.job_id])
        except NoAnswer as error:
            self.logger.warning(f"Nobody can tell whether {draft.name} was submitted all the same: {error}")

    def resources_of(self, job: Any) -> dict[str, object]:
        """The job's resources, with the settings' partition and account where it names none."""
        defaults = {"slurm_partition": self.settings.partition, "slurm_account": self.settings.account}
        return {**defaults, **dict(job.resources.items())}

    # A job runs.

    async def check_active_jobs(self, active_jobs: Sequence[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Report the jobs that have ended, yield the others."""
        if not active_jobs:
            return
        tick = max(TICK_S, TICK_PER_JOB_S * len(active_jobs))
        self.next_seconds_between_status_checks = min(tick, self.settings.poll)
        async with self.status_rate_limiter:
            seen = self.look()
        for info in active_jobs:
            watched = self.watched[info.aux["name"]]
            sighting = seen.get(watched.entry.name) if seen is not None else None
            verdict = self.verdict(watched, sighting, answered=seen is not None)
            obituary = self.obituary(watched, sighting) if verdict is Verdict.FAILED else None
            if verdict is Verdict.RUNNING or (verdict is Verdict.FAILED and obituary is None):
                yield info
                continue
            del self.watched[watched.entry.name]
            if obituary is None:
                self.report_job_success(info)
            else:
                self.report_job_error(info, msg=failure(self.place.title, watched.entry, obituary))

    def obituary(self, watched: Watched, sighting: Sighting | None) -> str | None:
        """How a failed job ended; None as long as its cluster may still come to know: a result file is there first."""
        watched.failed_since = watched.failed_since or time.monotonic()
        words = self.place.obituary(watched.entry, sighting)
        if words is None and time.monotonic() - watched.failed_since >= LAST_WORDS_S:
            return f"failed; {self.place.title} still shows it as running"
        return words

    def look(self) -> Mapping[str, Sighting] | None:
        """One query for all jobs, if it is time for it and an answer comes."""
        if time.monotonic() - self.asked_at < self.settings.poll:
            return None
        self.asked_at = time.monotonic()
        try:
            seen = self.place.look([watched.entry for watched in list(self.watched.values())])
        except NoAnswer as error:
            if not self.silent:
                self.logger.warning(f"{self.place.title} does not say how the jobs are; still waiting: {error}")
            self.silent = True
            return None
        self.silent = False
        return seen

    def verdict(self, watched: Watched, sighting: Sighting | None, answered: bool) -> Verdict:
        """The verdict on a job, which without an answer from its cluster is up to its result file."""
        result = watched.entry.result  # after the query, so that a job that it shows ended has written one
        now = time.monotonic()
        if answered and sighting is not None and sighting.alive:
            watched.doubted_since = None
        elif answered and watched.doubted_since is None:
            watched.doubted_since = now
        if result is None and not answered:
            return Verdict.RUNNING
        return judge(result, sighting, now - (watched.doubted_since or now))

    # A job ends.

    def handle_job_success(self, job: Any) -> None:
        """Snakemake has recorded the job's end: there is nothing left to attach to."""
        self.journal.forget(outputs_of(job))

    def handle_job_error(self, job: Any) -> None:
        self.journal.forget(outputs_of(job))

    def print_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        """Snakemake's report of a failed job, with what is known of its end; a group's report has no place for that."""
        if job_info.job.is_group():
            self.logger.error(msg)
        job_info.job.log_error(msg, external_jobid=job_info.external_jobid, **kwargs)

    def cancel_jobs(self, active_jobs: Sequence[SubmittedJobInfo]) -> None:
        """Cancel what this process waits for; Snakemake's own list lacks the jobs it is just looking at."""
        entries = [watched.entry for watched in list(self.watched.values()) if watched.entry.result is None]
        try:
            ids = self.numbers(entries)
            self.place.cancel(ids)
        except NoAnswer as error:
            self.logger.error(f"Jobs could not be cancelled, the next start attaches to them: {error}")
            return
        for entry in entries:
            self.journal.write(replace(entry, cancelled=True))
        if ids:
            self.logger.info(f"Cancelled {len(ids)} {self.place.title} job{'s' * (len(ids) > 1)}: {', '.join(ids)}")

    def numbers(self, entries: Sequence[Entry]) -> list[str]:
        """The jobs' numbers; one that was just being submitted has to be looked for."""
        unknown = [entry for entry in entries if entry.job_id is None]
        seen = self.place.look(unknown) if unknown else {}
        known = [entry.job_id for entry in entries if entry.job_id is not None]
        return known + [seen[entry.name].job_id for entry in unknown if entry.name in seen]
