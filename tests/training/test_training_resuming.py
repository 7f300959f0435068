"""A training that was killed continues and ends with the weights of one that was not."""

from __future__ import annotations

import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from resumed_training import VARIANTS, Kill, start, told
from training_project import states

from dlm.files import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

AFTER_A_STATE = Kill(7)
"""Killed after the seventh update: a state is on the disk."""


def ended(folder: Path, variant: str, kill: Kill | None, **other: Any) -> tuple[int | None, str]:
    """Run a training to its end; return its exit code and what it told."""
    process = start(variant, folder, kill, **other)
    process.join(400)
    return process.exitcode, told(folder)


def finish(folder: Path, variant: str, **other: Any) -> str:
    """Let a training end by itself; return what it told."""
    code, text = ended(folder, variant, None, **other)
    assert code == 0, text[-3000:]
    return text


def killed(folder: Path, variant: str, kill: Kill, **other: Any) -> str:
    """Run a training that is killed on its way; return what it told."""
    code, text = ended(folder, variant, kill, **other)
    assert code in (-signal.SIGKILL, -signal.SIGALRM), text[-3000:]
    return text


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_killed_and_continued_is_bit_identical(variant: str, tmp_path: Path) -> None:
    finish(tmp_path / "whole", variant)
    draw = random.Random(variant)
    state, after = 5 * draw.randint(2, 10), draw.randint(0, 4)
    # Right after the update of a state the kill falls, a few milliseconds later, into its saving.
    killed(tmp_path / "killed", variant, Kill(state + after, 0 if after else draw.uniform(0, 0.02)))
    assert not (tmp_path / "killed").exists()
    (found,) = re.findall(r"train m: continues at (\d+)/60", finish(tmp_path / "killed", variant))
    assert int(found) in ((state,) if after else (state - 5, state, state + 5)), "updates are done again"
    whole, again = read_manifest(tmp_path / "whole"), read_manifest(tmp_path / "killed")
    assert again["digest"] == whole["digest"], "weights and curves are the same bytes"
    assert not (tmp_path / ".killed.work").exists()


def test_a_state_that_was_cut_short_or_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    killed(folder, "mdlm", AFTER_A_STATE)
    newest = max((tmp_path / ".m.work").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[-1]))
    cut = tmp_path / ".m.work" / "checkpoint-59"
    newest.rename(cut)
    (cut / "whole.json").unlink()
    assert "continues" not in finish(folder, "mdlm")
    killed(tmp_path / "n", "mdlm", AFTER_A_STATE)
    assert "continues" not in finish(tmp_path / "n", "mdlm", seed=8)


def test_another_commit_continues_and_damaged_states_are_passed_over(tmp_path: Path) -> None:
    """What a training runs is digested by the verb; a commit alone, or words of another file, are no other training."""
    folder = tmp_path / "m"
    killed(folder, "mdlm", AFTER_A_STATE)
    assert "continues at" in killed(folder, "mdlm", Kill(17), commit="b")
    assert states(folder)
    for mark in states(folder):
        weights = mark.with_name("model.safetensors")
        assert weights.stat().st_mode == mark.stat().st_mode, "who may read the one may read the other"
        weights.write_bytes(weights.read_bytes()[:-1])
    assert "continues" not in finish(folder, "mdlm", commit="b")
