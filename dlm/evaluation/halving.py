"""The cells of a bundle within a budget of forward passes: sampled rung by rung, and scored in between."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlm.errors import DataError, SettingsError
from dlm.evaluation.harness import run
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.racing import Answers, Fate, race
from dlm.files import read_json
from dlm.progress import say
from dlm.settings.metrics import metric_kind
from dlm.settings.sweep import Budget

if TYPE_CHECKING:
    from lm_eval.tasks.manager import TaskDict

    from dlm.evaluation.replay import RecordedLM
    from dlm.params import Cell

STOPPED = "halving.json"
"""Beside a bundle's records: how far each of its cells came."""
_FORMAT = "dlm-halving/2"


@dataclass(frozen=True)
class HalvingBudget:
    """What a bundle may spend."""

    rungs: Budget
    forward_passes: int
    """On each task."""
    kept: frozenset[tuple[str, str]] = frozenset()
    """(task, setting) of the baselines, which are never stopped for being behind."""
    repeats: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By (task, setting) of a further seed: the setting that it repeats, with which it is one competitor."""


def halve(
    cells: Sequence[Cell],
    loaded: Mapping[str, TaskDict],
    recorded: Callable[[Cell], RecordedLM],
    budget: HalvingBudget,
) -> dict[str, Any]:
    """Answer the cells of a bundle as far as the budget goes; return how far each came, as its file has it.

    Raises:
        SettingsError: a task is a group, whose documents are not one list.
    """
    found = []
    for task in dict.fromkeys(cell.task for cell in cells):
        tasks = loaded[task]
        seeds: dict[str, list[Cell]] = {}
        for cell in cells:
            if cell.task == task:
                seeds.setdefault(budget.repeats.get((task, cell.setting), cell.setting), []).append(cell)
        (first, *_), *_ = seeds.values()
        documents = _documents(tasks, first)

        def answer(
            setting: str, count: int, seeds: Mapping[str, Sequence[Cell]] = seeds, tasks: TaskDict = tasks
        ) -> Answers:
            return _mean([_answers(_limited(cell, count), tasks, recorded) for cell in seeds[setting]])

        kept = [setting for name, setting in budget.kept if name == task]
        kind = metric_kind(first.task_settings.metric)
        fates = race(list(seeds), documents, answer, budget.rungs, budget.forward_passes, kind, kept)
        stopped = [fate for fate in fates if fate.reason]
        say(f"{task}: {len(stopped)} of {len(fates)} settings stopped before the last of {documents} documents")
        for fate in fates:
            repeated = [cell.setting for cell in seeds[fate.setting]]
            found.append({"task": task, **dataclasses.asdict(fate), "seeds": repeated})
    return {
        "format": _FORMAT,
        "forward_passes": budget.forward_passes,
        **dataclasses.asdict(budget.rungs),
        "cells": found,
    }


def _answers(cell: Cell, tasks: TaskDict, recorded: Callable[[Cell], RecordedLM]) -> Answers:
    lm = recorded(cell)
    scored = read_outcome(run(lm, tasks, cell), tasks, cell).documents
    passes = {record["what"]: record["forward_passes"] for _, record in lm.used}
    return Answers(
        tuple(document.numerator for document in scored),
        tuple(document.weight for document in scored),
        sum(passes.values()),
    )


def _mean(seeds: Sequence[Answers]) -> Answers:
    """Return what each document counted on average over the seeds, at the cost of all."""
    if len(seeds) == 1:
        return seeds[0]
    each = zip(*(answers.numerators for answers in seeds), strict=True)
    means = tuple(math.fsum(counted) / len(seeds) for counted in each)
    return Answers(means, seeds[0].weights, sum(answers.forward_passes for answers in seeds))


@dataclass(frozen=True)
class Stopped:
    """How far the cells of a bundle came."""

    fates: Mapping[tuple[str, str], Fate]

    def as_answered(self, cell: Cell) -> Cell:
        """Return a cell with the documents that it answered."""
        fate = self.fates.get((cell.task, cell.setting))
        return cell if fate is None else _limited(cell, fate.documents)

    def told(self, cell: Cell) -> dict[str, Any]:
        """Return what the scores of a cell say of it; nothing where it answered all."""
        fate = self.fates.get((cell.task, cell.setting))
        if fate is None or not fate.reason:
            return {}
        return {"stopped": {"reason": fate.reason, "documents": fate.documents, "of": fate.of, "p_value": fate.p_value}}


def read_stopped(folder: Path) -> Stopped:
    """Read how far the cells of a bundle came; all of them to the end where there was no budget.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / STOPPED
    if not path.is_file():
        return Stopped({})
    content = read_json(path)
    try:
        if content["format"] != _FORMAT:
            raise DataError(f"{path}: format '{content['format']}', expected '{_FORMAT}'; run `dlm sample` again")
        fates: dict[tuple[str, str], Fate] = {}
        for told in content["cells"]:
            task, seeds, fate = told["task"], told["seeds"], {**told}
            del fate["task"], fate["seeds"]
            fates |= {(task, setting): Fate(**fate) for setting in seeds}
        return Stopped(fates)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error}); run `dlm sample` again") from error


def _documents(tasks: TaskDict, cell: Cell) -> int:
    """Return how many documents a cell asks."""
    if len(tasks["tasks"]) != 1:
        raise SettingsError(f"task '{cell.task}': a budget goes over the documents of one task, not of a group")
    (task,) = tasks["tasks"].values()
    count = len(list(task.eval_docs))
    limit = cell.task_settings.limit
    return count if limit is None else min(limit, count)


def _limited(cell: Cell, count: int) -> Cell:
    return dataclasses.replace(cell, task_settings=dataclasses.replace(cell.task_settings, limit=count))
