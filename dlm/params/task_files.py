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
    return sorted(path for kind in ("*.yaml", "*.py") for path in folder.glob(kind))


def _read_folder(folder: Path) -> Iterator[tuple[str, TaskFile]]:
    for path in sorted(folder.glob("*.yaml")):
        state = path.stat()
        yield _read(path, state.st_mtime_ns, state.st_size)


@functools.cache
def _read(path: Path, changed: int, size: int) -> tuple[str, TaskFile]:
    """Read a task file; ``changed`` and ``size`` tell one state of it from another."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        output = "generate" if content["output_type"] == "generate_until" else "likelihood"
        metrics = _names(content["metric_list"], "metric")
        filters = _names(content.get("filter_list", [{"name": "none"}]), "name")
        loader = content.get("custom_dataset")
        traits = bool(content.get("unsafe_code")), loader is not None, _READS.get(loader, "benchmark")
        generations = content.get("metadata", {}).get("generations")
        file = TaskFile(path, output, metrics, filters, *traits, generations)  # type: ignore[arg-type]
        return str(content["task"]), file
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: broken YAML ({' '.join(str(error).split())}); correct the file") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path}: needs task, output_type and metric_list, as the files beside it have") from error


def _names(entries: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(str(entry[key]) for entry in entries)


class _Loader(yaml.SafeLoader):
    """Reads `!function module.name` as `name`, which is what lm-eval calls a metric given as a function."""


_Loader.add_constructor("!function", lambda _, node: str(node.value).rpartition(".")[2])
