"""A small training that can be killed at a chosen moment, in a process that is forked with all that it imports."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
import signal
import sys
import types
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from doubles import small_architecture, small_encoder, word_tokenizer

from dlm.models import Denoiser, make_denoiser
from dlm.settings import BD3LM, MDLM, Autoregressive, ExecutionSettings, LoRA, Muon, Recipe
from dlm.training import resuming, train

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["dlm.training.run", "dlm.models"])  # not this module: the server has not pytest's path


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is trained: how the recipe differs, and the network."""

    recipe: dict[str, Any]
    family: str = "llama"
    tied: bool = False
    causal: bool = False

    def start(self) -> Denoiser:
        """The network before its training."""
        if self.family in ("bert", "roberta"):
            return small_encoder(self.family)
        sizes = small_architecture(self.family, tie_embeddings=self.tied)
        return make_denoiser(sizes, word_tokenizer(), causal=self.causal, shift=self.causal, seed=0)


_LORA = LoRA(rank=2, alpha=4, dropout=0.1)
VARIANTS = {
    "mdlm": Variant({"objective": MDLM()}),
    "muon": Variant({"objective": MDLM(), "muon": Muon()}),
    "lora": Variant({"objective": MDLM(), "lora": _LORA}),
    "accumulated": Variant({"objective": MDLM(), "micro_batch_size": 2}),
    "autoregressive": Variant({"objective": Autoregressive()}, causal=True),
    "tied": Variant({"objective": MDLM(), "muon": Muon()}, tied=True),
    "bd3lm": Variant({"objective": BD3LM(block_size=4)}),
    "modernbert": Variant({"objective": MDLM()}, "modernbert", tied=True),
    "bert": Variant({"objective": MDLM()}, "bert"),
    "roberta": Variant({"objective": MDLM()}, "roberta"),
    "grouped": Variant({"objective": MDLM(), "group_by_length": True, "gradient_checkpointing": True}),
}


@dataclasses.dataclass(frozen=True)
class Kill:
    """When a training ends itself: so many seconds after an update."""

    update: int
    seconds: float = 0.0


def start(variant: str, folder: Path, kill: Kill | None = None, *, seed: int = 7, commit: str = "a") -> BaseProcess:
    """Start a training of 60 updates that saves a state every five; what it tells is in `told`."""
    process = FORKS.Process(target=_train, args=(variant, folder, kill, seed, commit))
    process.start()
    return process


def told(folder: Path) -> str:
    """What the last training of that folder told."""
    return folder.with_suffix(".told").read_text()


def _train(variant: str, folder: Path, kill: Kill | None, seed: int, commit: str) -> None:
    with folder.with_suffix(".told").open("w") as stream:
        os.dup2(stream.fileno(), sys.stderr.fileno())

    def watch(record: dict[str, Any], time: float) -> None:
        if kill is not None and record["step"] == kill.update and "loss" in record:
            # Later on by the kernel itself, which neither waits for a thread's turn nor lets Python have a word.
            if kill.seconds:
                signal.setitimer(signal.ITIMER_REAL, kill.seconds)
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    ticks = itertools.count().__next__  # once an update, and once a state
    resuming.time = types.SimpleNamespace(monotonic=ticks)  # type: ignore[assignment]
    rows = [{"id": n, "text": " ".join("abcdefgh"[(n + i) % 8] for i in range(7))} for n in range(64)]
    chosen = VARIANTS[variant]
    recipe = Recipe(
        **chosen.recipe, loss_on="all", max_length=8, steps=60, batch_size=4, learning_rate=5e-3, evaluations=3,
        evaluation_rows=8, checkpoint_seconds=5.0,
    )  # fmt: skip
    train(
        "m", chosen.start(), rows, rows[:16], recipe, out=folder, seed=seed, execution=ExecutionSettings(device="cpu"),
        made_from={"seed": seed, "code": {"commit": commit}}, watch=watch,
    )  # fmt: skip
