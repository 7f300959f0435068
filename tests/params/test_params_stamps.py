"""Stamps: a product says what it was made from; another product, or another plan, is told by it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dlm.errors import SettingsError
from dlm.files import sha256_file, write_manifest
from dlm.params import Plan, load_plan, stamped
from dlm.params.stamps import STAMP_FORMAT, accept, plan_text, read_stamp, remembered, stamp_path


@pytest.fixture
def plan(repository: Path, tmp_path: Path) -> Plan:
    shutil.copytree(repository / "params", tmp_path / "params")
    shutil.copytree(repository / "data", tmp_path / "data")
    return load_plan("micro", tmp_path)


def make(plan: Plan, step: str, name: str, text: str = "made") -> Path:
    """Make a product, as a verb does."""
    folder = plan.layout.folder(step, name)
    with stamped(plan, step, name):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text(text)
        write_manifest(folder, kind="dataset", name=name, made_from={})
    return folder


def altered(plan: Plan, step: str, name: str, **fields: object) -> None:
    path = stamp_path(plan, step, name)
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_stamp_says_what_the_plan_asks_and_what_was_read(plan: Plan) -> None:
    make(plan, "data", "corpus")
    make(plan, "data", "instruct")
    make(plan, "data", "reasoning")
    folder = make(plan, "data", "tokenizer-llada")
    stamp = read_stamp(plan, "data", "tokenizer-llada")
    assert stamp is not None
    assert stamp["settings"] == plan.digest("data", "tokenizer-llada")
    assert [Path(path).parent.name for path in stamp["inputs"]] == ["corpus", "instruct", "reasoning"]
    assert list(stamp["outputs"]) == [str(folder / "manifest.json")]


def test_a_stamp_is_no_file_of_the_product(plan: Plan) -> None:
    folder = make(plan, "data", "corpus")
    before = (folder / "manifest.json").read_bytes()
    write_manifest(folder, kind="dataset", name="corpus", made_from={})
    assert (folder / "manifest.json").read_bytes() == before


def test_a_failed_step_leaves_no_stamp(plan: Plan) -> None:
    with pytest.raises(RuntimeError), stamped(plan, "data", "corpus"):
        raise RuntimeError("killed")
    assert read_stamp(plan, "data", "corpus") is None


@pytest.mark.parametrize("text", ["", "[]", "{}", f'{{"format": "{STAMP_FORMAT}"}}'])
def test_a_stamp_that_cannot_be_read_says_nothing(plan: Plan, text: str) -> None:
    make(plan, "data", "corpus")
    stamp_path(plan, "data", "corpus").write_text(text)
    assert read_stamp(plan, "data", "corpus") is None


def test_the_stamp_of_another_content_says_nothing(plan: Plan) -> None:
    folder = make(plan, "data", "corpus")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"corpus"', '"corpse"'))
    assert read_stamp(plan, "data", "corpus") is None
    manifest.unlink()
    assert read_stamp(plan, "data", "corpus") is None


def test_records_of_other_code_are_dropped_and_those_of_the_same_are_kept(plan: Plan) -> None:
    dropped: list[str] = []

    def forget() -> None:
        dropped.append("records")

    def begin() -> None:
        with pytest.raises(RuntimeError), stamped(plan, "responses", "llada-base/1", forget):
            raise RuntimeError("killed")

    begin()
    assert len(dropped) == 1, "records of unknown code"
    begin()
    assert len(dropped) == 1, "what a killed run recorded is continued"
    altered(plan, "responses", "llada-base/1", answers="other code's")
    begin()
    assert len(dropped) == 2


def test_accepting_is_for_other_code_only(plan: Plan) -> None:
    for name in ("corpus", "instruct", "reasoning", "tokenizer-llada", "tokenizer-dream"):
        make(plan, "data", name)
    altered(plan, "data", "corpus", code="before a change")
    altered(plan, "data", "instruct", code="before a change", settings="other settings")
    altered(plan, "data", "tokenizer-llada", code="before a change", inputs={})
    assert accept(plan) == ["data corpus"]
    stamp = read_stamp(plan, "data", "corpus")
    assert stamp is not None and stamp["code"] != "before a change"
    assert accept(plan) == []


def test_the_same_content_with_another_lineage_is_remembered_as_read(plan: Plan) -> None:
    def corpus(text: str, commit: str) -> str:
        folder = plan.layout.folder("data", "corpus")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.jsonl").write_text(text)
        write_manifest(folder, kind="dataset", name="corpus", made_from={"code": commit})
        return sha256_file(folder / "manifest.json")

    first = corpus("rows", "first")
    make(plan, "data", "tokenizer-llada")
    stamp = read_stamp(plan, "data", "tokenizer-llada")
    path = plan.layout.manifest("data", "corpus")
    assert stamp is not None and remembered(stamp)[path] == first
    second = corpus("rows", "second")
    assert remembered(stamp)[path] == second != first
    third = corpus("other rows", "second")
    assert remembered(stamp)[path] != third


def test_the_plan_names_every_product_after_what_it_is_made_from(plan: Plan) -> None:
    with pytest.raises(SettingsError, match=r"^sensitivity_figure5: DVC's stages are those of the params' tables"):
        plan_text(plan, "sensitivity_figure5")
    content = json.loads(plan_text(plan, "table1"))
    assert list(content) == ["data", "checkpoints", "responses", "scores", "tables"]
    assert len(content["checkpoints"]) == 10 and len(content["data"]) == 9 and len(content["scores"]) == 8
    order = list(content["checkpoints"])
    assert len(json.loads(plan_text(plan))["checkpoints"]) == len(plan.params.checkpoints)
    assert order.index("dream-parent") < order.index("dream-opened") < order.index("dream-base")


def test_the_plan_names_the_content_of_what_no_step_makes(repository: Path, tmp_path: Path) -> None:
    for name in ("params", "data"):
        shutil.copytree(repository / name, tmp_path / name)
    plan = load_plan("paper", tmp_path)
    figures = tmp_path / "data" / "published" / "published.csv"
    before = json.loads(plan_text(plan))
    figures.write_text(figures.read_text() + "\n")
    after = json.loads(plan_text(plan))
    assert before["tables"] != after["tables"] and before["scores"] == after["scores"]


def test_answers_of_another_dtype_are_forgotten(plan: Plan) -> None:
    """Of another size of bundle, they are kept: an answer does not depend on its company. Nor on its order's record."""
    forgotten: list[str] = []

    def sample(**execution: Any) -> None:
        params = dataclasses.replace(plan.params, execution=dataclasses.replace(plan.params.execution, **execution))
        changed = dataclasses.replace(plan, params=params)
        with stamped(changed, "responses", "llada-base/1", lambda: forgotten.append(str(execution))):
            folder = changed.layout.folder("responses", "llada-base/1")
            write_manifest(folder, kind="responses", name="llada-base", made_from={})

    sample()
    assert len(forgotten) == 1  # what was there before had no stamp
    sample()
    sample(bundle=7)
    sample(record_order=not plan.params.execution.record_order)
    assert len(forgotten) == 1
    sample(dtype="bfloat16")
    sample(threads=2)
    assert len(forgotten) == 3
