"""Runs by the thousand, where a store is a database: written to MLflow's own tables, a transaction for many runs.

MLflow's calls take one run each, in some thirty statements: 20,000 runs would take a quarter of an hour and more.
What is written is what those calls write; tests compare the two, so that another version of MLflow with other tables is
noticed. Sources: `SqlAlchemyStore` (`create_run`, `log_batch`, `update_run_info`) and its models, of mlflow/mlflow.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from dlm.tracking.view import Point, Run

_LARGEST = 1.7976931348623157e308  # what MLflow stores for infinity


def database_of(client: Any) -> Any | None:
    """Return the store behind a client where that is a database of this process's own, or None."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    return store if isinstance(store, SqlAlchemyStore) else None


def marked_runs(database: Any, experiment: str, marks: Sequence[str]) -> Iterator[tuple[str, int, str, dict[str, str]]]:
    """Yield id, start in milliseconds, status and the tags named in ``marks`` of an experiment's runs, newest first."""
    from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
    from sqlalchemy import select

    of_experiment = (SqlRun.experiment_id == int(experiment), SqlRun.lifecycle_stage == "active")
    runs = select(SqlRun.run_uuid, SqlRun.start_time, SqlRun.status).where(*of_experiment)
    tags = select(SqlTag.run_uuid, SqlTag.key, SqlTag.value).join(SqlRun, SqlRun.run_uuid == SqlTag.run_uuid)
    with database.ManagedSessionMaker(read_only=True) as session:
        found = session.execute(runs.order_by(SqlRun.start_time.desc(), SqlRun.run_uuid)).all()
        marked: dict[str, dict[str, str]] = {run: {} for run, _, _ in found}
        for run, key, value in session.execute(tags.where(*of_experiment, SqlTag.key.in_(marks))):
            if run in marked:  # and not made between the two questions
                marked[run][key] = value
    for run, began, status in found:
        yield run, began, status, marked[run]


def insert_runs(database: Any, experiment: str, runs: Sequence[Run]) -> list[str]:
    """Write runs that have ended, all or none; return their ids.

    Raises:
        MlflowException: a name or value that MLflow does not take.
    """
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
    from sqlalchemy import insert

    ids = [secrets.token_hex(16) for _ in runs]
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)
    }
    folder = database.get_experiment(experiment).artifact_location
    for run_id, run in zip(ids, runs, strict=True):
        _check(run)
        rows[SqlRun].append(_run_row(run_id, run, int(experiment), folder))
        tags = {**run.tags, "mlflow.runName": run.name}
        rows[SqlTag] += _named(run_id, tags)
        rows[SqlParam] += _named(run_id, run.params)
        values = list(_values(run_id, run.points))
        rows[SqlMetric] += values
        rows[SqlLatestMetric] += _latest(values)
    with database.ManagedSessionMaker(read_only=False) as session:
        for table, content in rows.items():
            if content:
                session.execute(insert(table), content)
    return ids


def count_rows(database: Any) -> None:
    """Have sqlite estimate how large its tables are; without, it takes a minute to order 20,000 runs by any column.

    Other databases see to that themselves. The limit is what sqlite's documentation of ANALYZE recommends.
    """
    from sqlalchemy import text

    if database.engine.dialect.name == "sqlite":
        with database.ManagedSessionMaker(read_only=False) as session:
            session.execute(text("PRAGMA analysis_limit = 1000"))
            session.execute(text("ANALYZE"))


def _check(run: Run) -> None:
    """Hold a run to what MLflow takes, as `log_batch` does."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.utils.validation import _validate_batch_log_data

    _validate_batch_log_data(
        [Metric(point.key, point.value, point.time, point.step) for point in run.points],
        [Param(key, value) for key, value in run.params.items()],
        [RunTag(key, value) for key, value in run.tags.items()],
    )


def _run_row(run_id: str, run: Run, experiment: int, folder: str) -> dict[str, Any]:
    from mlflow.utils.uri import append_to_uri_path

    return {
        "run_uuid": run_id,
        "name": run.name,
        "artifact_uri": append_to_uri_path(folder, run_id, "artifacts"),
        "experiment_id": experiment,
        "source_type": "UNKNOWN",
        "source_name": "",
        "entry_point_name": "",
        "user_id": "unknown",
        "status": "FINISHED",
        "start_time": run.began,
        "end_time": run.ended,
        "deleted_time": None,
        "source_version": "",
        "lifecycle_stage": "active",
    }


def _named(run_id: str, values: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for key, value in values.items():
        yield {"run_uuid": run_id, "key": key, "value": value}


def _values(run_id: str, points: Iterable[Point]) -> Iterator[dict[str, Any]]:
    """Yield the rows of distinct points; a number that a database cannot hold is written as MLflow writes it."""
    for point in dict.fromkeys(points):
        nan = math.isnan(point.value)
        yield {
            "run_uuid": run_id,
            "key": point.key,
            "value": 0.0 if nan else max(-_LARGEST, min(_LARGEST, point.value)),
            "timestamp": point.time,
            "step": point.step,
            "is_nan": nan,
        }


def _latest(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest row of each metric: of the last step, there the last in time, there the largest."""
    newest: dict[str, dict[str, Any]] = {}
    for row in values:
        place = row["step"], row["timestamp"], row["value"]
        other = newest.get(row["key"])
        if other is None or place > (other["step"], other["timestamp"], other["value"]):
            newest[row["key"]] = row
    return list(newest.values())
