"""What a Snakemake job is, as far as it can be told from outside: what it writes, and what decides what it writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def members(job: Any) -> list[Any]:
    """The jobs of a group in a fixed order, or the job itself."""
    return sorted(job.jobs, key=lambda member: sorted(map(str, member.output))) if job.is_group() else [job]


def outputs_of(job: Any) -> tuple[str, ...]:
    """All files that a job or group writes, those that only the group itself reads included."""
    return tuple(sorted(str(path) for member in members(job) for path in member.output))


def label_of(job: Any) -> str:
    """A short name for people: the rule and its wildcards, or the group and its rules."""
    return str(job.name) if job.is_group() else ".".join([job.name, *map(str, job.wildcards)])


def facts_of(job: Any) -> list[dict[str, object]]:
    """All that decides what a job does: command, parameters, inputs as they are now. Resources do not."""
    inside = set(outputs_of(job))
    return [facts_of_one(member, inside) for member in members(job)]


def facts_of_one(job: Any, inside: set[str]) -> dict[str, object]:
    rule = job.rule
    return {
        "rule": rule.name,
        "wildcards": {name: str(value) for name, value in job.wildcards.items()},
        "output": [str(path) for path in job.output],
        "input": states(str(path) for path in job.input if str(path) not in inside),
        "params": [repr(value) for value in job.params],
        "command": job.shellcmd or getattr(rule, "run_func_src", None) or str(getattr(rule, "script", None)),
    }


def states(paths: Iterable[str]) -> list[tuple[str, int, int]]:
    """Files with their sizes and times of change; one that is not there has neither."""
    return [(path, *size_and_time(path)) for path in paths]


def size_and_time(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
