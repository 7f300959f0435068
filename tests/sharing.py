"""What tests, their workers and others on a busy machine must not take from each other: dear things, ports, time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` has filled; the other workers of the run wait for it and get the same one.

    What a failed attempt left behind is removed, and the next worker tries again.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        folder = factory.mktemp(name)
        make(folder)
        return folder
    root = factory.getbasetemp().parent  # the run's own, above its workers'
    folder, whole = root / name, root / f"{name}.made"
    with open(root / f"{name}.lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


_kept: list[socket.socket] = []


def free_port() -> int:
    """Return a port of this machine that nobody listens at, nor will: it is this process's own until it ends.

    A port that is only looked up is anybody's again before a server has taken it: another test's, or that of any
    connection, since the kernel gives those out of the same range. So it stays bound here, by a socket that does not
    listen; whoever asks for this very port and says SO_REUSEADDR, as servers do, is given it as well (by Linux).
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _kept.append(kept)
    return int(kept.getsockname()[1])


def own_time() -> float:
    """Return the seconds of a clock that stands still while this thread waits for a processor.

    By it a test can say that something does not wait, for a server say, however busy the machine is with other tests.
    """
    waited = 0
    with contextlib.suppress(OSError), open("/proc/thread-self/schedstat") as stream:  # proc(5)
        waited = int(stream.read().split()[1])
    return time.monotonic() - waited / 1e9


def processor_seconds(command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> tuple[int, str, float]:
    """Run a command; return its exit status, what it printed, and the seconds of the processor that it took.

    Those of the clock are others' too on a machine that is busy, and those of all children are also of one that ended
    before and is only now asked how.
    """
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        try:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:  # a test over its time
                process.kill()
        printed.seek(0)
        return process.returncode, printed.read(), used.ru_utime + used.ru_stime
