"""Training sets of a hub, turned into chats or texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from dlm.data.asking import asked
from dlm.data.chance import shuffled, stream
from dlm.data.mixtures import Row, chat, tagged
from dlm.data.repository import commit_of
from dlm.errors import DataError, RemoteError
from dlm.settings.data import HubDataset


def hub_rows(settings: HubDataset) -> tuple[Iterator[tuple[bool, Row]], str]:
    """Return the rows of a data set of the hub, each with whether it is held out, and the commit that they are from.

    The rows come one at a time, so that no more than one is in memory; which are held out is known before the first.

    Raises:
        RemoteError: it cannot be fetched, or a row is not of the format; at once or while the rows come.
    """
    where = f"{settings.repository}@{settings.revision}"
    commit = commit_of("datasets", settings.repository, settings.revision)
    tables = asked(where, lambda: _tables(settings, settings.split, commit))
    share = 0.0 if settings.held_out_split else settings.held_out_share
    held = held_out_numbers(_count(settings, tables), share, settings.seed)
    rows = ((number in held, row) for number, row in chosen_rows(_each(tables, where), settings, where))
    if settings.held_out_split is None:
        return rows, commit
    split, apart = settings.held_out_split, f"{where}: {settings.held_out_split}"
    tables = asked(where, lambda: _tables(settings, split, commit))
    own = ((True, row) for _, row in chosen_rows(_each(tables, where), settings, apart, f"{split}-"))
    return chain(rows, own), commit


def _tables(settings: HubDataset, split: str, commit: str) -> list[Any]:
    """Open a split: one table of each configuration, on this machine's disk or, if streaming, at the hub."""
    import datasets

    configs = [settings.config]
    if settings.every_config:
        configs = datasets.get_dataset_config_names(settings.repository, revision=commit)
    return [
        datasets.load_dataset(settings.repository, config, split=split, revision=commit, streaming=settings.streaming)
        for config in configs
    ]


def _count(settings: HubDataset, tables: Sequence[Any]) -> int:
    if settings.streaming:
        assert settings.rows is not None
        return settings.rows
    count = sum(len(table) for table in tables)
    return count if settings.rows is None else min(count, settings.rows)


def _each(tables: Iterable[Iterable[Mapping[str, Any]]], where: str) -> Iterator[Mapping[str, Any]]:
    for table in tables:
        rows = iter(table)
        while (row := asked(where, lambda rows=rows: next(rows, None), again=False)) is not None:  # type: ignore[misc]
            yield row


def chosen_rows(
    rows: Iterable[Mapping[str, Any]], settings: HubDataset, where: str, prefix: str = ""
) -> Iterator[tuple[int, Row]]:
    """Yield (number from 0, prepared row) of the rows that ``settings`` keeps, as they come.

    Raises:
        RemoteError: a row is not of the format (named by ``where`` and its number from 1), or none is kept.
    """
    name = "s1k" if settings.format == "s1k" else settings.repository.partition("/")[2]
    kept, number = 0, -1
    for number, row in enumerate(islice(rows, settings.rows)):
        try:
            content = row_content(row, settings)
        except DataError as error:
            raise RemoteError(f"{where}: row {number + 1}: {error}") from error
        if settings.response_contains and settings.response_contains not in content["messages"][-1]["content"]:
            continue
        kept += 1
        yield number, {"id": f"{name}-{prefix}{number}", **content}
    if not kept:
        filtered = f", none whose response contains '{settings.response_contains}'" if number >= 0 else ""
        raise RemoteError(f"{where}: nothing to train on: {number + 1} rows{filtered}")


def row_content(row: Mapping[str, Any], settings: HubDataset) -> Row:
    """Return a row of the hub as the content of a prepared row: `messages` or `text`.

    Raises:
        DataError: it is not of the format.
    """
    if settings.format == "s1k":
        return {"messages": _s1k(row)}
    if settings.format == "messages":
        return {"messages": _chat(row, settings.column or "messages")}
    if settings.format == "instruction":
        return {"messages": _instruction(row)}
    return {"text": _text(row, settings.column or "text")}


def _s1k(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the first trajectory as reasoning, the attempt as answer."""
    trajectories = row.get("thinking_trajectories")
    parts = {
        "question": row.get("question"),
        "thinking_trajectories": trajectories[0] if isinstance(trajectories, list) and trajectories else None,
        "attempt": row.get("attempt"),
    }
    for column, text in parts.items():
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"no text in column '{column}'")
    question, reasoning, attempt = (str(text).strip() for text in parts.values())
    return chat(question, tagged(reasoning, attempt))


def _chat(row: Mapping[str, Any], column: str) -> list[dict[str, str]]:
    """Return the turns up to the last one of the assistant."""
    turns = row.get(column)
    if not isinstance(turns, list):
        raise DataError(f"no list of turns in column '{column}' (columns: {', '.join(row):.100})")
    messages = []
    for place, turn in enumerate(turns, start=1):
        found = turn if isinstance(turn, Mapping) else {}
        role, content = found.get("role"), found.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            raise DataError(f"turn {place} of column '{column}' lacks the text of a role or a content")
        messages.append({"role": role, "content": content})
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if len(messages) < 2:
        raise DataError(f"column '{column}' holds no turn of the assistant that answers another")
    return messages


def _instruction(row: Mapping[str, Any]) -> list[dict[str, str]]:
    instruction, output = _text(row, "instruction"), _text(row, "output")
    more = _text(row, "input") if row.get("input") is not None else ""
    return chat(f"{instruction}\n\n{more}" if more.strip() else instruction, output)


def _text(row: Mapping[str, Any], column: str) -> str:
    text = row.get(column)
    if not isinstance(text, str):
        raise DataError(f"no text in column '{column}' (columns: {', '.join(row):.100})")
    return text


def held_out_numbers(rows: int, share: float, seed: int) -> frozenset[int]:
    """Return the numbers of the rows that are held out: ``share`` of them, at least one if the share is not 0."""
    count = min(max(round(share * rows), int(share > 0)), max(rows - 1, 0))
    return frozenset(shuffled(stream(seed, "held-out"), range(rows))[:count] if count else ())
