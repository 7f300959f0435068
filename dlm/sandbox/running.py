"""Programs run side by side, each in a room of its own, and what became of them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from dlm.errors import SetupError
from dlm.sandbox.launcher import NO_ROOM, PROGRAM, SPARE, WALL, WORK
from dlm.settings.sandbox import SandboxSettings

PASSED = "passed"
"""Outcome of a program that came to its end without an exception."""
PATIENCE = 60
"""Seconds, beyond a program's own, after which a launcher that has not come back is given up."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
# A program that leaves early, by `exit()` or worse, did not come to its end; nor does it know the secret that says so.
# Its names are as in `exec` with nothing else, so what stands under `if __name__ == "__main__"` is not run.
_RUNNER = f"""
import os, sys
secret, write, leave = sys.argv.pop(), os.write, os._exit
def end(word):
    write(3, (secret + " " + word + "\\n").encode("utf-8", "replace"))
    leave(0)
try:
    with open({PROGRAM!r}, encoding="utf-8") as stream:
        program = compile(stream.read(), "program.py", "exec")
    exec(program, {{}})
except BaseException as error:
    end("failed: " + type(error).__name__[:80])
end({PASSED!r})
"""
# What holds of the room, asked from inside it.
_PROBE = """
import ctypes, os, socket
if [name for _, name in socket.if_nameindex()] not in ([], ["lo"]):
    class TheNetworkCanBeReached(Exception): pass
    raise TheNetworkCanBeReached
if os.listdir() or os.path.exists("/proc/1") or os.access("/", os.W_OK):
    class ForeignFilesCanBeReached(Exception): pass
    raise ForeignFilesCanBeReached
if ctypes.CDLL(None).unshare(0x10000000) == 0:
    class NamespacesCanBeMade(Exception): pass
    raise NamespacesCanBeMade
children = []
try:
    while len(children) <= {processes}:
        child = os.fork()
        if not child:
            while True:
                socket.socketpair()[0].recv(1)
        children.append(child)
except BlockingIOError:
    pass
else:
    class ProcessesAreNotLimited(Exception): pass
    raise ProcessesAreNotLimited
try:
    bytearray({memory} << 20)
except MemoryError:
    pass
else:
    class MemoryIsNotLimited(Exception): pass
    raise MemoryIsNotLimited
"""


def run_programs(
    programs: Sequence[str], settings: SandboxSettings, done: Callable[[int], None] = lambda count: None
) -> list[str]:
    """Run Python programs, each in a process of its own, some at a time.

    Args:
        programs: their texts.
        settings: the limits.
        done: told that so many more have ended.

    Returns:
        Of each in turn: `passed`; `failed: NameOfTheException`; `timed out`; `killed by SIGNAL`; `ended early with
        status N`. The words hold nothing that differs from run to run, such as an address.

    Raises:
        SetupError: the isolation cannot be had on this machine; no program ran.
    """

    def run(program: str) -> str:
        outcome = _run(program, settings)
        done(1)
        return outcome

    with ThreadPoolExecutor(settings.workers) as pool:
        try:
            return list(pool.map(run, programs))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def require_isolation(settings: SandboxSettings) -> None:
    """Look from inside whether the room holds: network, files, processes, memory.

    Raises:
        SetupError: it does not, or cannot be made; one line that says what is missing.
    """
    text = _PROBE.format(processes=settings.processes, memory=settings.memory)
    outcome = _run(text, settings)
    if outcome != PASSED:
        raise SetupError(f"the sandbox for programs that models write does not hold on this machine ({outcome})")


def _run(program: str, settings: SandboxSettings) -> str:
    if sys.platform != "linux":
        raise SetupError("programs that models write are run on Linux only, whose namespaces isolate them; score there")
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="dlm-sandbox-") as room:
        asked = {
            "room": os.path.realpath(room),
            "paths": _python_folders(),
            "program": program,
            # No user's packages, no bytecode, nothing taken from the folder it stands in.
            "command": [sys.executable, "-s", "-P", "-B", "-c", _RUNNER, secret],
            "environment": _ENVIRONMENT,
            "secret": secret,
            **asdict(settings),
        }
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-S", str(_LAUNCHER)],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
                timeout=WALL * settings.seconds + SPARE + PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return "timed out"
    if ended.returncode or not ended.stdout:
        raise SetupError(_cannot(ended.stderr if ended.returncode == NO_ROOM else f"status {ended.returncode}"))
    return ended.stdout.strip()


_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": WORK,
    "TMPDIR": WORK,
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    # Threads count as processes.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def _python_folders() -> list[str]:
    """Return where this Python and its packages lie, under every name that leads there."""
    program = Path(sys.executable)
    places = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve(), program.resolve().parents[1]]
    while program.is_symlink():
        places.append(program.parents[1])
        program = program.parent / program.readlink()
    return [str(place) for place in dict.fromkeys(places) if len(place.parts) > 2]


def _cannot(problem: str) -> str:
    reason = " ".join(problem.split()) or "it does not say why"
    return (
        f"programs that models write cannot be isolated on this machine ({reason}), so none is run; "
        "score where user namespaces are allowed, or as root in a container with the capability SYS_ADMIN"
    )
