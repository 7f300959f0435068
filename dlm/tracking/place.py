"""Where runs are shown: the server that MLFLOW_TRACKING_URI names, else a store of this clone's own."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from dlm.errors import SetupError
from dlm.files import held
from dlm.progress import say

FOLDER = ".mlflow"
_NAMED_BY = "MLFLOW_TRACKING_URI"


def tracking_uri(root: Path) -> str:
    """Return the address of the store that shows the runs of the project at ``root``."""
    return os.environ.get(_NAMED_BY) or f"sqlite:///{own_folder(root) / 'mlflow.db'}"


def artifact_root(root: Path) -> str | None:
    """Return where the clone's own store keeps files; None where another store is named, which knows that itself."""
    return None if os.environ.get(_NAMED_BY) else (own_folder(root) / "artifacts").as_uri()


def server() -> str | None:
    """Return the server that MLFLOW_TRACKING_URI names, or None where it names none."""
    uri = os.environ.get(_NAMED_BY, "")
    return uri if urlsplit(uri).scheme in ("http", "https") else None


def own_folder(root: Path) -> Path:
    """Return the clone's folder for all of MLflow's: store, files, lock, the clone's name."""
    return root.resolve() / FOLDER


def shown(text: str) -> str:
    """Return an address, or a text with addresses in it, as it may be printed: without user and password."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def origin(root: Path) -> str:
    """Return the name by which a store tells this clone's runs from another's: made once, kept in the clone."""
    path = own_folder(root) / "origin"
    try:
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            draft = path.with_name(f".{secrets.token_hex(8)}.part")
            draft.write_text(secrets.token_hex(8) + "\n")
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; the clone's folder {FOLDER} has to be writable") from error


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold this clone's lock on syncing; wait while another sync holds it."""

    def tell(holder: str) -> None:
        say(f"runs sync: another sync of this clone is at work ({holder}); waiting for it")

    with held(own_folder(root) / "lock", tell):
        yield
