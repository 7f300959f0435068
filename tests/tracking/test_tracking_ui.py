"""The server that `dlm runs ui` starts: its own, at a port of its own, and with no secret where others look."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sharing import free_port

from dlm.errors import SetupError
from dlm.tracking import ui


class Healthy(BaseHTTPRequestHandler):
    """Another's server that says it is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[int]:
    """The port of another's server."""
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Commands and environments; a small server that takes its port, or ends where it is taken, is run for MLflow's."""
    found: list[tuple[list[str], dict[str, str]]] = []
    original = subprocess.Popen

    def popen(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        found.append((command, options["env"]))
        port = command[command.index("--port") + 1]
        small = [sys.executable, "-c", _SERVER, port]
        return original(small, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    return found


POPEN = subprocess.Popen
_SERVER = """
import http.server, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Healthy).serve_forever()
"""


def test_another_that_came_first_is_not_taken_for_our_server(
    tmp_path: Path, other: int, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came after the port was found free."""
    first = iter([other])
    monkeypatch.setattr(ui, "_free_port", lambda wanted: next(first, None) or free_port())
    with ui.running(tmp_path) as (address, process):
        assert len(started) == 2 and not address.endswith(f":{other}")
        assert address.endswith(f":{started[1][0][started[1][0].index('--port') + 1]}")
        assert ui._listens(process, int(address.rpartition(":")[2])) and not ui._listens(process, other)
    assert process.poll() is not None


def test_another_that_came_first_and_has_left_since_is_no_reason_to_give_up(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "_free_port", lambda wanted: free_port())  # which nobody takes this time
    small = subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        if started:
            return small(command, **options)
        started.append((command, options["env"]))
        return POPEN(["/bin/sh", "-c", "echo '[Errno 98] …: address already in use' >&2; exit 1"], **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    with ui.running(tmp_path) as (_, process):
        assert len(started) == 2 and process.poll() is None


def test_a_server_that_does_not_start_tells_why_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        subprocess, "Popen", _instead("echo cannot open postgresql://me:secret@host/runs >&2; exit 1")
    )  # fmt: skip
    with pytest.raises(SetupError, match=r"did not start: cannot open postgresql://host/runs \(its log: "):
        ui.running(tmp_path).__enter__()


def test_a_port_that_was_asked_for_and_is_taken_is_refused_before_any_work(
    tmp_path: Path, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "sync", None)
    with pytest.raises(SetupError, match=f"^port {other} is taken; name another one: `dlm runs ui --port …`$"):
        ui.serve(tmp_path, port=other)


def test_a_port_that_is_not_for_every_user_is_not_called_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ui, "sync", None)
    monkeypatch.setattr(ui.socket.socket, "bind", refuse)
    with pytest.raises(SetupError, match=r"^port 80 is not for every user; name one above 1023"):
        ui.serve(tmp_path, port=80)


def _instead(script: str) -> Any:
    original = subprocess.Popen
    return lambda command, **options: original(["/bin/sh", "-c", script], **options)


def test_the_address_of_a_database_is_on_no_command_line(
    tmp_path: Path, started: list[tuple[list[str], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@host/runs")
    with ui.running(tmp_path):
        command, environment = started[-1]  # the first one, unless another took its port meanwhile
    assert "secret" not in " ".join(command)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql://me:secret@host/runs"
