"""The files of a published checkpoint, in the hub's own cache on this machine.

huggingface_hub fetches a file into a temporary one that the next process does not know. So the weights, which are
large, are put into its cache by `dlm.data.download`, which goes on where an earlier process was cut off.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path

from dlm.data.asking import asked
from dlm.data.download import download
from dlm.errors import RemoteError
from dlm.progress import Progress

_WEIGHTS = "model*.safetensors"
_FILES = ["*.json", _WEIGHTS, "*.txt", "*.jinja", "*.model"]
"""Settings, weights and vocabularies: no code, and no second copy of the weights in another format."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch_checkpoint(repository: str, revision: str | None = None) -> tuple[Path, str]:
    """Fetch the files of a published checkpoint into the hub's cache on this machine, as far as they are not there.

    Args:
        repository: hub id, `organisation/name`; HF_ENDPOINT names another hub.
        revision: branch, tag or commit; None: `main`.

    Returns:
        The folder and the commit that the revision stands for.

    Raises:
        RemoteError: it cannot be fetched; where the hub cannot be asked, nor is it here.
        SetupError: the disk is full.
    """
    import huggingface_hub

    where = f"{repository}@{revision or 'main'}"
    try:
        info = asked(where, lambda: huggingface_hub.HfApi().model_info(repository, revision=revision))
    except RemoteError:
        if (kept := _snapshot(repository, revision, local=True)) is None:
            raise
        return kept, kept.name
    files = [file.rfilename for file in info.siblings or []]
    _fetch_weights(repository, str(info.sha), fnmatch.filter(files, _WEIGHTS), where)
    folder = asked(where, lambda: _snapshot(repository, revision))
    assert folder is not None
    return folder, folder.name


def _snapshot(repository: str, revision: str | None, *, local: bool = False) -> Path | None:
    """Have the hub's client lay out a checkpoint's files; ``local``: as they are here, None if they are not."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=_FILES,
                ignore_patterns=["*/*"],
                local_files_only=local,
            )
        )
    except errors.LocalEntryNotFoundError:
        if not local:
            raise
        return None


def _fetch_weights(repository: str, commit: str, files: Iterable[str], where: str) -> None:
    """Put weights into the hub's cache, where its client looks for them: each under the name of its content."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import build_hf_headers

    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "blobs"
    urls = [hf_hub_url(repository, file, revision=commit) for file in files]
    found = [(url, asked(where, lambda url=url: get_hf_file_metadata(url))) for url in urls]  # type: ignore[misc]
    missing = [
        (url, blobs / file.etag, file.size)
        for url, file in found
        if file.etag and file.size and not (blobs / file.etag).exists()
    ]
    with Progress(f"fetch {repository}", round(sum(size for _, _, size in missing) / 1e6), "MB") as progress:
        for url, blob, size in missing:
            sha256 = blob.name if _SHA256.fullmatch(blob.name) else None
            download(url, blob, size=size, headers=build_hf_headers(), sha256=sha256)
            progress.advance(round(size / 1e6))
