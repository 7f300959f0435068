"""Jobs that an earlier start of Snakemake left behind because it was killed."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import tenacity
from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit.journal import Entry, Journal, overlapping
from snakemake_executor_plugin_submitit.places import NoAnswer, Place, place_named
from snakemake_executor_plugin_submitit.verdicts import Sighting

# How often a place that does not answer is asked, and the first pause between, in seconds, doubled each time.
ATTEMPTS, FIRST_PAUSE_S = 5, 1.0
# How long a cancelled job may take to go before another one may write its files.
LEAVE_S = 180.0


class Leftovers:
    """The journal as it was found at the start, with how each of its jobs was then."""

    def __init__(self, journal: Journal, say: Callable[[str], object]) -> None:
        self.journal = journal
        self.say = say
        entries = [entry for entry in journal if not journal.is_anothers(entry)]
        self.places = {cluster: place_of_leftovers(cluster) for cluster in {entry.cluster for entry in entries}}
        seen: dict[str, Sighting] = {}
        for place in self.places.values():
            seen.update(look_patiently(place, entries))
        self.seen = seen
        self.entries = [numbered(entry, seen.get(entry.key)) for entry in entries]

    def take(self, cluster: str, outputs: Sequence[str], digest: str) -> Entry | None:
        """The job that does what is wanted, if it runs or ended well; any other writer of these files is ended."""
        wanted = None
        self.refuse_elsewhere(outputs)
        for entry in overlapping(self.entries, outputs):
            sighting = self.seen.get(entry.key)
            if entry.cluster == cluster and entry.digest == digest and promising(entry, sighting):
                wanted = entry
            else:
                if sighting is not None and sighting.alive:
                    self.end(entry)
                self.journal.forget(entry.outputs)
            self.entries.remove(entry)
        return wanted

    def concern(self, outputs: Sequence[str]) -> bool:
        """Whether there are jobs that write these files and are neither attached to nor ended."""
        return bool(overlapping(self.entries, outputs))

    def refuse_elsewhere(self, outputs: Sequence[str]) -> None:
        """Refuse to write files that a job may write which another cluster, machine or user alone can ask about."""
        for entry in overlapping(self.entries, outputs):
            here = self.places[entry.cluster]
            if entry.site and here.site and entry.site != here.site:
                raise WorkflowError(
                    f"{here.title} job {entry.label} of an earlier start, which writes {entry.outputs[0]}, belongs to "
                    f"{entry.site}, and this is {here.site}: go on there or, when the job is gone, delete "
                    f"{self.journal.path(entry.outputs)}"
                )
            sighting = self.seen.get(entry.key)
            unsure = sighting.alive if sighting is not None else here.own_alone
            if entry.user is not None and entry.user != os.getuid() and unsure and entry.result is None:
                raise WorkflowError(
                    f"{here.title} job {entry.label} of an earlier start, which writes {entry.outputs[0]}, belongs to "
                    f"{name_of(entry.user)}: have {name_of(entry.user)} go on or, when the job is gone, delete "
                    f"{self.journal.path(entry.outputs)}"
                )

    def end(self, entry: Entry) -> None:
        """Cancel a job and wait until it is gone, since the next one writes the same files."""
        place = self.places[entry.cluster]
        self.say(f"Ending {place.title} job {entry.label} of an earlier start, which writes the same files")
        until = time.monotonic() + LEAVE_S
        try:
            place.cancel([entry])
        except NoAnswer as error:
            raise WorkflowError(f"{place.title} job {entry.label} could not be cancelled: {error}") from error
        while (sighting := look_patiently(place, [entry]).get(entry.key)) is not None and sighting.alive:
            if time.monotonic() > until:
                raise WorkflowError(f"{place.title} job {entry.label} was cancelled {LEAVE_S:.0f} s ago and still runs")
            time.sleep(1)


def name_of(user: int) -> str:
    """What a user is called."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def place_of_leftovers(cluster: str) -> Place:
    """The place of earlier jobs, which has to be within reach."""
    try:
        return place_named(cluster)
    except WorkflowError as error:
        raise WorkflowError(f"jobs of an earlier start may still run on {cluster}, out of reach: {error}") from error


def numbered(entry: Entry, sighting: Sighting | None) -> Entry:
    """The entry with the number that its writer had no time to note."""
    return replace(entry, job_id=sighting.job_id) if entry.job_id is None and sighting is not None else entry


def promising(entry: Entry, sighting: Sighting | None) -> bool:
    """Whether waiting for the job is as good as submitting it."""
    result = entry.result
    if entry.cancelled:
        return False
    if result is not None:
        return result.good and entry.outputs_exist
    return sighting is not None and sighting.alive and entry.handed_over


def look_patiently(place: Place, entries: Sequence[Entry]) -> Mapping[str, Sighting]:
    """A look that has to succeed: without it jobs would be submitted twice."""
    asking = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=FIRST_PAUSE_S),
        retry=tenacity.retry_if_exception_type(NoAnswer),
        reraise=True,
    )
    try:
        return asking(place.look, [entry for entry in entries if entry.cluster == place.cluster])
    except NoAnswer as error:
        raise WorkflowError(f"jobs of an earlier start may still run, and nobody can tell: {error}") from error
