"""Noise schedules: alpha(t), the share of tokens kept at time t, from alpha(0) = 1 to alpha(1) = 0.

A new schedule is a class with ``alpha`` and ``slope`` and an entry in ``SCHEDULES``.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from dlm.errors import SettingsError, did_you_mean


class Schedule(Protocol):
    """alpha and its derivative, on tensors of times in [0, 1]."""

    def alpha(self, time: Tensor) -> Tensor:
        """Share of tokens kept at ``time``."""

    def slope(self, time: Tensor) -> Tensor:
        """Derivative of alpha at ``time``; never positive."""


class Linear:
    """alpha(t) = 1 - t: LLaDA (arXiv 2502.09992) and MDLM's log-linear schedule."""

    def alpha(self, time: Tensor) -> Tensor:
        return 1 - time

    def slope(self, time: Tensor) -> Tensor:
        return torch.full_like(time, -1.0)


class Cosine:
    """alpha(t) = 1 - cos(pi/2 (1 - t)): MDLM (arXiv 2406.07524, appendix)."""

    def alpha(self, time: Tensor) -> Tensor:
        return 1 - torch.cos(math.pi / 2 * (1 - time))

    def slope(self, time: Tensor) -> Tensor:
        return -math.pi / 2 * torch.sin(math.pi / 2 * (1 - time))


SCHEDULES: dict[str, Schedule] = {"linear": Linear(), "cosine": Cosine()}


def schedule(name: str) -> Schedule:
    """Return a schedule by name.

    Raises:
        SettingsError: unknown name.
    """
    if name not in SCHEDULES:
        raise SettingsError(f"unknown schedule '{name}'; {did_you_mean(name, SCHEDULES)}")
    return SCHEDULES[name]


def loss_weight(chosen: Schedule, time: Tensor) -> Tensor:
    """Return -alpha'(t) / (1 - alpha(t) + 1e-6), the weight of the diffusion bound (MDLM, eq. 10; 1/t when linear).

    The 1e-6 is that of ZHZisZZ/dllm (dllm/core/schedulers/alpha.py).
    """
    return -chosen.slope(time) / (1 - chosen.alpha(time) + 1e-6)
