"""The helper process of a live view: reads a training's messages from a pipe and brings them to the server.

    python -m dlm.tracking.reporter < messages

A message is a JSON line: first what the run is (`dlm.tracking.live` writes it), then records of the curves, then how
the training ended. A pipe that ends without that is a training that was killed.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from dlm.errors import DlmError
from dlm.progress import say
from dlm.tracking.store import Store
from dlm.tracking.trainings import METRICS, points_of
from dlm.tracking.view import FINGERPRINT

_FLUSH_SECONDS = 1.0  # between calls to a server that answers
_PATIENCE_SECONDS = 10.0  # between calls to a server that does not
_ANSWER_SECONDS = 5.0  # that a server may take for an answer
_KEPT = 10_000  # records waiting for a server; the oldest go first


class Reporter:
    """The helper's work: bring messages to the server, in its own time."""

    def __init__(self, hello: Mapping[str, Any]) -> None:
        self.hello = hello
        self.waiting: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self.run: str | None = None
        self.has: dict[tuple[str, int], float] = {}
        self.told = False
        self.next = 0.0
        self.ended: tuple[str, int] | None = None

    def take(self, message: dict[str, Any]) -> None:
        """Remember one message."""
        if "end" in message:
            self.ended = (message["end"], message["time"])
        else:
            self.waiting.append(message)

    def report(self) -> bool:
        """Try to bring everything to the server; False where it did not answer."""
        try:
            self._report()
        except DlmError as error:
            if not self.told:
                say(f"live view: {error}; the training goes on")
            self.told, self.next = True, time.monotonic() + _PATIENCE_SECONDS
            return False
        self.next = time.monotonic() + _FLUSH_SECONDS
        return True

    def _report(self) -> None:
        if self.run is None:
            self._begin()
        assert self.run is not None
        batch = list(self.waiting)
        points = [*points_of([each["record"] for each in batch], [each["time"] for each in batch])]
        points = [point for point in points if (point.key, point.step) not in self.has]
        if points:
            self.store.log(self.run, points)
        for _ in batch:
            self.waiting.popleft()
        if self.ended:
            self.store.end(self.run, *self.ended)

    def _begin(self) -> None:
        """Find the run that an interrupted training of the same left, or make one."""
        hello = self.hello
        self.store = Store(hello["uri"], timeout=_ANSWER_SECONDS, retries=0)
        experiment = self.store.experiment(hello["experiment"], hello["experiment_tags"])
        where = " and ".join(f"tags.`{key}` = '{value}'" for key, value in hello["marks"].items())
        begun = (each.id for each in self.store.runs(experiment, where) if FINGERPRINT not in each.tags)
        asked = hello["params"].items()  # a param of a run cannot be changed
        if run := next((run for run in begun if self.store.params(run).items() <= asked), None):
            self.has = self.store.history(run, list(METRICS.values()))
            self.store.go_on(run)
        else:
            run = self.store.create(experiment, hello["name"], hello["began"], hello["marks"])
        self.store.log(run, params=hello["params"], tags=hello["tags"])
        self.run = run


def main() -> None:
    """Read messages until the training ends, however it ends."""
    os.nice(10)
    reporter: Reporter | None = None
    for lines in _lines(sys.stdin.fileno()):
        for line in lines:
            message = json.loads(line)
            if reporter is None:
                reporter = Reporter(message)
            else:
                reporter.take(message)
        if reporter and time.monotonic() >= reporter.next:
            reporter.report()
    if reporter is None:
        return
    reporter.ended = reporter.ended or ("KILLED", round(1000 * time.time()))
    reporter.report()


def _lines(pipe: int) -> Iterator[list[bytes]]:
    """Yield the whole lines that came, or none after a while without any; ends with the pipe."""
    rest = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], _FLUSH_SECONDS)
        if not ready:
            yield []
            continue
        if not (read := os.read(pipe, 1 << 16)):
            return
        *lines, rest = (rest + read).split(b"\n")
        yield lines


if __name__ == "__main__":
    main()
    # The training waits for this; tidying up after MLflow takes most of a second.
    sys.stderr.flush()
    os._exit(0)
