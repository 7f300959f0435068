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
from dlm.sandbox.places import python_places
from dlm.sandbox.seccomp import FAMILIES, IO_URING_SETUP, socket_filter
from dlm.settings.sandbox import SandboxSettings

PASSED = "passed"
"""Outcome of a program that came to its end without an exception."""
PATIENCE = 60
"""Seconds, beyond a program's own, after which a launcher that has not come back is given up."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
# A program that leaves early, by `exit()` or worse, did not come to its end; nor did one whose child did, so that only
# the process that began says how it ended. The secret keeps a program from saying so by mistake, and no more than that:
# it is in the same interpreter, where a program that looks for it finds it (docs/sandbox.md).
# Its names are as in `exec` with nothing else, so what stands under `if __name__ == "__main__"` is not run.
_RUNNER = f"""
import os, sys
secret, write, leave, process = sys.argv.pop(), os.write, os._exit, os.getpid
first = process()
def end(word):
    if process() == first:
        write(3, (secret + " " + word + "\\n").encode("utf-8", "replace"))
    leave(0 if word == {PASSED!r} else 1)
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
import ctypes, errno, os, socket
if [name for _, name in socket.if_nameindex()] not in ([], ["lo"]):
    class TheNetworkCanBeReached(Exception): pass
    raise TheNetworkCanBeReached
for family in set(range(64)) - {families}:
    try:
        socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            continue
    class OtherSocketsCanBeMade(Exception): pass
    raise OtherSocketsCanBeMade
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall({io_uring}, 1, None) != -1 or ctypes.get_errno() != errno.ENOSYS:
    class SystemCallsAreNotFiltered(Exception): pass
    raise SystemCallsAreNotFiltered
if os.listdir() or os.path.exists("/proc/1") or os.access("/", os.W_OK):
    class ForeignFilesCanBeReached(Exception): pass
    raise ForeignFilesCanBeReached
if libc.unshare(0x10000000) == 0:
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
        status N`; `launcher ended with status N`, where what starts it failed. The words hold nothing that differs from
        run to run, such as an address.

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
    """Look from inside whether the room holds: network, sockets, files, processes, memory.

    Raises:
        SetupError: it does not, or cannot be made; one line that says what is missing.
    """
    text = _PROBE.format(
        families=set(FAMILIES.values()),
        io_uring=IO_URING_SETUP,
        processes=settings.processes,
        memory=settings.memory,
    )
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
            "paths": python_places(),
            "filter": socket_filter().hex(),
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
                input=json.dumps(asked).encode(),
                capture_output=True,
                check=False,
                start_new_session=True,
                timeout=WALL * settings.seconds + SPARE + PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return "timed out"
    if ended.returncode == NO_ROOM:
        raise SetupError(_cannot(ended.stderr.decode("utf-8", "replace")))
    # Whatever else becomes of the launcher concerns this program; of the probe's, `require_isolation` says so.
    outcome = ended.stdout.decode("utf-8", "replace").strip()
    return outcome if outcome and not ended.returncode else f"launcher ended with status {ended.returncode}"


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


def _cannot(problem: str) -> str:
    reason = " ".join(problem.split()) or "it does not say why"
    return (
        f"programs that models write cannot be isolated on this machine ({reason}), so none is run; "
        "score where user namespaces are allowed, or as root in a container with the capability SYS_ADMIN"
    )
