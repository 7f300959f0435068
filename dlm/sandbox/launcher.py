"""One program in a room of its own. Started as a script, on the standard library alone, by `dlm.sandbox.running`.

Reads a JSON object from standard input and writes how the program ended to standard output. Of the object, `room` is an
empty folder; `paths` is what the program may read; `program` is its text; `secret` stands before the last word of what
came to its end; `command` and `environment` start it; `seconds`, `memory`, `processes` and `files` limit it; `filter`
limits its system calls (`dlm.sandbox.seccomp`, in hexadecimal digits). Where the room cannot be made nothing is run:
exit status 3, and a line on standard error.

Three processes take part. This one leaves for new namespaces and waits. Its child is process 1 of the new process
namespace: when it ends, by itself or since its parent has, the kernel kills every process in there, whatever that has
done to hide. Its grandchild gives up all rights, takes the limits and becomes the program. What the program says, and
what process 1 says of it, come by two pipes, so that a program cannot speak for process 1.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

NO_ROOM = 3
"""Exit status where the room could not be made."""
WALL, SPARE = 2, 10
"""Seconds by the clock for each processor second that is allowed, and beside them: a busy machine is slow to start."""
WORK = "/dlm-work"
"""The program's folder, in its own view of the file system."""
PROGRAM = "/dlm-program.py"
"""The program, in its own view; read-only, as is all but its folder."""
DEVICES = ("null", "zero", "full", "random", "urandom")
SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
"""What Python needs of the machine; read-only."""

_NO_START = "no start: "
# linux/sched.h, linux/mount.h, linux/prctl.h
_NEW = {"mount": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "process": 0x20000000, "network": 0x40000000}
_NEW_USER = 0x10000000
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_READ_ONLY, _RECURSIVE, _HERE, _DETACH = 0x1, 0x8000, -100, 2
_MOUNT_SETATTR, _PIVOT_ROOT = 442, {"x86_64": 155, "aarch64": 41}
_DIE_WITH_PARENT, _NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 1, 38, 22, 2
_PIPE = 1 << 20  # bytes that an ordinary user's pipe holds at most (pipe(7))

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Make the room, run the program in it, say how it ended."""
    asked = json.load(sys.stdin)
    _call("prctl", _DIE_WITH_PARENT, signal.SIGKILL)
    try:
        user, group = _leave()
        _furnish(asked, user, group)
        words, status = os.pipe(), os.pipe()
        first = os.fork()
    except OSError as error:
        sys.exit(_refused(str(error)))
    if not first:
        _keep_room(asked, user, group, words[1], status[1])
    os.close(words[1])
    os.close(status[1])
    late = _wait(first, WALL * asked["seconds"] + SPARE)
    told = _read(status[0])
    if told.startswith(_NO_START):
        sys.exit(_refused(told))
    outcome = _outcome(_read(words[0]), asked["secret"], late=late, ended=int(told) if told else None)
    os.write(1, outcome.encode("utf-8", "replace"))


def _refused(problem: str) -> int:
    print(problem.partition("\n")[0], file=sys.stderr)
    return NO_ROOM


def _wait(first: int, seconds: int) -> bool:
    """Wait for process 1, no longer than is allowed; return whether it was ended for being late."""
    late = False

    def end(number: int, frame: object) -> None:
        nonlocal late
        late = True
        os.kill(first, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    os.waitpid(first, 0)
    signal.alarm(0)
    return late


def _read(pipe: int) -> str:
    """Return all that a pipe holds: whoever wrote to it has ended."""
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, _PIPE).decode("utf-8", "replace")
    except BlockingIOError:
        return ""


def _outcome(said: str, secret: str, *, late: bool, ended: int | None) -> str:
    """Return the program's last word, else how it ended: its status as process 1 has told it, or None."""
    _, proof, word = said.partition(f"{secret} ")
    if proof:
        return word.partition("\n")[0]
    if late or ended == -signal.SIGXCPU:
        return "timed out"
    if ended is not None and ended < 0:
        return f"killed by {_signal_name(-ended)}"
    return f"ended early with status {'unknown' if ended is None else ended}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have none
        return f"signal {number}"


