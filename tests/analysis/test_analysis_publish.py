"""The published copy: current or not by content, copied whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from dlm.analysis.publish import drop_stale, is_current, publish
from dlm.errors import DataError

NAMES = {"t.csv", "t.md", "t.speed.csv", "t.metrics.json", "t.lineage.json"}


def make(folder: Path, text: str) -> Path:
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"{name} {text}")
    return folder


def test_copies_what_differs_and_then_nothing(tmp_path: Path):
    tiny, copy = make(tmp_path / "tiny", "tiny"), tmp_path / "copy"
    assert not is_current(tiny, "t", copy)
    assert {path.name for path in publish(tiny, "t", copy)} == NAMES
    assert is_current(tiny, "t", copy)
    before = {path: path.stat().st_mtime_ns for path in copy.iterdir()}
    assert publish(tiny, "t", copy) == []
    assert {path: path.stat().st_mtime_ns for path in copy.iterdir()} == before
    assert {path.name for path in copy.iterdir()} == NAMES


def test_another_scale_and_back_never_leaves_the_wrong_table(tmp_path: Path):
    tiny, paper, copy = make(tmp_path / "tiny", "tiny"), make(tmp_path / "paper", "paper"), tmp_path / "copy"
    for scale in (tiny, paper, tiny):
        publish(scale, "t", copy)
        assert is_current(scale, "t", copy)
        assert (copy / "t.csv").read_bytes() == (scale / "t.csv").read_bytes()
    assert not is_current(paper, "t", copy)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_one_edited_or_missing_file_is_not_current(tmp_path: Path, name: str):
    tiny, copy = make(tmp_path / "tiny", "tiny"), tmp_path / "copy"
    publish(tiny, "t", copy)
    (copy / name).write_text("edited by hand")
    assert not is_current(tiny, "t", copy)
    assert [path.name for path in publish(tiny, "t", copy)] == [name]
    (copy / name).unlink()
    assert not is_current(tiny, "t", copy)


def test_only_stale_copies_are_dropped(tmp_path: Path):
    tiny, paper, copy = make(tmp_path / "tiny", "tiny"), make(tmp_path / "paper", "paper"), tmp_path / "copy"
    assert drop_stale(tiny, copy, ["t"]) == []
    publish(tiny, "t", copy)
    (copy / "other.csv").write_text("another table")
    assert drop_stale(tiny, copy, ["t"]) == []
    assert {path.name for path in drop_stale(paper, copy, ["t"])} == NAMES
    assert [path.name for path in copy.iterdir()] == ["other.csv"]


def test_an_incomplete_source_is_refused_and_nothing_copied(tmp_path: Path):
    tiny, copy = make(tmp_path / "tiny", "tiny"), tmp_path / "copy"
    (tiny / "t.md").unlink()
    assert not is_current(tiny, "t", copy)
    with pytest.raises(DataError, match=r"t\.md: no such file; run `dlm table t` again"):
        publish(tiny, "t", copy)
    assert not copy.exists()
