"""The project's own tasks as their files declare them, read without lm-eval: what a params file may ask of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from dlm.errors import SettingsError

FOLDER = Path(__file__).parents[1] / "evaluation" / "tasks"
"""Where the task files lie: data of the package, which lm-eval reads as well."""
LOCAL = "dlm_"
"""How the names of the project's own tasks begin."""


_READS = {"load": "documents", "held_out": "held_out"}
"""What the functions of `dlm.evaluation.documents` read; others read a benchmark's repository."""


@dataclass(frozen=True)
class TaskFile:
    """What a task's file says that settings have to fit."""

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


@functools.cache
def own_tasks(folder: Path = FOLDER) -> Mapping[str, TaskFile]:
    """Read the task files of a folder, by the task's name.

    Raises:
        SettingsError: a file is no YAML, or lacks what every task has; names the file.
    """
    return dict(map(_read, sorted(folder.glob("*.yaml"))))


def _read(path: Path) -> tuple[str, TaskFile]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        output = "generate" if content["output_type"] == "generate_until" else "likelihood"
        metrics = _names(content["metric_list"], "metric")
        filters = _names(content.get("filter_list", [{"name": "none"}]), "name")
        loader = content.get("custom_dataset")
        traits = bool(content.get("unsafe_code")), loader is not None, _READS.get(loader, "benchmark")
        generations = content.get("metadata", {}).get("generations")
        return str(content["task"]), TaskFile(output, metrics, filters, *traits, generations)  # type: ignore[arg-type]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: broken YAML ({' '.join(str(error).split())}); correct the file") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path}: needs task, output_type and metric_list, as the files beside it have") from error


def _names(entries: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(str(entry[key]) for entry in entries)


class _Loader(yaml.SafeLoader):
    """Reads `!function module.name` as `name`, which is what lm-eval calls a metric given as a function."""


_Loader.add_constructor("!function", lambda _, node: str(node.value).rpartition(".")[2])
