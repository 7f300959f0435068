"""What runs inside a submitit job: one shell command, and nothing of it left behind.

The job's process imports this module alone, so it knows nothing of Snakemake.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import psutil

# submitit's local controller gives its task one second between the interrupt and the kill.
FAREWELL_S = 0.5


class CommandFailed(Exception):
    """The command ended, but not well."""


@dataclass(frozen=True)
class Command:
    """A shell command to be run in a folder.

    A class rather than a function, so that what submitit does at a time limit or preemption has a place to go:
    its `checkpoint` method, of which this one has none, so a preempted job starts again from its beginning.
    """

    text: str
    folder: str

    def __call__(self) -> None:
        """Run the command; a non-zero exit status is an error, whose one line stands for the whole traceback."""
        status = self.run()
        if status:
            sys.tracebacklimit = 0
            raise CommandFailed(ending(status))

    def run(self) -> int:
        """Run the command, return its exit status; when this process is told to end, the command ends first."""
        process = subprocess.Popen(self.text, shell=True, cwd=self.folder, stdin=subprocess.DEVNULL)
        try:
            return process.wait()
        except BaseException:
            end_tree(process.pid)
            raise


def ending(status: int) -> str:
    """An exit status in words."""
    return f"exit code {status}" if status >= 0 else f"killed by signal {-status}"


def end_tree(pid: int) -> None:
    """Terminate a process and all that it started; kill what does not go."""
    try:
        root = psutil.Process(pid)
        processes = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for action in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                action(process)
            except psutil.NoSuchProcess:
                continue
        processes = psutil.wait_procs(processes, timeout=FAREWELL_S)[1]
