"""MLflow's own UI on this project's runs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from dlm.errors import SetupError
from dlm.progress import say
from dlm.tracking.place import own_folder, server, shown, tracking_uri
from dlm.tracking.sync import Summary, sync
from dlm.tracking.views import link

_PORTS = (5000, 0, 0)  # the usual one, else any that is free; another may still come first
_LISTENING = "0A"  # in /proc/net/tcp
_IN_USE = "address already in use"  # errno(3), as servers print it
_START_SECONDS = 180.0  # a busy machine takes its time to import MLflow


def serve(root: Path, scales: Sequence[str] = (), port: int | None = None) -> None:
    """Sync, then serve the UI on loopback until it is interrupted; where a server is named, only say where to look.

    Args:
        root: of the project.
        scales: whose records; all that have any where none is named.
        port: to listen on; None: 5000, or another where that is taken.

    Raises:
        SetupError: the server does not start, or the port is another's.
    """
    if port and not server() and _free_port(port) is None:
        raise _taken(port)
    summary = sync(root, scales)
    say(f"runs sync: {summary}")
    if there := server():
        _tell(shown(there), summary)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is ended then, too
    with contextlib.suppress(KeyboardInterrupt), running(root, port) as (here, process):
        _tell(here, summary)
        say("runs ui: Ctrl-C ends it")
        process.wait()


@contextlib.contextmanager
def running(root: Path, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run MLflow's server on the project's store; yield its address and process, and end it on the way out.

    Raises:
        SetupError: the server does not start, or the port that was asked for is another's.
    """
    for wanted in [port] if port else _PORTS:
        if (free := _free_port(wanted)) is None:
            continue
        process = _start(root, free)
        try:
            if _answers(free, process):
                yield f"http://127.0.0.1:{free}", process
                return
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        log = _log(root)
        lines = shown(log.read_text(errors="replace")).strip().splitlines() or ["no message"]
        if not any(_IN_USE in line.lower() for line in lines):  # where another came first, another port is tried
            raise SetupError(f"MLflow's server did not start: {lines[-1]} (its log: {log})")
    raise _taken(port or _PORTS[0])


def _taken(port: int) -> SetupError:
    return SetupError(f"port {port} is taken; name another one: `dlm runs ui --port …`")


def _log(root: Path) -> Path:
    return own_folder(root) / "server.log"


def _start(root: Path, port: int) -> subprocess.Popen[bytes]:
    folder = own_folder(root)
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--artifacts-destination", (folder / "artifacts").as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    told = {
        # It may hold a password, and everybody sees a command line.
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(root),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with _log(root).open("wb") as stream:
        # A session of its own, so that the server and its worker end together.
        return subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, **told}, cwd=folder, start_new_session=True
        )


def _tell(address: str, summary: Summary) -> None:
    for name, experiment in sorted(summary.experiments.items()):
        say(f"runs ui: {name}: {link(address, experiment)}")
    if not summary.experiments:
        say(f"runs ui: {address} (no results yet: `make table1` makes some)")


def _free_port(wanted: int) -> int | None:
    """Return the port where nobody listens at it, any free one for 0; None where somebody does.

    Raises:
        SetupError: the port is not for this user.
    """
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except PermissionError as error:
            message = f"port {wanted} is not for every user; name one above 1023: `dlm runs ui --port …`"
            raise SetupError(message) from error
        return int(probe.getsockname()[1])
    return None


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; False where it ended or took too long, whoever else may answer there."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), direct.open(f"http://127.0.0.1:{port}/health", timeout=2):
            if _listens(process, port):
                return True
        time.sleep(0.2)
    return False


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether a process of the server's session listens at the port; True where there is no /proc to tell (proc(5))."""
    try:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return True
    here = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == _LISTENING}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # a process of somebody else's, or one that has ended
            if os.getsid(int(folder.name)) == process.pid and here & set(_open_files(folder)):
                return True
    return False


def _open_files(process: Path) -> Iterator[str]:
    """Yield what a process has open (proc(5)); it may close some meanwhile."""
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(descriptor.readlink())
