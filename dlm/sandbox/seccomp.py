"""Which sockets a program can make: a filter of its system calls (seccomp), as the launcher installs it.

A network namespace keeps apart what belongs to networks. Some families of sockets do not: in a virtual machine those of
AF_VSOCK reach the hypervisor from every namespace. So a program has the families that its namespace does keep apart.
"""

from __future__ import annotations

import errno
import platform
import struct

from dlm.errors import SetupError

FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
"""Families of sockets that can be made, by their numbers (linux/socket.h)."""
IO_URING_SETUP = 425
"""A second way into the kernel, on which sockets are made past the filter; the same number on every machine here."""

# linux/audit.h: how the kernel names a machine's system calls; asm/unistd.h: those that make sockets.
_MACHINES = {"x86_64": (0xC000003E, 41, 53), "aarch64": (0xC00000B7, 198, 199)}
# linux/bpf_common.h: load a word, jump if it is equal, jump if it is greater or equal, return.
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# linux/seccomp.h: what to do with a call, and where its number, its machine and its first argument lie. Of a family the
# kernel takes 32 bits, the lower ones, which come first on both machines.
_ALLOW, _FAIL, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
# From here the x32 calls of x86_64 are numbered, a second set of the same; others have no such numbers.
_SECOND_SET = 0x40000000


def socket_filter(machine: str = platform.machine()) -> bytes:
    """Return the filter for a machine, as an array of ``struct sock_filter`` (linux/filter.h; seccomp(2)).

    A socket, or a pair, of another family than `FAMILIES` is refused with EAFNOSUPPORT; io_uring and the second set of
    calls with ENOSYS. A call of another machine's set, such as one for 32 bits, ends the process.

    Raises:
        SetupError: the numbers of this machine's system calls are not known here.
    """
    if machine not in _MACHINES:
        known = " or ".join(_MACHINES)
        raise SetupError(f"programs that models write are isolated on {known}, and this is {machine}; score there")
    audit, socket, pair = _MACHINES[machine]
    # (what to do, how many to skip if so, how many if not, with which number)
    steps = [
        (_LOAD, 0, 0, _MACHINE),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 1, 0, _SECOND_SET),
        (_EQUAL, 0, 1, IO_URING_SETUP),
        (_RETURN, 0, 0, _FAIL | errno.ENOSYS),
        (_EQUAL, 2, 0, socket),
        (_EQUAL, 1, 0, pair),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
    ]
    for family in FAMILIES.values():
        steps += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
