"""Params files as plain values that remember where they were written.

A params file may begin with ``extends: <scale>``: it is then laid over that other file, mapping by mapping; anything
that is not a mapping replaces what was there. A file that is long is laid over parts of itself, ``extends:
[<scale>/<part>, …]``, each over those before it; they lie in a folder of the scale's name and are no scales. A file's
own tables come before those that it extends.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dlm.errors import SettingsError, did_you_mean

PathKey = tuple[str | int, ...]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
"""What a name looks like that becomes a part of paths: a scale's, or that of a thing the scale makes."""
_DEPTH, _VALUES = 40, 100_000


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
        return SettingsError(" ".join(f"{_shown(file)}:{line}: {dotted(path)}: {problem}".split()))


def dotted(path: PathKey) -> str:
    """Return a key path as a person writes it: ``tables.table1.rows[0].model``."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text or "(whole file)"


def scales(folder: Path) -> list[str]:
    """Return the names of the scales in a params folder: its YAML files, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml") if path.is_file() and NAME.fullmatch(path.stem))


def read_document(folder: Path, scale: str) -> Document:
    """Read ``<folder>/<scale>.yaml`` and what it extends.

    Raises:
        SettingsError: unknown scale (the message lists the scales), broken YAML, a key written twice, circular extends.
    """
    known = scales(folder)
    if scale not in known:
        hint = did_you_mean(scale, known)
        raise SettingsError(f"unknown scale '{scale}': {hint} (scales are the files {_shown(folder)}/*.yaml)")
    return _read(folder, scale, seen=())


def _read(folder: Path, name: str, seen: tuple[str, ...]) -> Document:
    path, seen = folder / f"{name}.yaml", (*seen, name)
    document = _parse(path)
    extended, known = document.values.pop("extends", []), [*scales(folder), *_parts(folder)]
    values: dict[str, Any] = {}
    places: dict[PathKey, tuple[Path, int]] = {}
    for base_name in extended if isinstance(extended, list) else [extended]:
        if not isinstance(base_name, str):
            raise document.error(("extends",), f"expected the name of a scale, got {base_name!r}")
        if base_name not in known:
            raise document.error(("extends",), f"unknown scale '{base_name}'; {did_you_mean(base_name, known)}")
        if base_name in seen:
            raise document.error(("extends",), f"circular ({' -> '.join((*seen, base_name))}); remove one of them")
        base = _read(folder, base_name, seen)
        values, places = _merge(values, base.values), {**places, **base.places}
    merged = _merge(values, document.values)
    if isinstance(own := document.values.get("tables"), dict):
        # A job answers what a table asks and none before it: what a file's own tables ask is not left to others.
        merged["tables"] = {**{name: merged["tables"][name] for name in own}, **merged["tables"]}
    return Document(path, merged, {**places, **document.places})


def read_plain(path: Path) -> Document:
    """Read a YAML file that extends no other.

    Raises:
        SettingsError: it cannot be read, is broken YAML, or has a key twice.
    """
    return _parse(path)


def lineage_of_scale(folder: Path, scale: str) -> list[str]:
    """Return a scale and those that it extends, the nearest first; of a params file that has been read already."""
    found = [scale]
    for name in found:
        path = folder / f"{name}.yaml"
        extended = _parse(path).values.get("extends", []) if path.is_file() else []
        bases = extended if isinstance(extended, list) else [extended]
        found += [base for base in bases if base not in found]
    return found


def own_files(folder: Path, scale: str) -> list[Path]:
    """Return the files of a params folder that are a scale's own, those that there are: that of its name, its parts."""
    found = [folder / f"{scale}.yaml", *sorted((folder / scale).glob("*.yaml"))]
    return [path for path in found if path.is_file()]


def _parts(folder: Path) -> list[str]:
    """Return the names of the parts that scales are laid over: the YAML files of their folders, sorted."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in folder.glob("*/*.yaml") if path.is_file())


def _parse(path: Path) -> Document:
    root, document = _compose(path, _text(path)), Document(path, {})
    if not isinstance(root, yaml.MappingNode):
        found = "something else" if root else "nothing"
        raise SettingsError(f"{_shown(path)}:1: expected a mapping of settings, found {found}")
    document.values = _value(root, (), document)
    return document


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{_shown(path)}:{line}: not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(f"{_shown(path)}: cannot be read ({error.strerror}); make it readable") from error


@functools.lru_cache(maxsize=32)
def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, problem = mark.line + 1 if mark else 1, str(error.problem or error)
    except yaml.reader.ReaderError as error:
        line, problem = text.count("\n", 0, error.position) + 1, f"a character that no text has, {error.character:#06x}"
    except RecursionError:
        line, problem = 1, "too deep a nesting"
    raise SettingsError(f"{_shown(path)}:{line}: broken YAML: {problem}; correct this line")


def _value(node: yaml.Node, path: PathKey, document: Document) -> Any:
    if len(path) > _DEPTH or len(document.places) > _VALUES:
        raise document.error(path[:4], "grows without end; a '*name' stands inside its own '&name', or too often")
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
