"""``Sampler(model, settings).sample(prompts)``: one loop, its parts chosen by settings."""

from dlm.sampling.own import default_settings, plain_settings, read_settings
from dlm.sampling.sampler import Prompt, Sampler
from dlm.sampling.selecting import (
    even_counts,
    floor_counts,
    schedule_counts,
    schedule_shares,
    select_by_factor,
    select_highest,
)
from dlm.sampling.state import Sample, State

__all__ = [
    "Prompt",
    "Sample",
    "Sampler",
    "State",
    "default_settings",
    "even_counts",
    "floor_counts",
    "plain_settings",
    "read_settings",
    "schedule_counts",
    "schedule_shares",
    "select_by_factor",
    "select_highest",
]
