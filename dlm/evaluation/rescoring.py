"""Answers from files, scored by the tasks with which the pipeline scores its own. Needs no weights and no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from dlm.errors import SettingsError, did_you_mean
from dlm.evaluation.generation_files import Generation, Setting, read_generations
from dlm.evaluation.harness import load_own_task, run
from dlm.evaluation.outcomes import read_outcome
from dlm.evaluation.request import cut, requests_of
from dlm.params import Cell
from dlm.params.task_files import own_tasks
from dlm.settings import Task


@dataclass(frozen=True, kw_only=True)
class Rescored:
    """The score of all answers of one setting."""

    setting: Setting
    n: int
    """Number of answers."""
    value: float
    """Share of what was asked that is right (0 to 1): lm-eval's own number."""
    metric: str
    filter: str


def score_generations(paths: Iterable[str | Path], filter_name: str | None = None) -> list[Rescored]:
    """Score files of answers, a result a setting, in the order in which the files bring them.

    Each task's answers go through lm-eval, its filter and its metric; the documents are made of the files, so nothing
    is fetched.

    Args:
        paths: files as `dlm.evaluation.generation_files` describes; a setting may be spread over several.
        filter_name: the tasks' answer filter; None: the one that the pipeline uses.

    Raises:
        DataError: a file is missing or damaged; names file and line.
        SettingsError: a task has no such filter.
    """
    by_setting: dict[Setting, list[Generation]] = {}
    for path in paths:
        for generation in read_generations(path):
            by_setting.setdefault(generation.setting, []).append(generation)
    return [_score(setting, generations, filter_name) for setting, generations in by_setting.items()]


def _score(setting: Setting, generations: Sequence[Generation], filter_name: str | None) -> Rescored:
    cell = _cell(setting, filter_name)
    rows = [
        {"id": f"{setting.task}-{number}", "question": generation.question, **generation.fields}
        for number, generation in enumerate(generations)
    ]
    tasks = load_own_task(cell.task_settings.lm_eval, rows)
    outcome = read_outcome(run(_Answered([one.text for one in generations]), tasks, cell), tasks, cell)
    asked = cell.task_settings
    return Rescored(
        setting=setting, n=len(outcome.documents), value=outcome.value, metric=asked.metric, filter=asked.filter
    )


def _cell(setting: Setting, filter_name: str | None) -> Cell:
    """Return what the pipeline would ask with, as far as scoring looks at it."""
    name, file = next((name, file) for name, file in own_tasks().items() if file.generations == setting.task)
    if filter_name is not None and filter_name not in file.filters:
        raise SettingsError(
            f"task '{setting.task}' has no filter '{filter_name}'; {did_you_mean(filter_name, file.filters)}"
        )
    task = Task(
        title=setting.task,
        lm_eval=name,
        output="generate",
        metric=file.metrics[0],
        filter=filter_name or file.filters[0],
    )
    return Cell(
        checkpoint="",
        task=setting.task,
        task_settings=task,
        setting="",
        chat=False,
        response_prefix="",
        sampler=None,
        likelihood=None,
        seed=0,
        dataset=None,
    )


class _Answered(LM):
    """Gives every document its answer, whatever the prompt."""

    def __init__(self, answers: Sequence[str]) -> None:
        super().__init__()
        self._answers = answers

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return [cut(self._answers[request.position], "", request.until) for request in requests_of(requests)]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        raise NotImplementedError("files of answers hold no likelihoods")

    loglikelihood_rolling = loglikelihood
