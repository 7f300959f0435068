"""Training sets from elsewhere, a hub's or a person's own: which rows are kept, and chats or texts made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

from dlm.data.chance import shuffled, stream
from dlm.data.mixtures import Row, chat, contents, tagged
from dlm.data.rowfiles import file_rows, origin
from dlm.errors import DataError
from dlm.settings.data import HubDataset, OwnRows


def own_rows(settings: OwnRows) -> tuple[Iterator[tuple[bool, Row]], dict[str, Any]]:
    """Return the rows of a person's training set, each with whether it is held out, and the origin of each file.

    The rows come one at a time; which are held out is known before the first, for which the file is read once more.

    Raises:
        DataError: a file is missing or damaged, a row is not of the format, or none is kept; at once or while the rows
            come. The row is named.
        SettingsError: the format of a file is unknown.
    """
    share = settings.held_out_share if settings.held_out_path is None else 0.0
    held = held_out_numbers(sum(1 for _ in islice(file_rows(settings.path), settings.rows)), share, settings.seed)
    rows = ((number in held, row) for number, row in _file(settings, settings.path))
    if settings.held_out_path is None:
        return rows, origin(settings.path)
    own = ((True, row) for _, row in _file(settings, settings.held_out_path, "-held-out"))
    return chain(rows, own), {**origin(settings.path), "held_out": origin(settings.held_out_path)}


def _file(settings: OwnRows, path: str, suffix: str = "") -> Iterator[tuple[int, Row]]:
    return chosen_rows((row for _, row in file_rows(path)), settings, path, f"{PurePath(path).stem}{suffix}")


def chosen_rows(
    rows: Iterable[Mapping[str, Any]], settings: HubDataset | OwnRows, where: str, name: str
) -> Iterator[tuple[int, Row]]:
    """Yield (number from 0, prepared row) of the rows that ``settings`` keeps, as they come.

    A row's id is ``name`` and its number.

    Raises:
        DataError: a row is not of the format (named by ``where`` and its number from 1), or none is kept.
    """
    kept, number = 0, -1
    for number, row in enumerate(islice(rows, settings.rows)):
        try:
            content = row_content(row, settings)
            refuse_half_characters(contents(content))
        except DataError as error:
            raise DataError(f"{where}: row {number + 1}: {error}") from error
        if settings.response_contains and settings.response_contains not in content["messages"][-1]["content"]:
            continue
        kept += 1
        yield number, {"id": f"{name}-{number}", **content}
    if not kept:
        filtered = f", none whose response contains '{settings.response_contains}'" if number >= 0 else ""
        raise DataError(f"{where}: nothing to train on: {number + 1} rows{filtered}")


def refuse_half_characters(texts: Iterable[str]) -> None:
    """Refuse texts that were cut within a character: JSON can write a half of one, UTF-8 files cannot."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            around = text[max(error.start - 20, 0) : error.start]
            raise DataError(f"half a character (\\u{ord(text[error.start]):x}) after {around!r}; remove it") from error


def row_content(row: Mapping[str, Any], settings: HubDataset | OwnRows) -> Row:
    """Return a row from elsewhere as the content of a prepared row: `messages` or `text`.

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
        raise DataError(f"no list of turns in column '{column}' (columns: {_some(row)}); `column` names another")
    messages: list[dict[str, str]] = []
    for place, turn in enumerate(turns, start=1):
        found = turn if isinstance(turn, Mapping) else {}
        role, content = found.get("role"), found.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            there = f" (keys: {_some(found)})" if found else ""
            raise DataError(f"turn {place} of column '{column}' lacks the text of a role or a content{there}")
        messages.append({"role": role, "content": content})
    roles = dict.fromkeys(message["role"] for message in messages)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if len(messages) < 2:
        there = f" (roles: {_some(roles)})" if roles else ""
        raise DataError(f"column '{column}' holds no turn of the assistant that answers another{there}")
    return messages


def _instruction(row: Mapping[str, Any]) -> list[dict[str, str]]:
    instruction, output = _text(row, "instruction"), _text(row, "output")
    more = _text(row, "input") if row.get("input") is not None else ""
    return chat(f"{instruction}\n\n{more}" if more.strip() else instruction, output)


def _text(row: Mapping[str, Any], column: str) -> str:
    text = row.get(column)
    if not isinstance(text, str):
        raise DataError(f"no text in column '{column}' (columns: {_some(row)})")
    return text


def _some(names: Iterable[object]) -> str:
    return f"{', '.join(map(str, names)):.100}"


def held_out_numbers(rows: int, share: float, seed: int) -> frozenset[int]:
    """Return the numbers of the rows that are held out: ``share`` of them, at least one if the share is not 0."""
    count = min(max(round(share * rows), int(share > 0)), max(rows - 1, 0))
    return frozenset(shuffled(stream(seed, "held-out"), range(rows))[:count] if count else ())
