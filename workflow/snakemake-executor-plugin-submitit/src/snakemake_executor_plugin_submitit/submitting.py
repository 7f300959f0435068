"""From Snakemake's jobs to submissions: which of them go up together, and again after a failure that may pass."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tenacity

from snakemake_executor_plugin_submitit.command import Command
from snakemake_executor_plugin_submitit.journal import Entry, Journal, unique
from snakemake_executor_plugin_submitit.places import NoAnswer, Place, SubmissionFailed
from snakemake_executor_plugin_submitit.resources import Parameters

# Seconds between two attempts to submit: the first pause, doubled each time up to the last.
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 30.0


@dataclass(frozen=True)
class Order:
    """A job to be submitted."""

    job: Any  # Snakemake's
    kind: str  # its rule, or the name of its group
    label: str  # for people
    outputs: tuple[str, ...]
    digest: str  # of all that decides what it does
    command: Command
    parameters: Parameters


def arrays(orders: Iterable[Order], most: int) -> Iterator[list[Order]]:
    """Orders that go up together: of one rule, asking for the same, at most so many."""
    alike: dict[str, list[Order]] = {}
    for order in orders:
        alike.setdefault(f"{order.kind} {json.dumps(order.parameters, sort_keys=True)}", []).append(order)
    for together in alike.values():
        for at in range(0, len(together), most):
            yield together[at : at + most]


class Submitter:
    """Writes each intention down, submits, writes the number down.

    Args:
        place: where jobs run.
        journal, folder: where submissions are noted, and where their files go.
        parallelism: how many tasks of an array may run at the same time.
        attempts: how often a submission is tried.
        notice: told of each entry before it is submitted, so that an interrupt finds it, and again with its number.
        warn: says a line.
    """

    def __init__(
        self,
        place: Place,
        journal: Journal,
        folder: Path,
        parallelism: int,
        attempts: int,
        notice: Callable[[Entry], None],
        warn: Callable[[str], object],
    ) -> None:
        self.place, self.journal, self.folder = place, journal, folder
        self.parallelism, self.attempts, self.notice, self.warn = parallelism, attempts, notice, warn

    def submit(self, orders: Sequence[Order]) -> list[Entry]:
        """Submit orders as one job, or as the tasks of one array.

        Raises:
            SubmissionFailed: for good, or too often; nothing of it is left.
        """
        drafts = self.drafts(orders)
        for draft in drafts:
            self.note(draft)
            self.notice(draft)
        parameters = {**orders[0].parameters, "name": drafts[0].name}
        if len(orders) > 1:
            parameters["slurm_array_parallelism"] = self.parallelism
        numbers = self.submit_patiently([order.command for order in orders], parameters, drafts)
        entries = [replace(draft, job_id=number) for draft, number in zip(drafts, numbers, strict=True)]
        for entry in entries:
            self.notice(entry)
        try:
            for entry in entries:
                self.journal.write(entry)
        except OSError as error:
            # What is written down has the job's name, by which a later start finds it.
            self.warn(f"The number of {entry.label} could not be written down: {error}")
        return entries

    def note(self, draft: Entry) -> None:
        """Write an intention down, without which nothing may be submitted: a later start would not know of it."""
        try:
            self.journal.write(draft)
        except OSError as error:
            raise SubmissionFailed(f"it cannot be written down: {error}", final=True) from error

    def drafts(self, orders: Sequence[Order]) -> list[Entry]:
        """What is written down of jobs before they have numbers."""
        together = len(orders) > 1
        name = unique(orders[0].kind if together else orders[0].label)
        folder, now, site = str(self.folder / "jobs" / name), time.time(), self.place.site
        draft = Entry(name, self.place.cluster, (), "", folder, now, site=site, user=os.getuid())
        return [
            replace(draft, outputs=order.outputs, digest=order.digest, task=task if together else None)
            for task, order in enumerate(orders)
        ]

    def submit_patiently(
        self, commands: Sequence[Command], parameters: Parameters, drafts: Sequence[Entry]
    ) -> list[str]:
        """Try again after failures that may pass, when it is certain that nothing was submitted after all."""

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, SubmissionFailed) and not error.final

        def say(state: tenacity.RetryCallState) -> None:
            assert state.outcome is not None
            pause = state.next_action.sleep if state.next_action else 0
            self.warn(f"Submission failed, trying again in {pause:.0f} s: {state.outcome.exception()}")

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_exponential(multiplier=FIRST_PAUSE_S, max=LAST_PAUSE_S),
            retry=tenacity.retry_if_exception(may_pass),
            before_sleep=say,
            reraise=True,
        )
        folder, tried = Path(drafts[0].folder), False

        def once() -> list[str]:
            nonlocal tried
            if tried:
                self.withdraw(drafts)
            tried = True
            return self.place.submit(commands, parameters, folder)

        try:
            return retrying(once)
        except SubmissionFailed:
            with contextlib.suppress(SubmissionFailed):
                self.withdraw(drafts)
            raise

    def withdraw(self, drafts: Sequence[Entry]) -> None:
        """Cancel jobs that the queue has although their submission failed (the answer got lost).

        Raises:
            SubmissionFailed: nobody can tell whether there are any, so that another attempt might double them.
        """
        try:
            seen = self.place.look(drafts)
            living = [draft for draft in drafts if draft.key in seen and seen[draft.key].alive]
            self.place.cancel([replace(draft, job_id=seen[draft.key].job_id) for draft in living])
        except NoAnswer as error:
            words = f"nobody can tell whether {drafts[0].name} was submitted all the same: {error}"
            raise SubmissionFailed(words) from error
