"""`dlm runs sync`: the store shows what the records say, each record once."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from tracking_examples import (
    BEGAN,
    CURVE,
    Shown,
    cell,
    change_scores,
    small_project,
    weights,
    write_scores,
    write_training,
)

from dlm.analysis.estimates import estimate
from dlm.errors import DataError, RemoteError
from dlm.files import read_json, write_json
from dlm.tracking import sync
from dlm.tracking.store import Store
from dlm.tracking.view import FINGERPRINT, Point, Run

MILLISECONDS = 1000 * BEGAN
BEGAN_AT = round(MILLISECONDS)


def test_a_training_is_a_run_with_its_whole_curve_at_the_recorded_times(project: Path, shown: Shown) -> None:
    sync(project)
    runs = shown.runs("trainings")
    assert set(runs) == {"base", "base-sft"}
    run = runs["base-sft"]
    assert (run.info.start_time, run.info.end_time) == (MILLISECONDS, MILLISECONDS + 7000)
    assert run.info.status == "FINISHED"
    assert shown.curve(run, "loss/train") == [
        (record["step"], record["loss"], MILLISECONDS + 1000 * second)
        for second, record in enumerate(CURVE, start=1)
        if "loss" in record
    ]
    assert [point[:2] for point in shown.curve(run, "loss/held_out")] == [(2, 4.5), (4, 3.75)]
    assert run.data.metrics["loss/held_out"] == 3.75
    assert run.data.metrics["training_seconds"] == 7
    wanted = {"scale": shown.scale, "checkpoint": "base-sft", "recipe": "sft", "objective": "mdlm", "start": "base"}
    assert wanted.items() <= run.data.tags.items()
    wanted = {"learning_rate": "0.003", "objective.schedule": "linear", "lora": "none", "seed": "7", "threads": "1"}
    assert wanted.items() <= run.data.params.items()


def test_an_evaluation_is_a_run_with_the_tables_figures_and_every_setting(project: Path, shown: Shown) -> None:
    sync(project)
    runs = shown.runs("evaluations")
    assert set(runs) == {
        "sudoku · base · answer16",
        "countdown · base · answer16",
        "sudoku · base-sft · answer16_fast",
    }
    run = runs["sudoku · base-sft · answer16_fast"]
    expected = estimate([1.0] * 5 + [0.0] * 3, [1] * 8)
    assert expected.stderr is not None
    assert run.data.metrics == {
        "score/value": 0.625,
        "score/stderr": round(expected.stderr, 6),
        "score/ci_low": round(expected.low, 6),
        "score/ci_high": round(expected.high, 6),
        "score/n": 8,
        "cost/requests": 8,
        "cost/forward_passes": 64,
        "cost/seconds": 2.5,
        "cost/tokens_per_forward_pass": 1.5,
        "answers/mean_tokens": 12,
        "answers/empty_share": 0.125,
        "answers/truncated_share": 0.25,
    }
    wanted = {"model": "base-sft", "task": "sudoku", "setting": "answer16_fast", "sampler.selector.steps": "4"}
    assert wanted.items() <= run.data.params.items()
    wanted = {
        "sampler.canvas.block_size": "8",
        "chat": "true",
        "num_fewshot": "0",
        "execution.versions.torch": "2.13.0",
    }
    assert wanted.items() <= run.data.params.items()
    records = f"results/{shown.scale}/responses/base-sft/1"
    wanted = {
        "scale": shown.scale,
        "checkpoint_digest": weights(project, shown.scale, "base-sft"),
        "what": "w" * 64,
        "how": "h" * 64,
        "records": records,
    }
    assert wanted.items() <= run.data.tags.items()
    assert records in run.data.tags["mlflow.note.content"]
    assert (run.info.start_time, run.info.end_time) == (MILLISECONDS + 97_500, MILLISECONDS + 100_000)


def test_a_second_sync_changes_nothing(project: Path, shown: Shown) -> None:
    first = sync(project)
    before = shown.everything()
    second = sync(project)
    assert (first.shown, first.new) == (5, 5)
    assert (second.shown, second.new, second.completed, second.removed) == (5, 0, 0, 0)
    assert "5 runs in" in str(second) and "nothing changed" in str(second)
    assert shown.everything() == before


def test_a_changed_score_takes_the_place_of_the_old_one(project: Path, shown: Shown) -> None:
    sync(project)
    before = shown.runs("evaluations")
    path = project / "results" / shown.scale / "scores" / "base" / "1" / "scores.json"
    change_scores(path, {"numerators": [1.0] * 8, "value": 1.0})
    summary = sync(project)
    after = shown.runs("evaluations")
    name = "sudoku · base · answer16"
    assert (summary.new, summary.removed) == (1, 1)
    assert after[name].data.metrics["score/value"] == 1
    assert {n: run.info.run_id for n, run in after.items() if n != name} == {
        n: run.info.run_id for n, run in before.items() if n != name
    }
    old = shown.runs("evaluations", deleted=True)[name]
    assert old.info.run_id == before[name].info.run_id
    assert old.data.tags["dlm.superseded_by"] == after[name].info.run_id


def test_the_code_that_made_it_again_does_not_change_a_run(project: Path, shown: Shown) -> None:
    sync(project)
    write_training(project, shown.scale, "base", code={"version": "0.2.0", "commit": "f" * 40, "edited": False})
    assert sync(project).new == 0


def test_a_cell_that_its_scores_file_no_longer_holds_goes(project: Path, shown: Shown) -> None:
    sync(project)
    write_scores(project, shown.scale, "base", [cell("sudoku")])
    assert sync(project).removed == 1
    assert set(shown.runs("evaluations")) == {"sudoku · base · answer16", "sudoku · base-sft · answer16_fast"}


def test_runs_stay_where_the_results_were_removed(project: Path, shown: Shown) -> None:
    sync(project)
    shutil.rmtree(project / "results" / shown.scale / "scores" / "base")
    assert sync(project).removed == 0
    assert len(shown.runs("evaluations")) == 3


def test_a_run_that_a_person_deleted_comes_back(project: Path, shown: Shown) -> None:
    sync(project)
    run = shown.runs("trainings")["base"]
    shown.client.delete_run(run.info.run_id)
    assert sync(project).new == 1
    assert set(shown.runs("trainings")) == {"base", "base-sft"}


def test_a_long_curve_is_complete(project: Path, shown: Shown) -> None:
    curve = [{"step": step, "loss": 1 / (step + 1), "learning_rate": 0.1} for step in range(2500)]
    write_training(project, shown.scale, "base", curve)
    sync(project)
    shown_curve = shown.curve(shown.runs("trainings")["base"], "loss/train")
    assert [point[:2] for point in shown_curve] == [(record["step"], record["loss"]) for record in curve]


def test_a_database_is_written_as_mlflows_own_calls_write_it(project: Path) -> None:
    """Every row of every table, but for the ids of runs."""
    run = Run(
        name="a run",
        began=BEGAN_AT,
        ended=BEGAN_AT + 5000,
        tags={FINGERPRINT: "f", "scale": "any", "empty": ""},
        params={"steps": "4", "long": "x" * 6000, "empty": ""},
        points=(
            Point(key="loss/train", value=2.0, step=2, time=BEGAN_AT + 1),
            Point(key="loss/train", value=3.0, step=1, time=BEGAN_AT + 2),
            Point(key="loss/train", value=3.0, step=1, time=BEGAN_AT + 2),
            Point(key="loss/train", value=1.0, step=2, time=BEGAN_AT + 1),
            *(Point(key="odd", value=value, step=step, time=0) for step, value in enumerate((nan, inf, -inf))),
            Point(key="nothing", value=nan, time=0),
        ),
    )
    store = Store(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}")
    for name in ("bulk", "calls"):
        store.experiment(name, {})
    store.add(store.experiment("bulk", {}), [run])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_database", None)
        store.add(store.experiment("calls", {}), [run])
    bulk, calls = (rows_of(project / ".mlflow" / "mlflow.db", name) for name in ("bulk", "calls"))
    assert bulk == calls
    assert {table: len(rows) for table, rows in bulk.items()} == {
        "runs": 1, "tags": 4, "params": 3, "metrics": 7, "latest_metrics": 3,
    }  # fmt: skip


def rows_of(database: Path, experiment: str) -> dict[str, set[tuple[Any, ...]]]:
    """The rows of an experiment's runs in every table that names runs, without the ids of run and experiment."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        chosen = (
            f"SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = '{experiment}'"
        )
        for table in tables:
            columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
            if "run_uuid" not in columns:
                continue
            rows = connection.execute(f"SELECT * FROM {table} WHERE run_uuid IN ({chosen})").fetchall()
            if rows:
                found[table] = {tuple(sorted(_without_ids(dict(row)).items())) for row in rows}
    return found


