"""The limits under which programs that models write are run; giving them is what allows such programs at all."""

from __future__ import annotations

from dataclasses import dataclass

from dlm.settings.checks import between

_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """Limits of each program: what goes beyond one is ended, and counts as a failure."""

    __pydantic_config__ = _STRICT
    seconds: int = 10
    """Processor seconds of each of its processes (1 to 600); twice as many and 10 by the clock end it as a whole."""
    memory: int = 1024
    """MiB of address space of each of its processes (64 to 65536)."""
    processes: int = 8
    """Processes and threads at a time (1 to 256)."""
    files: int = 16
    """MiB of files that it may write, in a folder of its own that is empty at first (1 to 1024)."""
    workers: int = 2
    """Programs run at a time (1 to 64)."""

    def __post_init__(self) -> None:
        between("seconds", self.seconds, 1, 600)
        between("memory", self.memory, 64, 65536)
        between("processes", self.processes, 1, 256)
        between("files", self.files, 1, 1024)
        between("workers", self.workers, 1, 64)
