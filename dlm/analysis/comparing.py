"""Two results side by side: every setting in which they differ, and what the difference of their scores means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import norm

from dlm.analysis.cells import Cell, read_cells
from dlm.analysis.estimates import Estimate, Gain, paired_gain
from dlm.errors import DataError, SettingsError, did_you_mean
from dlm.files import MANIFEST, read_json, read_manifest
from dlm.settings.telling import flat, word

_ASKED = ("task", "setting", "chat", "response_prefix")
_ABSENT = "—"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One (checkpoint, task, setting), and all that is recorded of how it came about."""

    name: str
    cell: Cell
    told: Mapping[str, str]
    """Dotted names and values of settings, data, weights, code and execution."""

    @property
    def estimate(self) -> Estimate:
        """The score with its interval."""
        return self.cell.estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What tells two results apart."""

    one: Result
    other: Result
    differing: tuple[tuple[str, str, str], ...]
    """(setting, the one's value, the other's), sorted by name."""
    paired: Gain | None
    """The other's score minus the one's over the same documents; None: they were not asked the same."""
    p_value: float | None
    """Two-sided probability of a difference so large where there is none; None: no error is known."""

    @property
    def difference(self) -> float:
        """The other's score minus the one's; of perplexities their logarithms' difference."""
        return self.other.estimate.rate - self.one.estimate.rate


def compare(one: Result, other: Result) -> Comparison:
    """Compare two results of one metric.

    Raises:
        SettingsError: their metrics are not the same.
    """
    if (one.cell.metric, one.cell.filter) != (other.cell.metric, other.cell.filter):
        metrics = " and ".join(f"{side.cell.metric} ({side.cell.filter})" for side in (one, other))
        raise SettingsError(f"{one.name}, {other.name}: scored by {metrics}, which cannot be compared")
    keys = sorted({*one.told, *other.told})
    sides = [(key, one.told.get(key, _ABSENT), other.told.get(key, _ABSENT)) for key in keys]
    paired = None
    if _documents(one) == _documents(other) and one.cell.weights == other.cell.weights:
        before, after = ((side.cell.numerators, side.cell.weights) for side in (one, other))
        paired = paired_gain(before, after, one.cell.kind)
    return Comparison(
        one=one,
        other=other,
        differing=tuple(side for side in sides if side[1] != side[2]),
        paired=paired,
        p_value=_p_value(one, other, paired),
    )


def find_result(root: Path, scale: str, name: str) -> Result:
    """Find a result in a project's scores.

    Args:
        root: the project.
        scale: of its params.
        name: ``MODEL/TASK`` or, where a model answered a task at several settings, ``MODEL/TASK/SETTING``.

    Raises:
        SettingsError: the name fits no result, or several.
        DataError: a record is damaged.
    """
    parts = name.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise SettingsError(f"'{name}': name a result as MODEL/TASK or MODEL/TASK/SETTING")
    base = root / "results" / scale
    folders = {path.name: path for path in (base / "scores").glob("*") if not path.name.startswith(".")}
    if parts[0] not in folders:
        raise SettingsError(
            f"'{name}': no scores of a model '{parts[0]}' at scale '{scale}'; {_hint(parts[0], folders)}"
        )
    cells = [
        (path.parent.name, read_json(path), cell)
        for path in sorted(folders[parts[0]].glob("*/scores.json"))
        for cell in read_cells(parts[0], scale, read_json(path))
    ]
    of_task = [found for found in cells if found[2].task == parts[1]]
    if not of_task:
        raise SettingsError(
            f"'{name}': no scores of task '{parts[1]}'; {_hint(parts[1], {c.task: 0 for *_, c in cells})}"
        )
    chosen = [found for found in of_task if found[2].setting in parts[2:]] if parts[2:] else of_task
    settings = {found[2].setting: 0 for found in of_task}
    if not chosen:
        raise SettingsError(f"'{name}': not answered at setting '{parts[2]}'; {_hint(parts[2], settings)}")
    if len({(cell.setting, cell.extra.get("what"), *cell.extra.get("how", ())) for _, _, cell in chosen}) > 1:
        known = ", ".join(f"{parts[0]}/{parts[1]}/{setting}" for setting in settings)
        raise SettingsError(f"'{name}': {len(chosen)} results; name one of {known}")
    bundle, scores, cell = chosen[0]
    return result_of(base, bundle, scores, cell)


