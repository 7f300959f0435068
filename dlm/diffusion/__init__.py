"""Noise schedules, the forward (masking) process and the training objectives: pure functions on tensors."""

from dlm.diffusion.masking import Corrupted, corrupt, draw_times
from dlm.diffusion.noise import gumbel, uniform
from dlm.diffusion.objectives import autoregressive_loss, mdlm_loss, normalise
from dlm.diffusion.schedules import SCHEDULES, Schedule, loss_weight, schedule

__all__ = [
    "SCHEDULES",
    "Corrupted",
    "Schedule",
    "autoregressive_loss",
    "corrupt",
    "draw_times",
    "gumbel",
    "loss_weight",
    "mdlm_loss",
    "normalise",
    "schedule",
    "uniform",
]
