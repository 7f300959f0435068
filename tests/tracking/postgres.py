"""A PostgreSQL of one's own, for a test: Debian's programs, a temporary folder, a port on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sharing import free_port

_ANYBODY = {"user": "nobody", "group": "nogroup", "extra_groups": []}
"""PostgreSQL refuses to run as root."""


def programs() -> Path:
    """Where `initdb` and `postgres` are, or a skip that says so, which fails where CI was to install them."""
    places = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place
    absent = "no PostgreSQL; .ci/run installs what these tests need"
    return pytest.fail(absent) if os.environ.get("CI") == "true" else pytest.skip(absent)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run a server with an empty database; yield the address of the database."""
    place, as_whom = programs(), _ANYBODY if os.geteuid() == 0 else {}
    # Not under pytest's folder, which is closed to others than its owner.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if as_whom:
            shutil.chown(folder, _ANYBODY["user"], _ANYBODY["group"])
        data, log, environment = Path(folder, "data"), Path(folder, "log"), {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        make = [place / "initdb", "-D", data, "-U", "tests", "--auth", "trust", "-E", "UTF8", "--no-sync"]
        done = subprocess.run(make, cwd=folder, env=environment, capture_output=True, text=True, **as_whom)
        assert done.returncode == 0, done.stderr
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "max_connections": 200,
            "fsync": "off",
        }  # fmt: skip
        command = [place / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=stream, stderr=stream, **as_whom
            )  # fmt: skip
        try:
            address = f"postgresql://tests@127.0.0.1:{port}/postgres"
            _wait_for(address, process, log)
            yield address
        finally:
            process.send_signal(signal.SIGINT)  # ends open connections
            process.wait(timeout=300)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg2

    deadline = time.monotonic() + 300
    while True:
        try:
            psycopg2.connect(address).close()
            return
        except psycopg2.OperationalError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def read_only(address: str, *, on: bool) -> None:
    """Have every transaction refuse to write, or not any more; connections that stand are concerned, too."""
    _ask(address, f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
    _ask(address, "SELECT pg_reload_conf()")
    while _ask(address, "SHOW default_transaction_read_only", writing=False) != ("on" if on else "off"):
        time.sleep(0.05)


def _ask(address: str, question: str, *, writing: bool = True) -> Any:
    """Ask in a connection of its own, which may write whatever is the default; return the answer, if there is one."""
    import psycopg2

    with contextlib.closing(psycopg2.connect(address)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            if writing:
                cursor.execute("SET default_transaction_read_only = off")
            cursor.execute(question)
            return cursor.fetchone()[0] if cursor.description else None
