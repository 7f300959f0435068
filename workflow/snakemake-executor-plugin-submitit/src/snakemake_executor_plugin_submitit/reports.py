"""What a person is told of a failed job."""

from __future__ import annotations

import os
from pathlib import Path

from snakemake_executor_plugin_submitit.journal import Entry

LINES = 30
# More than thirty ordinary lines, and little enough to read from a log of gigabytes.
TAIL_BYTES = 64 * 1024


def failure(title: str, entry: Entry, obituary: str) -> str:
    """How a job ended, the last lines of its log, and where the log is."""
    head = f"{title} job {entry.label} {obituary}"
    result = entry.result
    if result is not None and result.reason not in head:
        head += f": {result.reason}"
    log = entry.log
    if log is None:
        return f"{head}; it left no log in {shown(entry.folder)}\n"
    lines = [f"    | {line}" for line in tail(log)]
    return "\n".join([f"{head}; the end of {shown(log)}:", *lines, ""])


def tail(path: Path) -> list[str]:
    """The last lines of a file; a progress bar's carriage returns count as ends of lines."""
    with open(path, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-LINES:]


def shown(path: str | Path) -> str:
    """A path as seen from the project, if it lies within."""
    return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)
