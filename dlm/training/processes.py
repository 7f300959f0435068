"""The processes of one training: who writes, and how all agree. With one process every function is the identity."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dlm.errors import SettingsError
from dlm.models import pick_device
from dlm.settings import ExecutionSettings

Kept = TypeVar("Kept")


def count() -> int:
    """Return how many processes train together, as their launcher (torchrun, accelerate) says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes and reports."""
    return int(os.environ.get("RANK", "0")) == 0


def place(model: Any, execution: ExecutionSettings) -> None:
    """Move the model to its device; of several processes each takes its own GPU, and the Trainer moves the model.

    Raises:
        SettingsError: a GPU is chosen by its number, but the Trainer takes the first of those that it sees.
        SetupError: the device is not here.
    """
    device = pick_device(execution.device)
    if device.index or (device.index is not None and count() > 1):
        raise SettingsError(
            f"execution.device: a training cannot choose '{execution.device}' by its number; use cuda, and name the "
            "GPUs that it may see in CUDA_VISIBLE_DEVICES"
        )
    if getattr(model.model, "is_loaded_in_4bit", False):
        return  # it was put onto its device as it was loaded, and cannot be moved
    if count() == 1:
        model.to(device)
    elif device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def anywhere(told: bool) -> bool:
    """Whether any process was told so; all get the same answer."""
    if count() == 1:
        return told
    flag = torch.tensor(float(told), device=_device())
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag)


def total(values: Tensor) -> Tensor:
    """Return the sum over the processes."""
    if count() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def every(value: float) -> list[float]:
    """Return the values of all processes, in their order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def first_does(work: Callable[[], Kept]) -> Kept:
    """Let the first process work while the others wait; all get what it returned.

    The others do not outlive it: where it fails, their wait ends in an error, or the launcher ends them.
    """
    if count() == 1:
        return work()
    result: list[Any] = [work()] if is_first() else [None]
    dist.broadcast_object_list(result, src=0)
    return result[0]


def leave() -> None:
    """End this process's part, so that none ends while another still speaks to it."""
    if count() > 1 and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def without_weights(kept: Kept) -> Kept:
    """Copy modules with their buffers but without the memory of their weights, which FSDP will cut up in place."""
    seen: dict[int, Any] = {}
    for module in kept if isinstance(kept, tuple) else (kept,):
        if isinstance(module, nn.Module):
            for weight in module.parameters():
                empty = torch.empty_like(weight, device="meta")
                seen[id(weight)] = nn.Parameter(empty, requires_grad=weight.requires_grad)
    return copy.deepcopy(kept, seen)


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
