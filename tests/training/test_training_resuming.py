"""A training that was killed continues and ends with the weights of one that was not."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training_project import states

from dlm.files import read_manifest

RUN = """
import itertools, os, signal, sys, types
from pathlib import Path
sys.path.insert(0, {tests!r})
from doubles import small_architecture, small_encoder, word_tokenizer
from dlm.models import make_denoiser
from dlm.settings import BD3LM, MDLM, Autoregressive, ExecutionSettings, LoRA, Muon, Recipe
from dlm.training import resuming, train

def watch(record, time):
    if len(sys.argv) > 4 and record["step"] == int(sys.argv[4]) and "loss" in record:
        # Later on by the kernel itself, which neither waits for a thread's turn nor lets Python have a word.
        after = float(sys.argv[5])
        signal.setitimer(signal.ITIMER_REAL, after) if after else os.kill(os.getpid(), signal.SIGKILL)

resuming.time = types.SimpleNamespace(monotonic=itertools.count().__next__)  # ticks once an update, and once a state
rows = [{{"id": n, "text": " ".join("abcdefgh"[(n + i) % 8] for i in range(7))}} for n in range(64)]
recipe = Recipe(
    loss_on="all", max_length=8, steps=60, batch_size=4, learning_rate=5e-3, evaluations=3, evaluation_rows=8,
    checkpoint_seconds=5.0, {variant}
)
if {family!r} in ("bert", "roberta"):
    start = small_encoder({family!r})
else:
    sizes = small_architecture({family!r}, tie_embeddings={tied})
    start = make_denoiser(sizes, word_tokenizer(), causal={causal}, shift={causal}, seed=0)
out, seed, cpu = Path(sys.argv[1]), int(sys.argv[2]), ExecutionSettings(device="cpu")
made_from = {{"seed": seed, "code": {{"commit": sys.argv[3]}}}}
train("m", start, rows, rows[:16], recipe, out=out, seed=seed, execution=cpu, made_from=made_from, watch=watch)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

VARIANTS = {
    "mdlm": ("objective=MDLM()", False, False),
    "muon": ("objective=MDLM(), muon=Muon()", False, False),
    "lora": ("objective=MDLM(), lora=LoRA(rank=2, alpha=4, dropout=0.1)", False, False),
    "accumulated": ("objective=MDLM(), micro_batch_size=2", False, False),
    "autoregressive": ("objective=Autoregressive()", False, True),
    "tied": ("objective=MDLM(), muon=Muon()", True, False),
    "bd3lm": ("objective=BD3LM(block_size=4)", False, False),
    "modernbert": ("objective=MDLM()", True, False),
    "bert": ("objective=MDLM()", True, False),
    "roberta": ("objective=MDLM()", True, False),
    "grouped": ("objective=MDLM(), group_by_length=True, gradient_checkpointing=True", False, False),
}
"""Recipe, tied embeddings, causal attention. The network is a Llama, unless the variant is named after its family."""


AFTER_A_STATE = (7, 0)
"""Killed after the seventh update: a state is on the disk."""


def start(variant: str, folder: Path, *kill: object, seed: int = 7, commit: str = "a") -> subprocess.Popen[str]:
    """Start a training that saves a state every five updates; ``kill``: after which update and seconds it dies."""
    text, tied, causal = VARIANTS[variant]
    family = variant if variant in ("modernbert", "bert", "roberta") else "llama"
    tests = str(Path(__file__).resolve().parents[1])
    code = RUN.format(tests=tests, variant=text, tied=tied, causal=causal, family=family)
    command = [sys.executable, "-c", code, str(folder), str(seed), commit, *map(str, kill)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> str:
    _, told = process.communicate(timeout=400)
    assert process.returncode == 0, told[-3000:]
    return told


def killed(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a training that is killed on its way; return what it told."""
    _, told = process.communicate(timeout=400)
    assert process.returncode in (-signal.SIGKILL, -signal.SIGALRM), told[-3000:]
    return told


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_killed_and_continued_is_bit_identical(variant: str, tmp_path: Path) -> None:
    finish(start(variant, tmp_path / "whole"))
    draw = random.Random(variant)
    state, after = 5 * draw.randint(2, 10), draw.randint(0, 4)
    # Right after the update of a state the kill falls, a few milliseconds later, into its saving.
    killed(start(variant, tmp_path / "killed", state + after, 0 if after else draw.uniform(0, 0.02)))
    assert not (tmp_path / "killed").exists()
    told = finish(start(variant, tmp_path / "killed"))
    (found,) = re.findall(r"train m: continues at (\d+)/60", told)
    assert int(found) in ((state,) if after else (state - 5, state, state + 5)), "updates are done again"
    whole, again = read_manifest(tmp_path / "whole"), read_manifest(tmp_path / "killed")
    assert again["digest"] == whole["digest"], "weights and curves are the same bytes"
    assert not (tmp_path / ".killed.work").exists()


def test_a_state_that_was_cut_short_or_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    killed(start("mdlm", folder, *AFTER_A_STATE))
    newest = max((tmp_path / ".m.work").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[-1]))
    cut = tmp_path / ".m.work" / "checkpoint-59"
    newest.rename(cut)
    (cut / "whole.json").unlink()
    assert "continues" not in finish(start("mdlm", folder))
    killed(start("mdlm", tmp_path / "n", *AFTER_A_STATE))
    assert "continues" not in finish(start("mdlm", tmp_path / "n", seed=8))


def test_another_commit_continues_and_damaged_states_are_passed_over(tmp_path: Path) -> None:
    """What a training runs is digested by the verb; a commit alone, or words of another file, are no other training."""
    folder = tmp_path / "m"
    killed(start("mdlm", folder, *AFTER_A_STATE))
    assert "continues at" in killed(start("mdlm", folder, 17, 0, commit="b"))
    assert states(folder)
    for mark in states(folder):
        weights = mark.with_name("model.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1])
    assert "continues" not in finish(start("mdlm", folder, commit="b"))