def result_of(base: Path, bundle: str, scores: Mapping[str, Any], cell: Cell) -> Result:
    """Return a cell with all that is recorded of it.

    Args:
        base: folder of everything that its scale makes.
        bundle: that its scores and responses lie in, of its checkpoint's.
        scores: content of the bundle's `scores.json`.
        cell: one of its cells.

    Raises:
        DataError: a manifest is missing or damaged.
    """
    name = f"{scores['scale']}/{scores['model']}/{cell.task}/{cell.setting}"
    return Result(name=name, cell=cell, told=_told(base, bundle, scores, cell))


def _told(base: Path, bundle: str, scores: Mapping[str, Any], cell: Cell) -> dict[str, str]:
    """Return everything that is recorded of how a cell came about, by dotted names."""
    model = str(scores["model"])
    made_from = read_manifest(base / "responses" / model / bundle, verify=False)["made_from"]
    wanted = tuple({"task": cell.task, "setting": cell.setting, **cell.extra}.get(key) for key in _ASKED)
    asked: dict[str, Any] = next(
        (each for each in made_from["settings"] if tuple(each.get(key) for key in _ASKED) == wanted), {}
    )
    settings = {key: value for key, value in asked.items() if key not in ("checkpoint", "task_settings")}
    task = {key: value for key, value in asked.get("task_settings", {}).items() if key not in ("title", "benchmark")}
    harness = {key: value for key, value in cell.extra["lm_eval"].items() if key != "stderr"}
    told = flat({"scale": scores["scale"], "model": model, **settings, "task_settings": task, "lm_eval": harness})
    # A bundle's parents are the test sets of all its cells: those of other cells are nothing of this one's.
    if (data := made_from["parents"].get(asked.get("dataset"))) is not None:
        told["digest of data"] = data
    told |= flat({"code of sampling": made_from["code"], "code of scoring": scores["code"]})
    executions = [flat(content, "execution.") for content in cell.extra["executions"].values()]
    for key in dict.fromkeys(key for each in executions for key in each):
        told[key] = word(" | ".join(dict.fromkeys(each.get(key, _ABSENT) for each in executions)))
    return told | _checkpoint(base / "checkpoints" / model, str(cell.extra["checkpoint"]))


def _checkpoint(folder: Path, digest: str) -> dict[str, str]:
    """Return what the weights were made from, where they still are those that answered."""
    told = {"checkpoint.digest": digest}
    if not (folder / MANIFEST).is_file():
        return told
    manifest = read_manifest(folder, verify=False)
    if manifest["digest"] != digest:
        return told
    made_from = manifest["made_from"]
    kept = {key: value for key, value in made_from.items() if key not in ("clock", "code", "libraries")}
    return told | flat(kept, "checkpoint.")


def _documents(result: Result) -> tuple[Any, ...]:
    """Return what identifies the documents that were asked: their test set and their ids."""
    data = result.told.get("digest of data")
    return (result.cell.task, data, tuple(result.cell.extra.get("doc_ids", range(result.cell.n))))


def _p_value(one: Result, other: Result, paired: Gain | None) -> float | None:
    """Return the p-value of the paired test where the documents are the same, else of a normal test of two samples."""
    if paired is not None:
        return paired.p_value
    errors = [one.estimate.rate_stderr, other.estimate.rate_stderr]
    error = None if None in errors else sum(each**2 for each in errors if each is not None) ** 0.5
    if not error:
        return None
    return float(2 * norm.sf(abs(other.estimate.rate - one.estimate.rate) / error))


def _hint(name: str, known: Mapping[str, Any]) -> str:
    if not known:
        raise DataError("there are no scores yet; make a table first")
    return did_you_mean(name, known)
