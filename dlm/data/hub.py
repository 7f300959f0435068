"""What a hub holds: training sets, turned into chats, and the files of published checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from dlm.data.chance import shuffled, stream
from dlm.data.mixtures import Row, Split, chat, tagged
from dlm.errors import RemoteError
from dlm.settings.data import HubDataset

T = TypeVar("T")


def hub_rows(settings: HubDataset) -> tuple[Split, str]:
    """Return the rows of a data set of the hub, held-out ones apart, and the commit that they are from.

    Raises:
        RemoteError: it cannot be fetched, or a row lacks a column.
    """
    import datasets
    from huggingface_hub import HfApi

    where = f"{settings.repository}@{settings.revision}"
    info = _asked(where, lambda: HfApi().dataset_info(settings.repository, revision=settings.revision))
    commit = str(info.sha)
    table = _asked(
        where,
        lambda: datasets.load_dataset(settings.repository, settings.config, split=settings.split, revision=commit),
    )
    rows = [s1k_row(row, number, where) for number, row in enumerate(table)]
    return split_rows(rows, settings.held_out_share, settings.seed), commit


_CHECKPOINT_FILES = ["*.json", "model*.safetensors", "*.txt", "*.jinja", "*.model"]
"""Settings, weights and vocabularies: no code, and no second copy of the weights in another format."""


def fetch_checkpoint(repository: str, revision: str | None = None) -> tuple[Path, str]:
    """Fetch the files of a published checkpoint into the hub's cache on this machine, as far as they are not there.

    Args:
        repository: hub id, `organisation/name`; HF_ENDPOINT names another hub.
        revision: branch, tag or commit; None: `main`.

    Returns:
        The folder and the commit that the revision stands for.

    Raises:
        RemoteError: it cannot be fetched.
    """
    import huggingface_hub

    where = f"{repository}@{revision or 'main'}"
    folder = Path(
        _asked(
            where,
            lambda: huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=_CHECKPOINT_FILES, ignore_patterns=["*/*"]
            ),
        )
    )
    return folder, folder.name


def s1k_row(row: Mapping[str, Any], number: int, where: str) -> Row:
    """Return row ``number`` (from 0) of s1K as a chat: the first trajectory as reasoning, the attempt as answer."""
    trajectories = row.get("thinking_trajectories")
    parts = {
        "question": row.get("question"),
        "thinking_trajectories": trajectories[0] if isinstance(trajectories, list) and trajectories else None,
        "attempt": row.get("attempt"),
    }
    for column, text in parts.items():
        if not isinstance(text, str) or not text.strip():
            raise RemoteError(f"{where}: row {number + 1}: no text in column '{column}'")
    question, reasoning, attempt = (str(text).strip() for text in parts.values())
    return {"id": f"s1k-{number}", "messages": chat(question, tagged(reasoning, attempt))}


def split_rows(rows: list[Row], share: float, seed: int) -> Split:
    """Hold out ``share`` of ``rows``, rounded, but at least one if the share is not 0; both parts keep their order."""
    count = min(max(round(share * len(rows)), int(share > 0)), max(len(rows) - 1, 0))
    held = set(shuffled(stream(seed, "held-out"), range(len(rows)))[:count])
    split = Split()
    for number, row in enumerate(rows):
        (split.held_out if number in held else split.train).append(row)
    return split


def _asked(where: str, ask: Callable[[], T]) -> T:
    """Return what ``ask`` gives; whatever goes wrong in the hub's client becomes one line."""
    try:
        return ask()
    except Exception as error:  # the clients raise errors of many unrelated classes
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RemoteError(f"{where}: the hub did not give it ({type(error).__name__}: {reason})") from error
