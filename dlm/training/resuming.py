"""Unfinished trainings: states saved as time passes, found again after any kind of end.

A saved state counts once its mark is written: last, atomically, and with its files on the disk. One without a mark was
cut short, and one whose files have not the sizes in its mark is damaged; both are passed over.
States lie beside the checkpoint folder, which Snakemake may delete before a job runs again.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from dlm.errors import DataError
from dlm.files import read_json, sync_folder, write_json
from dlm.training import processes
from dlm.training.curves import Curves
from dlm.training.stopping import StopRequest

_MARK = "whole.json"


class Saver(TrainerCallback):
    """Saves the state of a training every so many seconds, and when it is asked to stop.

    Between two logging steps the Trainer holds a sum of losses that its own saved state has not: the mark has it, so
    that a continued training logs the same curves.

    Args:
        trainer: the Trainer; the callback is added to it.
        work: folder of the saved states.
        identity: digest of everything that decides the weights; a state of another training is not continued.
        seconds: least time between two states.
        curves: saved with each state.
        stop: where a signal to stop is seen.
    """

    def __init__(
        self, trainer: Any, work: Path, identity: str, seconds: float, curves: Curves, stop: StopRequest
    ) -> None:
        self.trainer, self.work, self.identity, self.seconds = trainer, work, identity, seconds
        self.curves, self.stop = curves, stop
        self.stopped = False
        """Whether the training was left before its end."""
        self._losses: dict[str, Any] = {}
        self._saved = time.monotonic()
        trainer.add_callback(self)

    def continue_training(self) -> str | None:
        """Return the newest whole state of this very training and give the curves its records; None: start afresh.

        Whatever else lies in the folder (states cut short, or of other settings) is removed.
        """
        found = processes.first_does(self._find)
        if found is None:
            return None
        folder, mark = found
        self.curves.restore(mark["records"], mark["times"], int(folder.name.split("-")[-1]))
        self._losses = mark.get("losses", {})
        return str(folder)

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        states = sorted(self.work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.split("-")[-1]))
        marks = {folder: mark for folder in states if (mark := _whole(folder))}
        own = [folder for folder in marks if marks[folder].get("identity") == self.identity]
        if not own:
            shutil.rmtree(self.work, ignore_errors=True)
            return None
        self._remove_all_but(own[-1])
        return own[-1], marks[own[-1]]

    def _remove_all_but(self, kept: Path) -> None:
        for folder in self.work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
            if folder != kept:
                shutil.rmtree(folder, ignore_errors=True)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._losses:
            own = self._losses["sums"][args.process_index]
            self.trainer._tr_loss += torch.tensor(own, dtype=torch.float32)
            self.trainer._globalstep_last_logged = self._losses["since"]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step >= state.max_steps:
            return
        self.stopped = processes.anywhere(self.stop.name is not None)
        if self.stopped or processes.anywhere(time.monotonic() - self._saved >= self.seconds):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        # Gathered from every process, each of which has by now written its part.
        sums = processes.every(float(self.trainer._tr_loss))
        mark = {
            "identity": self.identity,
            "records": self.curves.records,
            "times": self.curves.times,
            "losses": {"sums": sums, "since": self.trainer._globalstep_last_logged},
        }
        folder = self.work / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if processes.is_first():
            write_json(folder / _MARK, {**mark, "files": sync_folder(folder)})
            self._remove_all_but(folder)
        self._saved = time.monotonic()
        if self.stopped:
            control.should_training_stop = True


def _whole(folder: Path) -> dict[str, Any] | None:
    """Return the mark of a state whose files have the sizes that it names; None of any other."""
    try:
        mark: dict[str, Any] = read_json(folder / _MARK)
        files = mark["files"].items()
    except (DataError, KeyError, AttributeError):
        return None
    sound = all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in files)
    return mark if sound else None
