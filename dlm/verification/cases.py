"""Reference cases as they lie on disk: found, read, and each told from the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlm.errors import DataError

KINDS = ("forward", "sampling", "likelihood", "loss", "schedules", "masks")
"""Kinds of cases: each has a folder of its name, whose JSON files hold the cases."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Case:
    """One reference case."""

    kind: str
    """One of ``KINDS``."""
    root: Path
    """Folder of the reference: what a case names by a path lies in it, and ``checkpoints/``."""
    file: Path
    number: int
    """Place in the file, from 0."""
    data: Any
    """What the file holds, unchecked."""
    unreadable: str = ""
    """Why the file cannot be read: it then counts as one case that failed."""

    @property
    def id(self) -> str | None:
        """Its own name, if it has one."""
        own = self.data.get("id") if isinstance(self.data, Mapping) else None
        return own if isinstance(own, str) else None

    @property
    def name(self) -> str:
        """What a person finds it by: its own name, else its place and what it asks."""
        where = self.file.relative_to(self.root).as_posix()
        if self.unreadable:
            return where
        if self.id is not None:
            return f"{self.kind}/{self.id}"
        asked = self.data if isinstance(self.data, Mapping) else {}
        told = [str(asked[key]) for key in ("source", "scheduler") if key in asked]
        told += [f"{key}={asked[key]}" for key in ("masked", "steps", "factor") if key in asked]
        return " ".join([f"{where}[{self.number}]", *told])


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    case: Case
    problems: tuple[str, ...]
    """What differs, a line each; empty when the case passed."""

    @property
    def line(self) -> str:
        """The line that is printed."""
        if not self.problems:
            return f"passed {self.case.name}"
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"FAILED {self.case.name}: {self.problems[0]}{more}"


def read_cases(folder: Path) -> list[Case]:
    """Read every case under a folder, in the order of files and of cases in them.

    Raises:
        DataError: there is none.
    """
    files = sorted(file for file in folder.resolve().rglob("*.json") if file.parent.name in KINDS)
    cases = [case for file in files for case in _read_file(file)]
    if not cases:
        wanted = ", ".join(f"{kind}/*.json" for kind in KINDS)
        raise DataError(f"{folder}: no reference case in it; expected {wanted}, as docs/verify.md says")
    return cases


def _read_file(file: Path) -> list[Case]:
    kind, root = file.parent.name, file.parent.parent

    def unreadable(why: str) -> list[Case]:
        return [Case(kind, root, file, 0, None, unreadable=why)]

    try:
        whole = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, ValueError, RecursionError) as error:
        return unreadable(f"cannot be read: {error}")
    if not isinstance(whole, dict) or not isinstance(whole.get("cases"), list):
        return unreadable("expected an object with a list of cases")
    if whole.get("format_version") != FORMAT_VERSION:
        return unreadable(f"format_version {FORMAT_VERSION} expected, got {whole.get('format_version')!r}")
    return [Case(kind, root, file, number, data) for number, data in enumerate(whole["cases"])]
