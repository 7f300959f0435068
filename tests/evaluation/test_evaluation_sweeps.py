"""What sweeps ask of sampling: words around a question, ways of running a model, and a budget."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import DOCUMENTS, EXECUTION, SAMPLER, cell, save_checkpoint, save_documents

from dlm.errors import DataError, SettingsError
from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.halving import STOPPED, HalvingBudget
from dlm.evaluation.replay import RecordedLM
from dlm.files import read_json, read_jsonl
from dlm.settings import Budget, EvenSelector


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    save_checkpoint(root / "checkpoint")
    for name, rows in DOCUMENTS.items():
        save_documents(root / "data" / name, rows)
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "place"))


def sample(place: Path, bundles: dict[str, list[Any]], **more: Any) -> None:
    folders = {place / "responses" / name: cells for name, cells in bundles.items()}
    arguments = {"execution": EXECUTION, **more}
    sample_cells(folders, checkpoint_dir=place / "checkpoint", data_folder_of=lambda n: place / "data" / n, **arguments)


def score(place: Path, bundle: str, cells: list[Any]) -> list[dict[str, Any]]:
    arguments = {"checkpoint_dir": place / "checkpoint", "data_folder_of": lambda name: place / "data" / name}
    folder = place / "responses" / bundle
    scored = score_cells(folder, cells, out_dir=place / "scores" / bundle, scale="x", **arguments)
    found: list[dict[str, Any]] = scored["cells"]
    return found


def records(place: Path, bundle: str) -> list[dict[str, Any]]:
    rows = read_jsonl(place / "responses" / bundle / "records.jsonl")
    return [row for row in rows if row["kind"] in ("generate", "likelihood")]


def with_task(name: str, **changes: Any) -> Any:
    plain = cell(name)
    task = dataclasses.replace(plain.task_settings, **changes)
    return dataclasses.replace(plain, task_settings=task, setting="+".join(map(str, changes.values())))


def test_a_template_stands_around_every_question_and_the_next_cell_is_asked_plainly(place: Path) -> None:
    cells = [with_task("words", template="Q: {prompt} A:"), cell("words"), with_task("choice", template="<{prompt}>")]
    sample(place, {"s-1": cells})
    prompts: dict[str, list[str]] = {}
    for row in records(place, "s-1"):
        prompts.setdefault(row["setting"], []).append(row["prompt"])
    question = DOCUMENTS["words"][0]["question"]
    assert any(f"user\nQ: {question} A:<|im_end|>" in prompt for prompt in prompts["Q: {prompt} A:"])
    assert any(f"user\n{question}<|im_end|>" in prompt for prompt in prompts["short"])
    assert all("<2 4 6>" in prompt or "<9 8 7>" in prompt for prompt in prompts["<{prompt}>"])
    scored = score(place, "s-1", cells)
    assert [each["setting"] for each in scored] == ["Q: {prompt} A:", "short", "<{prompt}>"]


def test_another_way_of_running_is_recorded_apart_and_really_run(place: Path) -> None:
    """The same request, in batches of 4 and of 1: neither takes the other's record, and both are scored."""
    one = dataclasses.replace(cell("words"), setting="ones", execution=dataclasses.replace(EXECUTION, batch_size=1))
    ways: dict[Path, Any] = {}

    def usable(folder: Path, execution: Any) -> bool:
        return ways.get(folder, EXECUTION) == execution

    ways[place / "responses" / "s-2"] = one.execution
    sample(place, {"s-1": [cell("words")], "s-2": [one]}, usable=usable)
    whats = [{row["what"] for row in records(place, bundle)} for bundle in ("s-1", "s-2")]
    assert whats[0] == whats[1] and len(whats[0]) == 3
    batches = []
    for bundle, asked in (("s-1", cell("words")), ("s-2", one)):
        score(place, bundle, [asked])
        executions = read_json(place / "scores" / bundle / "scores.json")["executions"]
        batches += [each["batch_size"] for each in executions.values()]
    assert batches == [4, 1]


def test_a_bundle_is_run_in_one_way(place: Path) -> None:
    other = dataclasses.replace(cell("words"), execution=dataclasses.replace(EXECUTION, batch_size=1))
    with pytest.raises(SettingsError, match="in several ways"):
        sample(place, {"s-1": [cell("words"), other]})


SETTINGS = [
    dataclasses.replace(
        cell("words"), setting=f"steps{n}", sampler=dataclasses.replace(SAMPLER, selector=EvenSelector(steps=n))
    )
    for n in (2, 4, 8)
]


