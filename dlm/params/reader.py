"""Params files as plain values that remember where they were written.

A params file may begin with ``extends: <scale>``: it is then laid over that other file, mapping by mapping; anything
that is not a mapping replaces what was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dlm.errors import SettingsError, did_you_mean

PathKey = tuple[str | int, ...]


@dataclass
class Document:
    """A params file's values and, for each key path, the file and line that it was written on."""

    file: Path
    values: dict[str, Any]
    places: dict[PathKey, tuple[Path, int]] = field(default_factory=dict)

    def error(self, path: PathKey, problem: str) -> SettingsError:
        """Build the one-line error for the value at ``path``: file, line, key, problem."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        file, line = self.places.get(known, (self.file, 1))
        return SettingsError(f"{_shown(file)}:{line}: {dotted(path)}: {problem}")


def dotted(path: PathKey) -> str:
    """Return a key path as a person writes it: ``tables.table1.rows[0].model``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text or "(whole file)"


def scales(folder: Path) -> list[str]:
    """Return the names of the scales in a params folder: its YAML files, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_document(folder: Path, scale: str) -> Document:
    """Read ``<folder>/<scale>.yaml`` and what it extends.

    Raises:
        SettingsError: unknown scale (the message lists the scales), broken YAML, a key written twice, circular extends.
    """
    return _read(folder, scale, seen=())


def _read(folder: Path, scale: str, seen: tuple[str, ...]) -> Document:
    path = folder / f"{scale}.yaml"
    if "/" in scale or not path.is_file():
        hint = did_you_mean(scale, scales(folder))
        raise SettingsError(f"unknown scale '{scale}': {hint} (scales are the files {_shown(folder)}/*.yaml)")
    if scale in seen:
        raise SettingsError(f"{_shown(path)}:1: extends: circular ({' -> '.join((*seen, scale))}); remove one of them")
    document = _parse(path)
    base_name = document.values.pop("extends", None)
    if base_name is None:
        return document
    if not isinstance(base_name, str):
        raise document.error(("extends",), f"expected the name of a scale, got {base_name!r}")
    base = _read(folder, base_name, (*seen, scale))
    return Document(path, _merge(base.values, document.values), {**base.places, **document.places})


def _parse(path: Path) -> Document:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{_shown(path)}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SettingsError(
            f"{_shown(path)}:{line}: broken YAML: {error.problem or error}; correct this line"
        ) from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{_shown(path)}: broken YAML: {' '.join(str(error).split())}; correct the file") from error
    document = Document(path, {})
    if root is None or not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{_shown(path)}:1: expected a mapping of settings, found something else")
    document.values = _value(root, (), document)
    return document


def _value(node: yaml.Node, path: PathKey, document: Document) -> Any:
    document.places.setdefault(path, (document.file, node.start_mark.line + 1))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, (*path, index), document) for index, child in enumerate(node.value)]
    return _plain(node, path, document)


def _plain(node: yaml.Node, path: PathKey, document: Document) -> Any:
    """Return the value of a scalar; one that YAML takes for something it is not is named."""
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        problem = f"cannot be read as YAML ({' '.join(str(error).split())[:120]}); put it in quotes"
        raise document.error(path, problem) from error


def _mapping(node: yaml.MappingNode, path: PathKey, document: Document) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key_node, child in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            for source in child.value if isinstance(child, yaml.SequenceNode) else [child]:
                if not isinstance(source, yaml.MappingNode):
                    raise document.error(path, "'<<' must name a mapping, as in '<<: *name'")
                merged = {**_value(source, path, document), **merged}
            continue
        key = str(_plain(key_node, path, document))
        place = (*path, key)
        document.places[place] = (document.file, key_node.start_mark.line + 1)
        if key in own:
            raise document.error(place, "this key is written twice; keep one of them")
        own[key] = _value(child, place, document)
    # Values beside `<<` override those that it brings, whole.
    return {**merged, **own}


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        return {**base, **{key: _merge(base[key], value) if key in base else value for key, value in over.items()}}
    return over


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
