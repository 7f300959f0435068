"""A hub on this machine, with faults, and benchmarks prepared from it in a process of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import json, sys, time
from dlm.data import download, prepare
from dlm.errors import RemoteError
from dlm.settings.data import Benchmark, ProblemSettings
out = {}
for name, changes in json.loads(sys.argv[2]).items():
    values = {"repository": "org/rows", "revision": "main", **changes}
    began = time.monotonic()
    try:
        manifest = prepare(name, Benchmark(**values), ProblemSettings(), f"{sys.argv[1]}/{name}", {}, {})
        files = {file: entry["sha256"] for file, entry in manifest["files"].items()}
        out[name] = {"files": files, "kind": manifest["kind"], **manifest["made_from"]["source"]}
    except RemoteError as error:
        out[name] = str(error)
print(json.dumps(out))
"""


@contextlib.contextmanager
def serving(shared: Path, hub: Path, *options: str, folder: Path | None = None) -> Iterator[str]:
    """Serve a folder as a hub on this machine, with faults."""
    port, log = (folder or hub.parent) / "port", (folder or hub.parent) / "log"
    port.unlink(missing_ok=True)
    command = [sys.executable, str(shared / "tools" / "hub_mirror.py"), "--root", str(hub), "--port-file", str(port)]
    with log.open("ab") as stream:
        process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=stream)
    while not port.exists() and process.poll() is None:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port.read_text().strip()}"
    finally:
        process.terminate()
        process.wait()


def prepared(endpoint: str, out: Path, **settings: dict) -> dict:
    """Prepare benchmarks in a process of its own: the hub's client reads where the hub is once."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(out / "home"),
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_OFFLINE": "0",
    }
    command = [sys.executable, "-c", SCRIPT, str(out), json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
