"""`dlm publish`: a checkpoint packed with a card that says what it is, and that plain transformers can use."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from doubles import small_denoiser
from huggingface_hub import ModelCard

from dlm.cli import cli
from dlm.cli.converting import convert_planned
from dlm.errors import CheckpointError, DataError, DlmError, SettingsError, SetupError
from dlm.files import read_json, read_manifest, write_json, write_jsonl, write_manifest
from dlm.models import load_denoiser, save_denoiser
from dlm.params import Plan, load_plan
from dlm.publishing import pack

SCALE = "small"
FORMATS = ("llada", "dream", "bert")
SCRATCH = {"model_type": "llama", "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16}


def scale(parity: Path) -> dict[str, Any]:
    """Params of two trainings, and of checkpoints from elsewhere in three formats."""
    start = {"architecture": {**SCRATCH, "max_positions": 128}, "tokenizer": "tokenizer-llada"}
    base = {"kind": "train", "start": start, "recipe": "pretrain_mdlm", "dataset": "corpus"}
    tuned = {"kind": "train", "start": "base", "recipe": "sft_reasoning", "dataset": ["reasoning", "chats", "own"]}
    rows = [{"model": "tuned", "label": "Tuned"}, *({"model": name, "label": name} for name in FORMATS)]
    return {
        "extends": "micro",
        "data": {
            "chats": {"kind": "hub", "repository": "org/chats", "revision": "main", "format": "messages"},
            "own": {"kind": "rows", "path": "private/own.jsonl"},
        },
        "checkpoints": {
            "base": base, "tuned": tuned, **{name: {"kind": "folder", "path": str(parity / name)} for name in FORMATS},
        },
        "tables": {"table1": {"tasks": ["countdown"], "rows": rows}},
    }  # fmt: skip


def made_by_hand(plan: Plan, name: str, start: str, dataset: str, parents: dict[str, str]) -> str:
    """Save a checkpoint as `dlm train` leaves it; return its digest."""
    recipe = plan.params.recipes[plan.params.checkpoints[name].recipe]
    made_from = {
        "parents": parents, "settings": dataclasses.asdict(recipe), "code": {"commit": "c" * 40, "edited": False},
        "libraries": {"torch": "2.0", "transformers": "5.0"}, "recipe": plan.params.checkpoints[name].recipe,
        "start": start, "dataset": dataset, "seed": 7, "steps": 8, "clock": {"began": 1.0, "ended": 2.0},
    }  # fmt: skip
    folder = plan.layout.folder("checkpoints", name)
    folder.mkdir(parents=True)
    return str(save_denoiser(small_denoiser(), folder, name=name, made_from=made_from)["digest"])


def prepared(plan: Plan, name: str, **source: str) -> str:
    folder = plan.layout.folder("data", name)
    write_jsonl(folder / "train.jsonl", [{"id": name}])
    made_from = {"settings": dataclasses.asdict(plan.params.data[name]), **({"source": source} if source else {})}
    return str(write_manifest(folder, kind="dataset", name=name, made_from=made_from)["digest"])


def score(plan: Plan, name: str, digest: str) -> Path:
    """Scores of one task, 6 of 8 right."""
    path = Path(plan.layout.manifest("scores", f"{name}/1"))
    (cell,) = plan.bundle(f"{name}/1")
    content = {
        "task": cell.task, "setting": cell.setting, "chat": True, "response_prefix": cell.response_prefix,
        "metric": "exact_match", "filter": "none", "value": 0.75, "n": 8, "numerators": [1.0] * 6 + [0.0] * 2,
        "weights": [1] * 8, "how": [], "lm_eval": {"task": "dlm_countdown"},
    }  # fmt: skip
    scores = {"format": "dlm-scores/1", "model": name, "scale": SCALE, "checkpoint": digest, "cells": [content]}
    write_json(path, scores)
    return path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Path]:
    """A project with a checkpoint tuned from another, scored, and three of published formats."""
    root = tmp_path_factory.mktemp("publishing") / "project"
    shutil.copytree(repository / "params", root / "params")
    (root / "Snakefile").touch()
    (root / "private").mkdir()
    (root / "private" / "own.jsonl").touch()
    text = yaml.safe_dump(scale(repository / "tests" / "parity" / "checkpoints"))
    (root / "params" / f"{SCALE}.yaml").write_text(text)
    with contextlib.chdir(root):
        plan = load_plan(SCALE)
        corpus = prepared(plan, "corpus")
        parents = {"reasoning": prepared(plan, "reasoning"), "chats": prepared(plan, "chats", commit="d" * 40)}
        parents["own"] = prepared(plan, "own", sha256="e" * 64)
        base = made_by_hand(plan, "base", "scratch", "corpus", {"corpus": corpus, "tokenizer-llada": "t" * 64})
        digest = made_by_hand(plan, "tuned", "base", "reasoning + chats + own", {**parents, "base": base})
        score(plan, "tuned", digest)
        for name in FORMATS:
            convert_planned(name, plan)
        yield root


@pytest.fixture
def plan(project: Path) -> Plan:
    return load_plan(SCALE)


def test_the_card_says_what_manifests_and_scores_say(plan: Plan, tmp_path: Path) -> None:
    card = ModelCard.load(pack(plan, "tuned", tmp_path / "out", license_id="mit") / "README.md")
    assert (card.data.library_name, card.data.license, card.data.datasets) == ("transformers", "mit", ["org/chats"])
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("exact_match", 0.75, "Countdown")
    assert result.metric_args["ci_low"] == pytest.approx(0.409, abs=1e-3)
    steps = re.findall(r"^\d\. `(\w+)`, digest `(\w+)`: (.*)$", card.content, re.MULTILINE)
    assert [(name, told.split(", ")[0]) for name, _, told in steps] == [
        ("tuned", "trained by the recipe `sft_reasoning` from the next"),
        ("base", "trained by the recipe `pretrain_mdlm` from random weights"),
    ]
    assert "org/chats (train) at " + "d" * 40 in card.content
    assert "generated, style reasoning: 40 word_problems" in card.content
    assert f"own.jsonl, a file of rows, SHA-256 {'e' * 16}." in card.content and "private/" not in card.content
    assert "learning_rate 0.002" in card.content and "seed 7" in card.content
    row = next(line for line in card.content.splitlines() if line.startswith("| Countdown |"))
    assert row.split(" | ")[1:7] == ["exact_match", "0.7500", "0.1637", "0.4093 to 0.9285", "8", "`answer48`"]
    assert "- `answer48`: canvas.kind full, canvas.max_new_tokens 16" in card.content
    assert "learned nothing" in card.content, "the scale says so"


def test_the_same_checkpoint_is_packed_to_the_same_bytes_and_loads(plan: Plan, tmp_path: Path) -> None:
    one, other = (pack(plan, "tuned", tmp_path / name / "out") for name in "ab")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert {"README.md", "manifest.json", "model.safetensors"} <= set(map(str, files))
    assert [(one / file).read_bytes() for file in files] == [(other / file).read_bytes() for file in files]
    assert str(tmp_path) not in (one / "README.md").read_text()
    assert load_denoiser(one).digest == read_manifest(plan.layout.folder("checkpoints", "tuned"))["digest"]
    (one / "old").touch()
    assert not (pack(plan, "tuned", one) / "old").exists(), "what was packed before is replaced"


@pytest.mark.parametrize("name", FORMATS)
def test_the_code_of_the_card_fills_a_mask_with_plain_transformers(name: str, plan: Plan, tmp_path: Path) -> None:
    folder = pack(plan, name, tmp_path / "out", repository=str(tmp_path / "out"))
    card = (folder / "README.md").read_text()
    assert f"converted from the folder `{name}`" in " ".join(card.split())
    assert "None were computed at this scale." in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "dlm" not in code
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    denoiser = load_denoiser(folder)
    asked = denoiser.tokenizer.encode("1 + 2 = ")
    tokens = torch.tensor([[*asked, denoiser.mask_token_id]])
    logits = denoiser.logits(tokens, None, tokens == denoiser.mask_token_id).clone()
    logits[..., denoiser.mask_token_id] = -torch.inf
    assert names["tokens"][0, -1] == logits[0].argmax()
    assert printed.getvalue() == denoiser.tokenizer.decode(names["tokens"][0]) + "\n"


def test_what_is_not_there_any_more_is_named_and_not_described(plan: Plan, tmp_path: Path) -> None:
    other = Plan(plan.scale, plan.params, dataclasses.replace(plan.layout, root=tmp_path / "copy"))
    shutil.copytree("results", other.layout.root / "results")
    shutil.rmtree(other.layout.folder("checkpoints", "base"))
    shutil.rmtree(other.layout.folder("data", "chats"))
    card = (pack(other, "tuned", tmp_path / "out") / "README.md").read_text()
    assert "not described, since it is no longer here" in card
    assert re.search(r"Data `chats`, digest `\w{16}`: no longer here", card)


def test_scores_of_other_weights_are_refused(plan: Plan, tmp_path: Path) -> None:
    path = Path(plan.layout.manifest("scores", "tuned/1"))
    before = read_json(path)
    write_json(path, {**before, "checkpoint": "0" * 64})
    with pytest.raises(DataError, match="scores of other weights than those of checkpoint 'tuned'; run `dlm sample"):
        pack(plan, "tuned", tmp_path / "out")
    write_json(path, before)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_anything_else_is_left_as_it_is(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(SettingsError, match="is not empty, and what it holds would be lost"):
        pack(plan, "tuned", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    with pytest.raises(SettingsError, match="did you mean 'tuned'"):
        pack(plan, "tund", tmp_path / "new")
    with pytest.raises(CheckpointError, match="not there yet; make it with `dlm train llada-base --scale small`"):
        pack(plan, "llada-base", tmp_path / "new")


@pytest.mark.parametrize(
    ("hub_id", "token", "kind", "message"),
    [
        ("no-hub-id", "t", SettingsError, "--upload no-hub-id: no hub id; write organisation/name"),
        (
            "org/name",
            "",
            SetupError,
            "--upload org/name: no token of the hub here; run `hf auth login`",
        ),
        ("org/name", "t", DlmError, "org/name: the hub was not asked, HF_HUB_OFFLINE is set"),
    ],
)
def test_an_upload_that_cannot_be_is_one_line(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hub_id: str,
    token: str,
    kind: type,
    message: str,
) -> None:
    """A hub to upload to is not at hand: what can be tried is who is refused, and when."""
    monkeypatch.setenv("HF_TOKEN", token)
    asked = ["publish", "llada", str(tmp_path / "out"), "--scale", SCALE, "--upload", hub_id]
    with pytest.raises(kind) as caught:
        CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
    assert (tmp_path / "out").exists() == ("not asked" in message), "refused before anything is copied"
