"""Progress of long work: a bar on a terminal, a line per tenth of the work elsewhere.

Jobs of a workflow share one terminal, so they write lines that begin with their name; a person's own command gets a
bar.
"""

from __future__ import annotations

import functools
import sys
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

_log: TextIO | None = None
# C0 but for line break and tab, DEL, and C1: the pictures that Unicode has of them, or the sign of what has none.
_CONTROLS = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_CONTROLS |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)


def log_to(stream: TextIO | None) -> None:
    """Also write every line of progress to ``stream``, and never draw bars; None undoes it."""
    global _log
    _log = stream


def say(text: str) -> None:
    """Write one line for the person who waits: to standard error, and to the log if there is one."""
    for stream in (sys.stderr, _log):
        if stream is not None:
            stream.write(text + "\n")
            stream.flush()


def legible(text: str) -> str:
    """Return text that a model wrote as a terminal may show it: control characters, which it would obey, as signs."""
    return text.translate(_CONTROLS)


@functools.cache
def warn(text: str) -> None:
    """Write one line about what was probably not meant, once however often it is found."""
    say(f"warning: {text}")


class Progress:
    """Count work done; use as a context manager.

    Args:
        label: what is being done, such as ``train llada-base``.
        total: units of work.
        unit: name of a unit, in the plural.
        quiet: show nothing, since another process shows the same work.
    """

    def __init__(self, label: str, total: int, unit: str = "steps", *, quiet: bool = False) -> None:
        self.label, self.total, self.unit, self.done, self.note = label, total, unit, 0, ""
        self._quiet = quiet
        self._began = time.monotonic()
        self._told = self._resumed = 0
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and _log is None and not self._quiet:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, note="")
        return self

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count ``units`` more as done; ``note`` is shown beside the count."""
        self.done += units
        self.note = note or self.note
        if self._bar:
            self._bar.update(self._task, advance=units, note=self.note)
        elif not self._quiet and (tenth := 10 * self.done // max(self.total, 1)) > self._told:
            self._told = tenth
            self._line()

    def resume(self, done: int) -> None:
        """Begin at ``done`` units, which an interrupted run of the same work did."""
        self.done, self._resumed, self._told = done, done, 10 * done // max(self.total, 1)
        if self._quiet:
            return
        say(f"{self.label}: continues at {done}/{self.total} {self.unit}")
        if self._bar:
            self._bar.update(self._task, completed=done)

    def _line(self) -> None:
        seconds = time.monotonic() - self._began
        left = seconds * (self.total - self.done) / max(self.done - self._resumed, 1)
        parts = [f"{self.label}: {self.done}/{self.total} {self.unit}", self.note, f"{seconds:.0f} s"]
        if self.done < self.total:
            parts.append(f"about {left:.0f} s left")
        say(", ".join(part for part in parts if part))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
