"""One cell of ``scores.json``, and the lines of ``samples.jsonl`` behind it."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlm.evaluation.harness import config_digest, task_versions
from dlm.evaluation.outcomes import Outcome
from dlm.evaluation.replay import Used
from dlm.evaluation.request import cut
from dlm.files import digest
from dlm.ordering import order_tau
from dlm.settings.metrics import metric_kind

if TYPE_CHECKING:
    from lm_eval.tasks.manager import TaskDict

    from dlm.params import Cell


def scored_cell(cell: Cell, tasks: TaskDict, outcome: Outcome, used: Sequence[Used], checkpoint: str) -> dict[str, Any]:
    """Return one cell of ``scores.json``.

    Args:
        cell: what was asked.
        tasks: lm-eval's tasks.
        outcome: what lm-eval made of it.
        used: the requests with their records.
        checkpoint: digest of the checkpoint's manifest.
    """
    config, versions = config_digest(tasks), task_versions(tasks)
    name = cell.task_settings.lm_eval
    records = list({record["what"]: record for _, record in used}.values())
    several = len(tasks["tasks"]) > 1
    return {
        "task": cell.task,
        "setting": cell.setting,
        "chat": cell.chat,
        "response_prefix": cell.response_prefix,
        "metric": cell.task_settings.metric,
        "filter": cell.task_settings.filter,
        "value": outcome.value,
        "n": len(outcome.documents),
        "doc_ids": [f"{d.task}/{d.doc_id}" if several else d.doc_id for d in outcome.documents],
        "numerators": [document.numerator for document in outcome.documents],
        "weights": [document.weight for document in outcome.documents],
        **_monte_carlo(cell, outcome, used),
        "lm_eval": {
            "version": importlib.metadata.version("lm_eval"),
            "task": name,
            "task_version": versions if several else versions[name],
            "stderr": outcome.stderr,
            "config": config,
        },
        "checkpoint": checkpoint,
        "what": digest([config, outcome.content, [record["what"] for _, record in used]]),
        "how": list(dict.fromkeys(record["how"] for record in records)),
        **_totals(records, cell.response_prefix),
    }


def _monte_carlo(cell: Cell, outcome: Outcome, used: Iterable[Used]) -> dict[str, list[float | None]]:
    """Return, of a loss, the Monte-Carlo standard error of each document's numerator; None where one is not known."""
    kind = metric_kind(cell.task_settings.metric)
    if not kind.loss:
        return {}
    by_document = _by_document(used)
    errors = []
    for document in outcome.documents:
        parts = [record["mc_stderr"] for record in by_document[document.task, document.position]]
        errors.append(None if None in parts else kind.in_unit(math.hypot(*parts)))
    return {"mc_stderrs": errors}


def _by_document(used: Iterable[Used]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the records of each document, by task and position."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for request, record in used:
        found.setdefault((request.task, request.position), []).append(record)
    return found


def _totals(records: Sequence[dict[str, Any]], prefix: str) -> dict[str, Any]:
    """Return what the cell's distinct requests cost, and how its sampled answers look."""
    totals: dict[str, Any] = {
        "requests": len(records),
        "forward_passes": sum(record["forward_passes"] for record in records),
        "seconds": round(sum(record["seconds"] for record in records), 3),
    }
    if answers := [record for record in records if record["kind"] == "generate"]:
        scored = (cut(record["response"], prefix, record.get("until", ())) for record in answers)
        empty = sum(not text[len(prefix) :].strip() for text in scored)
        totals["empty_share"] = empty / len(answers)
        totals["truncated_share"] = sum(not record["stopped"] for record in answers) / len(answers)
        totals |= _speeds(answers)
    return totals


def _speeds(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return what answers have of tokens, up to their first stop token or text; of their order, if all record it."""
    tokens, passes = sum(each["tokens"] for each in answers), sum(each["forward_passes"] for each in answers)
    found = {"mean_tokens": tokens / len(answers), "tokens_per_pass": tokens / passes if passes else 0.0}
    recorded = answers if all("steps" in each for each in answers) else []
    taus = [order_tau(each["steps"][: each["tokens"]]) for each in recorded]
    if known := [tau for tau in taus if tau is not None]:
        found["order_tau"] = sum(known) / len(known)
    return found


def sample_lines(cell: Cell, outcome: Outcome, used: Iterable[Used]) -> Iterator[dict[str, Any]]:
    """Yield the lines of ``samples.jsonl``: every document with what was asked, what came back and what it counted."""
    by_document = _by_document(used)
    for document in outcome.documents:
        records = by_document[document.task, document.position]
        yield {
            "task": cell.task,
            "setting": cell.setting,
            "chat": cell.chat,
            "doc_id": document.doc_id,
            "prompt": records[0]["prompt"] + cell.response_prefix,
            **_responses(records),
            "target": document.target,
            "outcome": {
                "metric": cell.task_settings.metric,
                "filter": cell.task_settings.filter,
                "numerator": document.numerator,
                "weight": document.weight,
                "filtered": document.filtered,
            },
            "what": [record["what"] for record in records],
        }


def _responses(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if records[0]["kind"] == "likelihood":
        return {
            "choices": [record["continuation"] for record in records],
            "loglikelihoods": [record["loglikelihood"] for record in records],
            "mc_stderrs": [record["mc_stderr"] for record in records],
        }
    responses = [record["response"] for record in records]
    return {"response": responses[0]} if len(responses) == 1 else {"responses": responses}
