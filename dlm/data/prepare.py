"""Prepare what a params file names under ``data``: a folder of rows or a tokenizer, with its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from dlm.data.hub import hub_rows
from dlm.data.mixtures import Row, Split, contents, mixture_rows, problem_documents
from dlm.data.repository import fetch_benchmark
from dlm.data.testsets import fixed_documents, own_documents
from dlm.data.tokenizer import train_tokenizer
from dlm.data.trainingsets import own_rows
from dlm.errors import DataError, SettingsError, did_you_mean
from dlm.files import (
    atomic_open,
    jsonl_line,
    read_jsonl,
    read_manifest,
    replacing_folder,
    write_jsonl,
    write_manifest,
)
from dlm.settings.data import (
    Benchmark,
    DataSettings,
    FixedTestSet,
    GeneratedMixture,
    GeneratedProblems,
    HubDataset,
    OwnDocuments,
    OwnRows,
    ProblemSettings,
    TokenizerData,
)


def prepare(
    name: str,
    settings: DataSettings,
    problems: ProblemSettings,
    out_dir: str | Path,
    corpora: Mapping[str, Path],
    made_from: Mapping[str, Any],
) -> dict[str, Any]:
    """Make the files of ``settings`` in ``out_dir``, which is replaced as a whole, and return their manifest.

    A training set gives ``train.jsonl`` and ``held_out.jsonl``, a test set ``test.jsonl``, a tokenizer its
    own files, a benchmark the files of its repository. ``corpora`` has the prepared folder of each mixture that a
    tokenizer is trained on. The manifest's ``made_from`` is the given one, with what only preparing finds out: the
    ``source`` of what was fetched, or the digests of the ``corpora``.
    """
    with replacing_folder(Path(out_dir)) as folder:
        found = _make(settings, problems, folder, corpora)
        kind = _KINDS.get(type(settings), "dataset")
        return write_manifest(folder, kind=kind, name=name, made_from={**made_from, **found})


_KINDS: Mapping[type, str] = {TokenizerData: "tokenizer", Benchmark: "benchmark"}
"""What a manifest calls a folder that does not hold rows of the project's own form."""


def load_rows(folder: str | Path, split: str) -> list[Row]:
    """Return the rows of ``split`` (train, held_out or test) of a prepared folder.

    Raises:
        DataError: the folder or split does not exist, a line is damaged (named with its path and number), or the files
            are not those of the manifest.
    """
    path = Path(folder) / f"{split}.jsonl"
    files = read_manifest(folder, verify=False)["files"]
    if path.name not in files:
        raise DataError(f"{path}: no such rows were prepared; this folder holds {', '.join(files) or 'nothing'}")
    rows = list(read_jsonl(path))
    read_manifest(folder)
    return rows


def load_joined(folders: Sequence[Path], split: str) -> list[Row]:
    """Return the rows of ``split`` of several prepared folders.

    Training rows follow one another, folder by folder; of the held-out rows each folder gives one in turn, so that the
    first so many, which are what is measured, are of every folder.

    Raises:
        DataError: as ``load_rows``.
    """
    parts = [load_rows(folder, split) for folder in folders]
    if split == "held_out":
        return [row for turn in zip_longest(*parts) for row in turn if row is not None]
    return list(chain.from_iterable(parts))


def _make(
    settings: DataSettings, problems: ProblemSettings, folder: Path, corpora: Mapping[str, Path]
) -> dict[str, Any]:
    """Write the files into ``folder``; return what is to be added to ``made_from``."""
    if isinstance(settings, TokenizerData):
        return _make_tokenizer(settings, folder, corpora)
    if isinstance(settings, GeneratedMixture):
        return _write_split(folder, mixture_rows(settings, problems))
    if isinstance(settings, GeneratedProblems):
        write_jsonl(folder / "test.jsonl", problem_documents(settings, problems))
        return {}
    if isinstance(settings, FixedTestSet):
        documents, source = fixed_documents(settings)
        write_jsonl(folder / "test.jsonl", documents)
        return {"source": source}
    if isinstance(settings, OwnDocuments):
        documents, source = own_documents(settings)
        write_jsonl(folder / "test.jsonl", documents)
        return {"source": source}
    if isinstance(settings, HubDataset):
        rows, commit = hub_rows(settings)
        return _write_rows(folder, rows, settings.repository, {"commit": commit})
    if isinstance(settings, OwnRows):
        rows, source = own_rows(settings)
        return _write_rows(folder, rows, settings.path, source)
    if isinstance(settings, Benchmark):
        return {"source": fetch_benchmark(settings, folder)}
    raise TypeError(f"no such data settings: {type(settings).__name__}")


def _write_split(folder: Path, split: Split) -> dict[str, Any]:
    write_jsonl(folder / "train.jsonl", split.train)
    write_jsonl(folder / "held_out.jsonl", split.held_out)
    return {}


def _write_rows(
    folder: Path, rows: Iterator[tuple[bool, Row]], where: str, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Write rows as they come, each to the one file or the other."""
    trained = 0
    with atomic_open(folder / "train.jsonl") as train, atomic_open(folder / "held_out.jsonl") as held_out:
        for held, row in rows:
            (held_out if held else train).write(jsonl_line(row))
            trained += not held
    if not trained:
        raise DataError(f"{where}: nothing to train on: every row that is kept is held out; lower held_out_share")
    return {"source": source}


def _make_tokenizer(settings: TokenizerData, folder: Path, corpora: Mapping[str, Path]) -> dict[str, Any]:
    for name in settings.corpora:
        if name not in corpora:
            raise SettingsError(f"corpora: no prepared data '{name}'; {did_you_mean(name, corpora)}")
    train_tokenizer(settings, list(_texts(settings, corpora)), folder)
    return {"corpora": {name: read_manifest(corpora[name])["digest"] for name in settings.corpora}}


def _texts(settings: TokenizerData, corpora: Mapping[str, Path]) -> Iterator[str]:
    """Yield every text of the corpora, and the role of every message, which the chat template writes."""
    for name in settings.corpora:
        for row in load_rows(corpora[name], "train"):
            yield from contents(row)
            yield from (message["role"] for message in row.get("messages", ()))
