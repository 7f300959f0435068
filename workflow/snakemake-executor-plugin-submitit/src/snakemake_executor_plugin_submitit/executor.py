"""The executor: Snakemake's side of a job's life, from its submission or attachment to its end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import SharedFSUsage
from snakemake_interface_executor_plugins.utils import format_cli_arg, join_cli_args

from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.growth import Growth
from snakemake_executor_plugin_submitit.hindrances import Hindrances
from snakemake_executor_plugin_submitit.identity import facts_of, label_of, members, outputs_of
from snakemake_executor_plugin_submitit.journal import Entry, Journal, digest, folder_of_clone, results_of
from snakemake_executor_plugin_submitit.leftovers import Leftovers
from snakemake_executor_plugin_submitit.places import NoAnswer, SubmissionFailed, place_named
from snakemake_executor_plugin_submitit.reports import cause_of, failure, shown
from snakemake_executor_plugin_submitit.resources import of_group, refuse_unknown, submission, warning_s
from snakemake_executor_plugin_submitit.submitting import Order, Submitter, arrays
from snakemake_executor_plugin_submitit.verdicts import VANISHED_S, Sighting, Verdict
from snakemake_executor_plugin_submitit.watched import Watched

# Result files are looked at this often, the queue as the user says; with many jobs each file a little less often.
TICK_S = 1.0
TICK_PER_JOB_S = 0.02


class Executor(RemoteExecutor):
    """Submits jobs and groups through submitit, or attaches to those that an earlier start left running."""

    def __post_init__(self) -> None:
        self.settings = self.workflow.executor_settings
        self.place = place_named(self.settings.cluster)
        folder = folder_of_clone(self.settings.folder)
        self.journal = Journal(folder / "journal")
        self.watched: dict[str, Watched] = {}
        self.growth = Growth(self.settings.more_memory, self.settings.more_time)
        self.asked_at = float("-inf")
        self.silent = False
        self.next_seconds_between_status_checks = min(TICK_S, self.settings.poll)
        self.hindrances = Hindrances()
        self.lives_on = False  # whether jobs do that have to do with this process
        if self.place.remark:
            self.logger.warning(self.place.remark)
        self.leftovers = Leftovers(self.journal, self.logger.info)
        for job in self.dag.needrun_jobs():
            refuse_unknown(job.rule.resources, self.workflow.global_resources)  # before any is submitted
            self.leftovers.refuse_elsewhere(outputs_of(job))
        self.submitter = Submitter(
            self.place,
            self.journal,
            folder,
            self.settings.array_parallelism,
            self.settings.attempts,
            self.watch,
            self.logger.warning,
        )

    def additional_general_args(self) -> str:
        """A job's log holds what the job says; and the marks of unfinished files are this process's alone to take away.

        Otherwise a job that ends while nobody watches leaves files that look whole and of which nothing is recorded, so
        that a later change of parameters goes unnoticed. Environments live beside the marks: with them, it has to be.
        """
        usage = set(self.workflow.storage_settings.shared_fs_usage)
        if not self.workflow.deployment_settings.deployment_method:
            usage.discard(SharedFSUsage.PERSISTENCE)
        return join_cli_args(["--quiet host progress", format_cli_arg("--shared-fs-usage", usage or "none")])

    # Jobs start.

    def run_jobs(self, jobs: Sequence[Any]) -> None:
        """Attach to the jobs that are there already; submit the others, those alike as one array."""
        if threading.current_thread() is threading.main_thread():
            # Snakemake's own answer is to submit nothing more and wait. Asked to end, a run takes its jobs with it.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        orders = []
        for job in jobs:
            self.run_job_pre(job)
            try:
                if (entry := self.attach(job)) is not None:
                    self.started(job, entry)
                else:
                    orders.append(self.order(job))
            except (WorkflowError, OSError) as error:
                self.refused([job], error)
        for together in arrays(orders, max(1, min(self.settings.array_size, self.place.largest_array))):
            try:
                entries = self.submitter.submit(together)
            except (SubmissionFailed, WorkflowError) as error:
                self.refused([order.job for order in together], error)
                continue
            self.say_submitted(entries)
            for order, entry in zip(together, entries, strict=True):
                self.started(order.job, entry)

    def run_job(self, job: Any) -> None:
        self.run_jobs([job])

    def attach(self, job: Any) -> Entry | None:
        """The same job as an earlier start submitted it, if it still runs or ended well."""
        entry = self.leftovers.take(self.place.cluster, outputs_of(job), digest(facts_of(job)))
        if entry is not None:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.submitted))
            self.logger.info(
                f"Attached to {self.place.title} job {entry.label}, submitted by an earlier start at {when}"
            )
            self.watch(entry)
        return entry

    def order(self, job: Any) -> Order:
        """What is to be submitted for a job; one that failed for want of something asks for more of it."""
        resources = self.growth.grown(outputs_of(job), self.resources_of(job))
        refuse_unknown(resources, self.workflow.global_resources)
        command = Command(self.format_job_exec(job), str(Path.cwd()), warning_s(resources))
        parameters = submission(resources, job.threads)
        if self.settings.cluster == "slurm":
            parameters["slurm_max_num_timeout"] = self.settings.timeouts
        kind = str(job.name)
        return Order(job, kind, label_of(job), outputs_of(job), digest(facts_of(job)), command, parameters)

    def resources_of(self, job: Any) -> dict[str, object]:
        """The job's resources, with the settings' partition and account where it names none."""
        defaults = {"slurm_partition": self.settings.partition, "slurm_account": self.settings.account}
        once = of_group([member.resources for member in members(job)]) if job.is_group() else {}
        return {**defaults, **dict(job.resources.items()), **once}

    def watch(self, entry: Entry) -> None:
        """Wait for a job from now on."""
        self.watched[entry.key] = Watched(entry)

    def started(self, job: Any, entry: Entry) -> None:
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=entry.job_id, aux={"key": entry.key}))

    def say_submitted(self, entries: Sequence[Entry]) -> None:
        first, folder = entries[0], shown(entries[0].folder)
        if first.task is None:
            self.logger.info(f"Submitted as {self.place.title} job {first.label}, files in {folder}")
        else:
            array = str(first.job_id).partition("_")[0]
            self.logger.info(
                f"Submitted {len(entries)} jobs as {self.place.title} array {array} ({first.name}), files in {folder}"
            )

    def refused(self, jobs: Sequence[Any], error: Exception) -> None:
        """Jobs that could not be submitted are not waited for. One line tells of all: they have no logs to show."""
        more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
        self.logger.error(f"{label_of(jobs[0])}{more} could not be submitted: {error}")
        for job in jobs:
            own = [key for key, watched in self.watched.items() if watched.entry.outputs == outputs_of(job)]
            for key in own:
                del self.watched[key]
            self.workflow.scheduler.error_callback(job)

    # Jobs run.

    async def check_active_jobs(self, active_jobs: Sequence[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Report the jobs that have ended, yield the others."""
        if not active_jobs:
            return
        tick = max(TICK_S, TICK_PER_JOB_S * len(active_jobs))
        self.next_seconds_between_status_checks = min(tick, self.settings.poll)
        async with self.status_rate_limiter:
            seen = self.look()
        # after the query, so that a job that it shows ended has written its result
        results = results_of([self.watched[info.aux["key"]].entry for info in active_jobs])
        for info in active_jobs:
            watched = self.watched[info.aux["key"]]
            sighting = seen.get(watched.entry.key) if seen is not None else None
            verdict = watched.verdict(results.get(watched.entry.key), sighting, answered=seen is not None)
            obituary = watched.obituary(self.place, sighting) if verdict is Verdict.FAILED else None
            if verdict is Verdict.RUNNING or (verdict is Verdict.FAILED and obituary is None):
                yield info
                continue
            del self.watched[watched.entry.key]
            if obituary is None:
                self.report_job_success(info)
            else:
                if sighting is None or sighting.alive:
                    self.make_sure(watched.entry)
                cause = cause_of(watched.entry, sighting)
                self.growth.note(watched.entry.outputs, cause)
                self.report_job_error(info, msg=failure(self.place.title, watched.entry, obituary, cause))

    def look(self) -> Mapping[str, Sighting] | None:
        """One query for all jobs, if it is time for it and an answer comes; sooner where a job is in doubt."""
        doubted = any(watched.doubted_since or watched.failed_since for watched in list(self.watched.values()))
        if time.monotonic() - self.asked_at < (min(self.settings.poll, VANISHED_S) if doubted else self.settings.poll):
            return None
        self.asked_at = time.monotonic()
        try:
            seen = self.place.look([watched.entry for watched in list(self.watched.values())])
        except NoAnswer as error:
            if not self.silent:
                self.logger.warning(f"{self.place.title} does not say how the jobs are; still waiting: {error}")
            self.silent = True
            return None
        if self.silent:
            self.logger.info(f"{self.place.title} answers again")
        self.silent = False
        for line in self.hindrances.news(self.place.title, [each.entry for each in list(self.watched.values())], seen):
            self.logger.warning(line)
        return seen

    def make_sure(self, entry: Entry) -> None:
        """Cancel a job that counts as failed although nobody saw its end: its next attempt would run beside it."""
        try:
            self.place.cancel([entry])
        except NoAnswer as error:
            self.logger.warning(f"{self.place.title} job {entry.label} may still run: {error}")

    # Jobs end.

    def handle_job_success(self, job: Any) -> None:
        """Snakemake has recorded the job's end: there is nothing left to attach to."""
        self.forget(job)

    def handle_job_error(self, job: Any) -> None:
        self.forget(job)

    def forget(self, job: Any) -> None:
        """Remove the job's entry, unless it is that of another, because of which this one was refused."""
        try:
            if not self.leftovers.concern(outputs_of(job)):
                self.journal.forget(outputs_of(job))
        except OSError as error:
            self.logger.warning(f"The journal keeps a job that has ended: {error}")

    def print_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **kwargs: Any) -> None:
        """Snakemake's report of a failed job, with what is known of its end; a group's report has no place for that."""
        if job_info.job.is_group():
            self.logger.error(msg)
        job_info.job.log_error(msg, external_jobid=job_info.external_jobid, **kwargs)

    def cancel_jobs(self, active_jobs: Sequence[SubmittedJobInfo]) -> None:
        """Cancel what this process waits for; Snakemake's own list lacks the jobs it is just looking at."""
        entries = [watched.entry for watched in list(self.watched.values())]
        ended = results_of(entries)
        entries = [entry for entry in entries if entry.key not in ended]
        try:
            running = self.numbered(entries)
            self.place.cancel(running)
        except NoAnswer as error:
            self.lives_on = True
            self.logger.error(f"Jobs could not be cancelled, the next start attaches to them: {error}")
            return
        ids = [str(entry.job_id) for entry in running]
        if ids:
            self.logger.info(f"Cancelled {len(ids)} {self.place.title} job{'s' * (len(ids) > 1)}: {', '.join(ids)}")
        try:
            for entry in entries:
                self.journal.write(replace(entry, cancelled=True))
        except OSError as error:
            self.logger.error(f"The journal does not know that they are cancelled: {error}")

    def numbered(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries of jobs that have numbers; one that was just being submitted has to be looked for."""
        unknown = [entry for entry in entries if entry.job_id is None]
        seen = self.place.look(unknown) if unknown else {}
        known = [entry for entry in entries if entry.job_id is not None]
        return known + [replace(entry, job_id=seen[entry.key].job_id) for entry in unknown if entry.key in seen]

    def shutdown(self) -> None:
        """End this process's part; jobs that live on need the temporary folder of Snakemake, which then stays."""
        if not self.lives_on:
            super().shutdown()
            return
        with self.lock:
            self.wait = False
        self.wait_thread.join()
