"""MLflow itself: the one module that imports it. Every failure of a store ends as one line that names it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlm.errors import RemoteError
from dlm.tracking.place import shown
from dlm.tracking.view import Point
from dlm.tracking.views import edited

_METRICS_A_CALL, _OTHERS_A_CALL = 900, 90  # below MLflow's limits of 1000 values, 100 params and 100 tags
_PAGE = 1000
_QUIET = ("mlflow", "alembic", "urllib3")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A run that a store holds."""

    id: str
    began: int
    """Milliseconds since 1970."""
    status: str
    """`RUNNING`, `FINISHED`, `FAILED` or `KILLED`."""
    tags: Mapping[str, str]


def prepare_environment(timeout: float, retries: int) -> None:
    """Set, before MLflow is imported, what it reads from the environment and the user has not set."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(round(timeout)))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(retries))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


class Store:
    """A store of runs, by its address.

    Args:
        uri: a tracking server (`http://…`) or a database (`sqlite:///…`, `postgresql://…`).
        artifacts: where a new experiment keeps files, in a store of the clone's own; None: as the store sees fit.
        timeout: seconds that a server may take for an answer.
        retries: further tries for a server that fails.

    Raises:
        RemoteError: the store cannot be opened.
    """

    def __init__(self, uri: str, *, artifacts: str | None = None, timeout: float = 20, retries: int = 2) -> None:
        self.uri, self._artifacts = uri, artifacts
        self._remedy = "; a store that stays broken can be deleted, a sync makes it again" if artifacts else ""
        prepare_environment(timeout, retries)
        with _quiet():
            from mlflow import MlflowClient
        if artifacts:
            _trust_the_disk()
        with self._answering():
            self._client = MlflowClient(tracking_uri=uri)

    def experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment, made or taken out of the bin where need be, with ``tags`` set."""
        with self._answering():
            found = self._client.get_experiment_by_name(name) or self._make_experiment(name)
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            for key, value in tags.items():
                if found.tags.get(key) != value and not edited(found.tags.get(key, "")):
                    self._client.set_experiment_tag(found.experiment_id, key, value)
            return str(found.experiment_id)

    def _make_experiment(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # another process may have made it in between
            return self._client.get_experiment(self._client.create_experiment(name, self._artifacts))
        return self._client.get_experiment_by_name(name)

    def runs(self, experiment: str, where: str = "") -> Iterator[Seen]:
        """Yield the runs of an experiment, by its id, deleted ones aside."""
        token = None
        while True:
            with self._answering():
                page = self._client.search_runs([experiment], where, max_results=_PAGE, page_token=token)
            for run in page:
                yield Seen(
                    id=run.info.run_id,
                    began=run.info.start_time,
                    status=run.info.status,
                    tags=run.data.tags,
                )
            if not (token := page.token):
                return

    def create(self, experiment: str, name: str, began: int, tags: Mapping[str, str]) -> str:
        """Make a run that goes on; return its id."""
        with self._answering():
            run = self._client.create_run(experiment, start_time=began, tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def log(
        self,
        run: str,
        points: Sequence[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a run, in as few calls as MLflow allows; tags come last."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        named = [Param(key, value) for key, value in (params or {}).items()]
        tagged = [RunTag(key, value) for key, value in (tags or {}).items()]
        with self._answering():
            while len(metrics) > _METRICS_A_CALL or len(named) > _OTHERS_A_CALL:
                self._client.log_batch(run, metrics[:_METRICS_A_CALL], named[:_OTHERS_A_CALL])
                metrics, named = metrics[_METRICS_A_CALL:], named[_OTHERS_A_CALL:]
            self._client.log_batch(run, metrics, named, tagged)

    def history(self, run: str, keys: Sequence[str]) -> dict[tuple[str, int], float]:
        """Return the values that a run has, by metric and step."""
        with self._answering():
            found = {key: self._client.get_metric_history(run, key) for key in keys}
        return {(key, metric.step): metric.value for key, metrics in found.items() for metric in metrics}

    def go_on(self, run: str) -> None:
        """Mark a run as running again."""
        with self._answering():
            self._client.update_run(run, status="RUNNING")

    def end(self, run: str, status: str, ended: int) -> None:
        """End a run as `FINISHED`, `FAILED` or `KILLED`."""
        with self._answering():
            self._client.set_terminated(run, status, ended)

    def delete(self, run: str, tag: tuple[str, str]) -> None:
        """Put a run into the bin, with a tag that says why; the UI can bring it back."""
        with self._answering():
            self._client.set_tag(run, *tag)
            self._client.delete_run(run)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn whatever a store fails with into one line."""
        try:
            with _quiet():
                yield
        except Exception as error:
            if not _is_a_stores(error):
                raise
            raise RemoteError(
                f"{shown(self.uri)}: MLflow's store did not do as asked: {shown(_reason(error))}; "
                f"once it does, `dlm runs sync` shows what is missing{self._remedy}"
            ) from error


@functools.cache
def _trust_the_disk() -> None:
    """Let sqlite go on without waiting for the disk at every step: three times as fast, and safe against any kill.

    Only a loss of power can damage the clone's own store, which is made again from the records when it is deleted.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", connected)


def _is_a_stores(error: Exception) -> bool:
    """Whether an error is the server's or database's, and not a mistake of ours."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException | OSError) or type(error).__module__.startswith("sqlalchemy.")


def _reason(error: Exception) -> str:
    """Return what went wrong in a few words: the system's own where it is the connection, else the store's."""
    text = " ".join(str(error).split()) or type(error).__name__
    if of_system := re.findall(r"\[Errno -?\d+\] [\w ]+|[Rr]ead timed out", text):
        return str(of_system[-1])
    return text if len(text) <= 200 else text[:199] + "…"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own messages away: errors are told in one line, migrations are nobody's business."""
    levels = {name: logging.getLogger(name).level for name in _QUIET}
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
