"""A packed checkpoint sent to a hub: only when a person asks for it."""

from __future__ import annotations

import re
from pathlib import Path

from dlm.data.asking import asked
from dlm.errors import SettingsError, SetupError

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def check_repository(repository: str) -> None:
    """Refuse what is no hub id, or an upload without a token.

    Raises:
        SettingsError: it does not read `organisation/name`.
        SetupError: this machine has no token of the hub.
    """
    import huggingface_hub

    if not _REPOSITORY.fullmatch(repository):
        raise SettingsError(f"--upload {repository}: no hub id; write organisation/name")
    if huggingface_hub.get_token() is None:
        raise SetupError(f"--upload {repository}: no token of the hub here; run `hf auth login`, or set HF_TOKEN")


def upload(folder: Path, repository: str, *, private: bool = True) -> str:
    """Send a packed checkpoint to a repository of the hub, which is made if it is not there; return the commit's page.

    Args:
        folder: as `dlm.publishing.pack` wrote it.
        repository: hub id; HF_ENDPOINT names another hub.
        private: of a repository that is made now.

    Raises:
        SettingsError, SetupError: see `check_repository`.
        RemoteError: the hub did not take it.
    """
    from huggingface_hub import HfApi

    check_repository(repository)
    hub = HfApi()
    asked(repository, lambda: hub.create_repo(repository, private=private, exist_ok=True))
    commit = asked(repository, lambda: hub.upload_folder(repo_id=repository, folder_path=folder))
    return str(commit.commit_url)
