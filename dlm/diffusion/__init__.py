"""Noise schedules, the forward (masking) process and the training objectives: pure functions on tensors."""

from dlm.diffusion.blocks import sample_mask, sample_positions, train_block_mask, train_mask, train_positions
from dlm.diffusion.masking import Batch, Corrupted, corrupt, draw_times, hide, prepend_bos, times_from
from dlm.diffusion.noise import gumbel, uniform
from dlm.diffusion.objectives import (
    TakesTargets,
    autoregressive_loss,
    bd3lm_loss,
    bd3lm_nll,
    cart_weights,
    draw_noise,
    mdlm_loss,
    mdlm_nll,
    normalise,
    token_weights,
)
from dlm.diffusion.schedules import SCHEDULES, Schedule, loss_weight, schedule

__all__ = [
    "SCHEDULES",
    "Batch",
    "Corrupted",
    "Schedule",
    "TakesTargets",
    "autoregressive_loss",
    "bd3lm_loss",
    "bd3lm_nll",
    "cart_weights",
    "corrupt",
    "draw_noise",
    "draw_times",
    "gumbel",
    "hide",
    "loss_weight",
    "mdlm_loss",
    "mdlm_nll",
    "normalise",
    "prepend_bos",
    "sample_mask",
    "sample_positions",
    "schedule",
    "times_from",
    "token_weights",
    "train_block_mask",
    "train_mask",
    "train_positions",
    "uniform",
]
