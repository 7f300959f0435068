"""Training sets of a hub, turned into chats or texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from dlm.data.asking import asked
from dlm.data.mixtures import Row
from dlm.data.repository import commit_of
from dlm.data.trainingsets import chosen_rows, held_out_numbers
from dlm.settings.data import HubDataset


def hub_rows(settings: HubDataset) -> tuple[Iterator[tuple[bool, Row]], str]:
    """Return the rows of a data set of the hub, each with whether it is held out, and the commit that they are from.

    The rows come one at a time, so that no more than one is in memory; which are held out is known before the first.

    Raises:
        DataError: a row is not of the format, or none is kept; while the rows come.
        RemoteError: it cannot be fetched; at once or while the rows come.
    """
    where = f"{settings.repository}@{settings.revision}"
    commit = commit_of("datasets", settings.repository, settings.revision)
    tables = asked(where, lambda: _tables(settings, settings.split, commit))
    share = 0.0 if settings.held_out_split else settings.held_out_share
    held = held_out_numbers(_count(settings, tables), share, settings.seed)
    name = "s1k" if settings.format == "s1k" else settings.repository.partition("/")[2]
    rows = ((number in held, row) for number, row in chosen_rows(_each(tables, where), settings, where, name))
    if settings.held_out_split is None:
        return rows, commit
    split, apart = settings.held_out_split, f"{where}: {settings.held_out_split}"
    tables = asked(where, lambda: _tables(settings, split, commit))
    own = ((True, row) for _, row in chosen_rows(_each(tables, where), settings, apart, f"{name}-{split}"))
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
