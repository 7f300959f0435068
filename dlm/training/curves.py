"""The curves of a training: kept as records, watched as they grow, shown as progress."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dlm.errors import DlmError
from dlm.progress import Progress
from dlm.training import processes

Watch = Callable[[Mapping[str, float], float], None]
"""Called with each record of the curves and its time, in seconds since 1970."""


class Curves(TrainerCallback):
    """Keeps the curves as records and shows progress; stops a training whose loss is no longer a number."""

    def __init__(self, progress: Progress, watch: Watch | None = None) -> None:
        self.progress, self.watch = progress, watch
        self.records, self.times = list[dict[str, float]](), list[float]()

    def restore(self, records: list[dict[str, float]], times: list[float], step: int) -> None:
        """Take up the curves of an interrupted training at ``step``."""
        self.records, self.times = records, times
        self.progress.resume(step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.progress.advance()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        kept = ("loss", "eval_loss", "learning_rate", "grad_norm", "epoch")
        record = {"step": state.global_step, **{key: value for key, value in (logs or {}).items() if key in kept}}
        if len(record) < 3:
            return
        self.records.append(record)
        self.times.append(round(time.time(), 3))
        if self.watch:
            self.watch(record, self.times[-1])
        loss = record.get("loss", record.get("eval_loss", 0.0))
        if not math.isfinite(loss):
            raise _diverged(f"the loss is {loss}", state.global_step)
        if "loss" in record:
            self.progress.note = f"loss {loss:.3f}"


def refuse_not_finite(model: nn.Module, step: int, loss: float = 0.0) -> None:
    """Refuse to go on, or to save anything, with weights or a loss that are no numbers; all processes decide alike.

    Args:
        model: weights that are trained; of sharded ones each process looks at its own.
        step: the update after which this is asked.
        loss: summed since it was last told.

    Raises:
        DlmError: some are not finite.
    """
    if processes.anywhere(not math.isfinite(loss)):
        raise _diverged("the loss is not finite", step)
    trained = (getattr(weight, "_local_tensor", weight) for weight in model.parameters() if weight.requires_grad)
    if processes.anywhere(not all(bool(torch.isfinite(weight).all()) for weight in trained)):
        raise _diverged("the weights are not finite", step)


def _diverged(what: str, step: int) -> DlmError:
    return DlmError(f"{what} at step {step}; lower learning_rate (or use fp32, where precision is bf16)")
