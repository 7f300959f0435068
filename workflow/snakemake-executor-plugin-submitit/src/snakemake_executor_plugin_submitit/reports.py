"""Why a job failed, and what a person is told of it."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path

from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.verdicts import Sighting

LINES = 30
# More than thirty ordinary lines, and little enough to read from a log of gigabytes.
TAIL_BYTES = 64 * 1024


class Cause(Enum):
    """What a job had too little of; in words for people."""

    MEMORY = "ran out of memory"
    TIME = "ran out of time"
    OTHER = "failed"


# Where the kernel or accounting alone watches a job's memory, the state says FAILED, and only the log why.
OUT_OF_MEMORY = re.compile(
    r"\boom[-_ ]kill|killed process \d+|out of memory: kill|exceeded (job )?memory limit", re.IGNORECASE
)
OUT_OF_TIME = re.compile(r"due to time limit|timed-out too many times", re.IGNORECASE)


def cause_of(entry: Entry, sighting: Sighting | None) -> Cause:
    """Why a job failed: from its state, from what SLURM or the kernel wrote into its log, from submitit's result."""
    state = sighting.state if sighting else ""
    text = "\n".join(tail(entry.log)) if entry.log else ""
    said = f"{text}\n{entry.result.text if entry.result else ''}"
    if state == "OUT_OF_MEMORY" or OUT_OF_MEMORY.search(text):
        return Cause.MEMORY
    if state in ("TIMEOUT", "DEADLINE") or OUT_OF_TIME.search(said):
        return Cause.TIME
    return Cause.OTHER


def failure(title: str, entry: Entry, obituary: str, cause: Cause = Cause.OTHER) -> str:
    """Why and how a job ended, the last lines of its log, and where the log is."""
    named = "" if cause is Cause.OTHER else f"{cause.value}: it "
    head = f"{title} job {entry.label} {named}{obituary}"
    result = entry.result
    if result is not None and result.reason not in head:
        head += f": {result.reason}"
    log = entry.log
    if log is None:
        return f"{head}; it left no log in {shown(entry.folder)}\n"
    lines = [f"    | {line}" for line in tail(log)[-LINES:]]
    return "\n".join([f"{head}; the end of {shown(log)}:", *lines, ""])


def tail(path: Path) -> list[str]:
    """The last lines of a file that say something; a progress bar's carriage returns count as ends of lines.

    Of a file that cannot be read, one line that says why.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError as error:
        return [f"(it cannot be read: {error.strerror})"]
    return [line for line in text.splitlines() if line.strip()]


def shown(path: str | Path) -> str:
    """A path as seen from the project, if it lies within."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)
