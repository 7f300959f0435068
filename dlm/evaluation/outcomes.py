"""What lm-eval made of a cell, read out of its results document by document."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlm.errors import SettingsError, did_you_mean
from dlm.evaluation.request import document_id
from dlm.files import digest
from dlm.settings.metrics import MetricKind, metric_kind

if TYPE_CHECKING:
    from lm_eval.tasks.manager import TaskDict

    from dlm.params import Cell

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Document:
    """One document as lm-eval scored it."""

    task: str
    """lm-eval's name of the task; of the member, where the task is a group."""
    position: int
    """Index in the test set."""
    doc_id: str | int
    target: Any
    filtered: Any
    """What the filter made of the answer; for choices, the (log-likelihood, greedy) pairs."""
    numerator: float
    """What was right of the weight; of a loss the negative log-likelihood, in nats or bits."""
    weight: float


@dataclass(frozen=True)
class Outcome:
    """A metric's value and what it is made of (`dlm.settings.metrics`)."""

    value: float
    """lm-eval's own number."""
    stderr: float | None
    """lm-eval's own standard error, where it gives one."""
    documents: tuple[Document, ...]
    content: str
    """Digest of the documents that were asked, questions and answers included."""


def read_outcome(results: Mapping[str, Any], tasks: TaskDict, cell: Cell) -> Outcome:
    """Read the cell's metric out of lm-eval's results, document by document.

    Raises:
        SettingsError: the task has no such metric or filter, or the metric is neither a share nor a loss of documents.
    """
    settings = cell.task_settings
    scores = results["results"].get(settings.lm_eval, {})
    key = f"{settings.metric},{settings.filter}"
    if key not in scores:
        known = [name for name in scores if "," in name and "_stderr," not in name]
        raise SettingsError(f"task '{cell.task}': lm-eval gives no '{key}' (metric,filter); {did_you_mean(key, known)}")
    samples = [
        (name, sample)
        for name in tasks["tasks"]
        for sample in results["samples"][name]
        if sample["filter"] == settings.filter
    ]
    value, stderr = float(scores[key]), scores.get(f"{settings.metric}_stderr,{settings.filter}")
    kind = metric_kind(settings.metric)
    documents = _weighted([_document(name, sample, settings.metric, kind) for name, sample in samples], value, cell)
    return Outcome(
        value=value,
        stderr=float(stderr) if isinstance(stderr, int | float) else None,
        documents=documents,
        content=digest([sample["doc_hash"] for _, sample in samples]),
    )


def _document(task: str, sample: Mapping[str, Any], metric: str, kind: MetricKind) -> Document:
    found = sample[metric]
    counted, weight = found if isinstance(found, tuple | list) else (found, 1)
    return Document(
        task=task,
        position=sample["doc_id"],
        doc_id=document_id(sample["doc"], sample["doc_id"]),
        target=sample["target"],
        filtered=sample["filtered_resps"],
        numerator=kind.in_unit(-_number(counted)) if kind.loss else _number(counted),
        weight=_number(weight),
    )


def _weighted(documents: list[Document], value: float, cell: Cell) -> tuple[Document, ...]:
    """Return the documents with weights under which they give ``value``: their own, or, in a group that takes the mean
    of its members' means, divided by the member's number of documents.
    """
    kind = metric_kind(cell.task_settings.metric)
    sizes: dict[str, int] = {}
    for document in documents:
        sizes[document.task] = sizes.get(document.task, 0) + 1
    by_member = [
        dataclasses.replace(
            document,
            numerator=document.numerator / sizes[document.task],
            weight=document.weight / sizes[document.task],
        )
        for document in documents
    ]
    for candidate in (documents,) if kind.loss else (documents, by_member):
        weight = math.fsum(document.weight for document in candidate)
        numerator = math.fsum(document.numerator for document in candidate)
        if weight > 0 and math.isclose(
            kind.value(numerator / weight), value, rel_tol=_TOLERANCE if kind.loss else 0, abs_tol=_TOLERANCE
        ):
            return tuple(candidate)
    wanted = "that of the loss over all its documents" if kind.loss else "a share of what its documents ask for"
    raise SettingsError(
        f"task '{cell.task}': metric '{cell.task_settings.metric}' is not {wanted}, so a table cannot give it an "
        "error; choose a metric that is (such as acc, exact_match or word_perplexity)"
    )


def _number(value: Any) -> float:
    """Turn a Python or numpy number into a plain one; whole numbers stay whole."""
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if isinstance(plain, int) and not isinstance(plain, bool) else float(plain)
