"""What runs inside a submitit job: one shell command, told when it has to make room, and nothing of it left behind.

The job's process imports this module alone, so it knows nothing of Snakemake.

SLURM ends a job by a SIGTERM to all of its processes (somebody cancels it, a more urgent one takes its place) and kills
what is left after a while (`KillWait`). Shells on the way down to the program that does the work die at once; that
program may be saving its state. So whoever loses its parent becomes a child of this process, which waits for all of
them, since SLURM would kill them with it. Before a time limit SLURM sends this process alone a signal (submitit's,
USR2), and it does to the others what SLURM does at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil

# submitit's local controller gives its task one second between the interrupt and the kill.
FAREWELL_S = 0.5
# Of the time between warning and limit, what is left to submitit to put the job back into the queue.
REQUEUE_S = 5.0
# submitit's word to a job that has to make room; meant for this process, not for those that it starts.
WARNING = signal.SIGUSR2
# What a shell says of a process that SIGTERM ended.
TERMINATED = 128 + signal.SIGTERM
# prctl(2): orphans among the descendants become children of this process.
PR_SET_CHILD_SUBREAPER = 36


class CommandFailed(Exception):
    """The command ended, but not well."""


class EndedWell(Exception):
    """The command came to its end while it was being stopped."""


class Command:
    """A shell command to be run in a folder.

    A class rather than a function, so that what submitit does at a time limit or preemption has a place to go:
    its `checkpoint` method.

    Args:
        text: the command.
        folder: where to run it.
        warning_s: seconds before its time limit at which it is stopped and put back into the queue, to go on from the
            state that it saves; 0: it has none, and is run until the limit.
    """

    def __init__(self, text: str, folder: str, warning_s: int = 0) -> None:
        self.text, self.folder, self.warning_s = text, folder, warning_s
        self.shell = 0  # its process, once it runs

    def __call__(self) -> None:
        """Run the command; a non-zero exit status is an error, whose one line stands for the whole traceback.

        Of a command that was told to end (SIGTERM), no error is recorded: whoever told it so knows, and may run the job
        again.
        """
        adopt_orphans()
        told: list[int] = []
        with _noting(signal.SIGTERM, told):
            try:
                status = self.run()
                if status in (-signal.SIGTERM, TERMINATED) and not told:
                    time.sleep(FAREWELL_S)  # all get the signal, one after the other
                while told and (left := psutil.Process().children(recursive=True)):
                    psutil.wait_procs(left)
            except EndedWell:
                return
        if status and told:
            sys.exit(TERMINATED)
        if status:
            sys.tracebacklimit = 0
            raise CommandFailed(ending(status))

    def run(self) -> int:
        """Run the command, return its exit status; when this process is told to end, the command ends first."""
        try:
            process = subprocess.Popen(
                self.text, shell=True, cwd=self.folder, stdin=subprocess.DEVNULL, preexec_fn=_ignore_warning
            )
            self.shell = process.pid
            return process.wait()
        except BaseException:  # Ctrl-C may come before the process's number does, with the process there
            end_all(psutil.Process().children(recursive=True), FAREWELL_S)
            raise

    def checkpoint(self) -> Any:
        """Stop the command, so that it saves its state; submitit puts what is returned into the queue, None into none.

        Raises:
            EndedWell: there is nothing left to do.
        """
        if not self.warning_s:
            return None
        from submitit.core.utils import DelayedSubmission

        patience = max(FAREWELL_S, self.warning_s - REQUEUE_S)
        ended = end_all(psutil.Process().children(recursive=True), patience)
        if ended.get(self.shell) == 0:
            raise EndedWell
        return DelayedSubmission(self)


def ending(status: int) -> str:
    """An exit status in words."""
    return f"exit code {status}" if status >= 0 else f"killed by signal {-status}"


def end_all(processes: list[psutil.Process], patience_s: float) -> dict[int, int | None]:
    """Terminate processes, kill what does not go in time; return how each ended, where that can be known."""
    ended: dict[int, int | None] = {}
    for action, patience in ((_terminate, patience_s), (psutil.Process.kill, FAREWELL_S)):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                action(process)
        gone, processes = psutil.wait_procs(processes, timeout=patience)
        ended |= {process.pid: process.returncode for process in gone}
    return ended


def _terminate(process: psutil.Process) -> None:
    """Tell a process to end; an srun answers SIGTERM by killing its tasks, and hands this other signal on to them."""
    parent = process.parent()
    if process.name() != "srun":
        process.terminate()
    elif parent is None or parent.name() != "srun":  # its helper is left alone
        process.send_signal(signal.SIGUSR1)


def adopt_orphans() -> None:
    """Have descendants whose parents end become children of this process; where the kernel knows how."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _ignore_warning() -> None:
    """In a process to be: leave the warning, which SLURM sends to all of a step, to its parent."""
    signal.signal(WARNING, signal.SIG_IGN)


@contextlib.contextmanager
def _noting(number: int, told: list[int]) -> Iterator[None]:
    """Note a signal instead of dying of it; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, lambda number, frame: told.append(number))
    try:
        yield
    finally:
        signal.signal(number, before)
