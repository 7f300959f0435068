"""MLflow stores to test against: the plain sqlite store, and a real server on loopback."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sharing import free_port
from tracking_examples import Shown, small_project

from dlm.tracking.store import prepare_environment
from dlm.tracking.ui import running

prepare_environment(timeout=120, retries=1)  # a busy machine may be slow to answer


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sqlite store without runs; making one takes seconds, so tests copy it."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """The address of a real MLflow server."""
    root = tmp_path_factory.mktemp("server")
    (root / ".mlflow").mkdir()
    shutil.copy(empty_store, root / ".mlflow" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with running(root, free_port()) as (address, _):
            yield address


@pytest.fixture
def scale() -> str:
    """The name of a scale that no other test uses, since they share one server."""
    return f"s{uuid.uuid4().hex[:12]}"


@pytest.fixture
def project(tmp_path: Path, scale: str, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two trainings and three evaluations, and a store of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = small_project(tmp_path / "project", scale)
    (root / ".mlflow").mkdir()
    shutil.copy(empty_store, root / ".mlflow" / "mlflow.db")
    return root


@pytest.fixture(params=["sqlite", "server"])
def place(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the store that the project shows its runs in: its own, then a server."""
    if request.param == "sqlite":
        return f"sqlite:///{project / '.mlflow' / 'mlflow.db'}"
    address = str(request.getfixturevalue("server"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


@pytest.fixture
def shown(place: str, scale: str) -> Shown:
    """What the store shows of the project's scale."""
    return Shown(place, scale)
