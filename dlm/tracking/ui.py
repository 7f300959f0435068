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
from urllib.error import URLError

from dlm.errors import SetupError
from dlm.progress import say
from dlm.tracking.place import own_folder, server, tracking_uri
from dlm.tracking.sync import Summary, sync
from dlm.tracking.views import link

_USUAL_PORT = 5000
_START_SECONDS = 60.0


def serve(root: Path, scales: Sequence[str] = (), port: int | None = None) -> None:
    """Sync, then serve the UI on loopback until it is interrupted; where a server is named, only say where to look.

    Args:
        root: of the project.
        scales: whose records; all that have any where none is named.
        port: to listen on; None: 5000, or another where that is taken.

    Raises:
        SetupError: the server does not start.
    """
    summary = sync(root, scales)
    say(f"runs sync: {summary}")
    if there := server():
        _tell(there, summary)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is ended then, too
    with contextlib.suppress(KeyboardInterrupt), running(root, port) as (here, process):
        _tell(here, summary)
        say("runs ui: Ctrl-C ends it")
        process.wait()


@contextlib.contextmanager
def running(root: Path, port: int | None = None) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run MLflow's server on the project's store; yield its address and process, and end it on the way out."""
    port = _free_port([port] if port else [_USUAL_PORT, 0])
    folder = own_folder(root)
    folder.mkdir(exist_ok=True)
    log = folder / "server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", tracking_uri(root)]
    command += ["--artifacts-destination", (folder / "artifacts").as_uri()]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    silent = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("wb") as stream:
        # A session of its own, so that the server and its worker end together.
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env={**os.environ, **silent}, cwd=folder, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, log)
        yield address, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _tell(address: str, summary: Summary) -> None:
    for name, experiment in sorted(summary.experiments.items()):
        say(f"runs ui: {name}: {link(address, experiment)}")
    if not summary.experiments:
        say(f"runs ui: {address} (no results yet: `make table1` makes some)")


def _free_port(wanted: Sequence[int]) -> int:
    for port in wanted:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SetupError(f"port {wanted[0]} is taken; name another one: `dlm runs ui --port …`")


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(URLError, OSError), direct.open(f"{address}/health", timeout=2):
            return
        time.sleep(0.2)
    lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
    raise SetupError(f"MLflow's server did not start: {lines[-1]} (its log: {log})")
