"""Whether this machine has the namespaces that the sandbox is made of, asked without the sandbox."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dlm.sandbox import require_isolation
from dlm.settings import SandboxSettings

ASK = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
spaces = 0x20000 | 0x4000000 | 0x8000000 | 0x20000000 | 0x40000000 | (0x10000000 if os.geteuid() else 0)
# Some machines give an ordinary user the namespaces without the right to mount in them.
if libc.unshare(spaces) or libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None):
    print(os.strerror(ctypes.get_errno()))
"""
"""A program that prints why the kernel refuses namespaces, and nothing where it gives them."""


def isolation_or_skip(limits: SandboxSettings) -> None:
    """Skip where the kernel refuses a bare `unshare`; where it does not, a sandbox that does not hold is an error.

    Raises:
        SetupError: the sandbox does not hold, though it could be had.
    """
    refused = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.strip()
    if refused:
        pytest.skip(f"this kernel refuses namespaces: {refused}")
    require_isolation(limits)
