"""Where runs are shown: the server that MLFLOW_TRACKING_URI names, else a store of this clone's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from dlm.errors import SetupError
from dlm.files import digest
from dlm.locks import held
from dlm.progress import say

FOLDER = ".mlflow"
_NAMED_BY = "MLFLOW_TRACKING_URI"
_SERVERS = ("http", "https", "databricks")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
# A path that begins with // or holds an @ is none of it: a name without a colon ends before the next stroke.
_BEFORE_HOST = re.compile(r"(?<!/)//(?:[^/:\s]*:\S*|[^/:\s]+)@")
_QUERIED = re.compile(r"([?&][^=&\s]*(?:user|pass|pwd|token|secret)[^=&\s]*=)[^&\s]*", re.IGNORECASE)


def tracking_uri(root: Path) -> str:
    """Return the address of the store that shows the runs of the project at ``root``.

    Raises:
        SetupError: MLFLOW_TRACKING_URI names something that is neither a server nor a database.
    """
    return _named() or f"sqlite:///{own_folder(root) / 'mlflow.db'}"


def artifact_root(root: Path) -> str | None:
    """Return where the clone's own store keeps files; None where another store is named, which knows that itself."""
    return None if _named() else (own_folder(root) / "artifacts").as_uri()


def server() -> str | None:
    """Return the server that MLFLOW_TRACKING_URI names, or None where it names none.

    Raises:
        SetupError: it names something that is neither a server nor a database.
    """
    uri = _named()
    return uri if uri and _scheme(uri) not in _DATABASES else None


def _named() -> str | None:
    """Return the store that MLFLOW_TRACKING_URI names, if any."""
    uri = os.environ.get(_NAMED_BY, "").strip()
    if uri and _scheme(uri) not in (*_SERVERS, *_DATABASES):
        raise SetupError(
            f"{_NAMED_BY} is '{shown(uri)}': write the address of a server (http://HOST:PORT) or of a database "
            "(sqlite:///FILE, postgresql://HOST/NAME), or unset it to see the runs in this clone's own store"
        )
    return uri or None


def _scheme(uri: str) -> str:
    """Return what an address begins with: `postgresql` of `postgresql+psycopg2://…`."""
    return uri.partition(":")[0].partition("+")[0].lower()


def own_folder(root: Path) -> Path:
    """Return the clone's folder for all of MLflow's: store, files, lock, the clone's name."""
    return root.resolve() / FOLDER


def shown(text: str) -> str:
    """Return an address, or a text with addresses in it, as it may be printed: without user and password.

    A password may hold any character but a space, whether the address is then a valid one or not.
    """
    return _QUERIED.sub(r"\1***", _BEFORE_HOST.sub("//", text))


def origin(root: Path) -> str:
    """Return the name by which a store tells this clone's runs from another's: made once, kept in ``.mlflow/origin``.

    The file says which file it is and where it lies. A clone that was moved is known by the former, one that is mounted
    elsewhere or came back from a backup by either; a copy has neither, and gets a name of its own.

    Raises:
        SetupError: the file cannot be read or written.
    """
    path = own_folder(root) / "origin"
    try:
        path.parent.mkdir(exist_ok=True)
        with open(path, "a+", encoding="utf-8") as stream:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            name, *noted = stream.read().split() or [""]
            marks = [f"inode:{os.fstat(stream.fileno()).st_ino}", f"place:{digest(str(path))[:16]}"]
            if not name or (noted and not set(noted) & set(marks)):
                name = secrets.token_hex(8)
            if noted != marks:
                stream.truncate(0)
                stream.write(" ".join([name, *marks]) + "\n")
            return name
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; the clone's folder {FOLDER} has to be writable") from error


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold this clone's lock on syncing; wait while another sync holds it."""

    def tell(holder: str) -> None:
        say(f"runs sync: another sync of this clone is at work ({holder}); waiting for it")

    with held(own_folder(root) / "lock", tell):
        yield
