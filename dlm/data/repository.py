"""The files of a repository of a hub, at the commit that a revision stands for."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dlm.data.asking import asked
from dlm.data.download import download
from dlm.data.nltk_data import fetch_nltk_data
from dlm.errors import RemoteError
from dlm.progress import Progress
from dlm.settings.data import Benchmark

FILES = "files"
"""Folder of a prepared benchmark that holds its repository's files: a manifest among them would be taken for data."""


def commit_of(kind: str, repository: str, revision: str) -> str:
    """Ask the hub which commit a revision of a repository (of `datasets` or `models`) stands for.

    Raises:
        RemoteError: there is no such repository or revision, or the hub cannot be asked.
    """
    from huggingface_hub import HfApi

    ask = HfApi().dataset_info if kind == "datasets" else HfApi().model_info
    return str(asked(f"{repository}@{revision}", lambda: ask(repository, revision=revision)).sha)


def fetch_benchmark(settings: Benchmark, out: Path) -> dict[str, Any]:
    """Fetch the files of a benchmark's repository into the folder ``files`` of ``out``, laid out as there.

    What is whole in this project's cache is not fetched again; what is there in part is gone on with.

    What NLTK has to find comes beside it (`dlm.data.nltk_data`).

    Returns:
        The source: repository and commit, and where data of NLTK is from.

    Raises:
        RemoteError: there is no such repository, revision or file, or it cannot be fetched.
    """
    from huggingface_hub import HfApi, constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    where = f"{settings.repository}@{settings.revision}"
    commit = commit_of("datasets", settings.repository, settings.revision)
    tree = HfApi().list_repo_tree
    listed = asked(where, lambda: list(tree(settings.repository, recursive=True, revision=commit, repo_type="dataset")))
    files = chosen([entry for entry in listed if hasattr(entry, "size")], settings.files, where)
    cache = Path(constants.HF_HOME) / "dlm" / settings.repository.replace("/", "--") / commit
    with Progress(f"fetch {settings.repository}", sum(file.size for file in files), "bytes") as progress:
        for file in files:
            kept = cache / file.path
            if not kept.is_file():
                download(
                    hf_hub_url(settings.repository, file.path, repo_type="dataset", revision=commit),
                    kept,
                    size=file.size,
                    headers=build_hf_headers(),
                    sha256=file.lfs.sha256 if file.lfs else None,
                )
            _copy(kept, out / FILES / file.path)
            progress.advance(file.size)
    source: dict[str, Any] = {"repository": settings.repository, "commit": commit}
    if settings.nltk_data:
        source["nltk_data"] = fetch_nltk_data(settings, out)
    return source


def chosen(files: Sequence[Any], patterns: Sequence[str], where: str) -> list[Any]:
    """Return those of a repository's files that the patterns name: of no pattern, all but hidden ones.

    Raises:
        RemoteError: a pattern names none.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(file.path, pattern) for file in files):
            some = ", ".join(file.path for file in files[:5])
            raise RemoteError(f"{where}: no file '{pattern}' in it; correct `files` in the params file (there: {some})")
    kept = [
        file
        for file in files
        if not file.path.startswith(".") and any(fnmatch.fnmatchcase(file.path, one) for one in patterns or ("*",))
    ]
    if not kept:
        raise RemoteError(f"{where}: holds no files")
    return kept


def _copy(kept: Path, place: Path) -> None:
    """Put a file of the cache into a product: the same bytes on the disk where the file system can share them."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(kept, place)
    except OSError:
        shutil.copyfile(kept, place)