def test_one_more_setting_samples_its_own_requests_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are divided anew when a factor gets a value; what any of them has recorded is copied, to the byte."""
    asked: list[str] = []
    plain = RecordedLM._fill

    def fill(self: RecordedLM, missing: Any, *more: Any) -> None:
        asked.extend([self.cell.setting] * len(missing))
        plain(self, missing, *more)

    monkeypatch.setattr(RecordedLM, "_fill", fill)
    sample(place, {"mine-1": [SETTINGS[0], SETTINGS[2]]})
    before = {row["what"]: row for row in records(place, "mine-1")}
    assert asked == ["steps2"] * 3 + ["steps8"] * 3
    asked.clear()
    sample(place, {"mine-1": SETTINGS[:2], "mine-2": SETTINGS[2:]})
    assert asked == ["steps4"] * 3
    after = {row["what"]: row for bundle in ("mine-1", "mine-2") for row in records(place, bundle)}
    assert len(after) == 9 and before.items() <= after.items()
    assert [each["n"] for each in score(place, "mine-2", SETTINGS[2:])] == [3]


def test_a_budget_ends_settings_early_and_scores_say_so(place: Path) -> None:
    """Three documents of 2, 4 and 8 passes: 14 a document. 30 passes: two documents of each setting."""
    budget = HalvingBudget(Budget(forward_passes=30, first=2), 30, frozenset({("words", "steps2")}))
    folder = place / "responses" / "s-1"
    sample(place, {"s-1": SETTINGS}, budgets={folder: budget})
    assert len(records(place, "s-1")) == 6
    fates = read_json(folder / STOPPED)["cells"]
    assert [(fate["setting"], fate["documents"], fate["of"], fate["reason"]) for fate in fates] == [
        (name, 2, 3, "budget") for name in ("steps2", "steps4", "steps8")
    ]
    assert [fate["forward_passes"] for fate in fates] == [4, 8, 16]
    for scored in score(place, "s-1", SETTINGS):
        assert scored["n"] == 2 and scored["stopped"]["reason"] == "budget" and scored["stopped"]["of"] == 3
    # Begun again, nothing is sampled, and the same ones are stopped. Without a budget the rest follows.
    sample(place, {"s-1": SETTINGS}, budgets={folder: budget})
    assert len(records(place, "s-1")) == 6 and read_json(folder / STOPPED)["cells"] == fates
    sample(place, {"s-1": SETTINGS})
    assert len(records(place, "s-1")) == 9 and not (folder / STOPPED).exists()
    assert all(each["n"] == 3 and "stopped" not in each for each in score(place, "s-1", SETTINGS))


def test_seeds_of_a_setting_race_as_one_and_have_the_same_documents(place: Path) -> None:
    """Settings of 2 and 8 passes with two seeds each: 20 a document, so 40 passes are two documents of each seed."""
    seeded = [dataclasses.replace(each, setting=f"{each.setting}@1", seed=1) for each in SETTINGS[::2]]
    cells = [cell for pair in zip(SETTINGS[::2], seeded, strict=True) for cell in pair]
    repeats = {("words", each.setting): each.setting.removesuffix("@1") for each in seeded}
    budget = HalvingBudget(Budget(forward_passes=59, first=2), 59, frozenset({("words", "steps2")}), repeats)
    folder = place / "responses" / "s-1"
    sample(place, {"s-1": cells}, budgets={folder: budget})
    fates = read_json(folder / STOPPED)["cells"]
    assert [(fate["setting"], fate["seeds"], fate["forward_passes"]) for fate in fates] == [
        ("steps2", ["steps2", "steps2@1"], 8),
        ("steps8", ["steps8", "steps8@1"], 32),
    ]
    scored = score(place, "s-1", cells)
    assert [(each["setting"], each["n"]) for each in scored] == [(cell.setting, 2) for cell in cells]
    assert all(each["stopped"]["reason"] == "budget" for each in scored)


def test_a_setting_of_a_further_cell_of_a_task_is_checked_too(place: Path) -> None:
    """A factor of a sweep may set what does not fit at any cell, not only at the baseline."""
    with pytest.raises(SettingsError, match="no filter 'flexible'"):
        sample(place, {"s-1": [cell("words"), with_task("words", filter="flexible")]})


def test_a_damaged_file_of_a_budget_is_named(place: Path) -> None:
    budget = HalvingBudget(Budget(forward_passes=99, first=2), 99)
    folder = place / "responses" / "s-1"
    sample(place, {"s-1": SETTINGS[:1]}, budgets={folder: budget})
    (folder / STOPPED).write_text('{"format": "dlm-halving/2", "cells": [{"setting": 1}]}')
    manifest = read_json(folder / "manifest.json")
    assert STOPPED in manifest["files"]
    with pytest.raises(DataError, match=r"halving\.json"):
        score(place, "s-1", SETTINGS[:1])
