"""MLflow's client. Every failure of a store ends as one line that names it."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dlm.errors import RemoteError
from dlm.tracking.place import shown
from dlm.tracking.view import FINGERPRINT, MARKS, Point, Run
from dlm.tracking.views import edited

_METRICS_A_CALL, _OTHERS_A_CALL = 900, 90  # below MLflow's limits of 1000 values, 100 params and 100 tags
_PAGE = 1000
_CALLS_AT_ONCE = 8  # to a server, which has several workers
_TRIES = 5  # to open a database: 3 s
_QUIET = ("mlflow", "alembic", "urllib3")
_guard, _inside = threading.Lock(), 0
_levels: dict[str, int] = {}


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
        with quiet():
            from mlflow import MlflowClient
            from mlflow.store.db import utils

            from dlm.tracking.database import database_of
        utils.MAX_RETRY_COUNT = _TRIES  # MLflow's own ten take 100 s, whether a file is damaged or a password is wrong
        if artifacts:
            _trust_the_disk()
        with self._answering():
            self._client = MlflowClient(tracking_uri=uri)
            self._database = database_of(self._client)

    def experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment, made or taken out of the bin where need be, with ``tags`` set."""
        with self._answering():
            found = self._client.get_experiment_by_name(name) or self._make_experiment(name)
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            for key, value in tags.items():
                if found.tags.get(key) != value and not edited(found.tags.get(key, "")):
                    self._tag_experiment(found.experiment_id, key, value)
            return str(found.experiment_id)

    def _tag_experiment(self, experiment: str, key: str, value: str) -> None:
        """Set a tag; of several processes that set it for the first time, a database refuses all but one."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_experiment_tag(experiment, key, value)
        except MlflowException:
            if self._client.get_experiment(experiment).tags.get(key) != value:
                raise

    def _make_experiment(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # another process may have made it in between
            return self._client.get_experiment(self._client.create_experiment(name, self._artifacts))
        return self._client.get_experiment_by_name(name)

    def runs(self, experiment: str, where: str = "") -> Iterator[Seen]:
        """Yield the runs of an experiment, by its id, newest first, deleted ones aside; of tags at least our marks."""
        if self._database is not None and not where:
            from dlm.tracking.database import marked_runs

            with self._answering():
                marked = list(marked_runs(self._database, experiment, MARKS))
            yield from (Seen(id=id, began=began, status=status, tags=tags) for id, began, status, tags in marked)
            return
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

    def add(self, experiment: str, runs: Sequence[Run]) -> list[str]:
        """Bring in runs that have ended; return their ids.

        A database takes all or none of them; a server takes them one after the other, each with the tag
        ``FINGERPRINT`` at its end.
        """
        if self._database is not None:
            from dlm.tracking.database import insert_runs

            with self._answering():
                return insert_runs(self._database, experiment, runs)
        with ThreadPoolExecutor(_CALLS_AT_ONCE) as pool:
            try:
                return [made.result() for made in [pool.submit(self._add, experiment, run) for run in runs]]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # a server that failed once is not asked for the rest
                raise

    def settle(self) -> None:
        """Keep questions fast after many runs were added."""
        if self._database is not None:
            from dlm.tracking.database import count_rows

            with self._answering():
                count_rows(self._database)

    def _add(self, experiment: str, run: Run) -> str:
        unsealed = {key: value for key, value in run.tags.items() if key != FINGERPRINT}
        made = self.create(experiment, run.name, run.began, unsealed)
        self.log(made, run.points, run.params, {FINGERPRINT: run.tags[FINGERPRINT]})
        self.end(made, "FINISHED", run.ended)
        return made

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

    def params(self, run: str) -> dict[str, str]:
        """Return the params that a run has."""
        with self._answering():
            return dict(self._client.get_run(run).data.params)

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
            with quiet():
                yield
        except Exception as error:
            if not _is_a_stores(error):
                raise
            raise RemoteError(
                f"{shown(self.uri)}: MLflow's store did not do as asked: {_reason(error)}; "
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
    text = " ".join(shown(str(error)).split()) or type(error).__name__  # shortened last: half a password has no end
    if of_system := re.findall(r"\[Errno -?\d+\] [\w ]+|[Rr]ead timed out", text):
        return str(of_system[-1])
    return text if len(text) <= 200 else text[:199] + "…"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own messages away: errors are told in one line, migrations are nobody's business.

    Several threads may be inside; the last one out lets the messages through again.
    """
    global _inside
    with _guard:
        _inside += 1
        if _inside == 1:
            for name in _QUIET:
                _levels[name] = logging.getLogger(name).level
                logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if _inside == 0:
                for name, level in _levels.items():
                    logging.getLogger(name).setLevel(level)
