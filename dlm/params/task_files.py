"""Tasks as their files declare them, read without lm-eval: what a params file may ask of them.

The package's own lie beside the code; a project may have more, a person's, in its folder ``tasks/``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from dlm.errors import SettingsError

FOLDER = Path(__file__).parents[1] / "evaluation" / "tasks"
"""Where the package's task files lie, which lm-eval reads as well."""
LOCAL = "dlm_"
"""How the names of the package's tasks begin, and no others'."""
OWN = "tasks"
"""Folder of a project for a person's task files, and the Python that they name."""


_READS = {"load": "documents", "held_out": "held_out"}
"""What the functions of `dlm.evaluation.documents` read; others read a benchmark's repository."""


@dataclass(frozen=True)
class TaskFile:
    """What a task's file says that settings have to fit."""

    path: Path
    output: Literal["generate", "likelihood"]
    metrics: tuple[str, ...]
    """The first is what the task is for."""
    filters: tuple[str, ...]
    """The first is the one to take where none is asked for."""
    runs_programs: bool = False
    """Whether it runs programs that models write."""
    reads_folder: bool = False
    """Whether it reads its prepared data itself (`custom_dataset`); lm-eval loads that of the others."""
    reads: Literal["documents", "held_out", "benchmark"] = "documents"
    """What that data is: a test set of the project's form, the held-out rows of a training set of plain text, or a
    benchmark's repository."""
    generations: str | None = None
    """What files of recorded answers call the benchmark; None: there are none of it."""
    stops: bool = False
    """Whether texts end an answer (`until`; where the file does not say, lm-eval takes a blank line)."""


def own_tasks(root: str | Path = ".") -> Mapping[str, TaskFile]:
    """Read the package's task files and those of the project at ``root``, by the task's name.

    Raises:
        SettingsError: a file is no YAML, lacks what every task has, or takes a name that is the package's; names it.
    """
    package, *own = task_folders(root)
    found = dict(_read_folder(package))
    for name, file in (entry for folder in own for entry in _read_folder(folder)):
        if name.startswith(LOCAL) or name in found:
            taken = f"begins with '{LOCAL}'" if name.startswith(LOCAL) else f"is that of {found[name].path}"
            raise SettingsError(f"{file.path}: task: the name '{name}' {taken}; choose another")
        found[name] = file
    return found


def task_folders(root: str | Path = ".") -> list[Path]:
    """Return the folders of task files: the package's, then that of the project at ``root``, if there is one."""
    own = Path(root) / OWN
    return [FOLDER, *([own] if own.is_dir() and (Path(root) / "params").is_dir() else [])]


def files_beside(file: TaskFile) -> list[Path]:
    """Return what a task may be made of: its file and, in a person's folder, those that it may name. None: package."""
    folder = file.path.parent
    if folder == FOLDER:
        return []
    # What only others include may have a name without an ending, as lm-eval's own has.
    return sorted(path for path in folder.iterdir() if path.suffix in ("", ".yaml", ".py") and path.is_file())


def _read_folder(folder: Path) -> Iterator[tuple[str, TaskFile]]:
    """Yield the tasks and groups of a folder; what only other files include has no name, and is none."""
    contents = {path: _content(path) for path in sorted(folder.glob("*.yaml"))}
    named = {_name(content): content for content in contents.values()}
    for path, content in contents.items():
        if (name := _name(content)) is not None:
            yield name, _task_file(path, _with_member(content, named))


def _name(content: Mapping[str, Any]) -> str | None:
    task = content.get("group", content.get("task"))
    return task if isinstance(task, str) else None


def _with_member(content: dict[str, Any], named: Mapping[str | None, dict[str, Any]]) -> dict[str, Any]:
    """Give a group what its first member in the folder says, which the group need not say again."""
    members = content["task"] if isinstance(content.get("task"), list) else []
    names = (member.get("task") if isinstance(member, Mapping) else member for member in members)
    return {**next((named[name] for name in names if name in named), {}), **content}


def _content(path: Path) -> dict[str, Any]:
    """Read a file and what it includes, as lm-eval does: its own keys go before.

    Raises:
        SettingsError: one of them is missing or no mapping in YAML.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); correct the `include` that names it"
        ) from error
    own = dict(_mapping(path, state.st_mtime_ns, state.st_size))
    included = own.pop("include", [])
    base: dict[str, Any] = {}
    for name in included if isinstance(included, list) else [included]:
        if (path.parent / str(name)).resolve() == path.resolve():
            raise SettingsError(f"{path}: includes itself; remove that")
        base |= _content(path.parent / str(name))
    return {**base, **own}


@functools.cache
def _mapping(path: Path, changed: int, size: int) -> Mapping[str, Any]:
    """Read a YAML file; ``changed`` and ``size`` tell one state of it from another."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: broken YAML ({' '.join(str(error).split())}); correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: needs task, output_type and metric_list, as the files beside it have")
    return content


def _task_file(path: Path, content: Mapping[str, Any]) -> TaskFile:
    try:
        output = "generate" if content["output_type"] == "generate_until" else "likelihood"
        metrics = _names(content["metric_list"], "metric")
        filters = _names(content.get("filter_list", [{"name": "none"}]), "name")
        loader = content.get("custom_dataset")
        traits = bool(content.get("unsafe_code")), loader is not None, _READS.get(str(loader), "benchmark")
        generations = content.get("metadata", {}).get("generations")
        stops = output == "generate" and content.get("generation_kwargs", {}).get("until") != []
        return TaskFile(path, output, metrics, filters, *traits, generations, stops)  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path}: needs task, output_type and metric_list, as the files beside it have") from error


def _names(entries: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(str(entry[key]) for entry in entries)


class _Loader(yaml.SafeLoader):
    """Reads `!function module.name` as `name`, which is what lm-eval calls a metric given as a function."""


_Loader.add_constructor("!function", lambda _, node: str(node.value).rpartition(".")[2])