def _without_ids(row: dict[str, Any]) -> dict[str, Any]:
    ids = row.pop("run_uuid"), row.pop("experiment_id", "")
    if "artifact_uri" in row:
        assert ids[0] in row["artifact_uri"] and f"/{ids[1]}/" in row["artifact_uri"]
        row["artifact_uri"] = row["artifact_uri"].replace(ids[0], "").replace(f"/{ids[1]}/", "/")
    return {key: repr(value) for key, value in row.items()}


@pytest.mark.parametrize("both", [True, False])
def test_a_tag_that_another_process_set_in_between_is_no_fault(project: Path, both: bool) -> None:
    """A database refuses the second of two that set a tag of an experiment for the first time."""
    from mlflow.exceptions import MlflowException

    store = Store(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}")
    original = store._client.set_experiment_tag

    def refused(*arguments: Any) -> None:
        if both:
            original(*arguments)
        raise MlflowException("duplicate key")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._client, "set_experiment_tag", refused)
        if both:
            store.experiment("tagged", {"scale": "any"})
        else:
            with pytest.raises(RemoteError, match="duplicate key"):
                store.experiment("tagged", {"scale": "any"})


@pytest.mark.parametrize("fault", [{"x" * 300: "1"}, {"what?": "1"}])
def test_a_database_takes_no_names_that_mlflow_does_not_take(project: Path, fault: dict[str, str]) -> None:
    store = Store(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}")
    experiment = store.experiment("names", {})
    good = Run(name="good", began=0, ended=1, tags={FINGERPRINT: "1"})
    with pytest.raises(RemoteError, match=r"mlflow\.db: MLflow's store did not do as asked"):
        store.add(experiment, [good, dataclasses.replace(good, params=fault)])
    assert list(store.runs(experiment)) == [], "all or none"


