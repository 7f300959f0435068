"""What made a result: the code's version and commit, and the versions of the libraries that can change a number."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path

import dlm


@cache
def code_version() -> dict[str, str | bool | None]:
    """Return this package's version and, where it runs from a git checkout, its commit and whether that was edited."""
    folder = Path(dlm.__file__).resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no") if commit else None
    return {"version": dlm.__version__, "commit": commit, "edited": bool(changes) if commit else None}


@cache
def library_versions(*names: str) -> dict[str, str]:
    """Return the installed versions of Python and of the named distributions, without importing them."""
    versions = {"python": platform.python_version()}
    for name in names or ("torch", "transformers"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        # Without the lock that `git status` would take to refresh the index: a person's `git commit` would fail on it.
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
