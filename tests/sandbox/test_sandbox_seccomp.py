"""The filter of system calls: judged as the kernel does, for each machine, and at work in the sandbox."""

from __future__ import annotations

import errno
import struct

import pytest
from sandbox_examples import LIMITS, outcome

from dlm.errors import SetupError
from dlm.sandbox import PASSED, require_isolation, run_programs, running
from dlm.sandbox.seccomp import socket_filter

ALLOWED, KILLED = "allowed", "killed"
# linux/audit.h and the tables of system calls: of x86_64, of 32 bits on it, of aarch64, of 32 bits on it.
AMD, INTEL, ARM, ARM_32 = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
TRY = """
import ctypes, errno, socket
libc = ctypes.CDLL(None, use_errno=True)
"""


def judged(filter_: bytes, machine: int, number: int, argument: int = 0) -> str | int:
    """What a filter says of a call: allowed, killed, or the error number."""
    call = struct.pack("=IIQQ", number, machine, 0, argument)
    steps = [struct.unpack_from("=HBBI", filter_, place) for place in range(0, len(filter_), 8)]
    word, at = 0, 0
    while True:
        code, if_so, if_not, value = steps[at]
        at += 1
        match code:
            case 0x20:
                (word,) = struct.unpack_from("=I", call, value)
            case 0x15:
                at += if_so if word == value else if_not
            case 0x35:
                at += if_so if word >= value else if_not
            case 0x06:
                return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}.get(value, value & 0xFFFF)
            case _:
                raise ValueError(code)


@pytest.mark.parametrize(
    ("name", "machine", "socket", "pair", "others"),
    [("x86_64", AMD, 41, 53, [0, 40, 42, 52, 54, 198, 424]), ("aarch64", ARM, 198, 199, [0, 41, 53, 197, 200, 424])],
)
def test_sockets_of_four_families_are_allowed_and_no_others(name, machine, socket, pair, others):
    filter_ = socket_filter(name)
    for call in (socket, pair):
        allowed = [family for family in range(64) if judged(filter_, machine, call, family) == ALLOWED]
        assert allowed == [1, 2, 10, 16]
        assert judged(filter_, machine, call, 40) == errno.EAFNOSUPPORT
        assert judged(filter_, machine, call, (1 << 32) + 40) == errno.EAFNOSUPPORT  # the kernel looks at 32 bits
    assert {judged(filter_, machine, call, 40) for call in others} == {ALLOWED}


@pytest.mark.parametrize(("name", "machine"), [("x86_64", AMD), ("aarch64", ARM)])
def test_no_other_way_leads_to_a_socket(name, machine):
    filter_ = socket_filter(name)
    assert judged(filter_, machine, 425) == errno.ENOSYS  # io_uring
    assert judged(filter_, machine, 0x40000000 + 41, 2) == errno.ENOSYS  # x32
    assert judged(filter_, machine, 0xFFFFFFFF) == errno.ENOSYS
    for other in {AMD, INTEL, ARM, ARM_32} - {machine}:
        assert judged(filter_, other, 41, 2) == KILLED


def test_a_machine_whose_calls_are_not_known_is_refused():
    with pytest.raises(SetupError, match=r"isolated on x86_64 or aarch64, and this is s390x; score there$"):
        socket_filter("s390x")


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize(
    "attempt",
    [
        *(f"libc.socket({family}, 1, 0) == -1 and ctypes.get_errno() == errno.EAFNOSUPPORT" for family in (40, 38, 17)),
        "libc.socketpair(40, 1, 0, (ctypes.c_int * 2)()) == -1 and ctypes.get_errno() == errno.EAFNOSUPPORT",
        "libc.syscall(425, 1, ctypes.create_string_buffer(120)) == -1 and ctypes.get_errno() == errno.ENOSYS",
    ],
    ids=["to the hypervisor", "of the kernel's ciphers", "of packets", "a pair", "io_uring"],
)
def test_other_sockets_cannot_be_made(attempt):
    assert outcome(f"{TRY}assert {attempt}") == PASSED


@pytest.mark.usefixtures("isolation")
def test_sockets_between_its_own_processes_can_be_made():
    assert outcome("import socket\na, b = socket.socketpair()\na.send(b'x')\nassert b.recv(1) == b'x'") == PASSED


@pytest.mark.usefixtures("isolation")
def test_without_the_filter_nothing_is_run(monkeypatch):
    monkeypatch.setattr(running, "socket_filter", lambda: b"\xff" * 8)
    for run in (require_isolation, lambda limits: run_programs(["x = 1"], limits)):
        with pytest.raises(SetupError, match=r"cannot be isolated on this machine \(no start: .*seccomp"):
            run(LIMITS)
    monkeypatch.setattr(running, "socket_filter", lambda: struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    with pytest.raises(SetupError, match=r"does not hold on this machine \(failed: OtherSocketsCanBeMade\)$"):
        require_isolation(LIMITS)