STEPS = ("create", "log", "end", "delete", "experiment")


@pytest.mark.parametrize("survived", range(0, 16, 3))
def test_a_sync_with_a_server_that_is_killed_is_completed_by_the_next(
    project: Path, server: str, scale: str, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync dies in the middle of the (survived + 1)th change; the next one leaves what an undisturbed one would."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    calls = 0

    def dying(original: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == survived + 1:
                half = list(arguments)
                if original.__name__ == "log":  # some of it arrives
                    half[2] = half[2][: len(half[2]) // 2]
                    original(half[0], half[1], half[2])
                raise KeyboardInterrupt
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("dlm.tracking.store._CALLS_AT_ONCE", 1)
        for step in STEPS:
            patch.setattr(Store, step, dying(getattr(Store, step)))
        with pytest.raises(KeyboardInterrupt):
            sync(project)
    sync(project)
    left = Shown(server, scale)
    _complete(left)
    assert sync(project).new == 0


@pytest.mark.parametrize("survived", range(9))
def test_a_sync_with_a_database_that_is_killed_is_completed_by_the_next(
    project: Path, scale: str, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sync dies at the (survived + 1)th statement that adds rows to a table, in the midst of a transaction."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    statements = []

    def dying(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if statement.startswith(("INSERT INTO runs", "INSERT INTO tags", "INSERT INTO params", "INSERT INTO metrics")):
            statements.append(statement)
            if len(statements) == survived + 1:
                raise KeyboardInterrupt

    event.listen(Engine, "after_cursor_execute", dying)
    try:
        if survived < 8:
            with pytest.raises(KeyboardInterrupt):
                sync(project)
        else:
            assert sync(project).new == 5
            assert len(statements) == 8, "two experiments, a transaction of four such statements each"
    finally:
        event.remove(Engine, "after_cursor_execute", dying)
    sync(project)
    _complete(Shown(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}", scale))
    assert sync(project).new == 0


def _complete(left: Shown) -> None:
    """Two trainings and three evaluations are shown, whole, each once."""
    assert {name: len(left.runs(name)) for name in ("trainings", "evaluations")} == {"trainings": 2, "evaluations": 3}
    assert all(run[0] == "FINISHED" for run in left.everything().values())
    for name, run in left.runs("trainings").items():
        assert len(left.curve(run, "loss/train")) == 4, name
        assert len(left.curve(run, "loss/held_out")) == 2, name
        assert run.data.params["learning_rate"] == "0.003"
    for run in left.runs("evaluations").values():
        assert len(run.data.metrics) == 12
        assert all(len(left.curve(run, key)) == 1 for key in run.data.metrics)


def test_two_clones_on_one_server_share_what_is_equal_and_leave_each_other_alone(
    project: Path, scale: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    other = small_project(tmp_path / "other", scale)
    assert sync(project).new == 5
    assert sync(other).new == 0, "the same records are the same runs"
    path = other / "results" / scale / "scores" / "base" / "1" / "scores.json"
    change_scores(path, {"numerators": [1.0] * 8, "value": 1.0})
    summary = sync(other)
    assert (summary.new, summary.removed) == (1, 0)
    assert sync(project).removed == 0
    change_scores(path, {"numerators": [1.0] * 7 + [0.0], "value": 7 / 8})
    summary = sync(other)
    assert (summary.new, summary.removed) == (1, 1), "its own run, not the other clone's"


def test_damaged_and_outdated_files_are_named_and_left_out(
    project: Path, scale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = project / "results" / scale
    (results / "checkpoints" / "base" / "manifest.json").write_text("{")
    write_scores(project, scale, "old", [cell()])
    change_scores(results / "scores" / "old" / "1" / "scores.json", {"numerators": [9.0] * 8})
    (results / "scores" / "base-sft" / "1" / "scores.json").write_text(
        '{"format": "dlm-scores/9", "model": "base-sft"}'
    )
    summary = sync(project)
    lines = capsys.readouterr().err.splitlines()
    assert summary.shown == 3
    assert sum(line.startswith("runs sync: left out: ") for line in lines) == len(lines) == 3
    assert any("base/manifest.json:1: not valid JSON" in line for line in lines)
    assert any("scores/old/1/scores.json: document 0 has numerator 9.0" in line for line in lines)
    assert any("format 'dlm-scores/9'" in line for line in lines)


def test_scores_older_than_their_responses_wait_for_the_next_scoring(
    project: Path, scale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = project / "results" / scale / "scores" / "base" / "1" / "scores.json"
    before = scores.read_bytes()
    write_scores(project, scale, "base", [cell("sudoku")] * 3)
    scores.write_bytes(before)
    assert sync(project).shown == 3
    assert f"older than its responses; run `dlm score base --scale {scale}`" in capsys.readouterr().err


def test_what_an_earlier_division_into_bundles_left_is_not_shown(
    project: Path, scale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one cell in two bundles the one that was sampled later counts; of earlier weights none does."""
    write_scores(project, scale, "base", [cell("sudoku", right=1)], bundle="7", ended=BEGAN)
    sync(project)
    shown = Shown(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}", scale)
    assert shown.runs("evaluations")["sudoku · base · answer16"].data.metrics["score/value"] == 3 / 8
    write_scores(project, scale, "base", [cell("sudoku", right=1)], bundle="7", ended=BEGAN + 200)
    sync(project)
    assert shown.runs("evaluations")["sudoku · base · answer16"].data.metrics["score/value"] == 1 / 8
    assert capsys.readouterr().err == ""
    write_training(project, scale, "base", curve=CURVE[:3])
    sync(project)
    assert not [name for name in shown.runs("evaluations") if " · base · " in name]
    assert capsys.readouterr().err.count("of earlier weights of 'base'; run `dlm sample base") == 2


def test_unfinished_drafts_are_no_records(project: Path, scale: str) -> None:
    checkpoints = project / "results" / scale / "checkpoints"
    shutil.copytree(checkpoints / "base", checkpoints / ".base.part")
    assert sync(project).shown == 5


def test_only_the_scales_that_are_asked_for(project: Path, scale: str) -> None:
    small_project(project, "another")
    assert sync(project, [scale]).shown == 5
    assert sync(project).shown == 10
    with pytest.raises(DataError, match="no results of scale 'anothr' to show; did you mean 'another'"):
        sync(project, ["anothr"])


def test_without_results_there_is_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert sync(tmp_path).shown == 0


def test_an_experiment_explains_itself(project: Path, shown: Shown) -> None:
    sync(project)
    experiment = shown.client.get_experiment_by_name(f"dlm/{shown.scale}/evaluations")
    note = experiment.tags["mlflow.note.content"]
    assert "higher is better" in note and "`cost/forward_passes`" in note
    assert experiment.tags["mlflow.sharedViewState.dlm"].startswith('{"name": "Evaluations: scores and costs"')
    mine = '{"name": "mine", "createdAt": 0, "updatedAt": 5, "state": ""}'
    shown.client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.dlm", mine)
    sync(project)
    kept = shown.client.get_experiment_by_name(f"dlm/{shown.scale}/evaluations").tags["mlflow.sharedViewState.dlm"]
    assert kept == mine, "what a person saved stays"


@pytest.mark.parametrize(
    ("clock", "length", "times"),
    [
        # taken up again after an interruption: it began at its first record
        ({"began": BEGAN + 50, "times": [BEGAN + n for n in range(6)], "ended": BEGAN + 60}, 60_000, 4),
        # a manifest without times: everything happened when it was written
        (None, 0, 1),
    ],
)
def test_the_times_of_a_training_that_has_no_plain_ones(
    project: Path, scale: str, clock: dict[str, Any] | None, length: int, times: int
) -> None:
    path = project / "results" / scale / "checkpoints" / "base" / "manifest.json"
    manifest = read_json(path)
    manifest["made_from"]["clock"] = clock
    write_json(path, manifest)
    sync(project)
    shown = Shown(f"sqlite:///{project / '.mlflow' / 'mlflow.db'}", scale)
    run = shown.runs("trainings")["base"]
    assert run.info.end_time - run.info.start_time == length
    assert len({point[2] for point in shown.curve(run, "loss/train")}) == times
