"""A training shown while it runs, where MLFLOW_TRACKING_URI names a server.

A helper process (`dlm.tracking.reporter`) talks to the server; the training only writes lines into a pipe,
which never waits: a server that is down, slow or read-only costs it nothing but the lines that find the pipe full. What
is missing at the end is added by the next `dlm runs sync`, which finishes the same run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dlm.errors import DlmError
from dlm.progress import say

Watch = Callable[[Mapping[str, float], float], None]
"""Takes a record of the curves and the time at which it was made, in seconds since 1970."""

_PIPE_BYTES = 1 << 20
_FOR_THE_TRAINING = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
_GOODBYE_SECONDS = 0.5  # that a training waits at its end for what is under way


@contextlib.contextmanager
def live_training(scale: str, name: str, made_from: Mapping[str, Any], root: Path) -> Iterator[Watch]:
    """Yield what a training calls with each record of its curves; it shows them on the server, if one is named.

    Args:
        scale: of the params.
        name: of the checkpoint.
        made_from: what its manifest will say.
        root: of the project.
    """
    helper = _start(scale, name, made_from, root)
    if helper is None:
        yield _ignore
        return
    try:
        yield helper.watch
    except BaseException as error:
        helper.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    helper.end("FINISHED")


def _start(scale: str, name: str, made_from: Mapping[str, Any], root: Path) -> _Helper | None:
    """Start the helper, if a server is named; a helper that cannot be started does not stop the training either."""
    from dlm.tracking.place import server

    try:
        if server() is None:
            return None
        return _Helper(_hello(scale, name, made_from, root))
    except (DlmError, OSError) as error:
        say(f"live view: {error}; the training goes on")
        return None


def _ignore(record: Mapping[str, float], time: float) -> None:
    """Show nothing."""


def _hello(scale: str, name: str, made_from: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return everything that the helper has to know, worked out here where the settings are."""
    from dlm.files import MANIFEST
    from dlm.tracking.experiments import tags_of_experiment
    from dlm.tracking.place import origin, tracking_uri
    from dlm.tracking.trainings import asked_of, params_of, tags_of
    from dlm.tracking.view import ASKED, KEY, ORIGIN, SOURCE, experiment_of

    experiment = experiment_of(scale, "trainings")
    source = f"results/{scale}/checkpoints/{name}/{MANIFEST}"
    marks = {ORIGIN: origin(root), KEY: name, ASKED: asked_of(made_from), SOURCE: source}
    return {
        "uri": tracking_uri(root),
        "experiment": experiment,
        "experiment_tags": tags_of_experiment(experiment, root),
        "name": name,
        "began": round(1000 * time.time()),
        "marks": marks,
        "tags": tags_of(scale, name, made_from),
        "params": params_of(name, made_from),
    }


class _Helper:
    """The training's end of the pipe."""

    def __init__(self, hello: Mapping[str, Any]) -> None:
        # A session of its own: Ctrl-C is the training's to answer; the helper ends when the pipe does. What a batch
        # system sends to all processes of a job is the training's, too: a process begins with its parent's mask.
        command = [sys.executable, "-m", "dlm.tracking.reporter"]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_TRAINING)
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._pipe, False)
        self._write(hello)

    def watch(self, record: Mapping[str, float], time: float) -> None:
        """Pass a record on, or let it go where the pipe is full or the helper gone."""
        self._write({"record": dict(record), "time": round(1000 * time)})

    def end(self, status: str) -> None:
        """Say how the training ended and leave; a helper that is nearly done is waited for."""
        self._write({"end": status, "time": round(1000 * time.time())})
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GOODBYE_SECONDS)

    def _write(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            os.write(self._pipe, (json.dumps(message) + "\n").encode())
