"""`dlm convert`: what it converts, where it comes from, and how it is shown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dlm.cli.common import lineage, of_kind
from dlm.errors import SettingsError
from dlm.params import Plan
from dlm.progress import Progress, say
from dlm.settings import ConvertedCheckpoint, FolderCheckpoint, ForeignCheckpoint, HubCheckpoint

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def convert_files(source: str, dest: Path, revision: str | None, asked: dict[str, Any]) -> None:
    """Convert a folder or a hub's checkpoint into ``dest``, with the conventions that were ``asked`` for.

    Raises:
        SettingsError: the source is neither.
        DlmError: it cannot be fetched, converted or written.
    """
    if Path(source).is_dir():
        if revision:
            raise SettingsError(f"{source}: is a folder, which has no --revision; a hub id has")
        _convert(Path(source), dest, dest.name, **asked)
    elif _HUB_ID.fullmatch(source):
        folder, commit = _fetch(source, revision)
        _convert(folder, dest, dest.name, repository=source, revision=commit, **asked)
    else:
        found = "is a file, not a folder" if Path(source).is_file() else "no such folder"
        raise SettingsError(f"{source}: {found}, and no hub id (organisation/name) either")


def convert_planned(name: str, plan: Plan) -> None:
    """Make the checkpoint ``name`` of a plan: from an autoregressive one of the plan, or from a published one.

    Raises:
        DlmError: it is of another kind, or it cannot be fetched, converted or written.
    """
    from dlm.files import read_manifest

    entry, dest = plan.entry("checkpoints", name), plan.layout.folder("checkpoints", name)
    if isinstance(entry, HubCheckpoint):
        folder, commit = _fetch(entry.repository, entry.revision)
        options = {"repository": entry.repository, "revision": commit, "made_from": lineage({}, entry)}
        _convert(folder, dest, name, own=True, **_told(entry), **options)
        return
    if isinstance(entry, FolderCheckpoint):
        folder = plan.layout.root / entry.path
        _convert(folder, dest, name, own=True, **_told(entry), made_from=lineage({}, entry))
        return
    entry = of_kind(plan, name, ConvertedCheckpoint, "convert")
    start = plan.layout.folder("checkpoints", entry.start)
    made_from = lineage({entry.start: str(read_manifest(start, verify=False)["digest"])}, entry)
    _convert(start, dest, name, own=True, shift=entry.shift, made_from=made_from)


def _told(entry: ForeignCheckpoint) -> dict[str, Any]:
    """Return what converting is told of a checkpoint that was made elsewhere."""
    return {"causal": entry.autoregressive, **dataclasses.asdict(entry.conventions)}


def convert_back(source: Path, dest: Path) -> None:
    """Write the files that ``source`` was converted from into ``dest``.

    Raises:
        DlmError: it was not converted from files, is damaged, or cannot be written.
    """
    from dlm.models import convert_back as restore

    with megabytes(f"convert {dest.name}") as watch:
        files = restore(source, dest, watch=watch)
    say(f"convert {dest.name}: {len(files)} files, each with the bytes that were converted")


def _fetch(repository: str, revision: str | None) -> tuple[Path, str]:
    from dlm.data import fetch_checkpoint

    say(f"convert: fetching {repository}@{revision or 'main'}, as far as it is not here")
    return fetch_checkpoint(repository, revision)


def _convert(source: Path, dest: Path, name: str, **options: Any) -> None:
    from dlm.models import convert_checkpoint

    with megabytes(f"convert {name}") as watch:
        manifest = convert_checkpoint(source, dest, name=name, watch=watch, **options)
    origin, tensors = manifest["made_from"]["source"], manifest["made_from"]["tensors"]
    commit = f" at {origin['revision']}" if origin["revision"] else ""
    more = "".join(f", {tensors[kind]} {kind}" for kind in ("repeated", "beside") if tensors[kind])
    seen = "kept causal" if options.get("causal") else "every token sees every other"
    say(f"convert {name}: format {origin['format']}{commit}, {tensors['moved']} tensors moved{more}; {seen}")


@contextmanager
def megabytes(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress in megabytes to a watch that is told bytes."""
    shown: list[Progress] = []

    def watch(done: int, total: int) -> None:
        if not shown:
            shown.append(Progress(label, max(round(total / 1e6), 1), "MB").__enter__())
        if (megabytes := round(done / 1e6)) > shown[0].done:
            shown[0].advance(megabytes - shown[0].done)

    try:
        yield watch
    finally:
        for progress in shown:
            progress.__exit__(None, None, None)