def _leave() -> tuple[int, int]:
    """Enter new namespaces; return the user and group to run as."""
    user, group = os.geteuid(), os.getegid()
    flags = sum(_NEW.values())
    other = _other_id("/proc/self/uid_map"), _other_id("/proc/self/gid_map")
    if user == 0 and other[0] and other[1]:
        # Limits on processes do not bind root; those of a user are shared by all that run as it, so take a fresh one.
        user, group = other
        _call("unshare", flags)
    else:
        _call("unshare", flags | _NEW_USER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(text)
    _call("prctl", _DIE_WITH_PARENT, signal.SIGKILL)  # a change of rights forgets it
    return user, group


def _other_id(path: str) -> int:
    """Return an id that nobody uses: from the upper half of the widest range that exists here; 0: there is none."""
    with open(path) as stream:
        ranges = [(int(line.split()[2]), int(line.split()[0])) for line in stream]
    size, first = max(ranges)
    return first + size - 1 - os.getpid() % (size // 2) if size >= 1 << 16 else 0


def _furnish(asked: dict[str, Any], user: int, group: int) -> None:
    """Make a file system of what the program may see, and enter it.

    It is a folder inside the new root: the kernel refuses new user namespaces, in which a program could mount and grow
    what it likes, to whoever lives in a chroot.
    """
    top: str = asked["room"]
    program = asked["program"].encode("utf-8", "surrogatepass")
    _mount("none", "/", None, _REC | _PRIVATE)
    _mount("tmpfs", top, "tmpfs", _NOSUID | _NODEV, f"mode=0755,size={(4 << 20) + len(program)}")
    room = f"{top}/room"
    os.mkdir(room)
    for path in _whole([*SYSTEM, *asked["paths"], *(f"/dev/{name}" for name in DEVICES)]):
        _show(path, room + path)
    os.mkdir(room + WORK)
    os.mkdir(f"{top}/old")
    with open(room + PROGRAM, "wb") as stream:
        stream.write(program)
    _set_read_only(top)
    size = f"mode=0700,uid={user},gid={group},size={asked['files']}m,nr_inodes=4096"
    _mount("tmpfs", room + WORK, "tmpfs", _NOSUID | _NODEV, size)
    _check(_libc.syscall(_PIVOT_ROOT[os.uname().machine], top.encode(), f"{top}/old".encode()), "pivot_root")
    os.chdir("/")
    _call("umount2", b"/old", _DETACH)
    os.chroot("/room")
    os.chdir(WORK)


def _whole(paths: Iterable[str]) -> list[str]:
    """Return those of the paths that exist and that no other one holds, the shorter first."""
    kept: list[str] = []
    for path in sorted({path for path in paths if os.path.lexists(path)}, key=len):
        if not any(path.startswith(f"{other}/") for other in kept if not os.path.islink(other)):
            kept.append(path)
    return kept


def _show(path: str, place: str) -> None:
    """Let ``path`` of the machine be seen at ``place``: links as links, the rest as it is."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), place)
        return
    if os.path.isdir(path):
        os.makedirs(place, exist_ok=True)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(path, place, None, _BIND | _REC)


def _keep_room(asked: dict[str, Any], user: int, group: int, words: int, status: int) -> NoReturn:
    """Be process 1: start the program, wait for it, tell its status; all that is left ends with this process."""
    _call("prctl", _DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    program = os.fork()
    if not program:
        try:
            _become(asked, user, group, words)
        except BaseException as error:  # this is a copy of a process that must not go on
            os.write(status, f"{_NO_START}{error}\n".encode("utf-8", "replace"))
        os._exit(NO_ROOM)
    while True:
        found, code = os.wait()
        if found == program:
            break
    os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
    os._exit(0)


def _become(asked: dict[str, Any], user: int, group: int, words: int) -> None:
    """Give up all rights, take the limits and become the program.

    It has four files: nothing, three times, and the pipe for its last word; all else closes as it is started.
    """
    os.setsid()
    nothing = os.open("/dev/null", os.O_RDWR)
    for number, target in enumerate((nothing, nothing, nothing, words)):
        os.dup2(target, number)
    own = os.geteuid() != user
    if own:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _filter_calls(bytes.fromhex(asked["filter"]))
    for limit, value in _limits(asked, own).items():
        resource.setrlimit(limit, (value, value))
    # The soft limit's signal says why; the hard one, a second later, cannot be caught.
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"] + 1))
    os.execve(asked["command"][0], asked["command"], asked["environment"])


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _filter_calls(instructions: bytes) -> None:
    """Have the kernel judge by a filter every system call of this process, and of all that come from it."""
    asked = _Filter(len(instructions) // 8, instructions)
    _check(_libc.prctl(_SECCOMP, _FILTER, ctypes.byref(asked)), "seccomp")


def _limits(asked: dict[str, Any], own: bool) -> dict[int, int]:
    return {
        resource.RLIMIT_AS: asked["memory"] << 20,
        # As the same user as this process and process 1, those count as well.
        resource.RLIMIT_NPROC: asked["processes"] + 2 * (not own),
        resource.RLIMIT_FSIZE: asked["files"] << 20,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    texts = [text.encode() if text else None for text in (source, target, kind, options)]
    source_, target_, kind_, options_ = texts
    _check(_libc.mount(source_, target_, kind_, ctypes.c_ulong(flags), options_), f"mount {target}")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _set_read_only(top: str) -> None:
    """Make a mount and all inside it read-only (Linux 5.12)."""
    attributes = _MountAttributes(set=_READ_ONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    done = _libc.syscall(_MOUNT_SETATTR, _HERE, top.encode(), _RECURSIVE, ctypes.byref(attributes), size)
    _check(done, "mount_setattr")


def _call(name: str, *arguments: int | bytes) -> None:
    _check(getattr(_libc, name)(*arguments), name)


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


if __name__ == "__main__":
    main()
