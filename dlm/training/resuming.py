"""Unfinished trainings: states saved as time passes, found again after any kind of end.

A saved state counts once its mark is written, last and atomically; one without a mark was cut short and is passed over.
States lie beside the checkpoint folder, which Snakemake may delete before a job runs again.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from dlm.files import read_json, write_json
from dlm.training.curves import Curves

_MARK = "whole.json"


class Saver(TrainerCallback):
    """Saves the state of a training every so many seconds, at the next logging step.

    Between logging steps the Trainer holds sums that are not part of a saved state; at one, nothing is lost, so a
    continued training logs the same curves.

    Args:
        work: folder of the saved states.
        identity: digest of everything that decides the weights; a state of another training is not continued.
        seconds: least time between two states.
        curves: saved with each state.
    """

    def __init__(self, work: Path, identity: str, seconds: float, curves: Curves) -> None:
        self.work, self.identity, self.seconds, self.curves = work, identity, seconds, curves
        self._saved = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        unfinished = state.global_step < state.max_steps
        if "loss" in (logs or {}) and unfinished and time.monotonic() - self._saved >= self.seconds:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = self.work / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        mark = {"identity": self.identity, "records": self.curves.records, "times": self.curves.times}
        write_json(folder / _MARK, mark)
        for other in self.work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        self._saved = time.monotonic()


def continue_from(work: Path, identity: str, curves: Curves) -> str | None:
    """Return the newest whole state of this very training and give ``curves`` its records; None: start afresh.

    Whatever else lies in ``work`` (states cut short, or of other settings) is removed.
    """
    found = None
    for folder in sorted(work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.split("-")[-1])):
        mark = read_json(folder / _MARK) if (folder / _MARK).is_file() else {}
        if mark.get("identity") == identity:
            found = (folder, mark)
    if found is None:
        shutil.rmtree(work, ignore_errors=True)
        return None
    folder, mark = found
    curves.restore(mark["records"], mark["times"], int(folder.name.split("-")[-1]))
    return str(folder)
