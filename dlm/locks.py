"""Lock files, by which one process makes a product and others wait for its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def held(path: str | Path, tell: Callable[[str], None]) -> Iterator[bool]:
    """Hold the lock file ``path``, which says whose it is; yields whether somebody else's end had to be waited for.

    The kernel lets go of a dead process's lock, so the file may stay. Where the file system knows no such locks,
    nobody is waited for.

    Args:
        path: made if it is not there; never removed, since another may be waiting for it.
        tell: called with who holds it, before waiting.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        waited = _lock(stream, tell)
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {platform.node()}\n")
        stream.flush()
        yield waited


def is_held(path: str | Path) -> bool:
    """Return whether somebody holds the lock file ``path`` (`held`); True as well where that cannot be told."""
    try:
        with open(path, encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock(stream: TextIO, tell: Callable[[str], None]) -> bool:
    """Lock an open file; return whether its holder had to be waited for."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        tell(stream.read().strip() or "another process")
        fcntl.flock(stream, fcntl.LOCK_EX)
        return True
    except OSError:  # a file system without such locks
        return False
    return False
