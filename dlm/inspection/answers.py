"""The answers behind a cell, document by document, each with its outcome and, where it was recorded, its order."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlm.errors import DataError
from dlm.files import read_jsonl
from dlm.inspection.reading import json_at, rows_at
from dlm.inspection.rows import Row

SAMPLES = "samples.jsonl"
RECORDS = "records.jsonl"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one document."""

    doc_id: str | int
    prompt: str
    """As rendered, with what every answer was made to begin with."""
    response: str
    """The sampled text; of given choices, each with its log-likelihood (nats), a line each."""
    target: str
    numerator: float
    """What it counted of the weight; of a loss its negative log-likelihood."""
    weight: float
    records: tuple[str, ...] = field(default=())
    """*what* fingerprints of its requests."""

    @property
    def share(self) -> float:
        """What it counted, from 0 to 1; of a loss per unit of length."""
        return self.numerator / self.weight


def answers_of(row: Row) -> list[Answer]:
    """Return the answers of a row's documents, in the order in which they were scored.

    Raises:
        DataError: `samples.jsonl` beside the scores is missing, or of others than these scores.
    """
    path = row.scores.with_name(SAMPLES)
    begin, own = 0, _key({"task": row.cell.task, "setting": row.cell.setting, **row.cell.extra})
    for cell in json_at(row.scores)["cells"]:  # the lines stand in the order of the cells
        if _key(cell) == own:
            break
        begin += cell["n"]
    lines = rows_at(path, begin, row.cell.n)
    if [(line["outcome"]["numerator"], line["outcome"]["weight"]) for line in lines] != list(
        zip(row.cell.numerators, row.cell.weights, strict=True)
    ):
        again = f"run `dlm score {row.checkpoint} --scale {row.layout.scale}` again"
        raise DataError(f"{path}: not the answers that {row.scores.name} beside it counts; {again}")
    names = row.cell.extra.get("doc_ids") or [line["doc_id"] for line in lines]  # of a group, with the member's name
    return [_answer(line, doc_id) for line, doc_id in zip(lines, names, strict=True)]


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a sampled answer."""

    record: Mapping[str, Any]
    """Its line of `records.jsonl`."""
    settings: Mapping[str, Any]
    """The sampler's."""
    path: Path
    """The file that holds it."""


def record_of(row: Row, answer: Answer) -> Recorded | None:
    """Return the record of an answer that was sampled in one request; None: its records are not here, or several."""
    if len(answer.records) != 1:
        return None
    path = row.layout.base / "responses" / row.checkpoint / row.bundle / RECORDS
    if not path.is_file():
        return None
    records, asked = _records(path)
    record = records.get(answer.records[0])
    if record is None:
        return None
    return Recorded(record, asked.get(record.get("asked", ""), {}).get("settings", {}), path)


@functools.lru_cache(maxsize=4)
def _records(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Read a bundle's records by fingerprint, and what they have in common by digest."""
    records, asked = {}, {}
    for line in read_jsonl(path):
        if "what" in line:
            records[line["what"]] = line
        elif line["kind"] == "asked":
            asked[line["id"]] = line["content"]
    return records, asked


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell.get(key) for key in ("task", "setting", "chat", "response_prefix"))


def _answer(line: Mapping[str, Any], doc_id: str | int) -> Answer:
    outcome = line["outcome"]
    return Answer(
        doc_id=doc_id,
        prompt=line["prompt"],
        response=_response(line),
        target=str(line["target"]),
        numerator=outcome["numerator"],
        weight=outcome["weight"],
        records=tuple(line["what"]),
    )


def _response(line: Mapping[str, Any]) -> str:
    if "response" in line:
        return str(line["response"])
    if "responses" in line:
        return "\n---\n".join(map(str, line["responses"]))
    pairs = zip(line["choices"], line["loglikelihoods"], strict=True)
    return "\n".join(f"{loglikelihood:9.3f}  {choice}" for choice, loglikelihood in pairs)
