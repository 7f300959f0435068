"""What a row of a table asks, with every name resolved to the settings behind it, and in which of them two rows differ.

What is compared is what is meant to change a result. Titles, names, seeds and how models are run (device, dtype, batch
size, threads) are left out, and so is where a copy of a test set lies.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dlm.params.cells import row_cells
from dlm.params.schema import Params
from dlm.settings import FixedTestSet, Scratch, TableRow, TrainedCheckpoint
from dlm.settings.telling import word

_ASIDE = (
    "title", "benchmark", "chance", "output", "seeds",  # of tables, and how often is asked
    "sampler", "likelihood", "dataset", "response_prefix", "prefix_for",  # resolved
)  # fmt: skip
"""Fields of a task that are no settings of what is asked, or stand beside them as a row has them."""
_RUN_OF_RECIPE = (
    "micro_batch_size", "gradient_checkpointing", "streaming", "evaluations", "evaluation_rows", "checkpoint_seconds",
)  # fmt: skip
"""Fields of a recipe that say how a training is run and watched: its updates are the same."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST = 60


class Change(NamedTuple):
    """A setting that differs."""

    name: str
    """Dotted, as in a params file: `sampler.selector.steps`."""
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"{self.name} {_told(self.ours)}, published {_told(self.theirs)}"


def asked(params: Params, row: TableRow, task: str) -> dict[str, Any]:
    """Return all that a row asks for one task, nested as params files are: sampler, shots, data, checkpoint, …"""
    cell = row_cells(params, row, task)[0]
    told = dataclasses.asdict(cell.task_settings)
    return {
        **{name: value for name, value in told.items() if name not in _ASIDE},
        "chat": cell.chat,
        "response_prefix": cell.response_prefix,
        "sampler": cell.sampler and dataclasses.asdict(cell.sampler),
        "likelihood": cell.likelihood and dataclasses.asdict(cell.likelihood),
        "dataset": cell.dataset and _data(params, cell.dataset),
        "checkpoint": _checkpoint(params, cell.checkpoint),
    }


def changes(ours: Any, theirs: Any, name: str = "") -> Iterator[Change]:
    """Yield the settings in which ``ours`` differs from ``theirs``, both of `asked`, in their order.

    Where two things are not of one `kind` that alone is named, and what they are told by is not. A commit in the place
    of a branch or a tag is no change: it is what that stood for.
    """
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        keys = dict.fromkeys([*ours, *theirs]) if ours.get("kind") == theirs.get("kind") else ["kind"]
        for key in keys:
            yield from changes(ours.get(key), theirs.get(key), f"{name}.{key}" if name else key)
    elif ours != theirs and not (name.endswith("revision") and _is_pinned(ours, theirs)):
        yield Change(name, ours, theirs)


def _data(params: Params, name: str) -> dict[str, Any]:
    told = dataclasses.asdict(params.data[name])
    if isinstance(params.data[name], FixedTestSet):
        told.pop("path")
    return told


def _checkpoint(params: Params, name: str) -> dict[str, Any]:
    """Return what makes a checkpoint: its entry, with what it is trained from, on and by in place of their names."""
    entry = params.checkpoints[name]
    told = dataclasses.asdict(entry)
    if isinstance(entry, TrainedCheckpoint):
        told.pop("sampler")  # stored beside the weights; rows are answered by their own
        recipe = dataclasses.asdict(params.recipes[entry.recipe])
        told["recipe"] = {key: value for key, value in recipe.items() if key not in _RUN_OF_RECIPE}
        told["dataset"] = {str(place): _data(params, data) for place, data in enumerate(entry.datasets)}
    start = getattr(entry, "start", None)
    if isinstance(start, Scratch):
        known = _data if start.tokenizer in params.data else _checkpoint
        told["start"]["tokenizer"] = known(params, start.tokenizer)
    elif start is not None:
        told["start"] = _checkpoint(params, start)
    return told


def _is_pinned(ours: Any, theirs: Any) -> bool:
    return bool(_COMMIT.fullmatch(str(ours))) and not _COMMIT.fullmatch(str(theirs))


def _told(value: Any) -> str:
    """Return a value in a few words: one line, without the `;` that stands between settings."""
    if isinstance(value, Mapping):
        return str(value.get("kind", "given"))
    text = word(value)
    if isinstance(value, str) and (not text.strip() or not text.isprintable()):
        text = json.dumps(text, ensure_ascii=False)
    text = text.replace(";", ",")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
