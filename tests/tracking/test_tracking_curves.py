"""`dlm runs curves`: the trainings' losses as CSV files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tracking_examples import CURVE, write_training

from dlm.errors import DataError
from dlm.tracking.curves import write_curves


def test_every_training_has_its_curves_and_none_is_left_of_those_that_are_gone(tmp_path: Path) -> None:
    for name in ("base", "other", "unmeasured"):
        curve = [record for record in CURVE if "loss" in record] if name == "unmeasured" else CURVE
        write_training(tmp_path, "small", name, curve)
    checkpoints = tmp_path / "results" / "small" / "checkpoints"
    shutil.copytree(checkpoints / "base", checkpoints / ".draft.part")
    folder = tmp_path / "results" / "small" / "curves"
    written = write_curves(tmp_path, "small")
    names = ["train/base", "train/other", "train/unmeasured", "held_out/base", "held_out/other"]
    assert written == [folder / f"{name}.csv" for name in names]
    assert (folder / "train" / "base.csv").read_text() == "step,loss\n1,5.5\n2,4.25\n3,3.125\n4,3.0\n"
    assert (folder / "held_out" / "base.csv").read_text() == "step,loss\n2,4.5\n4,3.75\n"
    before = {path: path.read_bytes() for path in written}
    shutil.rmtree(checkpoints / "other")
    assert {path: path.read_bytes() for path in write_curves(tmp_path, "small")} == {
        path: content for path, content in before.items() if path.stem != "other"
    }
    assert {path.stem for path in folder.rglob("*.csv")} == {"base", "unmeasured"}


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkpoints of scale 'small'; `dlm train NAME --scale small`"):
        write_curves(tmp_path, "small")
    folder = write_training(tmp_path, "small", "base")
    (folder / "curves.jsonl").write_text('{"loss": 1.0}\n')
    with pytest.raises(DataError, match=r"base/curves\.jsonl: not as this version writes it \(KeyError\('step'\)\)"):
        write_curves(tmp_path, "small")
