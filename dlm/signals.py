"""Signals that ask a process to make room for another job: SLURM's before a time limit, and whoever stops a service.

They come more than once and not everywhere at once: SLURM's srun hands them to every process of a node, and a launcher
on it passes its own on to its children. So the first decides, and from then on none is heard: the process saves, says
its line and ends, however late the others come.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Self

from dlm.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


def hear_no_more() -> None:
    """Have this process, which is on its way out, ignore the signals."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def requeueable(work: str) -> Iterator[None]:
    """Turn a signal into an error that says, by its exit code, to run again.

    Raises:
        Interrupted: a signal came; later ones are ignored, also when this context is left.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        hear_no_more()
        raise Interrupted(f"{work}: stopped by {signal.Signals(number).name}; run the same command again to continue")

    before = {number: signal.signal(number, leave) for number in SIGNALS}
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        _leave(before, error)


class StopRequest:
    """Remembers a signal to stop while it is entered, in place of whatever was to answer it.

    Left by `Interrupted`, it has signals ignored from then on.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        """Name of the signal that came; None: none did."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # only there can signals be answered
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _leave(self._before, error)


def restore(handlers: dict[signal.Signals, Any]) -> None:
    """Have signals answered by what answered them before."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _leave(before: dict[signal.Signals, Any], error: BaseException | None) -> None:
    """Restore what answered the signals, if they were taken, unless one of them is why the work ends."""
    if before and isinstance(error, Interrupted):
        hear_no_more()
    else:
        restore(before)
