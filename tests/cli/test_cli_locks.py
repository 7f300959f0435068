"""A verb does not make what another process is making: it says who that is, and waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from dlm.cli.common import making
from dlm.files import write_text
from dlm.locks import held
from dlm.params import load_plan


def test_a_product_that_another_process_makes_is_waited_for(tmp_path: Path, repository: Path) -> None:
    shutil.copytree(repository / "params", tmp_path / "params")
    layout = load_plan("micro", tmp_path).layout
    manifest, log = Path(layout.manifest("data", "sudoku")), tmp_path / "logs" / "sudoku.log"
    command = [sys.executable, "-m", "dlm", "prepare", "sudoku", "--scale", "micro", "--log", str(log)]
    with held(layout.lock("data", "sudoku"), print):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        told = process.stderr.readline()
        assert told.startswith(f"data/sudoku of scale micro is being made by process {os.getpid()} on ")
        assert told.endswith("; waiting for its end\n")
        time.sleep(0.5)
        assert process.poll() is None and not manifest.parent.exists()
    _, rest = process.communicate(timeout=280)
    assert process.returncode == 0 and rest == "prepare sudoku: 1 files\n"
    assert manifest.exists()
    assert log.read_text() == told + rest
    assert not any("lock" in str(path) for path in manifest.parent.rglob("*"))


def test_what_a_killed_writer_left_is_removed_by_the_next_maker(tmp_path: Path, repository: Path) -> None:
    """Of the product alone: another's may be in the making."""
    shutil.copytree(repository / "params", tmp_path / "params")
    plan = load_plan("micro", tmp_path)
    own, other = (plan.layout.folder("scores", f"llada-base/{number}") for number in (1, 2))
    for folder in (own, other):
        write_text(folder / "scores.json", "{}")
        (folder / ".scores.json.x1y2.part").write_text("{")
    with making(plan, "scores", "llada-base/1"):
        assert [path.name for path in own.iterdir()] == ["scores.json"]
    assert (other / ".scores.json.x1y2.part").exists()
