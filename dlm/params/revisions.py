"""Commits that branches and tags of a hub stood for: ``params/revisions.json``, written by `dlm pin`.

A params file may say `revision: main`, as people do. What that stands for is written down once, in a file under
version control, and taken from there by everybody who runs these params later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlm.errors import SettingsError
from dlm.files import read_json, write_json
from dlm.params.schema import Params
from dlm.settings import Benchmark, HubCheckpoint, HubDataset

FILE = "revisions.json"
KINDS = {Benchmark: "datasets", HubDataset: "datasets", HubCheckpoint: "models"}
_COMMIT = re.compile(r"[0-9a-f]{40}")


def branches(params: Params) -> dict[str, tuple[str, str, str]]:
    """Return (`datasets` or `models`, repository, revision) of all that is fetched from a hub by a branch or a tag.

    Their keys are what they are pinned by.
    """
    return {
        _key(entry): (KINDS[type(entry)], entry.repository, entry.revision)
        for entry in (*params.data.values(), *params.checkpoints.values())
        if isinstance(entry, Benchmark | HubDataset | HubCheckpoint) and not _COMMIT.fullmatch(entry.revision)
    }


def read_revisions(folder: Path) -> dict[str, str]:
    """Return the pinned commits of a params folder, by `kind/repository@revision`.

    Raises:
        SettingsError: the file holds something else.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    content = read_json(path)
    for name, commit in content.items() if isinstance(content, Mapping) else [("the file", content)]:
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise SettingsError(f"{path}: {name}: {commit!r:.50} is no commit; correct it, or run `dlm pin` again")
    return dict(content)


def write_revisions(folder: Path, commits: Mapping[str, str]) -> Path:
    """Write commits into the file of a params folder, beside those that it has of other revisions."""
    path = folder / FILE
    write_json(path, dict(sorted({**read_revisions(folder), **commits}.items())))
    return path


def pinned(params: Params, commits: Mapping[str, str]) -> Params:
    """Return params in which a revision that is pinned is its commit."""

    def at_commit(entry: Any) -> Any:
        commit = commits.get(_key(entry)) if type(entry) in KINDS else None
        return replace(entry, revision=commit) if commit else entry

    if not commits:
        return params
    data = {name: at_commit(entry) for name, entry in params.data.items()}
    checkpoints = {name: at_commit(entry) for name, entry in params.checkpoints.items()}
    return replace(params, data=data, checkpoints=checkpoints)


def _key(entry: Any) -> str:
    return f"{KINDS[type(entry)]}/{entry.repository}@{entry.revision}"
