"""Rows of generated mixtures for training, and documents of generated problems for testing.

Rows and documents are the same bytes for the same settings, on any machine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dlm.data.chance import shuffled, stream
from dlm.data.problems import Kind, Problem, distinct_keys, make_kind, side
from dlm.data.problems.base import PATIENCE
from dlm.errors import SettingsError
from dlm.settings.data import PROBLEMS, GeneratedMixture, GeneratedProblems, ProblemSettings

Row = dict[str, Any]
"""A line of a prepared file (docs/architecture.md, prepared rows)."""


@dataclass
class Split:
    """The two parts of a mixture."""

    train: list[Row] = field(default_factory=list)
    held_out: list[Row] = field(default_factory=list)


def mixture_rows(settings: GeneratedMixture, problems: ProblemSettings) -> Split:
    """Return the rows of a mixture; only train-side problems are used.

    No held-out problem is in the training rows, and no training row has the prompt (or text) of a held-out one.

    Raises:
        SettingsError: there are too few different problems.
    """
    held: dict[str, list[str]] = {}
    split = Split()
    for name, count in _held_out_counts(settings).items():
        kind = make_kind(name, problems)
        held[name] = distinct_keys(kind, count, "train", _stream(settings, name, "held-out"))
        split.held_out += _held_out_rows(kind, settings, held[name])
    prompts = {contents(row)[0] for row in split.held_out}
    for name, keys in held.items():
        split.train += _training_rows(make_kind(name, problems), settings, set(keys), prompts)
    order = _stream(settings, "order")
    return Split(shuffled(order, split.train), shuffled(order, split.held_out))


def problem_documents(settings: GeneratedProblems, problems: ProblemSettings) -> list[Row]:
    """Return the documents of a test: different test-side problems.

    A document depends on its key and the seed only, so asking for more rows keeps the first ones.

    Raises:
        SettingsError: there are too few different problems.
    """
    kind = make_kind(settings.problem, problems)
    keys = distinct_keys(kind, settings.rows, "test", stream(settings.seed, "test", kind.name))
    built = [kind.build(key, stream(settings.seed, "test", kind.name, key)) for key in keys]
    return [document(problem, f"{kind.name}-{number}") for number, problem in enumerate(built)]


def document(problem: Problem, identifier: str) -> Row:
    """Return ``problem`` as a test document."""
    return {
        "id": identifier,
        "question": question(problem),
        "answer": problem.answer,
        "key": problem.key,
        **problem.fields,
    }


def question(problem: Problem) -> str:
    """Return what the user says in a reasoning chat, and what a task asks."""
    return problem.question


def solution(problem: Problem) -> str:
    """Return what the assistant says in a reasoning chat."""
    return tagged(problem.reasoning, problem.answer)


def tagged(reasoning: str, answer: str) -> str:
    """Return ``reasoning`` and ``answer`` between their tags."""
    return f"<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>"


def chat(user: str, assistant: str) -> list[dict[str, str]]:
    """Return the messages of a chat of one turn."""
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def contents(row: Row) -> list[str]:
    """Return the texts of a training row: its text, or what each message says."""
    return [row["text"]] if "text" in row else [message["content"] for message in row["messages"]]


def _held_out_counts(settings: GeneratedMixture) -> dict[str, int]:
    """Share the held-out rows among the kinds in proportion to their training rows (cumulative rounding)."""
    total, seen, given = sum(settings.rows.values()), 0, 0
    counts = {}
    for name in PROBLEMS:
        if rows := settings.rows.get(name, 0):
            seen += rows
            counts[name] = settings.held_out * seen // total - given
            given += counts[name]
    return counts


def _stream(settings: GeneratedMixture, *parts: str) -> Random:
    return stream(settings.seed, settings.style, *parts)


def _held_out_rows(kind: Kind, settings: GeneratedMixture, keys: list[str]) -> list[Row]:
    made = [_content(kind, key, settings.style, _stream(settings, kind.name, "held-out", key)) for key in keys]
    return [{"id": f"{kind.name}-held-{number}", **content} for number, content in enumerate(made)]


def _training_rows(
    kind: Kind, settings: GeneratedMixture, held_keys: Collection[str], held_prompts: Collection[str]
) -> list[Row]:
    draws, wording = (_stream(settings, kind.name, use) for use in ("draws", "wording"))
    rows: list[Row] = []
    misses = 0
    while len(rows) < settings.rows[kind.name]:
        key = kind.draw(draws)
        usable = key is not None and key not in held_keys and all(side(each) == "train" for each in kind.covers(key))
        content = _content(kind, str(key), settings.style, wording) if usable else None
        if content is not None and contents(content)[0] not in held_prompts:
            rows.append({"id": f"{kind.name}-{len(rows)}", **content})
            misses = 0
        elif (misses := misses + 1) > PATIENCE:
            raise SettingsError(
                f"{kind.name}: no training rows are left beside {len(held_keys)} held-out ones; "
                f"lower held_out or enlarge {kind.enlarge}"
            )
    return rows


def _content(kind: Kind, key: str, style: str, random: Random) -> Row:
    if style == "instruct":
        return {"messages": chat(*kind.request(key, random))}
    problem = kind.build(key, random)
    if style == "text":
        return {"text": problem.statement}
    return {"messages": chat(question(problem), solution(problem))}
