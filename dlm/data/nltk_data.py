"""Data of NLTK that the code of lm-eval's tasks looks for: a part of a prepared benchmark, found without a network."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

from dlm.data.fetch import fetch_github
from dlm.errors import RemoteError
from dlm.settings.data import Benchmark

NLTK_DATA = "nltk_data"
"""Folder of a prepared benchmark that holds such packages, laid out as NLTK looks for them."""
REPOSITORY = "nltk/nltk_data"


def fetch_nltk_data(settings: Benchmark, out: Path) -> list[dict[str, Any]]:
    """Fetch the packages that a benchmark names and unpack them into the folder ``nltk_data`` of ``out``.

    Returns:
        The source of each: its URL, bytes, sha256.

    Raises:
        RemoteError: one is not there, cannot be fetched, or is no whole archive.
    """
    sources = []
    for package in settings.nltk_data:
        file = f"packages/{package}.zip"
        url, content = fetch_github(REPOSITORY, settings.nltk_revision, file, hint="then prepare again")
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(out / NLTK_DATA / Path(package).parent)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise RemoteError(f"{url}: not a whole archive ({error}); try again") from error
        if not (out / NLTK_DATA / package).is_dir():
            raise RemoteError(f"{url}: holds no folder '{Path(package).name}'; correct `nltk_data` in the params file")
        sources.append({"url": url, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    return sources
