"""Which code made something, as git knows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dlm import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_asking_for_the_commit_leaves_the_index_alone(tmp_path: Path) -> None:
    """`git status` by itself would lock the index to refresh it, and another's `git commit` would fail on the lock."""
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "a").touch()  # what git remembers of the file is stale now
    index = tmp_path / ".git" / "index"
    before = index.stat().st_mtime_ns, index.stat().st_ino
    assert provenance._git(tmp_path, "status", "--porcelain") == ""
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == before
    assert provenance._git(tmp_path / "away", "status") is None
