"""Where runs are shown: addresses without their secrets, and clones that are told apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tracking_examples import Shown, change_scores

from dlm.errors import SetupError
from dlm.tracking import sync
from dlm.tracking.live import live_training
from dlm.tracking.place import origin, server, shown, tracking_uri
from dlm.tracking.store import Store


@pytest.mark.parametrize(
    ("address", "printed"),
    [
        ("http://user:secret@host:5000/x", "http://host:5000/x"),
        ("http://host:5000/#/experiments/1", "http://host:5000/#/experiments/1"),
        ("postgresql://user:p/w@secret@host/runs", "postgresql://host/runs"),
        ("postgresql+psycopg2://user@host/runs", "postgresql+psycopg2://host/runs"),
        ("postgresql://host/runs?user=me&password=sec/r@t&sslmode=on", "postgresql://host/runs?user=***&password=***&sslmode=on"),
        ("cannot open 'mysql://u:s?e#c@host/runs' now", "cannot open 'mysql://host/runs' now"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
    ],
)  # fmt: skip
def test_what_is_printed_of_an_address_has_no_password(address: str, printed: str) -> None:
    assert shown(address) == printed


@pytest.mark.parametrize("address", ["localhost:5000", "mlruns", "/data/mlruns", "postgres://me:secret@host/runs"])
def test_what_is_no_store_is_refused_in_one_line_and_stops_no_training(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for ask in (server, lambda: tracking_uri(tmp_path), lambda: sync(tmp_path)):
        with pytest.raises(SetupError, match=r"^MLFLOW_TRACKING_URI is '.*': write the address of a server") as refused:
            ask()
        assert "secret" not in str(refused.value)
    with live_training("tiny", "new", {}, tmp_path) as watch:
        watch({"loss": 1.0}, 0.0)
    assert "the training goes on" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["HTTP://host:5000", "postgresql+psycopg2://host/runs", "sqlite:////runs.db"])
def test_servers_and_databases_are_told_apart(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert tracking_uri(tmp_path) == address
    assert server() == (address if address.startswith("HTTP") else None)


def test_a_password_that_a_long_message_would_cut_is_not_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlm.tracking.store import _reason

    text = _reason(ValueError(f"{'x' * 150} postgresql://user:{'secret' * 20}@host/runs"))
    assert "secret" not in text and text.endswith("postgresql://host/runs")


def test_a_clone_that_moved_is_the_same_and_a_copy_is_another(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    name = origin(first)
    assert origin(first) == name
    shutil.copytree(first, tmp_path / "copy")
    copy = origin(tmp_path / "copy")
    assert copy != name == origin(first)
    assert origin(tmp_path / "copy") == copy
    first.rename(tmp_path / "moved")
    assert origin(tmp_path / "moved") == name
    shutil.copytree(tmp_path / "moved", first)  # a copy where the clone itself was once
    assert origin(first) not in (name, copy)
    backup = shutil.copytree(tmp_path / "moved" / ".mlflow", tmp_path / "backup")
    shutil.rmtree(tmp_path / "moved" / ".mlflow")
    shutil.copytree(backup, tmp_path / "moved" / ".mlflow")
    assert origin(tmp_path / "moved") == name


def test_a_name_of_before_names_were_noted_with_their_place_stays(tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "origin").write_text("0123456789abcdef\n")
    assert origin(tmp_path) == "0123456789abcdef"
    shutil.copytree(tmp_path / ".mlflow", tmp_path / "copy" / ".mlflow")
    assert origin(tmp_path / "copy") != "0123456789abcdef"


def test_a_copied_clone_leaves_the_runs_of_the_first_alone_and_keeps_its_own_store_tidy(
    project: Path, scale: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(project)
    shutil.copytree(project, tmp_path / "copy")
    change_scores(tmp_path / "copy" / "results" / scale / "scores" / "base" / "1" / "scores.json", {"value": 0.25})
    assert (sync(tmp_path / "copy").new, sync(project).removed) == (1, 0)
    own = Shown(f"sqlite:///{tmp_path / 'copy' / '.mlflow' / 'mlflow.db'}", scale)
    assert len(own.runs("evaluations")) == 3, "none of the first clone's beside it"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert sync(project).new == 5
    summary = sync(tmp_path / "copy")
    assert (summary.new, summary.removed) == (1, 0)


def test_a_checkpoint_that_is_being_replaced_while_a_sync_runs_is_no_fault(
    project: Path, scale: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest is away when the runs are looked at: one that is whole but for its status, and one just begun."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    sync(project)
    there = Shown(server, scale)
    there.client.update_run(there.runs("trainings")["base"].info.run_id, status="RUNNING")
    original = Store.runs

    def runs(store: Store, experiment: str, where: str = "") -> list[object]:
        shutil.rmtree(project / "results" / scale / "checkpoints" / "base", ignore_errors=True)
        return list(original(store, experiment, where))

    monkeypatch.setattr(Store, "runs", runs)
    summary = sync(project, [scale])
    assert (summary.completed, summary.removed) == (1, 0)
    assert there.runs("trainings")["base"].info.status == "FINISHED"
