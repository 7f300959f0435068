"""Unfinished trainings: states saved as time passes, found again after any kind of end.

A saved state counts once its mark is written: last, atomically, and with its files on the disk. One without a mark was
cut short, and one whose files have not the sizes in its mark is damaged; both are passed over.
States lie beside the checkpoint folder, which Snakemake may delete before a job runs again. Whole ones of another
training (settings, data, code, processes, device) are set aside, each training's in a folder of its own, until a
checkpoint is made.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from dlm.errors import DataError, SetupError
from dlm.files import digest, read_json, sync_directory, sync_folder, write_json
from dlm.progress import say
from dlm.signals import StopRequest
from dlm.training import processes
from dlm.training.curves import Curves

_MARK = "whole.json"
_ASIDE = "aside"
_NAMED = 4  # differences that are told


class Saver(TrainerCallback):
    """Saves the state of a training every so many seconds, and when it is asked to stop.

    Between two logging steps the Trainer holds a sum of losses that its own saved state has not: the mark has it, so
    that a continued training logs the same curves.

    Args:
        trainer: the Trainer; the callback is added to it.
        name: of the training, for what is said.
        work: folder of the saved states.
        identity: everything that decides the weights; a state of another training is not continued.
        seconds: least time between two states.
        curves: saved with each state.
        stop: where a signal to stop is seen.
    """

    def __init__(
        self,
        trainer: Any,
        name: str,
        work: Path,
        identity: Mapping[str, Any],
        seconds: float,
        curves: Curves,
        stop: StopRequest,
    ) -> None:
        self.trainer, self.name, self.work, self.identity, self.seconds = trainer, name, work, identity, seconds
        self.curves, self.stop = curves, stop
        self.stopped = False
        """Whether the training was left before its end."""
        self._losses: dict[str, Any] = {}
        self._saved = time.monotonic()
        trainer.add_callback(self)

    def continue_training(self) -> str | None:
        """Return the newest whole state of this very training and give the curves its records; None: start afresh.

        States that were cut short are removed; whole ones of another training are set aside, which is said.
        """
        found = processes.first_does(self._find)
        if found is None:
            return None
        folder, mark = found
        self.curves.restore(mark["records"], mark["times"], _step(folder))
        self._losses = mark.get("losses", {})
        return str(folder)

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        self._set_aside()
        aside = self._aside(self.identity)
        own = next(_states(self.work), None) or next(_states(aside), None)
        if own is None:
            self._remove_all_but(None)
            return None
        folder, mark = own
        if folder.parent == aside:
            folder = folder.rename(self.work / folder.name)
            shutil.rmtree(aside, ignore_errors=True)
        self._remove_all_but(folder)
        return folder, mark

    def _set_aside(self) -> None:
        """Move the newest whole state out of the way if it is another training's, and say so."""
        folder, mark = next(_states(self.work), (None, {}))
        if folder is None or digest(mark["training"]) == digest(self.identity):
            return
        aside = self._aside(mark["training"])
        shutil.rmtree(aside, ignore_errors=True)  # an older one of the same training
        aside.mkdir(parents=True)
        kept = folder.rename(aside / folder.name)
        self._remove_all_but(kept)
        differing = list(_differences(mark["training"], self.identity))
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        say(
            f"train {self.name}: begins anew, since the state saved at step {_step(kept)} is of another training: "
            f"{', '.join(differing[:_NAMED])}{more}; it stays in {kept} until this training is done: to continue it, "
            "stop this one and run the command as it was before"
        )

    def _aside(self, training: Mapping[str, Any]) -> Path:
        return self.work / _ASIDE / digest(training)[:12]

    def _remove_all_but(self, kept: Path | None) -> None:
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
            "training": self.identity,
            "records": self.curves.records,
            "times": self.curves.times,
            "losses": {"sums": sums, "since": self.trainer._globalstep_last_logged},
        }
        folder = self.work / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if processes.is_first():
            try:
                write_json(folder / _MARK, {**mark, "files": sync_folder(folder)})
                sync_directory(self.work)
            except (OSError, SetupError) as error:
                raise not_saved(folder, error) from error
            self._remove_all_but(folder)
        self._saved = time.monotonic()
        if self.stopped:
            control.should_training_stop = True


def not_saved(state: Path, error: Exception) -> SetupError:
    """Remove what could be written of a state, of which there was no room for all; return what to tell."""
    shutil.rmtree(state, ignore_errors=True)
    reason = " ".join(str(error).split())[:200]
    return SetupError(
        f"{state.parent}: the state at step {_step(state)} cannot be saved ({reason}); the state saved before is "
        "whole: free space and run the same command again"
    )


def _step(state: Path) -> int:
    return int(state.name.rpartition("-")[2])


def _states(work: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the whole states in a folder with their marks, the newest first."""
    for folder in sorted(work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=_step, reverse=True):
        if mark := _whole(folder):
            yield folder, mark


def _whole(folder: Path) -> dict[str, Any] | None:
    """Return the mark of a state whose files have the sizes that it names; None of any other."""
    try:
        mark: dict[str, Any] = read_json(folder / _MARK)
        files = mark["files"].items()
        digest(mark["training"])
    except (DataError, KeyError, TypeError, AttributeError):
        return None
    sound = all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in files)
    return mark if sound else None


def _differences(there: Any, here: Any, name: str = "") -> Iterator[str]:
    """Yield where two trainings differ, as ``settings.batch_size (8 there, 4 here)``."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in sorted({*there, *here}):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif digest(there) != digest(here):
        yield f"{name} ({_short(there)} there, {_short(here)} here)"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
