"""What a checkpoint was made from, step by step back to random weights or to what was published, as manifests say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from dlm.errors import DataError
from dlm.files import read_manifest
from dlm.params.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Data:
    """Prepared data that a training read."""

    name: str
    digest: str
    origin: str
    """Where its rows are from, in words; that it is no longer here, where nothing tells."""
    repository: str | None = None
    """Hub id, where it is a hub's."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One checkpoint of the line: trained, or converted."""

    name: str
    digest: str
    made_from: Mapping[str, Any] | None
    """Of its manifest; None: it is no longer here, or was made anew since."""
    data: tuple[Data, ...] = ()

    @property
    def source(self) -> Mapping[str, Any] | None:
        """The published files it was converted from, with their hashes; None: it was trained."""
        return (self.made_from or {}).get("source") if self.is_conversion else None

    @property
    def is_conversion(self) -> bool:
        """Whether no weight was trained in this step."""
        return self.made_from is not None and "recipe" not in self.made_from


def ancestry(layout: Layout, name: str) -> list[Step]:
    """Return the steps that led to checkpoint ``name``, its own first.

    Raises:
        DataError: there is no such checkpoint, or its manifest is damaged.
    """
    manifest = read_manifest(layout.folder("checkpoints", name), verify=False)
    return _line(layout, name, str(manifest["digest"]), seen=())


def _line(layout: Layout, name: str, digest: str, seen: tuple[str, ...]) -> list[Step]:
    made = _made_from(layout, "checkpoints", name, digest)
    if made is None or name in seen:
        return [Step(name=name, digest=digest, made_from=None)]
    parents: Mapping[str, str] = made.get("parents", {})
    start: str | None
    if "recipe" in made:
        names = str(made["dataset"]).split(" + ")
        data = tuple(_data(layout, each, parents[each]) for each in names)
        start = str(made["start"])
    else:
        data, start = (), next(iter(parents), None)
    step = Step(name=name, digest=digest, made_from=made, data=data)
    if start is None or start not in parents:  # random weights, or published files
        return [step]
    return [step, *_line(layout, start, parents[start], (*seen, name))]


def _data(layout: Layout, name: str, digest: str) -> Data:
    made = _made_from(layout, "data", name, digest)
    if made is None:
        return Data(name=name, digest=digest, origin="no longer here")
    settings = made["settings"]
    if settings.get("kind") == "hub":
        repository, commit = settings["repository"], made.get("source", {}).get("commit", settings["revision"])
        part = ", ".join(str(settings[key]) for key in ("config", "split") if settings.get(key))
        return Data(name=name, digest=digest, origin=f"{repository} ({part}) at {commit}", repository=repository)
    if settings.get("kind") == "mixture":
        rows = ", ".join(f"{count} {kind}" for kind, count in settings["rows"].items() if count)
        return Data(name=name, digest=digest, origin=f"generated, style {settings['style']}: {rows}")
    if settings.get("kind") == "rows":  # not where the file lay: a card may be public
        sha256 = made.get("source", {}).get("sha256", "unknown")
        origin = f"{PurePath(settings['path']).name}, a file of rows, SHA-256 {sha256[:16]}"
        return Data(name=name, digest=digest, origin=origin)
    return Data(name=name, digest=digest, origin=f"data of kind {settings.get('kind')}")


def _made_from(layout: Layout, step: str, name: str, digest: str) -> Mapping[str, Any] | None:
    """Return how a product was made, if it is still the one of this digest."""
    try:
        manifest = read_manifest(layout.folder(step, name), verify=False)
    except DataError:
        return None
    return dict(manifest["made_from"]) if manifest["digest"] == digest else None
