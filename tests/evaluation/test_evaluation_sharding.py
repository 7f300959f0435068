"""Documents dealt out to shards: together they are the bundle, to the byte but for the seconds that answers took."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from evaluation_examples import EXECUTION, WARM, cell, save_checkpoint, save_documents

from dlm.errors import SettingsError
from dlm.evaluation import sample_cells, score_cells
from dlm.evaluation.lm import DiffusionLM
from dlm.files import read_json, read_jsonl
from dlm.params.sharding import WHOLE, Shard

WORDS = [{"id": f"w{n}", "question": f"What is {n} + {n * n}?", "answer": str(n + n * n)} for n in range(7)]
CHOICES = [
    {
        "id": f"n{n}",
        "question": f"{n} {n + 2} {n + 4}",
        "answer": str(n + 6),
        "choices": [str(n + 6), "1", "x"],
        "gold": 0,
    }
    for n in range(5)
]
CELLS = [cell("words"), cell("choice"), cell("words", setting="warm", sampler=WARM)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sharded")
    save_checkpoint(root / "checkpoint")
    save_documents(root / "data" / "words", WORDS)
    save_documents(root / "data" / "choice", CHOICES)
    sample(root, root / "responses" / "1")
    return root


def sample(root: Path, folder: Path, shard: Shard = WHOLE, **changes: Any) -> None:
    sample_cells(
        {folder: CELLS},
        checkpoint_dir=root / "checkpoint",
        data_folder_of=lambda name: root / "data" / name,
        execution=EXECUTION,
        shard=shard,
        **changes,
    )


def without_seconds(folder: Path) -> bytes:
    text = (folder / "records.jsonl").read_text()
    assert text.count('"seconds": ') > 20
    return re.sub(r'"seconds": [\d.e-]+', '"seconds": 0', text).encode()


@pytest.mark.parametrize("count", [2, 9])  # of nine, two shards have nothing to do
def test_the_shards_together_are_the_bundle(
    root: Path, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    for shard in reversed(shards):  # in no particular order
        sample(root, tmp_path / shard.name, shard)
    monkeypatch.setattr(DiffusionLM, "generate", lambda *a: pytest.fail("sampled again"))
    monkeypatch.setattr(DiffusionLM, "estimate", lambda *a: pytest.fail("estimated again"))
    sample(root, tmp_path / "whole", beside=lambda folder: [tmp_path / shard.name for shard in shards])
    assert without_seconds(tmp_path / "whole") == without_seconds(root / "responses" / "1")
    first = list(read_jsonl(tmp_path / "1-of-2" / "records.jsonl")) if count == 2 else []
    assert {line["doc_id"] for line in first if "doc_id" in line} <= {
        *(f"w{n}" for n in (0, 2, 4, 6)),
        "n0",
        "n2",
        "n4",
    }
    where = {"checkpoint_dir": root / "checkpoint", "data_folder_of": lambda name: root / "data" / name}
    for folder in (tmp_path / "whole", root / "responses" / "1"):
        score_cells(folder, CELLS, out_dir=folder / "scores", scale="micro", **where)
    one, other = (
        (place / "scores" / "samples.jsonl").read_bytes() for place in (tmp_path / "whole", root / "responses" / "1")
    )
    assert one == other


def test_what_an_unfinished_run_recorded_is_put_in_order(root: Path, tmp_path: Path) -> None:
    """Sampled from the last document to the first, and one cell of an earlier plan behind them."""
    sample(root, tmp_path / "2-of-2", Shard(2, 2))
    sample(root, tmp_path / "whole", beside=lambda folder: [tmp_path / "2-of-2"])
    assert without_seconds(tmp_path / "whole") == without_seconds(root / "responses" / "1")
    before = (tmp_path / "whole" / "records.jsonl").stat()
    sample(root, tmp_path / "whole")
    assert (tmp_path / "whole" / "records.jsonl").stat().st_ino == before.st_ino  # nothing to do, nothing written
    assert read_json(tmp_path / "2-of-2" / "manifest.json")["made_from"]["shard"] == "2-of-2"


def test_parts_of_shards_are_shards() -> None:
    parts = [Shard(number, 3).part(part, 4) for number in (1, 2, 3) for part in (1, 2, 3, 4)]
    assert len({part.name for part in parts}) == 12
    for position in range(40):
        (owner,) = [part for part in parts if part.has(position)]
        assert Shard((owner.number - 1) % 3 + 1, 3).has(position)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "2-of-1"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="shard"):
        Shard.read(text)
    assert Shard.read("2/8") == Shard.read("2-of-8") == Shard(2, 8)
